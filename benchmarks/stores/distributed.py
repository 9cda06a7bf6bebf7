"""Documents/s of `ingest --engine ray` by workers, beside one process; one of them killed on the way; and the one process that reads."""

from __future__ import annotations

import gzip
import json
import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.harness.rounds import Rates, Ratio, compare, measure, show
from benchmarks.stores.ingest import sample_records
from benchmarks.stores.load import NullStore, fresh_index, own_opensearch
from splade_ptbr_connectors import SpladeEncoder, open_store
from splade_ptbr_connectors.distributed.ray_engine import MAX_BATCH_DOCUMENTS, Reader, ingest_with_ray, outcomes, quiet, resources
from splade_ptbr_connectors.distributed.rows import batches
from splade_ptbr_connectors.errors import SpladeConnectorsError
from splade_ptbr_connectors.extras import require
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.ingestion.items import ReadyVectors
from splade_ptbr_connectors.ingestion.report import IngestProgress
from splade_ptbr_connectors.sources import Source, open_source
from splade_ptbr_connectors.stores.base import Store

ONE = "one process"
ALONE, HANDED_OVER = "JSONL, per processor second", "JSONL, handed over by Ray"
SETTINGS = {"replicas": 0}
TICKS = os.sysconf("SC_CLK_TCK")  # a second, in which processor time is counted
MAP_WORKER = b"ray::MapWorker(MapBatches(Worker))"  # how Ray names a process that encodes
Sides = dict[str, Callable[[], float]]


def distributed(
    documents: Annotated[int, typer.Option(help="Texts to encode and ingest.", min=1000)] = 10_000,
    records: Annotated[int, typer.Option(help="Records that are read and nothing else.", min=1000)] = 100_000,
    workers: Annotated[int, typer.Option(help="Most workers; each number up to it is measured.", min=1)] = 2,
    rounds: Annotated[int, typer.Option(help="Measured rounds, after one that is not measured.", min=1)] = 3,
    model: Annotated[str, typer.Option(help="Model to encode with.")] = "mini-bert",
    url: Annotated[str | None, typer.Option(help="An OpenSearch, such as http://127.0.0.1:9200.")] = None,
    start_opensearch: Annotated[bool, typer.Option("--start-opensearch", help="Start an OpenSearch for the measurement.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON documents instead of tables.")] = False,
) -> None:
    """A Ray of this machine: encoding by itself, into an OpenSearch if one is named, and what the process that reads can feed.

    Rates are taken from the first documents that are done to the last; what passes before, while processes start and load the model,
    is told beside them in seconds. A second table has the same per second of processor time, of all processes together: what a machine with
    more cores has more of, and what neighbours on this one change little.
    """
    ray = require("ray", "ingestion with Ray")
    settings = {"model": model, "documents": documents, "rounds": rounds}
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="splade-benchmark-")))
        stack.enter_context(_own_ray(ray, max(workers, os.cpu_count() or 1)))
        task = Task(model, SpladeEncoder.load(model), open_source(_write(home / "texts.jsonl", documents)), documents)
        _report("distributed, nothing is written", settings, _encoding(ray, task, workers), rounds, as_json=as_json)
        server = stack.enter_context(own_opensearch()) if start_opensearch else url
        if server is not None:
            _report("distributed, into OpenSearch", settings, _loading(task, server, workers), rounds, as_json=as_json)
        rates = measure(_reading(ray, task, home, records), rounds)
    show("distributed, reading", {"records": records, "rounds": rounds}, rates, [], as_json=as_json, unit="records")


@dataclass
class Task:
    """What every side does."""

    model: str
    encoder: SpladeEncoder
    source: Source
    documents: int

    @property
    def ready(self) -> ReadyVectors:
        """What ready vectors of the input would have to fit; it has none."""
        return ReadyVectors(self.encoder.vocab_size, self.encoder.fingerprint)


@dataclass
class Pace:
    """Watches a run; `event` happens when half of the documents are done."""

    documents: int
    event: Callable[[], object] | None = None
    started: float = field(default_factory=time.perf_counter)
    seen: list[tuple[float, float, int]] = field(default_factory=list)
    work: Work = field(default_factory=lambda: Work())

    def __call__(self, now: IngestProgress) -> None:
        self.done(now.read)

    def done(self, count: int) -> None:
        """So many documents are done."""
        if count and (not self.seen or count > self.seen[-1][2]):
            self.seen.append((time.perf_counter(), self.work.seconds(), count))
        if self.event is not None and 2 * count >= self.documents:
            event, self.event = self.event, None
            event()

    @property
    def first_s(self) -> float:
        """Seconds until the first documents were done."""
        return self.seen[0][0] - self.started

    def rates(self) -> tuple[float, float]:
        """Documents per second and per processor second, from the first that were done to the last. Raises RuntimeError for a part."""
        (begin, worked, first), (end, working, last) = self.seen[0], self.seen[-1]
        if last != self.documents or first == last:
            raise RuntimeError(f"{last} of {self.documents} documents were done: the rates cannot be compared")
        return (last - first) / (end - begin), (last - first) / max(working - worked, 1 / TICKS)


Run = Callable[[], Pace]


def _report(title: str, settings: Mapping[str, Any], runs: Mapping[str, Run], rounds: int, *, as_json: bool) -> None:
    first: Rates = {name: [] for name in runs}
    worked: Rates = {name: [] for name in runs}

    def rate(name: str) -> float:
        pace = runs[name]()
        by_clock, by_processor = pace.rates()
        first[name].append(pace.first_s)
        worked[name].append(by_processor)
        return by_clock

    rates = measure({name: partial(rate, name) for name in runs}, rounds)
    measured = {name: each[1:] for name, each in worked.items()}
    began = {f"{name} begins after": f"{statistics.median(each):.1f} s" for name, each in first.items()}
    show(title, {**settings, **began}, rates, _against(rates), as_json=as_json)
    show(f"{title}, by seconds of processors", settings, measured, _against(measured), as_json=as_json)


def _against(rates: Rates) -> list[Ratio]:
    """Each beside one process, and each beside one worker."""
    one_worker = _named(1)
    pairs = [(name, other) for other in (ONE, one_worker) for name in rates if name not in (ONE, other)]
    return [compare(f"{name}, against {other}", rates, name, other, None) for name, other in pairs]


@contextmanager
def _own_ray(ray: Any, cpus: int) -> Iterator[None]:
    # Ray's workers let everything else go first (nice 15): beside one process that does not, the neighbours would be measured
    os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"})
    settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR", "configure_logging": False}
    ray.init(num_cpus=cpus, _node_ip_address="127.0.0.1", **settings)
    try:
        yield
    finally:
        ray.shutdown()


def _named(workers: int) -> str:
    return f"Ray, {workers} worker{'s' if workers > 1 else ''}"


def _write(path: Path, count: int) -> Path:
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in sample_records(count))
    return path


# -- encoding alone ----------------------------------------------------------------------------------------------------


class Nowhere(NullStore):
    """Takes the vectors of a model at once, and keeps none."""

    def __init__(self, model: str) -> None:
        super().__init__(wait_s=0.0)
        self.encoder = SpladeEncoder.load(model)


def _encoding(ray: Any, task: Task, workers: int) -> dict[str, Run]:
    def here() -> Pace:
        pace, store = Pace(task.documents), NullStore(wait_s=0.0)
        store.encoder = task.encoder
        ingest(task.source, store, reconcile=0, progress=pace)
        return pace

    def with_ray(count: int) -> Pace:
        pace, done = Pace(task.documents), 0
        reader = Reader(task.source, task.ready, MAX_BATCH_DOCUMENTS)
        for outcome in outcomes(ray, reader, partial(Nowhere, task.model), resources(ray, count, 1.0, 0.0)):
            outcome.raise_error()
            done += outcome.written
            pace.done(done)
        return pace

    return {ONE: here} | {_named(count): partial(with_ray, count) for count in range(1, workers + 1)}


# -- into OpenSearch ---------------------------------------------------------------------------------------------------


def _loading(task: Task, url: str, workers: int) -> dict[str, Run]:
    def load(into: Callable[[str, Pace], object], event: Callable[[], object] | None = None) -> Pace:
        with fresh_index(url) as name:
            store_url = f"opensearch+{url}/{name}"
            pace = Pace(task.documents, event)
            into(store_url, pace)
            with _opened(task, store_url) as store:
                if store.count() != task.documents:
                    raise RuntimeError(f"{store.count()} of {task.documents} documents arrived: the rates cannot be compared")
        return pace

    def here(store_url: str, pace: Pace) -> None:
        with _opened(task, store_url) as store:
            ingest(task.source, store, progress=pace)

    def with_ray(count: int, store_url: str, pace: Pace) -> None:
        ingest_with_ray(task.source, store_url, task.model, workers=count, settings=SETTINGS, progress=pace)

    ray = {_named(count): partial(load, partial(with_ray, count)) for count in range(1, workers + 1)}
    killed = partial(load, partial(with_ray, workers), _kill_a_worker)
    return {ONE: partial(load, here), **ray, f"{_named(workers)}, one killed half way": killed}


def _opened(task: Task, store_url: str) -> Store:
    return open_store(store_url, encoder=task.encoder, settings=SETTINGS)


def _kill_a_worker() -> None:
    os.kill(working()[0], signal.SIGKILL)


def working() -> list[int]:
    """The processes that encode for the Ray of this process, which are children of its raylet. Linux only."""
    found = [process for process in _family() if _read(process, "cmdline").startswith(MAP_WORKER)]
    if not found:
        raise SpladeConnectorsError("no worker of this Ray was found in /proc: none runs, or this system is not Linux.")
    return found


class Work:
    """Seconds that this process and those below it, later ones included, have computed since the first look. Not on Linux: its own.

    What a process does between the last look and its end is left out.
    """

    def __init__(self) -> None:
        self._before: dict[int, int] | None = None
        self._last: dict[int, int] = {}

    def seconds(self) -> float:
        """Up to now."""
        now = {process: int(stat[11]) + int(stat[12]) for process in _family() if (stat := _stat(process))}
        if not now:
            return time.process_time()
        self._before = now if self._before is None else self._before
        self._last |= now
        ticks = sum(last - self._before.get(process, 0) for process, last in self._last.items())
        return ticks / TICKS


def _family() -> list[int]:
    """The process itself and those below it."""
    parents = {int(path.name): int(stat[1]) for path in Path("/proc").glob("[0-9]*") if (stat := _stat(int(path.name)))}
    found = [os.getpid()] if parents else []
    for one in found:  # grows as it goes
        found += [process for process, parent in parents.items() if parent == one]
    return found


def _stat(process: int) -> list[bytes]:
    """The fields of /proc/PID/stat behind the name: state, parent ... Empty where it has ended."""
    return _read(process, "stat").rpartition(b")")[2].split()


def _read(process: int, name: str) -> bytes:
    try:
        return Path("/proc", str(process), name).read_bytes()
    except OSError:
        return b""


# -- reading -----------------------------------------------------------------------------------------------------------


def _reading(ray: Any, task: Task, home: Path, count: int) -> Sides:
    plain = _write(home / "records.jsonl", count)
    packed = plain.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    def alone(path: Path) -> float:
        return _rate(batches(open_source(path), task.ready, MAX_BATCH_DOCUMENTS), count, time.process_time)

    def handed_over(path: Path) -> float:
        reader = Reader(open_source(path), task.ready, MAX_BATCH_DOCUMENTS)
        with quiet(ray):
            read = ray.data.from_items([0]).map_batches(reader, batch_size=None, num_cpus=0)
            return _rate(read.iter_rows(), count, time.perf_counter)

    return {ALONE: partial(alone, plain), "the same, gzip": partial(alone, packed), HANDED_OVER: partial(handed_over, plain)}


def _rate(tables: Iterable[object], count: int, clock: Callable[[], float]) -> float:
    """Records/s from the first table to the last: the start of a process is none of the reader's work.

    Args:
        clock: the processor's for a reader by itself, which never waits; neighbours on the machine do not slow it.
    """
    started, found = 0.0, 0
    for _ in tables:
        started = started or clock()
        found += 1
    seconds = clock() - started
    if found != -(-count // MAX_BATCH_DOCUMENTS):
        raise RuntimeError(f"{found} batches of {count} records were read: the rates cannot be compared")
    return (count - MAX_BATCH_DOCUMENTS) / seconds
