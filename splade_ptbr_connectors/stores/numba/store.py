"""NumbaStore: an exact inverted index of this package, compiled by numba, over documents in a SQLite database.

PATH/documents.db (and its -wal and -shm while it is open) is the truth: documents, payloads, vectors and what the store says about
itself. PATH/*.segment are inverted indexes made of it; one that is missing, damaged or another store's is made again. PATH/acknowledged
says how far the database must reach.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ...cores import cores
from ...errors import ConfigError, StoreCorruptError, StoreFormatError, VectorError
from ...filters import Condition
from ...turns import Turns
from ...vectors import SparseVector
from ..base import Entry, Hit, ParsedFilter, Place, Refusal, Store
from ..engines import DENSE_ENGINES
from ..model_stamp import StoreDescription, check_passages, resolve_encoder, store_folder
from ..passages import SOMEWHERE, places_without_spans
from ..predicates import checked
from ..settings import OpenOptions, StoreSettings, read_settings
from . import schema
from .best_passages import best_passages
from .compiled import numba
from .contents import EMPTY, Contents
from .creation import ENGINE, create, is_there
from .database import ADVICE, DATABASE, Connection, Database, translated
from .filters import EarlierSnapshotError, Filters, Passing
from .keys import Hashes, key_hashes
from .merge import Run, runs, write_run
from .postings import WINDOW
from .schema import Change, Registered, State
from .segment import BUILDING, SUFFIX, Segment

if TYPE_CHECKING:
    from ...encoding.protocol import Encoder

logger = logging.getLogger(__name__)
BUFFER_BYTES = 256 * 2**20  # of vectors that no segment holds, before they are merged into one
LEFTOVER_S = 3600.0  # a file that is being built is not touched for so long
_IN_TURN = Turns(max(2, cores()))  # searches: kernels release the interpreter lock; on two cores, one at a time was slower
THREADS = 2  # that read segments when a store is opened


class NumbaSettings(StoreSettings):
    """Settings by name, for open_store(settings=...).

    Attributes:
        read_only: change nothing, and build nothing in the folder; what others write is found as soon as they have written it.
        verify: read the whole database at once; otherwise its pages are verified as they are read. Segments always are.
    """

    read_only: bool = False
    verify: bool = False


def connect(options: OpenOptions) -> NumbaStore:
    """Open or create the store in the folder that the URL names; see open_store()."""
    folder, url = store_folder(options.address, options.url, NumbaStore.engine).absolute(), options.url
    settings = read_settings(NumbaSettings, options.settings)
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(
            f"the folder {str(folder)!r} has a name that is not valid UTF-8, which SQLite does not open: rename it."
        ) from error
    with translated(url, "open"):
        found = is_there(folder, url, create=options.create and not settings.read_only)
    if not found:
        create(folder, options, resolve_encoder(options.encoder, None, url))
    database = Database(folder, url, read_only=settings.read_only)
    try:
        with translated(url, "open"), database.reading() as connection:
            described = StoreDescription.from_mapping(schema.description(connection), where=str(database.path), engine=NumbaStore.engine)
            if settings.verify:
                schema.verify(connection, str(database.path))
        check_passages(options.passages, described.passages, url)
        resolved = resolve_encoder(options.encoder, described.model, url, allow_mismatch=options.allow_mismatch)
        return NumbaStore(url, resolved, database, described, max_batch_documents=options.max_batch_documents, tenant=options.tenant)
    except BaseException:
        database.close()
        raise


class NumbaStore(Store):
    """An exact index in a folder. Any number of threads and processes read while others write, one at a time.

    Score: the float64 sum, in ascending order of terms, of the products of float32 weights. What upsert_vectors() has acknowledged is
    flushed to disk, but for the time of a bulk load (loading()): it survives the death of the process then, and a power cut after
    flush(). Every search sees all that any process has written before.
    """

    engine: ClassVar[str] = ENGINE

    def __init__(
        self,
        url: str,
        encoder: Encoder,
        database: Database,
        description: StoreDescription,
        *,
        max_batch_documents: int = 256,
        tenant: str | None = None,
    ) -> None:
        super().__init__(url, encoder, max_batch_documents=max_batch_documents, tenant=tenant)
        self._database, self._description = database, description
        self._filters = Filters()
        self._refreshing, self._merging = threading.RLock(), threading.RLock()
        self._contents = Contents.of(-1, -1, [], np.empty(0, np.int64), EMPTY)
        with self._snapshot() as (_, contents):
            damaged = not all([segment.written for segment in contents.segments])
        if damaged and not database.read_only:
            self._merge(everything=False)

    @property
    def identity(self) -> str:
        return f"numba:{self._database.store_id}"

    def info(self) -> dict[str, Any]:
        """Engine, version, settings and size."""
        self._check_open()
        with self._filtered(()) as (_, contents, passing):
            return {
                **super().info(),
                "version": str(numba.__version__),
                "documents": len(contents.numbers(passing)),
                "segments": len(contents.segments),
                "bytes": self._database.nbytes,
                "described": True,
                "settings": {},
            }

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """Commits are flushed to disk by flush() and at the end only."""
        self._check_open()
        if self._database.read_only:
            yield
            return
        with self._database.relaxed():
            yield
        if not self._closed:
            self.flush()

    def flush(self) -> None:
        self._check_open()
        if not self._database.read_only:
            with translated(self.url, "flush"):
                self._database.sync()

    def finish_loading(self) -> None:
        self._check_open()
        if not self._database.read_only:
            self._merge(everything=True)
            with translated(self.url, "flush"):
                self._database.checkpoint()

    # -- reading ---------------------------------------------------------------------------------------------------

    @_IN_TURN
    def _search(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool) -> list[Hit]:
        with self._filtered(filter) as (connection, contents, passing):
            several = SOMEWHERE if schema.holds_passages(connection) else None
            found = contents.search(query, top_k, passing)
            best = sorted(zip(found.scores, found.doc_ids, found.numbers, strict=True), key=lambda hit: (-hit[0], hit[1]))[:top_k]
            payloads = schema.payloads(connection, [number for _, _, number in best]) if with_payload and not several else {}
            return [Hit(doc_id, score, payloads.get(number, {}), several) for score, doc_id, number in best]

    @_IN_TURN
    def _search_passages(self, query: SparseVector, top_k: int, filter: ParsedFilter, with_payload: bool, group: bool) -> list[Hit]:
        with self._filtered(filter) as (connection, contents, passing):
            best = best_passages(contents, query, top_k, passing, self._spread if group else None)
            if not with_payload:
                places = places_without_spans([number for _, _, number, _ in best])
                return [Hit(doc_id, -score, {}, places[place]) for score, doc_id, place, _ in best]
            numbers = list({number: None for *_, number in best})
            payloads, spans = schema.payloads(connection, numbers), schema.spans(connection, numbers)
            return [
                Hit(doc_id, -score, payloads[number], Place(place, spans[number]) if number in spans else None)
                for score, doc_id, place, number in best
            ]

    def _get(self, doc_ids: list[str]) -> dict[str, Entry]:
        with self._snapshot() as (connection, contents):
            found = self._found(connection, contents, doc_ids)
            return {entry.doc_id: entry for entry in schema.entries(connection, [number for number, _ in found.values()])}

    def _content_hashes(self, doc_ids: list[str]) -> dict[str, str]:
        with self._snapshot() as (connection, contents):
            found = self._found(connection, contents, doc_ids)
        return {doc_id: content_hash for doc_id, (_, content_hash) in found.items() if content_hash is not None}

    def _count(self, filter: ParsedFilter) -> int:
        with self._filtered(filter) as (_, contents, passing):
            return len(contents.numbers(passing))

    def _scan_page(self, cursor: Any, size: int, with_vectors: bool) -> tuple[list[Entry], Any]:
        with self._snapshot() as (connection, _):
            after, last = (0, schema.read_state(connection).following - 1) if cursor is None else cursor
            entries, end = schema.page(connection, self.tenant, after, last, size, with_vectors)
        return entries, None if end is None else (end, last)

    # -- writing ---------------------------------------------------------------------------------------------------

    def _upsert(self, entries: list[Entry]) -> list[Refusal]:
        dense = next((entry.doc_id for entry in entries if entry.dense is not None), None)
        if dense is not None:
            raise VectorError(f"the dense vector of {dense!r} has nowhere to go: {self.url} keeps sparse ones only; use {DENSE_ENGINES}.")
        last = {entry.doc_id: entry for entry in entries}
        if last:
            hashes = self._hashes(last)
            with self._writing() as (connection, contents):
                before = schema.find(connection, self.tenant, list(last), contents.find(hashes))
                change = schema.replace(connection, self.tenant, list(last.values()), hashes, [number for number, _ in before.values()])
            self._apply(change)
        return []

    def _delete(self, doc_ids: list[str]) -> int:
        with self._writing() as (connection, contents):
            numbers = [number for number, _ in self._found(connection, contents, doc_ids).values()]
            change = schema.delete(connection, numbers)
        self._apply(change)
        return len(numbers)

    def _delete_where(self, filter: ParsedFilter) -> int:
        conditions = checked(filter)
        with self._writing() as (connection, contents):
            numbers = contents.numbers(self._passing(connection, contents, conditions)).tolist()
            change = schema.delete(connection, numbers)
        self._apply(change)
        return len(numbers)

    def _close(self) -> None:
        with translated(self.url, "close"):
            self._database.close()

    # -- how it is done ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[tuple[Connection, Contents]]:
        """The database at one revision, and the contents of that revision."""
        with translated(self.url, "read"), self._database.reading() as connection:
            yield connection, self._synchronised(connection, renew=True)

    @contextlib.contextmanager
    def _filtered(self, filter: ParsedFilter) -> Iterator[tuple[Connection, Contents, Passing | None]]:
        """The same, and who passes a filter (None: everyone)."""
        conditions = checked(filter)
        with self._snapshot() as (connection, contents):
            while True:
                with contextlib.suppress(EarlierSnapshotError):
                    passing = self._passing(connection, contents, conditions)
                    break
                _renewed(connection)
                contents = self._synchronised(connection, renew=True)
            yield connection, contents, passing

    @contextlib.contextmanager
    def _writing(self) -> Iterator[tuple[Connection, Contents]]:
        """The same within a write transaction."""
        with translated(self.url, "write to"), self._database.writing() as connection:
            yield connection, self._synchronised(connection, renew=False)

    def _synchronised(self, connection: Connection, *, renew: bool) -> Contents:
        """The contents as the connection sees the database.

        Args:
            renew: begin the transaction anew where a later revision is known, or files are gone that an earlier one had.
        """
        state = schema.read_state(connection)
        contents = self._contents
        if contents.revision == state.revision:
            return contents
        with self._refreshing:
            while self._contents.revision != state.revision:
                if self._contents.revision < state.revision:
                    refreshed = self._refreshed(connection, state, self._contents)
                    whole = all([segment.written for segment in refreshed.segments])
                    if whole or not renew or (renewed := _renewed(connection)).revision == state.revision:
                        self._contents = refreshed
                        continue
                elif not renew or (renewed := _renewed(connection)).revision <= state.revision:
                    raise StoreCorruptError(f"{self._database.path} was exchanged for an earlier one while the store was open: {ADVICE}.")
                state = renewed
            return self._contents

    def _refreshed(self, connection: Connection, state: State, before: Contents) -> Contents:
        registered = schema.segments(connection)
        if state.indexed == before.indexed and registered == [segment.registered for segment in before.segments]:
            last = int(before.buffer.numbers[-1]) if len(before.buffer) else state.indexed
            ended = schema.deleted_since(connection, before.revision)
            contents = before.changed(Change(state.revision, ended, schema.documents_between(connection, last, state.following)))
        else:
            known = {segment.registered: segment for segment in before.segments}
            self._filters.forget({one.name for one in registered})
            with ThreadPoolExecutor(THREADS) as pool:
                read = list(pool.map(lambda one: known.get(one) or self._read_segment(one), registered))
            segments = [segment or self._rebuilt(connection, one) for one, segment in zip(registered, read, strict=True)]
            buffer = EMPTY.changed(Change(0, np.empty(0, np.int64), schema.documents_between(connection, state.indexed, state.following)))
            contents = Contents.of(state.revision, state.indexed, segments, schema.deleted_since(connection, -1), buffer)
        if len(contents) != state.documents:
            raise StoreCorruptError(f"{self.url} holds {len(contents):,} documents, {state.documents:,} were written: {ADVICE}.")
        return contents

    def _read_segment(self, registered: Registered) -> Segment | None:
        try:
            return Segment.read(self._database.folder, registered, self._database.store_id)
        except (StoreCorruptError, StoreFormatError) as error:
            logger.warning("%s; it is built again from %s", str(error).partition(": ")[0], DATABASE)
            return None

    def _rebuilt(self, connection: Connection, registered: Registered) -> Segment:
        return Segment.rebuilt(registered, schema.documents_between(connection, registered.first, registered.last))

    def _hashes(self, doc_ids: Iterable[str]) -> Hashes:
        return key_hashes((self.tenant or schema.NO_TENANT, doc_id) for doc_id in doc_ids)

    def _found(self, connection: Connection, contents: Contents, doc_ids: list[str]) -> dict[str, tuple[int, str | None]]:
        return schema.find(connection, self.tenant, doc_ids, contents.find(self._hashes(dict.fromkeys(doc_ids))))

    def _passing(self, connection: Connection, contents: Contents, conditions: tuple[Condition, ...]) -> Passing | None:
        following = schema.read_state(connection).following
        return self._filters.passing(connection, contents.revision, following, conditions, self.tenant)

    def _apply(self, change: Change) -> None:
        """Do to the contents what was done to the database, and merge what has become too much to be searched one by one."""
        with self._refreshing:
            if self._contents.revision == change.revision - 1:
                self._contents = self._contents.changed(change)
            buffer = self._contents.buffer
        if len(buffer) >= WINDOW or buffer.nbytes >= BUFFER_BYTES:
            self._merge(everything=False)

    def _merge(self, *, everything: bool) -> None:
        """Write new segments, then register them in place of the old ones; a process that dies in between leaves the old ones."""
        with self._merging, translated(self.url, "merge the index of"):
            done = False
            while not done:
                with self._snapshot() as (connection, contents):
                    state = schema.read_state(connection)
                done = all([self._merge_run(run, state) for run in runs(contents, everything=everything)])
            self._remove_leftovers()

    def _merge_run(self, run: Run, state: State) -> bool:
        """False where another process has merged the same meanwhile."""
        folder, replaced = self._database.folder, run.replaced
        first = replaced[0].first if replaced else state.indexed
        last = state.following - 1 if run.takes_buffer else replaced[-1].last
        new = list[Registered]()
        try:
            for segment in write_run(folder, run, first, last, state.revision, self._database.store_id):
                new.append(segment)
            with self._writing() as (connection, _):
                there = set(schema.segments(connection))
                unchanged = there.issuperset(replaced) and (not run.takes_buffer or schema.read_state(connection).indexed == state.indexed)
                if unchanged:
                    for segment in new:
                        (folder / (segment.name + BUILDING)).replace(folder / segment.name)
                    schema.replace_segments(connection, replaced, new, new[-1].last if new else last, state.revision)
            return unchanged
        finally:
            for segment in new:
                (folder / (segment.name + BUILDING)).unlink(missing_ok=True)

    def _remove_leftovers(self) -> None:
        """Delete segments that belong to the store no more, or never did since a process died before they were registered."""
        with self._writing() as (connection, _):  # so that no process is about to register one
            registered = {segment.name for segment in schema.segments(connection)}
            for path in self._database.folder.iterdir():
                old = path.name.endswith(BUILDING) and time.time() - path.stat().st_mtime > LEFTOVER_S
                if old or (path.name.endswith(SUFFIX) and path.name not in registered):
                    path.unlink(missing_ok=True)


def _renewed(connection: Connection) -> State:
    """Where the database stands now, with the transaction begun anew."""
    connection.execute("COMMIT; BEGIN")
    return schema.read_state(connection)
