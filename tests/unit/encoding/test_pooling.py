"""The lean heads equal the plain ones on every shape, mask and tie, in values and gradients, and keep no [B, L, V] tensor."""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from splade_ptbr_connectors.encoding import pooling
from splade_ptbr_connectors.encoding.pooling import max_over_tokens, sum_over_tokens

Head = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
HEADS = pytest.mark.parametrize("head", [max_over_tokens, sum_over_tokens])


def plain_max(features: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    """The definition. The winner is the first of equal products; a bias cannot change it, but its rounding could make new ties."""
    kept = mask.bool().unsqueeze(2)
    products = (features @ weight.t()).masked_fill(~kept, -torch.inf)
    winner = (products == products.amax(1, keepdim=True)).to(torch.uint8).argmax(1, keepdim=True)
    return (products + bias).masked_fill(~kept, -torch.inf).gather(1, winner).squeeze(1)


def plain_sum(features: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    return (torch.log1p(torch.relu(features @ weight.t() + bias)) * mask.bool().unsqueeze(2)).sum(1)


PLAIN: dict[Head, Head] = {max_over_tokens: plain_max, sum_over_tokens: plain_sum}


def drawn(sizes: tuple[tuple[int, ...], ...], generator: torch.Generator) -> tuple[Tensor, ...]:
    """Normal numbers in 64ths: their products add up without rounding, in whatever order, so that no order changes a winner."""
    return tuple((torch.randn(size, generator=generator) * 64).round() / 64 for size in sizes)


def small_tiles(rows: int, terms: int) -> mock._patch[object]:
    """Tiles so small that every case has several, cut in the middle of texts and of the vocabulary."""
    return mock.patch.object(pooling, "_tile_shape", lambda weight: (rows, terms))


def with_gradients(head: Head, inputs: tuple[Tensor, ...], mask: Tensor, incoming: Tensor, *, activate: bool) -> list[Tensor]:
    """Values and the gradients with respect to features, weight and bias."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    result = head(*leaves, mask)
    (torch.log1p(torch.relu(result)) if activate else result).backward(incoming)
    return [result.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """(features, weight, bias), mask, incoming gradient: with holes, texts without tokens, ties, terms without gradient."""
    texts, tokens, terms, hidden = (draw(st.integers(1, most)) for most in (5, 9, 12, 5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    sizes = (texts, tokens, hidden), (terms, hidden), (terms,)
    if draw(st.booleans()):  # small whole numbers: many ties, and arithmetic without rounding
        inputs = tuple(torch.randint(-2, 3, size, generator=generator).float() for size in sizes)
    else:
        inputs = drawn(sizes, generator)
    inputs = (*inputs[:2], inputs[2] + draw(st.sampled_from([0.0, -2.0, -100.0])))
    mask = (torch.rand(texts, tokens, generator=generator) < draw(st.sampled_from([0.0, 0.4, 0.8, 1.0]))).long()
    incoming = torch.randn(texts, terms, generator=generator) * (torch.rand(texts, terms, generator=generator) < 0.7)
    return inputs, mask, incoming


@HEADS
@given(case=cases(), rows=st.integers(1, 12), terms=st.integers(1, 12), activate=st.booleans())
@settings(max_examples=150, deadline=None)
def test_values_and_gradients_are_those_of_the_plain_head(head: Head, case, rows: int, terms: int, activate: bool) -> None:
    inputs, mask, incoming = case
    with small_tiles(rows, terms):
        found = with_gradients(head, inputs, mask, incoming, activate=activate)
    expected = with_gradients(PLAIN[head], inputs, mask, incoming, activate=activate)
    assert len(found) == len(expected) == 4
    torch.testing.assert_close(found[0], expected[0], atol=1e-6, rtol=1e-6)
    for mine, other in zip(found[1:], expected[1:], strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@HEADS
@given(case=cases())
@settings(max_examples=30, deadline=None)
def test_values_are_the_same_without_gradients(head: Head, case) -> None:
    inputs, mask, _ = case
    with small_tiles(4, 5):
        tracked = head(*(tensor.clone().requires_grad_() for tensor in inputs), mask)
        assert tracked.requires_grad
        with torch.no_grad():
            assert torch.equal(head(*inputs, mask), tracked)


def random_inputs(texts: int = 4, tokens: int = 11, terms: int = 50, hidden: int = 8, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = (texts, tokens, hidden), (terms, hidden), (terms,)
    return drawn(sizes, generator)  # type: ignore[return-value]


def ragged_mask(texts: int = 4, tokens: int = 11) -> Tensor:
    return (torch.arange(tokens) < torch.arange(tokens, 0, -2)[:texts].unsqueeze(1)).long()


def test_gradient_reaches_the_winning_tokens_only_and_through_active_terms_only() -> None:
    features = torch.tensor([[[1.0, 0.0], [3.0, 0.0], [2.0, -1.0], [3.0, 0.0]]], requires_grad=True)  # tokens 1 and 3 tie
    weight = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    bias = torch.tensor([0.0, -0.5], requires_grad=True)  # the second term is never above 0
    activations = torch.log1p(torch.relu(max_over_tokens(features, weight, bias, torch.ones(1, 4))))
    activations.backward(torch.ones(1, 2))
    assert activations.tolist() == [[pytest.approx(1.3862944), 0.0]]
    assert features.grad is not None and weight.grad is not None and bias.grad is not None
    assert features.grad.tolist() == [[[0.0, 0.0], [0.25, 0.0], [0.0, 0.0], [0.0, 0.0]]]  # d log1p(z) = 1 / (1 + 3)
    assert weight.grad.tolist() == [[0.75, 0.0], [0.0, 0.0]]
    assert bias.grad.tolist() == [0.25, 0.0]


@HEADS
def test_a_text_without_kept_tokens_has_no_value_and_no_gradient(head: Head) -> None:
    mask = ragged_mask()
    mask[1] = 0
    values, *gradients = with_gradients(head, random_inputs(), mask, torch.ones(4, 50), activate=False)
    assert (values[1] == (-torch.inf if head is max_over_tokens else 0.0)).all()
    others = torch.tensor([0, 2, 3])
    features, weight, bias = random_inputs()
    rest = with_gradients(head, (features[others], weight, bias), mask[others], torch.ones(3, 50), activate=False)
    assert (gradients[0][1] == 0).all()
    for mine, other in zip((values[others], gradients[0][others], *gradients[1:]), rest, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@HEADS
@pytest.mark.parametrize(("texts", "tokens"), [(0, 4), (3, 0), (0, 0)])
def test_empty_batches_have_empty_results(head: Head, texts: int, tokens: int) -> None:
    inputs = random_inputs(texts, tokens)
    values, *gradients = with_gradients(head, inputs, torch.ones(texts, tokens), torch.ones(texts, 50), activate=False)
    assert values.shape == (texts, 50)
    assert [gradient.shape for gradient in gradients] == [tensor.shape for tensor in inputs]
    assert all((gradient == 0).all() for gradient in gradients)


@HEADS
@given(seed=st.integers(0, 2**31), before=st.integers(0, 3), after=st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_padding_and_the_order_of_texts_change_nothing(head: Head, seed: int, before: int, after: int) -> None:
    (features, weight, bias), mask = random_inputs(seed=seed), ragged_mask()
    incoming = torch.randn(4, 50, generator=torch.Generator().manual_seed(seed))
    expected = with_gradients(head, (features, weight, bias), mask, incoming, activate=True)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    padded = functional.pad(features, (0, 0, before, after), value=1e6)[order]
    found = with_gradients(head, (padded, weight, bias), functional.pad(mask, (before, after))[order], incoming[order], activate=True)
    kept = slice(before, before + features.shape[1])
    assert found[1].abs().sum() == pytest.approx(found[1][:, kept].abs().sum())
    torch.testing.assert_close(found[0], expected[0][order], atol=1e-6, rtol=1e-6)
    for mine, other in zip((found[1][:, kept], *found[2:]), (expected[1][order], *expected[2:]), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@HEADS
def test_two_runs_are_equal_bit_for_bit(head: Head) -> None:
    inputs, mask, incoming = random_inputs(8, 40, 5000, 32), torch.ones(8, 40), torch.ones(8, 5000)
    first, second = (with_gradients(head, inputs, mask, incoming, activate=True) for _ in range(2))
    assert all(torch.equal(mine, other) for mine, other in zip(first, second, strict=True))


@HEADS
def test_autocast_gives_float32_values_and_gradients_in_the_type_of_their_inputs(head: Head) -> None:
    (features, weight, bias), mask = random_inputs(4, 11, 200, 16), ragged_mask()
    inputs = features.to(torch.bfloat16), weight, bias  # as a linear layer hands them over
    with torch.autocast("cpu", torch.bfloat16):
        found = with_gradients(head, inputs, mask, torch.ones(4, 200), activate=True)
    exact = (features.to(torch.bfloat16).float(), weight, bias)
    expected = with_gradients(head, exact, mask, torch.ones(4, 200), activate=True)
    assert [tensor.dtype for tensor in found] == [torch.float32, torch.bfloat16, torch.float32, torch.float32]
    for mine, other in zip((found[0], *found[2:]), (expected[0], *expected[2:]), strict=True):
        assert functional.cosine_similarity(mine.flatten(), other.flatten(), dim=0) > 0.99
    torch.testing.assert_close(found[0], expected[0], atol=0.02 if head is max_over_tokens else 0.1, rtol=0.01)


@HEADS
def test_everything_can_be_bfloat16(head: Head) -> None:
    inputs = tuple(tensor.to(torch.bfloat16) for tensor in random_inputs())
    found = with_gradients(head, inputs, ragged_mask(), torch.ones(4, 50), activate=True)
    assert [tensor.dtype for tensor in found] == [torch.float32] + 3 * [torch.bfloat16]
    expected = with_gradients(PLAIN[head], tuple(tensor.float() for tensor in inputs), ragged_mask(), torch.ones(4, 50), activate=True)
    torch.testing.assert_close(found[0], expected[0], atol=0.1, rtol=0.02)


@pytest.mark.parametrize("seed", range(12))
def test_searching_in_bfloat16_finds_the_same_winners_where_the_products_are_exact(seed: int) -> None:
    """Whole numbers below 256 are exact in bfloat16, and so are their sums in any order: nothing here may be rounded."""
    generator = torch.Generator().manual_seed(seed)
    sizes = (1, 600, 6), (30, 6), (30,)  # more tokens than bfloat16 can count
    inputs = tuple(torch.randint(-3, 4, size, generator=generator).float() for size in sizes)
    mask, incoming = torch.ones(1, 600), torch.ones(1, 30)
    assert (inputs[0].abs() @ inputs[1].abs().t()).max() < 256

    def searched(features: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return max_over_tokens(features, weight, bias, mask, search_dtype=torch.bfloat16)

    exact = with_gradients(max_over_tokens, inputs, mask, incoming, activate=False)
    found = with_gradients(searched, inputs, mask, incoming, activate=False)
    for name, mine, other in zip(("values", "features", "weight", "bias"), found, exact, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0, msg=lambda problem, name=name: f"{name}, seed {seed}: {problem}")


def test_autocast_searches_in_its_own_type() -> None:
    inputs, mask = random_inputs(4, 11, 200, 16), ragged_mask()
    with torch.autocast("cpu", torch.bfloat16):
        found = max_over_tokens(*inputs, mask)
    assert torch.equal(found, max_over_tokens(*inputs, mask, search_dtype=torch.bfloat16))
    assert not torch.equal(found, max_over_tokens(*inputs, mask))


def test_positions_beyond_16_bits_are_kept() -> None:
    features = torch.zeros(1, 33_000, 1)
    features[0, 32_900] = 1.0
    _, gradient, *_ = with_gradients(
        max_over_tokens, (features, torch.ones(2, 1), torch.zeros(2)), torch.ones(1, 33_000), torch.ones(1, 2), activate=True
    )
    assert gradient.nonzero().tolist() == [[0, 32_900, 0]]


@HEADS
def test_a_feature_that_is_not_a_number_is_not_hidden(head: Head) -> None:
    features, weight, bias = random_inputs()
    features[2, 1] = torch.nan
    for tracked in (False, True):
        values = head(features.requires_grad_(tracked), weight, bias, torch.ones(4, 11))
        assert values[2].isnan().all() and values[[0, 1, 3]].isfinite().all()


@HEADS
def test_no_saved_tensor_has_the_size_of_the_logits(head: Head) -> None:
    texts, tokens, terms, hidden = 4, 64, 500, 8
    leaves = [tensor.requires_grad_() for tensor in random_inputs(texts, tokens, terms, hidden)]
    saved: list[int] = []

    def saved_sizes(run: Head) -> int:
        saved.clear()
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.numel()) or tensor, lambda tensor: tensor):
            torch.log1p(torch.relu(run(*leaves, torch.ones(texts, tokens)))).sum().backward()
        return max(saved)

    assert saved_sizes(PLAIN[head]) >= texts * tokens * terms  # the hook sees such a tensor where there is one
    assert saved_sizes(head) <= max(texts * terms, texts * tokens * hidden, terms * hidden)


@HEADS
def test_only_what_needs_a_gradient_gets_one(head: Head) -> None:
    expected = with_gradients(head, random_inputs(), ragged_mask(), torch.ones(4, 50), activate=True)[1:]
    for wanted in range(3):
        tensors = list(random_inputs())
        tensors[wanted].requires_grad_()
        torch.log1p(torch.relu(head(*tensors, ragged_mask()))).sum().backward()
        assert [tensor.grad is not None for tensor in tensors] == [place == wanted for place in range(3)]
        torch.testing.assert_close(tensors[wanted].grad, expected[wanted])


@HEADS
def test_gradient_checkpointing_gives_the_same_gradients(head: Head) -> None:
    def recomputed(*inputs: Tensor) -> Tensor:
        result = checkpoint(head, *inputs, use_reentrant=False)
        assert isinstance(result, Tensor)
        return result

    expected = with_gradients(head, random_inputs(), ragged_mask(), torch.ones(4, 50), activate=True)
    found = with_gradients(recomputed, random_inputs(), ragged_mask(), torch.ones(4, 50), activate=True)
    assert all(torch.equal(mine, other) for mine, other in zip(found, expected, strict=True))


@pytest.mark.parametrize("chunk", [1, 2, 7, 1000])
def test_the_chunk_of_the_sum_changes_nothing(chunk: int) -> None:
    def chunked(features: Tensor, weight: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
        return sum_over_tokens(features, weight, bias, mask, chunk)

    expected = with_gradients(sum_over_tokens, random_inputs(), ragged_mask(), torch.ones(4, 50), activate=False)
    found = with_gradients(chunked, random_inputs(), ragged_mask(), torch.ones(4, 50), activate=False)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@HEADS
def test_a_gpu_gives_what_a_cpu_gives(head: Head) -> None:
    inputs, mask = random_inputs(6, 40, 3000, 32), ragged_mask(6, 40)
    expected = with_gradients(head, inputs, mask, torch.ones(6, 3000), activate=True)
    found = with_gradients(head, tuple(tensor.cuda() for tensor in inputs), mask.cuda(), torch.ones(6, 3000).cuda(), activate=True)
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.cpu(), other, atol=1e-4, rtol=1e-4)
