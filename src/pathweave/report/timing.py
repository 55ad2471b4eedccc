"""Timing helpers: medians per step and of whole calls, and an idle machine between engines."""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..timer import SYSTEM, Timer


@dataclass(frozen=True)
class Times:
    """Samples of one thing, nanoseconds."""

    samples: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.samples)

    @property
    def minimum(self) -> float:
        return min(self.samples)

    @property
    def spread(self) -> float:
        """Interquartile range as a share of the median; 0 for fewer than two samples."""
        if len(self.samples) < 2:
            return 0.0
        low, _, high = statistics.quantiles(self.samples, n=4, method="inclusive")
        return (high - low) / self.median if self.median else 0.0

    def to_json(self) -> dict[str, Any]:
        return {"median_ns": self.median, "minimum_ns": self.minimum, "spread": self.spread, "count": len(self.samples)}


def time_calls(call: Callable[[], Any], seconds: float = 0.5, at_least: int = 7, at_most: int = 1000,
               timer: Timer = SYSTEM) -> Times:
    """Wall times of single calls for about `seconds`, after one that does not count."""
    call()
    samples: list[float] = []
    end = timer.now() + seconds
    while len(samples) < at_least or (timer.now() < end and len(samples) < at_most):
        begin = timer.ns()
        call()
        samples.append(float(timer.ns() - begin))
    return Times(tuple(samples))


def step_samples(session: Any, inputs: Mapping[str, Any], seconds: float = 0.5, at_least: int = 5,
                 at_most: int = 200, timer: Timer = SYSTEM) -> tuple[np.ndarray, Times]:
    """Nanoseconds of every step of a session's plan, runs x steps, and of whole calls, which take turns with the timed
    runs; the first of each does not count."""
    session.run_timed(inputs)
    session.run(inputs)
    runs: list[np.ndarray] = []
    calls: list[float] = []
    end = timer.now() + seconds
    while len(runs) < at_least or (timer.now() < end and len(runs) < at_most):
        runs.append(session.run_timed(inputs))
        begin = timer.ns()
        session.run(inputs)
        calls.append(float(timer.ns() - begin))
    return np.stack(runs), Times(tuple(calls))


def time_steps(session: Any, inputs: Mapping[str, Any], seconds: float = 0.5, at_least: int = 5,
               at_most: int = 200, sessions: int = 1) -> np.ndarray:
    """Median nanoseconds of every step, see `step_samples`; beside others, where several `sessions` run at the same time."""
    if sessions == 1:
        return np.median(step_samples(session, inputs, seconds, at_least, at_most)[0], axis=0)
    from ..profiling.timed import MACHINE
    runs: list[list[int]] = []
    out = session.run(inputs)
    with MACHINE.under_load(sessions) as timer:
        end = timer.now() + seconds
        while len(runs) < at_least or (timer.now() < end and len(runs) < at_most):
            runs.append(timer.steps(session, inputs, out)[0])
    return np.median(np.array(runs), axis=0)


def settle(longest: float = 0.4, window: float = 0.002, timer: Timer = SYSTEM) -> float:
    """Wait until the threads of this process sleep; returns the seconds waited.

    Thread pools spin after a call, from a fraction of a millisecond (ours, ONNX Runtime) to 200 ms (OpenMP), and would
    take the cores from the engine that runs next. Asleep: below a tenth of one core within a window, twice in a row.
    """
    begin = timer.now()
    quiet = 0
    while quiet < 2 and timer.now() - begin < longest:
        wall, cpu = timer.now(), timer.cpu()
        timer.sleep(window)
        wall, cpu = timer.now() - wall, timer.cpu() - cpu
        quiet = quiet + 1 if cpu < 0.1 * wall else 0
    return timer.now() - begin


@dataclass(frozen=True)
class Load:
    """The load average before something and after it; None where the system does not tell."""

    before: float | None
    after: float | None

    def __str__(self) -> str:
        if self.before is None or self.after is None:
            return "load average not known"
        return f"load average {self.before} before, {self.after} after"

    def crowds(self, threads: int, processors: int) -> bool:
        """True when processes other than one with so many threads want more processors than it leaves."""
        if self.before is None or self.after is None:
            return False
        return max(self.before, self.after - threads) + threads > processors + 0.5


def load_average() -> float | None:
    """Processes that want to run, mean of the last minute; None where the system does not tell."""
    try:
        return round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        return None
