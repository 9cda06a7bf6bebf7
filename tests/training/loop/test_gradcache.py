"""GradCache: any number of pieces has the gradient of the whole batch, which a sum over small batches has not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from splade_ptbr_connectors.errors import ConfigError
from tests.training.support import MODELS, OnlyTrained, TinyBiEncoder, flops, gradients_of, largest_difference, random_tokens, whole_loss
from training.data.tokens import Tokens
from training.loop.gradcache import batch_backward, piece_count
from training.models.base import BiEncoder, Encoded, stacked

QUERIES, DOCUMENTS = random_tokens(6, 7, seed=1), random_tokens(15, 20, seed=2)


def whole_gradient(model: BiEncoder, queries: Tokens = QUERIES, documents: Tokens = DOCUMENTS) -> tuple[Tensor, dict[str, Tensor]]:
    """The oracle: one forward, one backward."""
    model.zero_grad()
    loss = whole_loss(model)(*model(queries, documents))
    loss.backward()
    return loss.detach(), gradients_of(model)


@pytest.mark.parametrize("kind", sorted(MODELS))
@pytest.mark.parametrize("chunk", [None, 2, 3, 5, 8, 20, 21, 1000])
def test_every_chunk_has_the_loss_and_the_gradient_of_the_whole_batch(kind: str, chunk: int | None) -> None:
    model = MODELS[kind]()
    loss, gradients = whole_gradient(model)
    model.zero_grad()
    cached = batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=chunk)
    assert not cached.requires_grad
    torch.testing.assert_close(cached, loss, atol=1e-5, rtol=1e-5)
    assert max(float(g.abs().max()) for g in gradients.values()) > 1e-2
    assert largest_difference(gradients_of(model), gradients) < 1e-5


@settings(max_examples=12, deadline=None)
@given(queries=st.integers(1, 5), extra=st.integers(0, 9), chunk=st.integers(2, 16), seed=st.integers(0, 9))
def test_batches_of_any_shape_keep_their_gradient_even_with_more_pieces_than_queries(
    queries: int, extra: int, chunk: int, seed: int
) -> None:
    model = MODELS["table"](seed)
    batch = random_tokens(queries, 5, seed), random_tokens(queries + extra, 9, seed + 1)
    _, gradients = whole_gradient(model, *batch)
    model.zero_grad()
    batch_backward(model, *batch, whole_loss(model), chunk=chunk)
    assert largest_difference(gradients_of(model), gradients) < 1e-5


@given(queries=st.integers(1, 300), documents=st.integers(1, 3000), chunk=st.integers(2, 400))
def test_no_piece_has_more_texts_than_the_chunk_and_one_piece_less_would(queries: int, documents: int, chunk: int) -> None:
    def largest(pieces: int) -> int:
        return -(-queries // pieces) - (-documents // pieces)

    number = piece_count(queries, documents, chunk)
    assert largest(number) <= chunk
    assert number == 1 or largest(number - 1) > chunk


@pytest.mark.parametrize("chunk", [1, 0, -3])
def test_a_chunk_below_a_query_and_a_document_is_refused(chunk: int) -> None:
    with pytest.raises(ConfigError, match=r"gradcache_chunk is -?\d; accepted: 2 or more"):
        batch_backward(TinyBiEncoder(), QUERIES, DOCUMENTS, lambda q, d: q["activations"].sum(), chunk=chunk)


def test_gradients_are_added_to_those_that_are_there() -> None:
    model = TinyBiEncoder()
    _, once = whole_gradient(model)
    model.zero_grad()
    for chunk in (None, 5, 9):
        batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=chunk)
    assert largest_difference(gradients_of(model), {name: 3 * g for name, g in once.items()}) < 3e-5


def test_parameters_the_loss_does_not_reach_have_no_gradient_in_pieces_either() -> None:
    def of_queries(queries: Encoded, documents: Encoded) -> Tensor:
        return flops(queries["activations"])

    for chunk in (None, 5):
        model = MODELS["table"]()
        batch_backward(model, QUERIES, DOCUMENTS, of_queries, chunk=chunk)
        assert set(gradients_of(model)) == {"table"}


# -- memory -----------------------------------------------------------------------------------------------------------------


class Watched(TinyBiEncoder):
    """Notes the texts of every call with a graph, and what was encoded without and with one."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        super().__init__(seed, dropout)
        self.calls: list[tuple[bool, int, list[Tensor]]] = []

    def forward(self, queries: Tokens, documents: Tokens) -> tuple[Encoded, Encoded]:
        encoded = super().forward(queries, documents)
        values = [side["activations"].detach().clone() for side in encoded]
        self.calls.append((torch.is_grad_enabled(), len(queries.input_ids) + len(documents.input_ids), values))
        return encoded


def test_no_more_texts_than_the_chunk_have_a_graph_at_a_time() -> None:
    model = Watched()
    batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=6)
    assert [with_graph for with_graph, _, _ in model.calls] == [False] * 4 + [True] * 4
    assert max(texts for _, texts, _ in model.calls) <= 6


def test_a_batch_that_fits_is_encoded_once() -> None:
    model = Watched()
    batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=len(QUERIES.input_ids) + len(DOCUMENTS.input_ids))
    assert [with_graph for with_graph, _, _ in model.calls] == [True]


# -- dropout ----------------------------------------------------------------------------------------------------------------


def test_with_dropout_the_second_pass_repeats_the_first_bit_by_bit() -> None:
    model = Watched(dropout=0.3)
    batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=6)
    first, second = model.calls[:4], model.calls[4:]
    for (_, _, without_graph), (_, _, with_graph) in zip(first, second, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(without_graph, with_graph, strict=True))
    assert not torch.equal(first[0][2][1], model(*_first_piece())[1]["activations"])  # dropout is on


def _first_piece() -> tuple[Tokens, Tokens]:
    return QUERIES.rows(0, 1), DOCUMENTS.rows(0, 3)


def test_with_dropout_the_gradient_is_that_of_one_graph_over_the_same_masks() -> None:
    model = TinyBiEncoder(dropout=0.3)
    parts = [(slice(0, 2), slice(0, 5)), (slice(2, 4), slice(5, 10)), (slice(4, 6), slice(10, 15))]
    torch.manual_seed(7)
    encoded = [model(_trimmed(QUERIES, q), _trimmed(DOCUMENTS, d)) for q, d in parts]
    loss = whole_loss(model)(stacked([q for q, _ in encoded]), stacked([d for _, d in encoded]))
    loss.backward()
    expected, after = gradients_of(model), torch.rand(3)
    model.zero_grad()
    torch.manual_seed(7)
    cached = batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=7)
    assert torch.equal(torch.rand(3), after)  # and the run goes on with the numbers it would have had
    torch.testing.assert_close(cached, loss.detach())
    assert largest_difference(gradients_of(model), expected) < 1e-6


def _trimmed(tokens: Tokens, rows: slice) -> Tokens:
    longest = int(tokens.attention_mask[rows].sum(1).max())
    return Tokens(tokens.input_ids[rows, :longest], tokens.attention_mask[rows, :longest])


def test_left_padding_is_left_alone() -> None:
    model = TinyBiEncoder()
    flipped = [Tokens(t.input_ids.flip(1), t.attention_mask.flip(1)) for t in (QUERIES, DOCUMENTS)]
    _, gradients = whole_gradient(model, *flipped)
    model.zero_grad()
    batch_backward(model, *flipped, whole_loss(model), chunk=5)
    assert largest_difference(gradients_of(model), gradients) < 1e-5


# -- mixed precision and wrappers -------------------------------------------------------------------------------------------


class Dense(OnlyTrained):
    """Two linear maps over bags of words: enough for autocast."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Linear(50, 16), nn.Tanh(), nn.Linear(16, 50))

    def encode_documents(self, tokens: Tokens) -> Encoded:
        bag = F.one_hot(tokens.input_ids, 50).float().mul(tokens.attention_mask[..., None]).sum(1)
        return {"activations": torch.relu(self.layers(bag)).float()}

    encode_queries = encode_documents


def test_an_enclosing_autocast_takes_no_gradient_away() -> None:
    model, gradients = Dense(), []
    for chunk in (None, 6):
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=chunk)
        gradients.append(gradients_of(model))
    largest = max(float(g.abs().max()) for g in gradients[0].values())
    assert largest_difference(*gradients) < 0.02 * largest


@pytest.mark.parametrize("chunk", [None, 6])
def test_a_loss_scale_is_applied_once(chunk: int | None) -> None:
    model = MODELS["many"]()
    _, gradients = whole_gradient(model)
    model.zero_grad()
    batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=chunk, backward=lambda loss: (1024.0 * loss).backward())
    assert largest_difference({name: g / 1024.0 for name, g in gradients_of(model).items()}, gradients) < 1e-5


def test_all_pieces_but_the_last_are_encoded_without_synchronisation() -> None:
    inside, seen = [False], []

    @contextmanager
    def no_sync() -> Iterator[None]:
        inside[0] = True
        yield
        inside[0] = False

    class Noted(TinyBiEncoder):
        def forward(self, *args: Any) -> tuple[Encoded, Encoded]:
            seen.append((torch.is_grad_enabled(), inside[0]))
            return super().forward(*args)

    model = Noted()
    batch_backward(model, QUERIES, DOCUMENTS, whole_loss(model), chunk=7, no_sync=no_sync)
    assert seen == [(False, False)] * 3 + [(True, True), (True, True), (True, False)]


# -- why not simply add up small batches ------------------------------------------------------------------------------------


def own_candidates(model: BiEncoder, queries: Tokens, documents: Tokens) -> Tensor:
    """Softmax over each query's own three documents: nothing of the loss crosses queries."""
    encoded = model(queries, documents)
    triples = encoded[1]["activations"].reshape(len(queries.input_ids), 3, -1)
    scores = torch.einsum("qv,qcv->qc", encoded[0]["activations"], triples)
    return F.cross_entropy(0.05 * scores, torch.zeros(len(scores), dtype=torch.long))


def flops_of_documents(model: BiEncoder, queries: Tokens, documents: Tokens) -> Tensor:
    return flops(model(queries, documents)[1]["activations"])


def accumulated(loss: Any, model: BiEncoder, queries: Tokens, documents: Tokens, parts: int) -> dict[str, Tensor]:
    """Gradient of the mean of the losses of `parts` small batches, three documents a query."""
    model.zero_grad()
    size = len(queries.input_ids) // parts
    for start in range(0, len(queries.input_ids), size):
        end = start + size
        (loss(model, queries.rows(start, end), documents.rows(3 * start, 3 * end)) / parts).backward()
    return gradients_of(model)


@pytest.mark.parametrize("parts", [2, 3, 6])
def test_small_batches_add_up_to_the_large_one_only_where_nothing_crosses_queries(parts: int) -> None:
    model, documents = TinyBiEncoder(), random_tokens(18, 20, seed=3)
    for loss, equal in ((own_candidates, True), (flops_of_documents, False)):
        whole = accumulated(loss, model, QUERIES, documents, 1)
        difference = largest_difference(accumulated(loss, model, QUERIES, documents, parts), whole)
        largest = max(float(g.abs().max()) for g in whole.values())
        assert (difference < 1e-5 * largest) if equal else (difference > 1e-3 * largest)


def test_flops_of_small_batches_is_never_below_that_of_the_whole() -> None:
    activations = TinyBiEncoder().encode_documents(DOCUMENTS)["activations"].detach()
    for parts in (3, 5, 15):
        small = torch.stack([flops(part) for part in activations.chunk(parts)]).mean()
        assert small > flops(activations)
