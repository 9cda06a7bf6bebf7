"""Training data at the size of mMARCO: how long the conversion takes, how soon a run starts, what the loader holds in memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.harness.machine import machine
from benchmarks.harness.memory import status_bytes
from training.data.open import open_batches
from training.recipe.sections import TripletsData

SECTION = TripletsData(collection="collection.tsv", queries="queries.tsv", triples="triples.tsv", qrels="qrels.tsv")
SEED, CHUNK = 42, 500_000
START_GOAL_S, MEMORY_GOAL_BYTES = 10.0, 1_000_000_000
CHECKED_STEP = 12_345


def triplets(
    triplets: Annotated[int, typer.Option(help="Lines of the triplet file.", min=1000)] = 39_780_811,
    documents: Annotated[int, typer.Option(help="Lines of the collection.", min=1000)] = 8_841_823,
    queries: Annotated[int, typer.Option(help="Lines of the query file.", min=1000)] = 808_731,
    batch: Annotated[int, typer.Option(help="Queries of a batch.", min=1)] = 32,
    batches: Annotated[int, typer.Option(help="Batches that are read to measure the rate.", min=1)] = 3000,
    folder: Annotated[Path | None, typer.Option(help="Where to write (default: the temporary folder); emptied at the end.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document instead of a table.")] = False,
) -> None:
    """Convert made-up files of the real size, then start from them in fresh processes (goals: 10 s, 1 GB)."""
    with tempfile.TemporaryDirectory(dir=folder, prefix="splade-benchmark-") as name:
        place = Path(name)
        wrong = _write(place, triplets, documents, queries)
        sizes = {path.name: path.stat().st_size for path in sorted(place.glob("*.tsv"))}
        converted = _child(place, batch, 1)
        _evict(place)
        started = _child(place, batch, batches)
        again = _child(place, batch, batches)
        cache_bytes = sum(path.stat().st_size for path in (place / "cache").rglob("*") if path.is_file())
    _require(converted, started, again, wrong)
    result = {
        "benchmark": "triplets",
        "settings": {"triplets": triplets, "documents": documents, "queries": queries, "batch": batch, "batches": batches},
        "machine": machine(),
        "file_bytes": sizes,
        "cache_bytes": cache_bytes,
        "conversion": converted,
        "start_files_not_in_memory": started,
        "start_files_in_memory": again,
    }
    typer.echo(json.dumps(result, ensure_ascii=False, indent=2) if as_json else _table(result))


def _require(converted: dict[str, Any], started: dict[str, Any], again: dict[str, Any], wrong: int) -> None:
    """The figures are those of a loader that is right."""
    left_out = converted["sizes"]["left_out_negative_is_positive"]
    if left_out != wrong:
        raise RuntimeError(f"{left_out} triplets with a positive as negative were left out, the file has {wrong}")
    if not converted["checked_batch"] == started["checked_batch"] == again["checked_batch"]:
        raise RuntimeError(f"the batch of step {CHECKED_STEP} is not the same in every process")


def _table(result: dict[str, Any]) -> str:
    lines = [", ".join(f"{key} {value}" for key, value in result[part].items()) for part in ("settings", "machine")]
    lines.append(f"files {sum(result['file_bytes'].values()) / 1e9:.2f} GB, cache {result['cache_bytes'] / 1e9:.2f} GB\n")
    for name in ("conversion", "start_files_not_in_memory", "start_files_in_memory"):
        run = result[name]
        memory = ", ".join(f"{key} {value / 1e6:,.0f} MB" for key, value in run["memory_bytes"].items())
        rate = f"   {run['batches_per_second']:,.0f} batches/s" if name != "conversion" else ""
        lines.append(f"{name.replace('_', ' '):27} {run['first_batch_s']:7.2f} s to the first batch{rate}   {memory}")
    run = result["start_files_not_in_memory"]
    start = "ok" if run["first_batch_s"] < START_GOAL_S else "missed"
    held = "ok" if run["memory_bytes"]["peak"] < MEMORY_GOAL_BYTES else "missed"
    lines.append(f"\nstart below {START_GOAL_S:.0f} s: {start}; peak memory below {MEMORY_GOAL_BYTES / 1e9:.0f} GB: {held}")
    lines.append("peak: VmHWM, memory-mapped pages of files included; anonymous, file: RssAnon and RssFile at the end")
    return "\n".join(lines)


# -- made-up files ----------------------------------------------------------------------------------------------------


def _write(folder: Path, triplets: int, documents: int, queries: int) -> int:
    """Writes the files; returns how many triplets have a known positive of their query as the negative."""
    random = np.random.default_rng(0)
    query_ids = random.permutation(queries * 3 // 2)[:queries]
    _write_lines(folder / SECTION.collection, (f"{n}\tpassagem {n} sobre um assunto qualquer\n" for n in range(documents)))
    _write_lines(folder / SECTION.queries, (f"{n}\tqual é o assunto {n}?\n" for n in query_ids.tolist()))
    positive = random.integers(documents, size=queries)
    judged = enumerate(positive[: queries // 2].tolist())
    _write_lines(folder / str(SECTION.qrels), (f"{query_ids[row]}\t0\t{document}\t1\n" for row, document in judged))
    wrong = 0
    with open(folder / SECTION.triples, "w", encoding="utf-8", newline="\n") as file:
        for start in range(0, triplets, CHUNK):
            part = _triplets(random, min(CHUNK, triplets - start), positive, documents)
            wrong += int((part[:, 2] == positive[part[:, 0]]).sum())
            part[:, 0] = query_ids[part[:, 0]]
            file.write("".join(f"{query}\t{right}\t{other}\n" for query, right, other in part.tolist()))
    return wrong


def _triplets(random: np.random.Generator, count: int, positive: NDArray[np.int64], documents: int) -> NDArray[np.int64]:
    """Rows of half the queries, as often as in MS MARCO (about a hundred triplets each); one negative in 10,000 is the positive."""
    rows = random.integers(len(positive) // 2, size=count)
    negative = random.integers(documents, size=count)
    planted = random.random(count) < 1e-4
    return np.stack([rows, positive[rows], np.where(planted, positive[rows], negative)], axis=1)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)


def _evict(folder: Path) -> None:
    """Asks the system to forget the files' pages, so that the next start reads the disk, as after a reboot."""
    if not hasattr(os, "posix_fadvise"):
        return
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            handle = os.open(path, os.O_RDONLY)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


# -- a process of its own ---------------------------------------------------------------------------------------------


def _child(folder: Path, batch: int, batches: int) -> dict[str, Any]:
    """What a fresh process reports; its start is counted from here."""
    code = f"from benchmarks.triplets import child; child({str(folder)!r}, {batch}, {batches})"
    started = time.time()
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, check=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return {"first_batch_s": report.pop("ready") - started, **report}


def child(folder: str, batch: int, batches: int) -> None:
    """Opens the data, reads batches and writes what it found as JSON."""
    place = Path(folder)
    source = open_batches(SECTION, place, place / "cache", batch_queries=batch, seed=SEED)
    source.batch(0)
    ready = time.time()
    for step in range(1, batches + 1):
        source.batch(step)
    rate = batches / (time.time() - ready)
    content = repr(source.batch(CHECKED_STEP))
    report = {"ready": ready, "batches_per_second": rate, "memory_bytes": _memory(), "sizes": dict(source.sizes)}
    typer.echo(json.dumps({**report, "checked_batch": hashlib.sha256(content.encode()).hexdigest()}))


def _memory() -> dict[str, int]:
    """Of this process, as Linux counts it; empty elsewhere."""
    fields = {"peak": "VmHWM", "anonymous": "RssAnon", "file": "RssFile"}
    return {name: size for name, field in fields.items() if (size := status_bytes(field)) is not None}
