"""BM25 over the texts, by bm25s: what learned weights are compared with. Plain words, or Portuguese stems without stop words."""

from __future__ import annotations

import importlib.metadata
from typing import Any, ClassVar

from pydantic import Field
from tqdm import tqdm

from benchmarks.engines.base import Engine, Hits, Query
from benchmarks.engines.options import Options
from benchmarks.engines.texts import check_texts
from splade_ptbr_connectors.evaluation.bm25 import PlainBm25, StemmedBm25


class Bm25Options(Options):
    """k1: saturation of term frequency; b: strength of length normalisation."""

    k1: float = Field(1.2, ge=0)
    b: float = Field(0.75, ge=0, le=1)


class Bm25(Engine):
    r"""Lower-cased \w+ tokens, accents kept."""

    sparse: ClassVar[bool] = False
    kind: ClassVar[type[PlainBm25]] = PlainBm25
    accepted: ClassVar[type[Options]] = Bm25Options
    options: Bm25Options

    def build(self) -> None:
        check_texts(self.workload, self.name)
        texts = tqdm(self.workload.texts(), f"{self.name}: build", len(self.workload.documents), unit=" documents", disable=None)
        index = self.kind((("", text) for text in texts), k1=self.options.k1, b=self.options.b)
        index.save(self.home / "index")

    def open(self) -> None:
        self._index = self.kind.load(self.home / "index")

    def search(self, query: Query, top_k: int) -> Hits:
        return Hits(*self._index.search_rows(query.text, top_k))

    def close(self) -> None:
        del self._index

    def facts(self) -> dict[str, Any]:
        return {"version": importlib.metadata.version("bm25s"), "method": "lucene", **self.options.model_dump()}


class Bm25Stemmed(Bm25):
    """Snowball's stop words taken out, then its Portuguese stemmer."""

    kind: ClassVar[type[PlainBm25]] = StemmedBm25

    def facts(self) -> dict[str, Any]:
        return {**super().facts(), "stemmer": f"PyStemmer {importlib.metadata.version('PyStemmer')}, portuguese"}
