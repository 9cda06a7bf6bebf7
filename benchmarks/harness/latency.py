"""Latencies of queries as reports have them."""

from __future__ import annotations

import statistics

import numpy as np
from pydantic import BaseModel, ConfigDict


class Latency(BaseModel):
    """Milliseconds of one query at a time on one thread; over the queries, each by its median over the rounds."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: float
    p50: float
    p95: float
    p99: float


def latency(rounds: list[list[float]]) -> Latency:
    """Of seconds per query and round; a later round may have timed fewer queries than the first."""
    medians = [statistics.median(each[query] for each in rounds if query < len(each)) for query in range(len(rounds[0]))]
    milliseconds = np.array(medians) * 1000
    p50, p95, p99 = (float(np.percentile(milliseconds, share)) for share in (50, 95, 99))
    return Latency(mean=float(milliseconds.mean()), p50=p50, p95=p95, p99=p99)
