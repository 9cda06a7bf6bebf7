"""The identity of an encoder: two encoders with equal fingerprints give equal vectors for equal texts."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from .folder import ModelFolder
from .identity import sha256_of

SCHEME = 1  # raised when this package changes how any vector is computed


def fingerprint(folder: ModelFolder, tokenizer_json: str, **settings: Any) -> str:
    """sha256 over weights, tokenizer, query table or network and every setting that changes a vector: 64 hex digits.

    Not part of it: runtime, device, dtype and batch size, which change a vector by rounding only.
    """
    config = folder.config
    table = [folder.query_table] if folder.query_table else []
    identity = {
        "scheme": SCHEME,
        "weights": folder.weights_sha256(),
        "query_table": sha256_of(table),
        "tokenizer": hashlib.sha256(tokenizer_json.encode()).hexdigest(),
        "config": config.identity(),
        **settings,
    }
    if folder.query is not None:
        identity["query_weights"] = folder.query.weights_sha256()
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
