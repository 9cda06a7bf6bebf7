"""What an ingest did: every record that was read was written, unchanged or rejected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .reconcile import Reconciled

MAX_KINDS = 50
_VARYING = re.compile(r"'(?:[^'\\]|\\.)*'|\d[\d.,]*\d|\d")


@dataclass(frozen=True)
class IngestReport:
    """Counts of an ingest; read = written + unchanged + rejected, a resumed run's first part included.

    Attributes:
        reasons: rejected records by kind of reason.
        seconds: wall time of this run.
        documents_per_second: records of this run by its seconds.
        dead_letter: the file that lists the rejected records; None when there is none.
        resumed_at: records that an earlier, interrupted run had dealt with.
        reconciled: what the check of the finished run found; None when it was switched off.
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

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"reasons": dict(self.reasons)}


@dataclass
class Counts:
    """The running counts behind a report."""

    written: int = 0
    unchanged: int = 0
    rejected: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

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

    def report(self, seconds: float, dead_letter: str | None, resumed_at: int, reconciled: Reconciled | None = None) -> IngestReport:
        """The final report."""
        reasons = dict(sorted(self.reasons.items(), key=lambda entry: -entry[1]))
        speed = (self.read - resumed_at) / seconds if seconds > 0 else 0.0
        counted = (self.read, self.written, self.unchanged, self.rejected, reasons)
        return IngestReport(*counted, seconds, speed, dead_letter, resumed_at, reconciled)


def kind_of(reason: str) -> str:
    """A reason without what varies from record to record: quoted values and numbers become "…"."""
    return _VARYING.sub("…", reason)[:200]
