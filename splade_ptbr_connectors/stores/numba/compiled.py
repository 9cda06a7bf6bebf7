"""The one door to numba: compiles kernels that release the interpreter lock, and keeps them on disk where that is possible."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from ...extras import require

F = TypeVar("F", bound=Callable[..., Any])
logger = logging.getLogger(__name__)
numba: Any = require("numba", "the store numba:PATH")
extending: Any = require("numba.extending", "the store numba:PATH")
types: Any = require("numba.core.types", "the store numba:PATH")
ir: Any = require("llvmlite.ir", "the store numba:PATH")
cgutils: Any = require("numba.core.cgutils", "the store numba:PATH")
intrinsic: Any = extending.intrinsic


@functools.cache
def _sources() -> str:
    """Names this version of all kernels."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def compiled(function: F) -> F:
    """Compile at the first call. No fast-math: sums are taken in the order in which they are written.

    Machine code is cached beside this package, else where NUMBA_CACHE_DIR says, else in the user's cache folder. Where none
    of them can be written, every process compiles anew (some seconds at its first search), which is logged.
    """
    # numba looks for changes only in the file that defines a kernel, not in those whose kernels and constants it uses
    function.__qualname__ = f"{function.__qualname__}_{_sources()}"
    try:
        kernel: F = numba.njit(cache=True, nogil=True, boundscheck=False)(function)
    except RuntimeError as error:  # numba found no folder that it can write to
        logger.warning("compiled code is not kept between processes (%s): set NUMBA_CACHE_DIR to a folder that can be written", error)
        kernel = numba.njit(nogil=True, boundscheck=False)(function)
    return kernel


def inlined(function: F) -> F:
    """A kernel for use within others only: LLVM merges it into them."""
    kernel: F = numba.njit(nogil=True, boundscheck=False, inline="never", forceinline=True)(function)
    return kernel


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any) -> Any:
    """The memory at an address (int64), to be wrapped by `numba.carray`. Whoever calls a kernel keeps that memory alive."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, address: Any) -> Any:
    """Ask for the cache line at an address (int64), which will be read soon. Never faults."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        declared = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0i8"
        )
        constants = [ir.Constant(number, value) for value in (0, 3, 1)]  # to read, into every cache, data
        builder.call(declared, [builder.inttoptr(arguments[0], byte), *constants])
        return context.get_dummy_value()

    return types.void(address), generate
