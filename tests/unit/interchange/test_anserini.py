"""Anserini's files: what its collection class would index, folders, queries, lines that are neither."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.interchange.anserini import read_queries, read_vectors, write_queries, write_vectors
from splade_ptbr_connectors.interchange.vector_encoding import VectorEncoding
from splade_ptbr_connectors.records import EncodedRecord
from splade_ptbr_connectors.vectors import SparseVector

from .collections import quantised, terms_of

RECORDS = [
    EncodedRecord("um", SparseVector([1, 3, 4], [0.5, 2.0, 0.001]), {"title": "Título", "text": "texto", "url": "x"}),
    EncodedRecord("dois", SparseVector([], [])),
    EncodedRecord("três", SparseVector([3], [9.0]), {"text": "só texto"}),
]


def test_lines_are_what_anserini_indexes(tmp_path: Path) -> None:
    counts = write_vectors(tmp_path / "v.jsonl", RECORDS, VectorEncoding(terms_of("tokens")))
    first, second, third = (json.loads(line) for line in (tmp_path / "v.jsonl").read_text(encoding="utf-8").splitlines())
    assert first == {"id": "um", "contents": "Título texto", "vector": {'"': 50, "##ção": 200}}
    assert second == {"id": "dois", "contents": "", "vector": {}}
    assert third["contents"] == "só texto"
    assert (counts.documents, counts.postings, counts.dropped, counts.empty) == (3, 3, 1, 1)


def test_a_folder_of_files(tmp_path: Path) -> None:
    encoding = VectorEncoding(documents_per_file=2)
    write_vectors(tmp_path / "all", RECORDS, encoding)
    assert sorted(file.name for file in (tmp_path / "all").iterdir()) == ["part-00000.jsonl", "part-00001.jsonl"]
    assert [one.doc_id for one in read_vectors(tmp_path / "all", encoding)] == ["um", "dois", "três"]
    packed = tmp_path / "all" / "part-00001.jsonl"
    (tmp_path / "all" / "part-00001.jsonl.gz").write_bytes(gzip.compress(packed.read_bytes()))
    packed.unlink()
    (tmp_path / "all" / "README").write_text("not a vector")
    assert [one.doc_id for one in read_vectors(tmp_path / "all", encoding)] == ["um", "dois", "três"]
    with pytest.raises(InputFileError, match="exists"):
        write_vectors(tmp_path / "all", RECORDS, encoding)
    (tmp_path / "none").mkdir()
    with pytest.raises(InputFileError, match="holds no file"):
        list(read_vectors(tmp_path / "none", encoding))
    write_vectors(tmp_path / "none", RECORDS, encoding)  # an empty folder may be there
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "none"]


def test_queries_repeat_each_token_by_its_impact(tmp_path: Path) -> None:
    write_queries(tmp_path / "q.tsv", RECORDS, VectorEncoding())
    lines = dict(line.split("\t") for line in (tmp_path / "q.tsv").read_text(encoding="utf-8").splitlines())
    assert {name: Counter(map(int, words.split())) for name, words in lines.items()} == {
        one.doc_id: quantised(one.vector) for one in RECORDS
    }
    assert not any(words.startswith(" ") or words.endswith(" ") for words in lines.values())


@pytest.mark.parametrize("weight", ["0.5", "1.0", "0", "-3", "true", "null", '"3"', "2147483648", "1e3"])
def test_weights_that_are_no_impacts(weight: str, tmp_path: Path) -> None:
    (tmp_path / "v.jsonl").write_text(
        '{"id": "a", "vector": {"1": 1}}\n' + '{"id": "b", "vector": {"7": WEIGHT}}\n'.replace("WEIGHT", weight)
    )
    with pytest.raises(InputFileError, match=r"line 2: the weight of '7' is .*integers from 1 to 2147483647"):
        list(read_vectors(tmp_path / "v.jsonl", VectorEncoding()))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("q", "one tab"),
        ("q 1 2", "one tab"),
        ("q\t1 2\t3", "one tab"),
        ("q\t1  2", "single spaces"),
        ("q\t1 ", "single spaces"),
        ("q\tum", "not a term id"),
        ("\t1", "blank"),
        ("q\t1\u00a02", "not a term id"),
    ],
)
def test_lines_that_are_no_queries(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "q.tsv").write_text(f"a\t1 1 2\n{line}\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=rf"q.tsv, line 2: .*{message}"):
        list(read_queries(tmp_path / "q.tsv", VectorEncoding()))


def test_text_that_is_no_text_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="'um' is int"):
        write_vectors(tmp_path / "v.jsonl", [EncodedRecord("um", SparseVector([1], [1.0]), {"text": 7})], VectorEncoding())
