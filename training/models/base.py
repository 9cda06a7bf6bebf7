"""What the trainer needs of a model: token ids in, representations and scores out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from training.data.tokens import Tokens

Encoded = dict[str, Tensor]
"""Representations of B texts, every tensor with B rows. "activations" [B, V] float32 >= 0 is always there."""


class BiEncoder(nn.Module, ABC):
    """Queries and documents as sparse representations, and their scores.

    `forward` encodes both sides in one call, as distributed training needs it; `scores` has no parameters that only it uses
    unless they are named in a parameter group.
    """

    def forward(self, queries: Tokens, documents: Tokens) -> tuple[Encoded, Encoded]:
        """Both sides; see encode_queries and encode_documents."""
        return self.encode_queries(queries), self.encode_documents(documents)

    @abstractmethod
    def encode_queries(self, tokens: Tokens) -> Encoded:
        """Representations of queries."""

    @abstractmethod
    def encode_documents(self, tokens: Tokens) -> Encoded:
        """Representations of documents."""

    def scores(self, queries: Encoded, documents: Encoded) -> Tensor:
        """[Q, C] scores: the dot product unless a model says otherwise."""
        return queries["activations"] @ documents["activations"].t()

    def auxiliary_scores(self, queries: Encoded, documents: Encoded) -> Tensor | None:
        """[Q, C] scores of a second ranker that is trained beside the first (SparseEmbed's sparse score); None: there is none."""
        return None

    @abstractmethod
    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Every trainable parameter once, under the names that [optimizer] lr_of may use. "backbone" is the network itself."""

    @abstractmethod
    def networks(self) -> list[SpladeModel]:
        """The document network first, and the query network where it is another one."""

    @property
    @abstractmethod
    def vocab_size(self) -> int:
        """V."""

    def as_saved(self) -> AbstractContextManager[None]:
        """The model as it would be saved, for measuring; as it was afterwards."""
        return nullcontext()

    @abstractmethod
    def round_weights(self, storage: str) -> None:
        """Rounds the weights to what `save` stores ("float32" changes nothing), so that what is measured is what is saved."""

    @abstractmethod
    def save(self, folder: Path, *, storage: str = "float32") -> None:
        """Writes weights (and whatever tables belong to them) into an existing folder; tokenizer and splade.json are not its task."""


def row_count(encoded: Encoded) -> int:
    """B."""
    return int(encoded["activations"].shape[0])


def detached(encoded: Encoded, *, requires_grad: bool = False) -> Encoded:
    """The same values, cut off from the graph; floats can be leaves that collect gradients."""
    return {name: t.detach().requires_grad_(requires_grad and t.is_floating_point()) for name, t in encoded.items()}


def stacked(parts: list[Encoded]) -> Encoded:
    """Rows of several parts, one below the other."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
