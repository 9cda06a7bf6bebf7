"""Batch queries for the stand-ins of Qdrant, which answer single ones: each query of a batch in turn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from qdrant_client import QdrantClient, grpc, models

from tests.support import qdrant_grpc, qdrant_server


@contextmanager
def answering_batches() -> Iterator[None]:
    """Both stand-ins answer batches for the time of the block."""
    single = qdrant_server._points

    def points(server: Any, method: str, name: str, route: str, body: bytes) -> Any:
        if (method, route) != ("POST", "points/query/batch"):
            return single(server, method, name, route, body)
        asked = models.QueryRequestBatch.model_validate_json(body).searches
        return [qdrant_server._query(server, name, each.model_dump_json(exclude_none=True).encode()) for each in asked]

    def query_batch(client: QdrantClient, request: Any) -> Any:
        answers = [qdrant_grpc._query(client, each).result for each in request.query_points]
        return grpc.QueryBatchResponse(result=[grpc.BatchResult(result=answer) for answer in answers])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qdrant_server, "_points", points)
        patch.setitem(qdrant_grpc._POINTS, "QueryBatch", query_batch)
        yield
