"""Engines that rank by texts: BM25 by its formula, reranking by sorting."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engines.base import Query
from benchmarks.engines.texts import Texts
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import InputError, ModelFormatError
from tests.benchmarks import models
from tests.benchmarks.engines.built import built, queries
from tests.benchmarks.small_workloads import make_workload


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return make_workload(tmp_path_factory.mktemp("workload"), documents=120, queries=10)


@pytest.fixture
def without_texts(tmp_path: Path) -> Workload:
    made = make_workload(tmp_path / "workload", documents=5, queries=2)
    (made.folder / "documents/texts.txt").unlink()
    return made


# -- BM25 ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("k1", "b"), [(1.2, 0.75), (0.9, 0.4)])
def test_plain_bm25_is_lucenes_formula_over_words(workload: Workload, tmp_path: Path, k1: float, b: float) -> None:
    engine = built("bm25", workload, tmp_path, {"bm25.k1": str(k1), "bm25.b": str(b)})
    documents = [Counter(re.findall(r"\w+", text.lower())) for text in workload.texts()]
    average = sum(document.total() for document in documents) / len(documents)
    for query in queries(workload):
        scores = np.zeros(len(documents))
        for word in re.findall(r"\w+", query.text.lower()):
            having = sum(word in document for document in documents)
            idf = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            for row, document in enumerate(documents):
                frequency = document[word]
                scores[row] += idf * frequency / (frequency + k1 * (1 - b + b * document.total() / average))
        found = engine.search(query, 20)
        np.testing.assert_allclose(found.scores, np.sort(scores[scores > 0])[::-1][:20], rtol=1e-4)
        np.testing.assert_allclose(scores[found.rows], found.scores, rtol=1e-4)
    engine.close()


def test_only_the_stemmed_one_matches_inflections_and_drops_stop_words(workload: Workload, tmp_path: Path) -> None:
    plain, stemmed = built("bm25", workload, tmp_path / "plain"), built("bm25-stemmed", workload, tmp_path / "stemmed")
    inflected, stop_word = (Query("q", text, workload.queries[0]) for text in ("licitações", "do"))
    assert [len(engine.search(inflected, 10).rows) for engine in (plain, stemmed)] == [0, 10]
    assert [len(engine.search(stop_word, 10).rows) for engine in (plain, stemmed)] == [10, 0]
    plain.close()
    stemmed.close()


# -- reranking -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reranker", ["Reranker", "LangChainReranker", "reranker"])
def test_the_first_hits_are_in_the_order_of_the_reranker(workload: Workload, tmp_path: Path, reranker: str) -> None:
    chosen = {"reranker": f"tests.benchmarks.models:{reranker}"}
    base = built("numba", workload, tmp_path / "numba")
    engine = built("rerank:numba", workload, tmp_path / "rerank", {"rerank:numba.depth": "5"}, chosen)
    texts = list(workload.texts())
    for query in queries(workload):
        first = base.search(query, 20).rows.tolist()
        expected = sorted(first[:5], key=lambda row: -models.score(query.text, texts[row])) + first[5:]
        for top_k in (3, 20):
            found = engine.search(query, top_k)
            assert found.rows.tolist() == expected[:top_k]
            assert found.scores[:5].tolist() == [models.score(query.text, texts[row]) for row in found.rows[:5].tolist()]
            assert (np.diff(found.scores) < 0).all()
    base.close()
    engine.close()


def test_scores_that_cannot_be_used(workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = built("rerank:numba", workload, tmp_path)
    for given_scores in ([0.5], [[0.1, 0.2]] * 100, [float("nan")] * 100, ["a"] * 100):
        monkeypatch.setattr(engine, "_predict", lambda pairs, given_scores=given_scores: given_scores[: len(pairs)])
        with pytest.raises(ModelFormatError, match="the reranker "):
            engine.search(queries(workload)[1], 10)
    engine.close()


def test_texts_by_row(workload: Workload, tmp_path: Path) -> None:
    Texts.index(workload, tmp_path / "offsets.npy")
    with Texts(workload, tmp_path / "offsets.npy") as texts:
        assert [texts[row] for row in reversed(range(len(workload.documents)))] == list(workload.texts())[::-1]


# -- what is missing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bm25", "bm25-stemmed", "dense", "hybrid", "rerank:numba"])
def test_a_workload_without_texts(without_texts: Workload, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"the engine {name} needs texts, the workload small has vectors only"):
        built(name, without_texts, tmp_path / "home")


def test_lines_that_are_no_documents(tmp_path: Path) -> None:
    made = make_workload(tmp_path / "workload", documents=5, queries=2)
    with open(made.folder / "documents/texts.txt", "a", encoding="utf-8") as file:
        file.write('"mais um"\n')
    with pytest.raises(InputError, match=r"texts.txt has 6 lines for 5 documents"):
        Texts.index(made, tmp_path / "offsets.npy")
