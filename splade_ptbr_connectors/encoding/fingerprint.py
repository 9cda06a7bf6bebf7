"""The identity of an encoder: two encoders with equal fingerprints give equal vectors for equal texts.

It holds the identity of the network: its weights, and what config.json says about computing with them. A BERT whose config.json says
what its weights suggest is identified by its weights alone; whatever deviates, and every other family's config.json, counts too.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..errors import ModelFormatError
from .config import EncoderConfig, read_json_object

SCHEME = 1  # raised when this package changes how any vector is computed
OF_CONCEPTS = 2  # and this, for the vectors of models with concepts alone; 1 took the concepts of queries two by two

WEIGHTS_FILE = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"

# keys that change no vector of any family: bookkeeping, what holds in training alone, names of classes
_INERT = re.compile(
    r"_name_or_path|_commit_hash|architectures|transformers_version|(torch_)?dtype|use_cache|\w*dropout\w*|initializer_\w+|id2label|label2id"
    r"|num_labels|problem_type|finetuning_task|gradient_checkpointing|tokenizer_class"
)
# further ones of a BERT: shapes, which the weights have anyway, and parts that no vector passes through
_INERT_IN_BERT = re.compile(
    r"(vocab|hidden|intermediate|type_vocab)_size|max_position_embeddings|\w+_token_id|pooler_\w+|directionality|output_past"
    r"|output_(attentions|hidden_states)|return_dict|chunk_size_feed_forward"
)
_BERT_DEFAULTS = {"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12}  # where config.json is silent
_LAYER = re.compile(r"(?:^|\.)encoder\.layer\.(\d+)\.")


def fingerprint(
    config: EncoderConfig, tokenizer_json: str, *, weights: str, query_weights: str | None, query_table: Path | None, **settings: Any
) -> str:
    """sha256 over weights, tokenizer, query table or network and every setting that changes a vector: 64 hex digits.

    Not part of it: runtime, device, dtype and batch size, which change a vector by rounding only.
    """
    identity = {
        "scheme": SCHEME,
        "weights": weights,
        "query_table": sha256_of([query_table] if query_table else []),
        "tokenizer": hashlib.sha256(tokenizer_json.encode()).hexdigest(),
        "config": config.identity(),
        **settings,
    }
    if config.concepts is not None:
        identity["concepts"] = OF_CONCEPTS
    if query_weights is not None:
        identity["query_weights"] = query_weights
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def sha256_of(paths: Iterable[Path]) -> str:
    """sha256 over the contents of these files, in this order."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def network_sha256(folder: Path) -> str:
    """Identity of what the torch runtime loads from a folder: 64 hex digits.

    Raises:
        ModelFormatError: config.json or the index of the weights cannot be used.
    """
    files = weight_files(folder)
    weights = sha256_of([*files, *sorted(folder.glob("lexical.safetensors"))])
    told = _what_counts(read_json_object(folder / "config.json"), files) if (folder / "config.json").is_file() else {}
    return weights if not told else hashlib.sha256(json.dumps({"weights": weights, "config": told}, sort_keys=True).encode()).hexdigest()


def weight_files(folder: Path) -> list[Path]:
    """The files that transformers takes a network's tensors from: one, or the parts that an index names, by name."""
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    index = folder / WEIGHTS_INDEX
    parts = read_json_object(index).get("weight_map")
    names = sorted(set(parts.values())) if isinstance(parts, dict) and all(isinstance(name, str) for name in parts.values()) else []
    wrong = next((name for name in names if not name.endswith(".safetensors") or not (folder / name).is_file() or "/" in name), None)
    if not names or wrong is not None:
        raise ModelFormatError(f"{index} names {wrong or 'no parts'}: expected safetensors files beside it; download the model again.")
    return [folder / name for name in names]


def _what_counts(config: dict[str, Any], weights: list[Path]) -> dict[str, Any]:
    """The entries of config.json that the identity holds."""
    config = {key: value for key, value in config.items() if not _INERT.fullmatch(key)}
    if config.get("model_type") != "bert":
        return config
    config = _BERT_DEFAULTS | config
    usual = _usual_bert(config["hidden_size"], weights)
    return {key: value for key, value in config.items() if not _INERT_IN_BERT.fullmatch(key) and (key not in usual or usual[key] != value)}


def _usual_bert(hidden_size: object, weights: list[Path]) -> dict[str, Any]:
    """What a BERT says unless it is an unusual one: heads 64 wide (32 in small networks), every layer used, all else by default."""
    width = 32 if isinstance(hidden_size, int) and hidden_size <= 384 else 64
    return {
        "model_type": "bert",
        "num_attention_heads": hidden_size // width if isinstance(hidden_size, int) else None,
        "num_hidden_layers": _layers(weights),
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "is_decoder": False,
        "is_encoder_decoder": False,
        "add_cross_attention": False,
        "position_embedding_type": "absolute",
        "tie_word_embeddings": True,
        "pruned_heads": {},
    }


def _layers(weights: list[Path]) -> int:
    """How many layers of a BERT the tensors are of."""
    from safetensors import safe_open

    found = -1
    for path in weights:
        with safe_open(path, framework="numpy") as tensors:
            found = max([found, *(int(match[1]) for name in tensors.keys() if (match := _LAYER.search(name)))])
    return found + 1
