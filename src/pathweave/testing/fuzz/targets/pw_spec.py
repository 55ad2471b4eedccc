"""Files of our own with other contents: offsets, packings, layers, shapes, routes; their digests are made right again."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ....files import packed
from .. import models, mutate
from ..target import Target
from .pw_bytes import open_file

_DTYPES = ("F64", "F32", "F16", "I64", "I32", "I8", "U8", "BOOL", "BF16")


class PwSpec(Target):
    """A case: a file."""

    name = "pw_spec"
    weight = 6
    suffix = ".pw"

    def prepare(self, folder: Path) -> None:
        self.bases = list(models.pw_models(folder).values())

    def make(self, rng: np.random.Generator) -> bytes:
        return changed(mutate.pick(rng, self.bases), rng)

    def run(self, data: bytes, folder: Path) -> None:
        open_file(data, folder)

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        try:
            return changed(data, rng)
        except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):  # no file of ours any more
            return mutate.flip(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        try:
            parts = take_apart(data)
            count = len(mutate.places(parts))
        except (ValueError, KeyError, TypeError, AttributeError, struct.error, RecursionError):
            yield from super().simpler(data)
            return
        for i in range(count):
            parts = take_apart(data)
            holder, key = mutate.places(parts)[i]
            del holder[key]
            try:
                yield put_together(parts)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue


def take_apart(data: bytes) -> dict[str, Any]:
    """`model`, `packed`, `entries` (each with its `data`, as hexadecimal digits, for its place in the file)."""
    length = struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:8 + length])
    metadata, body = header.pop("__metadata__"), data[8 + length:]
    entries = {n: {**e, "data": body[e["data_offsets"][0]:e["data_offsets"][1]].hex()} for n, e in header.items()}
    return {"model": json.loads(metadata["pathweave"]), "packed": json.loads(metadata.get("packed", "null")),
            "entries": entries}


def put_together(parts: dict[str, Any], rng: np.random.Generator | None = None) -> bytes:
    """A file of parts, with offsets that follow one another and right digests; with `rng`, one of these is wrong at times."""
    metadata = {"pathweave": json.dumps(parts["model"], separators=(",", ":"))}
    if parts["packed"] is not None:
        metadata["packed"] = json.dumps(parts["packed"], separators=(",", ":"))
    tensors = {n: bytes.fromhex(e["data"]) for n, e in parts["entries"].items()}
    contents = {n: t.encode() for n, t in metadata.items()} | tensors
    digests = {n: packed.digest_of(d) for n, d in contents.items()}
    if rng is not None and not rng.integers(8):
        digests = mutate.change(digests, rng)
    metadata["digests"] = json.dumps(digests, separators=(",", ":"))
    header: dict[str, Any] = {"__metadata__": metadata}
    at = 0
    for name, entry in parts["entries"].items():
        end = at + len(tensors[name])
        header[name] = {**{k: v for k, v in entry.items() if k != "data"}, "data_offsets": [at, end]}
        at = end
    if rng is not None and not rng.integers(8):
        mutate.change(header, rng)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    return struct.pack("<Q", len(text)) + text + b"".join(tensors.values())


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to three of its parts changed."""
    parts = take_apart(data)
    for _ in range(int(mutate.pick(rng, (1, 1, 1, 2, 3)))):
        try:
            _change(parts, int(rng.integers(0, 12)), rng)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError):  # what it would change is gone already
            continue
    try:
        return put_together(parts, rng)
    except (KeyError, TypeError, ValueError, AttributeError):
        return mutate.flip(data, rng)


def _change(parts: dict[str, Any], what: int, rng: np.random.Generator) -> None:
    model = parts["model"]
    nets = list(model["nets"].values())
    net = mutate.pick(rng, nets)
    if what == 0:
        mutate.change(model, rng, 1)
    elif what == 1:
        mutate.change(net["inputs"], rng, 1)
    elif what == 2:
        mutate.change(mutate.pick(rng, net["layers"]), rng, 2)
    elif what == 3:
        layer = mutate.pick(rng, net["layers"])
        mutate.change(layer["attrs"] if layer.get("attrs") else layer, rng, 2)
    elif what == 4 and model["routes"]:
        mutate.change(mutate.pick(rng, list(model["routes"].values())), rng, 2)
    elif what == 5 and parts["packed"]:
        mutate.change(parts["packed"], rng, 2)
    elif what == 6 and model.get("quantisation"):
        mutate.change(model["quantisation"], rng, 2)
    elif what == 6:  # scales that the model states, of a value and along an axis of another
        along = {"scale": [0.5, 0.25], "zero_point": [3, -4], "dtype": "i8", "axis": 1}
        names = [*net["inputs"], *(v for layer in net["layers"] for v in layer["outputs"])]
        net["scales"] = {mutate.pick(rng, names): [0.5, 7], mutate.pick(rng, names): along}
        if rng.integers(4):
            mutate.change(net["scales"], rng, 2)
    elif what == 7:  # another shape or type over the same bytes, or other bytes under the same shape
        _retype(mutate.pick(rng, list(parts["entries"].values())), rng)
    elif what == 8:  # layers change places, or read something else
        a, b = mutate.pick(rng, net["layers"]), mutate.pick(rng, net["layers"])
        names = [*net["inputs"], *net["constants"], *(v for layer in net["layers"] for v in layer["outputs"])]
        if rng.integers(2):
            a["kind"] = b["kind"]
        else:
            a["inputs"][int(rng.integers(len(a["inputs"])))] = mutate.pick(rng, names)
    elif what == 9:
        meta = model["meta"]
        key = mutate.pick(rng, ("labels", "default_inputs", "notes", "converted", "format", "opset"))
        meta[key] = mutate.value_like(mutate.pick(rng, (meta.get(key), [], ["x", "y"], {}, 1, "x")), rng)
    elif what == 10:
        states = model.setdefault("states", {"x": {"output": mutate.pick(rng, net["outputs"])}})
        mutate.change(mutate.pick(rng, [states, *states.values()]), rng, 2)
    else:
        layer = mutate.pick(rng, net["layers"])
        act = mutate.pick(rng, ("", "relu", "clip", "gelu", "add", "softmax"))
        layer["epilogue"] = {"add": bool(rng.integers(2)), "act": act,
                             "params": [float(v) for v in rng.integers(-1, 7, int(rng.integers(0, 3)))]}
        if layer["epilogue"]["add"] and rng.integers(2):
            layer["inputs"].append(mutate.pick(rng, [*net["inputs"], *net["constants"], layer["inputs"][0]]))


def _retype(entry: dict[str, Any], rng: np.random.Generator) -> None:
    kind = int(rng.integers(4))
    size = len(entry["data"]) // 2
    if kind == 0:
        entry["dtype"] = mutate.pick(rng, _DTYPES)
    elif kind == 1:
        count = int(np.prod(entry["shape"])) if entry["shape"] else 1
        entry["shape"] = mutate.pick(rng, ([count], [1, count], entry["shape"][::-1], [0, 2**40], entry["shape"] + [1] * 70,
                                           [mutate.edge(rng), *entry["shape"][1:]]))
    elif kind == 2:
        entry["data"] = rng.bytes(size).hex()
    else:
        new = int(rng.integers(0, 2 * size + 1))
        item = {"F64": 8, "F32": 4, "F16": 2, "I64": 8, "I32": 4}.get(entry["dtype"], 1)
        entry["shape"], entry["data"] = [new // item], "00" * (new // item * item)
