"""SpladeEncoder against plain transformers: the published definition, written out naively, is the oracle."""

from __future__ import annotations

import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForMaskedLM, AutoTokenizer

from splade_ptbr_connectors import SparseVector, SpladeEncoder
from splade_ptbr_connectors.encoding.forward import window_batches
from splade_ptbr_connectors.errors import ConfigError, ModelError, TextError
from tests.conftest import WORDS, make_tiny_model

LONG = " ".join(WORDS * 4)
TEXTS = ["imposto de renda", "a declaração", "Vacina?", "São Paulo e o rio", "café com água, por favor.", "x", LONG[:150], "documento"]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=25).map(" ".join)


class Oracle:
    """SPLADE as the papers write it: logits [L, V] of one text at a time, log1p(relu(.)), then max or sum over tokens."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForMaskedLM.from_pretrained(folder).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def __call__(self, text: str, pooling: str = "max", max_length: int = 64) -> np.ndarray:
        inputs = self.tokenizer(text, return_tensors="pt", truncation=True, max_length=max_length)
        with torch.no_grad():
            weights = torch.log1p(torch.relu(self.model(**inputs).logits[0]))
        pooled = weights.amax(0) if pooling == "max" else weights.sum(0)
        pooled[self.tokenizer.all_special_ids] = 0
        return pooled.numpy()


@pytest.fixture(scope="module")
def oracle(tiny_model: Path) -> Oracle:
    return Oracle(tiny_model)


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> SpladeEncoder:
    return SpladeEncoder.load(tiny_model)


def dense(vector: SparseVector, size: int) -> np.ndarray:
    result = np.zeros(size, np.float32)
    result[vector.term_ids] = vector.weights
    return result


def close(a: SparseVector, b: SparseVector, size: int, tolerance: float = 1e-6) -> bool:
    return bool(np.abs(dense(a, size) - dense(b, size)).max() <= tolerance)


def test_twenty_threads_encode_queries_as_one_does(encoder: SpladeEncoder) -> None:
    alone = [encoder.encode_query(text) for text in TEXTS]
    with ThreadPoolExecutor(20) as pool:
        for number, vector in enumerate(pool.map(encoder.encode_query, TEXTS * 20)):
            assert close(vector, alone[number % len(TEXTS)], encoder.vocab_size)


@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_equals_the_published_definition(tiny_model: Path, oracle: Oracle, pooling: str) -> None:
    encoder = SpladeEncoder.load(tiny_model, pooling=pooling)
    for text, vector in zip(TEXTS, encoder.encode_documents(TEXTS), strict=True):
        np.testing.assert_allclose(dense(vector, encoder.vocab_size), oracle(text, pooling), atol=1e-6 if pooling == "max" else 1e-5)


@settings(max_examples=25)
@given(text=texts)
def test_equals_the_definition_on_any_text(encoder: SpladeEncoder, oracle: Oracle, text: str) -> None:
    np.testing.assert_allclose(dense(encoder.encode_query(text), encoder.vocab_size), oracle(text), atol=1e-6)


@settings(max_examples=25)
@given(batch=st.lists(texts, min_size=1, max_size=12), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_padding_batch_size_and_order_change_nothing(encoder: SpladeEncoder, batch: list[str], size: int, seed: int) -> None:
    alone = [encoder.encode_document(text) for text in batch]
    order = random.Random(seed).sample(range(len(batch)), len(batch))
    encoder.batch_size, before = size, encoder.batch_size
    try:
        together = list(encoder.encode_documents(batch[i] for i in order))
    finally:
        encoder.batch_size = before
    for position, vector in zip(order, together, strict=True):
        assert close(vector, alone[position], encoder.vocab_size)


def test_no_tensor_is_as_large_as_all_logits(tiny_model: Path) -> None:
    encoder = SpladeEncoder.load(tiny_model)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max([largest, *(t.numel() for t in (out if isinstance(out, tuple | list) else [out]) if isinstance(t, torch.Tensor))])
            return out

    rows, length = 64, 64
    ids = np.full((rows, length), 7, np.int64)
    with Watch():
        encoder.runtime.activations(ids, np.ones_like(ids))
    assert 0 < largest < rows * length * encoder.vocab_size / 3


def test_a_stream_is_read_no_further_than_needed(encoder: SpladeEncoder) -> None:
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield "imposto"

    stream = encoder.encode_documents(endless())
    for _ in range(3):
        next(stream)
    assert read <= 16 * encoder.batch_size


@given(lengths=st.lists(st.integers(1, 3000), max_size=60), size=st.integers(1, 40))
def test_batches_hold_every_window_once_and_stay_small(lengths: list[int], size: int) -> None:
    windows = [(n, [0] * length) for n, length in enumerate(sorted(lengths))]
    batches = list(window_batches(windows, size))
    assert [window for batch in batches for window in batch] == windows
    for batch in batches:
        assert 1 <= len(batch) <= size
        assert len(batch) == 1 or len(batch) * len(batch[-1][1]) <= size * 256


def test_windows_are_the_maximum_over_overlapping_parts(tiny_model: Path, oracle: Oracle) -> None:
    encoder = SpladeEncoder.load(tiny_model, max_length_document=16)
    words = [random.Random(1).choice(WORDS[10:]) for _ in range(60)]
    tokens = oracle.tokenizer(" ".join(words), add_special_tokens=False).input_ids
    room, overlap = 14, 3
    starts = [s for s in range(0, len(tokens), room - overlap) if s == 0 or s + overlap < len(tokens)]
    expected = np.zeros(encoder.vocab_size, np.float32)
    for start in starts:
        ids = torch.tensor([[2, *tokens[start : start + room], 3]])
        with torch.no_grad():
            weights = torch.log1p(torch.relu(oracle.model(ids).logits[0])).amax(0)
        expected = np.maximum(expected, weights.numpy())
    expected[oracle.tokenizer.all_special_ids] = 0
    np.testing.assert_allclose(dense(encoder.encode_document(" ".join(words)), encoder.vocab_size), expected, atol=1e-6)
    assert encoder.report.split == 1
    assert encoder.report.windows == len(starts)
    assert encoder.report.truncated == 0


def test_truncation_is_counted_and_equals_the_first_window(tiny_model: Path, oracle: Oracle) -> None:
    encoder = SpladeEncoder.load(tiny_model, max_length_document=16, on_long="truncate")
    np.testing.assert_allclose(dense(encoder.encode_document(LONG), encoder.vocab_size), oracle(LONG, max_length=16), atol=1e-6)
    total = len(oracle.tokenizer(LONG, add_special_tokens=False).input_ids)
    assert encoder.report.truncated == 1
    assert encoder.report.tokens_cut == total - 14
    encoder.encode_document("curto")
    assert encoder.report.truncated == 1


def test_a_long_text_can_be_an_error(tiny_model: Path) -> None:
    encoder = SpladeEncoder.load(tiny_model, max_length_document=16, on_long="error")
    with pytest.raises(TextError, match="the model takes 14"):
        encoder.encode_document(LONG)


@pytest.mark.parametrize("blank", ["", "   ", "\n\t"])
def test_a_blank_text_has_no_terms_and_is_counted(tiny_model: Path, blank: str) -> None:
    encoder = SpladeEncoder.load(tiny_model)
    assert encoder.encode_query(blank) == SparseVector([], [])
    assert encoder.report.empty == 1


def test_composed_and_decomposed_accents_are_one(encoder: SpladeEncoder) -> None:
    assert encoder.encode_query("declarac\u0327a\u0303o") == encoder.encode_query("declaração")


def test_special_tokens_are_dropped_unless_asked_for(tiny_model: Path, oracle: Oracle) -> None:
    special = set(oracle.tokenizer.all_special_ids)
    kept = SpladeEncoder.load(tiny_model, drop_special_tokens=False).encode_query(LONG[:100])
    assert special & set(kept.term_ids.tolist())
    assert not special & set(SpladeEncoder.load(tiny_model).encode_query(LONG[:100]).term_ids.tolist())


def test_pruning_is_per_side(tiny_model: Path, encoder: SpladeEncoder) -> None:
    pruned = SpladeEncoder.load(tiny_model, max_active_terms_document=5, min_weight_query=0.5)
    assert pruned.encode_document(TEXTS[0]) == encoder.encode_document(TEXTS[0]).prune(max_terms=5)
    assert pruned.encode_query(TEXTS[0]) == encoder.encode_query(TEXTS[0]).prune(min_weight=0.5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_narrow_types_stay_near(tiny_model: Path, encoder: SpladeEncoder, dtype: str) -> None:
    narrow = SpladeEncoder.load(tiny_model, dtype=dtype, runtime="torch")
    a, b = (dense(e.encode_document(TEXTS[4]), e.vocab_size) for e in (encoder, narrow))
    assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.99


def test_lower_casing_belongs_to_the_model(tiny_model: Path) -> None:
    lower = SpladeEncoder.load(tiny_model, text={"lowercase": True})
    assert lower.encode_query("IMPOSTO") == lower.encode_query("imposto")


@settings(max_examples=25)
@given(query=texts, document=texts)
def test_contributions_add_up_to_the_score(encoder: SpladeEncoder, query: str, document: str) -> None:
    explanation = encoder.explain(query, document)
    score = encoder.encode_query(query).dot(encoder.encode_document(document))
    assert sum(part.contribution for part in explanation.contributions) == pytest.approx(explanation.score)
    assert explanation.score == pytest.approx(score, rel=1e-6)
    parts = [part.contribution for part in explanation.contributions]
    assert parts == sorted(parts, reverse=True)


def test_decode_names_the_tokens(encoder: SpladeEncoder) -> None:
    vector = encoder.encode_query("imposto de renda")
    decoded = encoder.decode(vector)
    assert len(decoded) == len(vector)
    assert [w for _, w in decoded] == sorted(vector.weights.tolist(), reverse=True)
    assert encoder.decode(vector, 3) == decoded[:3]


@pytest.mark.parametrize("bad", [None, 1, b"bytes", float("nan"), "\ud800", "a\0b", "x" * 1_000_001])
def test_bad_texts_are_refused_and_named(encoder: SpladeEncoder, bad: object) -> None:
    with pytest.raises(TextError, match="document 1"):
        list(encoder.encode_documents(["bom", bad]))  # type: ignore[list-item]
    with pytest.raises(TextError, match=r"^query (is|has)"):
        encoder.encode_query(bad)  # type: ignore[arg-type]


def test_a_single_text_is_no_stream(encoder: SpladeEncoder) -> None:
    with pytest.raises(TextError, match="encode_query"):
        encoder.encode_queries("imposto")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0"),
        ({"on_long": "cut"}, "on_long is 'cut'"),
        ({"runtime": "jax"}, "runtime is 'jax'"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"device": "cuda:99"}, "not available"),
        ({"max_lenght_document": 5}, "did you mean 'max_length_document'"),
        ({"max_length_document": 65}, "64 positions"),
        ({"max_length_document": 1}, "greater than 2"),
        ({"vocab_size": 5}, "belongs to the checkpoint"),
        ({"min_weight_document": -1}, "greater than or equal to 0"),
        ({"pooling": "mean"}, "'max' or 'sum'"),
    ],
)
def test_bad_settings_are_refused(tiny_model: Path, settings: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SpladeEncoder.load(tiny_model, **settings)


def test_a_model_that_gives_nan_is_stopped(tiny_model: Path) -> None:
    encoder = SpladeEncoder.load(tiny_model)
    with torch.no_grad():
        encoder.runtime.model.head.bias.fill_(float("nan"))
    with pytest.raises(ModelError, match="NaN"):
        encoder.encode_query("imposto")


class TestFingerprint:
    def test_is_stable_and_independent_of_place_and_batch(self, tiny_model: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(tiny_model, tmp_path / "copy")
        assert SpladeEncoder.load(copy, batch_size=3).fingerprint == SpladeEncoder.load(tiny_model).fingerprint
        assert len(SpladeEncoder.load(copy).fingerprint) == 64

    @pytest.mark.parametrize(
        "settings",
        [
            {"pooling": "sum"},
            {"max_length_document": 32},
            {"max_active_terms_document": 9},
            {"min_weight_query": 0.1},
            {"text": {"lowercase": True}},
            {"drop_special_tokens": False},
            {"on_long": "truncate"},
        ],
    )
    def test_changes_with_whatever_changes_a_vector(self, tiny_model: Path, encoder: SpladeEncoder, settings: dict) -> None:
        assert SpladeEncoder.load(tiny_model, **settings).fingerprint != encoder.fingerprint

    def test_changes_with_weights_and_tokenizer(self, tiny_model: Path, tmp_path: Path, encoder: SpladeEncoder) -> None:
        other = make_tiny_model(tmp_path, seed=1)
        assert SpladeEncoder.load(other).fingerprint != encoder.fingerprint
        with_other_tokenizer = shutil.copytree(tiny_model, tmp_path / "tokenizer")
        text = (with_other_tokenizer / "tokenizer.json").read_text(encoding="utf-8")
        (with_other_tokenizer / "tokenizer.json").write_text(text.replace('"lowercase": false', '"lowercase": true'), encoding="utf-8")
        assert SpladeEncoder.load(with_other_tokenizer).fingerprint != encoder.fingerprint


def test_a_tokenizer_given_as_a_path_means_the_same_elsewhere(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tiny_model.parent)
    encoder = SpladeEncoder.load(tiny_model, tokenizer=tiny_model.name)
    monkeypatch.chdir(tmp_path)
    assert SpladeEncoder.load(**json.loads(json.dumps(encoder.load_arguments))).fingerprint == encoder.fingerprint


def test_load_arguments_give_the_same_encoder_again(tiny_model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tiny_model.parent)
    encoder = SpladeEncoder.load(tiny_model.name, on_long="truncate", max_length_document=32)
    monkeypatch.chdir(tmp_path)
    assert SpladeEncoder.load(**json.loads(json.dumps(encoder.load_arguments))).fingerprint == encoder.fingerprint
