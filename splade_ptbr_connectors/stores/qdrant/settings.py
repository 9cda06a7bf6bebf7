"""Settings of a Qdrant store: what shapes a collection when it is created, and how this process talks to the server."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import AliasChoices, Field, NonNegativeFloat, model_validator

from ...errors import ConfigError
from ..settings import MAX_DENSE_SIZE, Datatype, Distance, ServerSettings

MAX_VECTOR_NAME_BYTES = 240  # with "vector_storage-" before it the name of a folder
SHAPING = ("vector", "datatype", "on_disk", "layout", "dense_size", "dense_distance", "dense_vector")


class QdrantSettings(ServerSettings):
    """How a collection is made and how it is talked to; see also ServerSettings.

    Attributes:
        vector: name of the sparse vector; None takes the layout's.
        datatype: of the weights in the index: float32, float16 or uint8.
        on_disk: keep the index on disk instead of in memory.
        shards, replication_factor: of the collection; None leaves it to the server.
        layout: whose points these are: "splade" (this package), "langchain" (langchain-qdrant) or "llama-index" (read only).
        dense_size: length of the dense vectors beside the sparse ones, for hybrid search; None: there are none.
        dense_distance: how dense vectors are compared: dot, cosine (the server keeps them at length 1) or euclid.
        dense_vector: name of the dense vector.
        allow_idf: open a collection whose sparse vector has the modifier IDF, which multiplies the weights of every query.
        max_request_bytes: a batch is sent in parts of about this size.
        finish_timeout_s: how long finish_loading() waits for the index.
        rest_port: the port of the REST interface when the store URL is one of gRPC.
    """

    vector: str | None = None
    datatype: Datatype = "float32"
    on_disk: bool = False
    shards: Annotated[int, Field(ge=1, le=10_000)] | None = None
    replication_factor: Annotated[int, Field(ge=1, le=1_000)] | None = None
    layout: Literal["splade", "langchain", "llama-index"] = "splade"
    dense_size: Annotated[int, Field(ge=1, le=MAX_DENSE_SIZE)] | None = None
    dense_distance: Distance = "dot"
    dense_vector: str = "dense"
    allow_idf: bool = False
    max_request_bytes: Annotated[int, Field(ge=1, le=2**31)] = 4 * 2**20
    load_deadline_s: Annotated[float, Field(ge=0, validation_alias=AliasChoices("load_deadline_s", "patient_deadline_s"))] = 300.0
    finish_timeout_s: NonNegativeFloat = 600.0
    rest_port: Annotated[int, Field(ge=1, le=65_535)] = 6333

    @model_validator(mode="after")
    def _usable_names(self) -> Self:
        if self.vector == "" or not self.dense_vector or self.vector == self.dense_vector:
            raise ConfigError(f"vector is {self.vector!r} and dense_vector {self.dense_vector!r}: give two different names.")
        for name in filter(None, (self.vector, self.dense_vector)):
            if len(name.encode(errors="replace")) > MAX_VECTOR_NAME_BYTES:
                raise ConfigError(f"the vector name {name[:40]!r}... is too long: at most {MAX_VECTOR_NAME_BYTES} bytes are accepted.")
        return self

    def shaping(self) -> dict[str, Any]:
        """The settings that a collection is created with and keeps; part of its description."""
        return {name: getattr(self, name) for name in SHAPING if self.dense_size is not None or not name.startswith("dense_")}
