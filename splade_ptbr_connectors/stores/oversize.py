"""Batches that are more than a server takes: cut by their size before they are sent, halved when they are refused."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from ..errors import SpladeConnectorsError, StoreRequestTooLargeError
from .base import Refusal

T = TypeVar("T")
Step = TypeVar("Step")


def batched_by_bytes(items: Iterable[T], size: Callable[[T], int], max_bytes: int) -> Iterator[list[T]]:
    """Consecutive items of at most `max_bytes` together; one that is larger is a batch of its own."""
    batch, total = list[T](), 0
    for item in items:
        own = size(item)
        if batch and total + own > max_bytes:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += own
    if batch:
        yield batch


class Document(Protocol):
    """What a batch is made of."""

    @property
    def doc_id(self) -> str:
        """Names it in a refusal."""
        ...


D = TypeVar("D", bound=Document)


def load_in_halves(
    batch: Sequence[D],
    load: Callable[[Sequence[D]], Generator[Step, Any, list[Refusal]]],
    refused: type[SpladeConnectorsError] | tuple[type[SpladeConnectorsError], ...] = StoreRequestTooLargeError,
) -> Generator[Step, Any, list[Refusal]]:
    """Load a batch; one that is refused as a whole is halved, down to the documents at fault. Returns the refused documents.

    The first half is loaded first: of two documents with one id the later one has to win.

    Args:
        load: loads a part.
        refused: the errors that mean that a part is refused as a whole.
    """
    try:
        return (yield from load(batch))
    except refused as error:
        if len(batch) == 1:
            return [Refusal(batch[0].doc_id, getattr(error, "reason", str(error)))]
    middle = len(batch) // 2
    first = yield from load_in_halves(batch[:middle], load, refused)
    return first + (yield from load_in_halves(batch[middle:], load, refused))
