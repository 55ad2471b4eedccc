"""ONNX importer: a model of any opset becomes a Net; weights inside or beside the file.

The operators are in `ops/<family>.py`, each a table `OPERATORS`: operator name -> function of a Node.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from ...errors import Error, FileFormatError, InputError, ModelError, NoRankError, SizeError, UnsupportedOperatorError
from ...net.net import Model, TensorSpec, check_name
from ...net.size import MOST_RANK
from .. import types
from ..conversion import operator_table
from ..inputs import is_anonymous, with_shapes
from ..source import opened
from . import ops
from .external import External
from .functions import inlined
from .node import Builder, Node
from .nodes import DEFAULT_DOMAINS, convert_nodes, names_of
from .tensors import element_type
from .wire import detach, varint

EXPECTED = "an ONNX model (protobuf, *.onnx)"
FIRST_OPSET = 1

#: ModelProto: field number -> wire type (0 varint, 2 length-delimited)
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
#: Failures of the protobuf layer that are not protobuf's own exceptions
_PROTO_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RecursionError)


@cache
def operators() -> dict[str, Callable[[Node], None]]:
    """Every operator of ops/ by name; those of other domains than ai.onnx as `DOMAIN:NAME`."""
    return operator_table(ops.__name__)


def recognises(head: bytes, path: Path | None = None) -> bool:
    """True when the bytes start like a ModelProto: known fields with their wire types, its version or graph first."""
    position, seen = 0, set()
    try:
        while position < len(head):
            key, position = varint(head, position, len(head))
            number, wire = key >> 3, key & 7
            if _MODEL_FIELDS.get(number) != wire:
                return False
            seen.add(number)
            value, position = varint(head, position, len(head))
            if number == 1 and not 1 <= value < 1000:
                return False
            if wire == 2:
                position += value
    except ValueError:
        pass  # the head ends within a number
    return bool(seen & {1, 7})


def read(source: str | os.PathLike | bytes, folder: str | os.PathLike | None = None,
         shapes: Mapping[str, Sequence[int | str]] | None = None, external_root: str | os.PathLike | None = None,
         default_inputs: Sequence[str] = (), narrow_double: bool = False, mapped: bool = True) -> Model:
    """Read an ONNX model from a path or from bytes.

    `folder`: where external weights lie; by default the path's own folder. `shapes`: input name -> shape that takes
    the place of the declared one, to free a size that was exported fixed (`{"x": ("N", 3, 224, 224)}`), or that of none.
    `external_root`: another folder that external weights may come from, where links lead there. `default_inputs`: inputs
    with a default value (initializers that are inputs, too) that the caller gives; the others are constants. `mapped` False:
    external weights are read into memory, for files that somebody else may write to while the model lives.
    Inputs and outputs have the declared types. float16 and bfloat16 values are computed in float32, and rounded where the
    model casts; float64 values are float64, or with `narrow_double` computed in float32: `meta["converted"]` counts the
    weights, `meta["notes"]` says so in words. Raises UnsupportedOperatorError (with all operators that are not covered),
    FileFormatError, ModelError (NoRankError for inputs whose shape neither the file nor `shapes` says); InputError where
    `shapes` does not fit.
    """
    data, where, path = opened(source)
    base = Path(folder) if folder is not None else path and path.parent
    small, large = detach(data)
    proto = _parse(bytes(small), where, len(data))
    try:
        external = External(base, path, None if external_root is None else Path(external_root), mapped)
        return _import(proto, large, external, where, shapes or {}, default_inputs, narrow_double)
    except Error:
        raise
    except _PROTO_ERRORS as e:
        raise FileFormatError(f"{where}: malformed ONNX model: {type(e).__name__}: {e}") from e


def _parse(data: bytes, where: str, size: int):
    import onnx
    from google.protobuf.message import Error as ProtobufError
    try:
        proto = onnx.ModelProto.FromString(data)
    except (ProtobufError, *_PROTO_ERRORS) as e:
        raise FileFormatError(f"{where}: not an ONNX model, or truncated or corrupted ({size} bytes): {e}") from e
    if not proto.HasField("graph"):
        raise FileFormatError(f"{where}: holds no graph; expected {EXPECTED}, {size} bytes may be truncated")
    return proto


def _import(proto, large: dict[int, memoryview], external: External, where: str, shapes: Mapping,
            default_inputs: Sequence[str], narrow_double: bool) -> Model:
    import onnx
    opsets = {("" if o.domain in DEFAULT_DOMAINS else o.domain): int(o.version) for o in proto.opset_import}
    opset = opsets.setdefault("", 1)
    if opset < FIRST_OPSET:
        raise ModelError(f"{where}: opset {opset} of ai.onnx; expected {FIRST_OPSET} or later")
    _check_names(proto.graph, where)
    if proto.functions:
        proto = inlined(proto, where)
        opsets.update({("" if o.domain in DEFAULT_DOMAINS else o.domain): int(o.version) for o in proto.opset_import})
    graph = proto.graph
    defaults = _defaults(proto, default_inputs)
    sparse = {t.values.name: t for t in graph.sparse_initializer}
    initialised = {t.name for t in graph.initializer} - set(default_inputs) | set(sparse)
    inputs = _graph_inputs(graph, initialised, shapes)
    inputs = with_shapes(inputs, shapes, defaults)
    names, read = names_of(graph)
    declared = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.output)
                if v.type.HasField("tensor_type") and v.type.tensor_type.HasField("shape")}
    builder = Builder(inputs, names, read, declared, narrow_double, external)
    for i, tensor in enumerate(graph.initializer):
        if tensor.name in default_inputs:
            continue
        builder.add_tensor(tensor.name, tensor, f"initializer {tensor.name!r}", large.get(i))
    for name, tensor in sparse.items():
        builder.add_sparse(name, tensor, f"sparse initializer {name!r}")
    if opset > onnx.defs.onnx_opset_version():
        builder.note(f"opset {opset} is newer than {onnx.defs.onnx_opset_version()}, the newest that the installed onnx knows: "
                     f"operators are computed as they are defined there")
    types.enter(builder)
    became = convert_nodes(graph, opsets, operators(), builder, where)
    types.leave(builder, {v.name: _declared_type(v) for v in graph.output})

    net = builder.to_net((v.name for v in graph.output), where, fitting=not shapes)  # `load` checks shapes that are given
    meta = {"format": "onnx", "producer": f"{_text(proto.producer_name)} {_text(proto.producer_version)}".strip(),
            "graph": _text(graph.name), "opset": opset, "operators": became}
    if defaults:
        meta["default_inputs"] = defaults
    if builder.converted:
        meta["converted"] = {f"{k} weights": n for k, n in sorted(builder.converted.items())}
    if notes := types.notes(builder, narrow_double):
        meta["notes"] = notes
    return Model({"main": net}, meta)


def _check_names(graph, where: str) -> None:
    """Refuse names that are not UTF-8, which protobuf hands over as bytes."""
    values = (*graph.input, *graph.output, *graph.value_info)
    for what, names in (("value", (v.name for v in values)), ("initializer", (t.name for t in graph.initializer)),
                        ("dimension", (d.dim_param for v in values for d in v.type.tensor_type.shape.dim)),
                        ("node", (v for n in graph.node for v in (n.name, n.op_type, n.domain, *n.input, *n.output))),
                        ("attribute", (a.name for n in graph.node for a in n.attribute))):
        for name in names:
            check_name(f"{where}: {what}", name)


def _text(text: str | bytes) -> str:
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text


def _declared_type(value) -> str | None:
    """Element type of a graph output, None where the file names none."""
    number = value.type.tensor_type.elem_type if value.type.HasField("tensor_type") else 0
    return element_type(number, f"graph output {value.name!r}") if number else None


def _check_ranks(values: Sequence) -> None:
    """Raise NoRankError for tensors without a shape, all of them."""
    names = [v.name for v in values if v.type.HasField("tensor_type") and not v.type.tensor_type.HasField("shape")]
    if names:
        listed = ", ".join(map(repr, names))
        raise NoRankError(f"graph {f'inputs {listed} have' if names[1:] else f'input {listed} has'} no declared rank; give "
                          f"{'their shapes' if names[1:] else 'its shape'} when loading, such as "
                          f"shapes={{{names[0]!r}: ('N', 3, 224, 224)}}", names)


def _graph_inputs(graph, initialised: set[str], shapes: Mapping) -> dict[str, TensorSpec]:
    """Specs of the inputs that are not initializers."""
    _check_ranks([v for v in graph.input if v.name not in initialised and v.name not in shapes])
    inputs: dict[str, TensorSpec] = {}
    taken = {d.dim_param for v in graph.input for d in v.type.tensor_type.shape.dim}
    for value in graph.input:
        where = f"graph input {value.name!r}"
        if value.name in initialised:
            continue
        if not value.name or value.name in inputs:
            raise ModelError(f"{where}: input names must be there and unique")
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type"):
            raise UnsupportedOperatorError(f"{where} is a {(value.type.WhichOneof('value') or 'untyped value')}; expected a "
                                           f"tensor".replace("_type", ""))
        if not tensor.shape.dim and value.name in shapes:  # many exporters write no dimensions where they know none
            for _ in shapes[value.name]:
                tensor.shape.dim.add()
        if len(tensor.shape.dim) > MOST_RANK:
            raise SizeError(f"{where} has rank {len(tensor.shape.dim)}: expected at most {MOST_RANK} dimensions")
        dtype = element_type(tensor.elem_type, where)
        dims: list[int | str] = []
        for axis, dim in enumerate(tensor.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value != -1:
                if dim.dim_value < 0:
                    raise ModelError(f"{where}: dimension {axis} is {dim.dim_value}; expected 0 or more, or a symbol")
                dims.append(int(dim.dim_value))
            elif not is_anonymous(dim.dim_param):
                dims.append(dim.dim_param)
            else:
                symbol = f"{value.name}_{axis}"
                while symbol in taken:
                    symbol += "_"
                taken.add(symbol)
                dims.append(symbol)
        inputs[value.name] = TensorSpec(dtype, tuple(dims))
    return inputs


def _defaults(proto, wanted: Sequence[str]) -> list[str]:
    """Names of inputs that have a default value: initializers that are inputs too; all of them before IR version 4.

    Raises InputError where `wanted` names another one. Source: ONNX IR, Graphs (ONNX Runtime takes them for constants
    before IR version 4).
    """
    inputs = {v.name for v in proto.graph.input}
    found = [t.name for t in proto.graph.initializer if t.name in inputs]
    for name in wanted:
        if name not in found:
            raise InputError(f"default_inputs: {name!r} is no input with a default value; "
                             f"the model has {', '.join(map(repr, found)) or 'none'}")
    return found
