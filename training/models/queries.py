"""Queries without a network: a weight for each term that occurs (arXiv 2411.04403; learned: arXiv 2505.01452)."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from splade_ptbr_connectors.errors import InputFileError
from training.data.tokens import Tokens

QUERY_FILE = "query_weights.safetensors"


class QueryTable(nn.Module):
    """[V] weights; a query's vector holds those of its distinct terms (how often a term occurs does not matter).

    Args:
        weights: [V] start of the table.
        special: ids that have no weight ([PAD] with id 0 among them).
        learned: False keeps the table as it is.
    """

    def __init__(self, weights: Tensor, special: Sequence[int], *, learned: bool = True) -> None:
        super().__init__()
        self.table = nn.Parameter(weights.detach().to(torch.float32).clone(), requires_grad=learned)
        keep = torch.ones_like(self.table)
        keep[list(special)] = 0.0
        self.register_buffer("keep", keep, persistent=False)

    keep: Tensor

    def weights(self) -> Tensor:
        """[V] weights >= 0; special tokens have none."""
        return torch.relu(self.table) * self.keep

    def forward(self, tokens: Tokens) -> Tensor:
        """[Q, V] query vectors."""
        ids, mask = tokens
        occurs = torch.zeros(len(ids), len(self.table), device=self.table.device)
        occurs.scatter_reduce_(1, ids, mask.to(occurs.dtype), reduce="amax")
        return occurs * self.weights()

    def save(self, folder: Path) -> None:
        """What splade.json names as the query table."""
        save_file({"weights": self.weights().detach().cpu().contiguous()}, str(folder / QUERY_FILE))


def read_idf(path: Path, vocabulary: Mapping[str, int]) -> Tensor:
    """[V] weights of a JSON of token -> weight; tokens that are not in it weigh 0, tokens not in the vocabulary are an error."""
    if not path.is_file():
        raise InputFileError(f"no IDF table at {path}: accepted is a JSON object of token -> weight")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        weights = torch.zeros(len(vocabulary))
        unknown = [token for token in table if token not in vocabulary]
        if unknown:
            raise InputFileError(f"{path}: {len(unknown)} tokens, {unknown[0]!r} among them, are not in the vocabulary: another model's?")
        for token, weight in table.items():
            weights[vocabulary[token]] = _checked_weight(float(weight), token)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputFileError(f"{path} is not a JSON object of token -> weight: {error}") from error
    return weights


def _checked_weight(weight: float, token: str) -> float:
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"the weight of {token!r} is {weight}, it must be finite and not negative")
    return weight
