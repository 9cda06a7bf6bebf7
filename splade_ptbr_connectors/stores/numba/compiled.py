"""The one door to numba: compiles kernels that release the interpreter lock, and keeps them on disk where that is possible.

What a kernel costs to compile grows faster than its length, and what is inlined into another is compiled with it: so the larger
parts of a kernel are compiled by themselves. They read memory by address (addresses.py): arrays, tuples of them, slices,
`min()` and `max()` are convenient, but numba compiles hundreds of lines for each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ...extras import require
from .kept import Kept

F = TypeVar("F", bound=Callable[..., Any])
numba: Any = require("numba", "the store numba:PATH")
_OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy", "no_cfunc_wrapper": True}


def compiled(function: F) -> F:
    """Compile at the first call, or load what an earlier process compiled; see kept.py.

    No fast-math: sums are taken in the order in which they are written.
    """
    kernel: Any = numba.njit(**_OPTIONS)(function)
    kernel._cache = Kept(function)
    return kernel  # type: ignore[no-any-return]


def part(function: F) -> F:
    """A kernel that others call, compiled by itself and kept with them."""
    kernel: F = numba.njit(no_cpython_wrapper=True, **_OPTIONS)(function)
    return kernel


def inlined(function: F) -> F:
    """A few lines for use within kernels: become part of each place that calls them, as if they were written there."""
    kernel: F = numba.njit(inline="always", **_OPTIONS)(function)
    return kernel
