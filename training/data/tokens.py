"""Texts to padded token ids, by the same text rule and tokenizer that the saved model uses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from splade_ptbr_connectors.encoding.tokens import special_ids
from splade_ptbr_connectors.text import TextRule

TokenIds = NDArray[np.int32]


class Tokens(NamedTuple):
    """Token ids of B texts, padded to L tokens, on one device."""

    input_ids: Tensor  # [B, L] int64
    attention_mask: Tensor  # [B, L] int64, 0 for padding

    def rows(self, start: int, end: int) -> Tokens:
        """Some of the texts; their padding stays."""
        return Tokens(self.input_ids[start:end], self.attention_mask[start:end])


class TextTokens:
    """A text rule and a tokenizer.

    Attributes:
        special: ids of the special tokens.
        vocabulary: token -> id.
    """

    def __init__(self, tokenizer: Tokenizer, rule: TextRule) -> None:
        self.tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self.tokenizer.no_padding()
        self.rule = rule
        self.special = special_ids(self.tokenizer)
        self.vocabulary: dict[str, int] = self.tokenizer.get_vocab()

    def rows(self, texts: Iterable[str], *, max_length: int) -> list[TokenIds]:
        """Token ids of each text, special tokens included, at most `max_length` (the end is cut, the last special token stays)."""
        self.tokenizer.enable_truncation(max_length)
        batch = self.tokenizer.encode_batch_fast([self.rule.apply(text) for text in texts])
        return [np.asarray(encoding.ids, dtype=np.int32) for encoding in batch]

    def tokens(self, texts: Iterable[str], *, max_length: int) -> Tokens:
        """Padded ids and mask of some texts."""
        return pad(self.rows(texts, max_length=max_length))


def pad(rows: Sequence[TokenIds]) -> Tokens:
    """[B, L] ids and mask, int64; padding is id 0 with mask 0, whatever the tokenizer's padding token."""
    length = max((len(row) for row in rows), default=1)
    ids = np.zeros((len(rows), max(1, length)), dtype=np.int64)
    mask = np.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, : len(row)], mask[index, : len(row)] = row, 1
    return Tokens(torch.from_numpy(ids), torch.from_numpy(mask))
