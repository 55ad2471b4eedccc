"""Reads the yardstick between the other runs of a profile, at a limited cost."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from ..runtime.bound import BoundNet
from ..runtime.plan import Plan
from ..runtime.session import Session
from .about import About
from .measurement import Key, Measurement, quantile
from .timed import RunTimer
from .yardstick import Yardstick, on_cpu, yardstick_key

#: The yardstick takes at most this share of the time of the other runs.
SHARE = 0.25
#: So many readings are taken at the start, fewer where they take longer than FIRST_NS. A run before them warms memory up.
FIRST_READINGS, FIRST_NS = 3, 300e6
#: In calls of at least SHORT ns, the cost of a timer per step is not seen. For shorter ones it is measured, in pairs of calls
#: with and without timers: LEAST_PAIRS to MOST_PAIRS, as many as PAIRS_NS has room for.
SHORT, LEAST_PAIRS, MOST_PAIRS, PAIRS_NS = 2e6, 8, 200, 20e6


class YardstickReader:
    """Runs the default route between the runs of one profile run, and keeps its readings.

    `yardstick`: the readings. `timer_ns`: what a call takes longer because of the timer per step. No reading is ever taken
    of a route that is not all on the CPU.
    """

    def __init__(self, bound: BoundNet, threads: int, inputs: Mapping[str, Any], out: Mapping[str, Any],
                 known: Mapping[Key, Measurement], timer: RunTimer):
        self.bound, self.threads, self.inputs, self.out, self.known = bound, threads, inputs, out, known
        self.timer = timer
        self.key: Key | None = None
        self.yardstick = Yardstick()
        self.session: Session | None = None
        self.timer_ns = 0.0
        self.id = uuid.uuid4().hex
        self._worked = self._spent = 0.0

    def name(self, choices: Mapping[str, Any]) -> Key:
        """Where the readings of these choices are kept; the first call decides."""
        if self.key is None:
            self.key = yardstick_key(self.bound, self.threads, choices)
            earlier = self.known.get(self.key)
            self.yardstick = Yardstick(earlier.samples if earlier else ())
        return self.key

    def start(self, plan: Plan) -> None:
        """Take the default route's plan, and the first readings."""
        self.name(plan.choices)
        if not all(on_cpu((*s.ins, *s.outs)) for s in plan.steps):
            return
        self.session = session = plan.session()
        self.timer.call(session, self.inputs, self.out)
        for _ in range(FIRST_READINGS):
            self._read(session)
            if self._spent > FIRST_NS:
                break
        short = quantile(sorted(self.yardstick.levels()), 0.5)
        if short < SHORT:
            pairs = int(min(MOST_PAIRS, max(LEAST_PAIRS, PAIRS_NS / (2 * short))))
            self.timer_ns = max(0.0, quantile(sorted(self._pair(session) for _ in range(pairs)), 0.5))

    def _pair(self, session: Session) -> float:
        """Nanoseconds that a call with a timer per step takes more than the one before it without."""
        plain = self.timer.call(session, self.inputs, self.out)
        return float(self.timer.steps(session, self.inputs, self.out)[1] - plain)

    def _read(self, session: Session) -> None:
        steps, total = self.timer.steps(session, self.inputs, self.out)
        self._spent += total
        self.yardstick.read(steps)

    def timed(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> tuple[int, list[int], int]:
        """A timed run, after a reading where that is due: its moment, times of its steps and of the whole call."""
        self.catch_up()
        moment = self.yardstick.tick()
        steps, total = self.timer.steps(session, inputs, out)
        self._worked += total
        return moment, steps, total

    def catch_up(self) -> None:
        """A reading, where the runs since the last one were long enough for it."""
        if self.session is not None and self._spent <= SHARE * self._worked + FIRST_NS / 10:
            self._read(self.session)

    def measurement(self, host: str) -> Measurement | None:
        """The levels of this run; None before the first reading."""
        if not len(self.yardstick) or self.key is None:
            return None
        return Measurement(host, *self.key, tuple(self.yardstick.levels()), self.timer.date(), id=self.id,
                           about=About((), ()).text())
