"""Random collections, a model whose tokens are awkward, and the plain definition of quantisation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from hypothesis import strategies as st

from splade_ptbr_connectors.interchange.formats import FORMATS
from splade_ptbr_connectors.interchange.vector_encoding import TermIds, Terms, Tokens, VectorEncoding
from splade_ptbr_connectors.records import EncodedRecord
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.encoders import HashingEncoder

VOCABULARY = [".", '"', "{", "##ção", "ação", "\\", "日本", "🙂", "a\u0301", "=", "0", "7", "null", "<pad>", "#", "'"]
FACTOR = 100
TARGET = {
    "jsonl": "v.jsonl",
    "anserini": "v.json",
    "anserini-queries": "q.tsv",
    "ciff": "x.ciff",
    "pisa": "x.docs",
    "seismic": "s.jsonl",
    "seismic-bin": "s.bin",
}
QUANTISED = [name for name, one in FORMATS.items() if one.quantised]
EXACT = [name for name, one in FORMATS.items() if not one.quantised]


class Awkward(HashingEncoder):
    """A model with tokens that need care in one format or another; tokens of its own may be given."""

    def __init__(self, tokens: Iterable[str] = VOCABULARY) -> None:
        self.tokens = list(tokens)
        super().__init__("awkward", vocab_size=len(self.tokens))

    def token(self, term_id: int) -> str:
        return self.tokens[term_id]


def terms_of(label: str) -> Terms:
    return TermIds() if label == "ids" else Tokens(Awkward())


weights = st.floats(0.0010000000474974513, 40, width=32) | st.sampled_from([0.004, 0.005, 0.0051, 0.015, 0.025, 1.0, 3.5])
vectors = st.dictionaries(st.integers(0, len(VOCABULARY) - 1), weights, max_size=8).map(SparseVector.from_dict)
characters = st.characters(codec="utf-8", exclude_characters="\0")
texts = st.text(characters, max_size=20)
free_ids = st.text(characters, min_size=1, max_size=12).filter(lambda text: bool(text.strip()))
line_ids = free_ids.filter(lambda text: not set(text) & {"\n", "\r"} and not text.startswith("\ufeff"))
word_ids = free_ids.filter(lambda text: text.split() == [text] and not text.startswith("\ufeff"))
IDS = {"anserini-queries": word_ids, "pisa": line_ids, "seismic-bin": line_ids}


def collections(format: str) -> st.SearchStrategy[list[EncodedRecord]]:
    """Documents of a format, ids with all the characters that it can hold."""
    one = st.builds(EncodedRecord, IDS.get(format, free_ids), vectors)
    return st.lists(one, min_size=1, max_size=8, unique_by=lambda record: record.doc_id)


def write_and_read(format: str, folder: Path, records: list[EncodedRecord], encoding: VectorEncoding) -> list[EncodedRecord]:
    target = folder / TARGET[format]
    FORMATS[format].write(target, iter(records), encoding)
    return list(FORMATS[format].read(target, encoding))


def quantised(vector: SparseVector, factor: int = FACTOR) -> dict[int, int]:
    """{term id: impact} by the definition, one by one."""
    impacts = {term: round(weight * factor) for term, weight in vector.to_dict().items()}
    return {term: impact for term, impact in impacts.items() if impact > 0}


def restored(vector: SparseVector, factor: int = FACTOR) -> SparseVector:
    return SparseVector.from_dict({term: float(np.float32(impact / factor)) for term, impact in quantised(vector, factor).items()})
