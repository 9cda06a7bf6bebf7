"""From a recipe to an untrained model and its tokenizer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel

from splade_ptbr_connectors.encoding.tokens import load_tokenizer
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from splade_ptbr_connectors.errors import ConfigError
from splade_ptbr_connectors.text import TextRule
from training.data.bm25 import inverse_document_frequency
from training.data.tokens import TextTokens
from training.data.vocabulary import build_tokenizer, read_vocabulary
from training.models.base import BiEncoder
from training.models.embeddings import term_embeddings
from training.models.lexical import LexicalBiEncoder, lexical_channel, term_traits
from training.models.lexicon import balanced_idf, build_lexicon, tokenize_texts
from training.models.pretrained import load_pretrained
from training.models.queries import QueryTable, read_idf
from training.models.small import build_backbone
from training.models.sparse_embed import SparseEmbedEncoder
from training.models.splade import SpladeBiEncoder
from training.recipe.sections import (
    Encoding,
    LexicalModel,
    PretrainedModel,
    Recipe,
    SeparateQueries,
    SmallModel,
    TableQueries,
)

logger = logging.getLogger(__name__)
Passages = Mapping[str, Sequence[str]]
"""Training passages by source: what an IDF is counted on."""


@dataclass(frozen=True)
class Built:
    """A model and the tokenizer of both its sides."""

    model: BiEncoder
    tokens: TextTokens


def build_model(recipe: Recipe, data_dir: Path, passages: Passages) -> Built:
    """The untrained model of a recipe; everything random in it follows the recipe's seed."""
    torch.manual_seed(recipe.seed)
    section = recipe.model
    if isinstance(section, LexicalModel):
        return _lexical(recipe, section, data_dir, passages)
    if isinstance(section, SmallModel):
        tokens = _own_tokens(section, recipe.encoding, data_dir)
        backbone: PreTrainedModel = build_backbone(section, _embeddings(section, tokens, data_dir, passages, recipe))
    else:
        loaded = load_pretrained(section.path, revision=section.revision, data_dir=data_dir)
        backbone = loaded.backbone
        tokens = TextTokens(load_tokenizer(loaded.folder, backbone.config.vocab_size), _rule(recipe.encoding))
        if section.gradient_checkpointing:
            backbone.gradient_checkpointing_enable()  # type: ignore[no-untyped-call]
    return Built(_around(recipe, section, backbone, tokens, data_dir, passages), tokens)


def _rule(section: Encoding) -> TextRule:
    return TextRule(normalization=section.normalization, lowercase=section.lowercase)


def _own_tokens(section: SmallModel | LexicalModel, encoding: Encoding, data_dir: Path) -> TextTokens:
    return TextTokens(build_tokenizer(read_vocabulary(data_dir / section.vocabulary)), _rule(encoding))


def _around(
    recipe: Recipe,
    section: PretrainedModel | SmallModel,
    backbone: PreTrainedModel,
    tokens: TextTokens,
    data_dir: Path,
    passages: Passages,
) -> BiEncoder:
    """The trainable pair around a backbone."""
    network = _network(section, backbone, tokens)
    if recipe.sparse_embed is not None:
        return SparseEmbedEncoder(network, recipe.sparse_embed, activation=section.activation, special=tokens.special)
    queries: SpladeModel | QueryTable | None = None
    if isinstance(recipe.queries, SeparateQueries):
        own = recipe.queries.path
        other = deepcopy(network) if own is None else _network(section, load_pretrained(own, data_dir=data_dir).backbone, tokens)
        queries = _same_vocabulary(network, other)
    elif isinstance(recipe.queries, TableQueries):
        weights = _query_weights(recipe.queries, tokens, network.vocab_size, data_dir, passages)
        queries = QueryTable(weights, tokens.special, learned=recipe.queries.learned)
    return SpladeBiEncoder(network, queries, activation=section.activation, special=tokens.special)


def _network(section: PretrainedModel | SmallModel, backbone: PreTrainedModel, tokens: TextTokens) -> SpladeModel:
    unpooled = () if section.pool_special_tokens else tuple(tokens.special)
    return SpladeModel(backbone, pooling=section.pooling, unpooled_ids=unpooled)


def _same_vocabulary(documents: SpladeModel, queries: SpladeModel) -> SpladeModel:
    if documents.vocab_size != queries.vocab_size:
        raise ConfigError(
            f"the query network has {queries.vocab_size:,} terms and the document network {documents.vocab_size:,}: "
            "both need the same vocabulary, since their vectors are multiplied"
        )
    return queries


def _query_weights(section: TableQueries, tokens: TextTokens, vocab_size: int, data_dir: Path, passages: Passages) -> torch.Tensor:
    """[V] the table's start: an IDF file, or the IDF of the training passages."""
    if section.idf is not None:
        table = read_idf(data_dir / section.idf, tokens.vocabulary)
    else:
        texts = list(dict.fromkeys(text for group in passages.values() for text in group))
        frequency = np.zeros(len(tokens.vocabulary))
        for row in tokens.rows(texts, max_length=512):
            frequency[np.unique(row)] += 1
        table = torch.from_numpy(inverse_document_frequency(frequency, len(texts)).astype(np.float32))
    padded = torch.zeros(vocab_size)
    padded[: len(table)] = table
    return padded


def _counted_rows(
    section: SmallModel | LexicalModel, tokens: TextTokens, data_dir: Path, passages: Passages, max_length: int
) -> list[NDArray[np.int32]]:
    """The tokens of each text file and of each source's training passages, one row each."""
    files = sorted((data_dir / section.texts).glob("*.txt.gz"))
    if not files:
        raise ConfigError(f"no *.txt.gz in {data_dir / section.texts}: model.texts names the folder of text that embeddings are counted on")
    rows = tokenize_texts(files, tokens, limit=section.embedding_tokens)
    return rows + [np.concatenate([row[1:-1] for row in tokens.rows(texts, max_length=max_length)]) for texts in passages.values()]


def _embeddings(section: SmallModel, tokens: TextTokens, data_dir: Path, passages: Passages, recipe: Recipe) -> NDArray[np.float32]:
    rows = _counted_rows(section, tokens, data_dir, passages, recipe.encoding.max_length_document)
    return term_embeddings(rows, len(tokens.vocabulary), section.hidden_size, seed=recipe.seed)


def _lexical(recipe: Recipe, section: LexicalModel, data_dir: Path, passages: Passages) -> Built:
    """`mini` before training: IDF, inflections and embeddings counted on the unlabelled text and the training passages."""
    tokens = _own_tokens(section, recipe.encoding, data_dir)
    vocabulary = sorted(tokens.vocabulary, key=tokens.vocabulary.__getitem__)
    rows = _counted_rows(section, tokens, data_dir, passages, recipe.encoding.max_length_document)
    lexicon = build_lexicon(vocabulary, balanced_idf(rows, len(vocabulary), power=section.idf_power), section)
    embeddings = term_embeddings(rows, len(vocabulary), section.hidden_size, seed=recipe.seed)
    logger.info("embeddings of %d terms from %d tokens", len(embeddings), sum(len(row) for row in rows))
    splade = SpladeModel(
        build_backbone(section, embeddings),
        lexical=lexical_channel(lexicon, section, tokens.special),
        contextual=section.contextual,
        expansion=section.expansion,
    )
    traits = torch.from_numpy(term_traits(vocabulary, lexicon, embeddings))
    start = torch.from_numpy(lexicon.query_weights)
    return Built(LexicalBiEncoder(splade, start, tokens.special, traits, importance_share=section.importance_share), tokens)
