"""The checkpoint: up to which record an ingest was acknowledged by the store, so that a killed run resumes from there."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..atomic import write_atomically
from ..errors import IngestError
from ..json_values import parse_json
from ..validation import Natural, read_as
from .report import IngestCounts

FORMAT = "splade-ptbr ingest checkpoint 1"
INTERVAL_S = 1.0
MAX_SHARE = 0.02  # of the time goes into saving: a flush may take a tenth of a second and stops everything else


@dataclass(frozen=True)
class RunIdentity:
    """What must be the same for a run to resume where another stopped."""

    model: str
    fingerprint: str
    store: str
    store_id: str
    tenant: str | None = None


@dataclass(frozen=True)
class ResumePoint:
    """How far a run came: every record before `position` is acknowledged.

    Attributes:
        position: number of records dealt with, from the first one on, without a hole.
        prefix: digest over these records, which proves that the input still begins with them.
        dead_letter_bytes: length of the dead-letter file at that moment.
        last_written: which of these records was written to the store last, from 1; 0: none was, or an older version did not record it.
    """

    position: Natural
    prefix: str
    counts: IngestCounts
    dead_letter_bytes: Natural
    last_written: Natural = 0

    @classmethod
    def beginning(cls) -> ResumePoint:
        """Where a new run starts."""
        return cls(0, "", IngestCounts(), 0)

    @property
    def acknowledged(self) -> int:
        """Documents that are in the store by this progress."""
        return self.counts.written + self.counts.unchanged


class Checkpoint:
    """The checkpoint file of one run.

    Args:
        path: None for a run without one: nothing is read or written.
        run, input: what the run is about; `input` is for messages.
    """

    def __init__(self, path: Path | None, run: RunIdentity, input: Mapping[str, Any]) -> None:
        self.path = path
        self.run = run
        self.input = input
        self._next_at = time.monotonic() + INTERVAL_S

    def resume_point(self, *, restart: bool) -> ResumePoint:
        """How far an earlier run came; the beginning if there is none, or with `restart`.

        Raises:
            IngestError: the file is not a checkpoint, or belongs to another model or store.
        """
        raw = self._read()
        if raw is None or restart:
            return ResumePoint.beginning()
        try:
            earlier, point = read_as(RunIdentity, raw.get("run")), read_as(ResumePoint, raw)
        except ValueError as error:
            raise IngestError(f"the checkpoint {self.path} is damaged ({error}): pass restart=True to start over.") from error
        self._check(earlier)
        return point

    def check_kept(self, start: ResumePoint, documents: int, lost: str | None) -> None:
        """Raise IngestError when the store is not as the earlier run left it: resuming would leave a hole.

        Args:
            documents: how many the store holds.
            lost: the id of the document that was written last, if it is not there as it was written: the sign of a store that was
                restored from a backup, however many other documents it holds.
        """
        if documents >= start.acknowledged and lost is None:
            return
        few = f"which holds {documents:,}: some have been deleted or lost since"
        other = f"where the last one, {lost!r}, is missing or another version: was the store restored from a backup, or written by others?"
        raise IngestError(
            f"the checkpoint {self.path} counts {start.acknowledged:,} documents in {self.run.store}, "
            f"{few + '.' if documents < start.acknowledged else other} "
            "Pass restart=True to start over; unchanged documents are not written again."
        )

    @property
    def due(self) -> bool:
        """True when it is time for another save."""
        return self.path is not None and time.monotonic() >= self._next_at

    def save(self, point: ResumePoint, started: float) -> None:
        """Write atomically. Raises IngestError if the disk rejects the write.

        Args:
            started: time.monotonic() at which the work for this save (flushing the store) began.
        """
        if self.path is None:
            return
        content = {"format": FORMAT, "input": dict(self.input), "run": asdict(self.run), **asdict(point)}
        try:
            write_atomically(self.path, json.dumps(content, ensure_ascii=False, indent=2) + "\n")
        except OSError as error:
            raise IngestError(f"cannot write the checkpoint {self.path}: {error.strerror or error}.") from error
        now = time.monotonic()
        self._next_at = now + max(INTERVAL_S, (now - started) / MAX_SHARE)

    def remove(self) -> None:
        """The run is complete."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _check(self, was: RunIdentity) -> None:
        now = self.run
        if (was.fingerprint, was.store_id, was.tenant) == (now.fingerprint, now.store_id, now.tenant):
            return
        what = "model" if was.fingerprint != now.fingerprint else "store" if was.store_id != now.store_id else "tenant"
        raise IngestError(
            f"the checkpoint {self.path} belongs to another {what} (its model: {was.model!r} {was.fingerprint[:12]}, store: {was.store}; "
            f"now: {now.model!r} {now.fingerprint[:12]}, {now.store}): pass restart=True to start over."
        )

    def other_input(self) -> IngestError:
        """The error for an input that does not begin with the records that the checkpoint counts."""
        raw = self._read() or {}
        before = raw.get("input")
        was = before.get("path") if isinstance(before, dict) else "another input"
        return IngestError(
            f"the checkpoint {self.path} belongs to another input ({was}), or that one was changed: pass restart=True to start over."
        )

    def _read(self) -> dict[str, Any] | None:
        if self.path is None:
            return None
        try:
            raw = parse_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise IngestError(f"cannot read the checkpoint {self.path} ({error}): give another path.") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise IngestError(f"{self.path} exists and is not a checkpoint: it was not touched, give another path.")
        return raw
