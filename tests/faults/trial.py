"""One trial of fault injection, in a process of its own: write to a store and be killed, or read a damaged one and say what came out.

`serve` is what a worker of injection.py runs; it answers one request after another until one is its death.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from splade_ptbr_connectors.errors import SpladeConnectorsError
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

PACKAGE = str(Path(sys.modules[SpladeConnectorsError.__module__].__file__ or "").parent)
BATCH = 16
Contents = dict[str, Entry]


class Plan(NamedTuple):
    """What a store is filled with. `seed` makes another store of the same shape."""

    documents: int = 160
    terms: int = 8
    seed: int = 0


class Verdict(NamedTuple):
    """`kind` is "right", "typed" (an error of the package), "wrong" (in silence), "untyped", or from outside "hang" and "crash"."""

    kind: str
    detail: str = ""


def entry(n: int, edition: int, plan: Plan) -> Entry:
    """Document `n` in its `edition`: weights are quarters, so that every order of adding gives the same score."""
    draw = random.Random(f"{plan.seed} {n} {edition}")
    terms = sorted(draw.sample(range(HashingEncoder().vocab_size), plan.terms - 2) + [4096 - 1 - n % 7, 0][: 2 if n % 3 else 1])
    vector = SparseVector.from_dict({term: draw.randint(1, 8) / 4 for term in terms})
    payload = {"title": f"Ação {plan.seed} {n}", "edition": edition, "metadata": {"year": 1990 + n % 30, "half": n + 0.5}}
    return Entry(f"d{n}", vector, payload, f"{plan.seed:02x}{n:06x}{edition:04x}")


def operations(plan: Plan) -> Iterator[tuple[str, list[Any]]]:
    """Loads, replacements and deletions, in turn."""
    for start in range(0, plan.documents, BATCH):
        numbers = range(start, min(start + BATCH, plan.documents))
        yield "upsert", [entry(n, 0, plan) for n in numbers]
        if start % (4 * BATCH) == BATCH:
            yield "upsert", [entry(n, 1, plan) for n in numbers if n % 2] + [entry(plan.documents + start, 0, plan)]
            yield "delete", [f"d{n}" for n in numbers if n % 5 == 0]


def applied(contents: Contents, operation: tuple[str, list[Any]]) -> Contents:
    """What a store holds after the operation."""
    kind, items = operation
    if kind == "upsert":
        return {**contents, **{item.doc_id: item for item in items}}
    return {doc_id: held for doc_id, held in contents.items() if doc_id not in items}


def perform(store: Store, operation: tuple[str, list[Any]]) -> None:
    kind, items = operation
    if kind == "upsert":
        store.upsert_vectors(items)
    else:
        store.delete(items)


def fill(url: str, plan: Plan, unclean: bool = False) -> None:
    """Fill and close a store; `unclean`, be killed instead of closing it."""
    with open_store(url, encoder=HashingEncoder()) as store:
        for operation in operations(plan):
            perform(store, operation)
        if unclean:
            os.kill(os.getpid(), signal.SIGKILL)
        store.finish_loading()


def read(store: Store) -> dict[str, Any]:
    """All that a store answers, each way of asking."""
    scanned = {found.doc_id: found for found in store.scan(page_size=64)}
    ids = sorted({*scanned, *(f"d{n}" for n in range(40))})
    return {
        "count": store.count(),
        "filtered": store.count(filter={"metadata.year": {"gte": 2000}}),
        "scanned": scanned,
        "listed": sorted(found.doc_id for found in store.scan(with_vectors=False, page_size=64)),
        "got": store.get(ids),
        "hashes": store.content_hashes(ids),
        "hits": [[(hit.doc_id, hit.score, dict(hit.payload)) for hit in store.search(query, top)] for query, top in queries()],
    }


def queries() -> list[tuple[SparseVector, int]]:
    common = SparseVector.from_dict({0: 1.0, 4090: 0.5, 4095: 2.0})
    return [(common, 10), (common, 1000), (SparseVector.from_dict({4092: 1.0, 4093: 0.25}), 5)]


def expected(contents: Contents) -> dict[str, Any]:
    """What read() gives for a store that holds this."""
    ids = {*contents, *(f"d{n}" for n in range(40))} & contents.keys()
    return {
        "count": len(contents),
        "filtered": sum(held.payload["metadata"]["year"] >= 2000 for held in contents.values()),
        "scanned": contents,
        "listed": sorted(contents),
        "got": {doc_id: contents[doc_id] for doc_id in ids},
        "hashes": {doc_id: contents[doc_id].content_hash for doc_id in ids},
        "hits": [_ranked(contents, query, top) for query, top in queries()],
    }


def _ranked(contents: Contents, query: SparseVector, top: int) -> list[tuple[str, float, dict[str, Any]]]:
    scored = [(held.doc_id, float(held.vector.dot(query)), dict(held.payload)) for held in contents.values()]
    return sorted([hit for hit in scored if hit[1] > 0], key=lambda hit: (-hit[1], hit[0]))[:top]


def judged(examine: Callable[[], Verdict]) -> Verdict:
    """The verdict, or the kind of error. A Rust panic is a BaseException."""
    try:
        return examine()
    except SpladeConnectorsError as error:
        return Verdict("typed", f"{type(error).__name__}: {error}")
    except BaseException as error:
        return Verdict("untyped", f"{type(error).__name__}: {error}"[:200])


def examine(url: str, plan: Plan) -> Verdict:
    """Read a store that was filled by the plan and then damaged; add to it, open it again and read once more."""
    contents: Contents = {}
    for operation in operations(plan):
        contents = applied(contents, operation)
    more = ("upsert", [entry(n, 0, plan) for n in (7_000_000, 7_000_001)])

    def run() -> Verdict:
        for held in (contents, applied(contents, more)):
            with open_store(url, encoder=HashingEncoder(), create=False) as store:
                found, right = read(store), expected(held)
                if held is contents:
                    perform(store, more)
                    store.finish_loading()
            if found != right:
                return Verdict("wrong", ", ".join(name for name in right if right[name] != found[name]))
        return Verdict("right")

    return judged(run)


def examine_after(url: str, plan: Plan, acknowledged: int) -> Verdict:
    """Read a store whose writer died: what was acknowledged is there, of the operation in flight any part, and nothing else."""
    before: Contents = {}
    sequence = list(operations(plan))
    for operation in sequence[:acknowledged]:
        before = applied(before, operation)
    after = applied(before, sequence[acknowledged]) if acknowledged < len(sequence) else before

    def run() -> Verdict:
        with open_store(url, encoder=HashingEncoder()) as store:
            found = read(store)
        held: Contents = found["scanned"]
        for doc_id in {*before, *after, *held}:
            if held.get(doc_id) not in (before.get(doc_id), after.get(doc_id)):
                return Verdict("wrong", f"{doc_id} after {acknowledged} operations")
        return Verdict("right") if found == expected(held) else Verdict("wrong", "answers differ from contents")

    return judged(run)


def write(url: str, plan: Plan, journal: str, line: int | None, how: str) -> int:
    """Fill a store and note each acknowledged operation in `journal`; at the `line`th line of the package's code that runs, be
    killed ("kill") or interrupted ("interrupt"). Returns how many lines ran.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    tracer = _Tracer(line, how)
    sys.settrace(tracer)
    try:
        with open_store(url, encoder=HashingEncoder()) as store:
            for number, operation in enumerate(operations(plan), 1):
                perform(store, operation)
                with open(journal, "w") as file:
                    file.write(str(number))
            store.finish_loading()
    except KeyboardInterrupt:
        return tracer.lines
    finally:
        sys.settrace(None)
    return tracer.lines


class _Tracer:
    def __init__(self, at: int | None, how: str) -> None:
        self.at, self.how, self.lines = at, how, 0

    def __call__(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE) or "vectors" in frame.f_code.co_filename:
            return None  # elsewhere nothing of the store happens
        if event == "line":
            self.lines += 1
            if self.lines == self.at:
                if self.how == "kill":
                    os.kill(os.getpid(), signal.SIGKILL)
                raise KeyboardInterrupt
        return self


REQUESTS: dict[str, Callable[..., Any]] = {"fill": fill, "examine": examine, "examine_after": examine_after, "write": write}


def serve(requests: Connection) -> None:
    """Answer (name, arguments) with (seconds, result) until the other side hangs up."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)  # panics are told there
    while True:
        try:
            name, arguments = requests.recv()
        except (EOFError, KeyboardInterrupt):
            return
        start = time.monotonic()
        result = REQUESTS[name](*arguments)
        requests.send((time.monotonic() - start, result))
