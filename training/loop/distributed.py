"""One batch on several processes: each encodes its own share of the texts, and all of them see the representations of the whole.

DistributedDataParallel averages gradients, and a sum is needed: every process computes the loss of the whole batch, but only
its own rows lead back to the encoder. `gather` therefore multiplies the gradient of the own rows by the number of processes.
The loss itself is *not* to be multiplied: parameters of the loss (a learned scale) have the same, complete gradient everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from splade_ptbr_connectors.errors import ConfigError
from training.models.base import Encoded


def rank_and_world() -> tuple[int, int]:
    """Number of this process and how many there are; (0, 1) without a process group."""
    if not (dist.is_available() and dist.is_initialized()):
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def slice_of(count: int, rank: int, world: int) -> slice:
    """Rows of `count` that process `rank` of `world` encodes: contiguous, disjoint, complete, sizes differ by at most one.

    Raises ConfigError where a process would have nothing to do: DistributedDataParallel needs a row on each of them.
    """
    if not 0 <= rank < world:
        raise ConfigError(f"rank is {rank} of {world} processes; accepted: 0 to {world - 1}")
    if count < world:
        raise ConfigError(
            f"a batch of {count} queries (or documents) cannot be divided among {world} processes, each needs one at least: "
            f"raise batch_queries to {world} or more, or start fewer processes"
        )
    return slice(count * rank // world, count * (rank + 1) // world)


@dataclass(frozen=True)
class Shares:
    """How many queries and documents of one batch each process encodes, by rank. Equal on all processes."""

    queries: tuple[int, ...]
    documents: tuple[int, ...]

    @classmethod
    def of(cls, queries: int, documents: int, world: int = 1) -> Shares:
        """Shares of a batch of so many queries and documents; ConfigError where there are fewer than processes."""
        return cls(_counts(queries, world), _counts(documents, world))

    @property
    def largest(self) -> tuple[int, int]:
        """Queries and documents of the process that has most."""
        return max(self.queries), max(self.documents)

    def slices(self, rank: int) -> tuple[slice, slice]:
        """Which queries and which documents of the batch process `rank` encodes."""
        world = len(self.queries)
        return slice_of(sum(self.queries), rank, world), slice_of(sum(self.documents), rank, world)

    def gather(self, queries: Encoded, documents: Encoded) -> tuple[Encoded, Encoded]:
        """The whole batch's representations from this process's share; see `gather`."""
        return gather(queries, self.queries), gather(documents, self.documents)


def _counts(count: int, world: int) -> tuple[int, ...]:
    parts = [slice_of(count, rank, world) for rank in range(world)]
    return tuple(part.stop - part.start for part in parts)


def gather(encoded: Encoded, counts: Sequence[int]) -> Encoded:
    """Rows of all processes, in the order of ranks; the identity with one process.

    Args:
        encoded: this process's rows; names, types and shapes after the rows are the same on every process.
        counts: rows of each process, by rank.
    Only the own rows have a gradient, and it is multiplied by the number of processes (see the module).
    Raises ConfigError where `counts` does not fit the process group or the rows.
    """
    rank, world = rank_and_world()
    if len(counts) != world:
        raise ConfigError(
            f"rows of {len(counts)} processes are to be gathered and {world} are running: start the run with torchrun or accelerate"
        )
    for name, tensor in encoded.items():
        if tensor.dim() == 0 or tensor.shape[0] != counts[rank]:
            raise ConfigError(f"{name!r} is {list(tensor.shape)} on process {rank}; expected {counts[rank]} rows")
    if world == 1:
        return encoded
    return {name: _gathered(encoded[name], counts, rank) for name in sorted(encoded)}


def _gathered(tensor: Tensor, counts: Sequence[int], rank: int) -> Tensor:
    """[sum of counts, ...] of [counts[rank], ...]."""
    padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
    padded[: counts[rank]] = tensor.detach()
    received = [torch.empty_like(padded) for _ in counts]
    if padded.numel():
        dist.all_gather([_bytes_of(part) for part in received], _bytes_of(padded))
    rows = [part[:count] for part, count in zip(received, counts, strict=True)]
    rows[rank] = _multiplied_gradient(tensor, len(counts))
    return torch.cat(rows)


def _bytes_of(tensor: Tensor) -> Tensor:
    """The same memory as bytes: any backend can send any type of number that way."""
    return tensor.view(-1).view(torch.uint8)


def _multiplied_gradient(tensor: Tensor, factor: int) -> Tensor:
    """The same values; the gradient that comes back is multiplied."""
    same = tensor.view_as(tensor)
    if same.requires_grad:
        same.register_hook(lambda gradient: gradient * factor)  # type: ignore[no-untyped-call]
    return same
