"""Steps whose sizes are known when a plan runs: how the native core is to make their kernels, and what they find out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, SizeError, UnfitSizesError
from ..net.dim import MOST_SIZE, Expr, highest_at, symbols_of
from ..net.format import itemsize, plain_layout
from ..net.net import Layer, TensorSpec
from ..net.problem import Problem
from ..net.scales import UNKNOWN, Scale
from ..net.size_table import SizeTable
from .catalogue import Candidate, candidates, is_python

if TYPE_CHECKING:
    from .._native import Kernel
    from .bound import BoundNet

#: A value that may grow beyond this is given memory when its size is known, whatever bound it has.
MOST_PLANNED_BYTES = 1 << 32

Dims = tuple[int | Expr, ...]


class OpenSteps:
    """What a plan says of its open values and steps, as the native plan takes it; nothing for a net of fixed sizes."""

    def __init__(self, bound: BoundNet):
        self.bound = bound
        self.net = bound.opened.net if bound.opened else None
        self.table = SizeTable(bound.opened.given if bound.opened else {})
        self.values: dict[int, tuple[int, list[int], bool]] = {}
        self.makers: dict[int, tuple[list[int], Any]] = {}
        self.sets: dict[int, list[tuple[int, int, int]]] = {}
        self.opens: list[int] = []
        self.checks: dict[int, list[tuple[list[tuple[int, str, int]], str]]] = {}
        self._bytes: dict[int, object] = {}
        self._given: Mapping[str, int | Expr] = {n: bound.sizes[n] for n in self.table.given if n in bound.sizes}
        self.inside = False  # of a block
        self._hows: dict[tuple[Any, ...], Any] = {}
        self._layers = {layer.name: layer for layer in self.net.layers} if self.net else {}

    def of_block(self, bound: BoundNet) -> OpenSteps:
        """The same for the layers of a block: all tables are shared."""
        child = OpenSteps(bound)
        child.table, child.values, child.makers = self.table, self.values, self.makers
        child.sets, child.opens, child.checks, child._bytes = self.sets, self.opens, self.checks, self._bytes
        child._given, child.inside, child._hows = self._given, True, self._hows
        return child

    def dims(self, value: str) -> Dims:
        """The sizes of a value, as expressions where they are open."""
        specs = self.bound.net.specs if self.net is None or value not in self.net.specs else self.net.specs
        return specs[value].dims

    def is_open(self, value: str) -> bool:
        """True where some size of a value is known when the plan runs."""
        return any(isinstance(d, Expr) for d in self.dims(value))

    def is_late(self, value: str) -> bool:
        """True where some size depends on what a layer finds out."""
        return self.bound.opened is not None and self.bound.opened.is_late(self.dims(value))

    def capacity(self, value: str, dtype: str, whole: bool = False) -> int | None:
        """The most bytes of a value of a form at the example's sizes of what is given; None where no useful bound is known, or,
        but for a `whole` one, a larger one than MOST_PLANNED_BYTES."""
        total = itemsize(dtype)
        for d in self.dims(value):
            highest = highest_at(d, self._given)
            total *= highest
            if highest >= MOST_SIZE:
                return None
        return total if whole or total <= MOST_PLANNED_BYTES else None

    def add_value(self, index: int, value: str, dtype: str, pooled: bool) -> None:
        """State the sizes of native value `index`."""
        self.values[index] = itemsize(dtype), self.table.slots(self.dims(value)), pooled
        self._bytes[index] = _bytes(self.dims(value), dtype)

    def add_fixed(self, index: int, sizes: tuple[int, ...], dtype: str) -> None:
        """State the sizes of a native value of fixed size."""
        self.values[index] = itemsize(dtype), self.table.slots(sizes), False
        self._bytes[index] = _bytes(sizes, dtype)

    def keeps(self, ins: Sequence[int], outs: Sequence[int], values: Sequence[tuple[int, str]],
              share: Sequence[tuple[int, int, int]], reuse: Sequence[tuple[int, int]],
              own: Candidate) -> tuple[list[Any], list[Any]]:
        """The hints on memory of a step that hold at all sizes: of values that have the same number of bytes at each of them,
        where these are the same bytes not just because some size happens to be 1."""
        if not {*ins, *outs} & self.values.keys():
            return list(share), list(reuse)
        if own.problem.kind == "adapt":
            return [], []

        def alike(a: int, b: int) -> bool:
            return self._bytes.get(a, values[a][0]) == self._bytes.get(b, values[b][0])
        whole = [(i, o, at) for i, o, at in share if not {ins[i], outs[o]} & self.values.keys()
                 or at == 0 and _is_view(own) and alike(ins[i], outs[o])]
        return whole, [(i, o) for i, o in reuse if alike(ins[i], outs[o])]

    def add_layer_step(self, step: int, layer: Layer, part: int, own: Candidate) -> None:
        """State how the kernel of a layer is made: of its routine (part 0), or of a step of its epilogue."""
        if self.net is None:
            return
        if part:
            dims = self.dims(layer.outputs[0])
            constants: list[tuple[Any, int]] = [(None, 0)]
            if own.base.kind == "add":
                constants.append(self.bound.constants_of(layer, self.bound.problems(1)[self.bound.index[layer.name]])[-1])
            self._add(step, own, [dims] * len(own.base.inputs), [dims] * len(own.base.outputs), {}, constants, [])
            return
        self._add_checks(step, layer)
        problem = own.base
        ins = [self.dims(v) if v else None for v in layer.inputs[:len(problem.inputs)]]
        outs = [self.dims(v) for v in layer.outputs]
        late = self._found_by(layer)
        if late:
            self.sets[step] = late
        self._add(step, own, ins, outs, self.attributes(layer), self.bound.constants_of(layer, problem),
                  self.bound.scales_of(layer, problem), bool(late))

    def _add_checks(self, step: int, layer: Layer) -> None:
        """State what sizes must fulfil when a layer begins. What depends on given sizes alone is checked before a run, but in
        blocks, which may not run at all."""
        opened = self.bound.opened
        assert opened is not None
        made = set(self.bound.members(layer))
        for condition, values in opened.asked.items():
            if made.isdisjoint(values) or opened.is_given(condition) and not self.inside:
                continue
            relations = [(self.table.slot(r.left), r.word, self.table.slot(r.right)) for r in condition]
            self.checks.setdefault(step, []).append((relations, str(condition)))

    def add_adapt_step(self, step: int, value: str, own: Candidate, scale: Scale | None) -> None:
        """State how a conversion's kernel is made."""
        if self.net is not None:
            dims = self.dims(value)
            self._add(step, own, [dims], [dims], {}, [(None, 0)], [scale or UNKNOWN] * 2)

    def _waits(self, template: _Template) -> bool:
        """Whether sizes of a kernel are known in the middle of a run only, when it is too late for another plan."""
        assert self.bound.opened is not None
        return self.inside or any(n in self.bound.opened.late for n in template.names)

    def attributes(self, layer: Layer) -> dict[str, Any]:
        """Complete attributes of a layer, with expressions where sizes are open."""
        from ..layers import kind_of
        opened = self._layers.get(layer.name)
        return kind_of(layer.kind).complete((opened or layer).attrs)

    def _found_by(self, layer: Layer) -> list[tuple[int, int, int]]:
        """(output, axis, size) of what a layer finds out."""
        assert self.bound.opened is not None
        places = {place: name for name, place in self.bound.opened.late.items()}
        return [(o, axis, self.table.slot(self.dims(value)[axis])) for o, value in enumerate(layer.outputs)
                for axis in range(len(self.dims(value))) if (value, axis) in places]

    def _add(self, step: int, own: Candidate, ins: Sequence[Dims | None], outs: Sequence[Dims], attrs: Mapping[str, Any],
             constants: Sequence[tuple[Any, int]], scales: Sequence[Scale], late: bool = False) -> None:
        from ..layers import kind_of
        problem = own.base
        template = _Template(self.table, problem, ins, outs, attrs)
        if not template.slots:
            return
        if is_python(own):
            how: Any = _python_maker(own, template, [array for array, _ in constants], late)
        else:
            arrays = [(None if a is None else np.asarray(a, order="C"), number) for a, number in constants]
            waits = self._waits(template)
            how = template.texts, own.routine, own.own_variant, arrays, list(scales), \
                _other_maker(own, template, arrays, list(scales)) if waits else None
            if all(number or a is None for a, number in arrays):  # steps that compute the same share their kernels
                key = (*template.texts, own.routine, own.own_variant, *(number for _, number in arrays), *scales, waits)
                how = self._hows.setdefault(key, how)
            implied = () if problem.kind == "adapt" else kind_of(problem.kind).implied
            if template.open_attrs <= set(implied):
                self.opens.append(step)
        self.makers[step] = template.slots, how


def _is_view(own: Candidate) -> bool:
    """Whether the output of a candidate has the bytes of its input at all sizes."""
    from ..layers import kind_of
    forms = [*own.ins, *own.outs]
    if own.problem.kind == "identity":
        return len(set(forms)) == 1
    ranks = [s.rank for s in (own.problem.inputs[0], *own.problem.outputs) if s]
    return kind_of(own.problem.kind).view and [f.layout for f in forms] == [plain_layout(rank) for rank in ranks]


def _bytes(dims: Dims, dtype: str) -> object:
    """The number of bytes as an expression; where that would be too large, something that equals nothing else."""
    try:
        return prod(dims) * itemsize(dtype)
    except SizeError:
        return object()


class _Template:
    """A problem in which some sizes are left open. `texts`: its text between them. `slots`: which of the plan they are."""

    def __init__(self, table: SizeTable, problem: Problem, ins: Sequence[Dims | None], outs: Sequence[Dims],
                 attrs: Mapping[str, Any]):
        self.open_attrs: set[str] = set()
        self._problem = problem
        # A letter that the text does not have: the name of a layer's sink is any text.
        around = self._around = next(c for c in map(chr, chain((0,), range(0xE000, 0x10FFFF))) if c not in problem.text)
        self.names: set[str] = set()

        def mark(size: Any) -> Any:
            self.names.update(s.name for s in symbols_of(size))
            return f"{around}{table.slot(size)}{around}" if isinstance(size, Expr) else size

        def marked(spec: TensorSpec | None, dims: Dims | None) -> TensorSpec | None:
            return spec if spec is None or dims is None else TensorSpec(spec.dtype, tuple(map(mark, dims)))
        self._ins = [marked(s, None if c else d) for s, c, d in zip(problem.inputs, problem.constant, ins)]
        self._outs = [marked(s, d) for s, d in zip(problem.outputs, outs)]
        self._attrs = dict(problem.attrs)
        for name, value in attrs.items():
            parts = value if isinstance(value, tuple) else (value,)
            if any(isinstance(d, Expr) for d in parts):
                self.open_attrs.add(name)
                self._attrs[name] = tuple(map(mark, parts)) if isinstance(value, tuple) else mark(value)
        text = Problem.make(problem.kind, self._ins, problem.constant, [s for s in self._outs if s], self._attrs,
                            problem.epilogue, problem.threads, problem.zeros).text.split(around)
        self.texts = text[0::2]
        self.slots = [int(slot) for slot in text[1::2]]

    def at(self, values: Sequence[int]) -> Problem:
        """The problem at sizes, one per slot. Raises UnfitSizesError where there is none."""
        known = dict(zip(self.slots, values))

        def number(d: Any) -> Any:
            if isinstance(d, tuple):
                return tuple(map(number, d))
            return known[int(d[1:-1])] if isinstance(d, str) and d.startswith(self._around) else d

        def spec(s: TensorSpec | None) -> Any:
            return s and TensorSpec(s.dtype, number(tuple(s.shape)))
        p = self._problem
        try:
            return Problem.make(p.kind, [spec(s) for s in self._ins], p.constant, [spec(s) for s in self._outs],
                                {k: number(v) for k, v in self._attrs.items()}, p.epilogue, p.threads, p.zeros)
        except ModelError as e:  # it was a problem at the sizes of the example
            raise UnfitSizesError(f"a step of kind {p.kind} is none at the sizes that were met: {e}") from e


def _other_maker(own: Candidate, template: _Template, constants: list[Any],
                 scales: list[Scale]) -> Callable[[list[int]], Kernel]:
    """What makes a kernel for sizes that the routine itself declines, such as none: of another routine with these ports."""
    def make(values: list[int]) -> Kernel:
        from .prepare import kernel_of, python_kernel
        problem = template.at(values)
        for c in candidates(problem, include_reference=True)[0]:
            if not is_python(c) and not c.steps and (c.ins, c.outs) == (own.ins, own.outs) and c.accuracy == own.accuracy:
                return kernel_of("a step of open sizes", c, constants, scales)
        return python_kernel(dataclasses.replace(own, problem=problem, base=problem), [array for array, _ in constants])
    return make


def _python_maker(own: Candidate, template: _Template, constants: list[Any], late: bool) -> Callable[[list[int]], Kernel]:
    def make(values: list[int]) -> Kernel:
        from .prepare import python_kernel
        problem = template.at(values)
        return python_kernel(dataclasses.replace(own, problem=problem, base=problem), constants, late)
    return make
