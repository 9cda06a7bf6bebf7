"""NumbaStore: an exact inverted index of this package, compiled by numba, in a folder.

PATH/splade-store.json is the sidecar, PATH/manifest.json names the parts (.window, .documents, .dead) and the log, PATH/lock is
held by the one process that writes.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from ...errors import StoreCorruptError, StoreWriteError, VectorError
from ...filters import Condition
from ...vectors import SparseBatch, SparseVector
from ..base import Entry, Hit, Refusal, Store
from ..binding import ModelStamp, resolve_encoder
from ..description import StoreDescription
from ..options import OpenOptions
from ..settings import read_settings
from ..sidecar import find_store, store_folder, write_sidecar
from .building import WINDOW
from .compiled import numba
from .contents import Contents, Part, merged
from .documents import Document, Key, payload_text
from .folder import Lock, Manifest, remove_leftovers, translated
from .log import Log, Operation, replay
from .matching import checked
from .searcher import Searcher
from .tail import Tail

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

T = TypeVar("T")
LOG_BYTES = 512 * 2**20  # of a log before it is merged, so that memory stays bounded when payloads are long
RESERVE_BYTES = 32 * 2**20  # left free on the medium


@dataclass(frozen=True, kw_only=True)
class NumbaSettings:
    """Settings by name, for open_store(settings=...).

    Attributes:
        read_only: open without the lock, to search while another process writes; shows what was there when it was opened.
        verify: read everything once and compare checksums; otherwise heads, sizes, offsets and the log are checked.
    """

    read_only: bool = False
    verify: bool = False


def connect(address: str, options: OpenOptions) -> NumbaStore:
    """Open or create the store in the folder `address`; see open_store()."""
    folder, url = store_folder(address, options.url, NumbaStore.engine), options.url
    settings = read_settings(NumbaSettings, options.settings)
    with translated(url, "open"):
        found = find_store(folder, url, NumbaStore.engine, create=options.create and not settings.read_only)
    resolved = resolve_encoder(options.encoder, found.model if found else None, url, allow_mismatch=options.allow_mismatch)
    with translated(url, "open"):
        if found is None:
            found = StoreDescription(NumbaStore.engine, ModelStamp.of(resolved), {})
            folder.mkdir(parents=True, exist_ok=True)
            write_sidecar(folder, found)
        return NumbaStore(url, resolved, folder, found, settings, batch_size=options.batch_size, tenant=options.tenant)


class NumbaStore(Store):
    """An exact index in a folder; one process writes at a time, any number of threads.

    Score: the float64 sum, in ascending order of terms, of the products of float32 weights. What upsert_vectors() has
    acknowledged survives the death of the process; flush() puts it on the medium as well.
    """

    engine: ClassVar[str] = "numba"

    def __init__(
        self,
        url: str,
        encoder: Encoder,
        folder: Path,
        description: StoreDescription,
        settings: NumbaSettings,
        *,
        batch_size: int = 256,
        tenant: str | None = None,
    ) -> None:
        super().__init__(url, encoder, batch_size=batch_size, tenant=tenant)
        self._folder = folder
        self._description: StoreDescription = description
        self._writing = threading.RLock()
        self._merged: Searcher | None = None  # of all rows of the parts, dead ones too
        self._searcher: Searcher | None = None  # of the living ones
        self._log: Log | None = None
        self._lock = None if settings.read_only else Lock(folder, url)
        try:
            self._read(settings.verify)
        except BaseException:
            self._close()
            raise

    @property
    def identity(self) -> str:
        return f"numba:{self._description.store_id}"

    def info(self) -> dict[str, Any]:
        """Engine, version, settings and size."""
        self._check_open()
        return {
            **super().info(),
            "version": str(numba.__version__),
            "documents": self._count(None),
            "segments": len(self._contents.parts),
            "bytes": sum(file.stat().st_size for file in self._folder.iterdir()),
            "described": True,
            "settings": {},
        }

    def flush(self) -> None:
        self._check_open()
        with self._writing, translated(self.url, "flush"):
            if self._log is not None:
                self._log.sync()

    def finish_loading(self) -> None:
        self._check_open()
        if self._lock is not None:
            self._merge(everything=True)

    # -- reading ---------------------------------------------------------------------------------------------------

    def _search(self, query: SparseVector, top_k: int, filter: tuple[Condition, ...] | Any | None, with_payload: bool) -> list[Hit]:
        conditions = checked(filter)
        with self._writing:
            contents, searcher = self._contents, self._searcher_for(conditions)
            in_tail = contents.tail.scores(query) if len(contents.tail) else np.zeros(0)
            if conditions or self.tenant is not None:
                in_tail = in_tail * contents.tail_passing(conditions, self.tenant)
            parts, tail = list(contents.parts), contents.tail
        rows, scores = searcher.search(query, top_k)
        hits = np.flatnonzero(in_tail)
        every, numbers = np.concatenate([scores, in_tail[hits]]), np.concatenate([rows, len(searcher) + hits])
        if len(every) > top_k:
            kept = every >= np.partition(every, len(every) - top_k)[len(every) - top_k]
            every, numbers = every[kept], numbers[kept]
        return _ranked(every, numbers, top_k, [*parts, tail], searcher, with_payload)

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        with self._writing:
            found = self._contents.find(self._keys(doc_ids))
        return {entry.doc_id: entry for source, rows in _by_source(found) for entry in _entries(source, rows)}

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        with self._writing:
            found = self._contents.find(self._keys(doc_ids))
        heads = _looked_up(list(found.values()), _heads)
        return {doc_id: content_hash for (_, doc_id), content_hash in heads if content_hash is not None}

    def _count(self, filter: tuple[Condition, ...] | Any | None) -> int:
        conditions = checked(filter)
        with self._writing:
            masks = [part.passing(conditions, self.tenant) for part in self._contents.parts]
            sizes = [len(part.window) if mask is None else int(mask.sum()) for part, mask in zip(self._contents.parts, masks, strict=True)]
            return sum(sizes) + int(self._contents.tail_passing(conditions, self.tenant).sum())

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        places = self._places(()) if cursor is None else cursor
        page, rest = places[:size], places[size:]
        if with_vectors:
            entries = [entry for source, rows in _by_source(dict(enumerate(page))) for entry in _entries(source, rows)]
        else:
            heads = _looked_up(page, _heads)
            entries = [Entry(doc_id, SparseVector([], []), {}, content_hash) for (_, doc_id), content_hash in heads]
        return entries, rest or None

    # -- writing ---------------------------------------------------------------------------------------------------

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        dense = next((entry.doc_id for entry in entries if entry.dense is not None), None)
        if dense is not None:
            raise VectorError(f"the dense vector of {dense!r} has nowhere to go: {self.url} keeps sparse ones only; use edge or qdrant.")
        last = {entry.doc_id: entry for entry in entries}
        documents = [Document((self.tenant, e.doc_id), payload_text(e.payload), e.content_hash) for e in last.values()]
        if documents:
            self._write((documents, SparseBatch.from_vectors(e.vector for e in last.values())))
        return []

    def _delete(self, doc_ids: list[str]) -> int:
        with self._writing:
            return self._delete_keys(list(self._contents.find(self._keys(doc_ids))))

    def _delete_where(self, filter: tuple[Condition, ...] | Any) -> int:
        with self._writing:
            return self._delete_keys([key for key, _ in _looked_up(self._places(checked(filter)), _heads)])

    def _delete_keys(self, keys: list[Key]) -> int:
        return self._write(keys) if keys else 0

    def _close(self) -> None:
        with self._writing, translated(self.url, "close"):
            if self._log is not None:
                self._log.sync()
                self._log.close()
            if self._lock is not None:
                self._lock.release()

    # -- how it is done ----------------------------------------------------------------------------------------------

    def _read(self, verify: bool) -> None:
        manifest = Manifest.read(self._folder)
        while True:
            self._manifest = Manifest(log="log-000000") if manifest is None else manifest
            try:
                end = self._read_files(verify)
                break
            except StoreCorruptError:
                before, manifest = manifest, Manifest.read(self._folder)
                if self._lock is not None or manifest == before:
                    raise  # else the writer has merged meanwhile, and the files are others now
        if self._lock is not None:
            if manifest is None:
                self._manifest.write(self._folder)
            remove_leftovers(self._folder, self._manifest)
            self._log = Log(self._folder / self._manifest.log)
            self._log.cut(end)

    def _read_files(self, verify: bool) -> int:
        """Map the parts and replay the log; returns where its last whole record ends."""
        self._contents = Contents([Part.read(self._folder, name, dead, verify=verify) for name, dead in self._manifest.parts])
        path, end = self._folder / self._manifest.log, 0
        if not path.exists():
            if self._manifest.parts:
                raise StoreCorruptError(f"{path} is missing: restore the folder from a backup, or ingest into a new one.")
            return 0
        for operation, following in replay(path):
            self._contents.apply(operation)
            end = following
        return end

    def _write(self, operation: Operation) -> int:
        with self._writing, translated(self.url, "write"):
            if self._log is None:
                raise StoreWriteError(f"the store {self.url} is open for reading only: open it without the setting read_only.")
            self._check_space()
            self._log.append(operation)
            gone = self._contents.apply(operation)
            self._searcher = None
            if len(self._contents.tail) >= WINDOW or self._log.size >= LOG_BYTES:
                self._merge(everything=False)
        return gone

    def _check_space(self) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < RESERVE_BYTES:
            raise StoreWriteError(
                f"only {free / 2**20:,.0f} MiB are free at {self._folder}, {RESERVE_BYTES / 2**20:,.0f} MiB are kept in reserve: "
                "free some space and run it again, what was acknowledged is kept."
            )

    def _merge(self, *, everything: bool) -> None:
        """New files, then the manifest, then away with the old ones: a process that dies in between leaves one index or the other."""
        with self._writing, translated(self.url, "merge"):
            manifest = merged(self._folder, self._manifest, self._contents, exact=True, everything=everything)
            if manifest == self._manifest and not (self._log and self._log.size):
                return
            manifest = replace(manifest, log=f"log-{manifest.following:06}", following=manifest.following + 1)
            log = Log(self._folder / manifest.log)
            try:
                log.sync()
                manifest.write(self._folder)
            except OSError:
                log.close()
                raise
            old, self._log, self._manifest = self._log, log, manifest
            self._contents = Contents([Part.read(self._folder, name, dead) for name, dead in manifest.parts])
            self._merged = self._searcher = None
            if old is not None:
                old.close()
            remove_leftovers(self._folder, manifest)

    def _searcher_for(self, conditions: tuple[Condition, ...]) -> Searcher:
        parts, everyone = self._contents.parts, not conditions and self.tenant is None
        if everyone and self._searcher is not None:
            return self._searcher
        if self._merged is None:
            self._merged = Searcher([part.window for part in parts])
        searcher = self._merged.narrowed([part.passing(conditions, self.tenant) for part in parts])
        if everyone:
            self._searcher = searcher
        return searcher

    def _places(self, conditions: tuple[Condition, ...]) -> list[tuple[Part | Tail, int]]:
        """Where the passing documents are."""
        places: list[tuple[Part | Tail, int]] = []
        with self._writing:
            for part in self._contents.parts:
                mask = part.passing(conditions, self.tenant)
                rows = range(len(part.window)) if mask is None else np.flatnonzero(mask).tolist()
                places += [(part, row) for row in rows]
            passing = np.flatnonzero(self._contents.tail_passing(conditions, self.tenant)).tolist()
            return places + [(self._contents.tail, row) for row in passing]

    def _keys(self, doc_ids: list[str]) -> list[Key]:
        return [(self.tenant, doc_id) for doc_id in dict.fromkeys(doc_ids)]


def _ranked(scores: Any, numbers: Any, top_k: int, sources: list[Part | Tail], searcher: Searcher, with_payload: bool) -> list[Hit]:
    """The hits in the order of the contract, those tied with the last one cut by document id."""
    which = np.searchsorted(searcher.bases, numbers, "right") - 1
    places = [(sources[w], int(number - searcher.bases[w])) for w, number in zip(which.tolist(), numbers.tolist(), strict=True)]
    ids = [doc_id for (_, doc_id), _ in _looked_up(places, _heads)]
    best = sorted(range(len(places)), key=lambda n: (-scores[n], ids[n]))[:top_k]
    payloads = _looked_up([places[n] for n in best], _payloads) if with_payload else [{} for _ in best]
    return [Hit(ids[n], float(scores[n]), payload) for n, payload in zip(best, payloads, strict=True)]


def _looked_up(places: Sequence[tuple[Part | Tail, int]], look: Callable[[Part | Tail, list[int]], list[T]]) -> list[T]:
    """What `look` finds at each place, in their order: one call for all places of a source."""
    found: dict[int, T] = {}
    numbers: dict[int, list[int]] = {}
    for n, (source, _) in enumerate(places):
        numbers.setdefault(id(source), []).append(n)
    for same in numbers.values():
        found |= zip(same, look(places[same[0]][0], [places[n][1] for n in same]), strict=True)
    return [found[n] for n in range(len(places))]


def _by_source(found: dict[Any, tuple[Part | Tail, int]]) -> list[tuple[Part | Tail, list[int]]]:
    grouped: dict[int, tuple[Part | Tail, list[int]]] = {}
    for source, row in found.values():
        grouped.setdefault(id(source), (source, []))[1].append(row)
    return list(grouped.values())


def _entries(source: Part | Tail, rows: list[int]) -> list[Entry]:
    wanted = np.array(rows, np.int64)
    batch = source.window.batch(wanted) if isinstance(source, Part) else source.batch()
    vectors = [batch[n] for n in range(len(rows))] if isinstance(source, Part) else [batch[row] for row in rows]
    found = zip(_heads(source, rows), vectors, _payloads(source, rows), strict=True)
    return [Entry(doc_id, vector, payload, content_hash) for ((_, doc_id), content_hash), vector, payload in found]


def _heads(source: Part | Tail, rows: list[int]) -> list[tuple[Key, str | None]]:
    """(key, content hash) of rows."""
    return source.documents.heads(rows) if isinstance(source, Part) else source.heads(rows)


def _payloads(source: Part | Tail, rows: list[int]) -> list[dict[str, Any]]:
    """Payloads of rows."""
    return source.documents.payloads(rows) if isinstance(source, Part) else source.payloads(rows)
