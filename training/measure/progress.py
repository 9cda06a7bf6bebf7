"""Progress bars of the commands that take long."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def bar(items: Iterable[T], what: str, progress: bool, *, total: int) -> Iterator[T]:
    """The items, with a bar on stderr if that is asked for and stderr is a terminal."""
    return iter(tqdm(items, what, total=total, disable=None if progress else True, file=sys.stderr))
