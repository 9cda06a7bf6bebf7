"""What a model knows before training: document frequencies, inflections by stem, stop words."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import Stemmer
from numpy.typing import NDArray

from splade_ptbr_connectors.evaluation.files import read_lines
from training.data.bm25 import STOP_WORDS, inverse_document_frequency
from training.data.tokens import TextTokens
from training.data.vocabulary import SPECIAL_TOKENS
from training.recipe.sections import LexicalModel

logger = logging.getLogger(__name__)
WINDOW = 100
"""Tokens of the window whose document frequency is counted."""


def tokenize_texts(files: Sequence[Path], tokens: TextTokens, *, limit: int) -> list[NDArray[np.int32]]:
    """The tokens of each text file as one row, without special tokens, at most `limit` tokens in all (equal shares)."""
    tokenizer = tokens.tokenizer
    tokenizer.no_truncation()
    rows = []
    for path in files:
        texts = [line.strip() for _, line in read_lines(path)]
        share, held, count = limit // max(1, len(files)), [], 0
        for start in range(0, len(texts), 10_000):
            piece = [tokens.rule.apply(text) for text in texts[start : start + 10_000]]
            ids = [np.asarray(e.ids, dtype=np.int32) for e in tokenizer.encode_batch_fast(piece, add_special_tokens=False)]
            held += ids
            count += sum(len(row) for row in ids)
            if count >= share:
                break
        rows.append(np.concatenate([*held, np.zeros(0, dtype=np.int32)]))
        logger.info("%s: %d tokens", path.name, len(rows[-1]))
    return rows


def document_frequency(tokens: NDArray[np.int32], vocab_size: int) -> tuple[NDArray[np.float64], int]:
    """([V], windows) in how many windows of WINDOW tokens each term occurs."""
    window = np.arange(len(tokens), dtype=np.int64) // WINDOW
    seen = np.unique(window * vocab_size + tokens)
    return np.bincount(seen % vocab_size, minlength=vocab_size).astype(np.float64), int(window[-1]) + 1 if len(tokens) else 0


def balanced_idf(rows: Sequence[NDArray[np.int32]], vocab_size: int, *, power: float = 0.5) -> NDArray[np.float64]:
    """[V] IDF over several sources, each weighted by its size to the `power` (1: as large as it is; 0: all alike)."""
    frequency, documents, windows = np.zeros(vocab_size), 0.0, 0
    for row in rows:
        counted, size = document_frequency(row, vocab_size)
        if size:
            frequency += counted * size ** (power - 1)
            documents += size**power
            windows += size
    scale = windows / documents if documents else 1.0
    return inverse_document_frequency(frequency * scale, max(1, windows))


@dataclass(frozen=True)
class Lexicon:
    """Start values over the vocabulary. V terms, K neighbours."""

    query_weights: NDArray[np.float32]  # [V]
    gain: NDArray[np.float32]  # [V]
    classes: NDArray[np.int32]  # [V]
    neighbours: NDArray[np.int32]  # [V, K], -1 where there is none
    neighbour_gain: NDArray[np.float32]  # [V, K]


def _is_word(token: str) -> bool:
    return len(token) >= 3 and token.isalpha() and token == token.lower()


def stem_groups(vocabulary: Sequence[str]) -> list[list[int]]:
    """Ids of the whole words of each Snowball stem."""
    stemmer = Stemmer.Stemmer("portuguese")
    groups: dict[str, list[int]] = {}
    for index, token in enumerate(vocabulary):
        if _is_word(token) and token not in STOP_WORDS:
            groups.setdefault(stemmer.stemWord(token), []).append(index)
    return list(groups.values())


def useless_terms(vocabulary: Sequence[str]) -> NDArray[np.bool_]:
    """[V] stop words, special tokens and tokens without a letter or digit."""
    special = set(SPECIAL_TOKENS)
    return np.array([t in STOP_WORDS or t in special or not any(c.isalnum() for c in t) for t in vocabulary])


def build_lexicon(vocabulary: Sequence[str], idf: NDArray[np.float64], section: LexicalModel) -> Lexicon:
    """Start values: `stems` drops stop words and adds inflections, `none` is the plain lexical floor."""
    size = len(vocabulary)
    query = idf.astype(np.float32)
    gain = np.ones(size, dtype=np.float32)
    classes = np.arange(size, dtype=np.int32)
    neighbours = np.full((size, section.neighbours), -1, dtype=np.int32)
    if section.lexicon == "stems":
        dropped = useless_terms(vocabulary)
        pieces = np.array([token.startswith("##") for token in vocabulary])
        query, gain = np.where(dropped, 0, query).astype(np.float32), np.where(dropped, 0, gain).astype(np.float32)
        query[pieces] *= section.piece_weight
        for group in stem_groups(vocabulary):
            classes[group] = group[0]
            _link(neighbours, sorted(group, key=lambda index: (idf[index], index)))
    neighbour_gain = np.where(neighbours >= 0, section.neighbour_gain, 0).astype(np.float32)
    return Lexicon(query, gain, classes, neighbours, neighbour_gain)


def _link(neighbours: NDArray[np.int32], group: list[int]) -> None:
    """Makes the members of a group, most frequent first, each other's neighbours."""
    for member in group:
        others = [other for other in group if other != member][: neighbours.shape[1]]
        neighbours[member, : len(others)] = others
