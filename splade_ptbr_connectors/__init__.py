"""Learned sparse retrieval (SPLADE) for Brazilian Portuguese: text -> encoder -> SparseVector -> store -> retriever.

>>> from splade_ptbr_connectors import SpladeEncoder, open_store, ingest  # doctest: +SKIP

Names are loaded at first use: importing the package imports no heavy library.
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .dense import E5Encoder, with_dense
    from .encoding.encoder import SpladeEncoder
    from .ingestion.engine import IngestReport, aingest, ingest
    from .ingestion.verify import VerifyReport, verify
    from .records import Record
    from .retrieval import explain_hits
    from .stores import open_store
    from .stores.base import Hit, Store
    from .vectors import SparseBatch, SparseVector

__version__ = "0.1.0"

_HOME = {
    "E5Encoder": ".dense",
    "Hit": ".stores.base",
    "IngestReport": ".ingestion.engine",
    "Record": ".records",
    "SparseBatch": ".vectors",
    "SparseVector": ".vectors",
    "SpladeEncoder": ".encoding.encoder",
    "Store": ".stores.base",
    "VerifyReport": ".ingestion.verify",
    "aingest": ".ingestion.engine",
    "explain_hits": ".retrieval",
    "ingest": ".ingestion.engine",
    "open_store": ".stores",
    "verify": ".ingestion.verify",
    "with_dense": ".dense",
}

__all__ = [
    "E5Encoder",
    "Hit",
    "IngestReport",
    "Record",
    "SparseBatch",
    "SparseVector",
    "SpladeEncoder",
    "Store",
    "VerifyReport",
    "aingest",
    "explain_hits",
    "ingest",
    "open_store",
    "verify",
    "with_dense",
]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
