"""Items through the encoder: same items, same order, with vectors.

The encoder takes a stream of texts and reads ahead of the vectors it gives out. Items wait in line meanwhile, those that
need no vector included, so that they come out in the order of the input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import IngestError, InputError

if TYPE_CHECKING:
    from ..vectors import SparseVector
    from .items import Item

    Encode = Callable[[Iterable[str]], Iterator[SparseVector]]  # encode_documents or encode_queries of an encoder

MAX_WAITING = 8192
MAX_WAITING_BYTES = 64 * 2**20


def with_vectors(items: Iterable[Item], encode: Encode) -> Iterator[Item]:
    """Give every item that has a text to encode its vector.

    A text that the encoder refuses rejects its own item only: the texts in flight with it are encoded one by one.
    Memory is bounded: when too many items wait, the stream of texts ends, the encoder empties its window, and a new
    stream begins.

    Raises:
        IngestError: the encoder gave out more or fewer vectors than it took texts.
    """
    line = _Line(items)
    while not line.exhausted:
        try:
            for vector in encode(line.texts()):
                yield from line.settled()
                item = line.next()
                item.vector = vector
                yield item
        except InputError:
            yield from line.one_by_one(encode)
        yield from line.settled()
        if line.waiting:
            raise IngestError("the encoder gave fewer vectors than it took texts.")


class _Line:
    """Items taken from the input whose turn to come out has not come."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.waiting: deque[Item] = deque()
        self.exhausted = False
        self._items = iter(items)
        self._bytes = 0

    def texts(self) -> Iterator[str]:
        """The texts of the items taken from now on, until too much waits or the input ends."""
        while len(self.waiting) < MAX_WAITING and self._bytes < MAX_WAITING_BYTES:
            item = next(self._items, None)
            if item is None:
                self.exhausted = True
                return
            self.waiting.append(item)
            self._bytes += item.nbytes
            if item.text is not None:
                yield item.text

    def settled(self) -> Iterator[Item]:
        """The items at the head of the line that need no vector."""
        while self.waiting and self.waiting[0].text is None:
            yield self._pop()

    def next(self) -> Item:
        """The first item in line."""
        if not self.waiting:
            raise IngestError("the encoder gave more vectors than it took texts.")
        return self._pop()

    def one_by_one(self, encode: Encode) -> Iterator[Item]:
        """Everything that waits, each text encoded alone."""
        while self.waiting:
            item = self._pop()
            _encode_alone(item, encode)
            yield item

    def _pop(self) -> Item:
        item = self.waiting.popleft()
        self._bytes -= item.nbytes
        return item


def _encode_alone(item: Item, encode: Encode) -> None:
    if item.record is None or item.text is None:
        return
    try:
        item.vector = next(iter(encode([item.text])))
    except InputError as error:
        item.reject(str(error), item.record.to_mapping())
