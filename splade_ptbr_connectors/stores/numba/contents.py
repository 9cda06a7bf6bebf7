"""The contents of a store at one moment in time: its merged parts and its tail, and how a write changes them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...filters import Condition
from .arrays import read_arrays, write_arrays
from .building import WINDOW
from .documents import Document, Documents, Key, key_hashes, owned_rows
from .folder import Manifest
from .index import joined
from .log import Operation
from .matching import test_of
from .tail import Tail
from .window import Window

_REMEMBERED = 32  # filters of a part whose rows are kept
_MOSTLY_FULL = 0.75  # a part with so many living rows is left alone by a merge
Passing = NDArray[np.bool_]


@dataclass
class Part:
    """Merged documents: a window, what belongs to it, and which of its rows live."""

    name: str
    window: Window
    documents: Documents
    alive: Passing
    changed: bool = False
    _seen: OrderedDict[str, Passing] = field(default_factory=OrderedDict)

    @classmethod
    def read(cls, folder: Path, name: str, dead: str, *, verify: bool = False) -> Part:
        """Map a part's files. Raises StoreCorruptError, StoreFormatError and OSError."""
        window = Window.read(folder / f"{name}.window", verify=verify)
        alive = read_arrays(folder / dead, verify=True)["dead"] == 0 if dead else np.ones(len(window), np.bool_)
        return cls(name, window, Documents.read(folder / f"{name}.documents"), alive)

    def delete(self, row: int) -> bool:
        """Whether the row lived. The mask is replaced, not changed: searches that run keep theirs."""
        if not self.alive[row]:
            return False
        self.alive = self.alive.copy()
        self.alive[row] = False
        self.changed = True
        return True

    def passing(self, conditions: tuple[Condition, ...], tenant: str | None) -> Passing | None:
        """[rows] which may be found, None for all of them."""
        mask = self.alive
        if tenant is not None:
            mask = mask & self._remembered(f"tenant {tenant}", lambda: owned_rows(self.documents.heads(range(len(self.window))), tenant))
        if conditions:
            test = test_of(conditions)
            rows = range(len(self.window))
            mask = mask & self._remembered(  # by their text: 1 and True are equal, but not the same condition
                repr(conditions), lambda: np.fromiter(map(test, self.documents.payloads(rows)), np.bool_, len(rows))
            )
        return None if mask.all() else mask

    def _remembered(self, name: str, make: Callable[[], Passing]) -> Passing:
        if name not in self._seen:
            self._seen[name] = make()
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return self._seen[name]


class Contents:
    """Parts in order of insertion, then the tail."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.tail = Tail()

    def apply(self, operation: Operation) -> int:
        """Do what a record of the log says; returns how many documents were there before and are deleted or replaced now."""
        if isinstance(operation, list):
            return self.delete(operation)
        documents, batch = operation
        gone = self.delete([document.key for document in documents])
        self.tail.append(documents, batch)
        return gone

    def delete(self, keys: Sequence[Key]) -> int:
        """Take documents out; returns how many there were."""
        gone = sum([self.tail.delete(key) for key in keys])
        hashes = key_hashes(keys)
        for part in self.parts:
            for rows in part.documents.find(keys, hashes).values():
                gone += sum([part.delete(row) for row in rows])
        return gone

    def find(self, keys: Sequence[Key]) -> dict[Key, tuple[Part | Tail, int]]:
        """Where each living document of these keys is."""
        found: dict[Key, tuple[Part | Tail, int]] = {}
        hashes = key_hashes(keys)
        for part in self.parts:
            for key, rows in part.documents.find(keys, hashes).items():
                living = [row for row in rows if part.alive[row]]
                if living:
                    found[key] = (part, living[0])
        return found | {key: (self.tail, self.tail.rows[key]) for key in keys if key in self.tail.rows}

    def tail_passing(self, conditions: tuple[Condition, ...], tenant: str | None) -> Passing:
        """[rows of the tail] which may be found."""
        mask = np.array(self.tail.alive, np.bool_)
        if tenant is not None:
            mask &= owned_rows(self.tail.heads(range(len(self.tail))), tenant)
        if conditions:
            test, rows = test_of(conditions), np.flatnonzero(mask)
            mask[rows] = np.fromiter(map(test, self.tail.payloads(rows.tolist())), np.bool_, len(rows))
        return mask


def merged(folder: Path, manifest: Manifest, contents: Contents, *, exact: bool, everything: bool) -> Manifest:
    """Write the tail as a part and the marks of deleted rows; a manifest that names them, yet to be committed.

    Args:
        everything: make full parts of all that are not mostly full; otherwise only of as many at the end as keeps the number
            of parts logarithmic.

    Raises OSError; the files written so far belong to no manifest then, and the next commit removes them.
    """
    kept, waiting = _divided(contents, everything)
    for part in kept:
        if part.changed:
            file = f"{manifest.following:06}.dead"
            write_arrays(folder / file, {"dead": (~part.alive).astype(np.uint8)})
            manifest = _named(manifest, part.name, file)
    group: list[Part | Tail] = []
    size = 0
    gone = {part.name for part in waiting}
    manifest = replace(manifest, parts=tuple(named for named in manifest.parts if named[0] not in gone))
    sources: list[Part | Tail] = [*waiting, contents.tail]
    for source in sources:
        living = int(np.sum(source.alive))
        if group and size + living > WINDOW:
            manifest = _write_part(folder, manifest, group, exact)
            group, size = [], 0
        if living:
            group.append(source)
            size += living
    return _write_part(folder, manifest, group, exact) if group else manifest


def _divided(contents: Contents, everything: bool) -> tuple[list[Part], list[Part]]:
    """The parts that stay, and those whose documents are written anew."""
    living = {part.name: int(part.alive.sum()) for part in contents.parts}
    if everything:
        small = [part for part in contents.parts if living[part.name] < _MOSTLY_FULL * WINDOW]
        alone = len(small) == 1 and not len(contents.tail) and living[small[0].name] == len(small[0].window)
        waiting = [] if alone else small
    else:
        waiting, size = [], len(contents.tail)
        for part in reversed(contents.parts):
            if living[part.name] > 2 * size or living[part.name] + size > WINDOW:
                break
            waiting.insert(0, part)
            size += living[part.name]
    return [part for part in contents.parts if part not in waiting], waiting


def _write_part(folder: Path, manifest: Manifest, sources: Sequence[Part | Tail], exact: bool) -> Manifest:
    batches, documents = [], list[Document]()
    for source in sources:
        rows = np.flatnonzero(np.array(source.alive))
        if isinstance(source, Part):
            batches.append(source.window.batch(rows))
            documents += [source.documents.document(int(row)) for row in rows]
        else:
            whole = source.batch()
            batches.append(whole if len(rows) == len(whole) else Window.build(whole).batch(rows))
            documents += [source.documents[int(row)] for row in rows]
    name = f"{manifest.following:06}"
    Window.build(joined(batches), exact=exact).write(folder / f"{name}.window")
    Documents.write(folder / f"{name}.documents", documents)
    return replace(manifest, parts=(*manifest.parts, (name, "")), following=manifest.following + 1)


def _named(manifest: Manifest, name: str, dead: str) -> Manifest:
    parts = tuple((part, dead if part == name else file) for part, file in manifest.parts)
    return replace(manifest, parts=parts, following=manifest.following + 1)
