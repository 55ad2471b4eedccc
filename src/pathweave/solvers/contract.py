"""What goes into a solver and what comes out: plain data. Formats are opaque strings, costs are of one unit (ns)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, NamedTuple

from ..errors import SolverError
from ..words import counted

#: (layer, routine, variant): a candidate that must not be used.
Excluded = tuple[str, str, str]


class Candidate(NamedTuple):
    """One way to compute a layer: the format of every dynamic input and of every output, and its price.

    `cost` >= 0 (any unit, the same everywhere). `spread` >= 0, in the same unit: cost differences up to the spread of
    the cheapest candidate with the same ports are noise. `memory` >= 0: bytes (workspace and packed weights).
    """

    routine: str
    variant: str
    ins: tuple[str, ...]
    outs: tuple[str, ...]
    cost: float
    spread: float = 0.0
    memory: int = 0


@dataclass(frozen=True)
class LayerChoices:
    """A layer as the solver sees it: its dynamic values (no constants) and the candidates that can compute it.

    A value may occur several times in `inputs`; each occurrence is a port of its own.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    candidates: list[Candidate]


@dataclass(frozen=True)
class Instance:
    """One routing problem.

    `layers`: in topological order. `inputs`: value -> format in which the caller hands it in. `outputs`: value ->
    format in which it must be available at the end. `adapts`: value -> {(from, to): price of the direct conversion};
    a pair that is missing (or infinite) cannot be converted directly, chains of conversions are found by the solver.
    """

    layers: list[LayerChoices]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    adapts: Mapping[str, Mapping[tuple[str, str], float]] = field(default_factory=dict)


@dataclass
class Solution:
    """A complete choice and its price.

    `conversions`: (value, from, to), values in topological order, each one's conversions in an order in which they can
    run. `lower_bound` <= optimum <= `cost`; `certificate` is "optimal" (proved) or "gap"; `gap` = (cost - lower_bound)
    / cost. `method`: solver that found it. `stats`: facts about the search, free of clock times.
    """

    choice: dict[str, Candidate]
    conversions: list[tuple[str, str, str]]
    cost: float
    lower_bound: float
    certificate: str
    gap: float
    method: str
    stats: dict[str, Any] = field(default_factory=dict)


class Margins(dict):
    """Layer -> (runner-up Candidate or None, extra cost of the best whole route that uses it).

    `exact` is False where the extra cost is that of exchanging this one candidate alone, all others kept (graphs too
    wide for elimination): then it is an upper bound.
    """

    exact: bool = True


class Solver:
    """One method. A file of this folder that defines a subclass adds it by being there.

    `name` identifies it in `Solution.method`; `rank` orders the methods: the first that does not decline is used.
    Subclasses are stateless and have a no-argument constructor.
    """

    name: str = ""
    rank: int = 0

    def solve(self, instance: Instance, time_limit_s: float, max_table: int) -> Solution | None:
        """Solve a checked instance; None where that would need tables of more than `max_table` entries.

        Raises SolverError when no route exists.
        """
        raise NotImplementedError


def restrict(instance: Instance, exclude: Collection[Excluded]) -> Instance:
    """The instance without some candidates. Raises SolverError when a layer has none left."""
    if not exclude:
        return instance
    banned = frozenset(exclude)
    affected = {layer for layer, _, _ in banned}
    layers = []
    for layer in instance.layers:
        if layer.name in affected:
            kept = [c for c in layer.candidates if (layer.name, c.routine, c.variant) not in banned]
            if layer.candidates and not kept:
                raise SolverError(f"layer {layer.name!r}: all of its candidates ({len(layer.candidates)}) are excluded; "
                                  "allow at least one")
            layer = replace(layer, candidates=kept)
        layers.append(layer)
    return replace(instance, layers=layers)


def check(instance: Instance) -> None:
    """Raise SolverError unless the instance is well formed: names, ports, prices, at least one candidate per layer."""
    known = set(instance.inputs)
    names: set[str] = set()
    for layer in instance.layers:
        if layer.name in names:
            raise SolverError(f"solver instance: two layers are named {layer.name!r}; names must be unique")
        names.add(layer.name)
        for value in layer.inputs:
            if value not in known:
                raise SolverError(f"layer {layer.name!r}: input {value!r} is not defined before it; "
                                  "layers must be in topological order")
        for value in layer.outputs:
            if value in known:
                raise SolverError(f"layer {layer.name!r}: value {value!r} is defined twice")
            known.add(value)
        _check_candidates(layer)
    for value in instance.outputs:
        if value not in known:
            raise SolverError(f"solver instance: output {value!r} is neither an input nor made by a layer")
    for value, table in instance.adapts.items():
        if any(not cost >= 0 for cost in table.values()):
            raise SolverError(f"value {value!r}: the price of a conversion must be a number >= 0, got "
                              f"{ {p: c for p, c in table.items() if not c >= 0} }")


def _check_candidates(layer: LayerChoices) -> None:
    if not layer.candidates:
        raise SolverError(f"layer {layer.name!r} has no candidate: no routine computes it under the given "
                          "restrictions; widen them or add a routine")
    arity = (len(layer.inputs), len(layer.outputs))
    for c in layer.candidates:
        if (len(c.ins), len(c.outs)) != arity:
            raise SolverError(f"layer {layer.name!r}: candidate {c.routine!r} {c.variant!r} names formats for "
                              f"{counted(len(c.ins), 'input')} and "
                              f"{counted(len(c.outs), 'output')}, expected {arity[0]} and {arity[1]}")
        if not (c.cost >= 0 and isfinite(c.cost)):
            raise SolverError(f"layer {layer.name!r}: candidate {c.routine!r} {c.variant!r} costs {c.cost!r}, "
                              "expected a finite number >= 0")


def same_routine(a: Candidate, b: Candidate) -> bool:
    """Whether two candidates are the same one, prices aside."""
    return a[:4] == b[:4]


def relative_gap(cost: float, lower_bound: float) -> float:
    """(cost - lower_bound) / cost, 0 for a cost of 0."""
    return max(0.0, (cost - lower_bound) / cost) if cost > 0 else 0.0
