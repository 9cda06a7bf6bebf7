"""Pairs from running text: a sentence as the query, the rest of its passage as the document."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from splade_ptbr_connectors.evaluation.files import read_lines


def passages_of(lines: Iterable[tuple[int, str]], *, words: int = 120) -> Iterator[str]:
    """Passages of about `words` words: consecutive paragraphs, never over a document's end (a blank line).

    Args:
        lines: (line number, text) without the blank lines: a gap in the numbers is one.
        words: a passage ends with the paragraph that reaches this many.
    """
    held: list[str] = []
    count = last = 0
    for number, line in lines:
        if held and (number > last + 1 or count >= words):
            yield " ".join(held)
            held, count = [], 0
        held.append(line.strip())
        count, last = count + len(line.split()), number
    if held:
        yield " ".join(held)


_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")


def cloze_pair(passage: str, rng: np.random.Generator) -> tuple[str, str] | None:
    """A sentence of 5 to 20 words as the query and the rest as the document; None when there is no such sentence."""
    sentences = _SENTENCE_END.split(passage)
    fitting = [i for i, sentence in enumerate(sentences) if 5 <= len(sentence.split()) <= 20]
    if len(sentences) < 3 or not fitting:
        return None
    pick = fitting[int(rng.integers(len(fitting)))]
    rest = " ".join(sentences[:pick] + sentences[pick + 1 :])
    words = rest.split()
    return (sentences[pick], " ".join(words[:300])) if len(words) >= 20 else None


def cloze_rows(folder: Path, names: Sequence[str], *, limit: int, seed: int) -> list[tuple[str, str, str]]:
    """(query, document, text file) of up to `limit` passages of each text file, drawn with the seed."""
    rows: list[tuple[str, str, str]] = []
    for number, name in enumerate(names):
        rng = np.random.default_rng([seed, 2, number])
        passages = list(passages_of(read_lines(text_path(folder, name))))
        made = (cloze_pair(passages[i], rng) for i in rng.permutation(len(passages)))
        pairs = islice((pair for pair in made if pair is not None), limit)
        rows += [(query, document, name) for query, document in pairs]
    return rows


def text_path(folder: Path, name: str) -> Path:
    """Where a text file lies."""
    return folder / f"{name}.txt.gz"
