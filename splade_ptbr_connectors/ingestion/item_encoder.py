"""Encode items, preserving their order.

The encoder takes a stream of texts and reads ahead of the vectors it gives out. Meanwhile items wait in a queue, those that need
no vector included, so that they come out in the order of the input.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ..errors import IngestError, InputError

if TYPE_CHECKING:
    from ..splitting import Splitter
    from ..vectors import SparseVector
    from .items import Item

    Encode = Callable[[Iterable[str]], Iterator[SparseVector]]  # encode_documents or encode_queries of an encoder

MAX_WAITING = 8192
MAX_WAITING_BYTES = 64 * 2**20


def encode_items(items: Iterable[Item], encode: Encode, splitter: Splitter | None = None) -> Iterator[Item]:
    """Give every item that has a text to encode its vector, or with a splitter those of its passages.

    A text that the encoder refuses rejects its own item only: the texts in flight with it are encoded one by one.
    Memory is bounded: when too many items wait, the stream of texts ends, the encoder empties its window, and a new
    stream begins.

    Raises:
        IngestError: the encoder gave out more or fewer vectors than it took texts.
    """
    queue = _Queue(items, splitter)
    while not queue.exhausted:
        try:
            for vector in encode(queue.texts()):
                yield from queue.without_text()
                if queue.first().take(vector):
                    yield queue.pop()
        except InputError:
            yield from queue.encoded_alone(encode)
        yield from queue.without_text()
        if queue.waiting:
            raise IngestError("the encoder gave fewer vectors than it took texts.")


class _Queue:
    """Items taken from the input and not given out yet."""

    def __init__(self, items: Iterable[Item], splitter: Splitter | None) -> None:
        self._splitter = splitter
        self.waiting: deque[Item] = deque()
        self.exhausted = False
        self._items = iter(items)
        self._bytes = 0

    def texts(self) -> Iterator[str]:
        """The texts of the items taken from now on, until too many wait or the input ends."""
        while len(self.waiting) < MAX_WAITING and self._bytes < MAX_WAITING_BYTES:
            item = next(self._items, None)
            if item is None:
                self.exhausted = True
                return
            self.waiting.append(item)
            self._bytes += item.nbytes
            yield from item.split(self._splitter)

    def without_text(self) -> Iterator[Item]:
        """The items at the head of the queue that need no vector."""
        while self.waiting and self.waiting[0].text is None:
            yield self.pop()

    def first(self) -> Item:
        """The first item in the queue."""
        if not self.waiting:
            raise IngestError("the encoder gave more vectors than it took texts.")
        return self.waiting[0]

    def encoded_alone(self, encode: Encode) -> Iterator[Item]:
        """Everything that waits, each text encoded alone."""
        while self.waiting:
            item = self.pop()
            if item.text is not None:
                try:
                    for text in item.split(self._splitter):
                        item.take(next(iter(encode([text]))))
                except InputError as error:
                    item.reject(str(error))
            yield item

    def pop(self) -> Item:
        """Take out the first item."""
        item = self.waiting.popleft()
        self._bytes -= item.nbytes
        return item
