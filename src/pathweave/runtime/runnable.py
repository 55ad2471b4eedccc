"""One net with its plans: what a call of a model runs."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from functools import partial
from time import monotonic
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, RouteError, UnfitSizesError
from ..locks import lock
from ..meaning.opened import OpenNet
from ..net.arguments import as_array, by_name, of_call
from ..net.border import logical_shapes
from ..net.floats import taken
from ..net.format import numpy_dtype
from ..net.net import Net, TensorSpec
from ..net.objective import THROUGHPUT
from ..net.route import Route
from ..net.scales import Scale
from ..net.size import MOST_THREADS, check_number_of_threads
from . import defaults
from .arguments import Inputs, Shapes
from .bound import BoundNet, resolve_shapes
from .native import native
from .open_plans import OpenPlan, OpenPlans, symbols_at
from .plan import Plan
from .rooms import Rooms
from .routes import check_of_net, plan_route
from .session import Session

#: Plans that one net keeps for different shapes; the one that was not used for longest is dropped first.
KEPT_PLANS = 8
#: Sets of shapes for which a tuned route of their own is looked for; others have that of the plan for all sizes.
MOST_LOOKED_UP = 4
#: Sets of shapes of which one net remembers the open plan that does for them.
KEPT_SIZES = 1024
#: Seconds for which a call like the last one asks for no number of processors: asking takes as long as a small net.
SAME_THREADS_S = 1.0


def check_threads(threads: int | None) -> int:
    """`threads`, or the processors that this process may use. Raises InputError for what is no number from 1 to 1,024."""
    return min(native().usable_processors(), MOST_THREADS) if threads is None else check_number_of_threads(threads)


def threads_of(given: int | None, routes: dict[str, Route]) -> int:
    """Threads per call: those that are given, else those of a newest route that is for throughput, else the processors that
    this process may use."""
    if given is not None:
        return given
    route = next(reversed(routes.values()), None) if routes else None
    return route.threads if route is not None and route.objective == THROUGHPUT else check_threads(None)


class _Entry:
    """A plan in the cache, with the sessions that nobody uses at the moment: one per concurrent caller comes to be."""

    def __init__(self, plan: Plan):
        self.plan = plan
        self.idle: deque[Session] = deque()

    def again(self, inputs: Any, out: Any = None) -> list[np.ndarray] | None:
        """As `Session.again`; None where no session is idle."""
        try:
            session = self.idle.pop()
        except IndexError:
            return None
        try:
            return session.again(inputs, out)
        finally:
            self.idle.append(session)

    def call(self, inputs: Mapping[str, Any], out: Any, rooms: Rooms | None) -> dict[str, Any]:
        try:
            session = self.idle.pop()
        except IndexError:
            session = self.plan.session()
        try:
            return session.anew(inputs, out, rooms)
        finally:
            self.idle.append(session)


class Runnable:
    """One net with its plans, one per set of input shapes, made when first needed; any thread may call it.

    `net`: its inputs may hold symbols. `routes`: signature -> Route; a net bound to other shapes carries the newest of
    them over, one without any gets the default route. `threads`: per call. `scales`: of calibrated values. `layouts`: of
    inputs and outputs whose arrays are not row-major; shapes that are bound are those declared, whatever the layouts.
    """

    def __init__(self, net: Net, routes: dict[str, Route] | None = None, threads: int | None = None,
                 kept: int = KEPT_PLANS, scales: Mapping[str, Scale] | None = None, layouts: Mapping[str, str] | None = None):
        self.net = net
        self._dtypes = {n: np.dtype(numpy_dtype(spec.dtype)) for n, spec in net.inputs.items()}
        self.routes = {} if routes is None else routes
        self.scales = scales or {}
        self.layouts = layouts or {}
        self._threads = threads
        self._kept = kept
        self._entries: OrderedDict[tuple, _Entry] = OrderedDict()
        self._open = OpenPlans(net, self.scales)
        self._open_entries: dict[int, tuple[OpenPlan, _Entry]] = {}
        self._open_known: dict[tuple, _Entry] = {}
        self._forgotten = 0  # how often plans were forgotten
        #: The plan of the last call, and until when the number of threads is taken for what it was then, by `monotonic`.
        self._last: tuple[_Entry, float] | None = None
        self._own: dict[tuple, str] = {}  # shapes -> signature of the route that was tuned for them, "" for none
        self._lock = lock()
        self._building = lock()

    @property
    def threads(self) -> int:
        """Threads per call."""
        return threads_of(self._threads, self.routes)

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Inputs by name."""
        return self.net.inputs

    def bind(self, shapes: Shapes = None) -> BoundNet:
        """The net at concrete shapes; see `bound.resolve_shapes`."""
        return BoundNet.bind(self.net, shapes, self.scales, self.layouts)

    def bind_open(self, sizes: Mapping[str, int]) -> BoundNet:
        """The net with its symbols open, and sizes that stand for them. Raises Error where they cannot be left open."""
        with self._building:
            return BoundNet.of_opened(self._open.opened(dict(sizes), {}), sizes, self.layouts)

    def route_of(self, bound: BoundNet, threads: int | None = None) -> Route:
        """The route that runs a net that `bind` or `bind_open` made."""
        return self._choose(bound, self.threads if threads is None else check_threads(threads))

    def route(self, shapes: Shapes = None, threads: int | None = None) -> Route:
        """The route that runs at these shapes: the tuned one, one carried over, or the default."""
        return self.route_of(self.bind(shapes), threads)

    def _choose(self, bound: BoundNet, threads: int) -> Route:
        route = self.routes.get(bound.signature) or next(reversed(self.routes.values()), None)
        if route is None or not bound.index.keys() & route.covered():
            return defaults.usual_route(bound, threads)
        return route

    def plan(self, route: Route | None = None, shapes: Shapes = None, threads: int | None = None) -> Plan:
        """A plan for some shapes. With a route it is made anew, without one it is kept and shared.

        Raises InputError, ShapeError, RouteError, OutOfMemoryError.
        """
        number = self.threads if threads is None else check_threads(threads)
        if route is not None:
            if not isinstance(route, Route):
                raise RouteError(f"plan: expected a Route, or None for the model's own, got {type(route).__name__}; "
                                 "Route.from_json makes one of plain data")
            bound = self.bind(shapes)
            check_of_net("plan", route, self.net, self.bind, bound)
            return plan_route(route, bound, number)
        return self._entry(resolve_shapes(self.net, shapes), number).plan

    def open_plan(self, most: Mapping[str, int], threads: int | None = None) -> Plan:
        """A plan for all sizes of some symbols from 1 to those given; other symbols that are a batch are 1.

        Its routines are chosen at the largest sizes, and memory is planned for them. Raises InputError, ShapeError, RouteError,
        OutOfMemoryError.
        """
        if not isinstance(most, Mapping) or not most:
            raise InputError(f"plan: most: expected a dict from symbols to their largest sizes, got {most!r}")
        for name, size in most.items():
            if isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1:
                raise InputError(f"plan: most: {name!r} is {size!r}; expected a size of 1 or more")
        most = {name: int(size) for name, size in most.items()}
        shapes = resolve_shapes(self.net, dict(most))
        sizes = symbols_at(self.net, shapes)
        unknown = [n for n in most if n not in sizes]
        if unknown:
            raise InputError(f"plan: most: {', '.join(map(repr, unknown))}: expected some of the symbols "
                             f"{', '.join(map(repr, sizes)) or 'of the inputs, which have none'}")
        with self._building:
            opened = self._open.opened({n: sizes[n] for n in most}, {n: s for n, s in sizes.items() if n not in most})
            return self._make_open(self.threads if threads is None else check_threads(threads), opened, dict(most))

    def _entry(self, shapes: dict[str, tuple[int, ...]], threads: int) -> _Entry:
        key = (threads, *shapes.values())
        entry = self._kept_entry(key)
        if entry is not None:
            return entry
        with self._building:
            with self._lock:
                if key in self._entries:  # somebody else built it meanwhile
                    return self._entries[key]
            bound = self.bind(shapes)
            entry = _Entry(plan_route(self._choose(bound, threads), bound, threads))
            with self._lock:
                self._entries[key] = entry
                while len(self._entries) > self._kept:
                    self._entries.popitem(last=False)
        return entry

    def _kept_entry(self, key: tuple) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
            return entry

    def kept_plans(self) -> list[Plan]:
        """The plans that are kept at the moment."""
        with self._lock:
            return [entry.plan for entry in self._entries.values()] + self._open.plans()

    def forget_plans(self) -> None:
        """Drop the kept plans, such as after new routes came in; running calls end undisturbed."""
        with self._building, self._lock:
            self._forgotten += 1
            self._last = None
            self._entries.clear()
            self._open.forget(self.scales)
            self._open_entries.clear()
            self._open_known.clear()
            self._own.clear()

    def set_routes(self, routes: dict[str, Route]) -> None:
        """Take other routes for the plans to come."""
        self.routes = routes
        self.forget_plans()

    def set_scales(self, scales: Mapping[str, Scale]) -> None:
        """Take other scales for the plans to come."""
        self.scales = scales
        self.forget_plans()

    def again(self, inputs: Any, out: Any = None) -> list[np.ndarray] | None:
        """The outputs of a call like the last one, on plain arrays of its shapes; None for everything else, see
        `Session.again`."""
        last = self._last
        return last[0].again(inputs, out) if last is not None and monotonic() < last[1] else None

    def run(self, inputs: Inputs = None, out: Inputs = None, rooms: Rooms | None = None) -> dict[str, np.ndarray]:
        """Run once with the plan of the inputs' shapes; a dict by name, in the model's order. `rooms`: as of `Session.run`."""
        if rooms is None:
            found = self.again(inputs, out)
            if found is not None:
                return dict(zip(self.net.outputs, found))
        return self.anew(inputs, out, rooms)

    def anew(self, inputs: Inputs, out: Inputs = None, rooms: Rooms | None = None) -> dict[str, np.ndarray]:
        """Like `run`, for calls that `again` does not make."""
        forgotten = self._forgotten
        arrays = {n: as_array(n, a, self.net.inputs[n]) for n, a in by_name("call", self.net.inputs, inputs).items()}
        for n, dtype in self._dtypes.items():  # here, since the plan may have been made for other shapes than are declared
            if arrays[n].dtype != dtype:
                arrays[n] = taken(f"input {n!r}", self.net.inputs[n], arrays[n])
        threads = self.threads
        shapes = {n: a.shape for n, a in arrays.items()}
        declared = logical_shapes(self.net.inputs, self.layouts, shapes) if self.layouts else shapes
        key = (threads, *declared.values())
        known = self._open_known.get(key)
        if known is not None:
            try:
                self._remember(known, forgotten)
                return known.call(arrays, out, rooms)
            except UnfitSizesError:
                self._last = None
                self._open_known.pop(key, None)
        entry = self._kept_entry(key)
        unfit: list[tuple[OpenPlan, dict[str, int]]] = []
        if entry is None:  # shapes with a plan fit the net
            from ..meaning.evaluate import match_arrays
            matched = match_arrays(self.net.inputs, self.layouts, shapes)
            results = None if self.net.bound else self._run_open(matched, threads, arrays, out, rooms, unfit)
            if results is not None:
                return results
            entry = self._entry(matched, threads)
        try:
            self._remember(entry, forgotten)
            return entry.call(arrays, out, rooms)
        except UnfitSizesError as e:
            self._last = None  # of contents, for which no plan does
            with self._building:
                self._open.fits(unfit)
                if unfit:
                    self._drop(key)
            if not e.needs:
                raise
            raise UnfitSizesError(f"call: no plan does for the sizes that were met: {e.needs}; correct the contents of the "
                                  "inputs that they come from", e.needs) from e.__cause__

    def _run_open(self, shapes: dict[str, tuple[int, ...]], threads: int, arrays: Mapping[str, Any], out: Any,
                  rooms: Rooms | None, unfit: list[tuple[OpenPlan, dict[str, int]]]) -> dict[str, np.ndarray] | None:
        """Run with a plan whose sizes are open; None where these sizes need a plan of their own. `unfit`: gets the plans that
        did not do."""
        key = (threads, *shapes.values())
        while True:
            with self._building:
                found, forgotten = self._open_entry(shapes, threads), self._forgotten
            if found is None:
                return None
            plan, entry, sizes = found
            try:
                results = entry.call(arrays, out, rooms)
            except UnfitSizesError:
                with self._building:
                    self._open.unfit(plan, sizes)
                unfit.append((plan, sizes))
                continue
            with self._lock:
                plan.proved = True
                if forgotten == self._forgotten:  # else the plan was forgotten meanwhile
                    if len(self._open_known) >= KEPT_SIZES:
                        self._open_known.clear()
                    self._open_known[key] = entry
            return results

    def _remember(self, entry: _Entry, forgotten: int) -> None:
        """Let the next call look at this plan first, unless plans were forgotten meanwhile."""
        with self._lock:
            if forgotten == self._forgotten:
                self._last = entry, monotonic() + SAME_THREADS_S

    def _drop(self, key: tuple) -> None:
        with self._lock:
            self._entries.pop(key, None)

    def _open_entry(self, shapes: dict[str, tuple[int, ...]], threads: int) -> tuple[OpenPlan, _Entry, dict[str, int]] | None:
        sizes, fixed = self._open.meet(shapes)
        if not sizes or self._open.reason or self._has_own_route(shapes):
            return None
        plan = self._open.find(threads, sizes, fixed, partial(self._make_open, threads))
        if plan is None:
            return None
        kept = self._open_entries.get(id(plan))
        if kept is None or kept[1].plan is not plan.plan:
            self._open_known.clear()
            held = {id(p) for p in self._open.plans()}
            self._open_entries = {k: e for k, e in self._open_entries.items() if id(e[0].plan) in held}
            kept = self._open_entries[id(plan)] = plan, _Entry(plan.plan)
        return plan, kept[1], sizes

    def _make_open(self, threads: int, opened: OpenNet, sizes: dict[str, int]) -> Plan:
        bound = BoundNet.of_opened(opened, sizes, self.layouts)
        return plan_route(self._choose(bound, threads), bound, threads)

    def _has_own_route(self, shapes: dict[str, tuple[int, ...]]) -> bool:
        """Whether a route was tuned for just these shapes. The first few sets of shapes are looked up: it takes a binding."""
        key = tuple(shapes.values())
        if key not in self._own and len(self._own) < MOST_LOOKED_UP and any(s not in self._own.values() for s in self.routes):
            signature = self.bind(shapes).signature
            self._own[key] = signature if signature in self.routes else ""
        return bool(self._own.get(key))

    def shapes_of(self, arrays: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs, as they are declared, from a caller's arrays. Raises InputError where they do not fit."""
        from ..meaning.evaluate import match_arrays
        inputs = self.net.inputs
        return match_arrays(inputs, self.layouts, {n: as_array(n, a, inputs.get(n)).shape for n, a in arrays.items()})

    def __call__(self, inputs: Inputs = None, /, *more: ArrayLike, out: Inputs = None, **named: ArrayLike) -> Any:
        """Run once: an array for a net with one output, else a dict by name. See `session.Session`."""
        if not more and not named:
            found = self.again(inputs, out)
            if found is not None:
                return found[0] if len(found) == 1 else dict(zip(self.net.outputs, found))
        results = self.anew(of_call("call", inputs, more, named), out)
        return next(iter(results.values())) if len(results) == 1 else results
