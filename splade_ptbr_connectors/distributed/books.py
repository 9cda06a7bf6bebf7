"""The books of a distributed ingest: outcomes added up, and a look into the store in the end."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterable

from ..errors import IngestError
from ..ingestion.dead_letter import DeadLetter
from ..ingestion.progress import Display, IngestProgress
from ..ingestion.reconcile import Reconciled
from ..ingestion.report import Counts
from ..stores.base import Store
from .rows import Outcome

logger = logging.getLogger(__name__)
SAMPLE = 64
SHOWN = 5


class Books:
    """Adds outcomes up, in the order of the input.

    Attributes:
        counts: every record that was dealt with.
        new: documents that the store did not hold before.
        sample: id and content hash of at most SAMPLE written documents, chosen at random.
    """

    def __init__(self, rejected: DeadLetter, display: Display, started: float) -> None:
        self.counts = Counts()
        self.new = 0
        self.sample: list[tuple[str, str]] = []
        self._offered = 0
        self._random = random.Random(0)
        self._rejected = rejected
        self._display = display
        self._started = started

    def add_all(self, outcomes: Iterable[Outcome]) -> None:
        """Add up. Raises the first error among the outcomes, after what came before it was accounted for."""
        for outcome in outcomes:
            self._add(outcome)
            counts = self.counts
            now = IngestProgress(counts.read, counts.written, counts.unchanged, counts.rejected, time.monotonic() - self._started)
            self._display.show(now)
            outcome.raise_error()

    def reconcile(self, store: Store, before: int) -> Reconciled:
        """Count what the store holds and read the sample back.

        Args:
            before: documents in the store when the run began.

        Raises:
            IngestError: documents of the sample are missing.
        """
        stored = store.content_hashes([doc_id for doc_id, _ in self.sample])
        missing = [doc_id for doc_id, _ in self.sample if doc_id not in stored]
        if missing:
            shown = ", ".join(map(repr, missing[:SHOWN])) + (", ..." if len(missing) > SHOWN else "")
            raise IngestError(f"{store.url} acknowledged documents that it does not hold: {shown}; was it cleared meanwhile? Run it again.")
        changed = sum(stored[doc_id] != mark for doc_id, mark in self.sample)
        expected, found = before + self.new, store.count()
        if found < expected:
            logger.warning("%s holds %d documents, %d were expected: compare with splade-ptbr verify", store.url, found, expected)
        return Reconciled(len(self.sample), 0, changed, expected, found, not changed and found >= expected)

    def _add(self, outcome: Outcome) -> None:
        self.counts.written += outcome.written
        self.counts.unchanged += outcome.unchanged
        self.new += outcome.new
        for _, reason, _ in outcome.rejected:
            self.counts.reject(reason)
        self._rejected.append(dead for _, _, dead in outcome.rejected)
        for doc_id, mark in outcome.sample:
            self._offer(doc_id, mark)

    def _offer(self, doc_id: str, mark: str) -> None:
        """Reservoir sampling: each of those offered is kept with the same probability."""
        self._offered += 1
        if len(self.sample) < SAMPLE:
            self.sample.append((doc_id, mark))
        elif (place := self._random.randrange(self._offered)) < SAMPLE:
            self.sample[place] = (doc_id, mark)
