"""Changes of good inputs: bytes, JSON texts, protobuf messages; and the way back to smaller ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..edges import EDGES, FACTORS

#: Words that stand where a text is expected.
WORDS = ("", " ", "x", "y", "main", "f32", "f16", "nchw", "cpu", "If", "none", "-1", "\0", "é", "😀", "../../etc/passwd",
         "a" * 300, "f32:nhwc:cpu", "%s%n", "NaN", "\ud800")


def pick(rng: np.random.Generator, items: Any) -> Any:
    """One of some items."""
    return items[int(rng.integers(len(items)))]


def edge(rng: np.random.Generator) -> int:
    """A whole number at which some type, table or product ends."""
    return pick(rng, EDGES)


# ---- bytes ----------------------------------------------------------------------------------------------------------

def flip(data: bytes, rng: np.random.Generator) -> bytes:
    """A copy with bits flipped, bytes set, a part cut, doubled, moved or its numbers blown up; up to three of these."""
    out = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        at = int(rng.integers(0, max(1, len(out))))
        size = int(rng.integers(1, 40))
        kind = rng.integers(0, 8)
        if kind == 0:
            for i in rng.integers(0, max(1, len(out)), rng.integers(1, 9)):
                if i < len(out):
                    out[i] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and out:
            out[at % len(out)] = int(rng.choice([0, 1, 0x7F, 0x80, 0xFF]))
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at:at + size]
        elif kind == 4:
            out[at:at] = out[at:at + size]
        elif kind == 5:
            other = int(rng.integers(0, max(1, len(out))))
            out[at:at + size] = out[other:other + size]
        elif kind == 6:
            out[at:at + 1] = b"\xff" * 9 + b"\x01"
        else:
            out[at:at + 8] = rng.bytes(8)
    return bytes(out)


def shorter(data: bytes) -> Iterator[bytes]:
    """The bytes without one of their parts: halves, quarters, eighths, sixteenths."""
    for parts in (2, 4, 8, 16):
        size = -(-len(data) // parts)
        for at in range(0, len(data), max(1, size)):
            yield data[:at] + data[at + size:]


# ---- JSON -----------------------------------------------------------------------------------------------------------

def places(data: Any, found: list[tuple[Any, Any]] | None = None) -> list[tuple[Any, Any]]:
    """(container, key or index) of everything in JSON data, at any depth."""
    found = [] if found is None else found
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()):
        found.append((data, key))
        places(value, found)
    return found


def change(data: Any, rng: np.random.Generator, times: int = 3) -> Any:
    """JSON data with one to `times` of its parts replaced, dropped, doubled or put elsewhere. `data` itself changes."""
    for _ in range(int(rng.integers(1, times + 1))):
        found = places(data)
        if not found:
            return value_like(data, rng)
        holder, key = pick(rng, found)
        action = int(rng.integers(0, 10))
        if action < 6:
            holder[key] = value_like(holder[key], rng)
        elif action == 6:
            del holder[key]
        elif action == 7 and isinstance(holder, list):
            holder.insert(key, holder[key])
        else:
            other, name = pick(rng, found)
            holder[key] = json.loads(json.dumps(other[name])) if action == 8 else value_like(None, rng)
    return data


def value_like(old: Any, rng: np.random.Generator) -> Any:
    """Something else where `old` stands, mostly of its type."""
    kind = type(old) if rng.integers(8) else pick(rng, (int, float, str, list, dict, bool, type(None)))
    if kind is bool:
        return not old
    if kind is int:
        return edge(rng) if rng.integers(2) else int(rng.integers(-2, 9))
    if kind is float:
        return pick(rng, FACTORS) if rng.integers(2) else float(rng.normal())
    if kind is str:
        if isinstance(old, str) and old and rng.integers(2):
            return flip(old.encode("utf-8", "replace"), rng).decode("latin-1")
        return pick(rng, WORDS)
    if kind is list:
        if isinstance(old, list) and old:
            return pick(rng, (old[:-1], old + old, old[::-1], [], [edge(rng)] * len(old)))
        return pick(rng, ([], [0], [1, 2, 3, 4], [[]], [None], [edge(rng)] * int(rng.integers(1, 9))))
    if kind is dict:
        return pick(rng, ({}, {"": 0}, {"$float": "nan"}, {"type": "relu"}))
    return None


def dump(data: Any) -> bytes:
    """JSON data as a case; NaN and the infinities as Python's words."""
    return json.dumps(data, ensure_ascii=True).encode()


def json_text(data: bytes, rng: np.random.Generator) -> bytes:
    """A JSON text, changed in its data, or where it is none (and sometimes otherwise) in its bytes."""
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        parsed = None
    if parsed is None or not rng.integers(10):
        return flip(data, rng)
    return dump(change(parsed, rng))


def simpler_json(data: bytes) -> Iterator[bytes]:
    """The data without one of its parts, or with a small number in the place of a large one."""
    try:
        found = len(places(json.loads(data)))
    except (ValueError, RecursionError):
        yield from shorter(data)
        return
    for i in range(found):
        for new in (None, 1):
            parsed = json.loads(data)
            holder, key = places(parsed)[i]
            if new is None:
                del holder[key]
            elif isinstance(holder[key], int) and abs(holder[key]) > 2:
                holder[key] = new
            else:
                continue
            yield dump(parsed)


# ---- protobuf -------------------------------------------------------------------------------------------------------

NUMBERS = (0, 1, -1, 2, 3, 7, 64, 65536, 2**31 - 1, 2**31, 2**40, 2**62, 2**63 - 1, -2, -7, -(2**31), -(2**63))
FLOATS = (0.0, 1.0, -1.0, 1e38, -1e38, 1e-45, float("inf"), float("-inf"), float("nan"))


def fields(message: Any, found: list | None = None) -> list:
    """(message, field) of every field that is set, at any depth."""
    found = [] if found is None else found
    for field, value in message.ListFields():
        found.append((message, field))
        if field.message_type is not None:
            for part in value if field.is_repeated else [value]:
                fields(part, found)
    return found


def _other_value(old: Any, strings: list, rng: np.random.Generator) -> Any:
    if isinstance(old, bytes):
        return [old[:-1], old + b"\0", b"", old[::-1], rng.bytes(len(old))][rng.integers(0, 5)]
    if isinstance(old, str):
        return strings[rng.integers(0, len(strings))]
    if isinstance(old, float):
        return FLOATS[rng.integers(0, len(FLOATS))]
    return NUMBERS[rng.integers(0, len(NUMBERS))]


def onnx_message(data: bytes, rng: np.random.Generator) -> bytes:
    """A well-formed ONNX file of nonsense: numbers become absurd, names other names, parts vanish or come twice."""
    import onnx
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.integers(1, 4)):
        found = fields(model.graph)
        if not found:
            break
        strings = [getattr(m, f.name) for m, f in found if f.type == f.TYPE_STRING and not f.is_repeated]
        strings += ["", "If", *(v for n in model.graph.node for v in n.input)]
        message, field = found[rng.integers(0, len(found))]
        value = getattr(message, field.name)
        try:
            if not field.is_repeated:
                if field.message_type is None:
                    setattr(message, field.name, _other_value(value, strings, rng))
                else:
                    message.ClearField(field.name)
                continue
            i, action = int(rng.integers(0, len(value))), rng.integers(0, 4)
            if action == 0:
                del value[i]
            elif action == 1:
                value.append(value[i])
            elif field.message_type is None:
                value[i] = _other_value(value[i], strings, rng)
        except ValueError:  # the number does not fit the field
            continue
    return model.SerializeToString()


def onnx_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """An ONNX file, changed in its message where it is one, else (and sometimes otherwise) in its bytes."""
    from google.protobuf.message import DecodeError
    if rng.integers(3):
        try:
            return onnx_message(data, rng)
        except DecodeError:
            pass
    return flip(data, rng)


def simpler_onnx(data: bytes) -> Iterator[bytes]:
    """The message without one of its parts, or the bytes without some where it is none."""
    import onnx
    from google.protobuf.message import DecodeError
    try:
        count = len(fields(onnx.ModelProto.FromString(data).graph))
    except DecodeError:
        yield from shorter(data)
        return
    for i in range(count):
        model = onnx.ModelProto.FromString(data)
        message, field = fields(model.graph)[i]
        value = getattr(message, field.name)
        if field.is_repeated:
            for j in range(len(value) - 1, -1, -1):
                model = onnx.ModelProto.FromString(data)
                message, field = fields(model.graph)[i]
                del getattr(message, field.name)[j]
                yield model.SerializeToString()
        else:
            message.ClearField(field.name)
            yield model.SerializeToString()
