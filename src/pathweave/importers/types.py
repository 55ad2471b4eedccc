"""Element types of a foreign graph's values, and what becomes of those in which a net does not compute.

float16 and bfloat16 values are float32 in the net, and stand for the narrower ones: they are rounded where the graph
casts to such a type, and at the border, where inputs and outputs have the declared type. With `narrow_double` float64 is
treated in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..net.floats import HALVES
from ..words import counted

FLOATS = ("f16", "bf16", "f32", "f64")
#: Integers of 4 and 2 bits, of which a file may have constants: -> the type of a net that holds them, bits.
FEW_BITS = {"u4": ("u8", 4), "i4": ("i8", 4), "u2": ("u8", 2), "i2": ("i8", 2)}


class ElementTypes:
    """Types of the values of a graph, by name.

    `computed`: type in the file -> the one that the net computes in, for those where they differ. `inner`: graph input
    -> the value that the nodes read in its place.
    """

    def __init__(self, narrow_double: bool = False):
        self.computed = {**dict.fromkeys(HALVES, "f32"), **({"f64": "f32"} if narrow_double else {})}
        self.inner: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def net_type(self, dtype: str) -> str:
        """The type in which values of a type of the file are computed."""
        return self.computed.get(dtype, dtype)

    def declare(self, value: str, dtype: str) -> None:
        """Note the type of a value in the file."""
        self._known[value] = dtype

    def of(self, value: str, net_dtype: str | None) -> str | None:
        """Type in the file of a value of which the net's type is known, or not."""
        return self._known.get(value, net_dtype)

    def follow(self, inputs: Iterable[str], outputs: Iterable[str], dtype_of: Any) -> None:
        """Note the types of a node's outputs that it did not declare: its floats are of the type of its first float.

        That holds for every operator but those that name a type, which declare it. `dtype_of`: value -> type in
        the net, or None.
        """
        types = (self.of(v, dtype_of(v)) for v in inputs if v)
        first = next((t for t in types if t in FLOATS), None)
        if first not in self.computed:
            return
        for v in outputs:
            if v and v not in self._known and dtype_of(v) in (None, self.computed[first]):
                self._known[v] = first

    def cast(self, source: str | None, target: str) -> dict[str, str]:
        """Attributes of the layer `cast` from a value of one type of the file to another one."""
        rounds = target in HALVES and source != target
        return {"dtype": self.net_type(target), **({"through": target} if rounds else {})}


def enter(builder: Any) -> None:
    """Widen the inputs of types in which the net does not compute: nodes read the result."""
    types = builder.types
    for name, spec in builder.inputs.items():
        types.declare(name, spec.dtype)
        if spec.dtype in types.computed:
            inner = types.inner[name] = builder.fresh(f"{name}:f32")
            types.declare(inner, spec.dtype)
            source = {"source": "bf16"} if spec.dtype == "bf16" else {}
            builder.add_layer(f"{name}:cast", "cast", [name], [inner], {"dtype": types.net_type(spec.dtype), **source})


def leave(builder: Any, outputs: Mapping[str, str | None]) -> None:
    """Give the graph's outputs, and what states take, their declared types. `outputs`: name -> declared type, None where there
    is none; a state's is that of its input. One that the graph does not make is noted."""
    types = builder.types
    taken = {s.output: builder.inputs[name].dtype for name, s in builder.states.items()}
    outputs = {**outputs, **{v: outputs.get(v) or dtype for v, dtype in taken.items()}}
    for name, declared in outputs.items():
        known = name in builder.constants or name in builder.values
        own = types.of(name, builder.dtype(name))
        if known and declared and own and declared != own and not {declared, own} <= {*FLOATS}:
            builder.note(f"output {name!r} is declared {declared}, and the graph makes it {own}, which it has")
        wanted = declared or own
        if known and name not in builder.inputs and wanted in types.computed and \
                builder.dtype(name) in (None, types.computed[wanted]):
            inner = builder.rename(name, f"{name}:f32")
            builder.add_layer(f"{name}:cast", "cast", [inner], [name], {"dtype": wanted})


def notes(builder: Any, narrow_double: bool) -> list[str]:
    """What a user should know of the types of a model, as sentences."""
    found = builder.said()
    halves = [h for h in HALVES if h in builder.converted or h in {s.dtype for s in builder.inputs.values()}]
    if halves:
        names = " and ".join({"f16": "float16", "bf16": "bfloat16"}[h] for h in halves)
        found.append(f"values of {names} are computed in float32, and rounded where the model casts and at its border; "
                     f"inputs of these types take float32 arrays too")
    layers = 0 if narrow_double else sum(builder.dtype(layer.outputs[0]) == "f64" for layer in builder.layers)
    if layers:
        found.append(f"{counted(layers, 'layer')} with results in float64: computed in float64, mostly by plain routines; "
                     f"load(..., narrow_double=True), or --narrow-double, computes in float32, which is faster")
    if narrow_double and "f64" in {*builder.converted, *(s.dtype for s in builder.inputs.values())}:
        found.append("values of float64 are computed in float32, as asked for")
    return found


def narrow(array: np.ndarray) -> np.ndarray:
    """A float64 array as float32; finite numbers beyond float32 become its largest ones, not infinities."""
    limit = float(np.finfo(np.float32).max)
    finite = np.clip(array, -limit, limit)
    return np.where(np.isinf(array), array, finite).astype(np.float32)
