"""The thesaurus at work in a query: its edges, what an open gate adds, and files that do not fit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding import tensors
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.thesaurus import HEAD, KIND, RELATED, Thesaurus
from splade_ptbr_connectors.errors import ModelFormatError
from tests.unit.encoding.words_model import IDS, SENSES, TERMS, TOKENS, WEIGHTS, gate, make_words_model, thesaurus

WORDS = [token for token, term in zip(TOKENS, TERMS, strict=True) if TOKENS[term] == token and term >= 0 and token[0] != "#"]
EXPRESSIONS = st.lists(st.sampled_from(WORDS[:6]), min_size=1, max_size=3, unique=True).map(tuple)
SENSE = st.dictionaries(EXPRESSIONS, st.integers(HEAD, RELATED), min_size=2, max_size=4)
Sense = dict[tuple[str, ...], int]


def naive_edges(senses: list[Sense], query: list[str]) -> set[tuple[tuple[str, ...], tuple[str, ...], int, int]]:
    """(source, target, sense, kind) of every edge, by the definition."""
    runs = {tuple(query[i:j]) for i in range(len(query)) for j in range(i + 1, len(query) + 1)}
    return {
        (source, target, number, int(KIND[source_role, target_role]))
        for number, sense in enumerate(senses)
        for source, source_role in sense.items()
        for target, target_role in sense.items()
        if source in runs and target != source and KIND[source_role, target_role] >= 0 and not set(target) <= set(query)
    }


@given(st.lists(SENSE, min_size=1, max_size=4), st.lists(st.sampled_from(WORDS[:6]), max_size=5))
def test_edges_are_those_of_the_definition(senses: list[Sense], query: list[str]) -> None:
    made = thesaurus(senses)
    words = list(dict.fromkeys(words for sense in senses for words in sense))
    edges = made.edges(np.array([IDS[word] for word in query], np.int64))
    found = zip(edges.sources[edges.source], edges.target, edges.arc_sense[edges.arc], edges.kind, strict=True)
    assert {(words[s], words[t], int(k), int(kind)) for s, t, k, kind in found} == naive_edges(senses, query)
    assert len(edges) == len(naive_edges(senses, query))


def test_a_thesaurus_is_stored_and_read_again() -> None:
    made, query = thesaurus(), np.array([IDS["insonia"], IDS["dor"], IDS["cabeca"]], np.int64)
    again = Thesaurus.from_tensors(made.tensors(), len(TOKENS))
    for one, other in zip(made.tensors().values(), again.tensors().values(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(made.edges(query).target, again.edges(query).target)


@given(st.lists(st.sampled_from(WORDS), max_size=6))
def test_a_gate_that_is_half_open_adds_half_of_every_target(half: SpladeEncoder, query: list[str]) -> None:
    left_out: dict[str, float] = {}
    for _, target, _, _ in naive_edges(SENSES, query):
        for word in target:
            left_out[word] = left_out.get(word, 1.0) * (1 - 0.5 / math.sqrt(len(target)))
    expected = {IDS[word]: (1 - share) * float(WEIGHTS[IDS[word]]) for word, share in left_out.items()}
    expected |= {IDS[word]: float(WEIGHTS[IDS[word]]) for word in query}
    assert half.encode_query(" ".join(query)).to_dict() == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> SpladeEncoder:
    return SpladeEncoder.load(make_words_model(tmp_path_factory.mktemp("half") / "model", expansion=gate(None)))


@given(st.lists(st.sampled_from(WORDS), max_size=8))
def test_any_gate_gives_usable_vectors_whatever_stands_beside(anyhow: SpladeEncoder, query: list[str]) -> None:
    text = " ".join(query)
    alone, beside = anyhow.encode_query(text), list(anyhow.encode_queries(["dor de cabeça", text, ""]))
    assert alone == beside[1] and len(beside[2]) == 0
    assert {IDS[word] for word in query} <= set(alone.term_ids.tolist())


@pytest.fixture(scope="module")
def anyhow(tmp_path_factory: pytest.TempPathFactory) -> SpladeEncoder:
    return SpladeEncoder.load(make_words_model(tmp_path_factory.mktemp("any") / "model"))


def test_the_heaviest_terms_stay_within_the_limit(tmp_path: Path) -> None:
    model = make_words_model(tmp_path / "model", expansion=gate(None), max_active_terms_query=2)
    assert len(SpladeEncoder.load(model).encode_query("insônia")) == 2


@pytest.mark.parametrize("least", [0.0, 0.6, 0.7, 9.0])
def test_what_the_thesaurus_adds_too_little_of_is_left_out(half: SpladeEncoder, tmp_path: Path, least: float) -> None:
    encoder = SpladeEncoder.load(make_words_model(tmp_path / "model", expansion=gate(None), min_added=least))
    for query in ("insonia", "dor de cabeca", "sono a noite"):
        own = {IDS[word] for word in query.split()}
        whole = half.encode_query(query).to_dict()
        assert encoder.encode_query(query).to_dict() == {term: weight for term, weight in whole.items() if weight >= least or term in own}


def test_what_is_added_at_least_is_part_of_the_fingerprint_where_it_is_said(tmp_path: Path) -> None:
    found = [SpladeEncoder.load(make_words_model(tmp_path / str(least), min_added=least)).fingerprint for least in (0.0, 0.5)]
    assert "min_weight_added" not in (tmp_path / "0.0" / "splade.json").read_text(encoding="utf-8")  # which earlier versions do not know
    assert len(set(found)) == 2


@pytest.mark.parametrize(("kind", "least"), [("table", 0.5), ("expansion", -0.1), ("expansion", float("inf"))])
def test_a_least_weight_is_finite_not_negative_and_for_what_is_added(kind: str, least: float) -> None:
    query = {"kind": kind, "file": "x", "min_weight_added": least}
    with pytest.raises(ModelFormatError, match="min_weight_added"):
        EncoderConfig.checked({"vocab_size": 9, "words": {"average_length": 9.0}, "query": query}, "splade.json")


@pytest.mark.parametrize(
    "broken",
    [
        {"weights": WEIGHTS[:-1]},
        {"edge_gate.1.weight": np.zeros((5, 4), np.float32)},
        {"edge_gate.rest": np.zeros((3, 4), np.float32)},
        {"vectors": np.zeros((4, 3), np.int8)},
        {"vectors": np.zeros((4, 4, 1), np.int8)},
        {"thesaurus.members": np.full(9, 99, np.int32)},
        {"thesaurus.terms_each": thesaurus().tensors()["thesaurus.terms_each"][:, None]},
        {"thesaurus.roles": np.zeros(3, np.uint8)},
        {"added": np.array([np.nan], np.float32)},
        {"edge_gate.0.bias": np.full(5, np.nan, np.float32)},
        {"word_gate.2.weight": np.full((1, 5), np.inf, np.float32)},
    ],
    ids=lambda broken: next(iter(broken)),
)
def test_arrays_that_do_not_belong_together_are_refused(tmp_path: Path, broken: dict[str, np.ndarray]) -> None:
    with pytest.raises(ModelFormatError, match=r"expansion\.safetensors"):
        SpladeEncoder.load(make_words_model(tmp_path / "model", expansion=broken))


@given(rows=st.integers(0, 40), inner=st.integers(1, 12), columns=st.integers(1, 12), at_once=st.integers(1, 500))
def test_a_product_in_blocks_is_the_product(rows: int, inner: int, columns: int, at_once: int) -> None:
    rng = np.random.default_rng(rows)
    left, right = (rng.normal(size=shape).astype(np.float32) for shape in ((rows, inner), (inner, columns)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensors, "ON_ONE_THREAD", at_once)
        assert tensors.product(left, right) == pytest.approx(left @ right, abs=1e-5)
