"""PISA's files, number by number against a scipy inversion; files that are damaged or of different indexes."""

from __future__ import annotations

import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.interchange.pisa import SUFFIXES, read_pisa, write_pisa
from splade_ptbr_connectors.interchange.vector_encoding import VectorEncoding
from splade_ptbr_connectors.records import EncodedRecord
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector

from .collections import collections, quantised

RECORDS = [EncodedRecord("um", SparseVector([1, 3], [0.5, 2.0])), EncodedRecord("dois", SparseVector([3], [9.0]))]


def sequences(path: Path) -> list[list[int]]:
    numbers, found, position = np.fromfile(path, "<u4").tolist(), [], 0
    while position < len(numbers):
        found.append(numbers[position + 1 : position + 1 + numbers[position]])
        position += 1 + numbers[position]
    return found


@settings(max_examples=15)
@given(records=collections("pisa"))
def test_the_files_hold_the_inversion(records: list[EncodedRecord]) -> None:
    matrix = SparseBatch.from_vectors(SparseVector.from_dict(quantised(one.vector)) for one in records).to_scipy(16).tocsc()
    terms = [term for term in sorted(range(16), key=str) if matrix.indptr[term] < matrix.indptr[term + 1]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.docs"
        write_pisa(path, records, VectorEncoding())
        docs, freqs, sizes, names, ids = (path.with_suffix(suffix) for suffix in SUFFIXES)
        assert sequences(docs) == [[len(records)], *(matrix[:, [term]].nonzero()[0].tolist() for term in terms)]
        assert sequences(freqs) == [matrix.data[matrix.indptr[term] : matrix.indptr[term + 1]].astype(int).tolist() for term in terms]
        assert sequences(sizes) == [matrix.sum(axis=1).astype(int).tolist()]
        assert names.read_text().split() == list(map(str, terms))
        assert ids.read_text(encoding="utf-8").split("\n") == [*(one.doc_id for one in records), ""]


def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    write_pisa(tmp_path / "x.docs", RECORDS, VectorEncoding())
    assert len(list(read_pisa(tmp_path / "x.docs", VectorEncoding()))) == 2
    for suffix in SUFFIXES:
        path = tmp_path / f"x{suffix}"
        whole = path.read_bytes()
        for size in range(len(whole)):
            path.write_bytes(whole[:size])
            with pytest.raises(InputFileError):
                list(read_pisa(tmp_path / "x.docs", VectorEncoding()))
        path.write_bytes(whole + bytes(4))
        with pytest.raises(InputFileError):
            list(read_pisa(tmp_path / "x.docs", VectorEncoding()))
        path.unlink()
        with pytest.raises(InputFileError, match=rf"x{suffix}.*[Nn]o such file"):
            list(read_pisa(tmp_path / "x.docs", VectorEncoding()))
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("suffix", "numbers", "message"),
    [
        (".docs", [1, 2, 2**32 - 1, 0], "4,294,967,295 numbers, at most 2 are possible"),
        (".docs", [2, 2, 2, 1, 0, 2, 0, 1], "the number of documents: 2 numbers, at most 1 are possible"),
        (".docs", [1, 2**32 - 1, 1, 0], "the names of 4,294,967,295 documents do not fit"),
        (".docs", [0, 2, 0, 1], "must be one, the number of documents"),
        (".docs", [1, 2, 3, 0, 1, 2], "3 numbers, at most 2 are possible"),
        (".docs", [1, 2, 1, 0, 2, 1, 1], "do not ascend"),
        (".docs", [1, 2, 1, 7, 2, 0, 1], "a posting names document 7"),
        (".docs", [1, 2, 1, 0, 1, 1], "2 frequencies for 1 documents"),
        (".freqs", [1, 50, 2, 0, 900], "impact outside"),
        (".freqs", [1, 50, 2, 2**31, 900], "impact outside"),
        (".sizes", [1, 250], "1 sizes"),
    ],
)
def test_numbers_that_lie(suffix: str, numbers: list[int], message: str, tmp_path: Path) -> None:
    write_pisa(tmp_path / "x.docs", RECORDS, VectorEncoding())
    (tmp_path / f"x{suffix}").write_bytes(np.array(numbers, "<u4").tobytes())
    tracemalloc.start()
    try:
        with pytest.raises(InputFileError, match=message):
            list(read_pisa(tmp_path / "x.docs", VectorEncoding()))
        assert tracemalloc.get_traced_memory()[1] < 2**26
    finally:
        tracemalloc.stop()


def test_the_index_is_named_by_its_docs(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"ends in \.docs"):
        write_pisa(tmp_path / "x", RECORDS, VectorEncoding())
