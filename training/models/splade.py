"""SPLADE as a trainable pair: one network for both sides, one for each, or a table for the queries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from splade_ptbr_connectors.encoding.folder import QUERY_FOLDER
from splade_ptbr_connectors.encoding.quantization import round_model
from splade_ptbr_connectors.encoding.torch_model import SpladeModel
from training.data.tokens import Tokens
from training.models.base import BiEncoder, Encoded
from training.models.queries import QueryTable


class SpladeBiEncoder(BiEncoder):
    """Documents by a SPLADE network; queries by the same, another one, or a table.

    Args:
        documents: the document network.
        queries: None (shared), a network of its own, or a table.
        activation: "log1p_relu" or "log1p_log1p_relu" (arXiv 2504.14839).
        special: terms that never have a weight: what the saved encoder drops is not trained either.
    """

    def __init__(
        self,
        documents: SpladeModel,
        queries: SpladeModel | QueryTable | None = None,
        *,
        activation: str = "log1p_relu",
        special: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.documents = documents
        self.queries = queries
        self.twice = activation == "log1p_log1p_relu"
        keep = torch.ones(documents.vocab_size)
        keep[list(special)] = 0.0
        self.register_buffer("keep", keep, persistent=False)

    keep: Tensor

    def _activations(self, network: SpladeModel, tokens: Tokens) -> Tensor:
        activations: Tensor = network.activations(*tokens).float()
        return (torch.log1p(activations) if self.twice else activations) * self.keep

    def encode_queries(self, tokens: Tokens) -> Encoded:
        """[Q, V] activations."""
        if isinstance(self.queries, QueryTable):
            return {"activations": self.queries(tokens)}
        return {"activations": self._activations(self.queries or self.documents, tokens)}

    def encode_documents(self, tokens: Tokens) -> Encoded:
        """[C, V] activations."""
        return {"activations": self._activations(self.documents, tokens)}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """`backbone`, and for queries of their own `query_backbone` or `query_table`."""
        groups = {"backbone": _trainable(self.documents)}
        if self.queries is not None:
            name = "query_table" if isinstance(self.queries, QueryTable) else "query_backbone"
            groups[name] = _trainable(self.queries)
        return {name: parameters for name, parameters in groups.items() if parameters}

    @property
    def vocab_size(self) -> int:
        """V."""
        return self.documents.vocab_size

    def networks(self) -> list[SpladeModel]:
        """The document network, and the query network where there is one."""
        return [self.documents, *([self.queries] if isinstance(self.queries, SpladeModel) else [])]

    def round_weights(self, storage: str) -> None:
        """Every network."""
        for network in self.networks():
            round_model(network, storage)

    def save(self, folder: Path, *, storage: str = "float32") -> None:
        """The document network at the top; the query network in `query/`, or the query table."""
        dtype = None if storage == "float32" else torch.float16
        self.documents.save_folder(folder, dtype=dtype)
        if isinstance(self.queries, QueryTable):
            self.queries.save(folder)
        elif self.queries is not None:
            self.queries.save_folder(folder / QUERY_FOLDER, dtype=dtype)


def _trainable(module: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn, each once (tied ones share a tensor)."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
