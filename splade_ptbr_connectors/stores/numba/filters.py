"""Which documents pass a filter, remembered: what a number stands for never changes, so that each is looked at once."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from ...filters import Condition
from ..predicates import test_of
from .rows import Connection, Numbers
from .schema import numbers_where
from .segment import Segment

_REMEMBERED = 32  # filters


class EarlierSnapshotError(Exception):
    """The snapshot is of a revision before the one at which the filter was looked up last: begin it anew."""


class Passing:
    """The documents of one tenant (None: of all) that pass one filter."""

    def __init__(self, conditions: tuple[Condition, ...], tenant: str | None) -> None:
        """Raises ConfigError for a field name or a value that no store compares with."""
        self._test, self._tenant = test_of(conditions) if conditions else None, tenant
        self._numbers: Numbers = np.empty(0, np.int64)
        self._seen = self._revision = 0
        self._rows: dict[str, NDArray[np.bool_]] = {}

    def look(self, connection: Connection, revision: int, following: int) -> None:
        """Look at the documents that came since the last time; `following` is the number behind the last one.

        Raises EarlierSnapshotError: what has ended since that revision was not seen.
        """
        if revision < self._revision:
            raise EarlierSnapshotError
        if following - 1 > self._seen:
            new = numbers_where(connection, self._tenant, self._test, self._seen)
            self._numbers, self._seen, self._revision = np.concatenate([self._numbers, new]), following - 1, revision

    def rows(self, segment: Segment) -> NDArray[np.bool_]:
        """[rows] which of a segment's documents pass."""
        name = segment.registered.name
        mask = self._rows.get(name)
        if mask is None:
            mask = np.zeros(len(segment), np.bool_)
            mask[segment.rows_of(self._numbers)] = True
            self._rows[name] = mask
        return mask

    def among(self, numbers: Numbers) -> NDArray[np.bool_]:
        """Which of these numbers pass."""
        return np.isin(numbers, self._numbers[np.searchsorted(self._numbers, numbers[0]) :]) if len(numbers) else np.zeros(0, np.bool_)

    def forget(self, segments: set[str]) -> None:
        """Keep only what belongs to these segments."""
        self._rows = {name: mask for name, mask in self._rows.copy().items() if name in segments}


class Filters:
    """The filters of late."""

    def __init__(self) -> None:
        self._remembered: OrderedDict[str, Passing] = OrderedDict()
        self._lock = threading.Lock()

    def passing(
        self, connection: Connection, revision: int, following: int, conditions: tuple[Condition, ...], tenant: str | None
    ) -> Passing | None:
        """Who passes at this revision, which is the connection's; None for everyone. Raises EarlierSnapshotError."""
        if not conditions and tenant is None:
            return None
        name = repr((conditions, tenant))  # by their text: 1 and True are equal, but not the same condition
        with self._lock:
            passing = self._remembered.setdefault(name, Passing(conditions, tenant))
            passing.look(connection, revision, following)
            self._remembered.move_to_end(name)
            while len(self._remembered) > _REMEMBERED:
                self._remembered.popitem(last=False)
            return passing

    def forget(self, segments: set[str]) -> None:
        """Forget what belongs to other segments than these."""
        with self._lock:
            for passing in self._remembered.values():
                passing.forget(segments)
