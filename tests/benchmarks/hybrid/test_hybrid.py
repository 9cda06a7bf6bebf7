"""Ranks are fused as a store fuses them, scores as the definition says, and the command reads what it embedded before."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks import __main__ as program
from benchmarks.hybrid.fusion import ranking, reciprocal_ranks, weighted
from benchmarks.hybrid.hybrid import read_numbers
from splade_ptbr_connectors import SparseVector, open_store
from splade_ptbr_connectors.errors import ConfigError
from tests.support.encoders import HashingEncoder

pytest.importorskip("bm25s")
SAMPLE = Path(__file__).parents[3] / "splade_ptbr_connectors" / "sample"
MODEL = "tests.benchmarks.models:make_embeddings"


@pytest.mark.parametrize(("k", "prefetch"), [(60, 100), (1, 5), (10, 12)])
def test_ranks_are_fused_as_a_store_fuses_them(k: int, prefetch: int, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    weights, vectors = random.permutation(40) + 1.0, random.normal(size=(40, 3)).astype(np.float32)
    doc_ids = [f"d{n}" for n in random.permutation(40)]
    query = random.normal(size=3).astype(np.float32)
    with open_store(f"edge:{tmp_path / 'store'}", encoder=HashingEncoder(), settings={"dense_size": 3}) as store:
        parts = zip(doc_ids, weights, vectors, strict=True)
        store.upsert_vectors((name, SparseVector([1], [weight]), {}, None, tuple(map(float, vector))) for name, weight, vector in parts)
        expected = store.search_hybrid(SparseVector([1], [1.0]), query.tolist(), 10, prefetch=prefetch, rrf_k=k)
    order = np.argsort(np.argsort(doc_ids))
    rankings = [ranking(weights, order, prefetch, above=0.0), ranking((vectors @ query).astype(np.float64), order, prefetch)]
    fused = reciprocal_ranks(rankings, k, 40)
    found = {doc_ids[row]: fused[row] for row in ranking(fused, order, 10, above=0.0)}
    assert sorted(found.values()) == pytest.approx(sorted(hit.score for hit in expected), abs=1e-6)
    assert {hit.doc_id: hit.score for hit in expected if hit.doc_id in found} == pytest.approx(
        {hit.doc_id: found[hit.doc_id] for hit in expected if hit.doc_id in found}, abs=1e-6
    )


scores = st.lists(st.integers(0, 20).map(float), min_size=1, max_size=20).map(np.array)


@given(scores, st.floats(0, 1), st.integers(1, 5), st.integers(-5, 5))
def test_a_weighted_sum_knows_no_scale(values: np.ndarray, share: float, factor: int, shift: int) -> None:
    other = values[::-1]
    np.testing.assert_allclose(weighted(values, other, share), weighted(factor * values + shift, other, share), atol=1e-9)
    np.testing.assert_allclose(weighted(values, values, share), weighted(values, values, 0.0), atol=1e-9)


def test_the_command_keeps_what_it_embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["hybrid", "--collection", str(SAMPLE), "--dense", MODEL, "--cache", str(tmp_path), "--rrf-k", "10,60"]
    first = CliRunner().invoke(program.app, [*given, "--json"], catch_exceptions=False)
    figures = json.loads(first.stdout)["figures"]
    assert [figure["searched"] for figure in figures] == ["BM25", "sparse", "dense", "RRF 10", "RRF 60", "weighted 0.5"]
    assert all(0 <= figure["ndcg"] <= 1 for figure in figures) and figures[1]["ndcg"] > 0.5
    [kept] = (tmp_path / "sample" / "documents").iterdir()
    written = kept.stat().st_mtime_ns
    table = CliRunner().invoke(program.app, given, catch_exceptions=False).stdout
    assert kept.stat().st_mtime_ns == written and f"| {figures[1]['ndcg']:.3f} / {figures[1]['recall']:.3f} |" in table
    with pytest.raises(ConfigError, match="was begun with"):
        CliRunner().invoke(program.app, [*given[:3], "--cache", str(tmp_path)], catch_exceptions=False)


@pytest.mark.parametrize(
    ("text", "kind", "least"), [("a", int, 1), ("0", int, 1), ("0.5,nan", float, 0), ("-1", float, 0), ("inf", float, 0)]
)
def test_numbers_that_are_not_accepted(text: str, kind: type, least: float) -> None:
    with pytest.raises(ConfigError, match=r"--shares"):
        read_numbers("--shares", text, kind, least)
