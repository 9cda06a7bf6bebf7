"""Showing how far an ingest is: a bar on a terminal, or a callable of the caller's."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NamedTuple


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


def _on_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
