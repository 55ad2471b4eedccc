"""Random numbers, shapes and attributes for operators: sensible ones, and among them some at the edges of integers."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import TensorProto, helper

from ..edges import FACTORS
from . import mutate

#: How often a number is replaced by a hostile one, drawn once per case: half of all cases have none.
HOSTILE = (0.0, 0.0, 0.02, 0.1, 0.3)
#: ONNX's element types: those that nets are made of several times.
TYPES = (*[TensorProto.FLOAT] * 12, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.INT64,
         TensorProto.INT32, TensorProto.UINT8, TensorProto.INT8, TensorProto.BOOL, TensorProto.BFLOAT16)
ODD_TYPES = (0, TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.FLOAT8E4M3FN, TensorProto.UINT4, TensorProto.INT16,
             TensorProto.UINT64, 99, -1)
#: Elements that a constant of a case may have.
MOST_ELEMENTS = 4096


class Draw:
    """A graph that comes to be, and the random numbers for it."""

    def __init__(self, rng: np.random.Generator):
        self.rng = rng
        self.prefix = ""
        self.blocks = 0
        self.outside: Draw | None = None
        self.hostile = mutate.pick(rng, HOSTILE)
        self.opset = int(mutate.pick(rng, (7, 9, 10, 11, 12, 13, 14, 15, 17, 17, 17, 18, 20, 21)))
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.tensors: list[Any] = []
        self.symbols = rng.random() < 0.15

    def block(self) -> Draw:
        """The draw of a block of an operator: names of its own, the same random numbers."""
        inner = Draw(self.rng)
        inner.hostile, inner.opset, inner.symbols = self.hostile, self.opset, False
        inner.outside, inner.prefix = self, f"{self.prefix}b{self.blocks}"
        self.blocks += 1
        return inner

    def graph(self, outputs: list[str]) -> Any:
        """What was drawn, as a graph that gives `outputs`."""
        results = [helper.make_empty_tensor_value_info(v) for v in outputs]
        return helper.make_graph(self.nodes, self.prefix or "g", self.inputs, results, self.tensors)

    # ---- numbers ----

    def is_hostile(self, more: float = 1.0) -> bool:
        return self.rng.random() < self.hostile * more

    def chance(self, of: float = 0.5) -> bool:
        return self.rng.random() < of

    def pick(self, *items: Any) -> Any:
        return mutate.pick(self.rng, items)

    def n(self, low: int = 1, high: int = 4) -> int:
        """A whole number from `low` to `high`, or a hostile one of 64 bits."""
        if self.is_hostile():
            return _int64([mutate.edge(self.rng)])[0]
        return int(self.rng.integers(low, high + 1))

    def ints(self, count: int, low: int = 1, high: int = 4) -> list[int]:
        """So many of them; rarely more or less."""
        if self.is_hostile(0.3):
            count = int(self.rng.integers(0, 10))
        return [self.n(low, high) for _ in range(count)]

    def f(self, low: float = -2.0, high: float = 2.0) -> float:
        return float(self.pick(*FACTORS)) if self.is_hostile() else float(self.rng.uniform(low, high))

    def axis(self, rank: int) -> int:
        return self.n(-rank, rank - 1) if rank else self.n(-1, 0)

    def axes(self, rank: int) -> list[int]:
        """Some axes, each once, some counted from the end."""
        chosen = [int(a) for a in self.rng.permutation(rank)[:int(self.rng.integers(0, rank + 1))]]
        chosen = [a - rank if self.chance(0.3) else a for a in chosen]
        return [self.n(0, rank) for _ in chosen] if self.is_hostile() else chosen

    def shape(self, rank: int | None = None, high: int = 5) -> list[int]:
        if rank is None:
            rank = int(self.rng.integers(0, 6))
        if self.is_hostile(0.3):
            rank = int(self.rng.integers(0, 10))
        return [0 if self.chance(0.01) else self.n(1, high) for _ in range(rank)]

    def dtype(self, usual: int = TensorProto.FLOAT) -> int:
        """`usual` in most cases, at times another type, rarely one that is none."""
        if self.is_hostile(0.3):
            return int(self.pick(*ODD_TYPES))
        return int(self.pick(*TYPES)) if self.chance(0.15) else usual

    # ---- values ----

    def input(self, shape: list[int], dtype: int) -> str:
        """An input of the whole graph, also where this is a block."""
        return self.outside.input(shape, dtype) if self.outside else self.formal(shape, dtype)

    def formal(self, shape: list[int], dtype: int) -> str:
        """What a block is given in a round, or an input of the whole graph."""
        name = f"{self.prefix}x{len(self.inputs)}"
        dims: list[Any] = [d if d >= 0 or self.chance() else abs(d) % 7 for d in _int64(shape)]
        if self.symbols:
            dims = [self.pick("N", "M", d, d, f"{name}_{i}") for i, d in enumerate(dims)]
        value = helper.make_tensor_value_info(name, max(0, dtype), dims)
        self.inputs.append(value)
        return name

    def constant(self, shape: list[int], dtype: int = TensorProto.FLOAT, values: Any = None) -> str:
        """An initialiser; with values that fit the type, or a part of what it should hold where it is too large."""
        name, shape = f"{self.prefix}c{len(self.tensors)}", _int64(shape)
        count = 1
        for d in shape:
            count *= d
        kept = count if 0 <= count <= MOST_ELEMENTS else 3
        tensor = TensorProto(name=name, data_type=max(0, dtype))
        tensor.dims.extend(shape)
        try:
            kind = helper.tensor_dtype_to_np_dtype(dtype)
            if values is None:
                numbers = self.rng.normal(size=kept) if np.dtype(kind).kind == "f" else self.rng.integers(0, 3, kept)
            else:
                numbers = np.asarray(values)
            with np.errstate(all="ignore"):
                tensor.raw_data = np.asarray(numbers).astype(kind).tobytes()
        except (KeyError, TypeError, ValueError, OverflowError):
            tensor.raw_data = b"\1" * kept
        self.tensors.append(tensor)
        return name

    def numbers(self, values: list[int]) -> str:
        """A constant of int64 with one axis; at times an input of the graph instead, or of another type or rank."""
        if self.chance(0.06):
            return self.input([len(values)], TensorProto.INT64)
        odd = self.pick(TensorProto.INT32, TensorProto.FLOAT, TensorProto.UINT8)
        dtype = odd if self.is_hostile(0.2) else TensorProto.INT64
        shape = self.pick([], [1, len(values)], [len(values), 1]) if self.is_hostile(0.2) and values else [len(values)]
        return self.constant(shape, dtype, values if shape else values[:1])

    def floats(self, values: list[float], dtype: int = TensorProto.FLOAT) -> str:
        return self.constant([len(values)], dtype, values)

    def scalar(self, value: float, dtype: int = TensorProto.FLOAT) -> str:
        return self.constant([] if self.chance(0.8) else [1], dtype, [value])

    def value(self, shape: list[int], dtype: int, fixed: float = 0.5) -> str:
        """A constant or an input of that shape."""
        return self.constant(shape, dtype) if self.chance(fixed) else self.input(shape, dtype)

    def node(self, op: str, inputs: list[str], outputs: int = 1, domain: str = "", **attrs: Any) -> list[str]:
        """A node with those of its attributes that are not None; names of its outputs."""
        names = [f"{self.prefix}v{len(self.nodes)}{'' if i == 0 else f'_{i}'}" for i in range(outputs)]
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        node = helper.make_node(op, inputs, names, domain=domain)
        for key, value in attrs.items():
            if value is None:
                continue
            if self.is_hostile(0.1):
                value = self.pick(self.n(), self.f(), "nonsense", [self.n(), self.n()], [self.f()])
            try:
                node.attribute.append(helper.make_attribute(key, value, attr_type=_type_of(value)))
            except (ValueError, TypeError, OverflowError):
                continue
        self.nodes.append(node)
        return names

    def maybe(self, value: Any, of: float = 0.5) -> Any:
        """The value, or None."""
        return value if self.chance(of) else None


def _int64(values: list[int]) -> list[int]:
    """Numbers as near as 64 bits come."""
    return [max(-2**63, min(2**63 - 1, v)) for v in values]


def _type_of(value: Any) -> int | None:
    """The type of an attribute that is an empty list, which says nothing itself."""
    from onnx import AttributeProto
    return AttributeProto.INTS if value == [] else None
