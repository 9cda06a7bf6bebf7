"""A process to be killed: `python -m tests.faults.child ACTION ARGUMENTS`, run from the root of the checkout.

ingest FOLDER [DELAY_S]   ingest FOLDER/in.jsonl into FOLDER/index; says "ready" before it begins
pause FOLDER [URL [LINES]]  the same into the store at URL, but after 700 lines it says "paused" and reads no further
hold FOLDER               open FOLDER/index, say "ready", wait for a line on stdin
poison FOLDER             write a malformed vector past the package's checks
open FOLDER               open or create FOLDER/index without the rights of root, and write to it

Exit codes: 0 done, 130 interrupted, 74 StoreWriteError, 75 another error of the package (its name on stdout).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import splade_ptbr_connectors.stores.edge  # noqa: F401 (before rights are given up: it may be out of reach then)
from splade_ptbr_connectors.errors import SpladeConnectorsError, StoreWriteError
from splade_ptbr_connectors.ingestion import checkpoint
from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.sources import open_source
from splade_ptbr_connectors.stores import open_store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

CHECKPOINT, DEAD_LETTER, INPUT, INDEX = "run.checkpoint", "run.dead.jsonl", "in.jsonl", "index"


def run_ingest(folder: Path, delay_s: str = "0") -> None:
    checkpoint.INTERVAL_S, checkpoint.MAX_SHARE = 0.05, 1.0  # many checkpoints in a short run: more moments to be killed at
    with open_store(f"edge:{folder / INDEX}", encoder=HashingEncoder(delay_s=float(delay_s))) as store:
        say("ready")
        ingest(folder / INPUT, store, checkpoint=folder / CHECKPOINT, dead_letter=folder / DEAD_LETTER, max_batch_documents=32)


def pause(folder: Path, url: str = "", after: str = "700") -> None:
    def lines() -> Iterator[Any]:
        for number, row in enumerate(open_source(folder / INPUT)):
            if number == int(after):
                say("paused")
                while True:
                    time.sleep(0.05)
            yield row

    checkpoint.INTERVAL_S, checkpoint.MAX_SHARE = 0.0, 1.0
    with open_store(url or f"edge:{folder / INDEX}", encoder=HashingEncoder()) as store:
        ingest(lines(), store, checkpoint=folder / CHECKPOINT, dead_letter=folder / DEAD_LETTER, max_batch_documents=32)


def hold(folder: Path) -> None:
    with open_store(f"edge:{folder / INDEX}", encoder=HashingEncoder()):
        say("ready")
        sys.stdin.readline()


def poison(folder: Path) -> None:
    import qdrant_edge

    shard = qdrant_edge.EdgeShard.load(str(folder / INDEX / "shard"))
    vector = {"splade": qdrant_edge.SparseVector([1, 2], [1.0])}
    point = qdrant_edge.Point(1, vector, {})  # type: ignore[arg-type]
    try:
        shard.update(qdrant_edge.UpdateOperation.upsert_points([point]))
    except BaseException as error:
        say(type(error).__name__)
    os._exit(0)  # as a crash would: nothing is flushed


def open_unprivileged(folder: Path) -> None:
    os.chdir(folder)  # the folders above may be closed to others
    if os.geteuid() == 0:
        os.seteuid(65534)
    with open_store(f"edge:{INDEX}", encoder=HashingEncoder()) as store:
        store.upsert_vectors([("new", SparseVector([1], [1.0]))])


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


ACTIONS = {"ingest": run_ingest, "pause": pause, "hold": hold, "poison": poison, "open": open_unprivileged}


def main() -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite run in the background of a shell has it ignored
    try:
        ACTIONS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])
    except KeyboardInterrupt:
        return 130
    except StoreWriteError as error:
        say(f"StoreWriteError: {error}")
        return 74
    except SpladeConnectorsError as error:
        say(f"{type(error).__name__}: {error}")
        return 75
    return 0


if __name__ == "__main__":
    sys.exit(main())
