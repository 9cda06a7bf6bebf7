"""Writing and deleting documents: all passages of one in one step, and a sweep of those that a step which did not end has left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import qdrant_edge as edge

from ...batches import batched
from ..base import Entry
from ..passages import head_stored, tails, to_write
from ..payloads import CHECK_FIELD, point_id
from .checks import Checks, checks_of, with_check
from .contents import ONLY_CHECKS, Contents
from .engine import EdgeEngine
from .points import WITH_CHECKS, NewPoint, bytes_of, stale_tails, tails_of, to_edge_vector
from .settings import DENSE, VECTOR

DELETED_AT_ONCE = 10_000
BYTES_PER_BYTE = 4  # on disk a write lands in the log, the vector storage, the payload storage and later a merged segment


class EdgeWriter:
    """What changes a shard; the contents are told of every change."""

    def __init__(self, engine: EdgeEngine, contents: Contents) -> None:
        self._edge = engine
        self._contents = contents
        self._cut_off = contents.passages and contents.left_open

    def upsert(self, entries: list[Entry], tenant: str | None, dense_size: int) -> None:
        """Insert or replace documents, checked, of which the datatype holds every weight."""
        several = any([entry.passages for entry in entries])
        if several or self._contents.passages:
            entries = to_write(entries)
        points = [point for entry in entries for point in _to_points(entry, tenant)]
        expected = 4 * len(entries) * dense_size + sum(map(bytes_of, entries))
        added = {point.id: point.payload[CHECK_FIELD] for point in points}
        with self._edge.use("write") as shard:
            self._edge.check_space(BYTES_PER_BYTE * expected)
            if several:
                self._contents.begin_passages(shard)
            replaced, left = self.replaced(shard, list(added))
            with self._in_one_step(several or bool(left)):
                with self._contents.writing(shard, replaced, added):
                    shard.update(edge.UpdateOperation.upsert_points([edge.Point(*point) for point in points]))
                self.remove(shard, {point: check for point, check in left.items() if point not in added})

    def delete(self, shard: Any, heads: Sequence[str]) -> int:
        """Delete those of these documents that are there, heads first: without its head a passage counts no more."""
        deleted = 0
        for batch in batched(heads, DELETED_AT_ONCE):
            found, tails = self.replaced(shard, batch)
            with self._in_one_step(bool(tails)):
                deleted += self.remove(shard, found)
                self.remove(shard, tails)
        return deleted

    def sweep(self) -> int:
        """Delete passages that count no more. Returns how many."""
        with self._edge.use("delete") as shard:
            swept = sum([self.remove(shard, stale) for stale in stale_tails(shard)])
            self._cut_off = False
            return swept

    def sweep_if_cut_off(self) -> None:
        """Within this process a search sees no passage that counts no more, unless a write was interrupted."""
        if self._cut_off:
            self.sweep()

    def replaced(self, shard: Any, points: Sequence[str]) -> tuple[Checks, Checks]:
        """The checks of those of these points that are there, and of the tails of those that are heads."""
        records = shard.retrieve(list(points), WITH_CHECKS, False)
        tails = [tail for record in records for tail in tails_of(record)] if self._contents.passages else []
        return checks_of(records), checks_of(shard.retrieve(tails, ONLY_CHECKS, False)) if tails else {}

    def remove(self, shard: Any, to_delete: Checks) -> int:
        """Delete points. Returns how many."""
        if to_delete:
            self._edge.check_space(0)
            with self._contents.writing(shard, to_delete, {}):
                shard.update(edge.UpdateOperation.delete_points(list(to_delete)))
        return len(to_delete)

    @contextlib.contextmanager
    def _in_one_step(self, several: bool) -> Iterator[None]:
        """Around a write to documents of several passages: if it does not end, passages are left that count no more."""
        before, self._cut_off = self._cut_off, self._cut_off or several
        yield
        self._cut_off = before


def _to_points(entry: Entry, tenant: str | None) -> list[NewPoint]:
    """The arguments of the document's points, its head last."""
    point = point_id(entry.doc_id, tenant)
    head = head_stored(entry, tenant)
    vectors: dict[str, Any] = {VECTOR: to_edge_vector(entry.vector)}
    if entry.dense is not None:
        vectors[DENSE] = list(entry.dense)
    found = [NewPoint(point, vectors, with_check(point, head, entry.vector))]
    if not entry.passages:
        return found
    for tail in tails(entry, head, point, tenant):
        stored = with_check(tail.point, tail.stored, tail.vector)
        found.append(NewPoint(tail.point, {VECTOR: to_edge_vector(tail.vector)}, stored))
    return found[::-1]
