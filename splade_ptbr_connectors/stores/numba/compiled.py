"""The one door to numba: compiles kernels that release the interpreter lock, and keeps them on disk where that is possible."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...extras import require

F = TypeVar("F", bound=Callable[..., Any])
logger = logging.getLogger(__name__)
numba: Any = require("numba", "the store numba:PATH")
extending: Any = require("numba.extending", "the store numba:PATH")
types: Any = require("numba.core.types", "the store numba:PATH")
ir: Any = require("llvmlite.ir", "the store numba:PATH")
templates: Any = require("numba.core.typing.templates", "the store numba:PATH")
cgutils: Any = require("numba.core.cgutils", "the store numba:PATH")
intrinsic: Any = extending.intrinsic
_OPTIONS = {"nogil": True, "boundscheck": False, "error_model": "numpy"}


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
        kernel: F = numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError as error:  # numba found no folder that it can write to
        logger.warning("compiled code is not kept between processes (%s): set NUMBA_CACHE_DIR to a folder that can be written", error)
        kernel = numba.njit(**_OPTIONS)(function)
    return kernel


def inlined(function: F) -> F:
    """A kernel for use within others only: becomes part of each place that calls it, as if it were written there."""
    kernel: F = numba.njit(inline="always", **_OPTIONS)(function)
    return kernel


def part(function: F) -> F:
    """A kernel for use within others only, compiled by itself."""
    kernel: F = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)(function)
    return kernel


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any, kind: Any) -> Any:
    """The numbers of a kind (np.uint16, ...) at an address (int64), as many as are asked for. Whoever calls a kernel keeps them alive."""
    numbers = types.CPointer(kind.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(numbers))

    return numbers(types.int64, kind), generate


@intrinsic  # type: ignore[untyped-decorator]
def memory(typing_context: Any, array: Any) -> Any:
    """The numbers of an array, as pointer() gives them."""
    numbers = types.CPointer(array.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return numbers(array), generate


class Struct(types.Type):  # type: ignore[misc, name-defined]
    """Named numbers, and addresses of numbers, at an address."""

    def __init__(self, name: str, fields: dict[str, tuple[int, Any]]) -> None:
        self.fields = fields
        super().__init__(f"Struct({name})")


@extending.register_model(Struct)
class _StructModel(extending.models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, cgutils.voidptr_t)


@extending.infer_getattr
class _StructAttribute(templates.AttributeTemplate):
    key = Struct

    def generic_resolve(self, kind: Any, name: str) -> Any:
        return kind.fields[name][1]


@extending.lower_getattr_generic(Struct)
def _get(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    offset, number = kind.fields[name]
    at = builder.gep(value, [ir.Constant(ir.IntType(64), offset)])
    return builder.load(builder.bitcast(at, context.get_value_type(number).as_pointer()))


@extending.lower_setattr_generic(Struct)
def _set(context: Any, builder: Any, signature: Any, arguments: Any, name: str) -> None:
    kind, given = signature.args
    offset, number = kind.fields[name]
    at = builder.gep(arguments[0], [ir.Constant(ir.IntType(64), offset)])
    value = context.cast(builder, arguments[1], given, number)
    builder.store(value, builder.bitcast(at, context.get_value_type(number).as_pointer()))


def struct(name: str, fields: dict[str, tuple[int, Any]]) -> Any:
    """A function of kernels: an address (int64) as a Struct.

    Args:
        fields: by name, offset in bytes and the type of number, or a list of it: the address of such numbers.
    """
    as_type = numba.np.numpy_support.from_dtype
    members = {}
    for key, (offset, kind) in fields.items():
        if isinstance(kind, list):
            members[key], members[f"{key}_at"] = (offset, types.CPointer(as_type(np.dtype(kind[0])))), (offset, types.int64)
        else:
            members[key] = offset, as_type(np.dtype(kind))

    @intrinsic
    def at(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return Struct(name, members)(types.int64), generate

    return at


@intrinsic  # type: ignore[untyped-decorator]
def clear(typing_context: Any, numbers: Any, count: Any) -> Any:
    """Set numbers to 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype))
        cgutils.memset(builder, arguments[0], builder.mul(arguments[1], ir.Constant(ir.IntType(64), size)), 0)
        return context.get_dummy_value()

    return types.void(numbers, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, begin: Any, size: Any) -> Any:
    """Ask for the cache lines at an address (int64), so many bytes from there on, which will be read soon. Never faults."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number, long = ir.IntType(8).as_pointer(), ir.IntType(32), ir.IntType(64)
        declared = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(ir.VoidType(), [byte, number, number, number]), "llvm.prefetch.p0i8"
        )
        constants = [ir.Constant(number, value) for value in (0, 3, 1)]  # to read, into every cache, data
        lines = builder.lshr(builder.add(arguments[1], ir.Constant(long, 63)), ir.Constant(long, 6))
        with cgutils.for_range(builder, lines) as loop:
            at = builder.add(arguments[0], builder.shl(loop.index, ir.Constant(long, 6)))
            builder.call(declared, [builder.inttoptr(at, byte), *constants])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate
