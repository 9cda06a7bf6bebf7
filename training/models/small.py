"""A small BERT made here: embeddings counted on text, layers that start as the identity."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import BertConfig, BertForMaskedLM

from training.recipe.sections import LexicalModel, SmallModel

HEAD_SHIFT = 4.0
"""GELU is the identity up to 1e-3 on values shifted up by this much; the LayerNorm behind it takes the shift out again."""


def bert_config(section: SmallModel | LexicalModel, vocab_size: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=section.hidden_size,
        num_hidden_layers=section.layers,
        num_attention_heads=section.heads,
        intermediate_size=section.intermediate_size,
        max_position_embeddings=section.max_positions,
        hidden_dropout_prob=getattr(section, "dropout", 0.0),
        attention_probs_dropout_prob=getattr(section, "dropout", 0.0),
        type_vocab_size=1,
        pad_token_id=0,
        tie_word_embeddings=True,
    )


@torch.no_grad()
def build_backbone(section: SmallModel | LexicalModel, embeddings: NDArray[np.float32]) -> BertForMaskedLM:
    """A BERT that starts as the identity: z_ij = similarity_scale * cos(e_i, e_j) + initial_bias, no mixing of tokens yet."""
    model = BertForMaskedLM(bert_config(section, len(embeddings)))
    model.bert.embeddings.word_embeddings.weight.copy_(torch.from_numpy(embeddings))
    model.bert.embeddings.position_embeddings.weight.mul_(0.1)
    model.bert.embeddings.token_type_embeddings.weight.zero_()
    layers: Any = model.bert.encoder.layer
    for layer in layers:
        for dense in (layer.attention.output.dense, layer.output.dense):
            dense.weight.zero_()
            dense.bias.zero_()
    transform = model.cls.predictions.transform
    transform.dense.weight.copy_(torch.eye(section.hidden_size))
    transform.dense.bias.fill_(HEAD_SHIFT)
    transform.LayerNorm.weight.fill_(section.similarity_scale / math.sqrt(section.hidden_size))
    model.cls.predictions.bias.fill_(section.initial_bias)
    model.cls.predictions.decoder.bias = model.cls.predictions.bias
    model.tie_weights()
    return model
