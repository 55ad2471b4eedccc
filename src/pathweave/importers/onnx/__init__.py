"""ONNX importer: opsets 7 and later of convolutional networks become a Net; weights inside or beside the file.

The operators are in `ops/<family>.py`, each a table `OPERATORS`: operator name -> function of a Node.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from ...errors import Error, FileFormatError, InputError, ModelError, SizeError, UnsupportedOperatorError
from ...folder import modules
from ...net.net import Model, Net, TensorSpec, check_name
from ...net.size import MOST_RANK
from . import ops
from .builder import Builder, Node, convert
from .tensors import WIDENED, element_type
from .wire import detach, varint

EXPECTED = "an ONNX model (protobuf, *.onnx)"
FIRST_OPSET = 7

#: ModelProto: field number -> wire type (0 varint, 2 length-delimited)
_MODEL_FIELDS = {1: 0, 2: 2, 3: 2, 4: 2, 5: 0, 6: 2, 7: 2, 8: 2, 14: 2, 20: 2, 25: 2, 26: 2}
_DEFAULT_DOMAINS = ("", "ai.onnx")
#: Failures of the protobuf layer that are not protobuf's own exceptions
_PROTO_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, MemoryError, RecursionError)


@cache
def operators() -> dict[str, Callable[[Node], None]]:
    """Every operator of ops/ by name; those of other domains than ai.onnx as `DOMAIN:NAME`."""
    found: dict[str, Callable[[Node], None]] = {}
    for module in modules(ops.__name__):
        table = getattr(module, "OPERATORS", {})
        twice = set(found) & set(table)
        if twice:
            raise ModelError(f"ONNX operators {sorted(twice)} are defined in two files of ops/")
        found.update(table)
    return found


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
         shapes: Mapping[str, Sequence[int | str]] | None = None) -> Model:
    """Read an ONNX model from a path or from bytes.

    `folder`: where external weights lie; by default the path's own folder. `shapes`: input name -> shape that takes
    the place of the declared one, to free a size that was exported fixed (`{"x": ("N", 3, 224, 224)}`).
    Half-precision models are computed in f32, and float64 weights of float32 models become float32:
    `meta["converted"]` counts them. Raises UnsupportedOperatorError (with all operators that are not covered),
    FileFormatError, ModelError; InputError where `shapes` does not fit.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, where = bytes(source), "the given bytes"
        base = Path(folder) if folder is not None else None
    else:
        path = Path(source)
        where = str(path)
        base = Path(folder) if folder is not None else path.parent
        try:
            data = _mapped(path)
        except (OSError, ValueError) as e:
            raise FileFormatError(f"{path}: cannot be read: {getattr(e, 'strerror', None) or e}") from e
    small, large = detach(data)
    proto = _parse(bytes(small), where, len(data))
    try:
        return _import(proto, large, base, where, shapes or {})
    except Error:
        raise
    except _PROTO_ERRORS as e:
        raise FileFormatError(f"{where}: malformed ONNX model: {type(e).__name__}: {e}") from e


def _mapped(path: Path) -> bytes | mmap.mmap:
    """A file's bytes, mapped: weights are copied from there once, and the rest of the file never."""
    with open(path, "rb") as f:
        return mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) if os.fstat(f.fileno()).st_size else b""


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


def _import(proto, large: dict[int, memoryview], folder: Path | None, where: str, shapes: Mapping) -> Model:
    graph = proto.graph
    _check_names(graph, where)
    opsets = {("" if o.domain in _DEFAULT_DOMAINS else o.domain): int(o.version) for o in proto.opset_import}
    opset = opsets.setdefault("", 1)
    if opset < FIRST_OPSET:
        raise ModelError(f"{where}: opset {opset} of ai.onnx; expected {FIRST_OPSET} or later; "
                         "convert the model with onnx.version_converter")
    if graph.sparse_initializer:
        raise ModelError(f"{where}: sparse initializers are not supported; store them dense")
    initialised = {t.name for t in graph.initializer}
    inputs, half = _graph_inputs(graph, initialised)
    inputs = _with_shapes(inputs, shapes)
    names = initialised | set(inputs) | {v for n in graph.node for v in (*n.input, *n.output)}
    narrow_f64 = not any(s.dtype == "f64" for s in inputs.values())
    declared = {v.name: len(v.type.tensor_type.shape.dim) for v in (*graph.value_info, *graph.output)
                if v.type.HasField("tensor_type") and v.type.tensor_type.HasField("shape")}
    builder = Builder(inputs, declared, names, folder, narrow_f64)
    for i, tensor in enumerate(graph.initializer):
        builder.add_tensor(tensor.name, tensor, f"initializer {tensor.name!r}", large.get(i))
    _convert_nodes(graph, opsets, builder, where)

    outputs = [v.name for v in graph.output]
    known = builder.values | set(builder.constants)
    missing = [v for v in outputs if v not in known]
    if missing or not outputs or len(set(outputs)) != len(outputs):
        raise ModelError(f"{where}: graph outputs {outputs}: expected at least one, each once, each made by a node"
                         + (f"; {missing} are not" if missing else ""))
    net = Net(inputs, outputs, builder.layers, builder.constants)
    net.check()
    meta = {"format": "onnx", "producer": f"{_text(proto.producer_name)} {_text(proto.producer_version)}".strip(),
            "graph": _text(graph.name), "opset": opset}
    if builder.converted or half:
        meta["converted"] = {**{f"{k} weights": n for k, n in sorted(builder.converted.items())},
                             **({"half-precision inputs": half} if half else {})}
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


def _graph_inputs(graph, initialised: set[str]) -> tuple[dict[str, TensorSpec], int]:
    """Specs of the inputs that are not initializers, and how many of them were half precision."""
    inputs: dict[str, TensorSpec] = {}
    half = 0
    taken = {d.dim_param for v in graph.input for d in v.type.tensor_type.shape.dim}
    for value in graph.input:
        where = f"graph input {value.name!r}"
        if value.name in initialised:
            continue
        if not value.name or value.name in inputs:
            raise ModelError(f"{where}: input names must be there and unique")
        tensor = value.type.tensor_type
        if not value.type.HasField("tensor_type") or not tensor.HasField("shape"):
            raise ModelError(f"{where}: expected a tensor with a declared rank")
        if len(tensor.shape.dim) > MOST_RANK:
            raise SizeError(f"{where} has rank {len(tensor.shape.dim)}: expected at most {MOST_RANK} dimensions")
        dtype = element_type(tensor.elem_type, where)
        half += dtype in WIDENED
        dims = []
        for axis, dim in enumerate(tensor.shape.dim):
            if dim.HasField("dim_value") and dim.dim_value != -1:
                if dim.dim_value < 1:
                    raise ModelError(f"{where}: dimension {axis} is {dim.dim_value}; expected 1 or more, or a symbol")
                dims.append(int(dim.dim_value))
            elif dim.dim_param:
                dims.append(dim.dim_param)
            else:
                symbol = f"{value.name}_{axis}"
                while symbol in taken:
                    symbol += "_"
                taken.add(symbol)
                dims.append(symbol)
        inputs[value.name] = TensorSpec("f32" if dtype in WIDENED else dtype, tuple(dims))
    return inputs, half


def _with_shapes(inputs: dict[str, TensorSpec], shapes: Mapping[str, Sequence[int | str]]) -> dict[str, TensorSpec]:
    """The inputs with some of their declared shapes replaced."""
    changed = dict(inputs)
    for name, shape in shapes.items():
        if name not in inputs:
            raise InputError(f"shapes: input {name!r} is unknown; "
                             f"the model's inputs are {', '.join(map(repr, inputs))}")
        shape = tuple(shape)
        if len(shape) != inputs[name].rank or not all(map(_is_dimension, shape)):
            raise InputError(f"shapes: input {name!r} is {inputs[name]}; expected {inputs[name].rank} sizes of at "
                             f"least 1 or symbols, got {shape}")
        changed[name] = TensorSpec(inputs[name].dtype, shape)
    return changed


def _is_dimension(dim) -> bool:
    return bool(dim) if isinstance(dim, str) else isinstance(dim, int) and not isinstance(dim, bool) and dim > 0


def _convert_nodes(graph, opsets: dict[str, int], builder: Builder, where: str) -> None:
    """Turn every node into layers; all that is not covered is raised as one error at the end."""
    table = operators()
    uncovered: list[tuple[str, str, str]] = []
    poisoned: set[str] = set()
    used = {n.name for n in graph.node}
    for i, proto in enumerate(graph.node):
        domain = "" if proto.domain in _DEFAULT_DOMAINS else proto.domain
        name = proto.name or f"{proto.op_type}_{i}"
        while not proto.name and name in used:
            name += "_"
        key = f"{domain}:{proto.op_type}" if domain else proto.op_type
        broken = any(v in poisoned for v in proto.input)
        reason = None
        if key not in table:
            reason = "no such operator here"
        else:
            node = Node(proto, name, domain, opsets.get(domain, 1), builder)
            try:
                _check_inputs(node, poisoned)
                convert(node, table[key])
            except UnsupportedOperatorError as e:
                reason = str(e)
            except ModelError:
                if not broken:
                    raise
        if reason is not None and not (broken and key in table):
            uncovered.append((key, name, reason))
        if reason is not None or broken:
            poisoned.update(v for v in proto.output if v)
    if uncovered:
        raise UnsupportedOperatorError(
            f"{where}: {len(uncovered)} nodes use operators that are not supported:\n" +
            "\n".join(f"  {op} at node {name!r}: {reason}" for op, name, reason in uncovered),
            [(op, name) for op, name, _ in uncovered])


def _check_inputs(node: Node, poisoned: set[str]) -> None:
    for v in node.inputs:
        if v and v not in node.builder.values and v not in node.builder.constants and v not in poisoned:
            raise ModelError(f"node {node.name!r} ({node.op}): input {v!r} is not made before it; "
                             "the nodes must be in topological order and free of cycles")
    if not node.uses_output(0) and not any(node.outputs):
        raise ModelError(f"node {node.name!r} ({node.op}): has no output")
