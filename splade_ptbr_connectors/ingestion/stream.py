"""The input of an ingest: its items after the part that an earlier run dealt with, and the digest over all that passed."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from .checkpoint import Checkpoint, ResumePoint
from .items import Item, ReadyVectors, read_items
from .seen_ids import SeenIds


class Interrupted(Exception):
    """The run was told to stop. Never leaves the engine."""


class ItemStream:
    """The items that this run has to deal with.

    An error of the input ends the stream and is kept: what came before it is still to be written.

    Args:
        interrupted: ends the stream with Interrupted once it is set.

    Attributes:
        seen: the ids that came so far.
        first_line: the line after those that an earlier run dealt with.
        last_written: of these, the one that was written to the store last; None if that is not known.
    """

    def __init__(
        self, source: Iterable[Any], start: ResumePoint, checkpoint: Checkpoint, ready: ReadyVectors | None, interrupted: threading.Event
    ) -> None:
        self.seen = SeenIds()
        self.first_line = 1
        self.last_written: Item | None = None
        self._items = read_items(self._until_error(source), ready, self.seen)
        self._interrupted = interrupted
        self._error: Exception | None = None
        self._digest = hashlib.blake2b(digest_size=16)
        self._position = 0
        if start.position:
            self._skip(start, checkpoint)

    def __iter__(self) -> Iterator[Item]:
        for item in self._items:
            if self._interrupted.is_set():
                raise Interrupted
            yield item

    def passed(self, item: Item) -> None:
        """Take an item into the digest, in the order of the input."""
        self._digest.update(item.identity.encode() + b"\n")
        self._position += 1

    def place(self) -> tuple[int, str]:
        """How many items have passed, and the digest over them."""
        return self._position, self._digest.hexdigest()

    def raise_stored(self) -> None:
        """Raise the error that ended the input, if any."""
        if self._error is not None:
            raise self._error

    def _until_error(self, source: Iterable[Any]) -> Iterator[Any]:
        try:
            yield from source
        except Exception as error:
            self._error = error

    def _skip(self, start: ResumePoint, checkpoint: Checkpoint) -> None:
        # read again instead of seeking: the ids count for duplicates, and the digest proves that it is the same input
        for item in self:
            self.passed(item)
            self.first_line = item.line + 1
            if self._position == start.last_written:
                self.last_written = item
            if self._position == start.position:
                break
        if self._digest.hexdigest() != start.prefix:
            self.raise_stored()
            raise checkpoint.other_input()
