"""Overlap: which steps of a plan that crosses devices ran at the same time. A device with queues works while the host and
other devices do; the sum of the steps' times is then more than the run takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..words import counted
from .devices import devices
from .inputs import random_inputs
from .plan import Plan
from .session import Session


class Overlap(NamedTuple):
    """One run of a plan. `busy`: device -> ns of its steps, each by the device's clock. `overlapped_ns`: what the steps take
    together beyond the time in which any of them ran. `steps`: how many ran beside another one."""

    busy: Mapping[str, float]
    overlapped_ns: float
    steps: int

    @staticmethod
    def of(spans: Iterable[tuple[str, str, float, float]]) -> Overlap:
        """From (device, clock, begin, ns) of every step; times of different clocks are not compared, but that those of events
        follow the wall's."""
        clocks: dict[str, list[tuple[float, float]]] = {}
        busy: dict[str, float] = {}
        for device, clock, begin, ns in spans:
            busy[device] = busy.get(device, 0.0) + ns
            clocks.setdefault("wall" if clock == "event" else clock, []).append((begin, begin + ns))
        overlapped, steps = 0.0, 0
        for found in clocks.values():
            covered, end = 0.0, float("-inf")
            for first, last in sorted(found):
                covered += max(0.0, last - max(first, end))
                end = max(end, last)
            overlapped += sum(last - first for first, last in found) - covered
            steps += sum(any(max(a, c) < min(b, d) for j, (c, d) in enumerate(found) if j != i)
                         for i, (a, b) in enumerate(found))
        return Overlap(busy, overlapped, steps)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {"busy_ns": dict(self.busy), "overlapped_ns": self.overlapped_ns, "steps": self.steps}


def overlap_of(plan: Plan, session: Session, inputs: Mapping[str, Any] | None = None) -> Overlap | None:
    """Of one run, the second; None for a plan whose steps all run on the CPU. `inputs`: random ones where it is None."""
    runners = [step.routine.rsplit(":", 1)[-1] for step in plan.steps]
    known = {d["name"]: d for d in devices()}
    if all(known.get(name, {"host_memory": True})["host_memory"] for name in runners):
        return None
    given = random_inputs(plan.bound) if inputs is None else inputs
    session.run(given)
    times, starts = session.run_timeline(given)
    if session.counts() is not None:  # conditions and loops: the host waits for each step, none runs beside another
        starts = np.cumsum(times) - times
    names = [name if name in known else "cpu" for name in runners]  # NumPy runs there
    return Overlap.of((name, known[name]["clock"], float(begin), float(ns))
                      for name, begin, ns in zip(names, starts, times))


def sentence(found: Mapping[str, Any], show_time: Any) -> str:
    """What `Overlap.to_json` gave, for people."""
    busy = ", ".join(f"{name} {show_time(ns)}" for name, ns in found["busy_ns"].items())
    beside = f"{show_time(found['overlapped_ns'])} of it beside other steps ({counted(found['steps'], 'step')})"
    return f"at work: {busy}; {beside if found['overlapped_ns'] else 'one step after another'}"
