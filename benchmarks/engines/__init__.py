"""Engines by name. A new one is a module with a class after base.py and a line here.

numba, numba-8bit      this package's index by itself: exact, and with weights rounded to 8 bits
edge                   qdrant-edge by itself                     qdrant, opensearch    servers, by their own clients
NAME:store             the same four through open_store(): what the adapters of this package add
seismic                approximate search (pyseismic-lsr)
bm25, bm25-stemmed     words of the texts instead of vectors     dense, hybrid         an embedding model, alone and beside the vectors
rerank:NAME            the first hits of any of these, rescored by a cross-encoder
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import cast

from benchmarks.engines.base import Engine, Settings
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import ConfigError, MissingExtraError
from splade_ptbr_connectors.extras import EXTRA_OF
from splade_ptbr_connectors.strict import did_you_mean

RERANK = "rerank:"
# name -> module of this package and class in it, loaded at first use
ENGINES = {
    "numba": ".numba:Numba",
    "numba-8bit": ".numba:NumbaRounded",
    "edge": ".edge:Edge",
    "qdrant": ".qdrant:Qdrant",
    "opensearch": ".opensearch:OpenSearch",
    "numba:store": ".store:EmbeddedStore",
    "edge:store": ".store:EmbeddedStore",
    "qdrant:store": ".store_on_server:QdrantStore",
    "opensearch:store": ".store_on_server:OpenSearchStore",
    "seismic": ".seismic:Seismic",
    "bm25": ".bm25:Bm25",
    "bm25-stemmed": ".bm25:Bm25Stemmed",
    "dense": ".dense:Dense",
    "hybrid": ".hybrid:Hybrid",
}
GROUP = {"seismic": "pyseismic-lsr", "openai": "openai"}  # libraries of the dependency group "bench": import name -> what to install


def open_engine(name: str, workload: Workload, home: Path, settings: Settings) -> Engine:
    """The engine of this name, neither built nor opened.

    Args:
        home: the folder for its index.

    Raises:
        ConfigError: an unknown name or option, or a library of the group "bench" that is not installed.
        MissingExtraError: a library of an extra is not installed.
    """
    module, _, attribute = (".rerank:Rerank" if name.startswith(RERANK) else _entry(name)).partition(":")
    try:
        kind = cast("type[Engine]", getattr(importlib.import_module(module, __name__), attribute))
    except ModuleNotFoundError as error:
        raise missing(f"the engine {name}", error) from error
    return kind(name, workload, home, settings)


def check_engine(name: str) -> None:
    """Raise ConfigError for a name that open_engine() does not know."""
    _entry(name.removeprefix(RERANK))


def _entry(name: str) -> str:
    if name in ENGINES:
        return ENGINES[name]
    hint = did_you_mean(name, [*ENGINES, RERANK])
    raise ConfigError(f"unknown engine {name!r}{hint}; known: {', '.join(ENGINES)}, and {RERANK}NAME of any of these.")


def missing(feature: str, error: ModuleNotFoundError) -> Exception:
    """What to install for a feature; an error of another kind (a broken library) stays what it is."""
    library = (error.name or "").partition(".")[0]
    if library in EXTRA_OF:
        return MissingExtraError(feature, EXTRA_OF[library])
    if library in GROUP:
        wanted = GROUP[library]
        return ConfigError(f'{feature} needs {wanted}: pip install {wanted} (dependency group "bench" of pyproject.toml).')
    return error
