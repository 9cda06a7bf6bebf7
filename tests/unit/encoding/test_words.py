"""Models of words: documents are counted terms, queries come from a table, and no network is needed anywhere."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from tests.unit.encoding.words_model import IDS, SETTINGS, TERMS, TOKENS, WEIGHTS, make_words_model

WORDS = [token for token in TOKENS if token[0] not in "[#"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> SpladeEncoder:
    return SpladeEncoder.load(make_words_model(tmp_path_factory.mktemp("words") / "model", query="table"))


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=12), max_size=5))
def test_a_document_counts_the_terms_of_its_words(table: SpladeEncoder, texts: list[list[str]]) -> None:
    for words, vector in zip(texts, table.encode_documents(map(" ".join, texts)), strict=True):
        counts = Counter(int(TERMS[IDS[word]]) for word in words if TERMS[IDS[word]] >= 0)
        length, (k1, b, average) = sum(counts.values()), SETTINGS.values()
        expected = {term: n / (n + k1 * (1 - b + b * length / average)) for term, n in counts.items()}
        assert vector.to_dict() == pytest.approx(expected)


@given(st.lists(st.sampled_from(WORDS), max_size=12))
def test_a_query_weighs_its_terms_by_the_table(table: SpladeEncoder, words: list[str]) -> None:
    terms = {int(TERMS[IDS[word]]) for word in words if TERMS[IDS[word]] >= 0}
    assert table.encode_query(" ".join(words)).to_dict() == pytest.approx({term: float(WEIGHTS[term]) for term in terms})


@pytest.mark.parametrize(("one", "other"), [("Impostos", "imposto"), ("INSÔNIA", "insonia"), ("dor, (prazo)!", "dor prazo")])
def test_case_accents_punctuation_and_inflections_make_no_difference(table: SpladeEncoder, one: str, other: str) -> None:
    assert table.encode_document(one) == table.encode_document(other)


def test_a_word_that_is_not_in_the_vocabulary_keeps_its_pieces(table: SpladeEncoder) -> None:
    assert [token for token, _ in table.decode(table.encode_document("noitexs"))] == ["noite", "##s", "##x"]


def test_long_texts_are_neither_cut_nor_split(table: SpladeEncoder) -> None:
    vector = table.encode_document("imposto prazo " * 20_000)
    assert len(vector) == 2 and (table.report.split, table.report.truncated) == (0, 0)


def test_it_needs_neither_torch_nor_onnxruntime(tmp_path: Path) -> None:
    model = make_words_model(tmp_path / "model")
    code = f"""
import sys
sys.modules["torch"] = sys.modules["onnxruntime"] = sys.modules["transformers"] = None
from splade_ptbr_connectors import SpladeEncoder
encoder = SpladeEncoder.load({str(model)!r})
assert encoder.encode_query("insônia").dot(encoder.encode_document("insônia")) > 0
print(encoder.runtime.name)
"""
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip() == "numpy"


@pytest.mark.parametrize("asked", [{"runtime": "torch"}, {"runtime": "onnx"}, {"device": "cuda"}, {"dtype": "bfloat16"}])
def test_what_only_a_network_can_do_is_refused(tmp_path: Path, asked: dict[str, str]) -> None:
    model = make_words_model(tmp_path / "model")
    with pytest.raises(ConfigError, match="has no network"):
        SpladeEncoder.load(model, **asked)


def test_there_is_nothing_to_export(table: SpladeEncoder, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no network to export"):
        table.export_onnx(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_everything_that_changes_vectors_changes_the_fingerprint(tmp_path: Path) -> None:
    models = [
        make_words_model(tmp_path / "a"),
        make_words_model(tmp_path / "b", words=SETTINGS | {"b": 0.5}),
        make_words_model(tmp_path / "c", query="table"),
        make_words_model(tmp_path / "d", expansion={"weights": WEIGHTS * 2}),
        make_words_model(tmp_path / "e"),
    ]
    save_file({"terms": np.where(TERMS == IDS["imposto"], IDS["prazo"], TERMS)}, models[-1] / "words.safetensors")
    assert len({SpladeEncoder.load(model).fingerprint for model in models}) == len(models)
    assert SpladeEncoder.load(make_words_model(tmp_path / "again")).fingerprint == SpladeEncoder.load(models[0]).fingerprint


@pytest.mark.parametrize(
    "terms",
    [TERMS[:-1], TERMS.astype(np.float32), np.full_like(TERMS, len(TERMS)), np.full_like(TERMS, -2), np.roll(TERMS, 1)],
    ids=["short", "floats", "V", "-2", "term of a term"],
)
def test_a_table_of_terms_that_does_not_fit_is_refused(tmp_path: Path, terms: np.ndarray) -> None:
    model = make_words_model(tmp_path / "model")
    save_file({"terms": terms}, model / "words.safetensors")
    with pytest.raises(ModelFormatError, match=r"'terms'|another term"):
        SpladeEncoder.load(model)


@pytest.mark.parametrize("name", ["words.safetensors", "expansion.safetensors"])
def test_a_missing_or_broken_file_is_named(tmp_path: Path, name: str) -> None:
    model = make_words_model(tmp_path / "model")
    (model / name).write_bytes(b"no tensors")
    with pytest.raises(ModelFormatError, match=name):
        SpladeEncoder.load(model)
    (model / name).unlink()
    with pytest.raises(ModelFormatError, match=name):
        SpladeEncoder.load(model)


@pytest.mark.parametrize("changes", [{"query": {"kind": "same"}}, {"words": None}])
def test_settings_that_contradict_each_other_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ModelFormatError):
        make_words_model(tmp_path / "model", **changes)
