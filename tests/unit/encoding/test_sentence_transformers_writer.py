"""Folders of ours that sentence-transformers reads: its vectors must equal ours."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SparseEncoder
from tokenizers import Tokenizer

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.config import EncoderConfig, TextSettings
from splade_ptbr_connectors.encoding.sentence_transformers_writer import (
    sentence_transformers_can_read,
    with_text_rule,
    write_sentence_transformers_files,
)
from splade_ptbr_connectors.encoding.tokens import special_ids
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError
from splade_ptbr_connectors.text import TextRule
from tests.conftest import WORDS

from .tiny import dense, make_tiny_roberta, make_tiny_t5, write_settings

TEXTS = ["imposto de renda", "Declarac\u0327a\u0303o do IMPOSTO?", "São Paulo  e o\nrio", "€ xyz 12", " ".join(WORDS), "ﬁm do ano ²"]
# any text but literal special tokens, and capital sigma, whose lower case depends on its place in Python alone
anything = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"], exclude_characters="[]<>Σ"), min_size=1, max_size=40)
words = st.lists(st.sampled_from([*WORDS, "ÁGUA", "Brasil", "J\u030c", "I\u0307"]), min_size=1, max_size=40).map(" ".join)

VARIANTS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "sum": {"pooling": "sum"},
    "double log, cut at 16": {"activation": "log1p_log1p_relu", "max_length_query": 16, "max_length_document": 16},
    "short queries": {"max_length_query": 8, "max_length_document": 24},
    "lower case, special tokens kept": {"text": {"lowercase": True}, "drop_special_tokens": False},
    "prompts": {"prompt_query": "banco: ", "prompt_document": "DIA de ", "max_length_query": 8, "text": {"lowercase": True}},
    "NFKC, lower case": {"text": {"normalization": "NFKC", "lowercase": True}},
}


class Pair:
    """One folder, read by both."""

    def __init__(self, folder: Path) -> None:
        self.ours = SpladeEncoder.load(folder, on_long="truncate")
        self.theirs = SparseEncoder(str(folder), device="cpu")
        self.dropped = special_ids(self.ours._vocabulary) if self.ours.config.drop_special_tokens else []

    def difference(self, texts: list[str], side: str) -> float:
        """The largest difference of any weight, apart from the terms that we drop."""
        many = {"query": self.ours.encode_queries, "document": self.ours.encode_documents}[side]
        ours = np.stack([dense(vector, self.ours.vocab_size) for vector in many(texts)])
        encode = {"query": self.theirs.encode_query, "document": self.theirs.encode_document}[side]
        theirs = encode(texts, convert_to_sparse_tensor=False, show_progress_bar=False).cpu().numpy()
        assert ours.max() > 0.1
        theirs[:, self.dropped] = 0
        return float(np.abs(ours - theirs).max())


def make_folder(source: Path, folder: Path, **settings: Any) -> tuple[Path, EncoderConfig]:
    """What training saves: weights, tokenizer.json and splade.json."""
    folder.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        shutil.copyfile(source / name, folder / name)
    return folder, write_settings(folder, **settings)


@pytest.fixture(scope="module", params=VARIANTS)
def pair(request: pytest.FixtureRequest, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder, config = make_folder(tiny_model, tmp_path_factory.mktemp("st") / "model", **VARIANTS[request.param])
    write_sentence_transformers_files(folder, config)
    return Pair(folder)


@pytest.mark.parametrize("side", ["query", "document"])
def test_vectors_are_equal(pair: Pair, side: str) -> None:
    assert pair.difference(TEXTS, side) <= 1e-5


@settings(max_examples=15)
@given(texts=st.lists(words, min_size=1, max_size=3), side=st.sampled_from(["query", "document"]))
def test_vectors_are_equal_for_any_words(pair: Pair, texts: list[str], side: str) -> None:
    assert pair.difference(texts, side) <= 1e-5


def test_splade_json_stays_the_authority(pair: Pair) -> None:
    assert pair.ours.config == EncoderConfig.read(pair.ours._folder.path)


def test_weights_stored_as_float16(tiny_model: Path, tmp_path: Path) -> None:
    folder, config = make_folder(tiny_model, tmp_path / "model")
    SpladeModel.from_folder(folder, config).save_folder(folder, dtype=torch.float16)
    write_sentence_transformers_files(folder, config)
    assert Pair(folder).difference(TEXTS, "document") <= 1e-5


def test_another_family_with_another_padding_token(tmp_path: Path) -> None:
    folder = make_tiny_roberta(tmp_path)
    write_sentence_transformers_files(folder, write_settings(folder))
    pair = Pair(folder)
    assert pair.theirs.tokenizer.pad_token_id == 1
    assert pair.difference(TEXTS, "document") <= 1e-5


def test_a_tokenizer_class_of_the_folder_does_not_take_over(tiny_model: Path, tmp_path: Path) -> None:
    """transformers may build a tokenizer from its class and vocabulary, without the normalizer that tokenizer.json has."""
    folder, config = make_folder(tiny_model, tmp_path / "model", text={"lowercase": True})
    for name in ("tokenizer_config.json", "vocab.txt"):
        shutil.copyfile(tiny_model / name, folder / name)
    write_sentence_transformers_files(folder, config)
    assert Pair(folder).difference(TEXTS, "query") <= 1e-5


def test_writing_twice_changes_nothing(tiny_model: Path, tmp_path: Path) -> None:
    folder, config = make_folder(tiny_model, tmp_path / "model", text={"lowercase": True})
    write_sentence_transformers_files(folder, config)
    once = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    fingerprint = SpladeEncoder.load(folder).fingerprint
    write_sentence_transformers_files(folder, config)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == once
    assert SpladeEncoder.load(folder).fingerprint == fingerprint


@pytest.mark.parametrize("text", [TextSettings(), TextSettings(lowercase=True), TextSettings(normalization="NFKC", lowercase=True)])
class TestTextRule:
    def tokenizers(self, tiny_model: Path, text: TextSettings) -> tuple[Tokenizer, Tokenizer]:
        before = (tiny_model / "tokenizer.json").read_text(encoding="utf-8")
        return Tokenizer.from_str(before), Tokenizer.from_str(with_text_rule(before, text))

    @settings(max_examples=100)
    @given(raw=anything)
    def test_ids_of_a_text_that_the_rule_was_applied_to_stay(self, tiny_model: Path, text: TextSettings, raw: str) -> None:
        before, after = self.tokenizers(tiny_model, text)
        ruled = TextRule(text.normalization, text.lowercase).apply(raw)
        if unicodedata.normalize(text.normalization, ruled) == ruled:  # lower case can undo composition: J and a caron above
            assert after.encode(ruled).ids == before.encode(ruled).ids

    @settings(max_examples=100)
    @given(raw=anything)
    def test_a_raw_text_has_the_ids_of_a_text_that_the_rule_was_applied_to(self, tiny_model: Path, text: TextSettings, raw: str) -> None:
        _, after = self.tokenizers(tiny_model, text)
        assert after.encode(raw).ids == after.encode(TextRule(text.normalization, text.lowercase).apply(raw)).ids


class TestWhatItCannotRead:
    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({"lexical": {"average_length": 9.0}}, "lexical channel"),
            ({"query": {"kind": "table", "file": "t.safetensors"}}, "table of weights"),
            ({"query": {"kind": "separate"}}, "network of the queries' own"),
            ({"pool_special_tokens": False}, "pool_special_tokens"),
            ({"max_active_terms_document": 9}, "max_active_terms"),
            ({"min_weight_query": 0.1}, "min_weight"),
        ],
    )
    def test_the_reason_is_named_and_nothing_is_written(self, tiny_model: Path, tmp_path: Path, settings: dict, reason: str) -> None:
        folder, config = make_folder(tiny_model, tmp_path / "model", **settings)
        before = sorted(folder.rglob("*"))
        assert reason in (sentence_transformers_can_read(config) or "")
        with pytest.raises(ConfigError, match=reason):
            write_sentence_transformers_files(folder, config)
        assert sorted(folder.rglob("*")) == before

    def test_t5(self, tmp_path: Path) -> None:
        make_tiny_t5(tmp_path)
        config = write_settings(tmp_path)
        assert sentence_transformers_can_read(config) is None
        assert "T5" in (sentence_transformers_can_read(config, model_type="t5") or "")
        with pytest.raises(ConfigError, match="T5"):
            write_sentence_transformers_files(tmp_path, config)

    def test_a_graph_without_weights(self, tiny_model: Path, tmp_path: Path) -> None:
        folder, config = make_folder(tiny_model, tmp_path / "model")
        (folder / "model.safetensors").unlink()
        with pytest.raises(ModelFormatError, match=r"no model\.safetensors"):
            write_sentence_transformers_files(folder, config)

    def test_a_tokenizer_that_cannot_pad(self, tiny_model: Path, tmp_path: Path) -> None:
        folder, config = make_folder(tiny_model, tmp_path / "model")
        text = (folder / "tokenizer.json").read_text(encoding="utf-8").replace("[PAD]", "[FILL]")
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        with pytest.raises(ModelFormatError, match="no padding token"):
            write_sentence_transformers_files(folder, config)
        assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(ModelFormatError, match=r"no config\.json"):
            write_sentence_transformers_files(tmp_path, EncoderConfig(vocab_size=9))

    def test_the_modules_name_no_code_of_the_folder(self, tiny_model: Path, tmp_path: Path) -> None:
        folder, config = make_folder(tiny_model, tmp_path / "model")
        write_sentence_transformers_files(folder, config)
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        assert all(module["type"].startswith("sentence_transformers.") for module in modules)
