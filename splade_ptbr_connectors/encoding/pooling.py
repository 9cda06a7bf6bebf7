"""Pooling of token logits to term activations, without a [B, L, V] tensor.

The logits z_ij = f_i . W_j + b_j are computed tile by tile, a few tokens of every text times a block of the vocabulary, and
reduced before the next tile; the backward pass needs no logits (maximum) or computes the tiles again (sum).

Letters for shapes: B texts, L tokens, V vocabulary, H hidden size. Kept tokens are those with attention mask 1; "slot" k of
a text is its k-th kept token.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

_ROWS_ON_CPU, _TERMS_PER_THREAD = 512, 2048
"""A tile of logits on a CPU: small enough for the caches, so that reducing it costs little beside the products."""
_LOGITS_ON_DEVICE = 2**25
"""Logits of a tile elsewhere: enough to fill a GPU, 128 MiB in float32."""
_MAX_STEPS = 256
"""Slots of a tile: whole numbers up to here are exact in bfloat16."""


def max_over_tokens(
    features: Tensor,
    weight: Tensor,
    bias: Tensor,
    attention_mask: Tensor,
    *,
    search_dtype: torch.dtype = torch.float32,
) -> Tensor:
    """[B, V] float32 maximum over the kept tokens of the logits f_i . W_j + b_j; -inf for a text without kept tokens.

    The gradient goes to the winning token alone, the first one of several equal ones (SPLADE v2, arXiv 2109.10086). Memory
    is O(B V) and one tile of logits. Under autocast the products have its dtype, as those of a linear layer would.

    Args:
        features: [B, L, H]; weight: [V, H]; bias: [V]; attention_mask: [B, L], 0 takes no part.
        search_dtype: precision of the products; bfloat16 is at least twice as fast where the CPU has it.
    """
    dtype = _autocast_dtype(features) or search_dtype
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (features, weight, bias)):
        pooled: Tensor = _MaxOverTokens.apply(features, weight, bias, attention_mask, dtype)
        return pooled
    with _without_autocast(features):
        return _search(features, weight, _Layout.of(attention_mask), dtype, winners=None).add_(bias)


def sum_over_tokens(features: Tensor, weight: Tensor, bias: Tensor, attention_mask: Tensor, chunk: int | None = None) -> Tensor:
    """[B, V] float32 sum_i log1p(relu(z_ij)) over the kept tokens, of SPLADE v1 (arXiv 2107.05720).

    Memory is O(B V) and one tile of logits, in the backward pass too, which computes the tiles again.

    Args:
        features: [B, L, H]; weight: [V, H]; bias: [V]; attention_mask: [B, L], 0 takes no part.
        chunk: tokens of a tile, those of all texts together; None fits the device.
    """
    dtype = _autocast_dtype(features) or torch.promote_types(features.dtype, weight.dtype)
    pooled: Tensor = _SumOverTokens.apply(features, weight, bias, attention_mask, dtype, chunk)
    return pooled


class _MaxOverTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
        layout = _Layout.of(attention_mask)
        narrow = torch.int16 if features.shape[1] < 2**15 else torch.int32
        winners = torch.full((features.shape[0], weight.shape[0]), -1, dtype=narrow, device=features.device)
        with _without_autocast(features):
            pooled = _search(features, weight, layout, dtype, winners).add_(bias)
        ctx.save_for_backward(features, weight, winners, layout.tokens_by_text())
        ctx.bias_dtype = bias.dtype
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        features, weight, winners, tokens = ctx.saved_tensors
        gradient = gradient.masked_fill(winners < 0, 0.0)
        term, text = gradient.t().nonzero(as_tuple=True)
        share, token = gradient[text, term], tokens[text, winners[text, term].long()]
        grad_features = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            order = token.argsort(stable=True)
            grad_features = _sums_of_rows(weight, term[order], share[order], token[order], features.shape[0] * features.shape[1])
            grad_features = grad_features.view(features.shape).to(features.dtype)
        if ctx.needs_input_grad[1]:
            grad_weight = _sums_of_rows(features.flatten(0, 1), token, share, term, weight.shape[0]).to(weight.dtype)
        if ctx.needs_input_grad[2]:
            grad_bias = gradient.sum(0).to(ctx.bias_dtype)
        return grad_features, grad_weight, grad_bias, None, None


def _sums_of_rows(table: Tensor, row: Tensor, share: Tensor, target: Tensor, count: int) -> Tensor:
    """[count, H] float32: line t is the sum of share[p] * table[row[p]] over the pairs p with target[p] = t; `target` is sorted."""
    starts = torch.searchsorted(target, torch.arange(count + 1, device=target.device))
    table = table.detach().to(torch.promote_types(table.dtype, torch.float32))
    return functional.embedding_bag(row, table, starts, mode="sum", per_sample_weights=share.to(table.dtype), include_last_offset=True)


def _search(features: Tensor, weight: Tensor, layout: _Layout, dtype: torch.dtype, winners: Tensor | None) -> Tensor:
    """[B, V] float32 maximum of the products; the winning slots are written into `winners` [B, V]."""
    pooled = torch.full((features.shape[0], weight.shape[0]), -torch.inf, device=features.device)
    tiles = list(layout.tiles(features, dtype, _tile_shape(weight)[0]))
    for block in _blocks(weight):
        columns = weight.detach()[block].to(dtype).t()
        best = torch.full((len(pooled), columns.shape[1]), -torch.inf, dtype=dtype, device=features.device)
        slots = None if winners is None else torch.full_like(best, -1, dtype=winners.dtype)
        for tile in tiles:
            _merge(tile, tile.by_slot(tile.rows @ columns), best, slots)
        pooled[layout.texts, block] = best.to(torch.float32)
        if winners is not None and slots is not None:
            winners[layout.texts, block] = slots
    return pooled


def _merge(tile: _Tile, logits: Tensor, best: Tensor, slots: Tensor | None) -> None:
    """Puts the maximum of a tile's [steps, texts, terms] logits into `best` and, where it is larger, its slot into `slots`."""
    best = best[: tile.texts]
    if slots is None:
        torch.maximum(best, logits.amax(0), out=best)
        return
    slots = slots[: tile.texts]
    largest, step = _first_maximum(logits)
    better = largest > best
    torch.maximum(best, largest, out=best)
    torch.where(better, step.to(slots.dtype) + tile.start, slots, out=slots)


def _first_maximum(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Maximum over the first dimension and the first place where it is reached; destroys `logits`."""
    if logits.device.type != "cpu":
        largest, step = logits.max(0)
        return largest, step
    # on a CPU max(0) with indices does one element at a time; these passes use its vector instructions
    steps, largest = logits.shape[0], logits.amax(0)
    rank = torch.arange(steps, 0, -1, dtype=logits.dtype).view(steps, 1, 1)
    return largest, steps - logits.eq_(largest).mul_(rank).amax(0)


class _SumOverTokens(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, attention_mask: Tensor, dtype: torch.dtype, chunk: int | None
    ) -> Tensor:
        layout = _Layout.of(attention_mask)
        total = torch.zeros(features.shape[0], weight.shape[0], device=features.device)
        with _without_autocast(features):
            tiles = list(layout.tiles(features, dtype, chunk or _tile_shape(weight)[0]))
            for block in _blocks(weight):
                total[layout.texts, block] = _summed(tiles, weight.detach()[block].to(dtype), bias.detach()[block], len(total))
        ctx.save_for_backward(features, weight, bias)
        ctx.layout, ctx.dtype, ctx.chunk = layout, dtype, chunk
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        features, weight, bias = ctx.saved_tensors
        layout, grad_weight, grad_bias = ctx.layout, torch.zeros_like(weight), torch.zeros_like(bias)
        with _without_autocast(features):
            tiles = list(layout.tiles(features, ctx.dtype, ctx.chunk or _tile_shape(weight)[0]))
            grad_rows = [torch.zeros_like(tile.rows, dtype=torch.float32) for tile in tiles]
            for block in _blocks(weight):
                incoming, block_weight = gradient[layout.texts, block], weight[block].to(ctx.dtype)
                grad_weight[block], grad_bias[block] = _spread_sum(tiles, grad_rows, block_weight, bias[block], incoming)
        return layout.scattered(tiles, grad_rows, features), grad_weight, grad_bias, None, None, None


def _summed(tiles: list[_Tile], weight: Tensor, bias: Tensor, texts: int) -> Tensor:
    """[B, terms] float32 sum of the activations of all tiles, for one block of the vocabulary."""
    total = torch.zeros(texts, len(weight), device=weight.device)
    for tile in tiles:
        total[: tile.texts] += tile.by_slot(tile.positive_logits(weight, bias).log1p_()).sum(0)
    return total


def _spread_sum(tiles: list[_Tile], grad_rows: list[Tensor], weight: Tensor, bias: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of one block of weights and biases; those of the tiles' rows are added to `grad_rows`.

    The logits are computed again: the slope of log1p(relu(z)) is 1 / (1 + z) where z > 0, and 0 elsewhere.
    """
    grad_weight = torch.zeros_like(weight, dtype=torch.float32)
    grad_bias = torch.zeros_like(bias, dtype=torch.float32)
    for tile, grad_tile in zip(tiles, grad_rows, strict=True):
        logits = tile.positive_logits(weight, bias)
        share = (logits > 0).to(torch.float32).div_(logits.add_(1.0))
        tile.by_slot(share).mul_(gradient[: tile.texts])
        grad_bias += share.sum(0)
        share = share.to(weight.dtype)
        grad_tile += share @ weight
        grad_weight += share.t() @ tile.rows
    return grad_weight, grad_bias


class _Tile(NamedTuple):
    """Features of `steps` consecutive slots, from `start` on, of the first `texts` texts of a layout."""

    start: int
    steps: int
    texts: int
    tokens: Tensor
    """[steps * texts] index of each row in [B * L]."""
    rows: Tensor
    """[steps * texts, H]. A text that has no such slot has its last kept token there: of no consequence to a maximum."""
    real: Tensor | None
    """[steps * texts, 1] False where a text has no such slot; None: every slot is real."""

    def by_slot(self, logits: Tensor) -> Tensor:
        """[steps, texts, terms] view of [steps * texts, terms]."""
        return logits.view(self.steps, self.texts, logits.shape[1])

    def positive_logits(self, weight: Tensor, bias: Tensor) -> Tensor:
        """[steps * texts, terms] float32 relu(z), 0 for slots that are not real."""
        logits = (self.rows @ weight.t()).to(torch.float32).add_(bias).relu_()
        return logits if self.real is None else logits.mul_(self.real)


class _Layout(NamedTuple):
    """The kept tokens of a batch: longest text first, so that the texts with a k-th kept token are the first ones."""

    texts: Tensor
    """[B] the texts, by falling number of kept tokens."""
    tokens: Tensor
    """[B, L] index in [B * L] of each slot's token, in the order of `texts`; after the last kept token, that one again."""
    counts: Tensor
    """[B] kept tokens of each text, in the order of `texts`."""
    counted: list[int]
    """The same numbers on the host."""

    @classmethod
    def of(cls, attention_mask: Tensor) -> _Layout:
        """The layout of [B, L] marks, anything but 0 is kept; kept tokens need not stand together."""
        kept, length = attention_mask.bool(), attention_mask.shape[1]
        counts, texts = kept.sum(1).sort(descending=True, stable=True)
        places = kept[texts].to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        slots = torch.arange(length, device=kept.device).minimum((counts - 1).clamp_min(0).unsqueeze(1))
        return cls(texts, texts.unsqueeze(1) * length + places.gather(1, slots), counts, counts.tolist())

    def tokens_by_text(self) -> Tensor:
        """[B, L] `tokens` in the order of the batch."""
        return torch.empty_like(self.tokens).index_copy_(0, self.texts, self.tokens)

    def tiles(self, features: Tensor, dtype: torch.dtype, rows: int) -> Iterator[_Tile]:
        """All kept tokens of [B, L, H] features as `dtype`, about `rows` at a time."""
        flat, start, longest = features.detach().flatten(0, 1), 0, max(self.counted, default=0)
        while start < longest:
            texts = sum(count > start for count in self.counted)
            steps = min(max(1, rows // texts), _MAX_STEPS, longest - start)
            tokens = self.tokens[:texts, start : start + steps].t().flatten()
            yield _Tile(start, steps, texts, tokens, flat[tokens].to(dtype), self._real(start, steps, texts))
            start += steps

    def _real(self, start: int, steps: int, texts: int) -> Tensor | None:
        if self.counted[texts - 1] >= start + steps:
            return None
        slots = torch.arange(start, start + steps, device=self.counts.device)
        return (slots.unsqueeze(1) < self.counts[:texts]).view(-1, 1)

    def scattered(self, tiles: list[_Tile], rows: list[Tensor], features: Tensor) -> Tensor:
        """[B, L, H] like `features`: the rows of each tile at the places of its tokens, 0 elsewhere."""
        scattered = torch.zeros_like(features).flatten(0, 1)
        for tile, values in zip(tiles, rows, strict=True):
            real = slice(None) if tile.real is None else tile.real.flatten()
            scattered[tile.tokens[real]] = values[real].to(features.dtype)
        return scattered.view(features.shape)


def _tile_shape(weight: Tensor) -> tuple[int, int]:
    """Rows and terms of a tile of logits."""
    if weight.device.type == "cpu":
        return _ROWS_ON_CPU, _TERMS_PER_THREAD * torch.get_num_threads()
    return max(1, _LOGITS_ON_DEVICE // weight.shape[0]), weight.shape[0]


def _blocks(weight: Tensor) -> Iterator[slice]:
    """The vocabulary, a block at a time."""
    _, terms = _tile_shape(weight)
    for first in range(0, weight.shape[0], terms):
        yield slice(first, first + terms)


def _autocast_dtype(features: Tensor) -> torch.dtype | None:
    device = features.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _without_autocast(features: Tensor) -> torch.autocast:
    return torch.autocast(features.device.type, enabled=False)
