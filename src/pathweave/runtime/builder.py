"""From a bound net and a candidate per layer to the values and steps of a native plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

from ..errors import RouteError
from ..net.format import Format, plain_format
from ..net.net import Layer, TensorSpec
from ..net.problem import Problem, adapt_problem
from ..net.route import Conversion
from ..net.scales import needs_scale
from ..net.size import size_bytes
from ..words import counted
from . import catalogue
from .bound import BoundNet, constant_id
from .catalogue import PROGRAM, Candidate
from .conversions import shortest
from .native import native
from .opened import OpenSteps
from .prepare import KernelCache, Prepared, kernel_of
from .programs import Control, add_program

#: The device of callers, and of all values that no routine keeps elsewhere.
HOST = "cpu"
#: The routine of a step that runs no kernel.
CONTROL = "control"


@dataclass(frozen=True)
class Step:
    """One entry of a plan's flat list, in the order of running.

    `layer`: name of the layer, or "adapt". `value`: what an adapt converts, else "". `part`: 0 for the routine
    itself, 1 and up for its epilogue's own steps. `ins`, `outs`: formats of the values that it touches.
    """

    label: str
    layer: str
    routine: str
    variant: str
    ins: tuple[Format, ...]
    outs: tuple[Format, ...]
    value: str = ""
    part: int = 0
    problem: str = ""


class Builder:
    """Turns layers into native values and steps. A value in another format is made just before its first use there.

    The steps of a block's layers are added by a `child`, which shares all lists with its parent.
    """

    def __init__(self, bound: BoundNet, choices: Mapping[str, Candidate], conversions: Iterable[Conversion], threads: int,
                 cache: KernelCache):
        self.bound, self.choices, self.threads, self.cache = bound, choices, threads, cache
        self.flat = bound.flat
        self.opened = OpenSteps(bound)
        self.controls: dict[int, Control] = {}
        self.sets: dict[int, list[tuple[int, int, int]]] = {}
        self.late: list[str] = []
        self._late_values: list[int] = []
        self._fixed: dict[int, tuple[TensorSpec, str]] = {}
        self.ways: dict[str, dict[Format, Conversion]] = {}
        for c in conversions:
            self.ways.setdefault(c.value, {})[c.target] = c
        self.values: list[tuple[int, str]] = []
        self.native_steps: list[tuple] = []
        self.steps: list[Step] = []
        self.used: list[Conversion] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.where: dict[str, dict[Format, int]] = {}  # value -> format -> native value
        self.kernels: dict[int, tuple[str, Any]] = {}

    def wire(self) -> None:
        """Add the whole net."""
        for name, spec in self.bound.inputs.items():
            form = self.bound.input_format(name)
            self.inputs.append(self.add_value(spec, form, name, whole=True))
            self.where[name] = {form: self.inputs[-1]}
        self.wire_layers()
        for name in self.bound.outputs:  # each once, however often the model lists it
            index = self._output(name)
            if self.opened.is_late(name):
                self.late.append(name)
                self._late_values.append(index)
            else:
                self.outputs.append(index)

    def wire_layers(self) -> None:
        """Add the layers; the native values of the inputs are known."""
        for layer in self.bound.layers:
            if self.choices[layer.name].algorithm == PROGRAM:
                add_program(self, layer)
            else:
                self._layer(layer, self.choices[layer.name])

    def child(self, bound: BoundNet) -> Builder:
        """What adds the layers of a block to the same plan."""
        child = copy(self)
        child.bound = bound
        child.opened = self.opened.of_block(bound)
        child.where = {}
        return child

    def program(self) -> dict[str, Any]:
        """What the native plan is told beside values and steps where it is not straight; nothing where it is."""
        if not self.controls and not self.opened.values:
            return {}
        sets = {**self.opened.sets, **self.sets}
        return {"sizes": self.opened.table.operations, "open": self.opened.values, "sets": sets, "makers": self.opened.makers,
                "control": {i: c.native for i, c in self.controls.items()}, "opens": self.opened.opens,
                "checks": self.opened.checks,
                "given": len(self.opened.table.given), "late": self._late_values,
                "most": [self.bound.sizes[n] for n in self.opened.table.given]}

    def add_value(self, spec: TensorSpec, form: Format, value: str, whole: bool = False, stated: bool = False) -> int:
        """A new native value. `value`: whose sizes it has, "" for fixed ones. `whole`: an input, which is always planned.
        `stated`: its sizes are stated although they are fixed."""
        index = len(self.values)
        self._fixed[index] = spec, form.dtype
        if value and (stated or self.opened.is_open(value)):
            bytes_ = self.opened.capacity(value, form.dtype, self._is_result(value, form))
            pooled = bytes_ is None and not whole
            self.values.append((bytes_ or 0, form.device))
            self.opened.add_value(index, value, form.dtype, pooled)
        else:
            bytes_ = size_bytes(spec, form.dtype) if form.device == HOST else native().value_bytes(str(form), spec.shape)
            self.values.append((bytes_, form.device))
        return index

    def _is_result(self, value: str, form: Format) -> bool:
        """Whether a value lies in memory of the caller, however large it is: it is an output whose sizes are known before."""
        return not self.opened.inside and value in self.bound.outputs and form == self.bound.output_format(value) \
            and not self.opened.is_late(value)

    def add_control(self, control: Control, layer: Layer, ins: list[int], outs: list[int],
                    sets: list[tuple[int, int, int]] | None = None) -> int:
        """Add a step that runs no kernel; its index."""
        self.steps.append(Step(f"{layer.name}: {control.word}", layer.name, CONTROL, control.word, (), ()))
        self.native_steps.append((self.steps[-1].label, None, ins, outs, [], []))
        at = len(self.steps) - 1
        self.controls[at] = control
        if sets:
            self.sets[at] = sets
            for i in {0} | {out for out, _, _ in sets} if ins else ():
                self.state_sizes(ins[i])
        return at

    def state_sizes(self, index: int) -> None:
        """State the sizes of a native value that other steps ask, fixed as they may be."""
        if index not in self.opened.values:
            spec, dtype = self._fixed[index]
            self.opened.add_fixed(index, spec.sizes, dtype)

    def set_control(self, at: int, control: Control) -> None:
        """Say what such a step does, once that is known."""
        self.controls[at] = control

    def plain_output(self, name: str) -> int:
        """The native value of a block's output, row-major."""
        return self.output_in(name, plain_format(self.bound.spec(name).dtype, self.bound.spec(name).rank))

    def output_in(self, name: str, form: Format) -> int:
        """The native value of a block's output: one that a step of the block, or of the net around it, has written."""
        if name in self.bound.net.constants:
            return self.add_constant(self.bound.net.constants[name], name, self.bound.spec(name), form)
        return self.in_format(name, form)

    def add_constant(self, array: Any, name: str, spec: TensorSpec, form: Format | None = None) -> int:
        """A native value that a step fills with a constant, row-major where no format is named."""
        form = form or plain_format(spec.dtype, spec.rank)
        index = self.add_value(spec, form, "")
        problem = Problem.make("identity", [spec], [True], [spec], {}, threads=self.threads)
        c = _first_in(problem, form)
        kernel = kernel_of(f"constant {name!r}", c, [(array, constant_id(array))])
        step = Step(f"copy {name}", "copy", c.routine, c.variant, c.ins, c.outs, name, 0, problem.text)
        self._step(step, Prepared(c.routine, kernel, (0,), (1,)), [], [index], c)
        return index

    def _step(self, step: Step, prepared: Prepared, ins: list[int], outs: list[int], own: Candidate) -> None:
        share, reuse = self.opened.keeps(ins, outs, self.values, prepared.share, prepared.reuse, own)
        self.steps.append(step)
        self.kernels[id(prepared.kernel)] = step.routine, prepared.kernel
        self.native_steps.append((step.label, prepared.kernel, ins, outs, share, reuse))

    def _layer(self, layer: Layer, c: Candidate) -> None:
        names = self.bound.dynamic(layer)
        self._check_ports(layer, c, names)
        slots = [self.in_format(v, f) for v, f in zip(names, c.ins)]
        formats = [*c.ins, *c.outs]
        for name, form in zip(layer.outputs, c.outs):
            slots.append(self.add_value(self.bound.spec(name), form, name))
            self.where[name] = {form: slots[-1]}
        for _ in c.steps:
            slots.append(self.add_value(self.bound.spec(layer.outputs[0]), c.outs[0], layer.outputs[0]))
            formats.append(c.outs[0])
        for part, (p, own) in enumerate(zip(self.cache.layer(layer, c), (c, *c.steps))):
            label = layer.name if part == 0 else f"{layer.name} + {own.problem.kind}"
            step = Step(label, layer.name, own.routine, own.variant, tuple(formats[i] for i in p.ins),
                        tuple(formats[i] for i in p.outs), "", part, c.problem.text)
            self.opened.add_layer_step(len(self.steps), layer, part, own)
            self._step(step, p, [slots[i] for i in p.ins], [slots[i] for i in p.outs], own)

    def _check_ports(self, layer: Layer, c: Candidate, names: tuple[str, ...]) -> None:
        if len(c.ins) != len(names) or len(c.outs) != len(layer.outputs):
            raise RouteError(f"layer {layer.name!r} ({layer.kind}): {c.routine} has {counted(len(c.ins), 'input')} and "
                             f"{counted(len(c.outs), 'output')}; expected {len(names)} and {len(layer.outputs)}")
        unscaled = self.bound.uncalibrated(layer, c)
        if unscaled:
            raise RouteError(f"layer {layer.name!r} ({layer.kind}): {c.routine} cannot be used: {unscaled}")
        expected = self.bound.problems(self.threads)[self.bound.index[layer.name]].text
        if c.problem.text != expected:
            raise RouteError(f"layer {layer.name!r} ({layer.kind}): the candidate {c.routine} is for another problem: "
                             f"{c.problem.text!r}; expected {expected!r}")

    def in_format(self, value: str, form: Format) -> int:
        """The native value that holds `value` in a format, converted where it is needed first."""
        made, ways = self.where[value], self.ways.get(value, {})
        if form in made:
            return made[form]
        chain, at = [], form
        while at not in made:
            conversion = ways.get(at)
            if conversion is None or conversion in chain:
                chain = shortest(value, self.bound.spec(value), made, form, self.threads,
                                 list(ways))
                break
            chain.insert(0, conversion)
            at = conversion.source
        for conversion in chain:
            self._adapt(value, conversion)
        return made[form]

    def _adapt(self, value: str, conversion: Conversion) -> None:
        spec = self.bound.spec(value)
        problem = adapt_problem(spec, conversion.source, conversion.target, self.threads)
        c = catalogue.find(problem, conversion.routine, conversion.variant)
        if not isinstance(c, Candidate):
            raise RouteError(f"value {value!r} ({spec}): {conversion.routine} does not convert it from "
                             f"{conversion.source} to {conversion.target}: {c.reason}")
        if value not in self.bound.scales and any(needs_scale(spec.dtype, f.dtype) for f in (*c.ins, *c.outs)):
            raise RouteError(f"value {value!r} ({spec}) has no scale, so {conversion.target} cannot hold it: calibrate "
                             f"the model first (model.calibrate(samples), or --calibrate)")
        made = self.where[value]
        index = self.add_value(spec, conversion.target, value)
        label = f"adapt {value} {conversion.source}>{conversion.target}"
        step = Step(label, "adapt", c.routine, c.variant, c.ins, c.outs, value, 0, problem.text)
        self.opened.add_adapt_step(len(self.steps), value, c, self.bound.scales.get(value))
        self._step(step, self.cache.adapt(c, self.bound.scales.get(value)), [made[conversion.source]], [index], c)
        made[conversion.target] = index
        self.used.append(conversion)

    def _output(self, name: str) -> int:
        """The native value of a graph output: one of its own, in the caller's format, written by a step."""
        spec = self.bound.spec(name)
        form = self.bound.output_format(name)
        if name in self.bound.net.constants:
            return self._copy(name, spec, form, None)
        index = self.in_format(name, form)
        if index in self.inputs:
            return self._copy(name, spec, form, index)
        return index

    def _copy(self, name: str, spec: TensorSpec, form: Format, source: int | None) -> int:
        """A step that writes an output which is an input or a constant."""
        index = self.add_value(spec, form, name)
        if source is None:
            array = self.bound.net.constants[name]
            problem = Problem.make("identity", [spec], [True], [spec], {}, threads=self.threads)
            constants, ins = [(array, constant_id(array))], []
        else:
            problem = Problem.make("identity", [spec], [False], [spec], {}, threads=self.threads)
            constants, ins = [(None, 0)], [source]
        c = _first_in(problem, form)
        kernel = kernel_of(f"output {name!r}", c, constants)
        step = Step(f"copy {name}", "copy", c.routine, c.variant, c.ins, c.outs, name, 0, problem.text)
        if source is not None:
            self.opened.add_adapt_step(len(self.steps), name, c, None)
        self._step(step, Prepared(c.routine, kernel, (0,), (1,)), ins, [index], c)
        return index


def _first_in(problem: Problem, form: Format) -> Candidate:
    """The first candidate whose values all lie in a format; that of NumPy where there is none."""
    found = catalogue.candidates(problem, include_reference=True)[0]
    return next((c for c in found if {*c.ins, *c.outs} == {form}), catalogue.numpy_candidate(problem, form.layout))
