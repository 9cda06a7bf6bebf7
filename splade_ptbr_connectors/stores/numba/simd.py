"""A few instructions by name, for what the compiler does not find in a loop. LLVM makes them out of whatever the processor has."""

from __future__ import annotations

from typing import Any

from .addresses import intrinsic, ir, types

_BYTE, _HALF, _WORD, _LONG = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)


def _load(builder: Any, pointer: Any, kind: Any, lanes: int) -> Any:
    return builder.load(builder.bitcast(pointer, ir.VectorType(kind, lanes).as_pointer()), align=kind.width // 8)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_WORD, lanes), [0] * lanes))


def _mask(builder: Any, values: Any, cut: Any, lanes: int) -> Any:
    reached = builder.icmp_unsigned(">=", values, _splat(builder, cut, lanes))
    return builder.bitcast(reached, ir.IntType(lanes))


@intrinsic  # type: ignore[untyped-decorator]
def reaching(typing_context: Any, counts: Any, base: Any, cut: Any) -> Any:
    """A bit for each of 16 uint16, from `base` on, that is at least cut."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = builder.gep(arguments[0], [arguments[1]])
        return builder.zext(_mask(builder, _load(builder, at, _HALF, 16), arguments[2], 16), _LONG)

    return types.int64(counts, types.int64, types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def may_reach(typing_context: Any, counts: Any, base: Any, bounds: Any, block: Any, cut: Any) -> Any:
    """A bit for each of 64 uint16, from `base` on, that is at least cut when a bound is added: the first of four, from `block` on, to
    the first 16, and so on.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        four, which = _load(builder, builder.gep(arguments[2], [arguments[3]]), _HALF, 4), ir.VectorType(_WORD, 64)
        added = builder.shuffle_vector(four, ir.Constant(four.type, ir.Undefined), ir.Constant(which, [i // 16 for i in range(64)]))
        many = _load(builder, builder.gep(arguments[0], [arguments[1]]), _HALF, 64)
        return _mask(builder, builder.add(many, added), arguments[4], 64)

    return types.int64(counts, types.int64, bounds, types.int64, types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def add_two(typing_context: Any, counts: Any, base: Any, one: Any, factor: Any, other: Any, other_factor: Any) -> Any:
    """counts[i] += product(one[i], factor) + product(other[i], other_factor) for 16 uint16, from `base` on, and twice 16 uint8, by
    address.
    """

    def product(builder: Any, address: Any, factor: Any) -> Any:
        impact = builder.zext(_load(builder, builder.inttoptr(address, _BYTE.as_pointer()), _BYTE, 16), ir.VectorType(_HALF, 16))
        wide = builder.or_(builder.shl(impact, _splat(builder, ir.Constant(_HALF, 8), 16)), impact)
        double = ir.VectorType(_WORD, 16)
        whole = builder.mul(builder.zext(wide, double), builder.zext(_splat(builder, factor, 16), double))
        return builder.trunc(builder.lshr(whole, _splat(builder, ir.Constant(_WORD, 16), 16)), ir.VectorType(_HALF, 16))

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        at = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), ir.VectorType(_HALF, 16).as_pointer())
        added = builder.add(product(builder, arguments[2], arguments[3]), product(builder, arguments[4], arguments[5]))
        builder.store(builder.add(builder.load(at, align=2), added), at, align=2)
        return context.get_dummy_value()

    return types.void(counts, types.int64, types.int64, types.uint16, types.int64, types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def lowest_bit(typing_context: Any, mask: Any) -> Any:
    """The place of the lowest bit of a mask that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def larger(typing_context: Any, one: Any, other: Any) -> Any:
    """The larger one of two int64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.select(builder.icmp_signed(">", *arguments), *arguments)

    return types.int64(types.int64, types.int64), generate
