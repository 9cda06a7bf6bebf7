"""Which of the documents that a run wrote it looks at again in the end, and what it has to know for that."""

from __future__ import annotations

import random

from .items import Item

SEED = 0


class Sample:
    """A reservoir of the written items: each of them is in it with the same probability, however many there are.

    Attributes:
        items: at most `size` written items.
        written: written items so far.
        new: those of them that the store did not hold before.
        refused: lines of valid records that were rejected late, by the encoder or the store: their ids are in no store.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.items: list[Item] = []
        self.written = self.new = 0
        self.refused: set[int] = set()
        self._random = random.Random(SEED)

    def booked(self, item: Item) -> None:
        """Take note of an item that is dealt with."""
        if not self.size:
            return
        if item.reason:
            if item.mark != item.dead:
                self.refused.add(item.line)
        elif item.vector is not None:
            self.written += 1
            self.new += not item.replaces
            self._offer(item)

    def _offer(self, item: Item) -> None:
        if len(self.items) < self.size:
            self.items.append(item)
        elif (place := self._random.randrange(self.written)) < self.size:
            self.items[place] = item
