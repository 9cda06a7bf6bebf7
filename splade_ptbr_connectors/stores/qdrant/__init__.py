"""`qdrant+http(s)://HOST:6333/COLLECTION`, `qdrant+grpc(s)://HOST:6334/COLLECTION`: a Qdrant server or cluster, by qdrant-client."""

from __future__ import annotations

from ...extras import require

require("qdrant_client", "a store on a Qdrant server")

from .store import QdrantStore, connect  # noqa: E402 (after the check that names what to install)

__all__ = ["QdrantStore", "connect"]
