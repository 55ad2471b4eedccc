"""The race: whole routes, run end to end in turn, so that whatever disturbs the machine disturbs all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..net.route import Route
from ..profile.measurement import quantile

#: Rounds before anybody may be sent home, and before the race may end.
FIRST_ROUNDS, LEAST_ROUNDS, MOST_ROUNDS = 1, 2, 200
#: Rounds after which a racer that is left alone needs no more.
ALONE_ROUNDS = 10
#: Who needs this many times the best median even in the best run is sent home.
HOPELESS = 1.15


@dataclass
class Racer:
    """A route in the race. `names`: what it stands for ("solved 1", "nhwc only", "default"). `times`: ns per run."""

    names: list[str]
    route: Route
    plan: Any
    session: Any
    times: list[int] = field(default_factory=list)
    out: bool = False

    @property
    def median(self) -> float:
        """Nanoseconds."""
        return quantile(sorted(self.times), 0.5) if self.times else float("inf")

    @property
    def minimum(self) -> float:
        """Nanoseconds."""
        return min(self.times, default=float("inf"))

    def row(self) -> dict[str, Any]:
        """An entry of the race table, plain data."""
        return {"names": list(self.names), "predicted_ns": self.route.predicted_ns, "median_ns": self.median,
                "minimum_ns": float(self.minimum), "runs": len(self.times), "finished": not self.out}


def timed_call(session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> int:
    """Nanoseconds of one call."""
    start = time.perf_counter_ns()
    session.run(inputs, out)
    return time.perf_counter_ns() - start


def race(racers: list[Racer], inputs: Mapping[str, Any], out: Mapping[str, Any], seconds: float,
         tell: Callable[[float, str], None] = lambda fraction, text: None) -> Racer:
    """Run all routes in turn, in an order that turns round each time; gives the one with the smallest median.

    `out`: arrays that take the outputs. `seconds`: when to end, after the least number of rounds.
    """
    start = time.monotonic()
    for racer in racers:
        tell(0.0, f"warming up {racer.names[0]}")
        timed_call(racer.session, inputs, out)
    running = list(racers)
    for done in range(1, MOST_ROUNDS + 1):
        for racer in running if done % 2 else running[::-1]:
            racer.times.append(timed_call(racer.session, inputs, out))
        best = min(r.median for r in running)
        if done >= FIRST_ROUNDS:
            for racer in running:
                racer.out = racer.minimum > HOPELESS * best
            running = [r for r in running if not r.out]
        spent = time.monotonic() - start
        tell(min(1.0, spent / seconds if seconds > 0 else 1.0), f"racing {len(running)} routes, round {done}")
        if done >= LEAST_ROUNDS and (spent >= seconds or len(running) == 1 and done >= ALONE_ROUNDS):
            break
    return min(running, key=lambda r: r.median)
