"""Settings of an OpenSearch store, by name in open_store(settings=...) or in the query part of its URL."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import ConfigError
from ..retrying import RetryPolicy
from ..settings import check_choice
from .features import MAX_NAMES, TERMS_PER_FIELD, FeatureLayout

FIELD_TYPES = ("rank_features", "sparse_vector")
QUERY_FORMS = ("auto", "rank_feature", "neural_sparse")


@dataclass(frozen=True, kw_only=True)
class OpenSearchSettings:
    """How an index is made and how it is talked to.

    Attributes:
        shards, replicas: of a new index; replicas None takes the server's default.
        field_type: of a new index: "rank_features" (exact, every server), or "sparse_vector" (approximate, neural-search
            plugin from 3.3, weights in one byte).
        terms_per_field: of a new rank_features index: over how many fields its terms are split (features.py says why); 0 keeps
            them in one, named by vocabulary id, as query=neural_sparse and other programs want it.
        weight_ceiling: of a new sparse_vector index: documents with a larger weight are refused, it could not be kept.
        heap_factor: sparse_vector: larger is more exact and slower.
        query: "rank_feature" works everywhere, "neural_sparse" needs the neural-search plugin; "auto" looks.
        max_in_flight: how many loads may run at once.
        max_body_bytes: a bulk request is cut at this size.
        timeout_s, load_timeout_s: how long an answer is waited for.
        deadline_s, load_deadline_s: how long a call is tried again.
        read_own_writes: make what this store wrote visible before it reads (a refresh, only when there is something new).
        merge_segments: merge a loaded index down to so many segments; None leaves it to the server.
    """

    shards: int = 1
    replicas: int | None = None
    field_type: str = "rank_features"
    terms_per_field: int = TERMS_PER_FIELD
    weight_ceiling: float = 16.0
    heap_factor: float = 1.0
    query: str = "auto"
    max_in_flight: int = 4
    max_body_bytes: int = 8 * 2**20
    timeout_s: float = 30.0
    load_timeout_s: float = 120.0
    deadline_s: float = 15.0
    load_deadline_s: float = 300.0
    read_own_writes: bool = True
    merge_segments: int | None = None

    def __post_init__(self) -> None:
        check_choice("field_type", self.field_type, FIELD_TYPES)
        check_choice("query", self.query, QUERY_FORMS)
        _check_range("shards", self.shards, 1, 1024)
        _check_range("replicas", self.replicas, 0, 100)
        _check_range("terms_per_field", self.terms_per_field, 0, MAX_NAMES)
        _check_range("max_in_flight", self.max_in_flight, 1, 64)
        _check_range("max_body_bytes", self.max_body_bytes, 1, 2**31 - 1)
        _check_range("merge_segments", self.merge_segments, 1, 10_000)
        for name in ("weight_ceiling", "heap_factor", "timeout_s", "load_timeout_s"):
            value = getattr(self, name)
            if not math.isfinite(value) or value <= 0:
                raise ConfigError(f"store setting {name} is {value!r}: it must be a number above 0.")
        if self.field_type == "sparse_vector" and self.query == "rank_feature":
            raise ConfigError("query is 'rank_feature', which a sparse_vector field does not know: leave it out.")
        self.policy()

    @property
    def layout(self) -> FeatureLayout:
        """How vectors lie in a new index: in one field where only that can be searched as it is asked for."""
        one_field = self.field_type == "sparse_vector" or self.query == "neural_sparse"
        return FeatureLayout(0 if one_field else self.terms_per_field)

    def policy(self) -> RetryPolicy:
        """How calls are tried again. Raises ConfigError for a bad deadline."""
        return RetryPolicy(deadline_s=self.deadline_s, patient_deadline_s=self.load_deadline_s)


def _check_range(name: str, value: int | None, lowest: int, highest: int) -> None:
    if value is not None and not lowest <= value <= highest:
        raise ConfigError(f"store setting {name} is {value!r}: it must be from {lowest:,} to {highest:,}.")
