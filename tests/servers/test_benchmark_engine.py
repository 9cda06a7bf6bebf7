"""The benchmark's OpenSearch engines on a real server, against an exact oracle over what the server keeps of a weight."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from opensearchpy import OpenSearch
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.engines import open_engine
from benchmarks.engines.base import Engine, Query, Settings
from benchmarks.engines.servers import name_prefix
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import ConfigError, StoreNotFoundError
from splade_ptbr_connectors.vectors import SparseVector
from tests.benchmarks.small_workloads import VOCABULARY, make_workload


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return make_workload(tmp_path_factory.mktemp("workload"))


@pytest.fixture(params=["opensearch", "opensearch:store"])
def built(request: pytest.FixtureRequest, workload: Workload, opensearch_url: str, tmp_path: Path) -> Iterator[Engine]:
    settings = Settings({"opensearch": opensearch_url + "/"}, {f"{request.param}.pid": "1"}, {})
    engine = open_engine(request.param, workload, tmp_path, settings)
    engine.build()
    yield open_engine(request.param, workload, tmp_path, settings)
    engine.remove()


def queries(workload: Workload) -> list[Query]:
    return list(map(Query, workload.query_ids, workload.query_texts, workload.queries))


def test_hits_are_those_of_an_exact_oracle(built: Engine, workload: Workload) -> None:
    built.open()
    kept = built.quantized(workload.documents)
    assert kept is not None and not np.array_equal(kept.weights, workload.documents.weights)
    matrix = kept.to_scipy(VOCABULARY).astype(np.float64)
    for top_k in (1, 10, 1000):
        together = built.search_batch(queries(workload), top_k, 2)
        for query, in_batch in zip(queries(workload), together, strict=True):
            found, scores = built.search(query, top_k), matrix @ query.vector.to_scipy(VOCABULARY).toarray()[0].astype(np.float64)
            expected = np.sort(scores[scores > 0])[::-1][:top_k]
            np.testing.assert_allclose(found.scores, expected, rtol=1e-5)
            np.testing.assert_allclose(scores[found.rows], found.scores, rtol=1e-5)
            assert len(set(found.rows.tolist())) == len(found.rows)
            np.testing.assert_array_equal(in_batch.rows, found.rows)
    empty = Query("", "", SparseVector([], []))
    assert [len(found.rows) for found in (built.search(empty, 10), *built.search_batch([empty], 10, 1))] == [0, 0]
    built.close()


def test_the_index_is_merged_and_its_size_is_that_of_its_segments(built: Engine, raw: OpenSearch) -> None:
    facts, size = built.facts(), built.bytes_on_disk()
    name = f"{name_prefix(built.home)}*"
    segments = raw.cat.segments(index=name, params={"format": "json", "bytes": "b"})
    assert len(segments) == 1 and facts["shards"] == 1
    assert facts["version"] == raw.info()["version"]["number"]
    assert size is not None and abs(size - int(segments[0]["size"])) < 1024
    assert 1 in built.processes() and len(built.processes()) == 2
    assert int(raw.cat.count(index=name, params={"format": "json"})[0]["count"]) == len(built.workload.documents)


def test_building_again_leaves_one_index(built: Engine, raw: OpenSearch) -> None:
    built.build()
    assert len(raw.indices.get(index=f"{name_prefix(built.home)}*")) == 1
    built.remove()
    assert raw.indices.get(index=f"{name_prefix(built.home)}*") == {}
    with pytest.raises(StoreNotFoundError):
        built.open()


def test_an_option_that_does_not_exist(workload: Workload, opensearch_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no option 'merges' \(did you mean 'merge'\?\)"):
        open_engine("opensearch", workload, tmp_path, Settings({"opensearch": opensearch_url}, {"opensearch.merges": "1"}, {}))


def test_searches_over_passages_are_measured_beside_those_over_short_documents(opensearch_url: str, raw: OpenSearch) -> None:
    small = ["passages", "--passages", "1000", "--queries", "2", "--rounds", "1", "--engines", "edge", "--url", opensearch_url, "--json"]
    done = CliRunner().invoke(app, small, catch_exceptions=False)
    assert done.exit_code == 0
    names = [each["name"] for each in json.loads(done.output)["comparisons"]]
    assert len(names) == 8 and "opensearch top 1,000, ids" in names
    assert raw.indices.get(index="benchmark-*") == {}
