"""SpladeModel: pool first equals activate first, padding changes nothing, and the lexical channel is BM25 at the start."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertForMaskedLM, DistilBertConfig, DistilBertForMaskedLM

from splade_ptbr_connectors.encoding.torch_model import LexicalChannel, SpladeModel, max_over_tokens, sum_over_tokens
from splade_ptbr_connectors.errors import ConfigError

VOCAB, SPECIAL_IDS = 60, [0, 1, 2, 3]


def tiny_bert(seed: int = 0) -> BertForMaskedLM:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.5,
    )
    return BertForMaskedLM(config).eval()


def lexical_channel(*, importance: bool = False, neighbours: bool = False) -> LexicalChannel:
    generator = torch.Generator().manual_seed(1)
    table = torch.full((VOCAB, 2), -1)
    table[10, 0], table[11, 0] = 11, 10
    classes = torch.arange(VOCAB)
    classes[11] = 10
    return LexicalChannel(
        torch.ones(VOCAB),
        k1=1.2,
        b=0.75,
        average_length=8.0,
        special_ids=SPECIAL_IDS,
        classes=classes if neighbours else None,
        neighbours=table if neighbours else None,
        neighbour_gain=(table >= 0).float() * 0.8 if neighbours else None,
        importance=torch.randn(16, generator=generator) * 0.1 if importance else None,
    )


def batch(seed: int = 0, rows: int = 3, length: int = 9) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, VOCAB, (rows, length), generator=generator)
    ids[:, 0] = 2
    mask = torch.ones_like(ids)
    for row in range(rows):
        mask[row, length - row :] = 0
    return ids, mask


@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_equals_the_definition(pooling: str) -> None:
    """w_j = max_i (or sum_i) log1p(relu(z_ij)) over unmasked tokens, computed with the plain [B, L, V] logits."""
    plain, (ids, mask) = tiny_bert(), batch()
    with torch.no_grad():
        logits = plain(input_ids=ids, attention_mask=mask).logits
        each = torch.log1p(torch.relu(logits)) * mask.unsqueeze(2)
        expected = each.amax(1) if pooling == "max" else each.sum(1)
        found = SpladeModel(tiny_bert(), pooling=pooling).activations(ids, mask)
    assert expected.max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_pool_first_has_the_same_gradients(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    _, mask = batch(seed, rows=2, length=5)
    tensors = [torch.randn(2, 5, 4, generator=generator), torch.randn(7, 4, generator=generator), torch.randn(7, generator=generator)]
    weights = torch.randn(2, 7, generator=generator)
    logits = (tensors[0] @ tensors[1].t() + tensors[2]).masked_fill(~mask.bool().unsqueeze(2), -torch.inf)
    first, second = logits.topk(2, dim=1).values.unbind(1)
    assume(bool((first - second > 1e-4).all() and (first.abs() > 1e-4).all()))  # rounding chooses no winner
    gradients = []
    for pooled_first in (True, False):
        features, weight, bias = (tensor.clone().requires_grad_() for tensor in tensors)
        if pooled_first:
            result = torch.log1p(torch.relu(max_over_tokens(features, weight, bias, mask)))
        else:
            masked = (features @ weight.t() + bias).masked_fill(~mask.bool().unsqueeze(2), -torch.inf)
            result = torch.log1p(torch.relu(masked)).amax(1)
        (result * weights).sum().backward()
        gradients.append([result.detach(), features.grad, weight.grad, bias.grad])
    for first, second in zip(*gradients, strict=True):
        torch.testing.assert_close(first, second, atol=1e-5, rtol=1e-4)


def test_sum_pooling_does_not_depend_on_the_chunk() -> None:
    features, weight, bias = torch.randn(2, 9, 4), torch.randn(7, 4), torch.randn(7)
    mask = torch.ones(2, 9, dtype=torch.long)
    torch.testing.assert_close(sum_over_tokens(features, weight, bias, mask, 2), sum_over_tokens(features, weight, bias, mask, 100))


@pytest.mark.parametrize("lexical", [False, True])
def test_padding_and_batching_change_nothing(lexical: bool) -> None:
    channel = lexical_channel(importance=True, neighbours=True) if lexical else None
    model, (ids, mask) = SpladeModel(tiny_bert(), lexical=channel).eval(), batch()
    with torch.no_grad():
        together = model.activations(ids, mask)
        for row in range(len(ids)):
            kept = int(mask[row].sum())
            alone = model.activations(ids[row : row + 1, :kept], mask[row : row + 1, :kept])
            torch.testing.assert_close(together[row : row + 1], alone, atol=1e-6, rtol=1e-6)


def test_a_text_without_tokens_has_no_terms() -> None:
    ids = torch.full((1, 4), 5)
    assert SpladeModel(tiny_bert(), lexical=lexical_channel()).activations(ids, torch.zeros_like(ids)).abs().sum() == 0


@given(st.integers(0, 1000), st.integers(3, 30))
@settings(max_examples=20, deadline=None)
def test_lexical_channel_is_bm25_at_the_start(seed: int, length: int) -> None:
    ids, mask = batch(seed, rows=2, length=length)
    ids[:, length // 2 :] = ids[:, 1:2]
    model = SpladeModel(tiny_bert(), lexical=lexical_channel(), contextual=False)
    found = model.activations(ids, mask).detach().numpy()
    for row in range(2):
        kept = [int(i) for i, m in zip(ids[row], mask[row], strict=True) if m and int(i) not in SPECIAL_IDS]
        expected = np.zeros(VOCAB)
        for term in set(kept):
            frequency = kept.count(term)
            expected[term] = frequency * 2.2 / (frequency + 1.2 * (0.25 + 0.75 * len(kept) / 8.0))
        np.testing.assert_allclose(found[row], expected, atol=1e-5)


def test_neighbours_count_as_one_stem_and_are_added() -> None:
    model = SpladeModel(tiny_bert(), lexical=lexical_channel(neighbours=True), contextual=False)
    ids = torch.tensor([[2, 10, 10, 20, 3], [2, 10, 11, 20, 3]])
    found = model.activations(ids, torch.ones_like(ids)).detach()
    assert found[0, 11].item() == pytest.approx(0.8 * found[0, 10].item(), rel=1e-5)
    assert found[1, 10].item() == pytest.approx(found[0, 10].item(), rel=1e-6)
    assert found[1, 11].item() == pytest.approx(found[1, 10].item(), rel=1e-6)


@pytest.mark.parametrize("lexical", [False, True])
def test_save_and_load(tmp_path: Path, lexical: bool) -> None:
    channel = lexical_channel(importance=True, neighbours=True) if lexical else None
    model, (ids, mask) = SpladeModel(tiny_bert(), lexical=channel).eval(), batch()
    model.save_folder(tmp_path)
    settings_ = SimpleNamespace(k1=1.2, b=0.75, average_length=8.0, special_ids=SPECIAL_IDS) if lexical else None
    loaded = SpladeModel.from_folder(tmp_path, SimpleNamespace(pooling="max", lexical=settings_))
    with torch.no_grad():
        torch.testing.assert_close(loaded.activations(ids, mask), model.activations(ids, mask))
    assert not list(tmp_path.glob("*.bin"))


def test_other_architectures_work() -> None:
    torch.manual_seed(0)
    config = DistilBertConfig(
        vocab_size=VOCAB, dim=16, n_layers=1, n_heads=2, hidden_dim=32, max_position_embeddings=64, initializer_range=0.5
    )
    plain, (ids, mask) = DistilBertForMaskedLM(config).eval(), batch()
    with torch.no_grad():
        logits = plain(input_ids=ids, attention_mask=mask).logits
        expected = torch.log1p(torch.relu(logits.masked_fill(~mask.bool().unsqueeze(2), -torch.inf).amax(1)))
        torch.testing.assert_close(SpladeModel(plain).activations(ids, mask), expected, atol=1e-5, rtol=1e-5)


def test_refuses_what_it_cannot_do() -> None:
    with pytest.raises(ConfigError, match="pooling"):
        SpladeModel(tiny_bert(), pooling="mean")
    with pytest.raises(ConfigError, match="max"):
        SpladeModel(tiny_bert(), pooling="sum", lexical=lexical_channel())
