"""Engines as a run meets them: prepared and built by one object, searched by another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from benchmarks.engines import open_engine
from benchmarks.engines.base import Engine, Query, Settings
from benchmarks.workloads.workload import Workload

MODELS = {"dense": "tests.benchmarks.models:make_embeddings", "reranker": "tests.benchmarks.models:Reranker"}


def built(
    name: str, workload: Workload, home: Path, options: Mapping[str, str] | None = None, models: Mapping[str, str] = MODELS
) -> Engine:
    """Open; `home` is made."""
    home.mkdir(parents=True, exist_ok=True)
    settings = Settings({}, options or {}, models)
    building, engine = (open_engine(name, workload, home, settings) for _ in range(2))
    building.prepare()
    building.build()
    engine.open()
    return engine


def queries(workload: Workload) -> list[Query]:
    """Of the workload, in every form."""
    return list(map(Query, workload.query_ids, workload.query_texts, workload.queries))
