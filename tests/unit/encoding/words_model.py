"""A small model of words: inflections that share a term, stop words, pieces, and a thesaurus of a few senses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import Split

from splade_ptbr_connectors.encoding.config import EncoderConfig
from splade_ptbr_connectors.encoding.edge_features import EDGE_FEATURES, WORD_FEATURES
from splade_ptbr_connectors.encoding.thesaurus import EQUIVALENT, HEAD, RELATED, Rows, Thesaurus

TOKENS = (
    "[PAD] [UNK] imposto prazo insonia sono noite dormir medico remedio dor cabeca cefaleia ##s ##x impostos prazos dores de o a".split()
)
IDS = {token: number for number, token in enumerate(TOKENS)}
TERM_OF = {"impostos": "imposto", "prazos": "prazo", "dores": "dor"}
WITHOUT_TERM = ("[PAD]", "[UNK]", "de", "o", "a")
TERMS = np.array([-1 if token in WITHOUT_TERM else IDS[TERM_OF.get(token, token)] for token in TOKENS], np.int32)
WEIGHTS = np.where(np.arange(len(TOKENS)) == TERMS, 1 + np.arange(len(TOKENS)) / 10, 0).astype(np.float32)
SENSES = [
    {("insonia",): HEAD, ("sono",): EQUIVALENT, ("noite",): RELATED, ("remedio",): RELATED},
    {("dor", "cabeca"): HEAD, ("cefaleia",): EQUIVALENT, ("medico", "remedio"): RELATED},
    {("dormir",): HEAD, ("sono",): EQUIVALENT},
]
SETTINGS = {"k1": 0.9, "b": 0.6, "average_length": 4.0}


def tokenizer() -> Tokenizer:
    """WordPiece over folded words."""
    made = Tokenizer(WordPiece(IDS, unk_token="[UNK]"))
    made.normalizer = BertNormalizer(strip_accents=True, lowercase=True)
    made.pre_tokenizer = Split(Regex(r"[^\p{L}\p{N}\p{M}]+"), "removed")
    made.add_special_tokens(["[PAD]", "[UNK]"])
    return made


def thesaurus(senses: list[dict[tuple[str, ...], int]] | None = None) -> Thesaurus:
    """Arrays of senses."""
    given = SENSES if senses is None else senses
    expressions = {words: number for number, words in enumerate(dict.fromkeys(words for sense in given for words in sense))}
    return Thesaurus(
        Rows.of(np.array([IDS[word] for words in expressions for word in words]), np.array(list(map(len, expressions)), np.int64)),
        Rows.of(np.array([expressions[words] for sense in given for words in sense]), np.array(list(map(len, given)), np.int64)),
        np.array([role for sense in given for role in sense.values()]),
        len(TOKENS),
    )


def vectors(size: int = 4) -> np.ndarray:
    """[W, size] int8 directions."""
    return np.random.default_rng(0).integers(-127, 128, (len(TOKENS) - 6, size)).astype(np.int8)


def gate(seed: int | None = 0, *, size: int = 4, hidden: int = 5, projected: int = 2, bias: float = 0.0) -> dict[str, np.ndarray]:
    """Random layers; all zeros, but for the bias of an edge, without a seed."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for name, width in (("edge_gate", EDGE_FEATURES + 5 * projected), ("word_gate", WORD_FEATURES)):
        for layer, (before, after) in enumerate([(width, hidden), (hidden, hidden), (hidden, 1)]):
            tensors[f"{name}.{layer}.weight"] = rng.normal(size=(after, before)).astype(np.float32) * (0.0 if seed is None else 0.5)
            tensors[f"{name}.{layer}.bias"] = np.zeros(after, np.float32)
    tensors["added"] = np.ones(1, np.float32)
    tensors["edge_gate.2.bias"][:] = bias
    for name in ("target", "source", "rest"):
        tensors[f"edge_gate.{name}"] = rng.normal(size=(projected, size)).astype(np.float32)
    return tensors


def make_words_model(
    folder: Path, *, query: str = "expansion", expansion: dict[str, np.ndarray] | None = None, min_added: float = 0.0, **settings: Any
) -> Path:
    """Write the model's folder; gives it back."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer().save(str(folder / "tokenizer.json"))
    save_file({"terms": TERMS}, folder / "words.safetensors")
    held = {"weights": WEIGHTS} if query == "table" else {"weights": WEIGHTS, "vectors": vectors()} | thesaurus().tensors() | gate()
    save_file(held | (expansion or {}), folder / "expansion.safetensors")
    raw = {
        "vocab_size": len(TOKENS),
        "max_length_query": 1_000_000,
        "max_length_document": 1_000_000,
        "query": {"kind": query, "file": "expansion.safetensors", "min_weight_added": min_added},
        "words": SETTINGS,
    }
    EncoderConfig.checked(raw | settings, str(folder)).write(folder)
    return folder
