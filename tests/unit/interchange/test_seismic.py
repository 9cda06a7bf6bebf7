"""Seismic: the real library builds on our files and scores as the dot product; damaged binary files."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.interchange import seismic
from splade_ptbr_connectors.interchange.vector_encoding import VectorEncoding
from splade_ptbr_connectors.records import EncodedRecord
from splade_ptbr_connectors.vectors import SparseVector

from .collections import terms_of

ALL = {"k": 60, "query_cut": 100, "heap_factor": 0.0, "n_knn": 0, "sorted": True}  # exact search


@pytest.fixture(scope="module")
def library() -> Any:
    return pytest.importorskip("seismic", reason="pyseismic-lsr is not installed")


@pytest.fixture(scope="module")
def records() -> list[EncodedRecord]:
    rng = np.random.default_rng(0)
    rows = [(rng.permutation(16)[: rng.integers(1, 9)], rng.gamma(1.2, 0.5, 8) + 0.01) for _ in range(60)]
    return [EncodedRecord(f"d{n}", SparseVector(ids, weights[: len(ids)]), {"text": f"texto {n}"}) for n, (ids, weights) in enumerate(rows)]


QUERY = SparseVector([1, 2, 5, 9, 14], [0.7, 1.5, 0.4, 2.0, 1.1])


def scores(records: list[EncodedRecord]) -> dict[str, float]:
    return {one.doc_id: QUERY.dot(one.vector) for one in records if QUERY.dot(one.vector) > 0}


@pytest.mark.parametrize("label", ["ids", "tokens"])
def test_an_index_of_our_jsonl_scores_as_the_dot_product(label: str, library: Any, records: list[EncodedRecord], tmp_path: Path) -> None:
    path, terms = tmp_path / "s.jsonl", terms_of(label)
    seismic.write_jsonl(path, records, VectorEncoding(terms))
    index = library.SeismicIndex.build(str(path))
    assert (index.len, index.nnz) == (60, sum(len(one.vector) for one in records))
    names = np.array(terms.names(QUERY.term_ids), dtype=library.get_seismic_string())
    found = {doc_id: score for _, score, doc_id in index.search("q", names, QUERY.weights.copy(), **ALL)}
    assert found == pytest.approx(scores(records), rel=2e-3)  # Seismic keeps weights as float16
    assert index.get_doc_text("d7") == "texto 7"


def test_an_index_of_our_binary_file_scores_as_the_dot_product(library: Any, records: list[EncodedRecord], tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    seismic.write_bin(path, records, VectorEncoding())
    index = library.SeismicIndexRaw.build(str(path))
    assert (index.len, index.nnz) == (60, sum(len(one.vector) for one in records))
    hits = index.search(QUERY.term_ids.astype(np.int32), QUERY.weights.copy(), **ALL)
    ids = seismic.ids_path(path).read_text().split()
    assert {ids[position]: score for score, position in hits} == pytest.approx(scores(records), rel=2e-3)


# -- without the library -----------------------------------------------------------------------------------------------

PAIR = [EncodedRecord("um", SparseVector([1, 3], [0.5, 2.0])), EncodedRecord("dois", SparseVector([], []))]


def test_lines_with_numbers_as_ids_and_texts(tmp_path: Path) -> None:
    (tmp_path / "s.jsonl").write_text('{"id": 7, "content": "um texto", "vector": {"1": 1, "12": 0.5}}\n{"id": "b", "vector": {}}\n')
    first, second = seismic.read_jsonl(tmp_path / "s.jsonl", VectorEncoding())
    assert (first.doc_id, first.vector, first.payload) == ("7", SparseVector([1, 12], [1.0, 0.5]), {"text": "um texto"})
    assert (second.doc_id, len(second.vector), second.payload) == ("b", 0, {})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"vector": {}}', "ids are strings"),
        ('{"id": "a"}', '"vector" is NoneType'),
        ('{"id": "a", "vector": [1]}', '"vector" is list'),
        ('{"id": "a", "vector": {"1": "x"}}', "weights must be numbers"),
        ('{"id": "a", "vector": {"1": 0}}', "not accepted"),
        ('{"id": "a", "vector": {"1": NaN}}', "not accepted"),
        ('{"id": "a", "vector": {"01": 1}}', "not a term id"),
        ('{"id": "a", "vector": {"99999999999": 1}}', "not a term id"),
        ('{"id": "a", "vector": {"4294967296": 1}}', "outside 0"),
        ('{"id": "a", "vector": {"1": 1}, "content": 3}', '"content" is int'),
        ('{"id": "a", "vector": {"1": 1}', "not JSON"),
        ("[]", "JSON array"),
        ("3", "int instead of"),
    ],
)
def test_lines_that_are_no_vectors_are_named(line: str, message: str, tmp_path: Path) -> None:
    lines = [line] if line == "[]" else ['{"id": "b", "vector": {"1": 1}}', line]
    (tmp_path / "s.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputFileError, match=message) as error:
        list(seismic.read_jsonl(tmp_path / "s.jsonl", VectorEncoding()))
    assert "line 2" in str(error.value) or line == "[]"


def test_a_binary_file_without_ids_counts_its_documents(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    seismic.write_bin(path, PAIR, VectorEncoding())
    assert list(seismic.read_bin(path, VectorEncoding())) == PAIR
    seismic.ids_path(path).unlink()
    assert [one.doc_id for one in seismic.read_bin(path, VectorEncoding())] == ["0", "1"]
    with pytest.raises(InputFileError, match=r"without \.gz"):
        seismic.write_bin(tmp_path / "s.bin.gz", PAIR, VectorEncoding())


def test_a_binary_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.bin"
    seismic.write_bin(path, PAIR, VectorEncoding())
    for file in (path, seismic.ids_path(path)):
        whole = file.read_bytes()
        for size in range(len(whole)):
            file.write_bytes(whole[:size])
            with pytest.raises(InputFileError, match=r"byte|cut off|ids for"):
                list(seismic.read_bin(path, VectorEncoding()))
        file.write_bytes(whole + b"x\n")
        with pytest.raises(InputFileError, match=r"more (ids|behind)"):
            list(seismic.read_bin(path, VectorEncoding()))
        file.write_bytes(whole)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (struct.pack("<II", 1, 2**32 - 1), r"byte 8: the file ends within vector 0 of 1: 34,359,738,360 bytes are announced, 0"),
        (struct.pack("<I", 2**32 - 1), "4,294,967,295 vectors do not fit into this file"),
        (struct.pack("<IIIIff", 1, 2, 3, 3, 1, 1), "term id 3 occurs more than once"),
        (struct.pack("<IIIf", 1, 1, 3, -1), "weight -1"),
        (struct.pack("<IIIf", 1, 1, 3, float("nan")), "weight nan"),
    ],
)
def test_binary_files_that_lie(data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.bin").write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(InputFileError, match=message):
            list(seismic.read_bin(tmp_path / "s.bin", VectorEncoding()))
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()
