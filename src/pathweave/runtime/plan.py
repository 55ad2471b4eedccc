"""Plan: a bound net with a chosen candidate per layer, made ready to run on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InputError, OutOfMemoryError, RouteError, SizeError
from ..net import memory
from ..net.format import Format
from ..net.net import Layer, TensorSpec
from ..net.problem import Problem, adapt_problem
from ..net.route import Conversion, Route
from ..net.scales import needs_scale
from ..net.size import advice, max_bytes, size_bytes
from ..words import counted
from . import catalogue
from .bound import BoundNet, constant_id
from .catalogue import Candidate
from .conversions import shortest
from .native import native
from .prepare import KernelCache, Prepared, kernel_of

if TYPE_CHECKING:
    from .. import _native
    from .session import Session  # it stands on plans

#: The device on whose memory NumPy's arrays lie.
HOST = "cpu"
_MACHINE = "ask for a smaller batch, or a machine with more memory"


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


class Plan:
    """A net bound to this machine: kernels prepared, memory placed. Immutable; any number of threads may share it.

    `inputs`, `outputs`: TensorSpec by name, in the model's order. `steps`: what runs, in order. `peak_bytes`: memory of
    one session's arena; `unshared_bytes`: the same without re-use; `packed_bytes`: packed constants. `route`: what it
    was made from, None for one built from candidates. `kernels`: (routine, native kernel), each kernel once.
    """

    def __init__(self, bound: BoundNet, handle: _native.Plan, steps: tuple[Step, ...], choices: Mapping[str, Candidate],
                 conversions: list[Conversion], threads: int, kernels: tuple[tuple[str, Any], ...] = (),
                 route: Route | None = None):
        self.bound = bound
        self.inputs: dict[str, TensorSpec] = bound.inputs
        self.outputs: dict[str, TensorSpec] = bound.outputs
        self.steps = steps
        self.choices = dict(choices)
        self.conversions = list(conversions)
        self.threads = threads
        self.route = route
        self.kernels = kernels
        self._handle = handle

    @property
    def signature(self) -> str:
        """Signature of the bound net."""
        return self.bound.signature

    @property
    def packed_bytes(self) -> int:
        """Bytes of packed constants (copies that kernels share count once per kernel)."""
        return sum(kernel.packed_bytes for _, kernel in self.kernels)

    @property
    def peak_bytes(self) -> int:
        """Bytes of the arena in which all values of one session lie."""
        return self._handle.peak_bytes

    @property
    def unshared_bytes(self) -> int:
        """Bytes that the values would take without sharing memory."""
        return self._handle.unshared_bytes

    @property
    def workspace_bytes(self) -> int:
        """Bytes of scratch memory of one session."""
        return self._handle.workspace_bytes

    @property
    def native(self) -> _native.Plan:
        """The plan of the native core."""
        return self._handle

    def __reduce__(self) -> Any:
        raise InputError("a plan holds memory of this process and is not pickled or copied: any number of threads may share "
                         "it; for another process pickle the model, and make a plan of it there")

    def session(self) -> Session:
        """A new session: one caller's state over this plan. Raises OutOfMemoryError."""
        from .session import Session
        return Session(self)

    def describe(self) -> str:
        """The steps as text, one line each, and the memory."""
        lines = [f"{i:4d}  {s.label:40s} {s.routine} {s.variant}  "
                 f"{','.join(map(str, s.ins))} -> {','.join(map(str, s.outs))}" for i, s in enumerate(self.steps)]
        lines.append(f"{counted(len(self.steps), 'step')}, {counted(self.threads, 'thread')}; "
                     f"values {self.peak_bytes / 1e6:.2f} MB "
                     f"(without re-use {self.unshared_bytes / 1e6:.2f} MB), "
                     f"scratch {self.workspace_bytes / 1e6:.2f} MB, packed constants {self.packed_bytes / 1e6:.2f} MB")
        return "\n".join(lines)

    def __repr__(self) -> str:
        ins = ", ".join(f"{n}={s}" for n, s in self.inputs.items())
        return (f"<Plan {ins}: {counted(len(self.steps), 'step')}, {counted(self.threads, 'thread')}, "
                f"{self.peak_bytes / 1e6:.1f} MB>")


def build_plan(bound: BoundNet, choices: Mapping[str, Candidate], conversions: Iterable[Conversion], threads: int,
               cache: KernelCache | None = None, route: Route | None = None) -> Plan:
    """Prepare and wire everything.

    `choices`: a candidate per layer name. `conversions`: adapts by value and target format; one that is missing is
    the shortest chain. `cache`: where prepared kernels are kept for the next plan. Raises RouteError for a choice or a
    conversion that does not fit, OutOfMemoryError.
    """
    missing = [layer.name for layer in bound.layers if layer.name not in choices]
    if missing:
        raise RouteError(f"plan: no candidate is chosen for the layers {', '.join(map(repr, missing[:10]))}")
    _check_memory(bound)
    builder = _Builder(bound, choices, conversions, threads,
                       KernelCache(bound) if cache is None else cache)
    builder.wire()
    try:
        handle = native().Plan(builder.values, builder.native_steps, builder.inputs, builder.outputs, threads)
    except MemoryError as e:
        raise OutOfMemoryError(f"plan: no memory ({e}); {_MACHINE}") from e
    except (RuntimeError, ValueError) as e:
        raise RouteError(f"plan: the native core refuses it: {e}") from e
    results = sum(map(size_bytes, bound.outputs.values()))
    _check_arena(handle.peak_bytes, handle.workspace_bytes, results, handle.elsewhere_bytes)
    return Plan(bound, handle, tuple(builder.steps), choices, builder.used, threads, tuple(builder.kernels.values()),
                route)


def _check_memory(bound: BoundNet) -> None:
    """Raise OutOfMemoryError where no plan of a net can run, however it places the values: before kernels are prepared."""
    results = sum(map(size_bytes, bound.outputs.values()))
    inside = {v: size_bytes(bound.spec(v)) for layer in bound.layers for v in layer.outputs}
    largest = max(inside, key=inside.__getitem__, default="")
    memory.require(results, "plan: the results of the model", _MACHINE)
    memory.require(inside.get(largest, 0), f"plan: value {largest!r}, {bound.net.specs.get(largest)}", _MACHINE)


def _check_arena(peak: int, scratch: int, results: int, elsewhere: int) -> None:
    """Raise SizeError, OutOfMemoryError where one session of a plan takes more than the limit, or than there is.

    `elsewhere`: bytes of values and scratch in memory of devices, which are asked when a session is made.
    """
    limit, needed = max_bytes(), peak + scratch + results
    if needed > limit:
        raise SizeError(f"plan: one session takes {needed} bytes ({peak} of values, {scratch} of scratch, {results} of "
                        f"results): expected at most {limit}; {advice(limit)}")
    memory.require(needed - elsewhere, "plan: values, scratch and results of one session", _MACHINE)


class _Builder:
    """Turns layers into native values and steps. A value in another format is made just before its first use there."""

    def __init__(self, bound: BoundNet, choices: Mapping[str, Candidate], conversions: Iterable[Conversion], threads: int,
                 cache: KernelCache):
        self.bound, self.choices, self.threads, self.cache = bound, choices, threads, cache
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
        for name, spec in self.bound.inputs.items():
            form = self.bound.input_format(name)
            self.inputs.append(self._value(spec, form))
            self.where[name] = {form: self.inputs[-1]}
        for layer in self.bound.layers:
            self._layer(layer, self.choices[layer.name])
        for name in self.bound.outputs:  # each once, however often the model lists it
            self.outputs.append(self._output(name))

    def _value(self, spec: TensorSpec, form: Format) -> int:
        bytes_ = size_bytes(spec, form.dtype) if form.device == HOST else native().value_bytes(str(form), spec.shape)
        self.values.append((bytes_, form.device))
        return len(self.values) - 1

    def _step(self, step: Step, prepared: Prepared, ins: list[int], outs: list[int]) -> None:
        self.steps.append(step)
        self.kernels[id(prepared.kernel)] = step.routine, prepared.kernel
        self.native_steps.append((step.label, prepared.kernel, ins, outs, list(prepared.share), list(prepared.reuse)))

    def _layer(self, layer: Layer, c: Candidate) -> None:
        names = self.bound.dynamic(layer)
        self._check_ports(layer, c, names)
        slots = [self._in_format(v, f) for v, f in zip(names, c.ins)]
        formats = [*c.ins, *c.outs]
        for name, form in zip(layer.outputs, c.outs):
            slots.append(self._value(self.bound.spec(name), form))
            self.where[name] = {form: slots[-1]}
        for _ in c.steps:
            slots.append(self._value(self.bound.spec(layer.outputs[0]), c.outs[0]))
            formats.append(c.outs[0])
        for part, (p, own) in enumerate(zip(self.cache.layer(layer, c), (c, *c.steps))):
            label = layer.name if part == 0 else f"{layer.name} + {own.problem.kind}"
            step = Step(label, layer.name, own.routine, own.variant, tuple(formats[i] for i in p.ins),
                        tuple(formats[i] for i in p.outs), "", part, c.problem.text)
            self._step(step, p, [slots[i] for i in p.ins], [slots[i] for i in p.outs])

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

    def _in_format(self, value: str, form: Format) -> int:
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
        index = self._value(spec, conversion.target)
        label = f"adapt {value} {conversion.source}>{conversion.target}"
        step = Step(label, "adapt", c.routine, c.variant, c.ins, c.outs, value, 0, problem.text)
        self._step(step, self.cache.adapt(c, self.bound.scales.get(value)), [made[conversion.source]], [index])
        made[conversion.target] = index
        self.used.append(conversion)

    def _output(self, name: str) -> int:
        """The native value of a graph output: one of its own, in the caller's format, written by a step."""
        spec = self.bound.spec(name)
        form = self.bound.output_format(name)
        if name in self.bound.net.constants:
            return self._copy(name, spec, form, None)
        index = self._in_format(name, form)
        if index in self.inputs:
            return self._copy(name, spec, form, index)
        return index

    def _copy(self, name: str, spec: TensorSpec, form: Format, source: int | None) -> int:
        """A step that writes an output which is an input or a constant."""
        index = self._value(spec, form)
        if source is None:
            array = self.bound.net.constants[name]
            problem = Problem.make("identity", [spec], [True], [spec], {}, threads=self.threads)
            c, constants, ins = catalogue.numpy_candidate(problem, form.layout), [(array, constant_id(array))], []
        else:
            problem = Problem.make("identity", [spec], [False], [spec], {}, threads=self.threads)
            found = catalogue.candidates(problem, include_reference=True)[0]
            c = next((c for c in found if c.ins == c.outs == (form,)), catalogue.numpy_candidate(problem, form.layout))
            constants, ins = [(None, 0)], [source]
        kernel = kernel_of(f"output {name!r}", c, constants)
        step = Step(f"copy {name}", "copy", c.routine, c.variant, c.ins, c.outs, name, 0, problem.text)
        self._step(step, Prepared(c.routine, kernel, (0,), (1,)), ins, [index])
        return index
