"""Engines that rank by texts: BM25 by its formula, dense vectors by plain cosines, reranking by sorting; and models that fail."""

from __future__ import annotations

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.engines import embedding as embedding_module
from benchmarks.engines import open_engine
from benchmarks.engines.base import Engine, Query, Settings
from benchmarks.engines.inner_products import largest
from benchmarks.engines.texts import Texts
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import ConfigError, InputError, ModelFormatError
from tests.benchmarks import models
from tests.benchmarks.small_workloads import make_workload

MODELS = {"dense": "tests.benchmarks.models:make_embeddings", "reranker": "tests.benchmarks.models:Reranker"}


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return make_workload(tmp_path_factory.mktemp("workload"), documents=120, queries=10)


@pytest.fixture
def without_texts(tmp_path: Path) -> Workload:
    made = make_workload(tmp_path / "workload", documents=5, queries=2)
    (made.folder / "documents/texts.txt").unlink()
    return made


def built(name: str, workload: Workload, home: Path, options: dict[str, str] | None = None, chosen: dict[str, str] = MODELS) -> Engine:
    home.mkdir(parents=True, exist_ok=True)
    open_engine(name, workload, home, Settings({}, options or {}, chosen)).build()
    engine = open_engine(name, workload, home, Settings({}, options or {}, chosen))
    engine.open()
    return engine


def queries(workload: Workload) -> list[Query]:
    return list(map(Query, workload.query_ids, workload.query_texts, workload.queries))


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


# -- dense ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_dense_hits_are_the_largest_products(workload: Workload, tmp_path: Path, metric: str) -> None:
    engine = built("dense", workload, tmp_path, {"dense.metric": metric, "dense.batch": "7"})
    documents = np.array(models.embeddings.embed_documents(list(workload.texts())))
    for query in [*queries(workload), Query("new", "outra pergunta", workload.queries[0])]:
        vector = np.array(models.embeddings.embed_query(query.text))
        scores = documents @ vector
        if metric == "cosine":
            scores /= np.linalg.norm(documents, axis=1) * np.linalg.norm(vector)
        found = engine.search(query, 10)
        np.testing.assert_allclose(found.scores, np.sort(scores)[::-1][:10], rtol=1e-4)
        np.testing.assert_allclose(scores[found.rows], found.scores, rtol=1e-4)
    assert len(engine.search(queries(workload)[0], 1000).rows) == len(workload.documents)
    engine.close()


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 50), st.integers(1, 17), st.integers(0, 3))
def test_blocks_make_no_difference(count: int, asked: int, top_k: int, block: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors, wanted = (random.integers(-2, 3, (rows, 3)).astype(np.float32) for rows in (count, asked))  # many ties
    rows, products = largest(vectors, wanted, top_k, block)
    for query, of_query, scores in zip(wanted, rows, products, strict=True):
        expected = sorted(range(count), key=lambda row: (-float(vectors[row] @ query), row))[:top_k]
        assert of_query.tolist() == expected and scores.tolist() == [float(vectors[row] @ query) for row in expected]


def test_an_interrupted_build_goes_on_where_it_stopped(workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_module, "PART", 20)
    gone = models.Failing(size=models.DIMENSION, calls=7)  # the fourth part of 120 documents by 20 in batches of 10
    monkeypatch.setattr(models, "wavering", gone, raising=False)
    chosen = {"dense": "tests.benchmarks.models:wavering"}
    settings = Settings({}, {"dense.batch": "10"}, chosen)
    home = tmp_path / "home"
    home.mkdir()
    with pytest.raises(ConnectionError):
        open_engine("dense", workload, home, settings).build()
    assert len(list((home / "parts").glob("*.npy"))) == 3
    gone.calls, gone.seen[:] = 1_000, []
    open_engine("dense", workload, home, settings).build()
    assert sum(gone.seen) == 60
    engine, whole = open_engine("dense", workload, home, settings), built("dense", workload, tmp_path / "whole")
    engine.open()
    for query in queries(workload):
        np.testing.assert_array_equal(engine.search(query, 10).rows, whole.search(query, 10).rows)
    assert not (home / "parts").exists() and engine.resumes
    engine.close()
    whole.close()


def test_a_home_of_another_model_is_not_gone_on_with(workload: Workload, tmp_path: Path) -> None:
    built("dense", workload, tmp_path).close()
    with pytest.raises(ConfigError, match=r"was begun with .*make_embeddings.* not with .*models:embeddings"):
        open_engine("dense", workload, tmp_path, Settings({}, {}, {"dense": "tests.benchmarks.models:embeddings"})).build()


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        ("NaN", "gave NaN or infinity for 1 of 10 texts"),
        ("fewer", "gave 9 vectors for 10 texts"),
        ("dimension", r"array of shape \(10, 15\): it must give 16 numbers a text, as before"),
        ("ragged", "vectors of different lengths"),
        ("text", "or no numbers"),
    ],
)
def test_unusable_vectors_are_typed_errors(
    workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str, message: str
) -> None:
    monkeypatch.setattr(embedding_module, "PART", 20)
    spoiling = models.Failing(size=models.DIMENSION, calls=2, failure=failure, seen=[])
    monkeypatch.setattr(models, "spoiling", spoiling, raising=False)
    with pytest.raises(ModelFormatError, match=message):
        built("dense", workload, tmp_path, {"dense.batch": "10"}, {"dense": "tests.benchmarks.models:spoiling"})
    assert [path.name for path in (tmp_path / "parts").glob("*")] == ["000000000.npy"]  # what was good is kept


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


@pytest.mark.parametrize("name", ["bm25", "bm25-stemmed", "dense", "rerank:numba"])
def test_a_workload_without_texts(without_texts: Workload, tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"the engine {name} needs texts, the workload small has vectors only"):
        built(name, without_texts, tmp_path / "home")


def test_lines_that_are_no_documents(tmp_path: Path) -> None:
    made = make_workload(tmp_path / "workload", documents=5, queries=2)
    with open(made.folder / "documents/texts.txt", "a", encoding="utf-8") as file:
        file.write('"mais um"\n')
    with pytest.raises(InputError, match=r"texts.txt has 6 lines for 5 documents"):
        Texts.index(made, tmp_path / "offsets.npy")


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({}, "no model is given as 'dense'.*embed_documents"),
        ({"dense": "nothing"}, "is not of the form MODULE:ATTRIBUTE"),
        ({"dense": "tests.benchmarks.not_there:x"}, "there is no module 'tests.benchmarks.not_there'"),
        ({"dense": "tests.benchmarks.models:not_there"}, "has no 'not_there'"),
        ({"dense": "tests.benchmarks.models:reranker"}, "is a Reranker without embed_documents"),
        ({"dense": "tests.benchmarks.models:DIMENSION"}, "is a int without embed_documents"),
    ],
)
def test_models_that_cannot_be_had(workload: Workload, tmp_path: Path, chosen: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built("dense", workload, tmp_path, chosen=chosen)
