"""Forward and backward of one batch whose activations do not fit into memory at once (GradCache, arXiv 2101.06983).

In-batch negatives and FLOPS belong to the whole batch, so a sum over small batches is another loss. GradCache is not: it
encodes piece by piece without a graph, differentiates the loss of the whole batch with respect to the representations, and
encodes each piece once more, with a graph, to send that gradient on. It costs one forward more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from splade_ptbr_connectors.errors import ConfigError
from training.data.tokens import Tokens
from training.loop.distributed import Shares
from training.models.base import Encoded, detached, stacked

Loss = Callable[[Encoded, Encoded], Tensor]
"""Scalar loss of the representations of all queries and all documents of a batch."""


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def batch_backward(
    model: nn.Module,
    queries: Tokens,
    documents: Tokens,
    loss_of: Loss,
    *,
    chunk: int | None = None,
    shares: Shares | None = None,
    backward: Callable[[Tensor], None] = _backward,
    no_sync: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Tensor:
    """Adds the gradient of one batch to the parameters and returns its loss, detached; `loss_of` is called once.

    Args:
        model: a BiEncoder, or its wrapper (DistributedDataParallel, accelerate): model(queries, documents) -> two Encoded.
        queries, documents: the texts of this process.
        loss_of: loss of the whole batch; integer tensors of its arguments have no gradient. Parameters of the model that only
            the loss uses (a learned scale) are trained too.
        chunk: texts, queries and documents together, that are encoded with a graph at a time; None: all at once.
        shares: how the batch is divided among processes; None: there is one.
        backward: `accelerator.backward` for mixed precision; called once, so a loss scale is applied once.
        no_sync: of DistributedDataParallel; entered for all pieces but the last.
    Raises ConfigError for a chunk below 2.
    """
    shares = Shares.of(len(queries.input_ids), len(documents.input_ids)) if shares is None else shares
    number = piece_count(*shares.largest, chunk)
    if number == 1:
        loss = loss_of(*shares.gather(*model(queries, documents)))
        backward(loss)
        return loss.detach()
    pieces = _pieces(queries, documents, number)
    representations, states = _encode_without_graph(model, pieces)
    with _parameters_reached(model) as of_loss:
        loss = loss_of(*shares.gather(*representations))
        backward(loss)
    _encode_with_graph(model, pieces, representations, states, of_loss, no_sync)
    return loss.detach()


def piece_count(queries: int, documents: int, chunk: int | None) -> int:
    """The smallest number of pieces so that none has more than `chunk` texts; 1 without a chunk.

    Processes must agree on it (they talk to each other at every piece), so it is asked for the largest share.
    """
    if chunk is None:
        return 1
    if chunk < 2:
        raise ConfigError(f"gradcache_chunk is {chunk}; accepted: 2 or more (a query and a document), or leave it out")
    return next(n for n in count(max(1, -(-(queries + documents) // chunk))) if -(-queries // n) + -(-documents // n) <= chunk)


@dataclass(frozen=True)
class _Piece:
    """Texts of one call of the model. A side without rows of its own has a stand-in: every call uses every parameter."""

    queries: Tokens
    documents: Tokens
    query_rows: slice
    document_rows: slice

    def encode(self, model: nn.Module) -> tuple[Encoded, Encoded]:
        """Representations of the piece's own rows."""
        queries, documents = model(self.queries, self.documents)
        return _first_rows(queries, _length(self.query_rows)), _first_rows(documents, _length(self.document_rows))


def _length(rows: slice) -> int:
    return int(rows.stop - rows.start)


def _first_rows(encoded: Encoded, rows: int) -> Encoded:
    return {name: tensor[:rows] for name, tensor in encoded.items()}


def _pieces(queries: Tokens, documents: Tokens, number: int) -> list[_Piece]:
    sides = zip(_side(queries, number), _side(documents, number), strict=True)
    return [_Piece(q, d, query_rows, document_rows) for (q, query_rows), (d, document_rows) in sides]


def _side(tokens: Tokens, number: int) -> list[tuple[Tokens, slice]]:
    """Texts in `number` runs of nearly equal size, each padded only to its own longest text."""
    places = torch.arange(1, tokens.input_ids.shape[1] + 1, device=tokens.attention_mask.device)
    lengths = (tokens.attention_mask * places).amax(1).tolist()
    total, parts = len(lengths), []
    for piece in range(number):
        rows = slice(total * piece // number, total * (piece + 1) // number)
        shown = rows if _length(rows) else slice(0, 1)
        longest = max(1, *lengths[shown])
        parts.append((Tokens(tokens.input_ids[shown, :longest], tokens.attention_mask[shown, :longest]), rows))
    return parts


class _RandomState:
    """State of the random numbers before a piece, so that dropout drops the same units again."""

    def __init__(self, device: torch.device) -> None:
        if device.type not in ("cpu", "cuda"):
            raise ConfigError(f"gradcache_chunk works on cpu and cuda, not on {device.type}: leave it out")
        self.devices = [device] if device.type == "cuda" else []
        self.on_cpu = torch.get_rng_state()
        self.on_device = [torch.cuda.get_rng_state(device) for device in self.devices]

    @contextmanager
    def replayed(self) -> Iterator[None]:
        """The state as it was; afterwards, as it is now."""
        with torch.random.fork_rng(devices=self.devices):
            torch.set_rng_state(self.on_cpu)
            for device, state in zip(self.devices, self.on_device, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield


def _encode_without_graph(model: nn.Module, pieces: Sequence[_Piece]) -> tuple[tuple[Encoded, Encoded], list[_RandomState]]:
    """Representations of all pieces as leaves that collect gradients, and the random state before each piece."""
    states, queries, documents = [], [], []
    with torch.no_grad():
        for piece in pieces:
            states.append(_RandomState(piece.documents.input_ids.device))
            query, document = piece.encode(model)
            queries.append(query)
            documents.append(document)
    # An enclosing autocast keeps the weights it has cast; those of this pass know no graph and would take no gradient.
    torch.clear_autocast_cache()
    return (detached(stacked(queries), requires_grad=True), detached(stacked(documents), requires_grad=True)), states


@contextmanager
def _parameters_reached(model: nn.Module) -> Iterator[list[Tensor]]:
    """Parameters whose gradient is added to meanwhile: those of the loss."""
    reached: list[Tensor] = []
    trained: list[Any] = [parameter for parameter in model.parameters() if parameter.requires_grad]
    handles = [parameter.register_post_accumulate_grad_hook(reached.append) for parameter in trained]
    try:
        yield reached
    finally:
        for handle in handles:
            handle.remove()


def _encode_with_graph(
    model: nn.Module,
    pieces: Sequence[_Piece],
    representations: tuple[Encoded, Encoded],
    states: Sequence[_RandomState],
    of_loss: Sequence[Tensor],
    no_sync: Callable[[], AbstractContextManager[object]],
) -> None:
    """Sends the gradients of the representations through the model, piece by piece."""
    for piece, state in zip(pieces, states, strict=True):
        last = piece is pieces[-1]
        with state.replayed(), nullcontext() if last else no_sync():
            encoded = piece.encode(model)
            rows = (piece.query_rows, piece.document_rows)
            pairs = [pair for side in range(2) for pair in _with_gradients(encoded[side], representations[side], rows[side])]
            if last:  # DistributedDataParallel averages a gradient when its parameter takes part in this backward
                pairs += [(p.view_as(p), torch.zeros_like(p)) for p in of_loss]
            if pairs:
                torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])


def _with_gradients(encoded: Encoded, leaves: Encoded, rows: slice) -> Iterator[tuple[Tensor, Tensor]]:
    """Tensors of a piece that have a graph, each with the gradient of the loss."""
    for name, tensor in encoded.items():
        gradient = leaves[name].grad
        if gradient is not None and tensor.requires_grad:
            yield tensor, gradient[rows]
