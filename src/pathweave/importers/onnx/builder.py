"""Builder: the net under construction; Node: one ONNX node as an operator function of ops/ sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import Error, ModelError, UnsupportedOperatorError
from ...meaning.open_shapes import OpenShapes
from ...meaning.partial import Folding, Follower, fold
from ...net.format import numpy_dtype
from ...net.names import Names
from ...net.net import Layer, TensorSpec
from .external import External
from .tensors import WIDENED, dense, element_type, narrow, to_array
from .types import ElementTypes

#: AttributeProto.type -> the field that holds the value
_ATTRIBUTE_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings", 11: "sparse_tensor"}
_TYPE_NAMES = {1: "a number", 2: "a whole number", 3: "a word", 4: "a tensor", 5: "a graph", 6: "a list of numbers",
               7: "a list of whole numbers", 8: "a list of words", 9: "a list of tensors", 10: "a list of graphs",
               11: "a sparse tensor", 12: "a list of sparse tensors", 13: "a type", 14: "a list of types"}
#: A weight that a model computes from constants, such as a ConstantOfShape, may have this many bytes ...
COMPUTED_BYTES = 512 << 20
#: ... all of them this many ...
COMPUTED_TOTAL = 1 << 30
#: ... and this much effort; see `meaning.partial.Folding`.
COMPUTED_EFFORT = 4_000_000_000


class Builder:
    """Layers and constants so far, and what is known of every value.

    `read`: names of the values that a node or the model's caller reads.
    `shapes` walks along: a rank, a dimension or a content is known where it is the same at all sizes of the symbols.
    """

    def __init__(self, inputs: dict[str, TensorSpec], declared_ranks: dict[str, int], names: set[str],
                 external: External, narrow_double: bool, read: set[str]):
        self.inputs = dict(inputs)
        self.types = ElementTypes(narrow_double)
        self.layers: list[Layer] = []
        self.constants: dict[str, np.ndarray] = {}
        self.values: set[str] = set(inputs)
        self.converted: dict[str, int] = {}
        self.external = external
        self.read = read
        self.folding = Folding()
        self._computing = Folding(COMPUTED_BYTES, COMPUTED_TOTAL, COMPUTED_EFFORT)
        self._declared_ranks = declared_ranks
        self._names = Names(names)
        self._layer_names = Names()
        self._unfolded: dict[str, Layer] = {}
        self._computed: dict[str, str] = {}
        self.shapes = OpenShapes(inputs)

    def fresh(self, base: str) -> str:
        """A value name that nothing else has."""
        return self._names.fresh(base)

    def define(self, name: str) -> None:
        """Note that a value exists now. Raises ModelError when it did already."""
        if name in self.values or name in self.constants:
            raise ModelError(f"value {name!r} is defined twice")
        self.values.add(name)

    def add_constant(self, name: str, array: np.ndarray) -> str:
        """Make an array a constant of the net, in the type in which the net computes."""
        if array.dtype == np.float64 and "f64" in self.types.computed:
            array = narrow(array)
            self.types.declare(name, "f64")
            self.converted["f64"] = self.converted.get("f64", 0) + 1
        self.define(name)
        self.values.discard(name)
        self.constants[name] = array
        self.shapes.constant(name, array)
        return name

    def add_tensor(self, name: str, tensor, where: str, raw: memoryview | None = None) -> str:
        """Make a TensorProto a constant of the net; `raw`: its raw bytes, where they were taken out of it."""
        return self._add_stored(name, *to_array(tensor, self.external, where, raw))

    def _add_stored(self, name: str, array: np.ndarray, dtype: str) -> str:
        if dtype in WIDENED:
            self.converted[dtype] = self.converted.get(dtype, 0) + 1
            self.types.declare(name, dtype)
        self.folding.constant(array)
        return self.add_constant(name, array)

    def add_sparse(self, name: str, sparse, where: str) -> str:
        """Make a SparseTensorProto a constant of the net, dense."""
        return self._add_stored(name, *dense(sparse, self.external, where))

    def rename(self, value: str, base: str) -> str:
        """Give a value or constant another name, made from `base`, and set its old one free; returns the new name."""
        name = self.fresh(base)
        if value in self.constants:
            self.constants[name] = self.constants.pop(value)
        else:
            self.values.discard(value)
            self.values.add(name)

        def changed(names: Sequence[str]) -> tuple[str, ...]:
            return tuple(name if v == value else v for v in names)
        self.layers = [layer.with_(inputs=changed(layer.inputs), outputs=changed(layer.outputs))
                       if value in layer.inputs or value in layer.outputs else layer for layer in self.layers]
        self.shapes.rename(value, name)
        return name

    def add_layer(self, name: str, kind: str, inputs: Sequence[str], outputs: Sequence[str], attrs: dict) -> None:
        """Append a layer, or its folded result where all inputs are constants and the result is small."""
        unique = self._layer_names.unused(name)
        layer = Layer(unique, kind, tuple(inputs), tuple(outputs), attrs)
        if all(not v or v in self.constants or v in self._unfolded for v in inputs):
            folded = self._folded(layer, self.folding)
            if folded is not None:
                for value, array in folded.items():
                    self.add_constant(value, array)
                return
            self._unfolded.update(dict.fromkeys(outputs, layer))
        self._layer_names.add(unique)
        self.layers.append(layer)
        for v in outputs:
            self.define(v)
        self.shapes.step(layer)

    def _folded(self, layer: Layer, folding: Folding) -> dict[str, np.ndarray] | None:
        if any(v and v not in self.constants for v in layer.inputs):
            return None
        trial = Follower({}, lenient=True)
        trial.folding = folding
        for v in layer.inputs:
            if v:
                trial.constant(v, self.constants[v])
        resolved = trial.step(layer)
        if any(v not in trial.specs for v in layer.outputs):
            return None
        if all(v in trial.contents for v in layer.outputs):
            return {v: trial.contents[v] for v in layer.outputs}
        return fold(resolved, [trial.specs[v] for v in layer.outputs], trial.contents, folding)

    def computed(self, value: str) -> str | None:
        """Name of a constant with a value's contents; None where these depend on the inputs.

        What was left for the run because of its size is computed now, as weights must be: up to COMPUTED_BYTES each.
        """
        if value in self.constants:
            return value
        if value in self._computed:
            return self._computed[value]
        array = self.content(value)
        if array is None and value in self._unfolded:
            array = self._compute(value)
        if array is None:
            return None
        self._computed[value] = self.add_constant(self.fresh(f"{value}:computed"), array)
        return self._computed[value]

    def _compute(self, value: str) -> np.ndarray | None:
        pending = [value]
        while pending:
            if pending[-1] in self._computed:
                pending.pop()
                continue
            layer = self._unfolded[pending[-1]]
            missing = [v for v in layer.inputs if v and v not in self.constants and v not in self._computed]
            if missing:
                pending += missing
                continue
            renamed = layer.with_(inputs=tuple(self._computed.get(v, v) for v in layer.inputs))
            folded = self._folded(renamed, self._computing)
            if folded is None:
                return None
            if pending.pop() == value:
                return folded[value]
            for name, array in folded.items():
                if name not in self._computed:
                    self._computed[name] = self.add_constant(self.fresh(f"{name}:computed"), array)
        return None

    def shape(self, value: str) -> tuple[int | None, ...] | None:
        """Shape of a value with None for sizes that depend on symbols; None when not even the rank is known."""
        shape = self.shapes.shape(value)
        if shape is None and value in self._declared_ranks:
            return (None,) * self._declared_ranks[value]
        return shape

    def content(self, value: str) -> np.ndarray | None:
        """Content of a constant, or of a value that depends on fixed dimensions alone."""
        if value in self.constants:
            return self.constants[value]
        return self.shapes.content(value)

    def dtype(self, value: str) -> str | None:
        """Element type of a value, where it is known."""
        return self.shapes.dtype(value)


class Node:
    """One ONNX node: typed attributes, inputs, what is known about them, and `emit` for the layers that it becomes.

    `version`: opset of the operator's domain. `name`: the node's name, or `OpType_index`. `scope`: other names of values,
    within the branch of an If. A malformed node raises ModelError; a use that is valid ONNX but not covered
    calls `unsupported`.
    """

    def __init__(self, proto, name: str, domain: str, version: int, builder: Builder, scope: Mapping[str, str]):
        self.op, self.domain, self.name, self.version = proto.op_type, domain, name, version
        self.builder = builder
        self.given = [builder.types.inner.get(v, v) for v in (scope.get(v, v) for v in proto.input)]
        self.outputs = [scope.get(v, v) for v in proto.output]
        self._attributes = {a.name: a for a in proto.attribute}
        self._seen: set[str] = set()
        self._seen_inputs: set[int] = set()

    # attributes

    def has(self, name: str) -> bool:
        """True when the node carries the attribute."""
        self._seen.add(name)
        return name in self._attributes

    def ignore(self, *names: str) -> None:
        """Say of attributes that they have no effect in this use of the operator."""
        self._seen.update(names)

    def unread(self) -> list[str]:
        """Attributes that the node carries and that nobody looked at."""
        return sorted(set(self._attributes) - self._seen)

    def _attribute(self, name: str, types: tuple[int, ...], default: Any) -> Any:
        self._seen.add(name)
        if name not in self._attributes:
            return default
        attribute = self._attributes[name]
        if attribute.type not in types:
            raise ModelError(f"attribute {name!r} is {_TYPE_NAMES.get(attribute.type, f'of type {attribute.type}')}; "
                             f"expected {' or '.join(_TYPE_NAMES[t] for t in types)}")
        return getattr(attribute, _ATTRIBUTE_FIELDS[attribute.type])

    def int(self, name: str, default: int = 0) -> int:
        """Attribute that is a whole number."""
        return int(self._attribute(name, (2,), default))

    def float(self, name: str, default: float = 0.0) -> float:
        """Attribute that is a number: exactly the float32 that ONNX stores, which 0.1 is not; defaults are float32 too."""
        return float(np.float32(self._attribute(name, (1, 2), default)))

    def ints(self, name: str, default: Sequence[int] | None = ()) -> tuple[int, ...] | None:
        """Attribute that is a list of whole numbers; the default, which may be None, when it is absent."""
        value = self._attribute(name, (7,), default)
        return None if value is None else tuple(int(v) for v in value)

    def text(self, name: str, default: str = "") -> str:
        """Attribute that is a word."""
        value = self._attribute(name, (3,), default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def attribute(self, name: str) -> tuple[int, Any]:
        """(AttributeProto type, value) of an attribute of any type with a value. Raises ModelError when absent."""
        self._seen.add(name)
        if name not in self._attributes:
            raise ModelError(f"attribute {name!r} is missing")
        kind = self._attributes[name].type
        if kind not in _ATTRIBUTE_FIELDS:
            self.unsupported(f"attribute {name!r} is {_TYPE_NAMES.get(kind, f'of type {kind}')}")
        return kind, getattr(self._attributes[name], _ATTRIBUTE_FIELDS[kind])

    # inputs

    def input(self, i: int) -> str:
        """Name of an input, "" where it is absent."""
        self._seen_inputs.add(i)
        return self.given[i] if i < len(self.given) else ""

    @property
    def inputs(self) -> list[str]:
        """Names of all inputs, of an operator that takes any number."""
        self._seen_inputs.update(range(len(self.given)))
        return self.given

    def ignore_inputs(self, *indices: int) -> None:
        """Say of inputs that they have no effect in this use of the operator."""
        self._seen_inputs.update(indices)

    def unread_inputs(self) -> list[int]:
        """Inputs that are there and that nobody looked at."""
        return [i for i, v in enumerate(self.given) if v and i not in self._seen_inputs]

    def required(self, count: int) -> None:
        """Raise ModelError unless the first `count` inputs are there."""
        if len(self.given) < count or not all(self.given[:count]):
            raise ModelError(f"expected at least {count} inputs, got {len([v for v in self.given if v])} ({self.given})")

    def const(self, i: int) -> np.ndarray | None:
        """Content of an input, None when it is absent or not known at import."""
        return self.builder.content(self.input(i)) if self.input(i) else None

    def const_required(self, i: int, what: str) -> np.ndarray:
        """Content of an input that must be known at import."""
        array = self.const(i)
        if array is None:
            self.unsupported(f"{what} (input {i}, {self.input(i)!r}) is not a constant")
        return array

    def computed(self, i: int) -> str | None:
        """Name of a constant with an input's contents; None where it is absent or depends on the model's inputs."""
        return self.builder.computed(self.input(i)) if self.input(i) else None

    def const_name(self, i: int, what: str) -> str:
        """Name of an input that must be a constant of the net, as weights must; computed now where it has to be."""
        name = self.computed(i)
        if name is None:
            self.unsupported(f"{what} (input {i}, {self.input(i)!r}) is not a constant")
        return name

    def const_ints(self, i: int, what: str) -> tuple[int, ...] | None:
        """Content of an integer input as a tuple, None when it is absent."""
        if not self.input(i):
            return None
        array = self.const_required(i, what)
        if array.dtype.kind not in "iu" or array.ndim > 1:
            raise ModelError(f"{what} (input {i}): expected a list of integers, got {array.dtype}{list(array.shape)}")
        return tuple(int(v) for v in array.reshape(-1))

    def shape(self, value: str) -> tuple[int | None, ...] | None:
        """What is known of a value's shape; see Builder.shape."""
        return self.builder.shape(value)

    def rank(self, value: str) -> int:
        """Rank of a value; one that is not known before the run is not covered."""
        shape = self.builder.shape(value)
        if shape is None:
            self.unsupported(f"the rank of {value!r} is not known: it depends on sizes or contents that are only there at "
                             f"run time; export the model with these sizes fixed, or load it with shapes={{...}}")
        return len(shape)

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front. Raises ModelError when it is out of range."""
        if not -rank <= axis < rank:
            raise ModelError(f"axis {axis} is out of range for rank {rank}")
        return axis % rank

    def dtype(self, value: str) -> str | None:
        """pathweave dtype of a value, where it is known."""
        return self.builder.dtype(value)

    def onnx_type(self, value: str) -> str | None:
        """ONNX element type of a value, where it is known: f16 for one that stands for float16; see `types`."""
        return self.builder.types.of(value, self.dtype(value))

    def element_type(self, number: int) -> str:
        """pathweave dtype of an ONNX element type."""
        return element_type(number, "element type")

    def tensor(self, proto, where: str) -> tuple[np.ndarray, str]:
        """Content of a TensorProto attribute as the net computes with it, and its ONNX element type."""
        array, dtype = to_array(proto, self.builder.external, where)
        return narrow(array) if array.dtype == np.float64 and "f64" in self.builder.types.computed else array, dtype

    # outputs

    def uses_output(self, i: int) -> bool:
        """True when output `i` has a name."""
        return i < len(self.outputs) and bool(self.outputs[i])

    def reads_output(self, i: int) -> bool:
        """True when output `i` is read by another node or returned by the model."""
        return self.uses_output(i) and self.outputs[i] in self.builder.read

    def no_outputs_after(self, count: int) -> None:
        """Call `unsupported` when one of the later, optional outputs is read."""
        extra = [v for i, v in enumerate(self.outputs) if i >= count and self.reads_output(i)]
        if extra:
            self.unsupported(f"its optional outputs {', '.join(map(repr, extra))} are read")

    def unsupported(self, reason: str):
        """Report this use of the operator as not covered."""
        raise UnsupportedOperatorError(reason)

    def emit(self, kind: str, inputs: Sequence[str], attrs: dict | None = None, last: bool = False, count: int = 1):
        """Append a layer. With `last` it makes the node's outputs, else a fresh value; returns the output's name.

        `count`: outputs of a last layer; unnamed ones get fresh names.
        """
        outputs = [self.outputs[i] if last and self.uses_output(i) else self.builder.fresh(f"{self.name}:{kind}")
                   for i in range(count)]
        inputs = list(inputs)
        while inputs and not inputs[-1]:
            inputs.pop()
        self.builder.add_layer(self.name if last else f"{self.name}/{kind}", kind, inputs, outputs, attrs or {})
        return outputs[0]

    def result(self, i: int, kind: str, inputs: Sequence[str]) -> None:
        """A layer that makes output `i` of several, where somebody reads it."""
        if self.reads_output(i):
            self.builder.add_layer(f"{self.name}/{self.outputs[i]}", kind, inputs, [self.outputs[i]], {})

    def alias(self, value: str, last_kind: str = "identity") -> None:
        """Make the node's output equal to a value."""
        self.emit(last_kind, [value], last=True)

    def constant(self, array, last: bool = False) -> str:
        """Add a constant; with `last` it is the node's output."""
        name = self.outputs[0] if last and self.uses_output(0) else self.builder.fresh(f"{self.name}:constant")
        return self.builder.add_constant(name, np.asarray(array))

    def number(self, value: float, like: str) -> str:
        """A scalar constant of the element type of a value (float32 where that is not known)."""
        return self.constant(np.array(value, numpy_dtype(self.dtype(like) or "f32")))


def convert(node: Node, function) -> None:
    """Run an operator function; what goes wrong inside becomes a ModelError that names the node."""
    where = f"node {node.name!r} ({node.op}, opset {node.version})"
    try:
        with np.errstate(all="ignore"):  # constants may hold infinities, and keep them
            function(node)
        node.builder.types.follow(node.given, node.outputs, node.builder.dtype)
        if node.unread():
            node.unsupported(f"its attributes {', '.join(map(repr, node.unread()))} are unknown here, and may change what "
                             f"it computes")
        if node.unread_inputs():
            node.unsupported(f"its inputs {', '.join(map(str, node.unread_inputs()))} are unknown here, and may change what it "
                             f"computes")
    except UnsupportedOperatorError:
        raise
    except Error as e:
        raise type(e)(f"{where}: {e}") from e
    except ValueError as e:
        raise ModelError(f"{where}: malformed: {e}") from e
    except (TypeError, LookupError, ArithmeticError, AttributeError, MemoryError, RecursionError) as e:
        raise ModelError(f"{where}: cannot be converted ({type(e).__name__}: {e}); if onnx.checker takes the model, this is a "
                         f"defect of the importer") from e
