"""Settings of a Qdrant store: what shapes a collection when it is created, and how this process talks to the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import ConfigError
from ..retrying import RetryPolicy
from ..settings import check_choice, check_count

DATATYPES = ("float32", "float16", "uint8")
DISTANCES = ("dot", "cosine", "euclid")
LAYOUTS = ("splade", "langchain", "llama-index")
MAX_DENSE_SIZE = 65_536
MAX_VECTOR_NAME_BYTES = 240  # with "vector_storage-" before it the name of a folder
SHAPING = ("vector", "datatype", "on_disk", "layout", "dense_size", "dense_distance", "dense_vector")


@dataclass(frozen=True, kw_only=True)
class QdrantSettings:
    """Settings by name, for open_store(settings=...) or the query part of the URL.

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
        max_in_flight: how many loads may run at once.
        max_request_bytes: a batch is sent in parts of about this size.
        timeout_s: seconds for one request.
        deadline_s, patient_deadline_s: how long a call, and a call of a bulk load, is tried again (retrying.py).
        finish_timeout_s: how long finish_loading() waits for the index.
        rest_port: the port of the REST interface when the store URL is one of gRPC.
    """

    vector: str | None = None
    datatype: str = "float32"
    on_disk: bool = False
    shards: int | None = None
    replication_factor: int | None = None
    layout: str = "splade"
    dense_size: int | None = None
    dense_distance: str = "dot"
    dense_vector: str = "dense"
    allow_idf: bool = False
    max_in_flight: int = 4
    max_request_bytes: int = 4 * 2**20
    timeout_s: float = 60.0
    deadline_s: float = 15.0
    patient_deadline_s: float = 300.0
    finish_timeout_s: float = 600.0
    rest_port: int = 6333

    def __post_init__(self) -> None:
        for name, accepted in (("datatype", DATATYPES), ("dense_distance", DISTANCES), ("layout", LAYOUTS)):
            check_choice(name, getattr(self, name), accepted)
        for name, largest in (("shards", 10_000), ("replication_factor", 1_000), ("max_in_flight", 256), ("rest_port", 65_535)):
            check_count(name, getattr(self, name), largest)
        check_count("max_request_bytes", self.max_request_bytes, 2**31)
        check_count("dense_size", self.dense_size, MAX_DENSE_SIZE)
        if not 0 < self.timeout_s < 86_400 or not 0 <= self.finish_timeout_s < float("inf"):
            raise ConfigError(f"timeout_s is {self.timeout_s!r}, finish_timeout_s {self.finish_timeout_s!r}: give seconds above 0.")
        if self.vector == "" or not self.dense_vector or self.vector == self.dense_vector:
            raise ConfigError(f"vector is {self.vector!r} and dense_vector {self.dense_vector!r}: give two different names.")
        for name in filter(None, (self.vector, self.dense_vector)):
            if len(name.encode(errors="replace")) > MAX_VECTOR_NAME_BYTES:
                raise ConfigError(f"the vector name {name[:40]!r}... is too long: at most {MAX_VECTOR_NAME_BYTES} bytes are accepted.")
        self.policy()

    def policy(self) -> RetryPolicy:
        """How long a call is tried."""
        return RetryPolicy(deadline_s=self.deadline_s, patient_deadline_s=self.patient_deadline_s)

    def shaping(self) -> dict[str, Any]:
        """The settings that a collection is created with and keeps; part of its description."""
        return {name: getattr(self, name) for name in SHAPING if self.dense_size is not None or not name.startswith("dense_")}
