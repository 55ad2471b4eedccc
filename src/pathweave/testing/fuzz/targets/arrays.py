"""Arrays: files as `run` reads them, and what calls are handed: odd ranks, strides, byte orders, DLPack that lies."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import InputError
from ....files.arrays import read_arrays
from .. import models, mutate, use
from ..target import Target

_DTYPES = ("f4", ">f4", "f8", "f2", ">f8", "i8", ">i8", "i4", "u1", "i1", "?", "c8", "U3", "S2", "O", "M8[s]", "V4",
           "f4,i4", "u2", "u8", "f16")
_HEADER = ("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }",
           "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (6,), }",
           "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", "[[[[", "{" * 200, "1" * 5000, "(" * 900,
           "__import__('os')",
           "{'descr': '<f4', 'fortran_order': 1, 'shape': (True, 3)}", "{'descr': '<f4', 'fortran_order': False, 'shape': 6}")
_TRICKS = ("plain", "transposed", "reversed", "strided", "broadcast", "unaligned", "read-only", "list", "scalar", "none",
           "subclass",
           "masked", "dlpack", "dlpack raises", "dlpack device", "dlpack nothing", "memoryview", "text", "zero rank", "huge")


class Arrays(Target):
    """A case: a `.npy` or `.npz` file; or a JSON text of `model`, `inputs` ([trick, dtype, shape]), `out`, `calibrate`."""

    name = "arrays"
    weight = 3
    suffix = ".npy"

    def prepare(self, folder: Path) -> None:
        self.models = {n: models.pw_model(n, "plain") for n in ("classifier", "image", "integers", "half")}

    def make(self, rng: np.random.Generator) -> bytes:
        kind = int(rng.integers(5))
        if kind == 0:
            return _npy(rng)
        if kind == 1:
            buffer = io.BytesIO()
            save: Callable[..., None] = np.savez_compressed if rng.integers(2) else np.savez
            save(buffer, x=np.zeros((1, 3, 8, 8), np.float32), **{mutate.pick(rng, ("y", "../z", "é", "a")): np.arange(4)})
            return mutate.flip(buffer.getvalue(), rng)
        name = mutate.pick(rng, list(self.models))
        (given, spec), = self.models[name].main.inputs.items()
        shape = [d if isinstance(d, int) else int(rng.integers(0, 4)) for d in spec.shape]
        dtype = {"f32": "f4", "i64": "i8", "f16": "f2"}[spec.dtype]
        if not rng.integers(4):
            shape = [mutate.pick(rng, (0, 1, d, d + 1, 70)) for d in shape] if rng.integers(2) else shape[:int(rng.integers(4))]
        if not rng.integers(4):
            dtype = mutate.pick(rng, _DTYPES)
        case: dict[str, Any] = {"model": name, "inputs": {given: [mutate.pick(rng, _TRICKS), dtype, shape]}}
        if not rng.integers(4):
            case["out"] = {"y": [mutate.pick(rng, _TRICKS), mutate.pick(rng, ("f4", "f8")), [1, 5]]}
        if not rng.integers(6):
            case["inputs"][mutate.pick(rng, ("z", "", "é"))] = ["plain", "f4", [1]]
        if not rng.integers(6):
            case["calibrate"] = True
        return mutate.dump(case)

    def run(self, data: bytes, folder: Path) -> None:
        if data[:1] != b"{":
            path = folder / ("case.npz" if data[:2] == b"PK" else "case.npy")
            path.write_bytes(data)
            arrays = read_arrays(path)
            model = self.models["image"]
            model.run(next(iter(arrays.values()), None))
            return
        try:
            case = json.loads(data)
            model = self.models[case["model"]]
            inputs = {n: array(*spec) for n, spec in case["inputs"].items()}
            out = {n: array(*spec) for n, spec in case["out"].items()} if "out" in case else None
        except (ValueError, TypeError, LookupError, RecursionError, AttributeError, MemoryError, OverflowError) as e:
            raise InputError(f"no case: {e}") from e
        if case.get("calibrate"):
            use.quietly(lambda: models.pw_model(case["model"], "plain").calibrate([inputs, *inputs.values()]))
            return
        value = next(iter(inputs.values())) if len(inputs) == 1 and len(data) % 2 else inputs
        results = model.run(value, out)
        if out is None:
            use.check_equal(results, model.run(value), "when it is run once more")

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        return mutate.json_text(data, rng) if data[:1] == b"{" else mutate.flip(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        return mutate.simpler_json(data) if data[:1] == b"{" else mutate.shorter(data)


def _npy(rng: np.random.Generator) -> bytes:
    """A `.npy` file whose header or contents are changed."""
    if rng.integers(2):
        buffer = io.BytesIO()
        dtype = mutate.pick(rng, [d for d in _DTYPES if d != "O"])
        np.save(buffer, np.zeros((1, 3, 6, 6), dtype), allow_pickle=False)
        return mutate.flip(buffer.getvalue(), rng)
    header = mutate.pick(rng, _HEADER)
    if rng.integers(2):
        dtype = mutate.pick(rng, ("<f4", "|V0", "|S0", "<U1", "<f8", "|b1", "<M8", "<c16", "|V2147483647"))
        sizes = (mutate.edge(rng) if rng.integers(2) else int(rng.integers(0, 4)) for _ in range(int(rng.integers(0, 4))))
        dims = "".join(f"{size}, " for size in sizes)
        header = f"{{'descr': '{dtype}', 'fortran_order': {bool(rng.integers(2))}, 'shape': ({dims}), }}"
    text = header.encode() + b" " * int(rng.integers(0, 9)) + b"\n"
    version = mutate.pick(rng, (1, 1, 1, 2, 3, 9))
    length = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + bytes(int(rng.integers(0, 60)))


class _Liar:
    """Offers DLPack and does something else."""

    def __init__(self, inner: np.ndarray, trick: str):
        self.inner, self.trick = inner, trick

    def __dlpack__(self, **_: Any) -> Any:
        if self.trick == "dlpack raises":
            raise RuntimeError("no")
        return object() if self.trick == "dlpack nothing" else self.inner.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0) if self.trick == "dlpack device" else self.inner.__dlpack_device__()


class _Subclass(np.ndarray):
    """An array that answers otherwise than one."""

    @property  # type: ignore[misc]
    def shape(self) -> tuple[int, ...]:
        return (1, 2, 3)


def array(trick: str, dtype: str, shape: list[int]) -> Any:
    """An array, or what is handed in instead of one."""
    if trick == "huge":
        return np.broadcast_to(np.zeros((), dtype), (*shape[:-1], 2**40))
    a = np.arange(int(np.prod(shape)), dtype="f8").reshape(shape) % 5
    a = a.astype(object) if dtype == "O" else a.astype("i8").astype(dtype)
    if trick.startswith("dlpack"):
        return _Liar(a, trick)
    changed = {
        "transposed": lambda: a.swapaxes(0, -1).copy().swapaxes(0, -1), "reversed": lambda: a[::-1].copy()[::-1],
        "strided": lambda: np.repeat(a, 2, axis=-1)[..., ::2], "broadcast": lambda: np.broadcast_to(a[:1], a.shape),
        "unaligned": lambda: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
        "list": lambda: a.tolist(), "scalar": lambda: 1.0, "none": lambda: None, "subclass": lambda: a.view(_Subclass),
        "masked": lambda: np.ma.masked_array(a, a > 2), "memoryview": lambda: a.data, "text": lambda: "x",
        "zero rank": lambda: np.array(1.0)}
    if trick in changed:
        return changed[trick]()
    a.flags.writeable = trick != "read-only"
    return a
