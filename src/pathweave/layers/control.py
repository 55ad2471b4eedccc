"""Layers with blocks (net/block.py), `if`, `loop` and `scan`, and `nonzero`, whose shape depends on contents.

A block reads its own inputs and constants alone. What it *captures* of the net around it are inputs of the layer, behind
those that the kind itself has, in the order of the block's last inputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.block import Block
from ..net.conditions import Condition, assumed, equal, recording
from ..net.dim import Expr, highest, largest, unknown
from ..net.format import numpy_dtype
from ..net.net import Layer, TensorSpec
from . import LayerKind, Outline
from ._common import NUMBERS, STEP_EFFORT, axis_of, check_dtype, check_rank, integers, own_symbols, take
from .blocks import ENDLESS, Stack, block_effort, block_operations, infer_block, joined, run_block, with_constants
from .impossible import impossible

#: A number of trips where nothing is known: more than one, and few enough for short data.
USUAL_TRIPS = 4
#: Rounds in which shapes of what a loop carries are found, before all of them are unknown.
MOST_ROUNDS = 4


class _Control(LayerKind):
    """A kind with blocks. `fixed`: how many of the layer's inputs are not captured ones."""

    nested = True
    #: Attributes that are blocks.
    block_names: tuple[str, ...] = ()

    def fixed(self, attrs: Mapping[str, Any]) -> int:
        """How many inputs stand before the captured ones."""
        raise NotImplementedError

    def captured(self, attrs: Mapping[str, Any], name: str) -> int:
        """How many inputs a block has before the captured ones."""
        raise NotImplementedError

    def inside(self, attrs: Mapping[str, Any], inputs: list[Any]) -> dict[str, list[TensorSpec]]:
        """Specs of the inputs of each block, from those of the layer; what a trip changes is unknown."""
        raise NotImplementedError

    def complete(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        full = super().complete(attrs)
        for name in self.block_names:
            if not isinstance(full[name], Block):
                raise ModelError(f"layer kind {self.name}: attribute {name}={full[name]!r}: expected a Block, a net inside "
                                 f"the layer")
        return full

    def take_in(self, layer: Layer, contents: Mapping[str, np.ndarray]) -> Layer:
        """The layer with captured values of known contents as constants of its blocks.

        `contents`: value -> array; one of dtype object holds open sizes, which no block takes.
        """
        attrs, first = self.complete(layer.attrs), self.fixed(self.complete(layer.attrs))
        known = {i - first: contents[v] for i, v in enumerate(layer.inputs) if i >= first and v in contents
                 and contents[v].dtype != object}
        if not known:
            return layer
        for name in self.block_names:
            before = self.captured(attrs, name)
            attrs[name] = with_constants(attrs[name], {before + i: a for i, a in known.items()})
        kept = [v for i, v in enumerate(layer.inputs) if i - first not in known]
        return layer.with_(attrs=attrs, inputs=tuple(kept))

    def _check_count(self, attrs: Mapping[str, Any], inputs: Sequence[Any], least: int) -> None:
        if len(inputs) < least or any(x is None for x in inputs[self.fixed(attrs):]):
            raise ShapeError(f"expected at least {least} inputs, and none of the captured ones absent, got {len(inputs)}")

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        """Known where all outputs have one shape: from the types that the blocks declare, and unknown sizes."""
        try:
            types = self._types(attrs)
            if len(types) != len(shapes) or any(s is None and t for s, t in zip(shapes, types)):
                return None
            specs = [TensorSpec(t, tuple(unknown() if d is None else d for d in s)) if s is not None else None
                     for s, t in zip(shapes, types)]
            found = {tuple(None if isinstance(d, Expr) else d for d in s.dims) for s in self.infer(attrs, specs)}
        except (ModelError, ValueError, TypeError, LookupError, ArithmeticError):
            return None
        return found.pop() if len(found) == 1 else None

    def _types(self, attrs: Mapping[str, Any]) -> list[str]:
        """Element type of every input, "" where one may be absent."""
        raise NotImplementedError


class If(_Control):
    """The outputs of `then_branch` where the condition holds, else those of `else_branch`.

    Inputs: condition (bool, one element), then what the branches capture: the inputs of both blocks, in this order. Outputs
    by position. Sizes in which the branches differ are unknown. Equal branches: the condition does not count. Source: ONNX If.
    """

    name = "if"
    program = "branches"
    attributes = {"then_branch": None, "else_branch": None}
    block_names = ("then_branch", "else_branch")

    def fixed(self, attrs: Mapping[str, Any]) -> int:
        return 1

    def captured(self, attrs: Mapping[str, Any], name: str) -> int:
        return 0

    def take_in(self, layer: Layer, contents: Mapping[str, np.ndarray]) -> Layer:
        """Where the condition is known, the branch that is taken stands for both."""
        condition = contents.get(layer.inputs[0]) if layer.inputs else None
        if condition is not None and condition.size == 1 and condition.dtype == bool:
            taken = layer.attrs["then_branch" if bool(condition.reshape(())) else "else_branch"]
            if any(layer.attrs[name] is not taken for name in self.block_names):
                layer = layer.with_(attrs={**layer.attrs, **dict.fromkeys(self.block_names, taken)})
        return super().take_in(layer, contents)

    def settle(self, layer: Layer, specs: list[TensorSpec | None]) -> Layer:
        """A branch that cannot be taken at these shapes says so when it is, and keeps nobody from taking the other one."""
        fits: dict[str, list[TensorSpec]] = {}
        wrong: dict[str, str] = {}
        for name in self.block_names:
            try:
                fits[name] = infer_block(layer.attrs[name], specs[1:])
            except ShapeError as e:
                wrong[name] = str(e)
        outputs = next(iter(fits.values()), [])
        if len(wrong) != 1:
            return layer
        ((name, reason),) = wrong.items()
        return layer.with_(attrs={**layer.attrs, name: impossible(layer.attrs[name], outputs, reason)})

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        self._check_count(attrs, inputs, 1)
        check_truth("condition", inputs[0])
        then, other = (attrs[name] for name in self.block_names)
        if len(then.net.outputs) != len(other.net.outputs):
            raise ShapeError(f"its branches have {len(then.net.outputs)} and {len(other.net.outputs)} outputs: expected equal "
                             f"numbers")
        found = infer_block(then, inputs[1:])
        if other is not then:
            outputs = infer_block(other, inputs[1:])
            found = [joined(f"output {i}, by the branch that is taken,", a, b) for i, (a, b) in enumerate(zip(found, outputs))]
        return own_symbols(found, inputs)

    def _types(self, attrs: Mapping[str, Any]) -> list[str]:
        return ["bool", *(s.dtype for s in attrs["then_branch"].net.inputs.values())]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        self._check_count(attrs, inputs, 1)
        return run_block(attrs["then_branch" if truth("condition", inputs[0]) else "else_branch"], inputs[1:])

    def inside(self, attrs: Mapping[str, Any], inputs: list[Any]) -> dict[str, list[TensorSpec]]:
        return {name: list(inputs[1:]) for name in self.block_names}

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return max(block_operations(attrs[name], inputs[1:]) for name in self.block_names)

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return max(block_effort(attrs[name], inputs[1:]) for name in self.block_names)


class Loop(_Control):
    """The body again and again, as long as the condition holds, and at most as often as the trip count says.

    Inputs: trip count (i64, one element) or "", condition (bool, one element) or "", `carried` values, then what the body
    captures. The body's inputs: number of the trip, from 0 (i64 scalar), condition (bool scalar), carried, captured; its
    outputs: condition (bool, one element), carried, and parts of stacked outputs. The layer's outputs: carried, then the parts
    of all trips along a new first axis. `trips`: the trip count where it is known, and there is no input for it; -1: the input
    says it, and without one there is no limit. A constant condition is no input either: true is "", and false is `trips` 0.
    A carried size that a trip changes is unknown, and so is the number of parts where the condition may end the loop. An
    open size of parts without any is 0. Source: ONNX Loop.
    """

    name = "loop"
    program = "trips"
    attributes = {"body": None, "carried": 0, "trips": -1}
    block_names = ("body",)
    value_inputs = {0: "trips"}

    def fixed(self, attrs: Mapping[str, Any]) -> int:
        return 2 + int(attrs["carried"])

    def captured(self, attrs: Mapping[str, Any], name: str) -> int:
        return 2 + int(attrs["carried"])

    def take_in(self, layer: Layer, contents: Mapping[str, np.ndarray]) -> Layer:
        trips, condition = (contents.get(v) if v else None for v in (*layer.inputs, "", "")[:2])
        attrs, inputs = dict(layer.attrs), list(layer.inputs)
        if trips is not None and trips.size == 1:
            number = trips.reshape(-1)[0]
            attrs["trips"] = largest(0, number) if isinstance(number, Expr) else max(0, int(number))
            inputs[0] = ""
        if condition is not None and condition.size == 1 and condition.dtype == bool:
            if not bool(condition.reshape(())):
                attrs["trips"], inputs[0] = 0, ""
            inputs[1] = ""
        if inputs != list(layer.inputs):
            layer = layer.with_(attrs=attrs, inputs=tuple(inputs))
        return super().take_in(layer, contents)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (count,) = integers("carried", attrs["carried"], 1, 0)
        inputs = _padded(inputs)
        self._check_count(attrs, inputs, 2 + count)
        if inputs[0] is not None:
            check_number("trip count", inputs[0])
        if inputs[1] is not None:
            check_truth("condition", inputs[1])
        body: Block = attrs["body"]
        if len(body.net.outputs) < 1 + count:
            raise ShapeError(f"its body has {len(body.net.outputs)} outputs: expected a condition and {count} carried values")
        fixed = [TensorSpec("i64", ()), TensorSpec("bool", ())]
        carried, made = _settled(body, fixed, inputs[2:2 + count], inputs[2 + count:], 1)
        check_truth("the condition that the body makes", made[0])
        trips = self._trips(attrs, inputs)
        parts = own_symbols(made[1 + count:], inputs)
        return own_symbols(carried, inputs) + [TensorSpec(s.dtype, (trips, *s.shape)) for s in parts]

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[Any], constants: list[Any]) -> Any:
        return (USUAL_TRIPS, USUAL_TRIPS) if position == 0 else None

    def _trips(self, attrs: Mapping[str, Any], inputs: Sequence[Any]) -> int | Expr:
        """How many trips there will be, unknown where that depends on contents."""
        (trips,) = integers("trips", attrs["trips"], 1, -1)
        limit = trips if inputs[0] is None and not (isinstance(trips, int) and trips < 0) else None
        if limit is not None and inputs[1] is None and self.runs_to_the_end(attrs):
            return limit
        return unknown() if limit is None else unknown(0, highest(limit))

    @staticmethod
    def runs_to_the_end(attrs: Mapping[str, Any]) -> bool:
        """True where the body's condition is constantly true, or the one that it is given, which then was true at first."""
        net = attrs["body"].net
        source = _origin(net, net.outputs[0])
        array = net.constants.get(source)
        return source == list(net.inputs)[1] if array is None else bool(np.all(array))

    def _types(self, attrs: Mapping[str, Any]) -> list[str]:
        return ["", "", *[s.dtype for s in attrs["body"].net.inputs.values()][2:]]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        count, body, inputs = int(attrs["carried"]), attrs["body"], _padded(inputs)
        self._check_count(attrs, inputs, 2 + count)
        limit = int(np.asarray(inputs[0]).reshape(())) if inputs[0] is not None else int(attrs["trips"])
        endless = inputs[0] is None and limit < 0
        going = inputs[1] is None or truth("condition", inputs[1])
        carried, captured = list(inputs[2:2 + count]), list(inputs[2 + count:])
        stacks = [Stack(f"output {count + i} of a loop") for i in range(len(body.net.outputs) - 1 - count)]
        trip = 0
        while going and (endless or trip < limit):
            made = run_block(body, [np.array(trip, np.int64), np.array(going), *carried, *captured])
            going = truth("the condition that the body makes", made[0])
            carried = made[1:1 + count]
            for stack, part in zip(stacks, made[1 + count:]):
                stack.add(part)
            trip += 1
        if stacks and not trip:
            given = [None, None, *_specs(list(body.net.inputs.values())[2:], inputs[2:])]
            return [*carried, *_empty(self.infer(attrs, given)[count:], given, inputs)]
        return [*carried, *(stack.array(0) for stack in stacks)]

    def inside(self, attrs: Mapping[str, Any], inputs: list[Any]) -> dict[str, list[TensorSpec]]:
        count = int(attrs["carried"])
        fixed = [TensorSpec("i64", ()), TensorSpec("bool", ())]
        carried, _ = _settled(attrs["body"], fixed, inputs[2:2 + count], inputs[2 + count:], 1)
        return {"body": [*fixed, *carried, *inputs[2 + count:]]}

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        trips = attrs["trips"] if _padded(inputs)[0] is None and isinstance(attrs["trips"], int) else -1
        return (1 if trips < 0 else trips) * block_operations(attrs["body"], self.inside(attrs, inputs)["body"])

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        trips = attrs["trips"] if _padded(inputs)[0] is None and isinstance(attrs["trips"], int) else -1
        return ENDLESS if trips < 0 else _all_trips(trips, attrs["body"], self.inside(attrs, inputs)["body"])


class Scan(_Control):
    """The body once for each slice of the scanned inputs.

    Inputs: `carried` states, `scanned` values, then what the body captures. The body's inputs: states, one slice of each
    scanned value, captured; its outputs: states, and parts of stacked outputs. The layer's outputs: states, then the parts of
    all trips along a new axis. Per scanned input and stacked output: `input_axes`, `output_axes` (default 0, negative counts
    from the end), and `input_directions`, `output_directions`: 1 from the end to the beginning. Source: ONNX Scan 9.
    """

    name = "scan"
    program = "slices"
    attributes = {"body": None, "carried": 0, "scanned": None, "input_axes": (), "output_axes": (), "input_directions": (),
                  "output_directions": ()}
    block_names = ("body",)

    def fixed(self, attrs: Mapping[str, Any]) -> int:
        return int(attrs["carried"]) + int(attrs["scanned"])

    def captured(self, attrs: Mapping[str, Any], name: str) -> int:
        return self.fixed(attrs)

    def _parts(self, attrs: Mapping[str, Any], inputs: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        (states,) = integers("carried", attrs["carried"], 1, 0)
        (scanned,) = integers("scanned", attrs["scanned"], 1, 1)
        self._check_count(attrs, inputs, states + scanned)
        if len(attrs["body"].net.outputs) < states:
            raise ShapeError(f"its body has {len(attrs['body'].net.outputs)} outputs: expected {states} states at least")
        parts = list(inputs[:states]), list(inputs[states:states + scanned]), list(inputs[states + scanned:])
        if any(x is None for x in (*parts[0], *parts[1])):
            raise ShapeError(f"expected {states} states and {scanned} scanned inputs, got an absent one")
        return parts

    def _each(self, attrs: Mapping[str, Any], name: str, count: int) -> tuple[int, ...]:
        """An attribute with a number per scanned input or stacked output."""
        return integers(name, attrs[name] or (0,) * count, count)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        states, scanned, captured = self._parts(attrs, inputs)
        slices: list[TensorSpec] = []
        length: int | Expr = 0
        self._each(attrs, "input_directions", len(scanned))
        for spec, axis in zip(scanned, self._each(attrs, "input_axes", len(scanned))):
            axis = axis_of(axis, spec.rank)
            if slices and not equal(length, spec.dims[axis]):
                raise ShapeError(f"a scanned input is {spec}: expected {length} along axis {axis}, as the first one has")
            length = length if slices else spec.dims[axis]
            slices.append(TensorSpec(spec.dtype, spec.shape[:axis] + spec.shape[axis + 1:]))
        carried, made = _settled(attrs["body"], [], states, [*slices, *captured], 0)
        parts = own_symbols(made[len(states):], inputs)
        self._each(attrs, "output_directions", len(parts))
        stacked = []
        for spec, axis in zip(parts, self._each(attrs, "output_axes", len(parts))):
            at = axis_of(axis, spec.rank + 1)
            stacked.append(TensorSpec(spec.dtype, (*spec.shape[:at], length, *spec.shape[at:])))
        return own_symbols(carried, inputs) + stacked

    def _types(self, attrs: Mapping[str, Any]) -> list[str]:
        return [s.dtype for s in attrs["body"].net.inputs.values()]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        states, scanned, captured = self._parts(attrs, inputs)
        sequences = [np.moveaxis(np.asarray(x), axis_of(axis, np.ndim(x)), 0)[::-1 if back else 1] for x, axis, back in zip(
            scanned, self._each(attrs, "input_axes", len(scanned)), self._each(attrs, "input_directions", len(scanned)))]
        if len({len(x) for x in sequences}) > 1:
            raise ShapeError(f"the scanned inputs have {', '.join(str(len(x)) for x in sequences)} slices: expected as many")
        count = len(attrs["body"].net.outputs) - len(states)
        stacks = [Stack(f"output {len(states) + i} of a scan") for i in range(count)]
        axes, backwards = (self._each(attrs, name, count) for name in ("output_axes", "output_directions"))
        for slices in zip(*sequences):
            made = run_block(attrs["body"], [*states, *slices, *captured])
            states = made[:len(states)]
            for stack, part in zip(stacks, made[len(states):]):
                stack.add(part)
        if stacks and not len(sequences[0]):
            given = _specs(list(attrs["body"].net.inputs.values()), inputs)
            return [*states, *_empty(self.infer(attrs, given)[len(states):], given, inputs)]
        return [*states, *(s.array(axis_of(axis, s.rank + 1), bool(b)) for s, axis, b in zip(stacks, axes, backwards))]

    def inside(self, attrs: Mapping[str, Any], inputs: list[Any]) -> dict[str, list[TensorSpec]]:
        states, scanned, captured = self._parts(attrs, inputs)
        axes = [axis_of(a, s.rank) for a, s in zip(self._each(attrs, "input_axes", len(scanned)), scanned)]
        slices = [TensorSpec(s.dtype, s.shape[:a] + s.shape[a + 1:]) for s, a in zip(scanned, axes)]
        carried, _ = _settled(attrs["body"], [], states, [*slices, *captured], 0)
        return {"body": [*carried, *slices, *captured]}

    def _length(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int | Expr:
        scanned = self._parts(attrs, inputs)[1]
        return scanned[0].dims[axis_of(self._each(attrs, "input_axes", len(scanned))[0], scanned[0].rank)]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        length = self._length(attrs, inputs)
        once = block_operations(attrs["body"], self.inside(attrs, inputs)["body"])
        return (1 if isinstance(length, Expr) else length) * once

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        length = self._length(attrs, inputs)
        return ENDLESS if isinstance(length, Expr) else _all_trips(length, attrs["body"], self.inside(attrs, inputs)["body"])


class NonZero(LayerKind):
    """Indices of the elements that are not 0, row by row: i64 [rank, count]; a scalar counts as [1]. The count is unknown.

    Source: ONNX NonZero, numpy.nonzero.
    """

    name = "nonzero"
    late = finds_sizes = True
    exact = True
    attributes: Mapping[str, Any] = {}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        check_dtype("x", x, NUMBERS | {"bool"})
        most: int | Expr = 1
        for d in x.dims:
            most = most * d
        return [TensorSpec("i64", (max(1, x.rank), unknown(0, highest(most))))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        return (None, None) if shapes[0] is None else (max(1, len(shapes[0])), None)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        return [np.stack(np.nonzero(np.atleast_1d(x))).astype(np.int64, copy=False)]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return inputs[0].elements * (2 + 8 * max(1, inputs[0].rank))


class Compress(LayerKind):
    """Slices of x along `axis` where the condition (bool, one dimension, maybe shorter) holds; their number is unknown.

    `axis` as a tuple of one axis, or () for elements of x as a row. Source: ONNX Compress.
    """

    name = "compress"
    late = finds_sizes = True
    exact = True
    per_element = 0
    moves = slice(1)
    attributes: Mapping[str, Any] = {"axis": ()}

    @staticmethod
    def _axis(attrs: Mapping[str, Any], rank: int) -> int | None:
        axis = integers("axis", attrs["axis"])
        if len(axis) > 1:
            raise ModelError(f"attribute axis={axis}: expected one axis or ()")
        return axis_of(axis[0], rank) if axis else None

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, condition = take(inputs, 2)
        check_dtype("condition", condition, frozenset(("bool",)))
        check_rank("condition", condition, 1)
        axis = self._axis(attrs, x.rank)
        length: int | Expr = 1
        for d in x.dims if axis is None else (x.dims[axis],):
            length = length * d
        count = unknown(0, min(highest(length), highest(condition.dims[0])))
        return [TensorSpec(x.dtype, (count,) if axis is None else (*x.shape[:axis], count, *x.shape[axis + 1:]))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        if shapes[0] is None:
            return None if attrs["axis"] else (None,)
        axis = self._axis(attrs, len(shapes[0]))
        return (None,) if axis is None else (*shapes[0][:axis], None, *shapes[0][axis + 1:])

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, condition = take(inputs, 2)
        try:
            return [np.compress(condition, x, self._axis(attrs, np.ndim(x)))]
        except IndexError as e:
            raise ShapeError(f"compress: {e}") from None

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return 2 * inputs[0].elements + inputs[1].elements


def _padded(inputs: list[Any]) -> list[Any]:
    """The inputs of a loop with both of its first ones, which a layer may leave out at the end."""
    return [*inputs, None, None][:max(2, len(inputs))]


def _all_trips(trips: int, body: Block, specs: Sequence[TensorSpec | None]) -> int:
    """Effort of all trips of a body."""
    return min(ENDLESS, trips * block_effort(body, specs) + STEP_EFFORT)


def check_truth(what: str, spec: TensorSpec | None) -> None:
    """Raise ShapeError, ModelError unless a spec is one truth value."""
    _check_one(what, spec, "bool")


def check_number(what: str, spec: TensorSpec | None) -> None:
    """Raise ShapeError, ModelError unless a spec is one i64."""
    _check_one(what, spec, "i64")


def _check_one(what: str, spec: TensorSpec | None, dtype: str) -> None:
    if spec is None:
        raise ShapeError(f"{what}: expected {dtype} with one element, got nothing")
    check_dtype(what, spec, frozenset((dtype,)))
    if not all(equal(d, 1) for d in spec.dims):
        raise ShapeError(f"{what} is {spec}: expected one element")


def truth(what: str, array: Any) -> bool:
    """The truth value of an array with one element. Raises ShapeError."""
    array = np.asarray(array)
    if array.size != 1:
        raise ShapeError(f"{what} has {array.size} elements: expected one")
    return bool(array.reshape(()))


def _specs(declared: Sequence[TensorSpec], arrays: Sequence[Any]) -> list[TensorSpec | None]:
    """Specs of arrays in the element types that a block declares: they may be given in another precision."""
    return [TensorSpec(s.dtype, tuple(np.shape(a))) for s, a in zip(declared, arrays)]


def _empty(specs: Sequence[TensorSpec], given: Sequence[TensorSpec | None], arrays: Sequence[Any]) -> list[np.ndarray]:
    """Parts of no trip, in the precision of the arrays, whose declared specs are `given`; open sizes become 0."""
    types = {s.dtype: np.asarray(a).dtype for s, a in zip(given, arrays) if s is not None}
    return [np.empty([d if isinstance(d, int) else 0 for d in s.dims], types.get(s.dtype, numpy_dtype(s.dtype)))
            for s in specs]


def _origin(net: Any, value: str) -> str:
    """Where a value comes from through layers that change nothing."""
    makers = net.producer()
    while value in makers and makers[value].kind == "identity" and not makers[value].epilogue:
        value = makers[value].inputs[0]
    return value


def _settled(body: Block, fixed: list[TensorSpec], initial: Sequence[Any], others: Sequence[Any],
             ahead: int) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """(specs of what a body carries before and behind every trip, specs of what it makes): sizes that a trip changes are
    unknown.

    `fixed`: inputs before the carried ones; `ahead`: outputs before them. Raises ShapeError where a trip changes a rank or an
    element type.
    """
    carried = list(initial)
    if any(s is None for s in carried):
        raise ShapeError("expected all carried values, got an absent one")
    for round_ in range(MOST_ROUNDS + 1):
        conditions: list[Condition] = []
        with recording(conditions):
            made = infer_block(body, [*fixed, *carried, *others])
        after = made[ahead:ahead + len(carried)]
        changed = False
        for i, (a, b) in enumerate(zip(carried, after)):
            if a.dtype != b.dtype or a.rank != b.rank:
                raise ShapeError(f"carried value {i} is {a} before a trip and {b} behind it: expected one element type and "
                                 f"rank")
            moved = [d != e and not _own(d, initial[i].dims[k]) for k, (d, e) in enumerate(zip(a.dims, b.dims))]
            if any(moved):
                every = round_ == MOST_ROUNDS - 1
                carried[i] = TensorSpec(a.dtype, tuple(unknown() if m or every else d for m, d in zip(moved, a.dims)))
                changed = True
        if not changed:
            for condition in conditions:
                assumed(*condition)
            return carried, made
    raise ShapeError("the shapes of what it carries do not settle")


def _own(size: int | Expr, initial: int | Expr) -> bool:
    """Whether a carried size has been made unknown already."""
    return isinstance(size, Expr) and size != initial
