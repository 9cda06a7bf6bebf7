"""The sample collection that ships in the package: Portuguese passages, questions and graded judgments."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parent.parent / "sample"
CORPUS = SAMPLE / "corpus.jsonl"
QUERIES = SAMPLE / "queries.jsonl"
QRELS = SAMPLE / "qrels" / "test.tsv"


def read_corpus() -> Iterator[dict[str, Any]]:
    """The passages: _id, title, text and metadata."""
    with CORPUS.open(encoding="utf-8") as lines:
        yield from map(json.loads, lines)
