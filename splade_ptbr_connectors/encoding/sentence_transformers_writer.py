"""A second way to read one of our folders: the files with which `sentence_transformers.SparseEncoder(folder)` loads it.

`splade.json` stays the authority for this package. The vectors are equal, apart from what sentence-transformers cannot
express: it keeps the special tokens' terms in the vector (see `drop_special_tokens`), it cuts a text that is too long where this
package takes windows (on_long="truncate" is the same), a blank text has the terms of its special tokens, and a text that
spells a special token out ("[CLS]") has that token even where the text rule lowercases.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import write_atomically
from ..errors import ConfigError, ModelFormatError
from .config import EncoderConfig, TextSettings, read_json_object
from .fingerprint import WEIGHTS_FILE, WEIGHTS_INDEX
from .network_config import RELATIVE_POSITIONS
from .tokens import load_tokenizer, padding_token

if TYPE_CHECKING:
    from tokenizers import Tokenizer

POOLING_FOLDER = "1_SpladePooling"
MODULES_FILE, MODEL_FILE = "modules.json", "config_sentence_transformers.json"
OUR_MODULE = "splade_ptbr_connectors.sentence_transformers.SpladeModule"
_MODULES = "sentence_transformers.sparse_encoder.models"  # the name of versions 5 and 6 alike
_MODEL = {"model_type": "SparseEncoder", "similarity_fn_name": "dot"}
_ACTIVATIONS = {"log1p_relu": "relu", "log1p_log1p_relu": "log1p_relu"}  # they name what stands inside log1p
_ROLES = {
    "cls_token": ("[CLS]", "<s>"),
    "sep_token": ("[SEP]", "</s>"),
    "bos_token": ("<s>",),
    "eos_token": ("</s>",),
    "mask_token": ("[MASK]", "<mask>"),
    "unk_token": ("[UNK]", "<unk>"),
}


def sentence_transformers_can_read(config: EncoderConfig, *, model_type: str | None = None) -> str | None:
    """Why sentence-transformers cannot give this model's vectors; None when it can.

    Args:
        model_type: of the network's config.json, where it is known.
    """
    pruning = (config.max_active_terms_query, config.max_active_terms_document, config.min_weight_query, config.min_weight_document)
    obstacles = {
        "a lexical channel": config.lexical is not None,
        "queries by a table of weights": config.query.kind == "table",
        "a network of the queries' own": config.query.kind == "separate",
        "a T5 encoder": model_type in RELATIVE_POSITIONS,
        "pooling without the special tokens' positions (pool_special_tokens = false)": not config.pool_special_tokens,
        "pruned vectors (max_active_terms_*, min_weight_*)": any(pruning),
    }
    found = [name for name, there in obstacles.items() if there]
    return f"sentence-transformers has no {', no '.join(found)}" if found else None


def write_sentence_transformers_files(folder: str | Path, config: EncoderConfig) -> None:
    """Add the files of sentence-transformers to a folder that holds config.json, model.safetensors and a tokenizer.

    The text rule goes into the normalizer of tokenizer.json, where this package applies it a second time to no effect. That
    can change the model's fingerprint (the tokenizer is part of it): call this before anything is encoded with the folder.

    Raises:
        ConfigError: this model cannot be expressed; names the reason.
        ModelFormatError: the folder has no config.json, safetensors or tokenizer, or no token to pad with.
    """
    path = Path(folder)
    reason = sentence_transformers_can_read(config, model_type=read_json_object(path / "config.json").get("model_type"))
    if reason:
        raise ConfigError(f"{path} cannot be saved for sentence-transformers: {reason}.")
    if not (path / WEIGHTS_FILE).is_file() and not (path / WEIGHTS_INDEX).is_file():
        raise ModelFormatError(f"{path} has no {WEIGHTS_FILE}: sentence-transformers runs the network in torch.")
    tokenizer = load_tokenizer(path, config.vocab_size)
    settings = _tokenizer_settings(tokenizer, config)
    write_atomically(path / "tokenizer.json", with_text_rule(tokenizer.to_str(), config.text))
    _write(path / "tokenizer_config.json", settings)
    _write(path / MODULES_FILE, _modules())
    (path / POOLING_FOLDER).mkdir(exist_ok=True)
    pooling = {"pooling_strategy": config.pooling, "activation_function": _ACTIVATIONS[config.activation]}
    _write(path / POOLING_FOLDER / "config.json", pooling)
    _write(path / "sentence_bert_config.json", _lengths(config))
    prompts = {"query": config.prompt_query, "document": config.prompt_document}
    _write(path / MODEL_FILE, _MODEL | {"prompts": prompts, "default_prompt_name": None})


def write_reference_to_this_package(folder: str | Path) -> None:
    """Say in a folder that sentence-transformers cannot compute that this package does; see sentence_transformers.py.

    Without it sentence-transformers takes what is there for a network of its own kind, and gives vectors that mean nothing.
    """
    _write(Path(folder) / MODEL_FILE, _MODEL)
    _write(Path(folder) / MODULES_FILE, [{"idx": 0, "name": "0", "path": "", "type": OUR_MODULE}])


def with_text_rule(tokenizer_json: str, text: TextSettings) -> str:
    """A tokenizer.json whose normalizer begins with the text rule; unchanged when it begins with it already.

    Lowercasing can leave what its Unicode form would compose, so that form is applied again: the whole has no effect on a
    text that the rule was applied to before.
    """
    from tokenizers import Tokenizer

    form = {"type": text.normalization}
    rule = [form, {"type": "Lowercase"}, form] if text.lowercase else [form]
    tokenizer = json.loads(tokenizer_json)
    own = tokenizer["normalizer"]
    steps = [] if own is None else own["normalizers"] if own["type"] == "Sequence" else [own]
    if steps[: len(rule)] == rule:
        return tokenizer_json
    tokenizer["normalizer"] = {"type": "Sequence", "normalizers": [*rule, *steps]}
    return Tokenizer.from_str(json.dumps(tokenizer)).to_str()


def _tokenizer_settings(tokenizer: Tokenizer, config: EncoderConfig) -> dict[str, Any]:
    """tokenizer_config.json: take tokenizer.json as it is (a named class may build a tokenizer of its own), and its special tokens."""
    padding = padding_token(tokenizer)
    if padding is None:
        raise ModelFormatError("the tokenizer has no padding token ([PAD], <pad>), which sentence-transformers needs for batches.")
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    roles = {role: next((name for name in names if name in special), None) for role, names in _ROLES.items()}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": max(config.max_length_query, config.max_length_document),
        "model_input_names": ["input_ids", "attention_mask"],
        "clean_up_tokenization_spaces": False,
        "pad_token": padding,
        **{role: name for role, name in roles.items() if name},
    }


def _modules() -> list[dict[str, Any]]:
    return [
        {"idx": 0, "name": "0", "path": "", "type": f"{_MODULES}.MLMTransformer"},
        {"idx": 1, "name": "1", "path": POOLING_FOLDER, "type": f"{_MODULES}.SpladePooling"},
    ]


def _lengths(config: EncoderConfig) -> dict[str, Any]:
    """One length for both sides; two where they differ, which takes sentence-transformers 6."""
    query, document = config.max_length_query, config.max_length_document
    sides = {} if query == document else {"query_length": query, "document_length": document}
    return {"max_seq_length": max(query, document), "do_lower_case": False, **sides}


def _write(path: Path, value: Any) -> None:
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
