"""As much of protobuf's wire format as an ONNX file needs (https://protobuf.dev/programming-guides/encoding)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_NUMBER, _EIGHT, _CHUNK, _FOUR = 0, 1, 2, 5  # how a field is written
_SIZES = {_EIGHT: 8, _FOUR: 4}  # bytes


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The numbers and values of a message's fields: whole numbers as such, all else as the bytes that stand there."""
    at = 0
    while at < len(message):
        key, at = _number(message, at)
        kind = key & 7
        if kind == _NUMBER:
            value, at = _number(message, at)
            yield key >> 3, value
            continue
        size, at = _number(message, at) if kind == _CHUNK else (_SIZES[kind], at)
        yield key >> 3, message[at : at + size]
        at += size


def _number(message: memoryview, at: int) -> tuple[int, int]:
    """A whole number, seven bits a byte, the lowest first; and where the next begins."""
    value, shift = 0, 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def number(field: int, value: int) -> bytes:
    return _written(field << 3 | _NUMBER) + _written(value)


def real(field: int, value: float) -> bytes:
    return _written(field << 3 | _FOUR) + struct.pack("<f", value)


def chunk(field: int, value: bytes | str) -> bytes:
    """A text, bytes, or a message within a message."""
    data = value.encode() if isinstance(value, str) else value
    return _written(field << 3 | _CHUNK) + _written(len(data)) + data


def _written(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])
