"""Memory as kernels see it: numbers at an address, by index or by name. Whoever calls a kernel keeps them alive."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...extras import require

extending: Any = require("numba.extending", "the store numba:PATH")
errors: Any = require("numba.core.errors", "the store numba:PATH")
types: Any = require("numba.core.types", "the store numba:PATH")
templates: Any = require("numba.core.typing.templates", "the store numba:PATH")
cgutils: Any = require("numba.core.cgutils", "the store numba:PATH")
from_dtype: Any = require("numba.np.numpy_support", "the store numba:PATH").from_dtype
ir: Any = require("llvmlite.ir", "the store numba:PATH")
intrinsic: Any = extending.intrinsic
_LONG, _LINE_BITS = ir.IntType(64), 6  # a cache line is 64 bytes


def to_read(array: NDArray[Any]) -> NDArray[Any]:
    """An array that a kernel only reads, as the one type for which it is compiled: contiguous, and not to be written to."""
    view = np.ascontiguousarray(array).view()
    view.flags.writeable = False
    return view


@intrinsic  # type: ignore[untyped-decorator]
def pointer(typing_context: Any, address: Any, kind: Any) -> Any:
    """The numbers of a kind (np.uint16, ...) at an address (int64)."""
    numbers = types.CPointer(kind.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(numbers))

    return numbers(types.int64, kind), generate


@intrinsic  # type: ignore[untyped-decorator]
def memory(typing_context: Any, array: Any) -> Any:
    """The numbers of a contiguous array, as pointer() gives them."""
    if array.layout != "C":
        raise errors.TypingError(f"{array} is not contiguous: pass it through to_read()")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return types.CPointer(array.dtype)(array), generate


@intrinsic  # type: ignore[untyped-decorator]
def clear(typing_context: Any, numbers: Any, count: Any) -> Any:
    """Set so many numbers to 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        size = ir.Constant(_LONG, context.get_abi_sizeof(context.get_value_type(numbers.dtype)))
        cgutils.memset(builder, arguments[0], builder.mul(arguments[1], size), 0)
        return context.get_dummy_value()

    return types.void(numbers, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, address: Any, size: Any) -> Any:
    """Ask for the cache lines of so many bytes from an address (int64) on, which will be read soon. Never faults."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        declared = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        how = [ir.Constant(number, value) for value in (0, 3, 1)]  # to read, into every cache, data
        line = ir.Constant(_LONG, _LINE_BITS)
        lines = builder.lshr(builder.add(arguments[1], ir.Constant(_LONG, (1 << _LINE_BITS) - 1)), line)
        with cgutils.for_range(builder, lines) as loop:
            at = builder.add(arguments[0], builder.shl(loop.index, line))
            builder.call(declared, [builder.inttoptr(at, byte), *how])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


class Struct(types.Type):  # type: ignore[misc]
    """Fields at an address: by name, their offset in bytes and their type."""

    def __init__(self, name: str, fields: dict[str, tuple[int, Any]]) -> None:
        self.fields = fields
        super().__init__(f"Struct({name})")


def struct(name: str, fields: dict[str, tuple[int, Any]]) -> Any:
    """A function of kernels: what is at an address (int64), as a Struct.

    Args:
        fields: by name, the offset in bytes, and a type of number; or a list of one, which stands for the address of such
            numbers, and is there as NAME, the numbers, and as NAME_at, the address.
    """
    kinds = dict[str, tuple[int, Any]]()
    for field, (offset, kind) in fields.items():
        if isinstance(kind, list):
            kinds[field], kinds[f"{field}_at"] = (offset, types.CPointer(from_dtype(np.dtype(kind[0])))), (offset, types.int64)
        else:
            kinds[field] = offset, from_dtype(np.dtype(kind))

    @intrinsic  # type: ignore[untyped-decorator]
    def at(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], cgutils.voidptr_t)

        return Struct(name, kinds)(types.int64), generate

    return at


@extending.register_model(Struct)
class _StructModel(extending.models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, cgutils.voidptr_t)


@extending.infer_getattr
class _StructFields(templates.AttributeTemplate):  # type: ignore[misc]
    key = Struct

    def generic_resolve(self, kind: Any, name: str) -> Any:
        return kind.fields[name][1] if name in kind.fields else None


@extending.lower_getattr_generic(Struct)  # type: ignore[untyped-decorator]
def _get(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    return builder.load(_place(context, builder, kind, value, name))


@extending.lower_setattr_generic(Struct)  # type: ignore[untyped-decorator]
def _set(context: Any, builder: Any, signature: Any, arguments: Any, name: str) -> None:
    kind, given = signature.args
    value = context.cast(builder, arguments[1], given, kind.fields[name][1])
    builder.store(value, _place(context, builder, kind, arguments[0], name))


def _place(context: Any, builder: Any, kind: Any, value: Any, name: str) -> Any:
    offset, field = kind.fields[name]
    return builder.bitcast(builder.gep(value, [ir.Constant(_LONG, offset)]), context.get_value_type(field).as_pointer())
