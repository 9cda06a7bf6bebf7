"""`rerank:NAME`: the first hits of another engine, rescored by a cross-encoder that reads query and document together."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from benchmarks.engines import RERANK, open_engine
from benchmarks.engines.base import Engine, Hits, Query, Settings
from benchmarks.engines.models import load_model
from benchmarks.engines.options import Options
from benchmarks.engines.texts import Texts, check_texts
from benchmarks.workloads.workload import Workload
from splade_ptbr_connectors.errors import ModelFormatError

METHODS = ("predict", "score")  # of sentence-transformers and of LangChain; both take (query, document) pairs


class RerankOptions(Options):
    """depth: hits that are rescored."""

    depth: PositiveInt = 100


class Rerank(Engine):
    """Hits beyond the depth keep their order below the rescored ones; their scores say no more than that order."""

    sparse: ClassVar[bool] = False
    accepted: ClassVar[type[Options]] = RerankOptions
    options: RerankOptions

    def __init__(self, name: str, workload: Workload, home: Path, settings: Settings) -> None:
        super().__init__(name, workload, home, settings)
        self._base = open_engine(name.removeprefix(RERANK), workload, home / "base", settings)
        self._one_at_a_time = threading.Lock()  # tokenizers are not made for threads, and the model uses all cores itself

    def prepare(self) -> None:
        self._base.prepare()

    def build(self) -> None:
        """Raises InputError without texts, ConfigError without a model, and what the other engine raises."""
        check_texts(self.workload, self.name)
        self._model()
        self._base.home.mkdir(exist_ok=True)
        self._base.build()
        Texts.index(self.workload, self.home / "offsets.npy")

    def open(self) -> None:
        self._predict = self._model()
        self._texts = Texts(self.workload, self.home / "offsets.npy")
        self._base.open()

    def search(self, query: Query, top_k: int) -> Hits:
        first = self._base.search(query, max(top_k, self.options.depth))
        depth = min(self.options.depth, len(first.rows))
        scores = self._rescored(query, first.rows[:depth])
        order = np.argsort(-scores, kind="stable")
        below = scores.min(initial=0.0) - np.arange(1, len(first.rows) - depth + 1)
        rows = np.concatenate([first.rows[:depth][order], first.rows[depth:]])
        return Hits(rows[:top_k], np.concatenate([scores[order], below])[:top_k])

    def _rescored(self, query: Query, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        if not len(rows):
            return np.empty(0)
        pairs = [(query.text, self._texts[row]) for row in rows.tolist()]
        with self._one_at_a_time:
            given = self._predict(pairs)
        try:
            scores = np.asarray(given, np.float64)
        except (TypeError, ValueError) as error:
            raise ModelFormatError(f"the reranker did not give numbers ({error}).") from error
        if scores.shape != (len(pairs),) or not np.isfinite(scores).all():
            raise ModelFormatError(f"the reranker gave {scores.shape} scores for {len(pairs)} pairs: one finite number for each is needed.")
        return scores

    def close(self) -> None:
        self._base.close()
        self._texts.close()
        del self._predict

    def query_seconds(self) -> NDArray[np.float64] | None:
        return self._base.query_seconds()

    def remove(self) -> None:
        self._base.remove()

    def processes(self) -> list[int]:
        return self._base.processes()

    def bytes_on_disk(self) -> int | None:
        below = self._base.bytes_on_disk()
        return None if below is None else below + (self.home / "offsets.npy").stat().st_blocks * 512

    def facts(self) -> dict[str, Any]:
        return {"reranker": self.settings.models.get("reranker"), **self.options.model_dump(), "base": self._base.facts()}

    def _model(self) -> Any:
        model = load_model(self.settings.models, "reranker", METHODS)
        return next(method for name in METHODS if callable(method := getattr(model, name, None)))
