"""The trainable pair: a SPLADE document encoder and an inference-free query table (arXiv 2411.04403, 2505.01452)."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM

from splade_ptbr_connectors.encoding.torch_model import LexicalChannel, SpladeModel
from training.config import ModelSection, Recipe
from training.data import TrainingData, text_path
from training.embeddings import term_embeddings
from training.lexicon import Lexicon, balanced_idf, build_lexicon, tokenize_texts
from training.vocabulary import TokenIds, special_ids

logger = logging.getLogger(__name__)
MAX_SOURCES = 16
HEAD_SHIFT = 4.0
"""GELU is the identity up to 1e-3 on values shifted up by this much; the LayerNorm behind it takes the shift out again."""


class TableEncoder(nn.Module):
    """Documents by `splade`, queries by a learned weight for each term that occurs (how often does not matter).

    Args:
        query_weights: [V] start of the table.
        traits: [V, F] what is known of each term; a factor exp(traits . learned [F]) is shared by terms alike.
    """

    def __init__(self, splade: SpladeModel, query_weights: Tensor, special: Sequence[int], traits: Tensor) -> None:
        super().__init__()
        self.splade = splade
        self.query_traits = nn.Parameter(torch.zeros(traits.shape[1]))
        self.log_scale = nn.Parameter(torch.zeros(MAX_SOURCES))
        self.register_buffer("traits", traits.to(torch.float32))
        self.query_table = nn.Parameter(query_weights.detach().to(torch.float32).clone())
        keep = torch.ones_like(self.query_table)
        keep[list(special)] = 0.0
        self.register_buffer("keep", keep, persistent=False)

    keep: Tensor
    traits: Tensor

    def query_weights(self) -> Tensor:
        """[V] weights >= 0; special tokens have none. What the traits of a term say holds for terms never trained on."""
        shared = torch.exp((self.traits @ self.query_traits).clamp(-3.0, 1.0))
        return torch.relu(self.query_table) * shared * self.keep

    def queries(self, queries: Sequence[TokenIds]) -> Tensor:
        """[Q, V] query vectors."""
        occurs = torch.zeros(len(queries), len(self.query_table))
        for row, ids in enumerate(queries):
            occurs[row, torch.from_numpy(ids.astype(np.int64))] = 1.0
        return occurs * self.query_weights()

    def documents(self, documents: Sequence[TokenIds]) -> Tensor:
        """[D, V] document vectors."""
        input_ids, attention_mask = pad(documents)
        activations: Tensor = self.splade.activations(input_ids, attention_mask)
        return activations * self.keep


def pad(rows: Sequence[TokenIds]) -> tuple[Tensor, Tensor]:
    """([B, L] ids, [B, L] mask), int64, padded with 0."""
    length = max((len(row) for row in rows), default=1)
    ids = np.zeros((len(rows), max(1, length)), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def bert_config(section: ModelSection, vocab_size: int) -> BertConfig:
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=section.hidden_size,
        num_hidden_layers=section.layers,
        num_attention_heads=section.heads,
        intermediate_size=section.intermediate_size,
        max_position_embeddings=section.max_positions,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        type_vocab_size=1,
        pad_token_id=0,
        tie_word_embeddings=True,
    )


@torch.no_grad()
def build_backbone(section: ModelSection, embeddings: NDArray[np.float32]) -> BertForMaskedLM:
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


def lexical_channel(lexicon: Lexicon, section: ModelSection, special: Sequence[int]) -> LexicalChannel:
    return LexicalChannel(
        torch.from_numpy(lexicon.gain),
        k1=section.k1,
        b=section.b,
        average_length=section.average_length,
        special_ids=list(special),
        classes=torch.from_numpy(lexicon.classes),
        neighbours=torch.from_numpy(lexicon.neighbours),
        neighbour_gain=torch.from_numpy(lexicon.neighbour_gain),
        importance=torch.randn(section.hidden_size, generator=torch.Generator().manual_seed(0)) * 1e-3,
    )


def build_model(recipe: Recipe, data: TrainingData, data_dir: Path) -> TableEncoder:
    """The untrained model of a recipe: lexical, with IDF and embeddings counted on the unlabelled text and the training passages."""
    vocabulary = data.vocabulary
    torch.manual_seed(recipe.seed)
    names = sorted(path.name.removesuffix(".txt.gz") for path in (data_dir / (recipe.data.texts or "")).glob("*.txt.gz"))
    files = [text_path(recipe.data, data_dir, name) for name in names]
    rows = tokenize_texts(files, vocabulary, limit=recipe.model.embedding_tokens)
    rows += [np.concatenate([row[1:-1] for row in data.sources[name].documents]) for name in recipe.data.collections]
    lexicon = build_lexicon(vocabulary, balanced_idf(rows, len(vocabulary), power=recipe.model.idf_power), recipe.model)
    embeddings = term_embeddings(rows, len(vocabulary), recipe.model.hidden_size, seed=recipe.seed)
    logger.info("embeddings of %d terms from %d tokens", len(embeddings), sum(len(row) for row in rows))
    special = special_ids(vocabulary)
    splade = SpladeModel(build_backbone(recipe.model, embeddings), lexical=lexical_channel(lexicon, recipe.model, special))
    traits = torch.from_numpy(term_traits(vocabulary, lexicon, embeddings))
    return TableEncoder(splade, torch.from_numpy(lexicon.query_weights), special, traits)


def term_traits(vocabulary: Sequence[str], lexicon: Lexicon, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """[V, F] standardised traits of each term: its embedding, its start weight, its length and what it is made of."""
    weight = lexicon.query_weights
    columns = [
        weight,
        weight**2,
        [len(t.removeprefix("##")) for t in vocabulary],
        [t.startswith("##") for t in vocabulary],
        [t.isdigit() for t in vocabulary],
        [t != t.lower() for t in vocabulary],
        (lexicon.neighbours >= 0).sum(1),
        [t.endswith(("ar", "er", "ir", "ou", "am", "em")) for t in vocabulary],
        [t.endswith(("mente", "ções", "ção", "dade")) for t in vocabulary],
    ]
    traits = np.concatenate([np.array(columns, dtype=np.float32).T, embeddings], axis=1)
    used = weight > 0
    scale = np.maximum(traits[used].std(axis=0), 1e-3)
    standardised: NDArray[np.float32] = ((traits - traits[used].mean(axis=0)) / scale).clip(-4, 4).astype(np.float32)
    return standardised
