"""The yardstick: the net's default route, run between other runs, tells how fast the machine is at that moment.

A *reading* is one run of the yardstick with a timer per step. A *level* is the median of neighbouring readings. The
*reference speed* is the one at which a reading takes the low decile of all levels that are known of this net on this
host. *Slowness* is how many times longer than at reference speed something took. A *moment* numbers readings and runs in
their order. See docs/statistics.md.

A machine that is shared, hot or saving power changes its speed by a third from one second to the next. Two times taken
seconds apart can be compared only at equal speed, and no clock tells the speed; a run of the net itself does, since it
has the net's own mix of arithmetic and memory. It is timed step by step: what slows the machine slows all steps, while
another process that takes the core for a moment hits a few of them, and says nothing about the others.
"""

from __future__ import annotations

import hashlib
from bisect import bisect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..net.problem import Problem
from ..runtime.bound import BoundNet
from .measurement import Key, quantile

#: Routine under which the time of a call that belongs to no step is kept.
CALL = "runtime/call"
#: Routine under which the times of the default route are kept, level by level.
YARDSTICK = "runtime/yardstick"
#: So many readings on either side of a moment tell its speed, and so many make a level.
NEAR = 3
#: Times that differ by less than this factor are of one speed of the machine; beyond it the machine was not quiet.
STEADY = 1.2
#: This quantile of all levels is the reference: the machine is seldom quieter.
REFERENCE = 0.1
#: So many levels of one profile run are kept, as quantiles of all of them.
LEVELS = 64
#: Interruptions only add time, so low quantiles are taken for what nothing interrupted: LEAST of the times of a step over the
#: runs, LOW of the slowness of a run over its steps, and LOW of a route's times in a race.
LEAST, LOW = 0.1, 0.25
#: A sample of a candidate that is longer than its low quartile by more than this factor was interrupted.
INTERRUPTED = 1.5
#: Costs of steps and slowness of runs are found from each other in turn, so many times.
POLISHES = 3


def call_problem(bound: BoundNet, threads: int) -> Problem:
    """The problem under which the cost of a call outside its steps is kept: waking threads, checking arrays."""
    ins, outs = list(bound.inputs.values()), list(bound.outputs.values())
    return Problem.make("call", ins, [False] * len(ins), outs, {}, threads=threads)


def yardstick_key(bound: BoundNet, threads: int, choices: Mapping[str, Any]) -> Key:
    """Where the levels of a default route are kept. `choices`: layer -> anything with routine, version and variant."""
    text = "\n".join(f"{p.text} {c.routine} {c.version} {c.variant}" for p, c in
                     zip(bound.flat.problems(threads), (choices[layer.name] for layer in bound.flat.layers)))
    text += "".join(f"\n{name} {layout}" for name, layout in sorted(bound.layouts.items()))  # other conversions run there
    return call_problem(bound, threads).text, YARDSTICK, 1, hashlib.sha256(text.encode()).hexdigest()[:16]


def on_cpu(formats: Iterable[Any]) -> bool:
    """True when all formats are the CPU's: only its times follow the yardstick, other devices have their own clocks."""
    return all(f.device == "cpu" for f in formats)


class Yardstick:
    """Readings in the order in which they were taken, and the speed of the machine between them.

    `known`: levels of earlier runs, ns; they alone tell the reference when `closed`. A moment is a number that grows by
    one with every reading and every run.
    """

    def __init__(self, known: Sequence[float] = (), closed: bool = False):
        self.known, self.closed = tuple(known), closed
        self.moment = 0
        self._at: list[int] = []
        self._steps: list[Sequence[int]] = []
        self._found: tuple[int, list[float], float] = (-1, [], 0.0)

    def tick(self) -> int:
        """The moment of the run that comes now."""
        self.moment += 1
        return self.moment

    def read(self, steps: Sequence[int]) -> None:
        """Add a reading: ns of every step, always of the same plan."""
        self._at.append(self.tick())
        self._steps.append(steps)

    def __len__(self) -> int:
        return len(self._at)

    def levels(self) -> list[float]:
        """Medians of neighbouring readings, ns; their quantiles where there are many."""
        return _levels(self._state()[1])

    def _state(self) -> tuple[int, list[float], float]:
        """How many readings there are, the ns of each, and the reference."""
        if self._found[0] != len(self._at):
            ns = readings(self._steps)
            levels = sorted([*self.known, *(() if self.closed else _levels(ns))])
            self._found = len(self._at), ns, quantile(levels, REFERENCE) if levels else 0.0
        return self._found

    @property
    def reference(self) -> float:
        """Nanoseconds of a reading at reference speed; 0 when nothing is known."""
        return self._state()[2]

    @property
    def speeds(self) -> list[float]:
        """Speeds of the machine during this run in ascending order; 1 is the reference."""
        return sorted(self.reference / level for level in self.levels())

    def slowness(self, moment: int) -> tuple[float, bool]:
        """How many times longer than at reference speed a run of that moment took, and whether the speed was steady.

        The readings next to the moment decide, smoothed by those further off that are of the same speed. Where those
        two differ, one of them may be an outlier; where all those before differ from all those after, the speed changed.
        """
        _, ns, reference = self._state()
        i = bisect(self._at, moment)
        before, after = ns[max(0, i - NEAR):i], ns[i:i + NEAR]
        if not before and not after:
            return 1.0, True
        last, first = (before or after[:1])[-1], (after or before[-1:])[0]
        middle = 0.5 * (last + first)
        if _alike(last, first):
            level, steady = _median([r for r in (*before, *after) if _alike(r, middle)] or [middle]), True
        elif _alike(_median(before), _median(after)):
            level, steady = _median([*before, *after]), True
        else:
            level, steady = middle, False
        return level / reference, steady


def uninterrupted(samples: Sequence[float]) -> list[float]:
    """Those of a candidate's samples at reference speed that no other process made longer: up to a factor above the low
    ones; what is long against an interruption would else have a median of interrupted runs."""
    limit = INTERRUPTED * sorted(samples)[(len(samples) - 1) // 4] if samples else 0.0
    return [ns for ns in samples if ns <= limit]


def readings(steps: Sequence[Sequence[int]]) -> list[float]:
    """Nanoseconds of every run of a plan, had nothing interrupted it. `steps`: ns per run and step.

    A time is taken for the step's cost times the run's slowness. Low quantiles over the runs and, weighted with the costs,
    over the steps find both in turn, since interruptions only add (else as in a median polish: Tukey, Exploratory Data
    Analysis, 1977).
    """
    import numpy as np
    if not steps:
        return []
    times = np.maximum(np.asarray(steps, np.float64), 1.0)
    costs, slow = _least(times), np.ones(len(times))
    for _ in range(POLISHES):
        ratios = times / costs
        order = np.argsort(ratios, axis=1)
        shares = np.cumsum(costs[order], axis=1)
        low = (shares < LOW * shares[:, -1:]).sum(axis=1)
        slow = ratios[np.arange(len(times)), order[np.arange(len(times)), low]]
        costs = _least(times / slow[:, None])
    return [float(s) for s in slow * costs.sum()]


def _least(times: Any) -> Any:
    """A low quantile over the runs that is one of the values: the least of few, for half of them may be interrupted."""
    import numpy as np
    return np.quantile(times, LEAST, axis=0, method="lower")


def _levels(ns: list[float]) -> list[float]:
    found = [_median(ns[i:i + NEAR]) for i in range(max(1, len(ns) - NEAR + 1))] if ns else []
    if len(found) > LEVELS:
        found.sort()
        found = [quantile(found, i / (LEVELS - 1)) for i in range(LEVELS)]
    return found


def _alike(a: float, b: float) -> bool:
    return max(a, b) <= STEADY * min(a, b)


def _median(values: Sequence[float]) -> float:
    return quantile(sorted(values), 0.5)
