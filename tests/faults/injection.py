"""Fault injection: damage a store in every way a disk or a hand can, and see whether it says so.

    python -m tests.faults.injection edge --flips 1000
    python -m tests.faults.injection numba --flips 1000 --kills 60 --interrupts 200

Prints how many trials of each kind came out right, as an error of the package (typed), wrong in silence, as another error (untyped),
hung or crashed; every one of the last four is listed, with the seed that makes it again. Exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.faults import trial
from tests.faults.trial import Plan, Verdict

KINDS = ("right", "typed", "wrong", "untyped", "hang", "crash")
ACCEPTED = ("right", "typed")
HARMLESS = ("none", "kill", "interrupt")  # a store must be good after these
LIMIT_S = 60.0  # of a trial that takes 50 ms on a quiet machine
TRIALS_PER_WORKER = 150  # handles of damaged stores may never be given back
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=\d-)[0-9a-f]{8}(?=\.segment$)")  # what differs between two stores of one shape


class Trial(NamedTuple):
    """One damage done and what came of it. `seconds` is how long the store was read."""

    fault: str
    what: str
    verdict: Verdict
    seconds: float


class Worker:
    """A process that is started anew when a request was its death, or took too long."""

    def __init__(self, engine: str) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["tests.faults.trial", f"splade_ptbr_connectors.stores.{engine}"])
        self._process: Any = None
        self._asked = 0

    def ask(self, name: str, *arguments: Any) -> tuple[float, Any]:
        """Seconds and result; a Verdict "hang" or "crash" in place of a result that never came."""
        if self._process is None or self._asked == TRIALS_PER_WORKER:
            self._start()
        self._asked += 1
        self._pipe.send((name, arguments))
        if not self._pipe.poll(LIMIT_S):
            self.stop()
            return LIMIT_S, Verdict("hang")
        try:
            answer: tuple[float, Any] = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            code = self._process.exitcode
            self.stop()
            return 0.0, Verdict("crash", f"exit code {code}")
        return answer

    def _start(self) -> None:
        self.stop()
        self._pipe, theirs = self._context.Pipe()
        self._process, self._asked = self._context.Process(target=trial.serve, args=(theirs,), daemon=True), 0
        self._process.start()
        theirs.close()

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
            self._pipe.close()


class Bench:
    """A good store, another of the same shape, and copies of it to be damaged."""

    def __init__(self, engine: str, folder: Path, plan: Plan, *, unclean: bool = False) -> None:
        self.engine, self.folder, self.plan = engine, folder, plan
        self.worker = Worker(engine)
        self.good, self.other = folder / "good", folder / "other"
        for path, seed in ((self.good, 0), (self.other, 1)):
            _, refused = self.worker.ask("fill", self.url(path), plan._replace(seed=seed), unclean)
            assert refused is None or (unclean and refused.kind == "crash"), refused
        self._copies = 0

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()

    def url(self, folder: Path) -> str:
        return f"{self.engine}:{folder}"

    def files(self) -> list[str]:
        """Relative paths of the good store's files, in an order that is the same in every run."""
        found = [str(path.relative_to(self.good)) for path in self.good.rglob("*") if path.is_file()]
        return sorted(found, key=lambda path: UUID.sub("", path))

    def folders(self) -> list[str]:
        found = [str(path.relative_to(self.good)) for path in self.good.rglob("*") if path.is_dir()]
        return sorted(found, key=lambda path: UUID.sub("", path))

    def twin(self, path: str) -> Path | None:
        """The file of the other store that has the same part."""
        same = [file for file in self.other.rglob("*") if UUID.sub("", str(file.relative_to(self.other))) == UUID.sub("", path)]
        return same[0] if len(same) == 1 else None

    def damaged(self, fault: str, what: str, damage: Callable[[Path], None]) -> Trial:
        """Do the damage to a copy and read it; what takes too long twice hangs, once may be a busy machine."""
        done = self._damaged(fault, what, damage)
        return self._damaged(fault, what, damage) if done.verdict.kind == "hang" else done

    def _damaged(self, fault: str, what: str, damage: Callable[[Path], None]) -> Trial:
        copy = self._fresh()
        copy_store(self.good, copy)
        damage(copy)
        seconds, verdict = self.worker.ask("examine", self.url(copy), self.plan)
        shutil.rmtree(copy)
        return Trial(fault, what, verdict, seconds)

    def written(self, how: str, line: int | None) -> Trial:
        """Write a new store, be stopped at this line, and read what is left."""
        fresh, journal = self._fresh(), self.folder / "journal"
        journal.write_text("0")
        _, end = self.worker.ask("write", self.url(fresh), self.plan, str(journal), line, how)
        if isinstance(end, Verdict) and end.kind == "hang":
            return Trial(how, f"line {line}", end, LIMIT_S)
        self.lines = end
        if how == "interrupt":
            self.worker.stop()  # its store may still be open
        seconds, verdict = self.worker.ask("examine_after", self.url(fresh), self.plan, int(journal.read_text() or 0))
        shutil.rmtree(fresh, ignore_errors=True)
        return Trial(how, f"line {line}", verdict, seconds)

    def _fresh(self) -> Path:
        self._copies += 1
        return self.folder / f"copy{self._copies}"


def intact(bench: Bench) -> Iterator[Trial]:
    """No damage: the harness must find nothing; copied and moved stores are good ones."""
    yield bench.damaged("none", "copy", lambda folder: None)


def flips(bench: Bench, count: int, seed: int) -> Iterator[Trial]:
    """Single bits, three of four where the file is not zero."""
    for n in range(count):
        draw = random.Random(f"{seed} {n}")
        path = draw.choice([file for file in bench.files() if (bench.good / file).stat().st_size])
        place, bit = _place(bench.good / path, draw), draw.randrange(8)
        yield bench.damaged("flip", f"{seed} {n}: {path} byte {place} bit {bit}", lambda copy: flip(copy / path, place, bit))  # noqa: B023


def _place(file: Path, draw: random.Random) -> int:
    size = file.stat().st_size
    if draw.random() < 0.25:
        return draw.randrange(size)
    places = [offset + n for offset, data in extents(file) for n in _nonzero(data)]
    return draw.choice(places) if places else draw.randrange(size)


def _nonzero(data: bytes) -> list[int]:
    return [match.start() for match in re.finditer(rb"[^\0]", data)][:200_000]


def truncations(bench: Bench, tenths: Iterable[int] = range(10)) -> Iterator[Trial]:
    """To each tenth of a file's size, and of what it holds before the zeros at its end."""
    for path in bench.files():
        whole = (bench.good / path).stat().st_size
        used = max((offset + len(data.rstrip(b"\0")) for offset, data in extents(bench.good / path) if data.strip(b"\0")), default=0)
        for size in sorted({part * length // 10 for part in tenths for length in (whole, used)} - {whole}):
            yield bench.damaged("truncate", f"{path} to {size:,} of {whole:,}", lambda copy: os.truncate(copy / path, size))  # noqa: B023


def deletions(bench: Bench) -> Iterator[Trial]:
    for path in bench.files():
        yield bench.damaged("delete", path, lambda copy: (copy / path).unlink())  # noqa: B023
    for path in bench.folders():
        yield bench.damaged("delete", path + "/", lambda copy: shutil.rmtree(copy / path))  # noqa: B023


def swaps(bench: Bench) -> Iterator[Trial]:
    """Each file by that of the other store."""
    for path in bench.files():
        twin = bench.twin(path)
        if twin is not None and twin.read_bytes() != (bench.good / path).read_bytes():
            yield bench.damaged("swap", path, lambda copy: copy_file(twin, copy / path))  # noqa: B023


def stops(bench: Bench, how: str, count: int) -> Iterator[Trial]:
    """Kills or Ctrl-C at so many lines of the code that writes, evenly spread."""
    yield bench.written(how, None)
    lines = bench.lines
    for n in range(count):
        yield bench.written(how, 1 + n * lines // count)


def flip(file: Path, place: int, bit: int) -> None:
    with open(file, "r+b") as opened:
        opened.seek(place)
        old = opened.read(1)[0]
        opened.seek(place)
        opened.write(bytes([old ^ 1 << bit]))


def copy_store(source: Path, target: Path) -> None:
    target.mkdir()
    for path in sorted(source.rglob("*")):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
        else:
            copy_file(path, copy)


def copy_file(source: Path, target: Path) -> None:
    """With its holes: engines map files far larger than what is in them."""
    with open(target, "wb") as file:
        for offset, data in extents(source):
            file.seek(offset)
            file.write(data)
        file.truncate(source.stat().st_size)


def extents(path: Path) -> Iterator[tuple[int, bytes]]:
    """(offset, bytes) of the parts of a file that are not holes."""
    with open(path, "rb") as file:
        end, size = 0, path.stat().st_size
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # none behind this
                return
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            yield start, file.read(end - start)


def report(trials: Iterable[Trial], say: Callable[[str], object]) -> bool:
    """Say how they came out; whether all are accepted."""
    counts: dict[str, Counter[str]] = {}
    slowest, good = 0.0, True
    for done in trials:
        counts.setdefault(done.fault, Counter())[done.verdict.kind] += 1
        slowest = max(slowest, done.seconds)
        if done.verdict.kind not in ACCEPTED or (done.fault in HARMLESS and done.verdict.kind != "right"):
            good = False
            say(f"{done.verdict.kind}: {done.fault} {done.what}: {done.verdict.detail}\n")
    say(f"{'':10}" + "".join(f"{kind:>9}" for kind in KINDS) + "\n")
    for fault, found in counts.items():
        say(f"{fault:10}" + "".join(f"{found[kind]:9,}" for kind in KINDS) + "\n")
    say(f"slowest trial {slowest:.1f} s\n")
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.injection", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("engine", choices=["edge", "numba"])
    parser.add_argument("--flips", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--interrupts", type=int, default=200)
    parser.add_argument("--only", nargs="*", choices=["flip", "truncate", "delete", "swap", "kill", "interrupt"])
    parser.add_argument("--documents", type=int, default=Plan().documents)
    parser.add_argument(
        "--terms", type=int, default=Plan().terms, help="a document; 1500 documents of 1000 terms make edge build its index on disk"
    )
    parser.add_argument("--unclean", action="store_true", help="damage a store whose writer was killed, not a closed one")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    matrix: dict[str, Callable[[Bench], Iterator[Trial]]] = {
        "flip": lambda bench: flips(bench, given.flips, given.seed),
        "truncate": truncations,
        "delete": deletions,
        "swap": swaps,
        "kill": lambda bench: stops(bench, "kill", given.kills),
        "interrupt": lambda bench: stops(bench, "interrupt", given.interrupts),
    }
    with (
        tempfile.TemporaryDirectory(prefix="injection") as folder,
        Bench(given.engine, Path(folder), Plan(given.documents, given.terms), unclean=given.unclean) as bench,
    ):
        chosen = [intact, *(matrix[name] for name in given.only or matrix)]
        return 0 if report((done for kind in chosen for done in kind(bench)), sys.stdout.write) else 1


if __name__ == "__main__":
    sys.exit(main())
