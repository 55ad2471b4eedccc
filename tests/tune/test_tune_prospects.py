"""What is measured first, and what is left out: made-up estimates and times, compared with brute force."""

from __future__ import annotations

import itertools
import json
import random

import pytest
from scripted import Clock, residual

import pathweave as pw
from pathweave.net.format import Format
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.profiling import prospects as module
from pathweave.profiling.prospects import Prospects, Tier
from pathweave.profiling.slots import Slot
from pathweave.profiling.store import Store
from pathweave.runtime.catalogue import Candidate
from pathweave.runtime.estimates import Estimator

THREADS = 2
LAYOUTS = [Format.parse("f32:nhwc:cpu"), Format.parse("f32:nchw:cpu")]


def slot(name: str, of: dict[str, tuple[float, float | None]], layout: Format = LAYOUTS[0], layers: int = 1) -> Slot:
    """A slot of made-up routines. `of`: routine -> its estimate, and the median of two samples or None."""
    spec = TensorSpec("f32", (1, 4, 4, 4))
    problem = Problem.make("relu", [spec], [False], [spec], {}, threads=THREADS)
    found = Slot(name, [object()] * layers, [Candidate(r, 1, "", problem, problem, (layout,), (layout,)) for r in of])
    for e in found.entries:
        e.estimate, measured = of[e.candidate.routine]
        e.stated = not e.candidate.routine.startswith("silent")
        e.samples = [measured, measured] if measured else []
    return found


def routine(found: Slot, name: str):
    return next(e for e in found.entries if e.candidate.routine == name)


def order(found: Slot, of: Prospects, last: Tier = Tier.LOST) -> list[str]:
    return [e.candidate.routine for e in of.waiting(found, found.unmeasured(), last)]


def free(slot, ports, other) -> float:
    return 0.0


def test_the_best_by_estimate_come_first_and_the_hopeless_last():
    one = slot("one", {"far": (50.0, None), "second": (20.0, None), "silent": (1.0, None), "third": (25.0, None),
                       "best": (10.0, None)})
    found = Prospects([one], free)
    assert order(one, found) == ["best", "second", "third", "silent", "far"]
    assert order(one, found, Tier.PROMISING) == ["best", "second", "third"]
    assert order(one, found, Tier.UNKNOWN) == ["best", "second", "third", "silent"]
    assert found.why(one, routine(one, "far")) == "not measured: estimated at 5.0 times the best"
    assert found.why(one, routine(one, "third")) == "not measured: the time was over; estimated at 2.5 times the best"
    assert "does not say" in found.why(one, routine(one, "silent"))


def test_guesses_alone_leave_nothing_out():
    """Of routines that all say nothing, none comes last because of the guess at its time."""
    one = slot("one", {"silent a": (500.0, None), "silent b": (10.0, None)})
    assert {e.candidate.routine: Prospects([one], free).tier(one, e) for e in one.entries} == \
        {"silent a": Tier.PROMISING, "silent b": Tier.PROMISING}


def test_what_a_routine_took_elsewhere_corrects_its_estimates():
    """Four times its estimates on other problems: here it cannot win. What takes a quarter of them is not lost."""
    others = [slot(f"other {i}", {"best": (10.0, 10.0), "worse": (10.0, 40.0), "better": (10.0, 2.5)}) for i in range(3)]
    here = slot("here", {"best": (10.0, 10.0), "second": (11.0, 11.0), "worse": (15.0, None), "better": (25.0, None)})
    found = Prospects([*others, here], free)
    assert found.tier(here, routine(here, "worse")) is Tier.LOST
    assert found.tier(here, routine(here, "better")) is Tier.PROMISING
    assert order(here, found) == ["better", "worse"]
    assert found.why(here, routine(here, "worse")) == (
        "not measured: estimated at 1.5 times the best, and its routine took 4.0 times its estimates for 3 other layers: "
        "it cannot win")
    fewer = Prospects([*others[:2], here], free)
    assert fewer.tier(here, routine(here, "worse")) is Tier.PROMISING  # too little is known


def test_conversions_that_are_saved_may_make_it_win():
    others = [slot(f"other {i}", {"worse": (10.0, 40.0)}) for i in range(3)]
    here = slot("here", {"best": (10.0, 10.0), "second": (11.0, 11.0)})
    nchw = slot("nchw", {"worse": (15.0, None)}, LAYOUTS[1])
    here.entries += nchw.entries
    for price, tier in ((5.0, Tier.LOST), (50.0, Tier.PROMISING)):
        found = Prospects([*others, here], lambda s, a, b, price=price: 0.0 if a == b else 2 * price)
        assert found.tier(here, routine(here, "worse")) is tier


def test_the_best_two_by_estimate_are_never_left_out():
    others = [slot(f"other {i}", {"worse": (10.0, 400.0)}) for i in range(5)]
    here = slot("here", {"best": (10.0, 10.0), "worse": (15.0, None)})
    far = slot("far", {"best": (10.0, 10.0), "worse": (90.0, None)})
    found = Prospects([*others, here, far], free)
    assert found.tier(here, routine(here, "worse")) is Tier.FIRST
    assert found.tier(far, routine(far, "worse")) is Tier.BEYOND


@pytest.mark.parametrize("seed", range(30))
def test_what_is_left_out_is_in_no_best_route(seed):
    """A chain of layers with candidates in two layouts, whose times lie about a routine's own factor beside its estimates:
    the best of all routes, every combination tried, has none of the candidates that cannot win."""
    rng = random.Random(seed)
    names = [f"routine {i}" for i in range(6)]
    factors, layouts = {n: rng.uniform(0.3, 3.0) for n in names}, {n: rng.choice(LAYOUTS) for n in names}
    price, truth, slots = rng.uniform(1.0, 30.0), [], []
    for i in range(7):
        estimates = {n: rng.uniform(10.0, 60.0) for n in names}
        true = {n: estimates[n] * factors[n] * rng.lognormvariate(0.0, 0.1) for n in names}
        found = slot(f"layer {i}", {n: (estimates[n], None) for n in names})
        for e in found.entries:
            form = layouts[e.candidate.routine]
            e.candidate = Candidate(e.candidate.routine, 1, "", e.candidate.problem, e.candidate.base, (form,), (form,))
        truth.append(true)
        slots.append(found)
    prospects = Prospects(slots, lambda s, a, b: 0.0 if a == b else 2 * price)
    for _ in range(6):  # as the protocol does: a candidate of every layer in each pass
        prospects.refresh()
        for found, true in zip(slots, truth):
            for e in prospects.waiting(found, found.unmeasured(), Tier.BEYOND)[:1]:
                e.samples = [true[e.candidate.routine]] * 2
    left = [{e.candidate.routine for e in found.unmeasured()} for found in slots]

    def cost(choice) -> float:
        moves = sum(layouts[a] != layouts[b] for a, b in itertools.pairwise(choice))
        return sum(true[n] for true, n in zip(truth, choice)) + price * moves
    best = {}  # by the layout of the last layer, for every combination is too many
    for n in names:
        best[layouts[n]] = min(best.get(layouts[n], (1e9, ())), (truth[0][n], (n,)))
    for _ in slots[1:]:
        step = {}
        for (_, choice), n in itertools.product(best.values(), names):
            longer = (*choice, n)
            step[layouts[n]] = min(step.get(layouts[n], (1e9, ())), (cost(longer), longer))
        best = step
    ns, choice = min(best.values())
    assert ns == pytest.approx(cost(choice)) and not any(n in out for n, out in zip(choice, left))


# ---- whole nets -----------------------------------------------------------------------------------------------------

class Estimated(Clock):
    """Times that lie beside the estimates: a factor per routine, and a few per cent."""

    def __init__(self):
        super().__init__()
        self.estimates: dict[tuple[str, str, str], float] = {}

    def cost(self, problem, routine, variant):
        known = self.estimates.get((problem, routine, variant))
        if known is None:
            return Clock.cost(problem, routine, variant)
        own, noise = Clock.cost("", routine, "") % 100 / 100, Clock.cost(problem, routine, variant) % 10 / 200
        return 1000 + round(known * (1.0 + own) * (1.0 + noise))


@pytest.fixture
def timer(monkeypatch) -> Estimated:
    """Every candidate's estimate is a multiple of 10 us, from 10 to 100, by its name; the timer knows them."""
    clock = Estimated()

    def price(self, c):
        if c.problem.kind == "adapt":
            return 1000.0
        ns = 10_000.0 * (1 + Clock.cost(c.problem.text, *c.key[::2]) % 10)
        clock.estimates[c.problem.text, c.routine, c.variant] = ns
        return ns
    monkeypatch.setattr(Estimator, "price", price)
    monkeypatch.setattr(Estimator, "stated", staticmethod(lambda c: True))
    return clock


def left_out(profile) -> dict[tuple[str, str], dict]:
    return {(row["problem"], row["candidate"]): row for row in profile.notes["left_out"]}


def test_the_usual_budget_finds_the_route_of_an_endless_one(timer):
    """What is left out is not in the best route, and is measured with a longer budget."""
    store, model = Store.memory(), pw.load(residual())
    usual = pw.profile(model, threads=THREADS, store=store, timer=timer)
    out = left_out(usual)
    assert out and usual.notes["unmeasured"] == usual.notes["hopeless"] == len(out)
    assert all(row["reason"].startswith("not measured: estimated at ") for row in out.values())
    route = pw.solve(model, usual)
    more = pw.profile(model, threads=THREADS, store=store, timer=timer, budget_s=1e6)
    assert more.notes["unmeasured"] == 0 and not more.notes["left_out"]
    best = pw.solve(model, more)
    assert best.predicted_ns == route.predicted_ns and best.certificate == "optimal"


def test_a_budget_is_what_a_net_gets_in_all(timer):
    """Two tunings of five seconds are one; a longer budget goes on where they ended; other candidates have their own."""
    store, model = Store.memory(), pw.load(residual())
    timer.beside = 0.25
    first = pw.profile(model, threads=THREADS, store=store, timer=timer, budget_s=10)
    assert first.notes["unmeasured"] > first.notes["hopeless"]
    again = pw.profile(model, threads=THREADS, store=store, timer=timer, budget_s=10)
    assert again.notes["passes"] == 0 and again.notes["unmeasured"] == first.notes["unmeasured"]
    longer = pw.profile(model, threads=THREADS, store=store, timer=timer, budget_s=25)
    assert longer.notes["passes"] > 0 and longer.notes["unmeasured"] < first.notes["unmeasured"]
    other = pw.profile(model, threads=THREADS, store=store, timer=timer, budget_s=10, restrict=["nhwc"])
    assert other.notes["passes"] > 0


def test_the_first_passes_measure_the_best_by_estimate(timer):
    """After a short time every layer has a candidate whose estimate is one of the two least; many are equal."""
    model = pw.load(residual())
    timer.beside = 0.1
    profile = pw.profile(model, threads=THREADS, store=Store.memory(), timer=timer, budget_s=12)
    bound = model.bind()
    for i, problem in enumerate(bound.problems(THREADS)):
        estimates = {c: timer.estimates[problem.text, c.routine, c.variant] for c in bound.candidates(i, THREADS)[0]}
        enough = sorted(estimates.values())[:2][-1]
        assert any(profile.get(problem, *c.key) for c, ns in estimates.items() if ns <= enough), problem.text


def test_explain_says_why_a_candidate_was_not_measured(timer):
    from pathweave.cli.explain import _parts
    from pathweave.tuning.explain import explain
    model = pw.load(residual())
    profile = pw.profile(model, threads=THREADS, store=Store.memory(), timer=timer)
    out, seen = left_out(profile), 0
    for layer, problem in zip(model.bind().layers, model.bind().problems(THREADS)):
        e = explain(model, layer.name, profile)
        for row in e.candidates:
            wanted = out.get((problem.text, f"{row.routine} {row.variant}".rstrip()))
            assert (wanted is None) == (row.cost_ns is not None)
            if wanted is not None:
                seen += 1
                assert row.source == wanted["reason"] and "times the best" in row.source
                assert json.loads(json.dumps(e.to_json()))["candidates"][-1]["source"].startswith("not measured: ")
        if any(row.cost_ns is None for row in e.candidates):
            assert any("not measured" in str(getattr(part, "title", "")) for part in _parts(e))
    assert seen


def test_tune_tells_what_was_left_out(timer):
    from pathweave.tuning.findings import left_out as told
    model = pw.load(residual())
    tuned = pw.tune(model, threads=THREADS, store=Store.memory(), timer=timer, progress=False)
    notes = tuned.report["profile"]
    assert notes["hopeless"] and not any("budget" in f for f in tuned.report["findings"])
    assert f"{notes['hopeless']} of {notes['candidates']} candidates were not measured" in told(notes)
    assert {"layers", "problem", "candidate", "estimated_ns", "times_best", "reason", "hopeless"} == set(notes["left_out"][0])
    assert module.BEYOND == 3.0 and told({"hopeless": 0}) == ""
