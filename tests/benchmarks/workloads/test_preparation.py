"""Workloads: what is written is what the collection and the encoder gave, also after an interruption."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from benchmarks.workloads import preparation
from benchmarks.workloads.choice import read_npz, workload_of
from benchmarks.workloads.workload import Workload, batches
from splade_ptbr_connectors.errors import ConfigError, InputError, InputFileError
from splade_ptbr_connectors.evaluation.collections import Collection
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector


class LengthEncoder:
    """One term for each word: its length. Counts the texts that it was given."""

    name = "lengths"
    fingerprint = hashlib.sha256(b"lengths").hexdigest()
    vocab_size = 100
    load_arguments: ClassVar[Mapping[str, Any]] = {}

    def __init__(self) -> None:
        self.encoded = 0

    def token(self, term_id: int) -> str:
        return str(term_id)

    def encode_query(self, text: str) -> SparseVector:
        return SparseVector.from_dict({len(word): 1.0 + len(word) for word in text.split()})

    def encode_queries(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        return map(self.encode_query, texts)

    def encode_documents(self, texts: Iterable[str]) -> Iterator[SparseVector]:
        for text in texts:
            self.encoded += 1
            yield self.encode_query(text)


TEXTS = [(f"d{n}", "palavra " * (n % 4) + "é\n" + "a" * (n % 7 + 1)) for n in range(25)]
QRELS = {"q1": {"d3": 1, "ausente": 2}}


def collection(texts: list[tuple[str, str]] = TEXTS, *, stop_at: int | None = None, name: str = "pequena") -> Collection:
    def read() -> Iterator[tuple[str, str]]:
        for n, pair in enumerate(texts):
            if n == stop_at:
                raise KeyboardInterrupt
            yield pair

    return Collection(name=name, queries={"q1": "duas palavras", "q2": ""}, read_documents=read, qrels=QRELS, notes=("uma nota",))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "PART", 10)


def test_holds_what_collection_and_encoder_gave(tmp_path: Path) -> None:
    encoder = LengthEncoder()
    prepared = preparation.prepare(collection(), encoder, tmp_path)
    assert prepared.doc_ids == [doc_id for doc_id, _ in TEXTS]
    assert list(prepared.texts()) == [text for _, text in TEXTS]
    assert prepared.query_seconds is not None and len(prepared.query_seconds) == 2 and (prepared.query_seconds >= 0).all()
    assert list(prepared.documents) == [encoder.encode_query(text) for _, text in TEXTS]
    assert (prepared.query_ids, prepared.query_texts) == (["q1", "q2"], ["duas palavras", ""])
    assert list(prepared.queries) == [encoder.encode_query("duas palavras"), SparseVector([], [])]
    assert prepared.qrels == QRELS
    assert prepared.about.notes == ("uma nota",)
    assert not (tmp_path / "parts").exists()


def test_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        preparation.prepare(collection(stop_at=17), LengthEncoder(), tmp_path)
    with pytest.raises(InputFileError, match="no finished workload"):
        Workload(tmp_path)
    encoder = LengthEncoder()
    prepared = preparation.prepare(collection(), encoder, tmp_path)
    assert encoder.encoded == 15  # the first part of ten was there
    assert list(prepared.documents) == [encoder.encode_query(text) for _, text in TEXTS]
    again = LengthEncoder()
    preparation.prepare(collection(), again, tmp_path)
    assert again.encoded == 0


def test_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    preparation.prepare(collection(), LengthEncoder(), tmp_path)
    with pytest.raises(ConfigError, match="'pequena', not 'outra'"):
        preparation.prepare(collection(name="outra"), LengthEncoder(), tmp_path)
    other = LengthEncoder()
    other.fingerprint = "0" * 64  # type: ignore[misc]
    with pytest.raises(ConfigError, match="model"):
        preparation.prepare(collection(), other, tmp_path)


def test_nothing_to_search_in_or_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no documents"):
        preparation.prepare(collection([]), LengthEncoder(), tmp_path / "a")
    with pytest.raises(InputError, match="no queries"):
        preparation.prepare(Collection(name="vazia", queries={}, read_documents=lambda: iter(TEXTS)), LengthEncoder(), tmp_path / "b")


def test_ready_vectors_from_a_file(tmp_path: Path) -> None:
    documents = SparseBatch.from_vectors([SparseVector([3, 9], [1.0, 0.5]), SparseVector([9], [2.0])])
    queries = SparseBatch.from_vectors([SparseVector([9], [1.5])])
    arrays = {
        f"{part}_{name}": getattr(vectors, held)
        for part, vectors in (("document", documents), ("query", queries))
        for name, held in (("ptr", "indptr"), ("term", "term_ids"), ("weight", "weights"))
    }
    np.savez(tmp_path / "vectors.npz", **arrays)
    prepared = workload_of(str(tmp_path / "vectors.npz"), tmp_path / "workload", "mini-bert")
    assert list(prepared.documents) == list(documents)
    assert list(prepared.queries) == list(queries)
    assert (prepared.qrels, prepared.has_texts, prepared.about.vocab_size) == ({}, False, 10)


def test_a_file_that_is_none_of_vectors(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("não")
    for name in ("other.npz", "text.npz", "missing.npz"):
        with pytest.raises(InputFileError, match="document_ptr"):
            read_npz(tmp_path / name)


def test_batches_are_the_same_vectors() -> None:
    vectors = SparseBatch.from_vectors([SparseVector([n], [1.0]) for n in range(7)])
    parts = list(batches(vectors, 3))
    assert [len(part) for part in parts] == [3, 3, 1]
    assert [vector for part in parts for vector in part] == list(vectors)
