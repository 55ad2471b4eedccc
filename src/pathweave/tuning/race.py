"""The race: whole routes, run end to end in turn, so that whatever disturbs the machine disturbs all of them alike.

A machine that changes its speed during the race does so for all routes of a round: times are compared round by round,
as levels of a model in which a time is the route's level times the round's slowness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..net.route import Route
from ..profiling.measurement import quantile
from ..profiling.timed import MACHINE, RunTimer
from ..profiling.yardstick import readings

#: Rounds before the race may end, and at most.
LEAST_ROUNDS, MOST_ROUNDS = 2, 400
#: Rounds that tell how fast the machine was in them; until there are as many the race lasts up to so many times longer.
TELLING_ROUNDS, STRETCH = 8, 4
#: Rounds after each of which the routes are judged, and how often later.
EACH_ROUND, SOME_ROUNDS = 5, 20
#: Rounds after which a racer that is left alone needs no more.
ALONE_ROUNDS = 10
#: Who needs this many times the best level even in the best round is sent home; after so many rounds, and before.
HOPELESS, HOPELESS_ROUNDS, HOPELESS_BEFORE = 1.15, 3, 1.4
#: Quantile of a route's times that is its level, and of so many ratios at least that is a round's slowness.
LEVEL, ENOUGH = 0.25, 6
#: Standard errors within which two routes tie, and the share of their time that this may be at most.
TIED, MOST_TIED = 1.5, 0.02
#: A median by the clock this far above the level is that of interrupted runs: then the race takes so many times longer.
INTERRUPTED, LONGER = 1.2, 1.25
#: Turns between levels and rounds until both stand still.
POLISHES = 8


@dataclass(eq=False)
class Racer:
    """A route in the race. `names`: what it stands for ("solved 1", "nhwc only", "default"). `times`: ns per round.
    `level`: ns of a run that nothing interrupts, at the median speed
    of the race; `reference_ns`: at the machine's reference speed, where that is known."""

    names: list[str]
    route: Route
    plan: Any
    session: Any
    times: list[int] = field(default_factory=list)
    out: bool = False
    level: float = float("inf")
    reference_ns: float = float("inf")

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
                "finished": not self.out}


@dataclass(eq=False)
class Pacer(Racer):
    """The yardstick in a race. `steps`: ns per round and step.

    It is read here as in the profile, step by step: the level of its calls has the small interruptions in it that a reading
    leaves out, and as the measure of the machine's speed would make everything else look faster than it was predicted.
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
    return quantile(sorted(t / s for t, s in zip(row, rounds)), LEVEL)


def _slowness(times: Sequence[Sequence[float]], found: Sequence[float], j: int) -> float:
    """That of one round; where few routes run in it, of the rounds around it."""
    ratios: list[float] = []
    for k in range(max(map(len, times))):
        ratios = [t / level for row, level in zip(times, found) for t in row[max(0, j - k):j + k + 1]]
        if len(ratios) >= ENOUGH:
            break
    return quantile(sorted(ratios), LEVEL)


def race(racers: list[Racer], inputs: Mapping[str, Any], out: Mapping[str, Any], seconds: float,
         tell: Callable[[float, str], None] = lambda fraction, text: None,
         yardstick: Pacer | None = None, latest: float = float("inf"), timer: RunTimer = MACHINE) -> tuple[Racer, list[float]]:
    """Run all routes in turn, in an order that turns round each time; gives the one with the smallest level, or one that
    ties with it and has fewer conversions, and the slowness of every round.

    `out`: arrays that take the outputs. `seconds`: when to end, after the least number of rounds; later where there were few
    of them, and where other processes interrupt, but not after `latest`, by the timer. `yardstick`: runs in every
    round, and cannot win. Whole calls of racers are timed: low quantiles of single steps flatter a route of many steps.
    """
    start = timer.now()
    everybody = racers + ([yardstick] if yardstick is not None else [])
    for racer in everybody:
        tell(0.0, f"warming up {racer.names[0]}")
        racer.times, racer.out = [], False
        timer.call(racer.session, inputs, out)
    rounds: list[float] = []
    left = len(racers)
    for done in range(1, MOST_ROUNDS + 1):
        running = [r for r in everybody if not r.out or r is yardstick]
        for racer in running if done % 2 else running[::-1]:
            racer.run(inputs, out, timer)
        spent = timer.now() - start
        end = seconds * (LONGER if _interrupted(everybody) else 1) * (STRETCH if done < TELLING_ROUNDS else 1)
        last = done == MOST_ROUNDS or done >= LEAST_ROUNDS and (spent >= end or left == 1 and done >= ALONE_ROUNDS
                                                              or timer.now() > latest)
        if done <= EACH_ROUND or done % SOME_ROUNDS == 0 or last:
            rounds = _judge(everybody, racers, done, done >= HOPELESS_ROUNDS or spent > 0.5 * seconds)
            left = sum(not r.out for r in racers)
        tell(min(1.0, spent / seconds if seconds > 0 else 1.0), f"racing {left} routes, round {done}")
        if last:
            break
    return _winner([r for r in racers if not r.out]), rounds


def _winner(left: list[Racer]) -> Racer:
    best = min(left, key=lambda r: r.level)
    tied = [r for r in left if r.level <= (1 + _doubt(r, best)) * best.level]
    return min(tied, key=lambda r: (len(r.route.conversions), r.level))


def _doubt(racer: Racer, best: Racer) -> float:
    """How far apart, relatively, the levels of two routes may be by chance: their ratio differs from round to round."""
    ratios = sorted(a / b for a, b in zip(racer.times, best.times))
    spread = (quantile(ratios, 0.75) - quantile(ratios, 0.25)) / 1.35  # of a normal distribution: one sigma
    return min(MOST_TIED, TIED * spread / len(ratios) ** 0.5)


def _interrupted(everybody: list[Racer]) -> bool:
    """True when most routes take far longer, by the clock, than where nothing interrupts them."""
    left = [r for r in everybody if not r.out]
    return 2 * sum(r.median > INTERRUPTED * r.level for r in left) > len(left)


def _judge(everybody: list[Racer], racers: list[Racer], done: int, sending: bool) -> list[float]:
    """Set the levels of all, send the hopeless ones among the racers home where that is time; gives the slowness of
    every round."""
    times = [r.times for r in everybody]
    found, rounds = levels(times)
    for racer, level in zip(everybody, found):
        racer.level = level
    limit = min(r.level for r in racers if not r.out) * (HOPELESS if done >= HOPELESS_ROUNDS else HOPELESS_BEFORE)
    for racer, ns in zip(everybody, times):
        racer.out = racer.out or sending and min(t / s for t, s in zip(ns, rounds)) > limit
    return rounds
