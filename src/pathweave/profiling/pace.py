"""The pace of a profile run: the yardstick, read between the other runs at a limited cost."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from ..runtime.bound import BoundNet
from ..runtime.plan import Plan
from .about import About
from .measurement import Key, Measurement, quantile
from .timed import RunTimer
from .yardstick import Yardstick, on_cpu, yardstick_key

#: Time of the yardstick as a share of the time of the runs between its readings, at most.
SHARE = 0.25
#: Readings at the start, and their time in ns after which they end before that; the very first one is thrown away.
FIRST_READINGS, FIRST_NS = 3, 300e6
#: Calls longer than this, ns, hide what a timer per step costs; runs of shorter ones that tell it, and their time, ns.
SHORT, LEAST_PAIRS, MOST_PAIRS, PAIRS_NS = 2e6, 8, 200, 20e6


class Pace:
    """Reads the yardstick between the runs of one profile run, at a limited cost.

    `stick`: the readings. `timer_ns`: what a call takes longer because of the timer per step. No reading is ever taken
    of a route that is not all on the CPU.
    """

    def __init__(self, bound: BoundNet, threads: int, inputs: Mapping[str, Any], out: Mapping[str, Any], known: Mapping,
                 timer: RunTimer):
        self.bound, self.threads, self.inputs, self.out, self.known = bound, threads, inputs, out, known
        self.timer = timer
        self.key: Key | None = None
        self.stick = Yardstick()
        self.session: Any = None
        self.timer_ns = 0.0
        self.id = uuid.uuid4().hex
        self._worked = self._spent = 0.0

    def name(self, choices: Mapping[str, Any]) -> Key:
        """Where the readings of these choices are kept; the first call decides."""
        if self.key is None:
            self.key = yardstick_key(self.bound, self.threads, choices)
            earlier = self.known.get(self.key)
            self.stick = Yardstick(earlier.samples if earlier else ())
        return self.key

    def start(self, plan: Plan) -> None:
        """Take the default route's plan, and the first readings."""
        self.name(plan.choices)
        if not all(on_cpu((*s.ins, *s.outs)) for s in plan.steps):
            return
        self.session = plan.session()
        self.timer.call(self.session, self.inputs, self.out)
        for _ in range(FIRST_READINGS):
            self._read()
            if self._spent > FIRST_NS:
                break
        short = quantile(sorted(self.stick.levels()), 0.5)
        if short < SHORT:
            pairs = int(min(MOST_PAIRS, max(LEAST_PAIRS, PAIRS_NS / (2 * short))))
            self.timer_ns = max(0.0, quantile(sorted(self._pair() for _ in range(pairs)), 0.5))

    def _pair(self) -> float:
        """Nanoseconds that a call with a timer per step takes more than the one before it without."""
        plain = self.timer.call(self.session, self.inputs, self.out)
        return float(self.timer.steps(self.session, self.inputs, self.out)[1] - plain)

    def _read(self) -> None:
        steps, total = self.timer.steps(self.session, self.inputs, self.out)
        self._spent += total
        self.stick.read(steps)

    def timed(self, session) -> tuple[int, list[int], int]:
        """A timed run, after a reading where that is due: its moment, times of its steps and of the whole call."""
        self.catch_up()
        moment = self.stick.tick()
        steps, total = self.timer.steps(session, self.inputs, self.out)
        self._worked += total
        return moment, steps, total

    def catch_up(self) -> None:
        """A reading, where the runs since the last one were long enough for it."""
        if self.session is not None and self._spent <= SHARE * self._worked + FIRST_NS / 10:
            self._read()

    def measurement(self, host: str) -> Measurement | None:
        """The levels of this run; None before the first reading."""
        if not len(self.stick) or self.key is None:
            return None
        return Measurement(host, *self.key, tuple(self.stick.levels()), self.timer.date(), id=self.id,
                           about=About((), ()).text())
