"""Builder: the net under construction; Node: one node of a foreign graph as an operator function sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, overload

import numpy as np
from numpy.typing import ArrayLike

from ..errors import Error, InputError, ModelError, ShapeError, UnsupportedOperatorError
from ..meaning.open_shapes import OpenShapes
from ..meaning.partial import Folding, Follower, fold
from ..net.block import Block
from ..net.floats import HALVES
from ..net.format import numpy_dtype
from ..net.names import Names
from ..net.net import Layer, Net, TensorSpec
from ..net.scales import Scale, check_axis
from ..net.state import State, checked_states
from ..words import counted
from .types import FEW_BITS, ElementTypes, narrow

#: A weight that a model computes from constants, such as a ConstantOfShape, may have this many bytes ...
COMPUTED_BYTES = 512 << 20
#: ... all of them this many ...
COMPUTED_TOTAL = 1 << 30
#: ... and this much effort; see `meaning.partial.Folding`.
COMPUTED_EFFORT = 4_000_000_000


class Builder:
    """Layers and constants so far, and what is known of every value.

    `names`: of values in the file, which new ones keep clear of. `read`: those that a node or the model's caller reads.
    `declared_ranks`: value -> rank that the file states, for those whose shape cannot be found out.
    `shapes` walks along: a rank, a dimension or a content is known where it is the same at all sizes of the symbols.
    `states`: what goes from call to call; see `state`.
    """

    def __init__(self, inputs: Mapping[str, TensorSpec], names: Iterable[str] = (), read: Iterable[str] = (),
                 declared_ranks: Mapping[str, int] | None = None, narrow_double: bool = False):
        self.inputs = dict(inputs)
        self.types = ElementTypes(narrow_double)
        self.layers: list[Layer] = []
        self.constants: dict[str, np.ndarray] = {}
        self.values: set[str] = set(inputs)
        self.converted: dict[str, int] = {}
        self.read = set(read)
        self.folding = Folding()
        self._computing = Folding(COMPUTED_BYTES, COMPUTED_TOTAL, COMPUTED_EFFORT)
        self._declared_ranks = dict(declared_ranks or {})
        self._names = Names({*names, *inputs})
        self._layer_names = Names()
        self._unfolded: dict[str, Layer] = {}
        self._computed: dict[str, str] = {}
        self.shapes = OpenShapes(inputs)
        self.scales: dict[str, Scale] = {}
        self._notes: dict[str, int] = {}
        self.states: dict[str, State] = {}

    def fresh(self, base: str) -> str:
        """A value name that nothing else has."""
        return self._names.fresh(base)

    def note(self, text: str) -> None:
        """Say something of the model to its users, once, with how often it is true."""
        self._notes[text] = self._notes.get(text, 0) + 1

    def said(self) -> list[str]:
        """The notes, in the order in which they came."""
        return [text if n == 1 else f"{text} ({n} times)" for text, n in self._notes.items()]

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

    def add_stored(self, name: str, array: np.ndarray, dtype: str) -> str:
        """Make an array of the file a constant of the net. `dtype`: in the file; halves come widened to float32, integers
        of 4 and 2 bits as u8 and i8."""
        if dtype in HALVES:
            self.converted[dtype] = self.converted.get(dtype, 0) + 1
            self.types.declare(name, dtype)
        elif dtype in FEW_BITS:
            self.types.declare(name, dtype)
        self.folding.constant(array)
        return self.add_constant(name, array)

    def scale(self, value: str, scale: Scale) -> None:
        """State how integers stand for the numbers of a value or constant; see `net.scales.make_scale`.

        Raises ModelError for one that does not exist, that has another scale already, or whose axis is of another length.
        """
        if value not in self.values and value not in self.constants:
            raise ModelError(f"scale of {value!r}: there is no such value; make it first")
        if self.scales.get(value, scale) != scale:
            raise ModelError(f"scale of {value!r}: expected one, got {self.scales[value]}, then {scale}")
        if value in self.shapes.specs:
            check_axis(value, scale, self.shapes.specs[value].shape)
        self.scales[value] = scale

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
        if value in self.scales:
            self.scales[name] = self.scales.pop(value)
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

    def is_constant(self, value: str) -> bool:
        """Whether a value depends on no input, however large it is."""
        return value in self.constants or value in self._unfolded

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

    def state(self, name: str, output: str, initial: ArrayLike | None = None) -> None:
        """Say that an input gets, in every call, the value that another one had in the call before.

        `output`: name of that value, which becomes an output of the net where it is none. `initial`: what the input is in the
        first call, None for zeros. It goes to the model: `Model(nets, meta, states=builder.states)`. Raises ModelError for
        what is no input, and for an input or a value that has been stated before.
        """
        if name not in self.inputs:
            raise ModelError(f"state {name!r}: expected an input of the graph, of which there are "
                             f"{', '.join(map(repr, self.inputs)) or 'none'}")
        for other, state in self.states.items():
            if name == other or output == state.output:
                raise ModelError(f"state {name!r}, of the value {output!r}: the input {other!r} has the value {state.output!r} "
                                 f"already; expected one value for each input, and one input for each value")
        self.states[name] = State(output, None if initial is None else np.asarray(initial))

    def known(self, value: str) -> np.ndarray | None:
        """Content of a value where a net inside takes it as a constant: one of the net, or what is small and known."""
        return self.content(value)

    def spec(self, value: str) -> TensorSpec | None:
        """Spec of a value as an input of a net inside may declare it; None where its rank or element type is not known."""
        dtype, shape = self.dtype(value), self.shapes.named_shape(value)
        if shape is None and value in self._declared_ranks:
            shape = tuple(f"{value}.{axis}" for axis in range(self._declared_ranks[value]))
        return None if dtype is None or shape is None else TensorSpec(dtype, shape)

    def stand_in(self, value: str) -> TensorSpec | None:
        """Some spec for a value that no sizes make, as in a branch that does not fit; None for others."""
        if not self.shapes.impossible:
            return None
        makers = {v: layer for layer in self.layers for v in layer.outputs}
        pending, seen = [value], {value}
        while pending:
            layer = makers.get(pending.pop())
            if layer is None:
                continue
            if layer.name in self.shapes.impossible:
                shape = next((self.shapes.named_shape(v) for v in layer.inputs if v and v not in self.constants), None) or ()
                rank = self._declared_ranks.get(value, len(shape))
                return TensorSpec(self.dtype(value) or "f32", tuple(f"{value}.{axis}" for axis in range(rank)))
            pending += [v for v in layer.inputs if v and v not in seen and v not in self.shapes.specs]
            seen.update(layer.inputs)
        return None

    def shares(self, outer: "Builder") -> None:
        """Say that the net is one inside another: what is folded, computed and converted counts there."""
        self.folding, self._computing, self.converted, self._notes = (outer.folding, outer._computing, outer.converted,
                                                                              outer._notes)
        self.shapes.folding = outer.shapes.folding

    def to_block(self, outputs: Sequence[str]) -> Block:
        """The net as a block with these outputs by position. Raises ModelError where one does not exist."""
        if self.states:
            raise ModelError(f"a graph inside keeps {', '.join(map(repr, self.states))} from call to call; expected states of "
                             f"the graph around all others alone")
        results: list[str] = []
        for v in outputs:
            if v not in self.values and v not in self.constants:
                raise ModelError(f"a graph inside returns {v!r}, which is neither made by a node nor an input or initializer")
            if v in results:
                copy = self.fresh(v)
                self.add_layer(copy, "identity", [v], [copy], {})
                v = copy
            results.append(v)
        return Block(Net(self.inputs, results, self.layers, self.constants))

    def to_net(self, outputs: Iterable[str], where: str, fitting: bool = True) -> Net:
        """The net with these outputs and those that states take; one that is named twice is one result. Raises ModelError where
        one does not exist, or a state is none; with `fitting` ShapeError where a layer fits no sizes of the inputs."""
        outputs = list(dict.fromkeys([*outputs, *(s.output for s in self.states.values())]))
        missing = [v for v in outputs if v not in self.values and v not in self.constants]
        if missing:
            raise ModelError(f"{where}: graph outputs {missing} are neither made by a node nor inputs or initializers")
        if not outputs:
            raise ModelError(f"{where}: the graph has no outputs; expected at least one")
        net = Net(self.inputs, outputs, self.layers, self.constants, scales=self.scales)
        net.check()
        if fitting:
            self._check_fits(outputs, where)
        try:
            self.states = checked_states(self.states, self.inputs, {v: self.spec(v) for v in outputs})
        except InputError as e:
            raise ModelError(f"{where}: {e}") from e
        return net


    def _check_fits(self, outputs: Iterable[str], where: str) -> None:
        """Raise the ShapeError of a layer that the outputs need and that fits no sizes."""
        if not self.shapes.impossible:
            return
        needed = set(outputs)
        for layer in reversed(self.layers):
            if not needed.isdisjoint(layer.outputs):
                needed.update(layer.inputs)
        for layer in self.layers:
            if layer.name in self.shapes.impossible and not needed.isdisjoint(layer.outputs):
                raise ShapeError(f"{where}: {self.shapes.impossible[layer.name]}")


class Node:
    """One node of a foreign graph: typed attributes, inputs, what is known about them, `emit` for the layers it becomes.

    `op`: the operator, the key of the importer's table. `inputs`, `outputs`: names of values, "" for one that is absent.
    `attributes`: name -> number, text, array, or list of such; a format that stores them in another way derives a class. A
    malformed node raises ModelError; a use that is valid in the format but not covered calls `unsupported`. What an
    operator function does not look at is refused, since it may change what the node computes.
    """

    #: What `convert` says of failures that no check has foreseen.
    defect = "this is a defect of the importer, or the file is malformed in a way that it does not check"

    def __init__(self, op: str, name: str, inputs: Sequence[str], outputs: Sequence[str], attributes: Mapping[str, Any],
                 builder: Builder):
        self.op, self.name, self.builder = op, name, builder
        self.given = [builder.types.inner.get(v, v) for v in inputs]
        self.outputs = list(outputs)
        self._attributes = attributes
        self._seen: set[str] = set()
        self._seen_inputs: set[int] = set()

    @property
    def where(self) -> str:
        """The node, as messages name it."""
        return f"node {self.name!r} ({self.op})"

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

    def _attribute(self, name: str, expected: str, fits: Callable[[Any], bool], default: Any) -> Any:
        self._seen.add(name)
        value = self._attributes.get(name, default)
        if name in self._attributes and not fits(value):
            raise ModelError(f"attribute {name!r} is {value!r}; expected {expected}")
        return value

    @overload
    def ints(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]: ...
    @overload
    def ints(self, name: str, default: None) -> tuple[int, ...] | None: ...

    def ints(self, name: str, default: Sequence[int] | None = ()) -> tuple[int, ...] | None:
        """Attribute that is a list of whole numbers; the default, which may be None, when it is absent."""
        value = self._attribute(name, "a list of whole numbers",
                                lambda v: isinstance(v, (list, tuple)) and all(map(_is_whole, v)), default)
        return None if value is None else tuple(int(v) for v in value)

    def text(self, name: str, default: str = "") -> str:
        """Attribute that is a word."""
        return self._attribute(name, "a word", lambda v: isinstance(v, str), default)

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
            raise ModelError(f"expected at least {counted(count, 'input')}, got "
                             f"{len([v for v in self.given if v])} ({self.given})")

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

    def varies(self, i: int) -> bool:
        """True where an input is there, and its contents depend on the model's inputs."""
        return bool(self.input(i)) and self.const(i) is None

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

    def size(self, value: str, axis: int) -> int | None:
        """Size of a value along an axis, counted from the front; None where it depends on the model's inputs. Raises ModelError
        for an axis that the value does not have."""
        shape = self.builder.shape(value)
        if shape is None:
            return None
        if axis >= len(shape):
            raise ModelError(f"{value!r} has the shape {['?' if d is None else d for d in shape]}: expected at least "
                             f"{counted(axis + 1, 'axis', 'axes')}")
        return shape[axis]

    def axis(self, axis: int, rank: int) -> int:
        """An axis counted from the front. Raises ModelError when it is out of range."""
        if not -rank <= axis < rank:
            raise ModelError(f"axis {axis} is out of range for rank {rank}")
        return axis % rank

    def dtype(self, value: str) -> str | None:
        """pathweave dtype of a value, where it is known."""
        return self.builder.dtype(value)

    def file_type(self, value: str) -> str | None:
        """Element type of a value in the file, where it is known: f16 for one that stands for float16; see `types`."""
        return self.builder.types.of(value, self.dtype(value))

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

    def unsupported(self, reason: str) -> NoReturn:
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

    def constant(self, array: ArrayLike, last: bool = False) -> str:
        """Add a constant; with `last` it is the node's output."""
        name = self.outputs[0] if last and self.uses_output(0) else self.builder.fresh(f"{self.name}:constant")
        return self.builder.add_constant(name, np.asarray(array))

    def number(self, value: float, like: str) -> str:
        """A scalar constant of the element type of a value (float32 where that is not known)."""
        return self.constant(np.array(value, numpy_dtype(self.dtype(like) or "f32")))

    # attributes again: behind these two methods, a type checker takes `int` and `float` in the class for them

    def int(self, name: str, default: int = 0) -> int:
        """Attribute that is a whole number."""
        return int(self._attribute(name, "a whole number", _is_whole, default))

    def float(self, name: str, default: float = 0.0) -> float:
        """Attribute that is a number."""
        return float(self._attribute(name, "a number", lambda v: _is_whole(v) or isinstance(v, float), default))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def convert(node: Node, function: Callable[[Any], None]) -> None:
    """Run an operator function; what goes wrong inside becomes a ModelError that names the node."""
    where = node.where
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
        raise ModelError(f"{where}: cannot be converted ({type(e).__name__}: {e}); {node.defect}") from e
