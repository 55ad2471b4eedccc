"""Timed runs of a plan: nanoseconds of a whole call, and of every step of one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..runtime.plan import Plan, Step


def timed_call(session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> int:
    """Nanoseconds of one call without a timer per step. `out`: arrays that take the outputs."""
    start = time.perf_counter_ns()
    session.run(inputs, out)
    return time.perf_counter_ns() - start


def timed_run(session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> tuple[list[int], int]:
    """Run once: nanoseconds of every step of the plan, and of the whole call. `out`: arrays that take the outputs."""
    start = time.perf_counter_ns()
    steps = session.run_timed(inputs, out)
    total = time.perf_counter_ns() - start
    return [int(ns) for ns in steps], total


class StepTimes(NamedTuple):
    """One run of a plan. `layers`: name -> ns, epilogue steps included. `adapts`: (step, ns) of every conversion.
    `other`: ns of steps that are neither."""

    layers: dict[str, float]
    adapts: list[tuple[Step, float]]
    other: float

    @staticmethod
    def of(plan: Plan, steps: Iterable[int]) -> StepTimes:
        """From the times that `timed_run` gave."""
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
