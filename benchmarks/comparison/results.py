"""Results: what a comparison of engines found, as results.json holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from benchmarks.harness.latency import Latency
from splade_ptbr_connectors.atomic import replacing
from splade_ptbr_connectors.errors import InputFileError

TOP_KS = (10, 1000)
THREADS = (1, 2)
MEASURES = ("nDCG@10", "nDCG@20", "RR@10", "R@1000")
FILE = "results.json"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Build(_Part):
    """Making the index from ready vectors (or texts), in a fresh process.

    Attributes:
        bytes_on_disk: None for an index on a server whose disk cannot be seen.
        peak_memory: high-water mark of the process's resident memory, bytes.
    """

    seconds: float
    documents_per_second: float
    bytes_on_disk: int | None
    peak_memory: int


class Agreement(_Part):
    """Shares of the top k, means over the queries; a hit counts as right if its exact score is that of the exact top k's last or better.

    Attributes:
        agreement: of what the engine returned, right by the float32 vectors.
        engine_error: of what the engine returned, wrong even by the weights that it keeps: what its search loses.
        quantisation_loss: of the exact top k by the weights that it keeps, wrong by the float32 vectors: what its rounding loses.
    """

    agreement: float
    engine_error: float
    quantisation_loss: float


class Failure(_Part):
    """Where an engine failed ("build", "round 2", ...), and why, in one line."""

    step: str
    message: str


class EngineResult(_Part):
    """One engine; what could not be measured is None or missing.

    Attributes:
        query_ms: what it took to make a query's vectors of its text, before any search; None: there are none, or it was not measured.
        memory: resident bytes after all queries were answered, a server of its own included, median over the rounds.
        latency_ms, queries_per_second, agreement: by top_k; rates then by number of threads.
        quality: measure -> mean over all judged queries.
    """

    name: str
    facts: dict[str, Any] = {}
    failure: Failure | None = None
    build: Build | None = None
    rounds: int = 0
    query_ms: Latency | None = None
    memory: int | None = None
    latency_ms: dict[int, Latency] = {}
    queries_per_second: dict[int, dict[int, float]] = {}
    quality: dict[str, float] = {}
    agreement: dict[int, Agreement] = {}


class PrunedResult(_Part):
    """The numba index over statically pruned documents. `pruning` is its specification, such as "top_k=64"; "none" is the first."""

    pruning: str
    terms_per_document: float
    bytes_on_disk: int
    latency_ms: dict[int, Latency]
    quality: dict[str, float]
    agreement: dict[int, float]


class WorkloadFacts(_Part):
    """What was searched. `judged_queries` is the denominator of every quality figure."""

    name: str
    model: str
    documents: int
    queries: int
    judged_queries: int
    terms_per_document: float
    terms_per_query: float
    notes: list[str] = []


class Results(_Part):
    """Everything that a report shows."""

    workload: WorkloadFacts
    machine: dict[str, Any]
    engines: list[EngineResult] = []
    pruning: list[PrunedResult] = []

    def write(self, folder: Path) -> None:
        """Write results.json, whole or not at all."""
        with replacing(folder / FILE) as file:
            file.write(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Raises InputFileError: no results there, or of another version."""
        path = folder / FILE
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputFileError(f"{folder} holds no {FILE}: run `python -m benchmarks run --out {folder}` first.") from error
        except ValidationError as error:
            raise InputFileError(f"{path} is not of this version: {error.errors()[0]['msg']}; run the benchmark again.") from error
