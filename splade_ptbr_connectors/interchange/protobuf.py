"""The protobuf wire format, as far as CIFF needs it: varints and length-delimited fields, a posting list at a time.

Own code instead of the protobuf library, which makes a Python object of every posting, and a collection has hundreds of
millions of them. Here the postings of a list are encoded and decoded as arrays; the tests compare every byte with the library.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
MAX_VARINT_BYTES = 10
_FIXED = {FIXED64: 8, FIXED32: 4}

Value = int | memoryview
U64 = NDArray[np.uint64]


class WireError(ValueError):
    """Bytes that are not a protobuf message."""


def encode_varint(value: int) -> bytes:
    """One integer >= 0."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def decode_varint(data: memoryview, start: int) -> tuple[int, int]:
    """(integer, where it ends)."""
    value = 0
    for position in range(start, min(start + MAX_VARINT_BYTES, len(data))):
        value |= (data[position] & 0x7F) << 7 * (position - start)
        if data[position] < 0x80:
            return value, position + 1
    raise WireError("an integer does not end")


def encode_field(number: int, value: int | str) -> bytes:
    """One field; nothing for 0 and "", which proto3 leaves out."""
    if not value:
        return b""
    if isinstance(value, int):
        return encode_varint(number << 3 | VARINT) + encode_varint(value)
    data = value.encode()
    return encode_varint(number << 3 | DELIMITED) + encode_varint(len(data)) + data


def delimited(message: bytes) -> bytes:
    """The message behind its length."""
    return encode_varint(len(message)) + message


def fields(message: memoryview) -> Iterator[tuple[int, Value, int]]:
    """(field number, value, where the field starts): an integer for a varint, bytes for everything else.

    Raises:
        WireError: at the first byte that makes no sense.
    """
    position = 0
    while position < len(message):
        start = position
        key, position = decode_varint(message, position)
        number, kind = key >> 3, key & 7
        if not number:
            raise WireError("there is no field 0")
        if kind == VARINT:
            value, position = decode_varint(message, position)
            yield number, value, start
            continue
        if kind == DELIMITED:
            size, position = decode_varint(message, position)
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise WireError(f"field {number} is of the unknown kind {kind}")
        if size > len(message) - position:
            raise WireError(f"field {number} is longer than its message")
        yield number, message[position : position + size], start
        position += size


# -- many integers at once ---------------------------------------------------------------------------------------------


def varint_sizes(values: U64) -> NDArray[np.int64]:
    """The bytes that each integer takes."""
    sizes = np.ones(len(values), np.int64)
    for step in range(1, MAX_VARINT_BYTES):
        longer = values >= np.uint64(1 << 7 * step)
        if not longer.any():
            break
        sizes += longer
    return sizes


def encode_varints(values: U64) -> bytes:
    """Integers one after the other."""
    sizes = varint_sizes(values)
    starts = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), np.uint8)
    for step in range(int(sizes.max(initial=0))):  # the first byte of all, the second byte of those that have one ...
        parts = (values & np.uint64(0x7F)).astype(np.uint8)
        goes_on = sizes > step + 1
        out[starts + step] = parts | goes_on.view(np.uint8) << 7
        values, starts, sizes = values[goes_on] >> np.uint64(7), starts[goes_on], sizes[goes_on]
    return out.tobytes()


def decode_varints(data: memoryview) -> U64:
    """All integers of bytes that hold nothing else. Raises WireError."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(octets < 0x80) + 1
    if not len(ends) or ends[-1] != len(octets):
        raise WireError("an integer does not end")
    starts = np.concatenate(([0], ends[:-1]))
    sizes = ends - starts
    if sizes.max() > MAX_VARINT_BYTES:
        raise WireError(f"an integer has more than {MAX_VARINT_BYTES} bytes")
    values = (octets[starts] & 0x7F).astype(np.uint64)
    for step in range(1, int(sizes.max())):
        rows = np.flatnonzero(sizes > step)
        values[rows] |= (octets[starts[rows] + step] & 0x7F).astype(np.uint64) << np.uint64(7 * step)
    return values
