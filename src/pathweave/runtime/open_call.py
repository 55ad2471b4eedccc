"""The shapes of one call of a plan with open sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InputError, UnfitSizesError
from ..net.dim import symbols_of
from ..net.format import logical_shape, physical_shape
from ..net.size_table import function_of

if TYPE_CHECKING:
    from .plan import Plan

_KEPT = 64


@dataclass(frozen=True)
class Shapes:
    """`sizes`: of the plan's symbols, in order. `inputs`, `outputs`: shapes of the caller's arrays; outputs that are late are
    left out."""

    sizes: tuple[int, ...]
    inputs: list[tuple[int, ...]]
    outputs: list[tuple[int, ...]]


class OpenCall:
    """From the shapes of a call's arrays to the sizes that its plan is given. Not for several threads at the same time."""

    def __init__(self, plan: Plan):
        bound = plan.bound
        assert bound.opened is not None
        specs = bound.opened.net.specs
        self._given = {name: (low, plan.most[name]) for name, (low, _) in bound.opened.given.items()}
        self._names = list(plan.inputs)
        self._specs = {n: bound.opened.net.inputs[n] for n in plan.inputs}
        self._layouts = {n: bound.input_format(n).layout for n in plan.inputs}
        self._early = [n for n in plan.outputs if n not in plan.late]
        #: Where each size is found first: (input, axis).
        self._places: dict[str, tuple[int, int]] = {}
        for i, spec in enumerate(self._specs.values()):
            for axis, d in enumerate(spec.dims):
                for s in symbols_of(d):
                    self._places.setdefault(s.name, (i, axis))

        def physical(names: Sequence[str]) -> list[tuple]:
            forms = [bound.input_format(n) if n in plan.inputs else bound.output_format(n) for n in names]
            return [physical_shape(f.layout, specs[n].dims) for f, n in zip(forms, names)]
        names = list(self._given)
        self._ranks = [len(shape) for shape in physical(self._names)]
        self._ins: Callable[..., list[tuple[int, ...]]] = function_of(physical(self._names), names)
        self._outs: Callable[..., list[tuple[int, ...]]] = function_of(physical(self._early), names)
        self._conditions = [c for c in bound.opened.conditions if bound.opened.is_given(c)]
        self._known: OrderedDict[tuple[int, ...], Shapes] = OrderedDict()

    def at(self, shapes: Sequence[tuple[int, ...]]) -> Shapes:
        """What goes with these shapes of the inputs' arrays. Raises InputError, UnfitSizesError."""
        sizes = []
        for name, (i, axis) in self._places.items():
            own = self._names[i]
            if len(shapes[i]) != self._ranks[i]:
                raise InputError(f"input {own!r}: expected rank {self._ranks[i]} ({self._specs[own]} in layout "
                                 f"{self._layouts[own]}), got {shapes[i]}")
            size = logical_shape(self._layouts[own], shapes[i])[axis]
            low, high = self._given[name]
            if not low <= size <= high:
                raise UnfitSizesError(f"input {own!r}: dimension {axis} is {size}; this plan is for sizes from {low} to "
                                      f"{high}: call the model, or make a plan for this size")
            sizes.append(size)
        key = tuple(sizes)
        found = self._known.get(key)
        if found is None:
            known = dict(zip(self._places, sizes))
            self._check(known)
            order = [known[n] for n in self._given]
            try:
                found = Shapes(tuple(order), self._ins(*order), self._outs(*order))
            except ZeroDivisionError as e:
                raise UnfitSizesError(f"inputs with {_listed(known)}: a size of the results is divided by 0 there: give inputs "
                                      f"of other sizes") from e
            self._known[key] = found
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found

    def _check(self, sizes: Mapping[str, int]) -> None:
        for condition in self._conditions:
            if not condition.holds(sizes):
                raise UnfitSizesError(f"inputs with {_listed(sizes)}: expected {condition}, as the net's layers ask for: call "
                                      f"the model, or make a plan for these sizes")


def _listed(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())
