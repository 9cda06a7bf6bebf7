"""Writes that are cut off between two calls of an engine, and what must be true of the store afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from splade_ptbr_connectors.stores.base import Entry, Store
from splade_ptbr_connectors.vectors import SparseVector
from tests.support.passages import document

EVERY_TERM = SparseVector(range(20), [1.0] * 20)


class Interrupter:
    """Counts the calls that write, and raises KeyboardInterrupt at one of them, before or after it takes effect."""

    def __init__(self) -> None:
        self.calls = 0
        self.at: int | None = None
        self.after = False

    def __call__(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def interrupted(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            now = self.calls == self.at
            if now and not self.after:
                raise KeyboardInterrupt
            result = write(*arguments, **named)
            if now:
                raise KeyboardInterrupt
            return result

        return interrupted

    @contextmanager
    def armed(self, at: int, *, after: bool) -> Iterator[None]:
        """Within the block the call of this number is interrupted, if there are so many."""
        self.calls, self.at, self.after = 0, at, after
        try:
            yield
        except KeyboardInterrupt:
            pass
        finally:
            self.at = None


def of_length(count: int, weight: float) -> Entry:
    """A document of so many passages, told from others by its weight."""
    return document("a", [((n, n + 1), SparseVector([n % 20], [weight])) for n in range(count)], {"group": int(weight)})


def state(store: Store) -> Entry | None:
    """The document as every way to read it agrees that it is."""
    found = store.get(["a"]).get("a")
    assert store.count() == (found is not None) == len(list(store.scan()))
    hits = store.search(EVERY_TERM, 10_000, group=False)
    if found is None:
        assert hits == [] and store.search(EVERY_TERM, 5) == []
        return None
    expected = [(n, (n, n + 1) if found.passages else (0, 90), found.vectors[0].weights[0]) for n in range(len(found.vectors))]
    assert sorted((hit.passage.number, (hit.passage.start, hit.passage.end), hit.score) for hit in hits) == expected
    assert [hit.doc_id for hit in store.search(EVERY_TERM, 5)] == ["a"]
    assert all(hit.payload == found.payload for hit in hits)
    return found


def check_interruptions(store: Store, interrupter: Interrupter, points: Callable[[], int]) -> None:
    """Cut off every write of a replacement, a deletion and a first write, before and after it takes effect.

    Args:
        points: how many points or documents the engine holds, those that count no more among them.
    """
    for before, written in ((None, 3), (4, 7), (7, 2), (3, 1), (1, 3), (5, None)):
        for at in range(1, 8):
            for after in (False, True):
                _check_one(store, interrupter, points, before, written, at, after)
                if interrupter.calls < at:
                    break


def _check_one(
    store: Store, interrupter: Interrupter, points: Callable[[], int], before: int | None, written: int | None, at: int, after: bool
) -> None:
    store.delete(["a"])
    old = None if before is None else of_length(before, 1.0)
    new = None if written is None else of_length(written, 2.0)
    if old is not None:
        store.upsert_vectors([old])
    assert state(store) == old
    with interrupter.armed(at, after=after):
        store.delete(["a"]) if new is None else store.upsert_vectors([new])
    assert state(store) in (old, new)
    store.delete(["a"]) if new is None else store.upsert_vectors([new])
    assert state(store) == new
    store.sweep()
    assert state(store) == new and points() == (len(new.vectors) if new else 0)
