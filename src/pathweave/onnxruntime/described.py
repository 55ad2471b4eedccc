"""What a model file says of its inputs and outputs and of itself, as ONNX Runtime tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import Error, FileFormatError
from ..net.net import TensorSpec
from .statuses import InvalidArgument

#: Element type of pathweave -> (name, number of ONNX). Source: onnx.proto, TensorProto.DataType; ONNX Runtime's texts of types.
TYPES = {"f32": ("float", 1), "u8": ("uint8", 2), "i8": ("int8", 3), "u16": ("uint16", 4), "i16": ("int16", 5),
         "i32": ("int32", 6), "i64": ("int64", 7), "bool": ("bool", 9), "f16": ("float16", 10), "f64": ("double", 11),
         "u32": ("uint32", 12), "u64": ("uint64", 13), "bf16": ("bfloat16", 16)}
#: Number of ONNX -> the same name, and the NumPy type of arrays; bfloat16 as its bits.
NAMES = {number: name for name, number in TYPES.values()} | {8: "string"}
NUMPY = {1: "f4", 2: "u1", 3: "i1", 4: "u2", 5: "i2", 6: "i4", 7: "i8", 9: "?", 10: "f2", 11: "f8", 12: "u4", 13: "u8",
         16: "u2"}
_OF_NUMPY = {np.dtype(text).name: number for number, text in NUMPY.items() if number != 16} | {"bfloat16": 16}
#: First IR version in which an initializer that is an input can be given in a call.
FIRST_OVERRIDABLE_IR = 4


def number_of(dtype: np.dtype) -> int:
    """ONNX's number of the element type of an array, 8 (string) for text and objects, 0 for what has none."""
    return 8 if dtype.kind in "OUST" else _OF_NUMPY.get(dtype.name, 0)


def text_of(number: int) -> str:
    """A tensor's type as ONNX Runtime writes it, such as `tensor(float)`."""
    return f"tensor({NAMES.get(number, 'undefined')})"


@dataclass(frozen=True, eq=False)
class NodeArg:
    """An input or output: its name, its type (`tensor(float)`), and its sizes: integers, symbols, None for unknown ones."""

    name: str
    type: str
    shape: list[int | str | None]
    _number: int = field(default=1, repr=False)
    _ranked: bool = field(default=True, repr=False)

    def __str__(self) -> str:
        return f"NodeArg(name={self.name!r}, type={self.type!r}, shape={self.shape})"


@dataclass(frozen=True)
class ModelMetadata:
    """What the file says of the model."""

    producer_name: str = ""
    graph_name: str = ""
    domain: str = ""
    description: str = ""
    graph_description: str = ""
    version: int = 0
    custom_metadata_map: dict[str, str] = field(default_factory=dict)


@dataclass
class Description:
    """Inputs, outputs, initializers that a call may give, and meta data. `denotations`: input -> those of its dimensions."""

    inputs: list[NodeArg]
    outputs: list[NodeArg]
    overridable: list[NodeArg]
    meta: ModelMetadata
    denotations: dict[str, list[str]] = field(default_factory=dict)


def of_onnx(source: Any) -> Description | None:
    """Description of an ONNX model, from a path or bytes; None for what is none. Large weights are not read.

    Raises InvalidArgument for a model without a graph, such as an empty file.
    """
    from google.protobuf.message import Error as ProtobufError
    from onnx import ModelProto

    from ..importers.onnx import recognises
    from ..importers.onnx.wire import detach
    from ..importers.source import opened
    data, where, path = opened(source)
    if not len(data):
        raise _no_graph(where) from FileFormatError(f"{where}: this is an empty file")
    if not recognises(data[:4096], path):
        return None
    try:
        proto = ModelProto.FromString(bytes(detach(data)[0]))
    except (ProtobufError, ValueError, RecursionError):
        return None  # reading the model says why
    if not proto.HasField("graph"):
        raise _no_graph(where) from FileFormatError(f"{where}: holds no graph")
    graph = proto.graph
    initializers = {t.name: t for t in graph.initializer}
    given = {*initializers, *(t.values.name for t in graph.sparse_initializer)}
    overridable = [_initializer(initializers[v.name], v) for v in graph.input if v.name in initializers] \
        if proto.ir_version >= FIRST_OVERRIDABLE_IR else []
    meta = ModelMetadata(proto.producer_name, graph.name, proto.domain, proto.doc_string, graph.doc_string,
                         proto.model_version, {p.key: p.value for p in proto.metadata_props})
    inputs = [v for v in graph.input if v.name not in given]
    arguments = [_argument(v) for v in inputs]
    outputs = graph.output if all(a._ranked for a in arguments) else _inferred(proto)
    return Description(arguments, [_argument(v) for v in outputs], overridable, meta,
                       {v.name: [d.denotation for d in v.type.tensor_type.shape.dim] for v in inputs})


def _no_graph(where: str) -> InvalidArgument:
    return InvalidArgument(f"Load model from {where} failed: No graph was found in the protobuf.")


def _inferred(proto: Any) -> Any:
    """The outputs with what ONNX itself infers: a model whose inputs have no rank is not loaded before the first call."""
    from onnx import shape_inference
    try:
        found = shape_inference.infer_shapes(proto).graph.output
    except (RuntimeError, ValueError):  # a graph that it cannot read; the first call says what is wrong
        return proto.graph.output
    names = {d.dim_param for v in (*proto.graph.input, *proto.graph.output) for d in v.type.tensor_type.shape.dim}
    for dim in (d for v in found for d in v.type.tensor_type.shape.dim if d.dim_param not in names):
        dim.ClearField("dim_param")  # it is a name that ONNX made up
    return found


def _argument(value: Any) -> NodeArg:
    """An input or output as the file declares it; one whose shape it leaves out has no sizes, as a scalar, but no rank."""
    tensor = value.type.tensor_type
    dims: list[int | str | None] = [
        int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else d.dim_param or None for d in tensor.shape.dim]
    ranked = not value.type.HasField("tensor_type") or tensor.HasField("shape")
    return NodeArg(value.name, text_of(tensor.elem_type), dims, tensor.elem_type, ranked)


def _initializer(tensor: Any, value: Any) -> NodeArg:
    return NodeArg(tensor.name, text_of(tensor.data_type), list(tensor.dims), tensor.data_type, _argument(value)._ranked)


def of_model(model: Any) -> Description:
    """Description of a model of pathweave's own."""
    outputs = [NodeArg(n, "tensor(undefined)", [], 0, False) for n in model.main.outputs]
    meta = ModelMetadata(str(model.meta.get("producer", "")), str(model.meta.get("graph", "")))
    return Description(_arguments(model.main.inputs, None), outputs, [], meta)


def _arguments(specs: Mapping[str, TensorSpec], symbols: set[str] | None) -> list[NodeArg]:
    """Inputs or outputs by their specs; symbols that are not among those given are unknown sizes."""
    def dim(d: Any) -> int | str | None:
        return d if isinstance(d, int) or isinstance(d, str) and (symbols is None or d in symbols) else None
    return [NodeArg(n, text_of(TYPES[s.dtype][1]), list(map(dim, s.shape)), TYPES[s.dtype][1]) for n, s in specs.items()]


def with_outputs(found: Description, model: Any) -> list[NodeArg]:
    """The outputs as the file declares them, with what pathweave finds out where that leaves types, ranks and sizes open.

    `model` None: nothing but the file is known. Source: ONNX Runtime, which merges what it infers with what is declared.
    """
    try:
        symbols = {d for i in found.inputs for d in i.shape if isinstance(d, str)}
        inferred = {a.name: a for a in _arguments(model.outputs, symbols)} if model else {}
    except Error:  # it takes certain sizes only
        inferred = {}
    return [_merged(o, inferred[o.name]) if o.name in inferred else o for o in found.outputs]


def _merged(declared: NodeArg, inferred: NodeArg) -> NodeArg:
    """A size that is found out takes the place of a symbol, and a symbol that of an unknown size; where the two contradict
    each other, what they agree on is left."""
    if not declared._number:
        declared = replace(declared, type=inferred.type, _number=inferred._number)
    if not declared._ranked:
        return replace(declared, shape=inferred.shape, _ranked=True)
    if len(declared.shape) != len(inferred.shape):
        return replace(declared, shape=[])
    pairs = list(zip(declared.shape, inferred.shape))
    if any(isinstance(d, int) and isinstance(i, int) and d != i for d, i in pairs):
        return replace(declared, shape=[d if d == i else None for d, i in pairs])
    return replace(declared, shape=[i if isinstance(i, int) or d is None else d for d, i in pairs])
