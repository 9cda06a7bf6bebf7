"""From a folder or a hub id to a network with a head over its vocabulary: masked language models and T5 encoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel

from ..errors import ModelFormatError, ModelNotFoundError
from . import t5
from .network_trial import try_network


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
            family whose logits cannot be pooled (network_trial.py).
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
