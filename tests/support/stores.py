"""MemoryStore: exact dot products in plain Python, the oracle that retrievers and commands are compared with."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.stores.base import EngineFilter, Entry, Hit, ParsedFilter, Refusal, Store
from splade_ptbr_connectors.stores.predicates import test_of
from splade_ptbr_connectors.vectors import SparseVector


class MemoryStore(Store):
    """Keeps entries in a dict.

    Args:
        together: how many searches block their threads until so many of them are under way.
        max_in_flight: loads that may run at once.

    Attributes:
        most_at_once: largest number of searches that ran at the same time.
        threads: names of the threads that searched.
    """

    engine: ClassVar[str] = "memory"

    def __init__(
        self, encoder: Encoder, *, url: str = "memory:", together: int = 1, max_in_flight: int = 1, max_batch_documents: int = 256
    ) -> None:
        super().__init__(url, encoder, max_batch_documents=max_batch_documents)
        self.max_in_flight = max_in_flight
        self.entries: dict[str, Entry] = {}
        self._meeting = threading.Barrier(together, timeout=60)
        self.most_at_once = self._running = 0
        self.threads: set[str] = set()
        self._lock = threading.Lock()

    def _search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> list[Hit]:
        self._enter()
        try:
            self._meeting.wait()
            scored = [(entry, query.dot(entry.vector)) for entry in self.entries.values() if _holds(entry.payload, filter)]
            hits = [Hit(entry.doc_id, score, entry.payload if with_payload else {}) for entry, score in scored if score > 0]
            return sorted(hits, key=lambda hit: (-hit.score, hit.doc_id))[:top_k]
        finally:
            with self._lock:
                self._running -= 1

    def _enter(self) -> None:
        with self._lock:
            self._running += 1
            self.most_at_once = max(self.most_at_once, self._running)
            self.threads.add(threading.current_thread().name)

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        return {doc_id: self.entries[doc_id] for doc_id in doc_ids if doc_id in self.entries}

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        return {doc_id: entry.content_hash for doc_id, entry in self._get(doc_ids).items() if entry.content_hash}

    def _count(self, filter: ParsedFilter) -> int:
        return sum(_holds(entry.payload, filter) for entry in self.entries.values())

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        start, entries = cursor or 0, list(self.entries.values())
        return entries[start : start + size], start + size if start + size < len(entries) else None

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        with self._lock:
            self.entries.update({entry.doc_id: entry for entry in entries})
        return []

    def _delete_where(self, filter: ParsedFilter) -> int:
        return self._delete([doc_id for doc_id, entry in self.entries.items() if _holds(entry.payload, filter)])

    def _delete(self, doc_ids: list[str]) -> int:
        return sum(self.entries.pop(doc_id, None) is not None for doc_id in doc_ids)

    def _close(self) -> None:
        pass


def _holds(payload: Any, conditions: ParsedFilter) -> bool:
    assert not isinstance(conditions, EngineFilter)
    return test_of(conditions)(payload)
