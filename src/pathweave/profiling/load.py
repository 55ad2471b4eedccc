"""Sessions that run at the same time: how a plan is timed for throughput.

Caches and the bus to memory are shared, so a candidate is timed while other threads run the same plan, each through a session
of its own and out of step with the others, as callers of a server are. Whole routes are timed in *windows*: every thread calls
again and again, and the calls of all of them count that lie between two moments, those on the way at either by their part. With
more threads than processors some wait meanwhile: a thread's own calls alone would tell nothing of that.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias
from weakref import WeakKeyDictionary

import numpy as np

from ..runtime.native import time_limit
from ..runtime.plan import Plan
from ..runtime.session import Session
from ..timer import SYSTEM
from .timed import RunTimer, Window

#: A window lasts for at least so many ns, and its latencies are those of at most so many calls of a thread.
WINDOW_NS, MOST_CALLS = 20e6, 20_000
#: Inputs and outputs of a call.
Place: TypeAlias = tuple[Mapping[str, Any], Mapping[str, Any]]
#: Plans whose companions are kept for their next run.
KEPT_PLANS = 3
#: A companion begins its first call at most so many seconds out of step, for calls may be long.
LONGEST_STEP_S = 0.05
#: Seconds that the end of a crew waits for calls that are under way.
LAST_CALLS_S = 5.0


class Work(Protocol):
    """What the threads of a crew do: each its own part, turn after turn. `threads`: how many have one."""

    threads: int
    error: BaseException | None

    def delay(self, index: int) -> float:
        """Seconds after which a thread begins."""
        ...

    def turn(self, index: int) -> None:
        """One call of a thread."""
        ...


class Crew:
    """Threads beside the one that measures. Each takes turns at the work that was begun until it ends; the turn that is under
    way is finished. What a turn raises is the work's `error`, and ends it for that thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._at: list[Work | None] = []
        self._work: Work | None = None
        self._closed = False

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, work: Work, wait: bool = True) -> bool:
        """Let all threads of some work begin; False where each was still at it. `wait`: until they have begun."""
        with self._changed:
            self._work = work
            fresh = False
            for i in range(work.threads):
                if i == len(self._threads):
                    self._at.append(None)
                    self._threads.append(threading.Thread(target=self._loop, args=(i,), daemon=True,
                                                          name=f"pathweave-load-{i}"))
                    self._threads[i].start()
                fresh = fresh or self._at[i] is not work
            self._changed.notify_all()
            while wait and not all(self._at[i] is work for i in range(work.threads)):
                self._changed.wait()
        return fresh

    def end(self) -> None:
        """Let every thread stop after its turn."""
        with self._changed:
            self._work = None
            self._changed.notify_all()

    def close(self) -> None:
        """End the threads."""
        with self._changed:
            self._work, self._closed = None, True
            self._changed.notify_all()
        end = SYSTEM.now() + LAST_CALLS_S
        for thread in self._threads:
            thread.join(max(0.0, end - SYSTEM.now()))

    def _loop(self, index: int) -> None:
        while True:
            with self._changed:
                self._at[index] = None
                while not self._closed and (self._work is None or index >= self._work.threads):
                    self._changed.wait()
                if self._closed or self._work is None:
                    return
                work = self._work
            SYSTEM.sleep(work.delay(index))
            with self._changed:
                self._at[index] = work
                self._changed.notify_all()
            try:
                while self._work is work:
                    work.turn(index)
            except BaseException as e:  # whatever a kernel raises is for the thread that measures
                work.error = e
                with self._changed:
                    while self._work is work and not self._closed:
                        self._changed.wait()


# ---- windows --------------------------------------------------------------------------------------------------------

class Counted:
    """Calls by several threads at the same time. `calls`: one per thread, the first of them that of the thread that measures.
    `quota`: the window ends when each has made so many, from the moment when all have made one. `ns`: of a call, about;
    threads begin out of step by parts of it."""

    def __init__(self, calls: Sequence[Callable[[], Any]], quota: int, ns: float):
        self.calls, self.quota, self.ns = calls, quota, ns
        self.threads = len(calls) - 1
        self.error: BaseException | None = None
        self._there = [False] * len(calls)
        self._opened: int | None = None
        self._times: list[list[int]] = [[] for _ in calls]
        # Of each thread: calls since the window opened, when the one on the way began, and how long the last one took.
        self._states = [(0.0, 0, 1)] * len(calls)

    def delay(self, index: int) -> float:
        """Seconds after which a thread begins."""
        return min(LONGEST_STEP_S, (index + 1) / len(self.calls) * self.ns / 1e9)

    def turn(self, index: int) -> None:
        """One call of a thread of the crew."""
        self._turn(index + 1)

    def _turn(self, i: int) -> None:
        made, _, last = self._states[i]
        begin = SYSTEM.ns()
        self._states[i] = made, begin, last
        self.calls[i]()
        end, opened = SYSTEM.ns(), self._opened
        took = max(1, end - begin)
        if opened is None:
            self._there[i] = True
            if all(self._there):
                self._opened = end
        elif end > opened:
            made += min(1.0, (end - opened) / took)
            if begin >= opened and len(self._times[i]) < self.quota:
                self._times[i].append(took)
        self._states[i] = made, end, took

    def run(self, crew: Crew) -> Window:
        """All threads, until each has made its calls. Raises what a call raises."""
        crew.begin(self, wait=False)
        try:
            while self.error is None and not all(len(times) == self.quota for times in self._times):
                self._turn(0)
            states, end = list(self._states), SYSTEM.ns()
        finally:
            crew.end()
        if self.error is not None:
            raise self.error
        assert self._opened is not None
        made = sum(made + min(1.0, max(0, end - begin) / last) for made, begin, last in states)
        return Window(1e9 * made / max(1, end - self._opened), tuple(took for times in self._times for took in times))


def counted_calls(crew: Crew, calls: Sequence[Callable[[], Any]], ns: float | None = None) -> Window:
    """A window of calls that several threads make, the caller's among them. `ns`: from a thread's call to its next in such
    company, about; None: it is found out before."""
    if ns is None:
        ns = ns_of_turn(Counted(calls, 1, 0.0).run(crew), len(calls))
    quota = int(min(MOST_CALLS, max(1.0, WINDOW_NS / max(1.0, ns))))
    return Counted(calls, quota, ns).run(crew)


def ns_of_turn(window: Window, threads: int) -> float:
    """Nanoseconds from a thread's call to its next: longer than a call where threads wait for a processor."""
    return 1e9 * threads / window.per_second


#: ns from a call of a session in a window to its next, about.
_known: WeakKeyDictionary[Session, float] = WeakKeyDictionary()


def window_of(crew: Crew, sessions: Sequence[Session], places: Sequence[Place]) -> Window:
    """A window of sessions that run at the same time."""
    calls = [partial(s.run, *own) for s, own in zip(sessions, places)]
    window = counted_calls(crew, calls, _known.get(sessions[0]))
    _known[sessions[0]] = ns_of_turn(window, len(calls))
    return window


class Places:
    """Arrays of several callers, kept for the next time; the first has those that are given."""

    def __init__(self) -> None:
        self._known: list[Place] = []

    def of(self, count: int, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> list[Place]:
        """Inputs and outputs of so many callers."""
        if not self._known or self._known[0][0] is not inputs or self._known[0][1] is not out:
            self._known = [(inputs, out)]
        self._known += [({n: np.array(a) for n, a in inputs.items()}, {n: np.empty_like(a) for n, a in out.items()})
                        for _ in range(count - len(self._known))]
        return self._known[:count]


# ---- runs beside others ---------------------------------------------------------------------------------------------

class Companions:
    """Sessions over one plan that run beside the one that is timed. `ns`: what a call took, about. `limit`: gives what limits
    their calls."""

    def __init__(self, plan: Plan, places: Sequence[Place],
                 limit: Callable[[], contextlib.AbstractContextManager[None]]):
        self.plan, self.ns = plan, 0.0
        self.threads = len(places)
        self.error: BaseException | None = None
        self._limit = limit
        self._calls = [partial(plan.session().run, *own) for own in places]

    def delay(self, index: int) -> float:
        """Seconds after which a thread begins."""
        return min(LONGEST_STEP_S, index / (self.threads + 1) * self.ns / 1e9)

    def turn(self, index: int) -> None:
        """One call of a thread."""
        try:
            with self._limit():
                self._calls[index]()
        except TimeoutError:
            SYSTEM.sleep(0.001)  # the one that is timed ends for the same reason


class LoadTimer:
    """Times runs of a session while others run the same plan: a `RunTimer`. A context, which ends its threads.

    `sessions`: how many run at the same time, the one that is timed among them.
    """

    def __init__(self, timer: RunTimer, sessions: int):
        self.timer, self.sessions = timer, sessions
        self._crew = Crew()
        self._companions: OrderedDict[int, Companions] = OrderedDict()
        self._places = Places()
        self._deadline: float | None = None

    def __enter__(self) -> LoadTimer:
        return self

    def __exit__(self, *_: object) -> None:
        self._companions.clear()
        self._crew.close()

    def now(self) -> float:
        """Seconds; never runs back."""
        return self.timer.now()

    def ns(self) -> int:
        """Nanoseconds; never runs back."""
        return self.timer.ns()

    def cpu(self) -> float:
        """Seconds that all threads of this process computed."""
        return self.timer.cpu()

    def date(self) -> float:
        """Seconds since 1970 (UTC)."""
        return self.timer.date()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.timer.sleep(seconds)

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """While the block runs, long native work of this thread, and of those beside it, raises TimeoutError so many seconds
        from now."""
        before, self._deadline = self._deadline, self.now() + seconds
        try:
            with self.timer.limit(seconds):
                yield
        finally:
            self._deadline = before

    def call(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> int:
        """Nanoseconds of a call beside the others."""
        with self._beside(session, inputs, out) as companions:
            ns = self.timer.call(session, inputs, out)
            companions.ns = ns
        return ns

    def steps(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> tuple[list[int], int]:
        """Nanoseconds of every step and of the whole call, beside the others."""
        with self._beside(session, inputs, out) as companions:
            steps, ns = self.timer.steps(session, inputs, out)
            companions.ns = ns
        return steps, ns

    def window(self, sessions: Sequence[Session], inputs: Mapping[str, Any], out: Mapping[str, Any]) -> Window:
        """Run sessions at the same time, each again and again, for some milliseconds."""
        return window_of(self._crew, sessions, self._places.of(len(sessions), inputs, out))

    def under_load(self, sessions: int) -> contextlib.AbstractContextManager[RunTimer]:
        """Another timer for so many sessions."""
        return self.timer.under_load(sessions)

    @contextlib.contextmanager
    def _beside(self, session: Session, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> Iterator[Companions]:
        """While the block runs, so do the others; they end with the call that is under way."""
        companions = self._companions_of(session.plan, inputs, out)
        try:
            if self._crew.begin(companions):
                self.timer.sleep(min(LONGEST_STEP_S, companions.ns / 1e9 / self.sessions))
            yield companions
        finally:
            self._crew.end()
        if companions.error is not None:
            self._companions.pop(id(session.plan), None)
            raise companions.error

    def _companions_of(self, plan: Plan, inputs: Mapping[str, Any], out: Mapping[str, Any]) -> Companions:
        found = self._companions.get(id(plan))
        if found is None:
            places = self._places.of(self.sessions, inputs, out)[1:]
            found = self._companions[id(plan)] = Companions(plan, places, self._limit)
            while len(self._companions) > KEPT_PLANS:
                self._companions.popitem(last=False)
        self._companions.move_to_end(id(plan))
        return found

    def _limit(self) -> contextlib.AbstractContextManager[None]:
        deadline = self._deadline
        return contextlib.nullcontext() if deadline is None else time_limit(max(0.0, deadline - self.now()))
