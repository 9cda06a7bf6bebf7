"""Every engine that runs without a server of its own: built in one object, searched in another, compared with an exact oracle."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from benchmarks.engines import ENGINES, check_engine, open_engine
from benchmarks.engines.base import Engine, Hits, Query, Settings
from benchmarks.workloads.workload import Workload, write_vectors
from splade_ptbr_connectors.errors import ConfigError, MissingExtraError, SpladeConnectorsError
from splade_ptbr_connectors.vectors import SparseBatch, SparseVector
from tests.benchmarks.small_workloads import VOCABULARY, make_workload
from tests.support.qdrant_grpc import grpc_stand_in
from tests.support.qdrant_server import stand_in

EXACT_SEISMIC = {"seismic.query_cut": "1000", "seismic.heap_factor": "1.0", "seismic.summary_energy": "1.0", "seismic.n_postings": "100000"}
MODELS = {"dense": "tests.benchmarks.models:embeddings", "reranker": "tests.benchmarks.models:reranker"}
SPARSE = ["numba", "numba-8bit", "edge", "numba:store", "edge:store", "seismic", "qdrant", "qdrant by gRPC", "qdrant:store"]
ALL = [*SPARSE, "bm25", "bm25-stemmed", "dense", "hybrid", "rerank:numba", "rerank:bm25"]


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return make_workload(tmp_path_factory.mktemp("workload"))


@pytest.fixture(scope="module")
def urls() -> Iterator[Mapping[str, str]]:
    with stand_in() as rest, grpc_stand_in() as grpc:
        yield {"qdrant": rest.url, "qdrant by gRPC": grpc.url}


def settings(urls: Mapping[str, str], case: str) -> Settings:
    own = {"qdrant": urls.get(case, urls["qdrant"])} if case.startswith("qdrant") else {}
    return Settings(urls=own, options=EXACT_SEISMIC if case == "seismic" else {}, models=MODELS)


class Built:
    """An engine that is built once for all tests of this file; open() gives new objects on the same home."""

    def __init__(self, case: str, workload: Workload, home: Path, settings: Settings) -> None:
        self.name, self.workload, self.home, self.settings = case.removesuffix(" by gRPC"), workload, home, settings

    def engine(self) -> Engine:
        return open_engine(self.name, self.workload, self.home, self.settings)


@pytest.fixture(scope="module", params=ALL)
def built(request: pytest.FixtureRequest, workload: Workload, urls: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Built:
    made = Built(request.param, workload, tmp_path_factory.mktemp("home"), settings(urls, request.param))
    engine = made.engine()
    engine.prepare()
    engine.build()
    return made


@pytest.fixture
def opened(built: Built) -> Iterator[Engine]:
    engine = built.engine()
    engine.open()
    yield engine
    engine.close()


def queries(workload: Workload) -> list[Query]:
    return list(map(Query, workload.query_ids, workload.query_texts, workload.queries))


def exact_scores(documents: SparseBatch, query: SparseVector) -> np.ndarray:
    """[N] float64, by scipy."""
    matrix = documents.to_scipy(VOCABULARY).astype(np.float64)
    weights = np.zeros(VOCABULARY)
    weights[query.term_ids] = query.weights
    return np.asarray(matrix @ weights)


def check_against(found: Hits, scores: np.ndarray, top_k: int) -> None:
    """The hits are the documents with the largest scores, each with its own; which of tied documents they are is open."""
    expected = np.sort(scores[scores > 0])[::-1][:top_k]
    assert len(found.rows) == len(set(found.rows.tolist())) == len(expected)
    assert found.rows.dtype == np.int64 and found.scores.dtype == np.float64
    np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
    np.testing.assert_allclose(scores[found.rows], found.scores, rtol=1e-5)


@pytest.mark.parametrize("built", SPARSE, indirect=True)
def test_sparse_engines_find_what_an_exact_oracle_finds(opened: Engine, workload: Workload) -> None:
    assert opened.sparse
    stored = opened.quantized(workload.documents) or workload.documents
    for query in queries(workload):
        for top_k in (1, 10, 1000):
            check_against(opened.search(query, top_k), exact_scores(stored, query.vector), top_k)


def test_hits_are_sorted_and_no_more_than_asked_for(opened: Engine, workload: Workload) -> None:
    for query in queries(workload):
        for top_k in (1, 7, 1000):
            found = opened.search(query, top_k)
            assert len(found.rows) == len(found.scores) == len(set(found.rows.tolist())) <= top_k
            assert (np.diff(found.scores) <= 0).all() and ((found.rows >= 0) & (found.rows < len(workload.documents))).all()


def test_a_batch_finds_what_single_searches_find(opened: Engine, workload: Workload) -> None:
    asked = queries(workload)
    alone = [opened.search(query, 10) for query in asked]
    for threads in (1, 2):
        together = opened.search_batch(asked, 10, threads)
        assert len(together) == len(asked)
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)
            firm = one.scores > one.scores.min(initial=np.inf)  # the last ones may be tied with others that are not hits
            assert set(one.rows[firm].tolist()) <= set(other.rows.tolist())
    assert opened.search_batch([], 10, 2) == []


@pytest.mark.parametrize("built", ["seismic"], indirect=True)
def test_answers_of_a_batch_are_in_the_order_of_its_queries(opened: Engine, workload: Workload) -> None:
    """The library gives them in the order in which its threads are done."""
    asked = queries(workload) * 20
    alone = [opened.search(query, 10) for query in asked]
    for _ in range(10):
        for one, other in zip(alone, opened.search_batch(asked, 10, 2), strict=True):
            np.testing.assert_array_equal(one.rows, other.rows)


def test_searches_may_come_from_several_threads(opened: Engine, workload: Workload) -> None:
    asked = queries(workload)
    alone = [opened.search(query, 10) for query in asked]
    with ThreadPoolExecutor(4) as pool:
        for one, other in zip(alone * 3, pool.map(lambda query: opened.search(query, 10), asked * 3), strict=True):
            np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)


@pytest.mark.parametrize("built", [*SPARSE, "bm25", "bm25-stemmed", "rerank:numba"], indirect=True)
def test_a_query_without_terms_finds_nothing(opened: Engine, workload: Workload) -> None:
    empty, first = Query("empty", "", SparseVector([], [])), queries(workload)[0]
    assert len(opened.search(empty, 10).rows) == 0
    alone, sizes = opened.search(first, 10), [len(found.rows) for found in opened.search_batch([empty, first, empty], 10, 2)]
    assert sizes == [0, len(alone.rows), 0] and len(alone.rows)


def test_size_and_facts_are_known_without_opening(built: Built) -> None:
    engine = built.engine()
    size = engine.bytes_on_disk()
    assert size is None if built.name.startswith("qdrant") else size is not None and size > 0
    facts = engine.facts()
    assert facts and json.loads(json.dumps(facts)) == facts
    assert not any(str(built.home) in str(value) for value in facts.values())  # no path of the machine in a report
    assert engine.processes()


def test_an_unknown_option_is_refused_with_what_is_accepted(built: Built) -> None:
    options = {**built.settings.options, f"{built.name}.not_there": "1"}
    with pytest.raises(ConfigError, match=r"has no option 'not_there'.*it takes "):
        open_engine(built.name, built.workload, built.home, Settings(built.settings.urls, options, MODELS))


def test_a_value_of_the_wrong_type_is_refused(workload: Workload, tmp_path: Path) -> None:
    for option, value in (
        ("seismic.n_postings", "many"),
        ("seismic.n_postings", "0"),
        ("bm25.b", "2"),
        ("dense.metric", "far"),
        ("hybrid.dense_weight", "2"),
    ):
        with pytest.raises(ConfigError, match=f"the option {option} is '{value}'.*it takes {option.split('.')[0]}"):
            open_engine(option.split(".")[0], workload, tmp_path, Settings({}, {option: value}, MODELS))


def test_a_near_miss_is_named(workload: Workload, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown engine 'nunba' \(did you mean 'numba'\?\); known: numba, .*rerank:NAME"):
        open_engine("nunba", workload, tmp_path, Settings({}, {}, {}))
    with pytest.raises(ConfigError, match=r"did you mean 'query_cut'\?"):
        open_engine("seismic", workload, tmp_path, Settings({}, {"seismic.query_cuts": "1"}, {}))
    with pytest.raises(ConfigError, match="unknown engine 'nunba'"):
        check_engine("rerank:nunba")
    for name in [*ENGINES, "rerank:edge:store"]:
        check_engine(name)


def test_the_8_bit_form_is_that_of_each_window_of_65536_rows(tmp_path: Path) -> None:
    random, count = np.random.default_rng(0), 66_000
    terms = (random.integers(0, 100, (count, 1)) + np.array([0, 100, 250])).astype(np.uint32)
    weights = random.gamma(1.2, 0.5, (count, 3)).astype(np.float32) + np.float32(0.01)
    weights[:65_536] *= np.float32(0.25)  # so that the second window has other largest weights
    made = make_workload(tmp_path / "workload", documents=2, queries=5)
    write_vectors(made.folder / "documents", SparseBatch(np.arange(0, 3 * count + 1, 3), terms.ravel(), weights.ravel()))
    built = Built("numba-8bit", Workload(made.folder), tmp_path, Settings({}, {}, {}))
    built.engine().build()
    engine = built.engine()
    engine.open()
    stored = engine.quantized(built.workload.documents)
    assert stored is not None and np.array_equal(stored.term_ids, built.workload.documents.term_ids)
    for query in queries(built.workload):
        check_against(engine.search(query, 1000), exact_scores(stored, query.vector), 1000)
    engine.close()


def test_options_of_other_engines_do_not_matter(workload: Workload, tmp_path: Path) -> None:
    options = {"seismic.query_cut": "3", "rerank:numba.depth": "5", "numba-8bit.x": "1", "numba:store.y": "2"}
    open_engine("numba", workload, tmp_path, Settings({}, options, {}))
    assert open_engine("rerank:numba", workload, tmp_path, Settings({}, options, MODELS)).options.depth == 5


def test_what_is_not_built_cannot_be_opened(built: Built, tmp_path: Path) -> None:
    with pytest.raises((SpladeConnectorsError, OSError)):
        open_engine(built.name, built.workload, tmp_path, built.settings).open()


def test_servers_need_an_address(workload: Workload, tmp_path: Path) -> None:
    for name in ("qdrant", "qdrant:store", "opensearch", "opensearch:store"):
        with pytest.raises(ConfigError, match=f"the engine {name.partition(':')[0]} needs the address of a server"):
            open_engine(name, workload, tmp_path, Settings({}, {}, {})).build()


@pytest.mark.parametrize(
    ("engine", "library", "message"),
    [
        ("seismic", "seismic", 'needs pyseismic-lsr: pip install pyseismic-lsr .dependency group "bench"'),
        ("qdrant", "qdrant_client", r"the engine qdrant needs .*splade-ptbr-connectors\[qdrant\]"),
        ("opensearch:store", "opensearchpy", r"the engine opensearch:store needs .*splade-ptbr-connectors\[opensearch\]"),
    ],
)
def test_a_library_that_is_not_installed_is_named(
    workload: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, library: str, message: str
) -> None:
    for module in [name for name in sys.modules if name.startswith("benchmarks.engines.")]:
        if module.rpartition(".")[2] not in ("base", "options"):
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises((ConfigError, MissingExtraError), match=message):
        open_engine(engine, workload, tmp_path, Settings({}, {}, {}))
