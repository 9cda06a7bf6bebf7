"""The model that starts as BM25: a lexical channel weighed by a small network, and an inference-free query table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from splade_ptbr_connectors.encoding.quantization import round_model
from splade_ptbr_connectors.encoding.torch_model import LexicalChannel, SpladeModel
from splade_ptbr_connectors.errors import ConfigError
from training.data.tokens import Tokens
from training.models.base import BiEncoder, Encoded
from training.models.lexicon import Lexicon
from training.models.queries import QueryTable
from training.recipe.sections import LexicalModel


class LexicalBiEncoder(BiEncoder):
    """Documents by `splade` with its lexical channel, queries by a learned weight for each term that occurs.

    Args:
        query_weights: [V] start of the table.
        traits: [V, F] what is known of each term; a factor exp(traits . learned [F]) is shared by terms alike.
        importance_share: share of the learned token importance that is kept when the model is measured or saved.
    """

    def __init__(
        self, splade: SpladeModel, query_weights: Tensor, special: Sequence[int], traits: Tensor, *, importance_share: float = 1.0
    ) -> None:
        super().__init__()
        self.splade = splade
        self.queries = QueryTable(query_weights, special)
        self.query_traits = nn.Parameter(torch.zeros(traits.shape[1]))
        self.importance_share = importance_share
        self.register_buffer("traits", traits.to(torch.float32), persistent=False)

    traits: Tensor

    def encode_queries(self, tokens: Tokens) -> Encoded:
        """[Q, V]; what the traits of a term say holds for terms never trained on."""
        shared = torch.exp((self.traits @ self.query_traits).clamp(-3.0, 1.0))
        return {"activations": self.queries(tokens) * shared}

    def encode_documents(self, tokens: Tokens) -> Encoded:
        """[C, V] activations."""
        activations: Tensor = self.splade.activations(*tokens)
        return {"activations": activations * self.queries.keep}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """`lexical` (the channel), `importance`, `query_table`, `query_traits` and `backbone`."""
        channel = self._channel()
        importance = [] if channel.importance is None else [channel.importance]
        groups = {
            "lexical": [p for p in channel.parameters() if all(p is not other for other in importance)],
            "importance": importance,
            "query_table": [self.queries.table],
            "query_traits": [self.query_traits],
        }
        named = {id(p) for group in groups.values() for p in group}
        if self.splade.contextual:
            groups["backbone"] = [p for p in self.parameters() if id(p) not in named]
        return groups

    def networks(self) -> list[SpladeModel]:
        """The document network; queries have none."""
        return [self.splade]

    def _channel(self) -> LexicalChannel:
        if self.splade.lexical is None:
            raise ConfigError("a lexical model needs a lexical channel")
        return self.splade.lexical

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.splade.vocab_size

    @contextmanager
    def as_saved(self) -> Iterator[None]:
        """`importance_share` of the learned importance; as it was afterwards."""
        importance = self._channel().importance
        if importance is None:
            yield
            return
        learned = importance.detach().clone()
        importance.data.mul_(self.importance_share)
        try:
            yield
        finally:
            importance.data.copy_(learned)

    @torch.no_grad()
    def round_weights(self, storage: str) -> None:
        """Rounds to what the folder stores, and folds the traits into the query table."""
        round_model(self.splade, storage)
        shared = torch.exp((self.traits @ self.query_traits).clamp(-3.0, 1.0))
        weights = self.queries.weights() * shared
        self.queries.table.copy_(weights if storage == "float32" else weights.half().float())
        self.query_traits.zero_()
        self.importance_share = 1.0
        self.splade.contextual = True

    def save(self, folder: Path, *, storage: str = "float32") -> None:
        """Weights, lexical channel and query table."""
        self.queries.save(folder)
        self.splade.save_folder(folder, dtype=None if storage == "float32" else torch.float16)


def lexical_channel(lexicon: Lexicon, section: LexicalModel, special: Sequence[int]) -> LexicalChannel:
    """The channel at its start: BM25."""
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
