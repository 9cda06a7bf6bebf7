from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from splade_ptbr_connectors.ingestion.engine import IngestReport, ingest
from splade_ptbr_connectors.stores import open_store
from tests.faults.child import CHECKPOINT, DEAD_LETTER, INDEX, INPUT
from tests.support.collections import assert_holds, documents
from tests.support.encoders import HashingEncoder

ROOT = Path(__file__).parents[2]
Child = subprocess.Popen[str]


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    """Starts `python -m tests.faults.child`; what is still running at the end is killed."""
    started: list[Child] = []

    def start(action: str, folder: Path, *arguments: object) -> Child:
        command = [sys.executable, "-m", "tests.faults.child", action, str(folder), *map(str, arguments)]
        pipe, environment = subprocess.PIPE, {**os.environ, "PYTHONPATH": "."}
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


class Case:
    """A folder with an input of `count` documents, some of them broken, some of them doubled."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.url = f"edge:{folder / INDEX}"
        self.checkpoint = folder / CHECKPOINT
        self.expected = documents(count)
        lines: list[Any] = []
        for n, document in enumerate(self.expected):
            lines.append(document)
            if n % 50 == 49:
                lines += [{"_id": "no text"}, self.expected[n // 2]]
        self.lines = len(lines)
        (folder / INPUT).write_text("".join(json.dumps(line) + "\n" for line in lines))

    def position(self) -> int:
        """What the checkpoint says is safe."""
        return int(json.loads(self.checkpoint.read_text())["position"]) if self.checkpoint.exists() else 0

    def stored(self) -> set[str]:
        with open_store(self.url, encoder=HashingEncoder()) as store:
            return set(store.get([document["_id"] for document in self.expected]))

    def finish(self) -> IngestReport:
        """Run the ingest to its end and check that the store is as after an unbroken run."""
        with open_store(self.url, encoder=HashingEncoder()) as store:
            report = ingest(
                self.folder / INPUT, store, checkpoint=self.checkpoint, dead_letter=self.folder / DEAD_LETTER, max_batch_documents=32
            )
            assert_holds(store, self.expected)
        rejected = len(self.expected) // 50 * 2
        assert (report.read, report.rejected) == (self.lines, rejected)
        assert report.written + report.unchanged == len(self.expected)
        dead = [json.loads(line)["line"] for line in (self.folder / DEAD_LETTER).read_text().splitlines()]
        assert dead == sorted(set(dead)) and len(dead) == rejected
        assert not self.checkpoint.exists()
        return report


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path, 1000)
