"""Trying a network of a family that the tests do not know, when it is loaded.

Pooling rests on two properties: the logits are a linear map of features, z = W f + b, and a text's logits do not depend on
padding. Some families lack one (MobileBERT and ESM compute their logits in ways of their own; FNet and ConvBERT let padding in).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PreTrainedModel

from ..errors import ConfigError, ModelFormatError
from .network_config import CHECKED_FAMILIES, RELATIVE_POSITIONS

if TYPE_CHECKING:
    from .torch_model import SpladeModel

_SHORT, _PADDED = 4, 12  # tokens of a text, alone and padded
_TOLERANCE = 1e-4  # of the largest value: rounding stays far below
_ADVICE = "take a model of another family (BERT, RoBERTa, DeBERTa, ModernBERT, T5 and others are known to work)"
Run = Callable[[Tensor, Tensor], Tensor]


def try_network(model: PreTrainedModel) -> None:
    """Raise ModelFormatError when the vectors of this network cannot be computed, or would depend on the texts beside a text."""
    if _known(model):
        return
    try:
        linear = _is_linear(model)
        difference = _padding_difference(lambda *inputs: _logits(model, *inputs)[:, :_SHORT], _vocab_size(model), _PADDED)
    except Exception as error:  # whatever a network raises that does not work in this way
        raise ModelFormatError(f"{_name(model)} cannot be run on token ids and a mask ({_reason(error)}): {_ADVICE}.") from error
    if not linear:
        raise ModelFormatError(f"{_name(model)} computes its logits in a way of its own, not as a linear map of features: {_ADVICE}.")
    if not difference <= _TOLERANCE:
        raise ModelFormatError(f"{_name(model)} does not mask padding, so vectors would depend on the texts encoded beside: {_ADVICE}.")


def try_length(model: SpladeModel, longest: int) -> None:
    """Raise ConfigError when the network cannot take `longest` tokens, or gives other vectors for a text padded to as many."""
    if _known(model.backbone):
        return
    what = f"a maximum length of {longest} tokens is asked for, and {_name(model.backbone)}"
    advice = "set a smaller max_length_query and max_length_document."
    try:
        difference = _padding_difference(model.activations, model.vocab_size, longest)
    except Exception as error:  # too few positions show in many ways
        raise ConfigError(f"{what} fails at it ({_reason(error)}): {advice}") from error
    if not difference <= _TOLERANCE:
        raise ConfigError(f"{what} does not mask padding at that length: {advice}")


def _known(model: PreTrainedModel) -> bool:
    return model.config.model_type in CHECKED_FAMILIES or model.config.model_type in RELATIVE_POSITIONS


@torch.inference_mode()
def _is_linear(model: PreTrainedModel) -> bool:
    """Whether the logits are what the output projection gives, and it is a linear map."""
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    seen: list[tuple[Tensor, Tensor]] = []
    handle = head.register_forward_hook(lambda module, inputs, output: seen.append((inputs[0], output)))
    try:
        logits = _logits(model, *_inputs(_vocab_size(model), _SHORT))
    finally:
        handle.remove()
    if len(seen) != 1 or seen[0][1].data_ptr() != logits.data_ptr():  # something is done without it, or after it
        return False
    linear = functional.linear(seen[0][0], head.weight, head.bias)
    return bool((linear - logits).abs().max() <= _TOLERANCE * logits.abs().max())


def _logits(model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    logits: Tensor = model(input_ids=input_ids, attention_mask=attention_mask).logits
    return logits


@torch.inference_mode()
def _padding_difference(run: Run, vocab_size: int, length: int) -> float:
    """Largest difference between a text alone and one that masked tokens follow, as a share of the largest value."""
    ids, mask = _inputs(vocab_size, length)
    alone, padded = run(ids[:, :_SHORT], mask[:, :_SHORT]), run(ids, mask)
    return float((alone - padded).abs().max() / alone.abs().max().clamp_min(1e-6))


def _inputs(vocab_size: int, length: int) -> tuple[Tensor, Tensor]:
    """[1, L] token ids, and a mask that keeps the first few."""
    ids = torch.randint(vocab_size, (1, length), generator=torch.Generator().manual_seed(0))
    return ids, (torch.arange(length) < _SHORT).long().unsqueeze(0)


def _vocab_size(model: PreTrainedModel) -> int:
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def _name(model: PreTrainedModel) -> str:
    return type(model).__name__


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]:.120}"
