"""Take large weights out of a serialised model before it is parsed, so that they are copied once only.

Source: protobuf.dev/programming-guides/encoding; field numbers of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import NamedTuple

#: Smaller tensors are left to the parser.
LEAST_BYTES = 64 << 10
#: A tensor with more fields than this keeps its numbers one by one, not as raw bytes.
MOST_FIELDS = 64

_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_LENGTH_DELIMITED = 2


class Field(NamedTuple):
    """One field of a message: positions of its tag, of its value, and of what follows."""

    number: int
    wire: int
    tag: int
    start: int
    end: int


def detach(data: bytes | mmap.mmap) -> tuple[bytes | mmap.mmap, dict[int, memoryview]]:
    """The serialised model without the raw bytes of large initializers, and those bytes by the initializer's index.

    Bytes that are not what they should be are returned as they are: the parser is the one to complain.
    """
    try:
        return _detach(data)
    except ValueError:
        return data, {}


def _detach(data: bytes | mmap.mmap) -> tuple[bytes | mmap.mmap, dict[int, memoryview]]:
    graphs = [f for f in fields(data, 0, len(data)) if f.number == _GRAPH]
    if len(graphs) != 1 or graphs[0].wire != _LENGTH_DELIMITED:
        return data, {}
    graph, view = graphs[0], memoryview(data)
    pieces: list[bytes | memoryview] = []
    large: dict[int, memoryview] = {}
    done, index = graph.start, 0
    for tensor in fields(data, graph.start, graph.end):
        if tensor.number != _INITIALIZER:
            continue
        raw = _raw_data(data, tensor)
        if raw is not None:
            body = (view[tensor.start:raw.tag], view[raw.end:tensor.end])
            pieces += [view[done:tensor.tag], _header(_INITIALIZER, sum(map(len, body))), *body]
            large[index] = view[raw.start:raw.end]
            done = tensor.end
        index += 1
    pieces.append(view[done:graph.end])
    return b"".join([view[:graph.tag], _header(_GRAPH, sum(map(len, pieces))), *pieces, view[graph.end:]]), large


def _raw_data(data: bytes | mmap.mmap, tensor: Field) -> Field | None:
    """The field with the tensor's raw bytes, where there is exactly one and it is large."""
    if tensor.wire != _LENGTH_DELIMITED or tensor.end - tensor.start < LEAST_BYTES:
        return None
    found = []
    for count, field in enumerate(fields(data, tensor.start, tensor.end)):
        if count == MOST_FIELDS:
            return None
        if field.number == _RAW_DATA:
            found.append(field)
    if len(found) != 1 or found[0].wire != _LENGTH_DELIMITED or found[0].end - found[0].start < LEAST_BYTES:
        return None
    return found[0]


def fields(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[Field]:
    """Fields of the message at data[start:end]. Raises ValueError where it is malformed."""
    while start < end:
        tag = start
        key, start = varint(data, start, end)
        wire = key & 7
        value = start
        if wire == 0:
            _, start = varint(data, start, end)
        elif wire == _LENGTH_DELIMITED:
            size, value = varint(data, start, end)
            start = value + size
        elif wire in (1, 5):
            start += 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire} at byte {tag}")
        if start > end:
            raise ValueError(f"the field at byte {tag} ends behind its message")
        yield Field(key >> 3, wire, tag, value, start)


def varint(data: bytes | mmap.mmap, start: int, end: int) -> tuple[int, int]:
    """(number, next position). Raises ValueError where the data ends within it or it is longer than 10 bytes."""
    value = 0
    for i in range(start, min(end, start + 10)):
        value |= (data[i] & 127) << 7 * (i - start)
        if data[i] < 128:
            return value, i + 1
    raise ValueError(f"malformed number at byte {start}")


def _header(number: int, size: int) -> bytes:
    header = bytearray([number << 3 | _LENGTH_DELIMITED])
    while size > 127:
        header.append(size & 127 | 128)
        size >>= 7
    return bytes([*header, size])
