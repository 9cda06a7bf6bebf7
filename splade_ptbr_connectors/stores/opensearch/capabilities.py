"""What a server is and has: version, plugins, the largest number of clauses in a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import StoreAccessError, StoreError, StoreUnavailableError
from ..calls import Call, Operation

DEFAULT_MAX_CLAUSES = 1024
NEURAL_SEARCH = "opensearch-neural-search"
CLAUSES = "indices.query.bool.max_clause_count"
NEURAL_SPARSE_SINCE, SPARSE_VECTOR_SINCE = (2, 14), (3, 3)


@dataclass(frozen=True)
class Capabilities:
    """A server as far as it matters to a store.

    Attributes:
        distribution: "opensearch", or what else answers.
        plugins: their names; empty also where these credentials may not list them.
        max_clauses: how many terms a query may have.
    """

    distribution: str
    version: str
    plugins: tuple[str, ...]
    max_clauses: int

    @property
    def neural_sparse(self) -> bool:
        """Whether a query may be written as neural_sparse with ready tokens."""
        return NEURAL_SEARCH in self.plugins and version_tuple(self.version) >= NEURAL_SPARSE_SINCE

    @property
    def sparse_vector(self) -> bool:
        """Whether an index may have a sparse_vector field."""
        return NEURAL_SEARCH in self.plugins and version_tuple(self.version) >= SPARSE_VECTOR_SINCE


def detect() -> Operation[Capabilities]:
    """Ask the server. What these credentials may not see counts as absent, or as the server's default."""
    about = yield Call("info")
    version = about.get("version") or {} if isinstance(about, Mapping) else {}
    plugins = yield from _allowed(Call("cat.plugins", {"format": "json", "h": "component"}))
    limits = yield from _allowed(
        Call("cluster.get_settings", {"include_defaults": True, "flat_settings": True, "filter_path": f"*.{CLAUSES}"})
    )
    return Capabilities(
        str(version.get("distribution", "elasticsearch")), str(version.get("number", "")), plugin_names(plugins), max_clauses(limits)
    )


def _allowed(call: Call) -> Operation[Any]:
    try:
        return (yield call)
    except (StoreAccessError, StoreError) as error:
        if isinstance(error, StoreUnavailableError):
            raise
        return None


def plugin_names(answer: object) -> tuple[str, ...]:
    """Out of the answer to GET /_cat/plugins: a cluster's nodes may each have their own, a plugin counts if one has it."""
    rows = answer if isinstance(answer, list) else []
    return tuple(sorted({str(row["component"]) for row in rows if isinstance(row, Mapping) and "component" in row}))


def max_clauses(answer: object) -> int:
    """Out of the cluster's settings: a transient one wins over a persistent one, that one over the default."""
    settings = answer if isinstance(answer, Mapping) else {}
    for level in ("transient", "persistent", "defaults"):
        value = (settings.get(level) or {}).get(CLAUSES)
        if value is not None and str(value).isdigit():
            return int(value)
    return DEFAULT_MAX_CLAUSES


def version_tuple(version: str) -> tuple[int, ...]:
    """(3, 6, 0) of "3.6.0-SNAPSHOT"; () of something else."""
    numbers = version.partition("-")[0].split(".")
    return tuple(map(int, numbers)) if all(number.isdigit() for number in numbers) else ()
