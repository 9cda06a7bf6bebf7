"""Settings of an edge store; all of them shape it when it is created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import qdrant_edge as edge
from pydantic import Field

from ...errors import VectorError
from ..settings import MAX_DENSE_SIZE, Datatype, Distance, StoreSettings

VECTOR = "splade"
DENSE = "dense"
DATATYPES = {
    "float32": edge.VectorStorageDatatype.Float32,
    "float16": edge.VectorStorageDatatype.Float16,
    "uint8": edge.VectorStorageDatatype.Uint8,
}
DISTANCES = {"dot": edge.Distance.Dot, "cosine": edge.Distance.Cosine, "euclid": edge.Distance.Euclid}


class EdgeSettings(StoreSettings):
    """Settings by name, for open_store(settings=...).

    Attributes:
        datatype: of the weights in the index once it is optimized: float32, float16 or uint8. Stored vectors stay as they are.
        dense_size: length of the dense vectors beside the sparse ones, for hybrid search; None: there are none.
        dense_distance: how dense vectors are compared: dot, cosine (they are kept at length 1) or euclid.
    """

    datatype: Datatype = "float32"
    dense_size: Annotated[int, Field(ge=1, le=MAX_DENSE_SIZE)] | None = None
    dense_distance: Distance = "dot"

    def to_mapping(self) -> dict[str, Any]:
        """What the store's description keeps."""
        dense = {"dense_size": self.dense_size, "dense_distance": self.dense_distance} if self.dense_size is not None else {}
        return {"vector": VECTOR, "datatype": self.datatype, **dense}

    def config(self) -> Any:
        """The engine's configuration of a new shard."""
        sparse = edge.EdgeSparseVectorParams(datatype=DATATYPES[self.datatype])
        dense = None
        if self.dense_size is not None:
            dense = {DENSE: edge.EdgeVectorParams(size=self.dense_size, distance=DISTANCES[self.dense_distance])}
        return edge.EdgeConfig(vectors=dense, sparse_vectors={VECTOR: sparse})

    def check_dense(self, what: str, dense: tuple[float, ...], url: str) -> None:
        """Raise VectorError for a dense vector that the store has no place for; `what` names it."""
        if self.dense_size is None:
            raise VectorError(f"{what} has nowhere to go: {url} was created without dense vectors (setting dense_size).")
        if len(dense) != self.dense_size:
            raise VectorError(f"{what} has {len(dense)} numbers: {url} keeps dense vectors of {self.dense_size}.")


def stored_settings(description: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that an existing store was created with, by name."""
    dense = description.get("dense_size")
    return {
        "datatype": description.get("datatype", "float32"),
        "dense_size": dense,
        **({"dense_distance": description.get("dense_distance", "dot")} if dense is not None else {}),
    }
