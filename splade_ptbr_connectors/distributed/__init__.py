"""Ingestion on many cores or machines: ingest_with_ray() reads, encodes and uploads with Ray Data (extra "ray")."""

from __future__ import annotations

from .ray_engine import check_ready, ingest_with_ray

__all__ = ["check_ready", "ingest_with_ray"]
