"""Plans for ranges of sizes: which sizes of a net stay open, and for how large ones memory is planned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import log2

from ..errors import Error, OutOfMemoryError, SizeError
from ..meaning.opened import OpenNet
from ..net.dim import MOST_SIZE, symbol
from ..net.net import Net, TensorSpec
from ..net.scales import Scale
from ..passes.opening import bind_open
from .plan import Plan

#: The least size of which memory is planned where a size was once exceeded.
LEAST = 16
#: Plans of one net for open sizes that are kept: each is for other routines.
KEPT = 4
#: Sets of sizes that do not fit that are remembered.
MOST_UNFIT = 1024


def rounded_up(size: int) -> int:
    """Up to which size memory is planned where one of this size was met: the next power of two."""
    return max(LEAST, 1 << (size - 1).bit_length())


def symbols_at(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """The sizes of a net's symbols at shapes of its inputs."""
    return {str(d): size for n, s in net.inputs.items() for d, size in zip(s.shape, shapes[n]) if isinstance(d, str)}


@dataclass
class OpenPlan:
    """`plan`: for all sizes up to `most`. `made_for`: the sizes that its routines were chosen for. `unfit`: sizes for which one
    of them is none. `proved`: whether a call came to its end."""

    plan: Plan
    made_for: dict[str, int]
    most: dict[str, int]
    unfit: set[tuple[int, ...]] = field(default_factory=set)
    proved: bool = False

    def distance(self, sizes: Mapping[str, int]) -> float:
        """How far sizes are from those that it was made for."""
        return sum(abs(log2(sizes[n]) - log2(s)) for n, s in self.made_for.items())


def _grow(found: OpenPlan, sizes: Mapping[str, int]) -> None:
    """Plan memory for larger sizes: rounded up, or just for these where that would be too much."""
    most = {n: max(size, found.most[n]) for n, size in sizes.items()}
    try:
        larger = {n: rounded_up(size) if size > found.most[n] else size for n, size in most.items()}
        found.plan, found.most = found.plan.resized(larger), larger
    except (SizeError, OutOfMemoryError):
        found.plan, found.most = found.plan.resized(most), most


class OpenPlans:
    """The plans of one net whose open sizes are its symbols, or those among them that have changed.

    A symbol is open from its first size on, but where it is an input's first dimension, the batch: it is when a second size
    was met. Symbols of which a size is 0 are not open. Guarded by whoever has it.
    """

    def __init__(self, net: Net, scales: Mapping[str, Scale]):
        self.net, self.scales = net, scales
        self._batch = {s.shape[0] for s in net.inputs.values() if s.shape and isinstance(s.shape[0], str)}
        self._met: dict[str, int] = {}
        self._changed: set[str] = set()
        self._plans: dict[tuple, list[OpenPlan]] = {}
        self._opened: dict[tuple, OpenNet] = {}
        #: Why sizes cannot be left open; "" where they can.
        self.reason = ""
        self._refused: set[tuple[int, ...]] = set()

    def meet(self, shapes: Mapping[str, tuple[int, ...]]) -> tuple[dict[str, int], dict[str, int]]:
        """(sizes that are open, sizes that are not) of a call, by symbol."""
        sizes = symbols_at(self.net, shapes)
        for name, size in sizes.items():
            if self._met.setdefault(name, size) != size:
                self._changed.add(name)
        is_open = {n for n, size in sizes.items() if size > 0 and (n not in self._batch or n in self._changed)}
        return {n: s for n, s in sizes.items() if n in is_open}, {n: s for n, s in sizes.items() if n not in is_open}

    def opened(self, sizes: Mapping[str, int], fixed: Mapping[str, int]) -> OpenNet:
        """The net with these symbols open. Raises Error where that cannot be."""
        key = tuple(sizes), tuple(fixed.items())
        if key not in self._opened:
            def dim(d: object) -> object:
                return symbol(d, 1, MOST_SIZE) if d in sizes else fixed[str(d)] if isinstance(d, str) else d
            inputs = {n: TensorSpec(s.dtype, tuple(map(dim, s.shape))) for n, s in self.net.inputs.items()}  # type: ignore[arg-type]
            self._opened[key] = bind_open(self.net, inputs, self.scales)
            while len(self._opened) > KEPT:
                del self._opened[next(iter(self._opened))]
        return self._opened[key]

    def find(self, threads: int, sizes: dict[str, int], fixed: dict[str, int],
             make: Callable[[OpenNet, dict[str, int]], Plan]) -> OpenPlan | None:
        """A plan that does for some sizes; None where there cannot be one: `reason` says why. `make`: of routines that suit."""
        if not sizes or self.reason:
            return None
        plans = self._plans.setdefault((threads, tuple(sizes), tuple(fixed.items())), [])
        key = tuple(sizes.values())
        if key in self._refused:
            return None
        fitting = [p for p in plans if key not in p.unfit]
        found = min(fitting, key=lambda p: p.distance(sizes), default=None)
        if found is None:
            try:
                opened = self.opened(sizes, fixed)
            except Error as e:
                self.reason = str(e)
                return None
            if not opened.holds_at(sizes):
                return None
            try:
                found = OpenPlan(make(opened, sizes), dict(sizes), dict(sizes))
            except OutOfMemoryError:
                raise
            except Error:  # a plan of these sizes alone says what is wrong with them
                return None
            plans.append(found)
            del plans[:-KEPT]
        if any(size > found.most[n] for n, size in sizes.items()):
            own = found.plan.bound.opened
            if own is None or not own.holds_at(sizes):
                return None
            _grow(found, sizes)
        return found

    def unfit(self, plan: OpenPlan, sizes: Mapping[str, int]) -> None:
        """A plan did not do for some sizes; none does where that is one that was made for them."""
        key = tuple(sizes.values())
        if not plan.proved:
            for plans in self._plans.values():
                plans[:] = [p for p in plans if p is not plan]
        for keys in (self._refused, plan.unfit):
            if len(keys) >= MOST_UNFIT:
                keys.clear()
        if key == tuple(plan.made_for.values()):
            self._refused.add(key)
        plan.unfit.add(key)

    def fits(self, marked: Sequence[tuple[OpenPlan, Mapping[str, int]]]) -> None:
        """Take back what was said of plans and sizes: it was not the sizes that did not do."""
        for plan, sizes in marked:
            key = tuple(sizes.values())
            self._refused.discard(key)
            plan.unfit.discard(key)

    def plans(self) -> list[Plan]:
        """All plans that are kept."""
        return [p.plan for plans in self._plans.values() for p in plans]

    def forget(self, scales: Mapping[str, Scale]) -> None:
        """Drop all plans; those to come have these scales."""
        self._plans.clear()
        self._opened.clear()
        self._refused.clear()
        self.scales = scales
        self.reason = ""
