"""Throughput in a race: routes of one thread as several sessions run them at the same time, and one session with all threads
beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import Error
from ..net.objective import Aim
from ..net.route import Route
from ..profiling.measurement import quantile
from ..profiling.protocol import of_store
from ..profiling.store import Store
from ..profiling.timed import RunTimer
from ..runtime.bound import BoundNet
from ..runtime.catalogue import Restrict
from ..runtime.defaults import usual_route
from ..runtime.plan import Plan
from ..runtime.session import Session
from ..words import counted
from .race import Racer

#: One session with all threads is said to be better where it makes more calls by this factor.
BETTER = 1.03


@dataclass(eq=False)
class CrowdRacer(Racer):
    """A route as its sessions run it at the same time. `sessions`: all of them. `lanes`: how many of those that race have a
    processor of their own. `latencies`: ns of single calls, per round their median.

    A time is `lanes` over calls per second: what a call takes on a processor. So routes with other numbers of sessions and
    threads can be compared, and a route of one thread with what was predicted for it.
    """

    sessions: Sequence[Session] = ()
    lanes: int = 1
    latencies: list[float] = field(default_factory=list)

    def warm(self, inputs: Mapping[str, Any], out: Mapping[str, Any], timer: RunTimer) -> None:
        """A window that does not count."""
        self.latencies = []
        timer.window(self.sessions, inputs, out)

    def run(self, inputs: Mapping[str, Any], out: Mapping[str, Any], timer: RunTimer) -> None:
        """A window."""
        window = timer.window(self.sessions, inputs, out)
        self.times.append(1e9 * self.lanes / window.per_second)
        self.latencies.append(quantile(sorted(map(float, window.latencies)), 0.5))

    @property
    def per_second(self) -> float:
        """Calls per second of all sessions, by the clock: of the median round."""
        return 1e9 * self.lanes / self.median

    @property
    def latency(self) -> float:
        """Nanoseconds of a call of one session, by the clock: the median."""
        return quantile(sorted(self.latencies), 0.5) if self.latencies else float("inf")

    def row(self) -> dict[str, Any]:
        """An entry of the race table, plain data."""
        return {**super().row(), "sessions": len(self.sessions), "threads": self.plan.threads,
                "calls_per_second": self.per_second, "latency_ns": self.latency}


def racer_of(names: list[str], route: Route, plan: Plan, aim: Aim) -> Racer:
    """A route that is ready to race. Raises OutOfMemoryError."""
    if not aim.throughput:
        return Racer(names, route, plan, plan.session())
    sessions = [plan.session() for _ in range(aim.sessions)]
    return CrowdRacer(names, route, plan, sessions[0], sessions=sessions, lanes=aim.at_once)


def counterpart(bound: BoundNet, aim: Aim, accuracy: str, restrict: Restrict | None, store: Store,
                time_limit_s: float) -> tuple[str, Route]:
    """The route of one session with all threads, and its name: the fastest one of what the store knows about its calls, else
    the default route."""
    from .costs import Costs
    from .tuner import solved_routes
    name = f"1 session of {counted(aim.team, 'thread')}"
    try:
        costs = Costs.of(bound, of_store(store, bound, aim.team), aim.team, accuracy, restrict)
        return f"{name}, solved", solved_routes(costs, time_limit_s)[0]
    except Error:  # not all of it was measured
        return f"{name}, default", usual_route(bound, aim.team, accuracy)


def report(winner: CrowdRacer, beside: Sequence[Racer], aim: Aim) -> dict[str, Any]:
    """What the race says about throughput, plain data: of the winner, and of one session with all threads."""
    def facts(racer: CrowdRacer) -> dict[str, Any]:
        return {"name": racer.names[0], "sessions": len(racer.sessions), "threads": racer.plan.threads,
                "calls_per_second": racer.per_second, "latency_ns": racer.latency}
    return {"sessions": aim.sessions, "threads": aim.threads, "calls_per_second": winner.per_second,
            "latency_ns": winner.latency, "beside": [facts(r) for r in beside if isinstance(r, CrowdRacer)]}


def finding(facts: Mapping[str, Any]) -> list[str]:
    """A sentence where one session with all threads makes more calls than the sessions that were tuned for."""
    return [f"one session with {counted(b['threads'], 'thread')} makes {b['calls_per_second']:.1f} calls per second, more than "
            f"the {facts['calls_per_second']:.1f} of {counted(facts['sessions'], 'session')}: tune for latency, and let one "
            "caller run the model" for b in facts["beside"] if b["calls_per_second"] > BETTER * facts["calls_per_second"]]
