"""Any masked language model: the activations of each family against its own logits, pooled naively, up to its last position."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel

from splade_ptbr_connectors import SpladeEncoder
from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.network_config import CHECKED_FAMILIES, NetworkConfig
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError, ModelFormatError

from .tiny import sentencepiece_tokenizer

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
POSITIONS = 40
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64, "vocab_size": 200, "pad_token_id": 1}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {},
    "roberta": {},
    "xlm-roberta": {},
    "camembert": {},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64},
    "electra": {"embedding_size": 16},
    "albert": {"embedding_size": 16},
    "deberta": {},
    "deberta-v2": {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]},
    "mpnet": {},
    "modernbert": {"global_attn_every_n_layers": 1, "cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2},
    "data2vec-text": {},
    "ibert": {},
    "longformer": {"attention_window": 8},
    "luke": {"entity_vocab_size": 9, "entity_emb_size": 8},
    "roberta-prelayernorm": {},
    "xlm-roberta-xl": {},
    "xmod": {"languages": ["pt"], "default_language": "pt"},
}
MOBILE = {"true_hidden_size": 16, "embedding_size": 16, "intra_bottleneck_size": 16, "hidden_size": 64}
STRANGE = {  # families that cannot be pooled
    "fnet": ({}, "FNetForMaskedLM does not mask padding"),
    "convbert": ({"embedding_size": 32}, "ConvBertForMaskedLM does not mask padding"),
    "mobilebert": (MOBILE, "MobileBertForMaskedLM computes its logits in its own way"),
    "esm": ({"mask_token_id": 4}, "EsmForMaskedLM computes its logits in its own way"),
    "nystromformer": ({"num_landmarks": 4, "segment_means_seq_len": 4}, "NystromformerForMaskedLM does not mask padding"),
}


def make(folder: Path, family: str, **settings: Any) -> PreTrainedModel:
    """A small random model of the family in `folder`, with an output bias that shows when it is lost."""
    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **SMALL | {"max_position_embeddings": POSITIONS} | settings)
    model = AutoModelForMaskedLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.5)
            elif parameter.dim() > 1:
                parameter.mul_(3)
    model.save_pretrained(folder)
    return model


def batch(length: int) -> tuple[torch.Tensor, torch.Tensor]:
    ids, mask = torch.randint(5, 120, (3, length)), torch.ones(3, length, dtype=torch.long)
    ids[1, 5:], mask[1, 5:] = 1, 0
    return ids, mask


def test_every_known_family_is_here() -> None:
    assert FAMILIES.keys() == CHECKED_FAMILIES


@pytest.mark.parametrize("family", [*FAMILIES, "ernie", "megatron-bert"])  # the last two are tried when they are loaded
def test_activations_equal_the_pooled_logits_with_and_without_padding(family: str, tmp_path: Path) -> None:
    model = make(tmp_path, family, **FAMILIES.get(family, {}))
    splade = SpladeModel.from_folder(tmp_path, EncoderConfig(vocab_size=200))
    for length in (9, NetworkConfig(tmp_path).position_limit):
        ids, mask = batch(length)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask).logits
            expected = torch.log1p(torch.relu(logits.masked_fill(mask[..., None] == 0, -torch.inf).amax(1)))
            alone = splade.activations(ids[1:2, :5], mask[1:2, :5])
            actual = splade.activations(ids, mask)
        torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(actual[1:2], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("padding", [0, 1, 3])
def test_the_position_limit_is_the_longest_text(family: str, padding: int, tmp_path: Path) -> None:
    """Positions of the RoBERTa family begin behind the padding id; a text of one token more has no position."""
    model = make(tmp_path, family, **FAMILIES[family] | {"pad_token_id": padding})
    limit = NetworkConfig(tmp_path).position_limit
    ids = torch.randint(5, 120, (1, limit + 1))
    with torch.no_grad():
        assert model(input_ids=ids[:, :limit], attention_mask=torch.ones(1, limit)).logits.isfinite().all()
        if family not in ("deberta-v2", "modernbert"):  # positions that are relative alone, or rotations: the limit is declared
            with pytest.raises((IndexError, RuntimeError)):
                model(input_ids=ids, attention_mask=torch.ones(1, limit + 1))


@pytest.mark.parametrize("padding", [1, 3])
def test_a_long_text_is_encoded_with_the_default_length(padding: int, tmp_path: Path) -> None:
    names = ["<s>", "</s>", "<unk>", "<mask>"]
    tokenizer = sentencepiece_tokenizer([*names[:padding], "<pad>", *names[padding:]], "<s> $A </s>")
    make(tmp_path, "roberta", pad_token_id=padding)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = SpladeEncoder.load(tmp_path)
    assert encoder.config.max_length_document == POSITIONS - padding - 1
    assert len(encoder.encode_document("imposto de renda " * 40))
    with pytest.raises(ConfigError, match=f"{POSITIONS - padding} tokens .* has {POSITIONS - padding - 1} positions"):
        SpladeEncoder.load(tmp_path, max_length_document=POSITIONS - padding)


@pytest.mark.parametrize("family", STRANGE)
def test_a_family_whose_vectors_would_be_wrong_is_refused_when_loaded(family: str, tmp_path: Path) -> None:
    settings, message = STRANGE[family]
    make(tmp_path, family, **settings)
    with pytest.raises(ModelFormatError, match=message):
        SpladeModel.from_folder(tmp_path, EncoderConfig(vocab_size=200))


def test_an_unknown_family_with_fewer_positions_than_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("splade_ptbr_connectors.encoding.network_config.BEHIND_PADDING", frozenset())
    monkeypatch.setattr("splade_ptbr_connectors.encoding.backbone.CHECKED_FAMILIES", frozenset())
    make(tmp_path, "roberta")
    sentencepiece_tokenizer(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>").save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(ConfigError, match=rf"{POSITIONS} tokens is asked for, and RobertaForMaskedLM fails at it .*: set a smaller"):
        SpladeEncoder.load(tmp_path)
    longest = POSITIONS - 2
    encoder = SpladeEncoder.load(tmp_path, max_length_query=longest, max_length_document=longest)
    assert len(encoder.encode_document("imposto de renda " * 40))


@pytest.mark.parametrize("key", ["max_position_embeddings", "pad_token_id"])
@pytest.mark.parametrize("value", ["512", [512], {"a": 1}, 512.0, True, -3, float("inf")])
def test_positions_of_another_type_are_refused(key: str, value: object, tmp_path: Path) -> None:
    config = {"model_type": "roberta", "vocab_size": 200, "max_position_embeddings": 40, "pad_token_id": 1}
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}), encoding="utf-8")
    with pytest.raises(ModelFormatError, match=rf"{key}: Input should be") as raised:
        _ = NetworkConfig(tmp_path).position_limit
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", [None, "bert", 3, ["roberta"], {"roberta": 1}])
def test_a_model_type_of_another_kind_has_the_positions_that_it_says(value: object, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": value, "max_position_embeddings": 40}), encoding="utf-8")
    assert NetworkConfig(tmp_path).position_limit == 40
