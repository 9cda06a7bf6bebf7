"""The database of a store: one SQLite file, which transactions, checks and processes go through.

Every page carries a checksum that SQLite verifies whenever it reads the page (its extension cksumvfs, which comes with apsw; the
standard library's sqlite3 has none). The log beside the file ends, for SQLite, at its first damaged record; so that nothing that was
acknowledged is lost there in silence, a small file says up to which revision the database must reach.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import struct
import threading
import weakref
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...errors import SpladeConnectorsError, StoreClosedError, StoreCorruptError, StoreFormatError, StoreLockedError, StoreWriteError
from ...extras import require
from .schema import APPLICATION_ID, FORMAT_VERSION, SCHEMA, WITH_PASSAGES, read_state

logger = logging.getLogger(__name__)
apsw: Any = require("apsw", "the store numba:PATH")
Connection = Any  # apsw.Connection, which has no type where apsw is not installed

DATABASE, ACKNOWLEDGED = "documents.db", "acknowledged"
CHECKSUM_BYTES = 8  # reserved at the end of every page: what cksumvfs looks for
PAGE_BYTES = 4096
LOG_PAGES = 16384  # of the write-ahead log before SQLite copies it into the database
CACHE_KIB = 8 * 1024  # of each connection, and there is one for each search at the same time
PATIENCE_S = 60.0  # for another process that writes
ADVICE = "restore it from a backup, or ingest into a new folder"
_NOTE = struct.Struct("<16sQ")
_CORRUPT = ("CORRUPT", "NOTADB", "FORMAT", "IOERR_DATA", "IOERR_CORRUPTFS", "IOERR_SHORT_READ", "READONLY_DBMOVED")
_FOREIGN_JOURNAL = ("READONLY_ROLLBACK",)
_NOT_WRITABLE = ("CANTOPEN", "READONLY", "PERM")
_BUSY = ("BUSY", "LOCKED", "PROTOCOL")
_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[Any] = []  # connections of the process that this one was forked from: to close them here would release its locks


class Database:
    """Connections to one database. Any number of threads read at once, each in a snapshot of its own; one at a time writes."""

    def __init__(self, folder: Path, url: str, *, read_only: bool) -> None:
        """Open what create() made. Raises StoreCorruptError, StoreFormatError, StoreLockedError and StoreWriteError."""
        self.folder, self.url, self.read_only = folder, url, read_only
        self.path = folder / DATABASE
        self._process, self._file = os.getpid(), _identity(self.path)
        _check_not_inherited(self._file, url)
        self._idle: list[tuple[object, Connection]] = []
        self._closed = False
        self._writing = threading.RLock()
        self._writer: Connection | None = None
        self._loads: weakref.WeakSet[_Load] = weakref.WeakSet()
        _open_databases.add(self)
        try:
            with translated(url, "open"):
                note = self._note()  # before the snapshot, which would lack what another process writes and acknowledges meanwhile
                with self.reading() as connection:
                    self.store_id = _checked(connection, self.path)
                    self._check_acknowledged(note, read_state(connection).revision)
        except BaseException:
            self.close()
            raise

    @staticmethod
    def create(folder: Path, url: str, description: str, store_id: str) -> None:
        """Make an empty database, unless there is one already. Raises StoreWriteError and StoreLockedError."""
        with translated(url, "create"), contextlib.closing(_connected(folder / DATABASE, create=True)) as connection:
            connection.reserve_bytes(reserve=CHECKSUM_BYTES)
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            if not connection.execute("SELECT count(*) FROM sqlite_schema").get:
                connection.execute(SCHEMA)
                connection.execute(
                    "INSERT INTO state (description, store_id, revision, documents, following, indexed) VALUES (?, ?, 0, 0, 1, 0)",
                    (description, store_id),
                )
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION}")
            connection.execute("COMMIT")
            acknowledge(folder, connection.execute("SELECT store_id FROM state").get, 0)

    @staticmethod
    def is_empty(folder: Path) -> bool:
        """Whether create() was interrupted, or the file was emptied. Raises apsw's errors."""
        path = folder / DATABASE
        if path.with_name(f"{DATABASE}-journal").exists() and not (folder / ACKNOWLEDGED).exists():
            return True  # the process died while it made the file, before there was a write-ahead log; create() undoes that
        immutable = not os.access(folder, os.W_OK) and not path.with_name(f"{DATABASE}-wal").exists()
        with contextlib.closing(_connected(path, read_only=True, immutable=immutable)) as connection:
            return not connection.execute("SELECT count(*) FROM sqlite_schema").get

    @contextlib.contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection within a read transaction: the database as it is at the first statement, whatever is written meanwhile."""
        self._check_place()
        unlocked = self._unlocked_state()
        connection = self._taken(unlocked)
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            _end(connection)
            self._idle.append((unlocked, connection))
            if self._closed:
                self.close()

    @contextlib.contextmanager
    def writing(self, *, flushed: bool = False) -> Iterator[Connection]:
        """A connection within a write transaction, which is committed when the block ends well, and rolled back otherwise.

        Args:
            flushed: flush it to disk, and all before it, in a bulk load too.
        """
        if self.read_only:
            raise StoreWriteError(f"the store {self.url} is open for reading only: open it without the setting read_only.")
        with self._writing:
            self._check_place()
            _check_sole_name(self.path)
            writer = self._writer = self._writer or _connected(self.path)
            _end(writer)  # where an interrupt came into the end of the last one
            flushed = flushed or not self._loads
            writer.execute(f"PRAGMA synchronous = {'FULL' if flushed else 'NORMAL'}")
            try:
                writer.execute("BEGIN IMMEDIATE")
                yield writer
                revision = read_state(writer).revision
                writer.execute("COMMIT")
            except (apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError):
                self._writer = None  # it keeps a log that it could not open well, for lack of handles say
                raise
            finally:
                _end(writer)
            if flushed:
                acknowledge(self.folder, self.store_id, revision)

    @contextlib.contextmanager
    def relaxed(self) -> Iterator[None]:
        """For a bulk load: commits survive the death of the process at once, and a power cut from the next sync() on."""
        load = _Load()
        self._loads.add(load)
        try:
            yield
        finally:
            self._loads.discard(load)

    def sync(self) -> None:
        """Flush all commits to disk."""
        with self.writing(flushed=True) as connection:
            connection.execute("UPDATE state SET revision = revision")  # a commit that is flushed flushes all before it

    def checkpoint(self) -> None:
        """Copy the write-ahead log into the database, as far as other processes that read let it."""
        with self._writing:
            self._check_place()
            self._writer = self._writer or _connected(self.path)
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Close every connection that is not in use, after a write that is going on; the others close when they are given back."""
        if os.getpid() != self._process:
            return
        self._closed = True
        with self._writing:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.close()
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread was faster
                self._idle.pop()[1].close()

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        size = 0
        for file in self.folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # a merge takes files away
                size += file.stat().st_size
        return size

    def _taken(self, unlocked: object) -> Connection:
        """An idle connection that was opened on the database in this state, or a new one."""
        while True:
            try:
                opened_on, connection = self._idle.pop()
            except IndexError:
                return _connected(self.path, read_only=self.read_only, immutable=unlocked is not None)
            if opened_on == unlocked:
                return connection
            connection.close()

    def _unlocked_state(self) -> object:
        """None, or the state of a database that is in no other process's hands and in a folder where no lock can be taken."""
        if not self.read_only or os.access(self.folder, os.W_OK) or self.path.with_name(f"{DATABASE}-wal").exists():
            return None
        found = os.stat(self.path)
        return found.st_size, found.st_mtime_ns

    def _check_place(self) -> None:
        """Raise for a database that is closed, not this process's any more, or not where it was."""
        if self._closed:
            raise StoreClosedError(f"the store {self.url} is closed: open it again with open_store().")
        if os.getpid() != self._process:
            raise StoreLockedError(f"the store {self.url} was opened before this process was forked: {_FORK_ADVICE}.")
        if _identity(self.path) != self._file:
            raise StoreCorruptError(f"{self.path} was removed or replaced while the store was open: close it, and {ADVICE}.")

    def _note(self) -> bytes | None:
        """What acknowledge() wrote, as it stands on the disk; None where there is none."""
        try:
            return (self.folder / ACKNOWLEDGED).read_bytes()
        except FileNotFoundError:
            return None

    def _check_acknowledged(self, content: bytes | None, revision: int) -> None:
        path = self.folder / ACKNOWLEDGED
        if content is None:
            if revision:
                logger.warning("%s is missing: whether %s lost its last writes cannot be told", path, self.path)
            return
        note = content[: _NOTE.size]
        if len(content) != _NOTE.size + 4 or zlib.crc32(note).to_bytes(4, "little") != content[_NOTE.size :]:
            logger.warning("%s is damaged: whether %s lost its last writes cannot be told", path, self.path)
            return
        store_id, acknowledged = _NOTE.unpack(note)
        if store_id.hex() != self.store_id:
            raise StoreCorruptError(f"{path} belongs to another store than {self.path}: {ADVICE}.")
        if acknowledged > revision:
            raise StoreCorruptError(
                f"{self.path} ends at revision {revision:,}, writes up to revision {acknowledged:,} were acknowledged: its log "
                f"{DATABASE}-wal is damaged, missing or another one; {ADVICE} (to go on without those writes, delete {path})."
            )


def acknowledge(folder: Path, store_id: str, revision: int) -> None:
    """Say that the database must reach this revision from now on. In place, and not flushed: it may lag behind, never run ahead."""
    note = _NOTE.pack(bytes.fromhex(store_id), revision)
    handle = os.open(folder / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        os.write(handle, note + zlib.crc32(note).to_bytes(4, "little"))
    finally:
        os.close(handle)


_FORK_ADVICE = "open the store in each process after the fork, with no handle to it open before"


@contextlib.contextmanager
def translated(url: str, doing: str) -> Iterator[None]:
    """Turn what SQLite and the system raise into errors of this package."""
    try:
        yield
    except apsw.Error as error:
        raise _translated(error, url, doing) from error
    except OSError as error:
        raise StoreWriteError(f"cannot {doing} the store {url}: {error}; check free space and permissions.") from error


def _translated(error: Any, url: str, doing: str) -> SpladeConnectorsError:
    code = apsw.mapping_extended_result_codes.get(getattr(error, "extendedresult", None)) or apsw.mapping_result_codes.get(
        getattr(error, "result", None), type(error).__name__
    )
    name = str(code).removeprefix("SQLITE_")
    said = f"cannot {doing} the store {url}: {error} ({name})"
    if name.startswith(_CORRUPT):
        return StoreCorruptError(f"{said}: {DATABASE} is damaged; {ADVICE}.")
    if name.startswith(_BUSY):
        return StoreLockedError(f"{said}: another process has been writing for {PATIENCE_S:.0f} s; wait for it, or stop it.")
    if name.startswith(_FOREIGN_JOURNAL):
        return StoreWriteError(f"{said}: the file {DATABASE}-journal beside it is not of this store, which leaves none: move it away.")
    if name.startswith(_NOT_WRITABLE):
        return StoreWriteError(
            f"{said}; check permissions and the length of the path. A disk that cannot be written to needs the setting read_only, "
            f"and no {DATABASE}-wal on it: open the store once where it can be written, then copy it."
        )
    return StoreWriteError(f"{said}; check free space and permissions.")


@functools.cache
def _file_system() -> str:
    """The name of SQLite's file layer that keeps a checksum in every page."""
    extra, before = require("apsw.sqlite_extra", "the store numba:PATH"), apsw.vfs_names()[0]
    with contextlib.closing(apsw.Connection(":memory:")) as connection:
        extra.load(connection, "cksumvfs")
    name: str = apsw.vfs_names()[0]
    apsw.set_default_vfs(before)  # other databases of this process are not ours to change
    return name


class _Load:
    """A bulk load that is going on, for as long as whoever began it holds this."""


def _connected(path: Path, *, create: bool = False, read_only: bool = False, immutable: bool = False) -> Connection:
    access = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | (apsw.SQLITE_OPEN_CREATE if create else 0)
    name = str(path)
    if immutable:
        name, access = f"file:{quote(name)}?immutable=1", access | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(name, flags=access, vfs=_file_system())
    try:
        connection.set_busy_timeout(int(PATIENCE_S * 1000))
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}; PRAGMA wal_autocheckpoint = {LOG_PAGES}; PRAGMA cell_size_check = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _checked(connection: Connection, path: Path) -> str:
    """The id of the store, if the file is a database of one, of this format, with checksums in its pages."""
    application, version = connection.execute("PRAGMA application_id").get, connection.execute("PRAGMA user_version").get
    if application != APPLICATION_ID:
        raise StoreFormatError(f"{path} is not the database of a numba store (application id {application}): {ADVICE}.")
    if version not in (FORMAT_VERSION, WITH_PASSAGES):
        todo = "upgrade splade-ptbr-connectors" if version > WITH_PASSAGES else "ingest into a new folder"
        raise StoreFormatError(f"{path} has format version {version}, this package reads {FORMAT_VERSION} to {WITH_PASSAGES}: {todo}.")
    if connection.reserve_bytes() != CHECKSUM_BYTES:
        raise StoreCorruptError(f"{path} has no checksums in its pages: its first page is damaged; {ADVICE}.")
    store_id: str = connection.execute("SELECT store_id FROM state").get
    return store_id


def _end(connection: Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except FileNotFoundError as error:
        raise StoreCorruptError(f"{path} is missing: {ADVICE}.") from error
    return found.st_dev, found.st_ino


def _check_sole_name(path: Path) -> None:
    """SQLite writes in place: through a hard link, into the copy as well."""
    names = os.stat(path).st_nlink
    if names > 1:
        raise StoreWriteError(
            f"{path} has {names} names (hard links, as `cp -l` makes them), and writing would change the file under all of them: "
            "make a real copy with `cp` or `rsync`, and delete the links."
        )


def _check_not_inherited(file: tuple[int, int], url: str) -> None:
    """SQLite's locks belong to a process: with the handles of its parent, a child takes them to be its own."""
    if any(other._file == file and other._process != os.getpid() and not other._closed for other in _open_databases):
        raise StoreLockedError(f"the store {url} was open when this process was forked: {_FORK_ADVICE}.")


def _keep_inherited() -> None:
    for database in _open_databases:
        _inherited.extend((database, *database._idle, database._writer))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_inherited)
