"""What an edge store knows about what it holds, so that documents never go missing in silence.

The sidecar says in which state the store was left:

    creating   its shard may not be there yet, and nothing was ever written to it
    sealed     closed, or unchanged since: tally and checksums of the files are as the sidecar says
    open       written to since: the tally is one of those in the ledger (ledger.py)

A sidecar without any of this is of an older version: the store is counted as it is, and sealed when it is closed. A kill at any
moment leaves one of these states.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from ...errors import StoreCorruptError, StoreNotFoundError
from ..model_stamp import read_sidecar, write_sidecar
from ..payloads import CHECK_FIELD, NUMBER_PATH
from .checks import ADVICE, Checks, Tally, checks_of
from .engine import EdgeEngine
from .ledger import Ledger
from .seal import broken, sealed

SHARD = "shard"
ENGINE = importlib.metadata.version("qdrant-edge-py")
ONLY_CHECKS = edge.PayloadSelector.Include([CHECK_FIELD])
CREATING, SEALED, OPEN = "creating", "sealed", "open"
PAGE = 10_000


class Contents:
    """The locked folder of a store, and what must be in it.

    Attributes:
        description: of the sidecar.
        tally: of the points, of which a short document is one; None while it is unknown, during a write and after one that failed.
        passages: whether there may be documents of several passages.
        left_open: whether the store was not closed, so that a write may have been cut off.
    """

    def __init__(self, folder: Path, url: str, *, damaged: bool = False) -> None:
        """With `damaged`, what the sidecar says of the contents is not looked at, for accept() to say it anew.

        Raises StoreLockedError, StoreNotFoundError, StoreFormatError, StoreCorruptError and OSError.
        """
        self.folder, self.url = folder, url
        self._ledger = Ledger(folder, url)
        try:
            description = read_sidecar(folder, "edge")
            if description is None:
                raise StoreNotFoundError(f"there is no store at {url}: it was removed while it was opened.")
            self.description = description
            self._held = {} if damaged else _opened(description.contents, url)
        except BaseException:
            self._ledger.release()
            raise
        self.tally: Tally | None = None
        self.passages = bool(self._held.get("passages"))
        self.left_open = self._held.get("state") == OPEN

    @property
    def is_new(self) -> bool:
        """Whether the shard is yet to be made."""
        return self._held.get("state") == CREATING and not (self.folder / SHARD).exists()

    def check_files(self) -> None:
        """Before the engine loads them, which may change or crash on what is damaged. Raises StoreCorruptError and OSError."""
        if not (self.folder / SHARD).is_dir():
            raise StoreCorruptError(
                f"the folder {SHARD!r} of the store {self.url} is missing, and its documents with it: restore it from a backup, or remove "
                "the whole store and ingest anew."
            )
        what = broken(self.folder / SHARD, self._held["files"]) if self._held.get("state") == SEALED else None
        if what is not None:
            raise StoreCorruptError(f"the store {self.url} is not as it was left: {SHARD}/{what}; {ADVICE}")
        if self._held.get("engine", ENGINE) != ENGINE:  # another version may change its files when it loads them
            saved = Tally(self._held["documents"], self._held["digest"])
            self._ledger.write(self.description.store_id, saved, saved, done=True)
            self._save({"state": OPEN})

    def check_documents(self, shard: Any) -> None:
        """After the engine has loaded them. Raises StoreCorruptError."""
        state, expected = self._held.get("state"), tuple[Tally, ...]()
        if state == SEALED:
            saved = Tally(self._held["documents"], self._held["digest"])
            expected, found = (saved,), saved._replace(documents=count(shard))
        else:
            expected = self._ledger.read(self.description.store_id)
            found = tally(shard)
        if state in (SEALED, OPEN) and found not in expected:
            raise StoreCorruptError(_missing(self.url, found, expected))
        self.tally = found

    @contextlib.contextmanager
    def writing(self, shard: Any, removed: Checks, added: Checks) -> Iterator[None]:
        """Around one call of the engine that removes and adds these documents, or changes nothing but files."""
        before = self._known(shard)
        after = before.without(removed).plus(added)
        self._ledger.write(self.description.store_id, before, after, done=False)
        self._mark_open()
        self.tally = None
        yield
        self._ledger.write(self.description.store_id, before, after, done=True)
        self.tally = after

    def _known(self, shard: Any) -> Tally:
        return tally(shard) if self.tally is None else self.tally

    def _mark_open(self) -> None:
        if self._held.get("state") != OPEN:
            self._save({"state": OPEN})

    def begin_passages(self, shard: Any) -> None:
        """Note, before the first of them is written, that there may be documents of several passages from now on."""
        if not self.passages:
            index_passages(shard)
            self.passages = True
            self._save({"state": OPEN})

    def flush(self) -> None:
        """Put the ledger on the disk. Raises OSError."""
        self._ledger.sync()

    def seal(self, engine: EdgeEngine) -> None:
        """Note what the files are. The engine is loaded anew first: it tidies its files when it loads them, and never after that.

        Raises StoreError and OSError; the store then stays open, which costs time when it is opened next, and nothing else.
        """
        if self._held.get("state") == SEALED:
            return
        with engine.use("seal"):  # no thread may write meanwhile
            engine.reload()
            with engine.use("seal") as shard:
                found = self._known(shard)
            files = sealed(self.folder / SHARD)
            self._save({"state": SEALED, "engine": ENGINE, "documents": found.documents, "digest": found.digest, "files": files})
            self.tally = found

    def accept(self, engine: EdgeEngine) -> None:
        """What the shard holds is from now on what it must hold. Raises StoreError and OSError."""
        self._held, self.tally = {}, None
        with engine.use("count") as shard:
            self.passages = count(shard) != count(shard, documents_only(None))
        self.seal(engine)

    def close(self) -> None:
        """Let others open the store. Twice is not an error."""
        self._ledger.release()

    def _save(self, held: Mapping[str, Any]) -> None:
        self._held = {}  # an interrupt may come before or after it is written
        if self.passages:
            held = {**held, "passages": True}
        self.description = dataclasses.replace(self.description, contents={**held, "crc32": _crc(held)})
        write_sidecar(self.folder, self.description)
        self._held = held


def new_contents() -> dict[str, Any]:
    """For the sidecar of a store that is yet to be made."""
    return {"state": CREATING, "crc32": _crc({"state": CREATING})}


def count(shard: Any, filter: Any = None) -> int:
    """Number of points that the filter lets pass, exact."""
    return int(shard.count(edge.CountRequest(exact=True, filter=filter)))


def documents_only(filter: Any) -> Any:
    """The filter, letting pass documents only, and not their further passages."""
    documents = edge.IsEmptyCondition(NUMBER_PATH)
    return edge.Filter(must=[documents] if filter is None else [documents, filter])


def index_passages(shard: Any) -> None:
    """Make documents_only() fast."""
    shard.update(edge.UpdateOperation.create_field_index(NUMBER_PATH, edge.PayloadSchemaType.Integer))


def every_record(shard: Any, payload: Any, *, filter: Any = None, vectors: bool = False, page: int = PAGE) -> Iterator[Any]:
    """Every record that the filter lets pass."""
    following = None
    while True:
        request = edge.ScrollRequest(limit=page, offset=following, filter=filter, with_payload=payload, with_vector=vectors)
        found, following = shard.scroll(request)
        yield from found
        if following is None:
            return


def tally(shard: Any) -> Tally:
    """Count all documents and read their checksums: some 15 µs each."""
    return Tally().plus(checks_of(every_record(shard, ONLY_CHECKS)))


def _missing(url: str, found: Tally, expected: tuple[Tally, ...]) -> str:
    if not expected:
        return (
            f"the store {url} was not closed, and its ledger is missing or damaged: whether all documents are there is not known; {ADVICE}"
        )
    held = " or ".join(f"{one.documents:,}" for one in dict.fromkeys(expected))
    other = " (not the same ones)" if found.documents in [one.documents for one in expected] else ""
    return f"the store {url} holds {found.documents:,} documents{other} where {held} were acknowledged; {ADVICE}"


def _opened(contents: Mapping[str, Any] | None, url: str) -> Mapping[str, Any]:
    """The checked part of the sidecar; empty for a store of an older version. Raises StoreCorruptError."""
    if contents is None:
        return {}
    held = {name: value for name, value in contents.items() if name != "crc32"}
    if contents.get("crc32") != _crc(held):
        raise StoreCorruptError(f"what the sidecar of {url} says of its contents was altered (its checksum differs): {ADVICE}")
    return held


def _crc(held: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(held, sort_keys=True).encode())
