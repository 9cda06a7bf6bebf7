"""qdrant-edge by itself: a shard with one sparse vector, rows as ids, no payloads, its index built."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence
from typing import Any

import qdrant_edge as edge

from benchmarks.engines.base import NO_HITS, Engine, Hits, Query
from benchmarks.engines.slices import numbered
from splade_ptbr_connectors.stores.edge.engine import translated
from splade_ptbr_connectors.vectors import SparseVector

VECTOR = "sparse"
BATCH = 1000


class Edge(Engine):
    """One shard, its calls in turn: the engine (0.9) holds the interpreter lock, so that threads would only cost."""

    _shard: Any = None

    def build(self) -> None:
        with translated(self.name, "build"):
            config = edge.EdgeConfig(sparse_vectors={VECTOR: edge.EdgeSparseVectorParams()})
            shard = edge.EdgeShard.create(str(self.home / "shard"), config)
            for rows in numbered(self.workload.documents, BATCH, f"{self.name}: build"):
                points = [edge.Point(row, {VECTOR: _vector(vector)}) for row, vector in rows]
                shard.update(edge.UpdateOperation.upsert_points(points))
            shard.optimize()
            shard.flush()
            shard.close()

    def open(self) -> None:
        with translated(self.name, "open"):
            self._shard = edge.EdgeShard.load(str(self.home / "shard"))

    def search(self, query: Query, top_k: int) -> Hits:
        if not len(query.vector):
            return NO_HITS
        nearest = edge.Query.Nearest(_vector(query.vector), using=VECTOR)
        points = self._shard.query(edge.QueryRequest(top_k, query=nearest, with_payload=False, with_vector=False))
        return Hits.of([point.id for point in points], [point.score for point in points])

    def search_batch(self, queries: Sequence[Query], top_k: int, threads: int) -> list[Hits]:
        return [self.search(query, top_k) for query in queries]

    def close(self) -> None:
        shard, self._shard = self._shard, None
        shard.close()

    def facts(self) -> dict[str, Any]:
        return {"version": importlib.metadata.version("qdrant-edge-py"), "index": "default"}


def _vector(vector: SparseVector) -> Any:
    return edge.SparseVector(vector.term_ids.tolist(), vector.weights.tolist())
