"""What an ingest did, and how far it is: every record that was read was written, unchanged or rejected."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ..stores.base import Store
from ..validation import Natural

logger = logging.getLogger(__name__)
MAX_KINDS = 50
_VARYING = re.compile(r"'(?:[^'\\]|\\.)*'|(?<!\w)(?<!\w-)(?:0x[0-9A-Fa-f]+|\d(?:[\d.,]*\d)?)(?!\w)")  # not the digits of UTF-8 and int64


@dataclass(frozen=True)
class Reconciled:
    """What the check of a finished run found.

    Attributes:
        sampled: written documents that were read back and searched for.
        missing: documents of this run that the store acknowledged and does not hold, or does not find by their own terms: 0,
            or an IngestError would have been raised.
        changed: sampled documents that somebody else has overwritten in the meantime.
        count_expected: documents before the run and those it added, provided that nobody else wrote or deleted in the meantime and
            that every document that was replaced had been written by an ingest.
        count_found: documents in the store after the run.
        ok: nothing is missing or changed. If the count is too small, every id of the run is looked up in the store; a difference
            that comes from somebody else's writes or deletions is not an error.
    """

    sampled: int
    missing: int
    changed: int
    count_expected: int
    count_found: int
    ok: bool


@dataclass(frozen=True)
class IngestReport:
    """Counts of an ingest; read = written + unchanged + rejected, a resumed run's first part included.

    Attributes:
        reasons: rejected records by kind of reason.
        seconds: wall time of this run.
        documents_per_second: records of this run by its seconds.
        dead_letter: the file that lists the rejected records; None when there is none.
        resumed_at: records before the place that the checkpoint of an interrupted run names. What that run stored after its last
            checkpoint, in the seconds before it was killed, is among the unchanged.
        reconciled: what the check of the finished run found; None when it was skipped.
        rejections: the first hundred rejected records of a run without a dead-letter file, as they would stand there.
    """

    read: int
    written: int
    unchanged: int
    rejected: int
    reasons: Mapping[str, int]
    seconds: float
    documents_per_second: float
    dead_letter: str | None = None
    resumed_at: int = 0
    reconciled: Reconciled | None = None
    rejections: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"reasons": dict(self.reasons)}


@dataclass
class IngestCounts:
    """The running counts behind a report."""

    written: Natural = 0
    unchanged: Natural = 0
    rejected: Natural = 0
    reasons: dict[str, Natural] = field(default_factory=dict)

    @property
    def read(self) -> int:
        """Records dealt with so far."""
        return self.written + self.unchanged + self.rejected

    def reject(self, reason: str) -> None:
        """Count one rejected record under its kind of reason; rare kinds beyond MAX_KINDS are counted together."""
        kind = kind_of(reason)
        self.rejected += 1
        if kind not in self.reasons and len(self.reasons) >= MAX_KINDS:
            kind = "other"
        self.reasons[kind] = self.reasons.get(kind, 0) + 1

    def report(
        self,
        seconds: float,
        dead_letter: str | None,
        resumed_at: int,
        reconciled: Reconciled | None = None,
        rejections: tuple[Mapping[str, Any], ...] = (),
    ) -> IngestReport:
        """The final report."""
        reasons = dict(sorted(self.reasons.items(), key=lambda entry: -entry[1]))
        speed = (self.read - resumed_at) / seconds if seconds > 0 else 0.0
        counted = (self.read, self.written, self.unchanged, self.rejected, reasons)
        return IngestReport(*counted, seconds, speed, dead_letter, resumed_at, reconciled, rejections)


def kind_of(reason: str) -> str:
    """A reason without what varies from record to record: quoted values and numbers become "…"."""
    return _VARYING.sub("…", reason)[:200]


# -- while it runs ---------------------------------------------------------------------------------------------------


class IngestProgress(NamedTuple):
    """What a progress callable is given, after every batch and at the end."""

    read: int
    written: int
    unchanged: int
    rejected: int
    seconds: float


Hook = Callable[[IngestProgress], object]


class Display:
    """Calls a hook, or draws a bar.

    Args:
        progress: a callable, True for a bar, False for none, None for a bar if stderr is a terminal.
        total: number of records, None if unknown.
    """

    def __init__(self, progress: Hook | bool | None, total: int | None) -> None:
        self._hook: Hook | None = progress if callable(progress) else None
        self._bar: Any = None
        if self._hook is None and (progress or (progress is None and _on_terminal())):
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit=" documents", desc="ingest", file=sys.stderr)

    def show(self, now: IngestProgress) -> None:
        """Bring the display up to date."""
        if self._hook is not None:
            self._hook(now)
        if self._bar is not None:
            self._bar.update(now.read - self._bar.n)
            self._bar.set_postfix(unchanged=now.unchanged, rejected=now.rejected, refresh=False)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self._bar is not None:
            self._bar.close()


def warn_without_dense(store: Store, count: int) -> None:
    """Of documents written so into a store that keeps dense vectors: at the end of a run that stops as well, as no later one reads them."""
    if store.dense_size is not None and count:
        logger.warning(
            "documents written without a dense vector: %d, into %s, which keeps dense vectors of %d numbers. Hybrid searches find these by "
            'their terms alone. Give each record its vector as "dense", or ingest into a store without dense vectors.',
            *(count, store.url, store.dense_size),
        )


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
