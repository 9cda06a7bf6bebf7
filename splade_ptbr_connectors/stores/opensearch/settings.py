"""Settings of an OpenSearch store, by name in open_store(settings=...) or in the query part of its URL."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, PositiveFloat, model_validator

from ...errors import ConfigError
from ..settings import ServerSettings, Timeout
from .wire import MAX_NAMES, TERMS_PER_FIELD, FeatureLayout

RequestBytes = Annotated[int, Field(ge=1, le=2**31 - 1, validation_alias=AliasChoices("max_request_bytes", "max_body_bytes"))]


class OpenSearchSettings(ServerSettings):
    """How an index is made and how it is talked to; see also ServerSettings.

    Attributes:
        shards, replicas: of a new index; replicas None takes the server's default.
        field_type: of a new index: "rank_features" (exact, every server), or "sparse_vector" (approximate, neural-search
            plugin from 3.3, weights in one byte).
        terms_per_field: of a new rank_features index: over how many fields its terms are split (wire.py says why); 0 keeps
            them in one, named by vocabulary id, as query=neural_sparse and other programs want it.
        weight_ceiling: of a new sparse_vector index: documents with a larger weight are refused, it could not be kept.
        heap_factor: sparse_vector: larger is more exact and slower.
        query: "rank_feature" works everywhere, "neural_sparse" needs the neural-search plugin; "auto" looks.
        max_request_bytes: a bulk request is cut at this size.
        load_timeout_s: seconds for the answer to a request of a bulk load.
        read_own_writes: make what this store wrote visible before it reads (a refresh, only when there is something new).
        merge_segments: merge a loaded index down to so many segments; None leaves it to the server.
    """

    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    replicas: Annotated[int, Field(ge=0, le=100)] | None = None
    field_type: Literal["rank_features", "sparse_vector"] = "rank_features"
    terms_per_field: Annotated[int, Field(ge=0, le=MAX_NAMES)] = TERMS_PER_FIELD
    weight_ceiling: PositiveFloat = 16.0
    heap_factor: PositiveFloat = 1.0
    query: Literal["auto", "rank_feature", "neural_sparse"] = "auto"
    max_request_bytes: Annotated[int, Field(ge=1, le=2**31 - 1, validation_alias=AliasChoices("max_request_bytes", "max_body_bytes"))] = (
        8 * 2**20
    )
    timeout_s: Timeout = 30.0
    load_timeout_s: Timeout = 120.0
    read_own_writes: bool = True
    merge_segments: Annotated[int, Field(ge=1, le=10_000)] | None = None

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.field_type == "sparse_vector" and self.query == "rank_feature":
            raise ConfigError("query is 'rank_feature', which a sparse_vector field does not know: leave it out.")
        return self

    @property
    def layout(self) -> FeatureLayout:
        """How vectors lie in a new index: in one field where only that can be searched as it is asked for."""
        one_field = self.field_type == "sparse_vector" or self.query == "neural_sparse"
        return FeatureLayout(0 if one_field else self.terms_per_field)
