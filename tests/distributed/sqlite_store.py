"""A store that many processes may use at once: the entries in a SQLite file, searched by plain dot products."""

from __future__ import annotations

import json
import sqlite3
from typing import Any, ClassVar

from splade_ptbr_connectors.encoding.protocol import Encoder
from splade_ptbr_connectors.errors import StoreUnavailableError
from splade_ptbr_connectors.stores import ENGINES, Engine
from splade_ptbr_connectors.stores.base import Entry, Hit, Refusal, Store
from splade_ptbr_connectors.stores.model_stamp import resolve_encoder
from splade_ptbr_connectors.stores.settings import OpenOptions
from splade_ptbr_connectors.vectors import SparseVector

TABLES = """
CREATE TABLE IF NOT EXISTS entries (doc_id TEXT PRIMARY KEY, vector TEXT, payload TEXT, content_hash TEXT, writes INTEGER DEFAULT 1);
CREATE TABLE IF NOT EXISTS log (pid INTEGER, documents INTEGER);
"""


def register() -> None:
    """Make the scheme known; runs in every worker as well (worker_process_setup_hook)."""
    ENGINES["sqlite"] = Engine("tests.distributed.sqlite_store", "sqlite:FILE")


def connect(options: OpenOptions) -> SqliteStore:
    return SqliteStore(options.url, resolve_encoder(options.encoder, None, options.url), options.address)


class SqliteStore(Store):
    """Refuses documents whose text holds "recusado"; fails altogether on one that holds "derruba"."""

    engine: ClassVar[str] = "sqlite"

    def __init__(self, url: str, encoder: Encoder, path: str) -> None:
        super().__init__(url, encoder)
        self._database = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._database.executescript(TABLES)

    def writers(self) -> set[int]:
        return {pid for (pid,) in self._database.execute("SELECT DISTINCT pid FROM log")}

    def writes(self) -> dict[str, int]:
        return dict(self._database.execute("SELECT doc_id, writes FROM entries"))

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        import os

        texts = [entry.payload.get("text", "") for entry in entries]
        if any("derruba" in text for text in texts):
            raise StoreUnavailableError("the store went away.")
        taken = [entry for entry, text in zip(entries, texts, strict=True) if "recusado" not in text]
        rows = [(e.doc_id, json.dumps(e.vector.to_dict()), json.dumps(e.payload), e.content_hash) for e in taken]
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            self._database.executemany(
                "INSERT INTO entries (doc_id, vector, payload, content_hash) VALUES (?, ?, ?, ?) ON CONFLICT (doc_id) DO UPDATE SET "
                "vector = excluded.vector, payload = excluded.payload, content_hash = excluded.content_hash, writes = writes + 1",
                rows,
            )
            self._database.execute("INSERT INTO log VALUES (?, ?)", (os.getpid(), len(rows)))
        return [Refusal(entry.doc_id, "the engine does not like it.") for entry in entries if entry not in taken]

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        return {entry.doc_id: entry for entry in self._all() if entry.doc_id in set(doc_ids)}

    def _all(self) -> list[Entry]:
        rows = self._database.execute("SELECT doc_id, vector, payload, content_hash FROM entries")
        return [Entry(i, SparseVector.from_opensearch(json.loads(v)), json.loads(p), h) for i, v, p, h in rows]

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        rows = self._database.execute("SELECT doc_id, content_hash FROM entries WHERE content_hash IS NOT NULL")
        wanted = set(doc_ids)
        return {doc_id: content_hash for doc_id, content_hash in rows if doc_id in wanted}

    def _count(self, filter: Any) -> int:
        [(count,)] = self._database.execute("SELECT count(*) FROM entries")
        return int(count)

    def _search(self, query: SparseVector, top_k: int, filter: Any, with_payload: bool) -> list[Hit]:
        scored = [Hit(entry.doc_id, query.dot(entry.vector), entry.payload if with_payload else {}) for entry in self._all()]
        return sorted((hit for hit in scored if hit.score > 0), key=lambda hit: (-hit.score, hit.doc_id))[:top_k]

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        return self._all(), None

    def _delete(self, doc_ids: list[str]) -> int:
        return sum(self._database.execute("DELETE FROM entries WHERE doc_id = ?", (doc_id,)).rowcount for doc_id in doc_ids)

    def _delete_where(self, filter: Any) -> int:
        raise NotImplementedError

    def _close(self) -> None:
        self._database.close()
