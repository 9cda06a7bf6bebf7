"""Small models and tokenizers of other families than the shared tiny BERT, with random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedModel, RobertaConfig, RobertaForMaskedLM, T5Config, T5EncoderModel, T5ForConditionalGeneration

from splade_ptbr_connectors import SparseVector
from splade_ptbr_connectors.encoding.config import EncoderConfig
from tests.conftest import WORDS

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZáâãàçéêíóôõúüÁÇÉ0123456789.,?"
T5_SIZES = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "feed_forward_proj": "gated-gelu", "pad_token_id": 0}


def sentencepiece_tokenizer(specials: list[str], template: str) -> Tokenizer:
    """A Unigram tokenizer as SentencePiece makes them: pieces of words, `specials` first, `template` around the text."""
    pieces = [*specials, "▁", *(f"▁{word}" for word in WORDS), *LETTERS]
    scores = [0.0] * len(specials) + [-9.0] + [-4.0] * len(WORDS) + [-8.0] * len(LETTERS)
    vocabulary = list(dict(zip(pieces, scores, strict=True)).items())
    tokenizer = Tokenizer(Unigram(vocabulary, unk_id=specials.index("<unk>")))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.add_special_tokens(specials)
    used = [(token, tokenizer.token_to_id(token)) for token in specials if token in template]
    tokenizer.post_processor = TemplateProcessing(single=template, special_tokens=used)
    return tokenizer


def make_tiny_t5(folder: Path, *, seed: int = 0, whole: bool = True) -> PreTrainedModel:
    """A T5 v1.1 checkpoint (its encoder alone unless `whole`) and its tokenizer in `folder`; gives the model back."""
    torch.manual_seed(seed)
    tokenizer = sentencepiece_tokenizer(["<pad>", "</s>", "<unk>", "<extra_id_0>"], "$A </s>")
    kind = T5ForConditionalGeneration if whole else T5EncoderModel
    model = kind(T5Config(vocab_size=tokenizer.get_vocab_size(), decoder_start_token_id=0, **T5_SIZES)).eval()
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return model


def make_tiny_roberta(folder: Path) -> Path:
    """A RoBERTa masked language model, whose padding token is <pad> with id 1."""
    torch.manual_seed(0)
    tokenizer = sentencepiece_tokenizer(["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "<s> $A </s>")
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=66,
        type_vocab_size=1,
        initializer_range=0.1,
    )
    RobertaForMaskedLM(config).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def write_settings(folder: Path, **settings: Any) -> EncoderConfig:
    """FOLDER/splade.json for the network that is there."""
    size = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    config = EncoderConfig.checked({"vocab_size": size, "max_length_query": 64, "max_length_document": 64} | settings, str(folder))
    config.write(folder)
    return config


def dense(vector: SparseVector, size: int) -> np.ndarray:
    """[V] the weights of every term."""
    result = np.zeros(size, np.float32)
    result[vector.term_ids] = vector.weights
    return result
