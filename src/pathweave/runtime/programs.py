"""Layers with blocks as steps of a plan: an `if` becomes a branch, a `loop` and a `scan` rounds of the steps of their body."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..layers import kind_of
from ..net.format import plain_format
from ..net.net import Layer, TensorSpec
from .bound import BoundNet
from .flat import block_formats, formats_inside

if TYPE_CHECKING:
    from .builder import Builder


@dataclass(frozen=True)
class Control:
    """What a step does that runs no kernel; see Op of native/runtime/plan.h."""

    word: str
    target: int = -1
    loop: int = -1
    axis: int = 0
    count: int = -1
    counted: bool = False
    tested: bool = False
    reversed: bool = False

    @property
    def native(self) -> tuple[Any, ...]:
        """As the native plan takes it."""
        return self.word, self.target, self.loop, self.axis, self.count, (self.counted, self.tested, self.reversed)


def add_program(builder: Builder, layer: Layer) -> None:
    """Add the steps of a layer with blocks. What they read of the net around them is converted before."""
    for value, form in formats_inside(builder.flat, builder.choices, layer):
        if value in builder.where:
            builder.in_format(value, form)
    {"branches": _add_if, "trips": _add_loop, "slices": _add_scan}[kind_of(layer.kind).program](builder, layer)


def _plain(builder: Builder, value: str) -> int:
    """The native value of a name, row-major."""
    if value in builder.bound.net.constants:
        return builder.add_constant(builder.bound.net.constants[value], value, builder.bound.spec(value))
    spec = builder.bound.spec(value)
    return builder.in_format(value, plain_format(spec.dtype, spec.rank))


def _capture(builder: Builder, child: Builder, names: Iterable[str], values: Sequence[str]) -> None:
    """What a block reads of the net around it lies where that has it, in the formats that there are."""
    for name, value in zip(names, values):
        if value in builder.bound.net.constants:
            spec = builder.bound.spec(value)
            child.where[name] = {plain_format(spec.dtype, spec.rank): _plain(builder, value)}
        else:
            child.where[name] = dict(builder.where[value])


def _outputs(builder: Builder, layer: Layer) -> list[int]:
    """New native values for the layer's outputs."""
    found = []
    for value, form in zip(layer.outputs, builder.choices[layer.name].outs):
        found.append(builder.add_value(builder.bound.spec(value), form, value))
        builder.where[value] = {form: found[-1]}
    return found


def _late_sizes(builder: Builder, value: str) -> list[tuple[int, int, int]]:
    """(0, axis, size) of the axes of a value that its producer finds out."""
    opened = builder.bound.opened
    places = set(opened.late.values()) if opened else set()
    return [(0, axis, builder.opened.table.slot(d)) for axis, d in enumerate(builder.opened.dims(value))
            if (value, axis) in places]


def _add_if(builder: Builder, layer: Layer) -> None:
    blocks = builder.bound.nested[layer.name]
    then = blocks["then_branch"]
    condition = _plain(builder, layer.inputs[0])
    captured = layer.inputs[1:]
    outs = _outputs(builder, layer)
    if "else_branch" not in blocks:  # it is the same
        builder.add_control(Control("jump", target=len(builder.steps) + 1), layer, [], outs)
        return _add_branch(builder, layer, then, captured, outs)
    at = builder.add_control(Control("branch"), layer, [condition], outs)
    _add_branch(builder, layer, then, captured, outs)
    end = builder.add_control(Control("jump"), layer, [], [])
    builder.set_control(at, Control("branch", target=len(builder.steps)))
    _add_branch(builder, layer, blocks["else_branch"], captured, outs)
    builder.set_control(end, Control("jump", target=len(builder.steps)))
    return None


def _add_branch(builder: Builder, layer: Layer, block: BoundNet, captured: Sequence[str], outs: Sequence[int]) -> None:
    child = builder.child(block)
    _capture(builder, child, block.net.inputs, captured)
    child.wire_layers()
    formats = block_formats(layer, block, builder.choices[layer.name])
    for name, form, value, out in zip(block.net.outputs, formats, layer.outputs, outs):
        builder.add_control(Control("copy"), layer, [child.output_in(name, form), out], [], _late_sizes(builder, value))


def _add_loop(builder: Builder, layer: Layer) -> None:
    attrs = builder.opened.attributes(layer)
    body, count = builder.bound.nested[layer.name]["body"], int(attrs["carried"])
    inputs = [*layer.inputs, "", ""][:max(2, len(layer.inputs))]
    names = list(body.net.inputs)
    carried = _carried(builder, layer, inputs[2:2 + count])
    tests = inputs[1] or not _runs_to_the_end(layer)
    truth = _truth(builder, layer, inputs[1]) if _is_used(body, names[1]) else None
    at = _begin(builder, layer, [v for v in inputs[:2] if v])
    child = builder.child(body)
    child.where[names[0]] = {plain_format("i64", 0): at.number}
    if truth is not None:
        child.where[names[1]] = {plain_format("bool", 0): truth}
    for name, value, slot in zip(names[2:], layer.outputs, carried):
        child.where[name] = {plain_format(builder.bound.spec(value).dtype, builder.bound.spec(value).rank): slot}
    _capture(builder, child, names[2 + count:], inputs[2 + count:])
    child.wire_layers()
    made = list(body.net.outputs)
    going = child.plain_output(made[0]) if tests else None
    parts = [child.plain_output(v) for v in made[1 + count:]]
    for value, part, stack in zip(layer.outputs[count:], parts, at.stacks):
        builder.add_control(Control("append", loop=at.loop), layer, [part, stack], [], _late_sizes(builder, value)[1:]
                            if _is_late_first(builder, value) else _late_sizes(builder, value))
    if going is not None and going in _in_memory_of(builder, at, carried):
        going = _kept(builder, layer, child, made[0], going)
    _carry(builder, layer, child, at, made[1:1 + count], carried, layer.outputs[:count])
    if truth is not None and going is not None:
        builder.add_control(Control("copy"), layer, [going, truth], [])
    opened = builder.opened
    trips = attrs["trips"]
    counted, known = bool(inputs[0]), not inputs[0] and not (isinstance(trips, int) and trips < 0)
    slots = carried if truth is None else [*carried, truth]
    builder.set_control(at.step, Control("loop", target=_end(builder, layer, at, going, slots), loop=at.loop,
                                         count=opened.table.slot(trips) if known else -1, counted=counted,
                                         tested=bool(inputs[1])))
    _count_rounds(builder, layer, at, count)


def _add_scan(builder: Builder, layer: Layer) -> None:
    body = builder.bound.nested[layer.name]["body"]
    attrs = builder.opened.attributes(layer)
    states, scanned = int(attrs["carried"]), int(attrs["scanned"])
    names, made = list(body.net.inputs), list(body.net.outputs)
    stacked = len(made) - states
    each = {name: attrs[name] or (0,) * n for name, n in (("input_axes", scanned), ("input_directions", scanned),
                                                          ("output_axes", stacked), ("output_directions", stacked))}
    carried = _carried(builder, layer, layer.inputs[:states])
    wholes = [_plain(builder, v) for v in layer.inputs[states:states + scanned]]
    for whole in wholes:
        builder.state_sizes(whole)
    at = _begin(builder, layer, [])
    child = builder.child(body)
    for name, value, slot in zip(names, layer.outputs, carried):
        child.where[name] = {plain_format(builder.bound.spec(value).dtype, builder.bound.spec(value).rank): slot}
    for i, whole in enumerate(wholes):
        name = names[states + i]
        spec = body.spec(name)
        form = plain_format(spec.dtype, spec.rank)
        part = child.add_value(spec, form, name)
        rank = builder.bound.spec(layer.inputs[states + i]).rank
        builder.add_control(Control("take", loop=at.loop, axis=each["input_axes"][i] % rank,
                                    reversed=bool(each["input_directions"][i])), layer, [whole], [part])
        child.where[name] = {form: part}
    _capture(builder, child, names[states + scanned:], layer.inputs[states + scanned:])
    child.wire_layers()
    for i, (value, stack) in enumerate(zip(layer.outputs[states:], at.stacks)):
        rank = builder.bound.spec(value).rank
        builder.add_control(Control("append", loop=at.loop, axis=each["output_axes"][i] % rank,
                                    reversed=bool(each["output_directions"][i])), layer,
                            [child.plain_output(made[states + i]), stack], [], _late_sizes(builder, value))
    _carry(builder, layer, child, at, made[:states], carried, layer.outputs[:states])
    value = layer.inputs[states]
    length = builder.opened.dims(value)[each["input_axes"][0] % builder.bound.spec(value).rank]
    builder.set_control(at.step, Control("loop", target=_end(builder, layer, at, None, carried), loop=at.loop,
                                         count=builder.opened.table.slot(length)))


# ---- what loops and scans share ----------------------------------------------------------------------------------------

@dataclass
class _Rounds:
    """`step`: that begins the loop. `number`, `stacks`: native values that it writes. `after`: values before it."""

    step: int
    loop: int
    number: int
    stacks: list[int]
    values: int


def _carried(builder: Builder, layer: Layer, initial: Sequence[str]) -> list[int]:
    """The layer's first outputs, which hold what it carries from round to round, filled with the first values."""
    found = []
    for value, given in zip(layer.outputs, initial):
        source, spec = _plain(builder, given), builder.bound.spec(value)
        form = plain_format(spec.dtype, spec.rank)
        found.append(builder.add_value(spec, form, value))
        builder.where[value] = {form: found[-1]}
        builder.add_control(Control("copy"), layer, [source], [found[-1]], _late_sizes(builder, value))
    return found


def _begin(builder: Builder, layer: Layer, inputs: Sequence[str]) -> _Rounds:
    """The step that begins a loop; it writes the number of the round and whatever outputs have no value yet."""
    given = [_plain(builder, v) for v in inputs]
    before = len(builder.values)
    number = builder.add_value(TensorSpec("i64", ()), plain_format("i64", 0), "")
    stacks = []
    for value in layer.outputs:
        if value in builder.where:
            continue
        spec = builder.bound.spec(value)
        form = plain_format(spec.dtype, spec.rank)
        stacks.append(builder.add_value(spec, form, value, stated=True))
        builder.where[value] = {form: stacks[-1]}
    step = builder.add_control(Control("loop"), layer, given, [number, *stacks])
    return _Rounds(step, step, number, stacks, before)


def _carry(builder: Builder, layer: Layer, child: Builder, at: _Rounds, made: Sequence[str], carried: Sequence[int],
           values: Sequence[str]) -> None:
    """What a round made becomes what the next one reads; by way of other memory where it lies in what is written here."""
    sources = [child.plain_output(name) for name in made]
    written = _in_memory_of(builder, at, carried)
    sources = [source if source == slot or source not in written else _kept(builder, layer, child, name, source)
               for name, source, slot in zip(made, sources, carried)]
    copies = [(source, slot, value) for source, slot, value in zip(sources, carried, values) if source != slot]
    if not copies:
        return
    # What a round made has sizes that depend on those of what it was given: all change together, with the last copy.
    *others, last = copies
    for source, slot, _ in others:
        builder.add_control(Control("copy"), layer, [source, slot], [])
    sets = [(place, axis, size) for place, (_, _, value) in zip((*range(2, 2 + len(others)), 0), copies)
            for _, axis, size in _late_sizes(builder, value)]
    builder.add_control(Control("copy"), layer, [last[0], last[1], *(source for source, _, _ in others)], [], sets)


def _in_memory_of(builder: Builder, at: _Rounds, slots: Iterable[int]) -> set[int]:
    """Some native values, and those of a round that may share memory with one of them: views and parts."""
    found = set(slots)
    for _, _, ins, outs, share, _ in builder.native_steps[at.step + 1:]:
        found.update(outs[out] for in_, out, _ in share if ins[in_] in found)
    return found


def _kept(builder: Builder, layer: Layer, child: Builder, name: str, source: int) -> int:
    """A copy of an output of the body, which stays as it is while what the loop carries is written."""
    spec = child.bound.spec(name)
    copy = child.add_value(spec, plain_format(spec.dtype, spec.rank), name)
    builder.add_control(Control("copy"), layer, [source], [copy])
    return copy


def _end(builder: Builder, layer: Layer, at: _Rounds, going: int | None, carried: Sequence[int]) -> int:
    """Ends a round; what was there before the loop and is read in it lives on."""
    inside = builder.native_steps[at.step + 1:]
    kept = {v for step in inside for v in step[2] if v < at.values} | {*carried, *at.stacks, at.number}
    tested = [] if going is None else [going]
    builder.add_control(Control("again", target=at.step + 1, loop=at.loop, tested=bool(tested)), layer,
                        [*tested, *sorted(kept - set(tested))], [])
    return len(builder.steps)


def _count_rounds(builder: Builder, layer: Layer, at: _Rounds, count: int) -> None:
    """States how many parts the stacked outputs of a loop have, where that was not known."""
    sets = [s for value in layer.outputs[count:] for s in _late_sizes(builder, value) if s[1] == 0]
    if sets:
        builder.add_control(Control("rounds", loop=at.loop), layer, [], [], sets)


def _is_late_first(builder: Builder, value: str) -> bool:
    return any(axis == 0 for _, axis, _ in _late_sizes(builder, value))


def _is_used(block: BoundNet, value: str) -> bool:
    return value in block.net.outputs or any(value in layer.inputs for layer in block.layers)


def _runs_to_the_end(layer: Layer) -> bool:
    return bool(kind_of(layer.kind).runs_to_the_end(layer.attrs))  # type: ignore[attr-defined]


def _truth(builder: Builder, layer: Layer, given: str) -> int:
    """Memory for the condition that the body reads."""
    import numpy as np
    slot = builder.add_value(TensorSpec("bool", ()), plain_format("bool", 0), "")
    spec, name = TensorSpec("bool", ()), f"{layer.name}: the condition"
    source = _plain(builder, given) if given else builder.add_constant(np.array(True), name, spec)
    builder.add_control(Control("copy"), layer, [source], [slot])
    return slot

