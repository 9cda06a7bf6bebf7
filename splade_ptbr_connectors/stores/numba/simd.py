"""A few instructions by name, for what the compiler does not find in a loop. LLVM makes them out of whatever the processor has."""

from __future__ import annotations

from typing import Any

from .addresses import intrinsic, ir, types

_BYTE, _HALF, _WORD, _LONG = ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)


def _load(builder: Any, pointer: Any, kind: Any, lanes: int) -> Any:
    return builder.load(builder.bitcast(pointer, ir.VectorType(kind, lanes).as_pointer()), align=kind.width // 8)


def _splat(builder: Any, value: Any, lanes: int) -> Any:
    if not lanes:
        return value
    vector = ir.VectorType(value.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(_WORD, 0))
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(_WORD, lanes), [0] * lanes))


def _mask(builder: Any, values: Any, cut: Any, lanes: int) -> Any:
    reached = builder.icmp_unsigned(">=", values, _splat(builder, builder.trunc(cut, _HALF), lanes))
    return builder.bitcast(reached, ir.IntType(lanes))


def _product(builder: Any, impact: Any, factor: Any, lanes: int = 0) -> Any:
    """Factor * impact / 255, rounded down: 8 bits are made 16 by repeating them, so that it is the upper half of one product."""
    half, word = (ir.VectorType(kind, lanes) if lanes else kind for kind in (_HALF, _WORD))
    eight, sixteen = (_splat(builder, ir.Constant(kind, bits), lanes) for kind, bits in ((_HALF, 8), (_WORD, 16)))
    impact = builder.zext(impact, half)
    wide = builder.or_(builder.shl(impact, eight), impact)
    whole = builder.mul(builder.zext(wide, word), builder.zext(_splat(builder, factor, lanes), word))
    return builder.trunc(builder.lshr(whole, sixteen), half)


@intrinsic  # type: ignore[untyped-decorator]
def product(typing_context: Any, impact: Any, factor: Any) -> Any:
    """A factor (uint16) times impact (uint8) / 255, rounded down."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _product(builder, *arguments)

    return types.uint16(types.uint8, types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def add_two(typing_context: Any, counts: Any, base: Any, one: Any, factor: Any, other: Any, other_factor: Any) -> Any:
    """counts[i] += product(one[i], factor) + product(other[i], other_factor) for 16 uint16, from `base` on, and twice 16 uint8, by
    address.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _, _, *columns = arguments
        at = builder.bitcast(builder.gep(arguments[0], [arguments[1]]), ir.VectorType(_HALF, 16).as_pointer())
        impacts = [_load(builder, builder.inttoptr(address, _BYTE.as_pointer()), _BYTE, 16) for address in columns[::2]]
        products = [_product(builder, impact, factor, 16) for impact, factor in zip(impacts, columns[1::2], strict=True)]
        builder.store(builder.add(builder.load(at, align=2), builder.add(*products)), at, align=2)
        return context.get_dummy_value()

    return types.void(counts, types.int64, types.int64, types.uint16, types.int64, types.uint16), generate


@intrinsic  # type: ignore[untyped-decorator]
def reaching(typing_context: Any, counts: Any, base: Any, cut: Any) -> Any:
    """A bit for each of 16 uint16, from `base` on, that is at least cut (below 2**16)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counted = _load(builder, builder.gep(arguments[0], [arguments[1]]), _HALF, 16)
        return builder.zext(_mask(builder, counted, arguments[2], 16), _LONG)

    return types.int64(counts, types.int64, types.int64), generate


@intrinsic  # type: ignore[untyped-decorator]
def may_reach(typing_context: Any, counts: Any, bounds: Any, base: Any, cut: Any) -> Any:
    """A bit for each of 64 uint16, from `base` on, that is at least cut (below 2**16) when a bound is added: to each 16 their own."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        counts, bounds, base, cut = arguments
        four = _load(builder, builder.gep(bounds, [builder.lshr(base, ir.Constant(_LONG, 4))]), _HALF, 4)
        which = ir.Constant(ir.VectorType(_WORD, 64), [i // 16 for i in range(64)])
        added = builder.shuffle_vector(four, ir.Constant(four.type, ir.Undefined), which)
        return _mask(builder, builder.add(_load(builder, builder.gep(counts, [base]), _HALF, 64), added), cut, 64)

    return types.int64(counts, bounds, types.int64, types.int64), generate


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
