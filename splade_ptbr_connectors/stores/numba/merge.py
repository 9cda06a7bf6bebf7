"""Which segments are merged into larger ones, and how: the number of segments stays logarithmic, and the buffer small."""

from __future__ import annotations

import itertools
import operator
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .contents import Buffer, Contents, together
from .postings import WINDOW
from .rows import Numbers
from .schema import Documents, Registered
from .segment import SUFFIX, Segment, write_segment

_MOSTLY_FULL = 0.75  # a segment with so many living rows is left alone
_MOSTLY_DEAD = 0.5  # one with fewer is written anew even by itself
Sources = list[tuple[Segment | Buffer, Numbers]]


class Run(NamedTuple):
    """Neighbours to be merged, each with its living rows; the buffer is the last of all where it takes part.

    With `rest` False, rows of the buffer that fill no window behind full ones stay there: between full segments they would be a small one
    for good, and a search costs by the segment.
    """

    sources: Sources
    rest: bool = True

    @property
    def replaced(self) -> list[Registered]:
        """The segments that go."""
        return [source.registered for source, _ in self.sources if isinstance(source, Segment)]

    @property
    def takes_buffer(self) -> bool:
        """Whether the buffer takes part."""
        return isinstance(self.sources[-1][0], Buffer)


def runs(contents: Contents, *, everything: bool) -> list[Run]:
    """What to merge.

    Args:
        everything: all that is not mostly full; otherwise the buffer with as many segments before it as keeps their number logarithmic.
    """
    sources: Sources = [(source, np.flatnonzero(alive)) for source, alive in zip(contents.segments, contents.alive, strict=True)]
    if len(contents.buffer):
        sources.append((contents.buffer, np.flatnonzero(contents.buffer.alive)))
    wanted = [_small(*source) for source in sources] if everything else _behind(sources)
    damaged = [isinstance(source, Segment) and not source.written for source, _ in sources]
    chosen = zip(map(operator.or_, wanted, damaged), sources, strict=True)
    found = [
        Run([source for _, source in group], everything) for taken, group in itertools.groupby(chosen, operator.itemgetter(0)) if taken
    ]
    return [run for run in found if not _alone(run)]


def write_run(folder: Path, run: Run, first: int, last: int, revision: int, store_id: str) -> Iterator[Registered]:
    """Build and write segments for first < number <= last, one after the other, yet to be renamed and registered. Raises OSError.

    The last of them ends earlier where a rest stays in the buffer.
    """
    sources = run.sources if run.rest or not run.takes_buffer else _filling(run.sources)
    count = -(-sum([len(living) for _, living in sources]) // WINDOW)
    for n, documents in enumerate(_windows(sources)):
        end = last if n == count - 1 and sources is run.sources else int(documents.numbers[-1])
        about = Registered(f"{end:012}-{uuid.uuid4().hex[:8]}{SUFFIX}", first, end, revision, 0)
        yield write_segment(folder, about, store_id, documents)
        first = end


def _filling(sources: Sources) -> Sources:
    """Without the last rows of the buffer, which fill no window behind full ones, and never with a part of a document's passages."""
    total, (buffer, living) = sum([len(living) for _, living in sources]), sources[-1]
    left = total % WINDOW
    if total < WINDOW or not 0 < left <= len(living):
        return sources
    heads = np.flatnonzero(buffer.places_of(living) == 0)
    start = int(heads[heads <= len(living) - left].max(initial=0))
    return [*sources[:-1], (buffer, living[:start])] if start else sources


def _small(source: Segment | Buffer, living: Numbers) -> bool:
    return isinstance(source, Buffer) or len(living) < _MOSTLY_FULL * WINDOW


def _behind(sources: Sequence[tuple[Segment | Buffer, Numbers]]) -> list[bool]:
    chosen, size = [False] * len(sources), 0
    for n in reversed(range(len(sources))):
        source, living = sources[n]
        if isinstance(source, Segment) and (not size or len(living) > 2 * size or len(living) + size > WINDOW):
            break
        chosen[n] = True
        size += len(living)
    return chosen


def _alone(run: Run) -> bool:
    """Whether the run is one segment that may stay as it is."""
    source, living = run.sources[0]
    return len(run.sources) == 1 and isinstance(source, Segment) and source.written and len(living) >= _MOSTLY_DEAD * len(source)


def _windows(sources: Sources) -> Iterator[Documents]:
    """Living rows, up to WINDOW of them at a time."""
    waiting, size = list[Documents](), 0
    for source, living in sources:
        begin = 0
        while begin < len(living):
            rows = living[begin : begin + WINDOW - size]
            waiting.append(source.documents(rows))
            begin, size = begin + len(rows), size + len(rows)
            if size == WINDOW:
                yield together(waiting)
                waiting, size = [], 0
    if size:
        yield together(waiting)
