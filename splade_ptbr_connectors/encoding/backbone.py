"""From a folder or a hub id to a network with a head over its vocabulary: masked language models and T5 encoders.

Pooling rests on two properties: the logits are a linear map of features, z = W f + b, and a text's logits do not depend on padding.
Some families lack one (MobileBERT and ESM compute their logits in ways of their own; FNet and ConvBERT let padding in), so a network
of a family that the tests do not know is tried when it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel

from ..errors import ConfigError, ModelFormatError, ModelNotFoundError
from . import t5
from .network_config import CHECKED_FAMILIES, RELATIVE_POSITIONS

_SHORT, _PADDED = 4, 12  # tokens of a text, alone and padded
_TOLERANCE = 1e-4  # of the largest value: rounding stays far below
_ADVICE = "take a model of another family (BERT, RoBERTa, DeBERTa, ModernBERT, T5 and others are known to work)"
Run = Callable[[Tensor, Tensor], Tensor]


def load_backbone(path_or_hub_id: str | Path, revision: str | None = None) -> PreTrainedModel:
    """Load the network of a model, in float32: safetensors only, no code of the model's own.

    Args:
        path_or_hub_id: a folder with config.json and model.safetensors, or a hub id. A T5 checkpoint may be a whole one
            (its decoder is left out) or an encoder; the bias of its head is zeros where it has none.
        revision: of a hub id.

    Returns: a model with get_output_embeddings() and forward(input_ids=, attention_mask=).logits [B, L, V].

    Raises:
        ModelNotFoundError: no such folder, and the hub does not give it.
        ModelFormatError: no safetensors, code of its own, another kind of model, weights that are missing or do not fit; or a
            family whose logits cannot be pooled (see try_network).
    """
    name = str(path_or_hub_id)
    family = t5.CLASSES.get(str(_raw_config(name, revision).get("model_type")), AutoModelForMaskedLM)
    try:
        model, report = family.from_pretrained(
            name, revision=revision or "main", use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # over a config.json that is not right, transformers raises nearly any type
        raise ModelFormatError(
            f"the network of {name!r} cannot be loaded ({_first_line(error)}): it must be a masked language model or a T5 model "
            "with safetensors weights."
        ) from error
    missing = set(report["missing_keys"])
    if family is not AutoModelForMaskedLM and t5.BIAS in missing:
        torch.nn.init.zeros_(model.token_head.bias)
        missing.remove(t5.BIAS)
    if missing:
        named = ", ".join(sorted(missing)[:3])
        raise ModelFormatError(
            f"the weights of {name!r} lack {len(missing)} tensors of {type(model).__name__} ({named} ...): a model whose head over "
            "the vocabulary was never trained cannot be used; take the masked language model that it was made from."
        )
    loaded: PreTrainedModel = model
    try_network(loaded)
    return loaded


def _raw_config(name: str, revision: str | None) -> dict[str, Any]:
    """The content of config.json."""
    kind = ModelFormatError if Path(name).is_dir() else ModelNotFoundError
    try:
        raw, _ = PretrainedConfig.get_config_dict(name, revision=revision or "main", trust_remote_code=False)
    except (OSError, ValueError, RecursionError) as error:
        raise kind(f"no usable config.json in {name!r} ({_first_line(error)}): give a model's folder or its hub id.") from error
    if not raw:
        raise kind(f"no usable config.json in {name!r}: give a model's folder or its hub id.")
    if "auto_map" in raw:
        raise ModelFormatError(f"{name!r} asks for code of its own (auto_map): models that bring code are not loaded.")
    if "transformers_weights" in raw:
        raise ModelFormatError(f"the config.json of {name!r} names other weights (transformers_weights): keep them in model.safetensors.")
    return dict(raw)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]:.200}"


# -- families that the tests do not know ---------------------------------------------------------------------------------


class PooledNetwork(Protocol):
    """A network with its pooling, such as torch_model.SpladeModel."""

    backbone: PreTrainedModel

    @property
    def vocab_size(self) -> int:
        """Number of terms."""
        ...

    def activations(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, V] of [B, L] token ids and mask."""
        ...


def try_network(model: PreTrainedModel) -> None:
    """Raise ModelFormatError when the vectors of this network cannot be computed, or would depend on the other texts of a batch."""
    if _known(model):
        return
    try:
        linear = _is_linear(model)
        difference = _padding_difference(lambda *inputs: _logits(model, *inputs)[:, :_SHORT], _vocab_size(model), _PADDED)
    except Exception as error:  # whatever a network raises that does not work in this way
        raise ModelFormatError(f"{_name(model)} cannot be run on token ids and a mask ({_first_line(error)}): {_ADVICE}.") from error
    if not linear:
        raise ModelFormatError(f"{_name(model)} computes its logits in its own way, not as a linear map of features: {_ADVICE}.")
    if not difference <= _TOLERANCE:
        raise ModelFormatError(f"{_name(model)} does not mask padding, so vectors would depend on the texts encoded with it: {_ADVICE}.")


def try_length(model: PooledNetwork, longest: int) -> None:
    """Raise ConfigError when the network cannot take `longest` tokens, or gives other vectors for a text padded to as many."""
    if _known(model.backbone):
        return
    what = f"a maximum length of {longest} tokens is asked for, and {_name(model.backbone)}"
    advice = "set a smaller max_length_query and max_length_document."
    try:
        difference = _padding_difference(model.activations, model.vocab_size, longest)
    except Exception as error:  # too few positions show in many ways
        raise ConfigError(f"{what} fails at it ({_first_line(error)}): {advice}") from error
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
