"""dense by plain cosines, hybrid by the sum as it is defined; vectors that are made once, and models that fail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.engines import embedding as embedding_module
from benchmarks.engines import open_engine
from benchmarks.engines.base import Query, Settings
from benchmarks.engines.dense_vectors import E5
from benchmarks.engines.inner_products import largest
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from tests.benchmarks import models
from tests.benchmarks.engines.built import MODELS, built, queries
from tests.benchmarks.small_workloads import VOCABULARY, make_workload

pytest.importorskip("numba")
pytest.importorskip("bm25s")


@pytest.fixture
def workload(tmp_path: Path) -> Workload:
    return make_workload(tmp_path / "workload", documents=120, queries=10)


def of_dense(workload: Workload, query: Query, metric: str = "cosine") -> NDArray[np.float64]:
    """[N] scores, in float64."""
    documents = np.array(models.embeddings.embed_documents(list(workload.texts())))
    vector = np.array(models.embeddings.embed_query(query.text))
    lengths = np.linalg.norm(documents, axis=1) * np.linalg.norm(vector) if metric == "cosine" else 1.0
    scores: NDArray[np.float64] = documents @ vector / lengths
    return scores


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_dense_hits_are_the_largest_products(workload: Workload, tmp_path: Path, metric: str) -> None:
    engine = built("dense", workload, tmp_path / "home", {"dense.metric": metric, "dense.batch": "7"})
    for query in [*queries(workload), Query("new", "outra pergunta", workload.queries[0])]:
        scores, found = of_dense(workload, query, metric), engine.search(query, 10)
        np.testing.assert_allclose(found.scores, np.sort(scores)[::-1][:10], rtol=1e-4)
        np.testing.assert_allclose(scores[found.rows], found.scores, rtol=1e-4)
    assert len(engine.search(queries(workload)[0], 1000).rows) == len(workload.documents)
    engine.close()


def test_a_dense_index_is_its_vectors(workload: Workload, tmp_path: Path) -> None:
    built("dense", workload, tmp_path / "home").close()
    [file] = (tmp_path / "home").iterdir()
    assert np.load(file).nbytes == len(workload.documents) * models.DIMENSION * 4


@pytest.mark.parametrize(("weight", "prefetch"), [(0.3, 100), (0.5, 20), (0.0, 5), (1.0, 5)])
def test_hybrid_hits_are_those_of_the_weighted_sum(workload: Workload, tmp_path: Path, weight: float, prefetch: int) -> None:
    options = {"hybrid.dense_weight": str(weight), "hybrid.prefetch": str(prefetch)}
    engine = built("hybrid", workload, tmp_path / "home", options)
    matrix = workload.documents.to_scipy(VOCABULARY).astype(np.float64)
    for query in queries(workload):
        asked = np.zeros(VOCABULARY)
        asked[query.vector.term_ids] = query.vector.weights
        sums = (1 - weight) * scaled(matrix @ asked, prefetch, 0.0) + weight * scaled(of_dense(workload, query), prefetch, -np.inf)
        found = engine.search(query, 1000)
        np.testing.assert_allclose(found.scores, np.sort(sums)[::-1][: len(found.scores)], atol=1e-5)
        np.testing.assert_allclose(sums[found.rows], found.scores, atol=1e-5)
        assert np.count_nonzero(sums) <= len(found.rows) <= 2 * prefetch
    engine.close()


def scaled(scores: NDArray[np.float64], depth: int, beyond: float) -> NDArray[np.float64]:
    """[N] 1 for the best, 0 for the last of so many hits and for what is no hit: documents whose score is not above `beyond`."""
    hits = np.sort(scores[scores > beyond])[::-1][:depth]
    if not len(hits):
        return np.zeros(len(scores))
    least = hits[-1] if len(hits) == depth or np.isinf(beyond) else beyond
    return np.where(scores > beyond, np.clip((scores - least) / (hits[0] - least), 0, None), 0)


@given(st.integers(1, 40), st.integers(1, 4), st.integers(1, 50), st.integers(1, 17), st.integers(0, 3))
def test_blocks_make_no_difference(count: int, asked: int, top_k: int, block: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    vectors, wanted = (random.integers(-2, 3, (rows, 3)).astype(np.float32) for rows in (count, asked))  # many ties
    rows, products = largest(vectors, wanted, top_k, block)
    for query, of_query, scores in zip(wanted, rows, products, strict=True):
        expected = sorted(range(count), key=lambda row: (-float(vectors[row] @ query), row))[:top_k]
        assert of_query.tolist() == expected and scores.tolist() == [float(vectors[row] @ query) for row in expected]


# -- what is made once -----------------------------------------------------------------------------------------------------


@pytest.fixture
def wavering(monkeypatch: pytest.MonkeyPatch) -> models.Failing:
    """A model that is told when to fail, as `tests.benchmarks.models:wavering`; parts are of 20 texts."""
    made = models.Failing(size=models.DIMENSION, seen=[])
    monkeypatch.setattr(models, "wavering", made, raising=False)
    monkeypatch.setattr(embedding_module, "PART", 20)
    return made


WAVERING = {"dense": "tests.benchmarks.models:wavering"}


def test_a_workload_is_embedded_once_for_all_engines(workload: Workload, tmp_path: Path, wavering: models.Failing) -> None:
    for name in ("dense", "hybrid", "rerank:dense"):
        built(name, workload, tmp_path / name, models={**MODELS, **WAVERING}).close()
    assert sum(wavering.seen) == len(workload.documents)


def test_each_model_has_vectors_of_its_own(workload: Workload, tmp_path: Path, wavering: models.Failing) -> None:
    wavering.calls, wavering.failure = 0, "negative"
    one, other = built("dense", workload, tmp_path / "one"), built("dense", workload, tmp_path / "other", models=WAVERING)
    for query in queries(workload):
        np.testing.assert_allclose(one.search(query, 1000).scores, -other.search(query, 1000).scores[::-1], rtol=1e-4)
    one.close()
    other.close()


def test_what_was_interrupted_goes_on_where_it_stopped(workload: Workload, tmp_path: Path, wavering: models.Failing) -> None:
    wavering.calls = 7  # the fourth part of 120 documents by 20 in batches of 10
    options = {"dense.batch": "10"}
    with pytest.raises(ConnectionError):
        built("dense", workload, tmp_path / "home", options, WAVERING)
    wavering.calls, wavering.seen[:] = 1_000, []
    engine, whole = built("dense", workload, tmp_path / "home", options, WAVERING), built("dense", workload, tmp_path / "whole")
    assert sum(wavering.seen) == 60
    for query in queries(workload):
        np.testing.assert_array_equal(engine.search(query, 10).rows, whole.search(query, 10).rows)
    engine.close()
    whole.close()


def test_what_a_query_takes_before_its_search(workload: Workload, tmp_path: Path) -> None:
    seconds = {}
    for name in ("numba", "bm25", "dense", "hybrid"):
        engine = built(name, workload, tmp_path / name)
        seconds[name] = engine.query_seconds()
        engine.close()
    assert [name for name, each in seconds.items() if each is not None] == ["dense"]  # the workload's own vectors were not timed
    encoding = np.linspace(1, 2, len(workload.queries))
    np.save(workload.folder / "queries/seconds.npy", encoding)
    timed = Workload(workload.folder)
    for name, expected in (("numba", encoding), ("rerank:numba", encoding), ("hybrid", encoding + seconds["dense"])):
        found = open_engine(name, timed, tmp_path / name, Settings({}, {}, MODELS)).query_seconds()
        np.testing.assert_array_equal(found, expected)
    assert (seconds["dense"] >= 0).all() and len(seconds["dense"]) == len(workload.queries)


# -- models that cannot be used --------------------------------------------------------------------------------------------


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
    workload: Workload, tmp_path: Path, wavering: models.Failing, failure: str, message: str
) -> None:
    wavering.calls, wavering.failure = 2, failure
    with pytest.raises(ModelFormatError, match=message):
        built("dense", workload, tmp_path / "home", {"dense.batch": "10"}, WAVERING)
    assert [path.name for path in workload.folder.glob("dense/*/documents/*")] == ["000000000.npy"]  # what was good is kept


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("nothing", "is not of the form MODULE:ATTRIBUTE"),
        ("tests.benchmarks.not_there:x", "there is no module 'tests.benchmarks.not_there'"),
        ("tests.benchmarks.models:not_there", "has no 'not_there'"),
        ("tests.benchmarks.models:reranker", "is a Reranker without embed_documents"),
        ("tests.benchmarks.models:DIMENSION", "is a int without embed_documents"),
    ],
)
def test_models_that_cannot_be_had(workload: Workload, tmp_path: Path, named: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        built("hybrid", workload, tmp_path / "home", models={"dense": named})


def test_a_reranker_has_no_default(workload: Workload, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no model is given as 'reranker'.*predict or score\(\)"):
        built("rerank:numba", workload, tmp_path / "home", models={})


def test_without_a_name_the_model_is_e5(workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splade_ptbr_connectors.langchain.E5Embeddings", models.make_embeddings)
    engine = built("dense", workload, tmp_path / "home", models={})
    assert engine.facts()["dense"] == E5
    engine.close()
