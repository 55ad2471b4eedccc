"""The race: whole routes, run end to end in turn, so that whatever disturbs the machine disturbs all of them alike.

A *round* runs every route once. A machine that changes its speed does so for all routes of a round, so a time is taken
for the product of the route's *level* (ns of a run that nothing interrupts, at the median speed of the race) and the
round's *slowness* (1 in the median round), and the levels are compared. See docs/statistics.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..net.route import Route
from ..profiling.measurement import SIGMAS_OF_SPREAD, quantile
from ..profiling.timed import MACHINE, RunTimer
from ..profiling.yardstick import LOW, STEADY, readings
from ..runtime.plan import Plan
from ..runtime.session import Session
from ..words import counted

#: A race has at least and at most so many rounds.
LEAST_ROUNDS, MOST_ROUNDS = 2, 400
#: A race with fewer than ENOUGH_ROUNDS rounds may last up to STRETCH times as long as it should.
ENOUGH_ROUNDS, STRETCH = 8, 3
#: A race that other processes interrupt lasts LONGER times as long.
LONGER = 1.25
#: A race in which one route is left ends after so many rounds.
ALONE_ROUNDS = 10
#: Levels are found after each of the first EACH_ROUND rounds, then after every SOME_ROUNDS rounds.
EACH_ROUND, SOME_ROUNDS = 5, 20
#: A route whose best time is more than DROP_FACTOR times the best level is dropped from later rounds. Before DROP_ROUNDS rounds
#: are done, levels are not certain, and EARLY_DROP_FACTOR counts.
DROP_FACTOR, DROP_ROUNDS, EARLY_DROP_FACTOR = 1.15, 3, 1.4
#: The slowness of a round is found from at least so many times; where fewer routes run, those of the rounds around it count.
LEAST_RATIOS = 6
#: Two routes tie whose levels differ by less than TIED standard errors, but never where they differ by more than MOST_TIED.
TIED, MOST_TIED = 1.5, 0.02
#: Levels and slowness are found from each other in turn, so many times.
POLISHES = 8


@dataclass(eq=False)
class Racer:
    """A route in the race. `names`: what it stands for ("solved 1", "nhwc only", "default"). `times`: ns per round.
    `level`: ns of a run that nothing interrupts, at the median speed of the race; `reference_ns`: at the machine's reference
    speed, where that is known. `dropped`: it runs in no later round."""

    names: list[str]
    route: Route
    plan: Plan
    session: Session
    times: list[float] = field(default_factory=list)
    dropped: bool = False
    level: float = float("inf")
    reference_ns: float = float("inf")

    def warm(self, inputs: Mapping[str, Any], out: Mapping[str, Any], timer: RunTimer) -> None:
        """What comes before the first round, and does not count."""
        timer.call(self.session, inputs, out)

    def run(self, inputs: Mapping[str, Any], out: Mapping[str, Any], timer: RunTimer) -> None:
        """One call. `out`: arrays that take the outputs."""
        self.times.append(timer.call(self.session, inputs, out))

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
                "minimum_ns": float(self.minimum), "reference_ns": self.reference_ns, "runs": len(self.times),
                "finished": not self.dropped}


@dataclass(eq=False)
class YardstickRacer(Racer):
    """The default route as the yardstick of a race: it tells the machine's speed. `steps`: ns per round and step.

    It is read step by step, as in the profile. The level of its whole calls would not do: it holds small interruptions,
    which a reading leaves out, so that the machine would look slower than it is.
    """

    steps: list[Sequence[int]] = field(default_factory=list)

    def run(self, inputs: Mapping[str, Any], out: Mapping[str, Any], timer: RunTimer) -> None:
        """One call, timed step by step."""
        steps, total = timer.steps(self.session, inputs, out)
        self.steps.append(steps)
        self.times.append(total)

    def reading(self, rounds: Sequence[float], more: Sequence[Sequence[int]] = ()) -> float:
        """Nanoseconds of its steps at the median speed of the race. `rounds`: slowness of each. `more`: steps of other runs,
        which tell what a step costs where the race had few rounds."""
        return quantile(sorted(ns / slow for ns, slow in zip(readings([*self.steps, *more]), rounds)), 0.5)


def levels(times: Sequence[Sequence[float]]) -> tuple[list[float], list[float]]:
    """(level of every route, slowness of every round) of times per route and round.

    Routes may end early: each is compared with the others only in the rounds that it ran. Both are low quantiles in
    turn, since interruptions only add. The median round has slowness 1.
    """
    rounds = [1.0] * max(map(len, times))
    for _ in range(POLISHES):
        found = [_level(row, rounds) for row in times]
        rounds = [_slowness(times, found, j) for j in range(len(rounds))]
        middle = quantile(sorted(rounds), 0.5)
        rounds = [s / middle for s in rounds]
    return [_level(row, rounds) for row in times], rounds


def _level(row: Sequence[float], rounds: Sequence[float]) -> float:
    return quantile(sorted(t / s for t, s in zip(row, rounds)), LOW)


def _slowness(times: Sequence[Sequence[float]], found: Sequence[float], j: int) -> float:
    """That of one round; where few routes run in it, of the rounds around it."""
    ratios: list[float] = []
    for k in range(max(map(len, times))):
        ratios = [t / level for row, level in zip(times, found) for t in row[max(0, j - k):j + k + 1]]
        if len(ratios) >= LEAST_RATIOS:
            break
    return quantile(sorted(ratios), LOW)


def race(racers: list[Racer], inputs: Mapping[str, Any], out: Mapping[str, Any], seconds: float,
         tell: Callable[[float, str], None] = lambda fraction, text: None,
         yardstick: YardstickRacer | None = None, latest: float = float("inf"),
         timer: RunTimer = MACHINE, beside: Sequence[Racer] = ()) -> tuple[Racer, list[float]]:
    """Run all routes round by round, every second round backwards; gives the winner, and the slowness of every round.

    The winner is the route with the smallest level, or one that ties with it and has fewer conversions. `out`: arrays that
    take the outputs. `seconds`: how long the race should last; it lasts longer where it has few rounds, and where other
    processes interrupt it, but ends with its least number of rounds after `latest`, by the timer. `yardstick`, `beside`: run in
    every round, and cannot win. Whole calls of the racers are timed, because low quantiles of single steps would make a route
    of many steps look faster than it is.
    """
    start = timer.now()
    always = [*beside, *([yardstick] if yardstick is not None else [])]
    everybody = racers + always
    for racer in everybody:
        tell(0.0, f"warming up {racer.names[0]}")
        racer.times, racer.dropped = [], False
        racer.warm(inputs, out, timer)
    rounds: list[float] = []
    left = len(racers)
    for done in range(1, MOST_ROUNDS + 1):
        running = [r for r in everybody if not r.dropped or r in always]
        for racer in running if done % 2 else running[::-1]:
            racer.run(inputs, out, timer)
        spent = timer.now() - start
        end = seconds * (LONGER if _interrupted(everybody) else 1) * (STRETCH if done < ENOUGH_ROUNDS else 1)
        last = done == MOST_ROUNDS or done >= LEAST_ROUNDS and (spent >= end or left == 1 and done >= ALONE_ROUNDS
                                                              or timer.now() > latest)
        if done <= EACH_ROUND or done % SOME_ROUNDS == 0 or last:
            rounds = _judge(everybody, racers, done, done >= DROP_ROUNDS or spent > 0.5 * seconds)
            left = sum(not r.dropped for r in racers)
        tell(min(1.0, spent / seconds if seconds > 0 else 1.0), f"racing {counted(left, 'route')}, round {done}")
        if last:
            break
    return _winner([r for r in racers if not r.dropped]), rounds


def _winner(left: list[Racer]) -> Racer:
    best = min(left, key=lambda r: r.level)
    tied = [r for r in left if r.level <= (1 + _doubt(r, best)) * best.level]
    return min(tied, key=lambda r: (len(r.route.conversions), r.level))


def _doubt(racer: Racer, best: Racer) -> float:
    """The share by which the levels of two routes may differ by chance: TIED standard errors of the median of their ratio,
    round by round."""
    ratios = sorted(a / b for a, b in zip(racer.times, best.times))
    sigma = (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / SIGMAS_OF_SPREAD
    return min(MOST_TIED, TIED * sigma / len(ratios) ** 0.5)


def _interrupted(everybody: list[Racer]) -> bool:
    """True when most routes take far longer, by the clock, than where nothing interrupts them."""
    left = [r for r in everybody if not r.dropped]
    return 2 * sum(r.median > STEADY * r.level for r in left) > len(left)


def _judge(everybody: list[Racer], racers: list[Racer], done: int, dropping: bool) -> list[float]:
    """Set the levels of all routes, and drop slow ones where `dropping`; gives the slowness of every round. `done`: rounds."""
    times = [r.times for r in everybody]
    found, rounds = levels(times)
    for racer, level in zip(everybody, found):
        racer.level = level
    limit = min(r.level for r in racers if not r.dropped) * (DROP_FACTOR if done >= DROP_ROUNDS else EARLY_DROP_FACTOR)
    for racer, ns in zip(everybody, times):
        racer.dropped = racer.dropped or dropping and min(t / s for t, s in zip(ns, rounds)) > limit
    return rounds
