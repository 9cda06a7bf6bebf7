"""Memory does not grow with the stream: what a record leaves behind is its id's place in a table, and no more."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from splade_ptbr_connectors.ingestion.engine import ingest
from splade_ptbr_connectors.stores.base import Entry
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder
from tests.support.stores import MemoryStore

COUNT, TERMS, MEASURE_FROM = 40_000, 143, 10_000
BYTES_A_RECORD = 400  # a million records in less than half a gigabyte


class Null(MemoryStore):
    """Keeps nothing of what is loaded."""

    def _upsert(self, entries: list[Entry]) -> list[object]:  # type: ignore[override]
        return []


def _resident_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_long_stream_takes_no_more_memory_than_a_short_one() -> None:
    resident: list[int] = []

    def stream() -> Iterator[tuple[str, SparseVector, dict[str, str]]]:
        for number in range(COUNT):
            vector = SparseVector(range(number % 7, TERMS * 20 + number % 7, 20), [1.5] * TERMS)
            if number >= MEASURE_FROM and number % 5000 == 0:
                resident.append(_resident_bytes())
            yield f"document-{number}", vector, {"text": f"{number} " * 50}

    ingest(stream(), Null(HashingEncoder(), max_in_flight=4), reconcile=0)
    # held all the while, the vectors and texts alone would be over 1.4 KB a record
    assert max(resident) - resident[0] < (COUNT - MEASURE_FROM) * BYTES_A_RECORD
