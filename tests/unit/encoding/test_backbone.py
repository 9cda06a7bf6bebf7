"""load_backbone: what cannot be loaded is refused with one line that says why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel

from splade_ptbr_connectors.encoding.backbone import load_backbone
from splade_ptbr_connectors.errors import ModelFormatError, ModelNotFoundError, SpladeConnectorsError

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 50}


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_model, tmp_path / "model")


def refused(path: Path | str, message: str, error: type[SpladeConnectorsError] = ModelFormatError) -> None:
    with pytest.raises(error, match=message) as raised:
        load_backbone(path)
    assert "\n" not in str(raised.value)


def test_a_masked_language_model(model: Path) -> None:
    loaded = load_backbone(model)
    assert type(loaded).__name__ == "BertForMaskedLM"
    assert loaded.dtype == torch.float32
    assert type(load_backbone(str(model))) is type(loaded)


def test_a_hub_id_that_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("nobody/nothing", "'nobody/nothing'", ModelNotFoundError)


def test_a_folder_without_config(tmp_path: Path) -> None:
    refused(tmp_path, "no usable config.json")


def test_a_broken_config(model: Path) -> None:
    (model / "config.json").write_text("{", encoding="utf-8")
    refused(model, "no usable config.json")


def test_only_pickled_weights(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    refused(model, "safetensors")


def test_truncated_weights(model: Path) -> None:
    (model / "model.safetensors").write_bytes((model / "model.safetensors").read_bytes()[:500])
    refused(model, "cannot be loaded")


def test_code_of_its_own(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModelForMaskedLM": "evil.Evil"}}), encoding="utf-8")
    refused(model, "auto_map")


def test_weights_of_another_shape(model: Path) -> None:
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {"hidden_size": 64}), encoding="utf-8")
    refused(model, "cannot be loaded")


def test_a_model_without_a_head_is_not_given_a_random_one(tmp_path: Path) -> None:
    BertModel(BertConfig(**SMALL)).save_pretrained(tmp_path)
    refused(tmp_path, r"lack .* of BertForMaskedLM \(cls\.predictions")


def test_a_decoder(tmp_path: Path) -> None:
    GPT2LMHeadModel(GPT2Config(vocab_size=50, n_embd=16, n_layer=1, n_head=2)).save_pretrained(tmp_path)
    refused(tmp_path, "masked language model or a T5 model")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("hidden_size", "32"),
        ("num_attention_heads", 0),
        ("intermediate_size", None),
        ("hidden_act", 3),
        ("layer_norm_eps", [1]),
        ("vocab_size", None),
        ("max_position_embeddings", {"a": 1}),
        ("model_type", ["bert"]),
        ("pad_token_id", "x"),
    ],
)
def test_a_config_with_values_of_another_kind(model: Path, key: str, value: object) -> None:
    """Transformers raises nearly any type over them."""
    config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    (model / "config.json").write_text(json.dumps(config | {key: value}), encoding="utf-8")
    refused(model, "cannot be loaded")


def test_a_config_nested_too_deep(model: Path) -> None:
    (model / "config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000, encoding="utf-8")
    refused(model, "no usable config.json")
