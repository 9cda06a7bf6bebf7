"""A smaller vocabulary of pieces: those that Portuguese text has, out of a tokenizer for a hundred languages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from splade_ptbr_connectors.errors import ConfigError

LATIN = 0x250
"""Characters below this are kept although no text has them: no Portuguese word is unknown."""
_AT_ONCE = 10_000


def fewer_pieces(teacher: Path, texts: Sequence[str], size: int) -> tuple[Tokenizer, NDArray[np.int64]]:
    """(tokenizer of at most `size` pieces, the teacher's id of each). Raises ConfigError for another kind than a unigram model."""
    whole = json.loads((teacher / "tokenizer.json").read_text(encoding="utf-8"))
    if whole["model"]["type"] != "Unigram":
        raise ConfigError(f"{teacher} has a tokenizer of type {whole['model']['type']}: pieces are left out of Unigram models only.")
    vocabulary: list[list[Any]] = whole["model"]["vocab"]
    counts = _counts(Tokenizer.from_str(json.dumps(whole)), texts)
    special = {token["id"] for token in whole["added_tokens"]}
    single = {n for n, (piece, _) in enumerate(vocabulary) if len(piece.lstrip("▁")) <= 1 and (counts[n] or ord(piece[-1:] or "a") < LATIN)}
    kept = special | single
    for piece, _ in counts.most_common():
        if len(kept) >= size:
            break
        kept.add(piece)
    ids = sorted(kept)
    new = {old: place for place, old in enumerate(ids)}
    whole["model"]["vocab"] = [vocabulary[n] for n in ids]
    whole["model"]["unk_id"] = new[whole["model"]["unk_id"]]
    for token in whole["added_tokens"]:
        token["id"] = new[token["id"]]
    for token in (whole.get("post_processor") or {}).get("special_tokens", {}).values():
        token["ids"] = [new[n] for n in token["ids"]]
    return Tokenizer.from_str(json.dumps(whole)), np.array(ids, np.int64)


def _counts(tokenizer: Tokenizer, texts: Sequence[str]) -> Counter[int]:
    counts: Counter[int] = Counter()
    for start in range(0, len(texts), _AT_ONCE):
        for encoding in tokenizer.encode_batch_fast(list(texts[start : start + _AT_ONCE])):
            counts.update(encoding.ids)
    return counts
