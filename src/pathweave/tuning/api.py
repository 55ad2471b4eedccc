"""What `pathweave.solve` and `pathweave.tune` are.

From a call of `tune` to the route: here the model is loaded and bound to shapes, the store is opened, and the winner is kept.
`tuner.Tuner.tune` does what lies between: measure, solve, race.
"""

from __future__ import annotations

from typing import Any

from ..errors import InterruptedTuning, ProfileError
from ..net.net import Model
from ..net.objective import LATENCY
from ..net.route import Route
from ..net.size import check_seconds
from ..options import options_checked
from ..profiling.profile import Profile
from ..profiling.store import AnyStore
from ..profiling.timed import MACHINE, RunTimer
from ..progress import Progress, progress_bar
from ..runtime.arguments import AnyModel, AnyRestrict, Shapes
from ..runtime.bound import BoundNet
from ..runtime.model import LoadedModel, load
from ..runtime.runnable import check_threads
from ..words import counted
from .costs import Costs

#: Threads in the text of a problem.
_THREADS = " threads="


class TunedModel(LoadedModel):
    """A model with the route that won the race; what `pathweave.tune` gives. `save` keeps the route.

    `report`: plain data: objective, throughput (calls_per_second and latency_ns of the sessions that were tuned for, and of
    one session with all threads `beside`), predicted_ns (at the reference speed of the machine), measured_ns (median of the
    race, by the clock), measured_at_reference_ns, gap (at equal speed), gap_raw (by the clock), speed, race (a row per route),
    findings, numpy (layers without a native routine, their share of the time), profile (what was measured), seconds per
    phase. See docs/prediction.md.
    """

    report: dict[str, Any]


def profiled_threads(bound: BoundNet, profile: Profile) -> int:
    """The largest number of threads for which a profile knows problems of this net. Raises ProfileError for none."""
    bare = {p.text.rpartition(_THREADS)[0] for p in bound.flat.problems(1)}
    texts = (text.rpartition(_THREADS) for text in profile.problems())
    found = {int(n) for text, _, n in texts if text in bare and n.isdigit()}
    if not found:
        raise ProfileError(f"profile of host {profile.host}: expected measurements of this model at these shapes, got "
                           f"none of its {counted(len(bare), 'problem')}; profile it first: pathweave.profile(model), or "
                           "tune it")
    return max(found)


@options_checked
def solve(model: AnyModel, profile: Profile, *, accuracy: str = "f32", threads: int | None = None, shapes: Shapes = None,
          restrict: AnyRestrict = None, time_limit_s: float = 10) -> Route:
    """The fastest route of a model's main net under measured costs, with a certificate.

    A pure function of its arguments: no clock decides, nothing is run, and the profile may be another machine's; the
    route is then for that machine. `threads` None: the number in the profile (the largest where there are several).
    `shapes`, `restrict`: as in `pathweave.profile`. `time_limit_s`: for graphs that are too wide for the exact method.
    Raises ProfileError where the profile says nothing about a layer, RouteError, SolverError.
    """
    from ..runtime.descriptor import restriction
    from .tuner import solved_routes
    check_seconds(time_limit_s, "time_limit_s")
    if not isinstance(profile, Profile):
        raise ProfileError(f"solve: expected a Profile, as pathweave.profile(model) gives, got {type(profile).__name__}")
    bound = load(model).bind(shapes)
    number = profiled_threads(bound, profile) if threads is None else check_threads(threads)
    costs = Costs.of(bound, profile, number, accuracy, restriction(restrict))
    return solved_routes(costs, time_limit_s)[0]


def _check_profile(profile: Profile | None) -> None:
    """Raise ProfileError for what is no profile, or one of another machine."""
    from ..profiling.protocol import this_host
    if profile is not None and not isinstance(profile, Profile):
        raise ProfileError(f"tune: expected a Profile, as pathweave.profile(model) gives, got {type(profile).__name__}")
    if profile is not None:
        profile.check_host(this_host())


@options_checked
def tune(model: AnyModel, *, accuracy: str = "f32", threads: int | None = None, budget_s: float = 30, shapes: Shapes = None,
         restrict: AnyRestrict = None, progress: bool | Progress = True, store: AnyStore = None,
         profile: Profile | None = None, timer: RunTimer = MACHINE, objective: str = LATENCY,
         sessions: int | None = None) -> TunedModel:
    """Make a model fast on this machine: measure what is missing, solve, race, keep the winner.

    `model`: a path or a model, which is left as it is. `accuracy`: the least accurate class that may be used: strict, f32,
    reduced, quantised (see docs/accuracy.md; of a model that was not calibrated, only routines that find their scales at run
    time are of that class). `threads` None: the processors that the process may use. `shapes`: input name or symbol -> shape
    or size, or one shape; None: those of the model, batch 1. `restrict`: routine descriptors that alone are allowed, such as
    "cpu:f32:nhwc".
    `budget_s`: seconds for measuring, the race included; kept within a fifth and two seconds, unless one run of every layer
    takes longer. `progress`: False, True (a bar, on a terminal), or a callback (0..1, text).
    `store`: a Store or the path of one (None: the user's). `profile`: measurements of this machine to start from, kept in
    the store. `timer`: what all times are taken from. `objective`: "latency" makes one call fast that has all the threads;
    "throughput" makes calls per second many, of as many `sessions` (None: as many as `threads`) that run at the same time on
    one thread each, as those of `Model.pool` do: everything is measured and raced beside the others. See docs/throughput.md.
    Raises ProfileError for measurements of another machine, what
    `pathweave.profile` and `solve` raise, and InterruptedTuning on Ctrl-C: what was measured is kept, the next call goes
    on from there.
    """
    return tune_bound(model, None, accuracy=accuracy, threads=threads, budget_s=budget_s, shapes=shapes, restrict=restrict,
                      progress=progress, store=store, profile=profile, timer=timer, objective=objective, sessions=sessions)


def tune_bound(model: AnyModel, bound: BoundNet | None, *, accuracy: str, threads: int | None, budget_s: float, shapes: Shapes,
               restrict: AnyRestrict, progress: bool | Progress, store: AnyStore = None, profile: Profile | None = None,
               timer: RunTimer = MACHINE, objective: str, sessions: int | None) -> TunedModel:
    """`tune` for who has bound the main net already; None: it is bound to the shapes here."""
    from ..profiling.protocol import opened
    from ..runtime.calibrate import warn_uncalibrated
    from ..runtime.descriptor import restriction
    from .tuner import Tuner
    start = timer.now()
    phase, where = "load", "the store"
    try:
        loaded = load(model)
        aim = loaded.aim(objective, sessions, threads)
        check_seconds(budget_s, "budget_s")
        bound = loaded.bind(shapes) if bound is None else bound
        seconds = {"load": timer.now() - start}
        _check_profile(profile)
        warn_uncalibrated(bound, accuracy, aim.threads, 4)
        with opened(store) as kept, progress_bar(progress) as tell, timer.under_load(aim.at_once) as used:
            if profile is not None:
                kept.add(profile.runs, {profile.host: profile.facts})
            where = str(kept.path or "a store in memory")
            tuner = Tuner(bound, aim=aim, accuracy=accuracy, budget_s=budget_s, restrict=restriction(restrict), store=kept,
                          progress=tell, timer=used)
            try:
                route, report = tuner.tune()
            finally:
                phase = tuner.phase
            tell(1.0, "done")
        tuned = TunedModel(Model(loaded.nets, loaded.meta, loaded.routes, loaded.quantisation, layouts=loaded.layouts,
                                 states=loaded.states),
                           None if threads is None or aim.throughput else aim.threads)
        tuned.take_calibration_notes(loaded)
        tuned.add_route(route)
    except InterruptedTuning:
        raise
    except KeyboardInterrupt as e:
        raise InterruptedTuning(f"tuning was interrupted (phase: {phase}); no route was kept, all measurements are in "
                                f"{where}: tune again to go on from there") from e
    seconds |= report["seconds"] | {"total": timer.now() - start}
    tuned.report = {**report, "seconds": seconds}
    return tuned
