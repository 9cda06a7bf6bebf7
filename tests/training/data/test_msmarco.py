"""Judgments in their three forms, and id triplets as rows: the fast reading says what the slow one says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splade_ptbr_connectors.errors import InputFileError
from splade_ptbr_connectors.evaluation.qrels import read_judgments, read_qrels, write_qrels
from training.data.blocks import Block
from training.data.msmarco import TripletReader, judged_rows
from training.data.texts import TextStore

Stores = tuple[TextStore, TextStore]


def stores_of(folder: Path, queries: list[str], documents: list[str]) -> Stores:
    for name, ids in (("queries.tsv", queries), ("collection.tsv", documents)):
        (folder / name).write_text("".join(f"{text_id}\ttexto\n" for text_id in ids), encoding="utf-8")
    return TextStore.open(folder / "queries.tsv", folder / "cache"), TextStore.open(folder / "collection.tsv", folder / "cache")


@pytest.fixture(scope="module", params=["numbers", "names"])
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Stores, Callable[[int], str]]:
    name = str if request.param == "numbers" else lambda n: f"ré-{n}"
    folder = tmp_path_factory.mktemp("stores")
    return stores_of(folder, [name(n * 7) for n in range(50)], [name(n) for n in range(300, 0, -1)]), name


@given(
    triplets=st.lists(st.tuples(st.integers(0, 49), st.integers(1, 300), st.integers(1, 300)), min_size=1, max_size=30), crlf=st.booleans()
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_block_of_triplets_is_each_line_looked_up(
    stores: tuple[Stores, Callable[[int], str]], triplets: list[tuple[int, int, int]], crlf: bool
) -> None:
    (queries, documents), name = stores
    end = "\r\n" if crlf else "\n"
    data = "".join(f"{name(q * 7)}\t{name(p)}\t{name(n)}{end}" for q, p, n in triplets).encode()
    rows = TripletReader(queries, documents).rows(Block(Path("triples"), data, 0, 1))
    assert rows.dtype == np.int32 and rows.tolist() == [[q, 300 - p, 300 - n] for q, p, n in triplets]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("7\t1", "2 columns instead of 3"),
        ("7\t1\t2\t3", "4 columns instead of 3"),
        ("7 1 2", "1 columns instead of 3"),
        ("", "1 columns instead of 3"),
        ("8\t1\t2", "the query '8' is not an id of .*queries.tsv"),
        ("7\t301\t2", "the positive '301' is not an id of .*collection.tsv"),
        ("7\t1\t-2", "the negative '-2' is not an id"),
        ("07\t1\t2", "the query '07' is not"),
        ("7\t1\t", "the negative '' is not"),
        ("7\t1\t1.0", "the negative '1.0' is not"),
        ("7\t1\t99999999999999999999", "the negative '9+' is not"),
        ("7\r\t1\t2", r"the query '7\\r' is not"),
    ],
)
def test_a_bad_line_among_good_ones_is_named(tmp_path: Path, line: str, why: str) -> None:
    queries, documents = stores_of(tmp_path, ["7"], ["1", "2"])
    data = "".join(f"{each}\n" for each in ["7\t1\t2", "7\t2\t1", line, "7\t1\t2"]).encode()
    with pytest.raises(InputFileError, match=f"triples, line 103: {why}"):
        TripletReader(queries, documents).rows(Block(Path("triples"), data, 0, 101))


def test_a_line_that_is_no_text_is_named(tmp_path: Path) -> None:
    queries, documents = stores_of(tmp_path, ["7"], ["1", "2"])
    with pytest.raises(InputFileError, match="line 2: not UTF-8"):
        TripletReader(queries, documents).rows(Block(Path("triples"), b"7\t1\t2\n7\t1\t\xff\n", 0, 1))


@pytest.mark.parametrize("form", ["beir", "trec", "ms marco"])
def test_judgments_are_those_that_the_evaluation_reads(tmp_path: Path, form: str) -> None:
    qrels = {"7": {"1": 1, "2": 0, "3": 2}, "9": {"1": -1}, "0": {"5": 1}}
    path = tmp_path / "qrels"
    write_qrels(path, qrels, format="beir" if form == "beir" else "trec")
    if form == "ms marco":
        path.write_text(path.read_text(encoding="utf-8").replace(" ", "\t"), encoding="utf-8")
    found: dict[str, dict[str, int]] = {}
    for _, query, document, relevance in read_judgments(path):
        found.setdefault(query, {})[document] = relevance
    assert found == qrels == read_qrels(path)
    queries, documents = stores_of(tmp_path, ["9", "7"], ["3", "1"])
    parts = [np.stack(part, axis=1).tolist() for part in judged_rows(path, queries, documents)]
    assert parts == [[[1, 1], [1, 0], [-1, -1]]]


@pytest.mark.parametrize(
    ("line", "why"),
    [("7 0 1", "expected BEIR's three columns"), ("7 0 1 sim", "'sim' is not an integer"), ("7 0 1 1 1", "got '7 0 1 1 1'")],
)
def test_a_bad_judgment_is_named(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "qrels").write_text(f"7 0 1 1\n{line}\n", encoding="utf-8")
    with pytest.raises(InputFileError, match=f"qrels, line 2: .*{why}"):
        list(read_judgments(tmp_path / "qrels"))
