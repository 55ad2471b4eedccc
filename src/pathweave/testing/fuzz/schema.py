"""A node of an operator from what its schema says alone: inputs, element types and attributes, sensible and hostile."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto

from .draw import Draw

#: Words that attributes of operators take: one of another operator is as good as nonsense.
WORDS = ("constant", "linear", "nearest", "cubic", "zeros", "border", "reflection", "none", "add", "mul", "max", "min",
         "forward", "reverse", "bidirectional", "avg", "half_pixel", "output_half_pixel", "tanh", "mean", "sum", "RIGHT",
         "LEFT", "bilinear", "circular", "ij,jk->ik", "...i,...i->...", "ii->i", "NOTSET", "SAME_UPPER")
_TYPES = {f"tensor({name})": number for name, number in (
    ("float", TensorProto.FLOAT), ("double", TensorProto.DOUBLE), ("float16", TensorProto.FLOAT16),
    ("bfloat16", TensorProto.BFLOAT16), ("int8", TensorProto.INT8), ("uint8", TensorProto.UINT8), ("int16", TensorProto.INT16),
    ("uint16", TensorProto.UINT16), ("int32", TensorProto.INT32), ("uint32", TensorProto.UINT32), ("int64", TensorProto.INT64),
    ("uint64", TensorProto.UINT64), ("bool", TensorProto.BOOL))}


@cache
def schema_of(op: str, opset: int) -> Any:
    """The schema of an operator, `DOMAIN:NAME` or a name of ai.onnx; that of ONNX Runtime for its own, where it is installed;
    None where there is none."""
    domain, _, name = op.rpartition(":")
    try:
        return onnx.defs.get_schema(name, opset, domain) if not domain else onnx.defs.get_schema(name, domain=domain)
    except onnx.defs.SchemaError:
        return _others().get(op) or _others().get(name)  # some of its operators stand in both domains, with one schema


@cache
def _others() -> dict[str, Any]:
    try:
        from onnxruntime.capi.onnxruntime_pybind11_state import get_all_operator_schema
    except ImportError:
        return {}
    return {f"{s.domain}:{s.name}" if s.domain else s.name: s for s in get_all_operator_schema()}


def by_schema(d: Draw, op: str, shape: list[int], dtype: int, x: str) -> tuple[list[str], list[int] | None]:
    """A node of any operator on `x`, as a recipe of targets/operators.py."""
    domain, _, name = op.rpartition(":")
    schema = schema_of(op, d.opset)
    if schema is None:
        return d.node(name, [x, *(d.value(shape, dtype) for _ in range(d.n(0, 2) % 5))], domain=domain), None
    types = {t.type_param_str: [_TYPES[s] for s in t.allowed_type_strs if s in _TYPES] for t in schema.type_constraints}
    count = int(d.rng.integers(max(1, schema.min_input), min(schema.max_input, len(schema.inputs) + 2) + 1))
    inputs = [x, *(_input(d, schema, types, i, shape, dtype) for i in range(1, count))]
    attrs = {a.name: _value(d, a, len(shape)) for a in schema.attributes.values() if a.required or d.chance(0.3)}
    outputs = int(d.rng.integers(max(1, schema.min_output), min(schema.max_output, len(schema.outputs)) + 1))
    return d.node(name, inputs, outputs, domain, **attrs), None


def _input(d: Draw, schema: Any, types: dict[str, list[int]], i: int, shape: list[int], dtype: int) -> str:
    formal = schema.inputs[min(i, len(schema.inputs) - 1)]
    if "Optional" in str(formal.option) and d.chance(0.4):
        return ""
    text = str(getattr(formal, "typeStr", "") or getattr(formal, "type_str", ""))
    allowed = types.get(text) or ([_TYPES[text]] if text in _TYPES else [dtype])
    own = dtype if dtype in allowed and d.chance(0.9) else int(d.pick(*allowed))
    last = shape[-1:] or [1]
    dims = d.pick(shape, shape, last, shape[1:2] or [1], [], [len(shape)], [*shape, d.n(1, 3)], shape[:-1], [d.n(1, 4)])
    return d.value(list(dims), own, 0.6)


def _value(d: Draw, attribute: Any, rank: int) -> Any:
    kind = str(attribute.type).rpartition(".")[2]
    if kind == "INT":
        return d.axis(rank) if "axis" in attribute.name else d.n(0, 2)
    if kind == "FLOAT":
        return d.f()
    if kind == "STRING":
        default = getattr(getattr(attribute, "default_value", None), "s", b"")  # the schemas of ONNX Runtime have none
        return d.pick(*WORDS, *([default.decode()] * 20 if isinstance(default, bytes) and default else []))
    if kind == "INTS":
        return d.ints(d.n(1, max(1, rank)) % 9, 0, 3)
    if kind == "FLOATS":
        return [d.f() for _ in range(d.n(1, 3) % 9)]
    if kind == "STRINGS":
        return [d.pick("Tanh", "Sigmoid", "Relu", "Affine", "HardSigmoid", "nonsense") for _ in range(d.n(1, 6) % 9)]
    if kind == "TENSOR":
        return onnx.numpy_helper.from_array(np.asarray(d.rng.integers(0, 3, 1), np.float32), "t")
    return None
