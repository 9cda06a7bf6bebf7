"""What an engine implements of a store, and what it may do better; base.Store calls it with checked arguments."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Generator
from typing import Any, ClassVar, NamedTuple, TypeVar

from ..errors import ConfigError
from ..filters import Condition
from ..vectors import SparseVector
from .engines import DENSE_ENGINES
from .entries import Entry, Hit, HybridSearch, ParsedFilter, Refusal

T = TypeVar("T")
LOOKED_THROUGH = 10_000  # documents, read one by one for a field that none of them has


class Ask(NamedTuple):
    """One call of a method below, by its name without "_" or "_a": which of both it is, whoever drives the search decides."""

    method: str
    arguments: tuple[Any, ...]


Asking = Generator[Ask, Any, T]  # a search, written once for both


def no_dense_vectors(engine: str) -> ConfigError:
    """What a hybrid search in such an engine is."""
    return ConfigError(f"the engine {engine!r} has no dense vectors beside the sparse ones: search without, or use {DENSE_ENGINES}.")


class EngineMethods(ABC):
    """The methods named with an underscore."""

    engine: ClassVar[str]

    # -- what an engine implements -----------------------------------------------------------------------------------

    @abstractmethod
    def _search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> list[Hit]:
        """The hits, best first; without payloads each has an empty one. One of several passages has a place, whichever."""

    @abstractmethod
    def _get(self, doc_ids: list[str]) -> dict[str, Entry]: ...

    @abstractmethod
    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]: ...

    @abstractmethod
    def _count(self, filter: ParsedFilter) -> int: ...

    @abstractmethod
    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        """Up to `size` entries behind the cursor (None: the start), and the cursor behind them (None: that was all)."""

    @abstractmethod
    def _upsert(self, entries: list[Entry]) -> list[Refusal]: ...

    @abstractmethod
    def _delete(self, doc_ids: list[str]) -> int: ...

    @abstractmethod
    def _delete_where(self, filter: ParsedFilter) -> int: ...

    @abstractmethod
    def _close(self) -> None: ...

    # -- what an engine may do better ----------------------------------------------------------------------------------

    def _search_passages(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool, group: bool) -> list[Hit]:
        """The same over documents of which some have several passages; see passages.best_documents()."""
        raise NotImplementedError(f"{type(self).__name__} keeps passages and does not search them")

    async def _asearch_passages(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool, group: bool) -> list[Hit]:
        return await asyncio.to_thread(self._search_passages, query, top_k, filter, with_payload, group)

    async def _asearch(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> list[Hit]:
        return await asyncio.to_thread(self._search, query, top_k, filter, with_payload)

    async def _aget(self, doc_ids: list[str]) -> dict[str, Entry]:
        return await asyncio.to_thread(self._get, doc_ids)

    async def _acount(self, filter: ParsedFilter) -> int:
        return await asyncio.to_thread(self._count, filter)

    def _has_any(self, asked: Condition) -> bool | None:
        """Whether a document passes, for a warning only: True as well where to find out would take long. None: no documents."""
        if not (held := self._count(())):
            return None
        return held > LOOKED_THROUGH or self._count((asked,)) > 0

    async def _ahas_any(self, asked: Condition) -> bool | None:
        return await asyncio.to_thread(self._has_any, asked)

    async def _adelete(self, doc_ids: list[str]) -> int:
        return await asyncio.to_thread(self._delete, doc_ids)

    async def _aupsert(self, entries: list[Entry]) -> list[Refusal]:
        return await asyncio.to_thread(self._upsert, entries)

    async def _asearch_hybrid(self, search: HybridSearch) -> list[Hit]:
        return await asyncio.to_thread(self._search_hybrid, search)

    def _search_hybrid(self, search: HybridSearch) -> list[Hit]:
        raise no_dense_vectors(self.engine)

    # -- called by a search that is written once -----------------------------------------------------------------------

    def _answer(self, asked: Ask) -> Any:
        return getattr(self, f"_{asked.method}")(*asked.arguments)

    async def _aanswer(self, asked: Ask) -> Any:
        return await getattr(self, f"_a{asked.method}")(*asked.arguments)
