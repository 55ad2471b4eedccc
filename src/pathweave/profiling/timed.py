"""Timed runs of a plan: nanoseconds of a whole call, and of every step of one.

`RunTimer` is what measuring takes all times from: the machine's, or the one that a test or a simulation hands in. What its
`under_load` gives times runs while other sessions run the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, Protocol

from ..runtime.builder import CONTROL
from ..runtime.native import time_limit
from ..runtime.plan import Plan, Step
from ..runtime.session import Session
from ..timer import SystemTimer, Timer


class Window(NamedTuple):
    """Sessions that ran at the same time. `per_second`: calls of all of them together. `latencies`: ns of single calls."""

    per_second: float
    latencies: tuple[int, ...]


class RunTimer(Timer, Protocol):
    """A timer that also times runs of plans. `out` of its methods: arrays that take the outputs."""

    def call(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> int:
        """Run once without a timer per step: nanoseconds of the call."""
        ...

    def steps(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> tuple[list[int], int]:
        """Run once: nanoseconds of every step of the plan, and of the whole call."""
        ...

    def limit(self, seconds: float) -> AbstractContextManager[None]:
        """While the block runs, long work of this thread raises TimeoutError so many seconds from now."""
        ...

    def window(self, sessions: Sequence[Session], inputs: Mapping[str, Any], out: Mapping[str, Any]) -> Window:
        """Run sessions at the same time, each again and again, for some milliseconds."""
        ...

    def under_load(self, sessions: int) -> AbstractContextManager[RunTimer]:
        """A timer whose `call` and `steps` are those of one of so many sessions that run the same plan at the same time;
        itself for one."""
        ...


class SystemRunTimer(SystemTimer):
    """Runs that really take place, timed by the clocks of the machine."""

    def __repr__(self) -> str:
        return "MACHINE"  # as signatures show it

    def call(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> int:
        """Run once without a timer per step: nanoseconds of the call."""
        start = self.ns()
        session.run(inputs, out)
        return self.ns() - start

    def steps(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> tuple[list[int], int]:
        """Run once: nanoseconds of every step of the plan, and of the whole call."""
        start = self.ns()
        steps = session.run_timed(inputs, out)
        total = self.ns() - start
        return [int(ns) for ns in steps], total

    def limit(self, seconds: float) -> AbstractContextManager[None]:
        """While the block runs, long native work of this thread raises TimeoutError so many seconds from now."""
        return time_limit(seconds)

    def window(self, sessions: Sequence[Session], inputs: Mapping[str, Any], out: Mapping[str, Any]) -> Window:
        """Run sessions at the same time, each again and again, for some milliseconds."""
        from .load import Crew, Places, window_of
        with Crew() as crew:
            return window_of(crew, sessions, Places().of(len(sessions), inputs, out))

    def under_load(self, sessions: int) -> AbstractContextManager[RunTimer]:
        """A timer whose `call` and `steps` are those of one of so many sessions that run the same plan at the same time."""
        from .load import LoadTimer
        return LoadTimer(self, sessions) if sessions > 1 else nullcontext(self)


#: Times of this machine.
MACHINE: RunTimer = SystemRunTimer()


class StepTimes(NamedTuple):
    """One run of a plan. `layers`: name -> ns, epilogue steps included. `adapts`: (step, ns) of every conversion.
    `other`: ns of steps that are neither. What ran several times counts with its mean, and what did not run is left out."""

    layers: dict[str, float]
    adapts: list[tuple[Step, float]]
    other: float

    @staticmethod
    def of(plan: Plan, steps: Iterable[int], counts: Sequence[int] | None = None) -> StepTimes:
        """From the times that `RunTimer.steps` gave. `counts`: how often each step ran, `Session.counts`."""
        if counts is not None:
            return _of_rounds(plan, steps, counts)
        layers: dict[str, float] = {}
        adapts, other = [], 0.0
        for step, ns in zip(plan.steps, steps):
            if not step.value:
                layers[step.layer] = layers.get(step.layer, 0.0) + ns
            elif step.problem.startswith("adapt "):
                adapts.append((step, float(ns)))
            else:
                other += ns
        return StepTimes(layers, adapts, other)


def _of_rounds(plan: Plan, steps: Iterable[int], counts: Sequence[int]) -> StepTimes:
    """The times of a plan whose steps run as often as `counts` says; those of a layer with blocks are all that its own steps
    took, per run of the layer."""
    from .rounds import layer_runs
    layers: dict[str, float] = {}
    adapts, other, own = [], 0.0, layer_runs(plan, counts)
    for step, ns, n in zip(plan.steps, steps, counts):
        if step.value and not step.problem.startswith("adapt "):
            other += ns
        elif step.value and n:
            adapts.append((step, ns / n))
        elif not step.value and (n := own[step.layer] if step.routine == CONTROL else n):
            layers[step.layer] = layers.get(step.layer, 0.0) + ns / n
    return StepTimes(layers, adapts, other)
