"""Integers and floats in one solver: mixed routes, and models without scales."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scripted import Clock

import pathweave as pw
from pathweave.errors import NoRoutineError
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.profiling.store import Store
from pathweave.tuning.costs import Costs
from pathweave.tuning.plain import single_class_routes


@pytest.fixture
def calibrated(model):
    return model.calibrate(np.random.default_rng(0).standard_normal((4, 3, 12, 12)).astype(np.float32))


def dtypes(route) -> set[str]:
    return {f.dtype for c in route.layers.values() for f in (*c.ins, *c.outs)}


@pytest.fixture
def cheap_integers(monkeypatch):
    """Convolutions of integers cost next to nothing, everything else its scripted time."""
    plain = Clock.cost
    monkeypatch.setattr(Clock, "cost", staticmethod(
        lambda problem, routine, variant: 50 if routine.startswith("conv2/") and ":u8:" in routine
        else plain(problem, routine, variant)))


def test_the_solver_mixes_them(calibrated, clock, cheap_integers, store):
    tuned = pw.tune(calibrated, accuracy="quantised", threads=1, budget_s=20, progress=False, store=store, timer=clock)
    route = next(iter(tuned.routes.values()))
    convolutions = [c for n, c in route.layers.items() if c.routine.startswith("conv2/")]
    assert convolutions and all(":u8:" in c.routine for c in convolutions)
    assert route.certificate == "optimal" and route.accuracy == "quantised"
    crossings = [c for c in route.conversions if (c.source.dtype == "u8") != (c.target.dtype == "u8")]
    assert crossings and all(c.predicted_ns > 0 and c.routine.startswith("adapt/quantise:") for c in crossings)
    assert tuned.quantisation == calibrated.quantisation and not tuned.report["findings"][1:]


def test_the_default_class_has_none(calibrated, clock, cheap_integers, store):
    tuned = pw.tune(calibrated, threads=1, budget_s=20, progress=False, store=store, timer=clock)
    assert dtypes(next(iter(tuned.routes.values()))) - {"bf16x2"} == {"f32"}  # a form of class f32, where there is a unit


def test_a_profile_of_integers_does_not_serve_a_model_without_scales(calibrated, net_bytes, clock, cheap_integers, store):
    profile = pw.profile(calibrated, accuracy="quantised", threads=1, budget_s=20, store=store, timer=clock)
    assert any(":u8:" in m.routine for m in profile)
    bare = pw.load(net_bytes)
    assert "u8" not in dtypes(pw.solve(bare, profile, accuracy="quantised"))
    costs = Costs.of(bare.bind(), profile, 1, "quantised")
    assert not any(f.dtype == "u8" for table in costs.adapts.values() for pair in table for f in pair)
    assert "u8" in dtypes(pw.solve(calibrated, profile, accuracy="quantised"))


def test_what_the_store_knows_is_not_measured_again(calibrated, clock, store):
    first = pw.profile(calibrated, accuracy="quantised", threads=1, budget_s=1e6, store=store, timer=clock)
    before, route = len(clock.log), pw.solve(calibrated, first, accuracy="quantised")
    for budget in (1e6, 0):
        again = pw.profile(calibrated, accuracy="quantised", threads=1, budget_s=budget, store=store, timer=clock)
        assert len(clock.log) == before and again.notes["known"] == again.notes["candidates"]
        assert pw.solve(calibrated, again, accuracy="quantised").to_json() == route.to_json()


def test_a_restriction_to_integers_needs_scales(model):
    with pytest.raises(NoRoutineError, match="calibrate the model first"):
        model.bind().candidates(0, 1, accuracy="quantised", restrict=lambda i, layer, c: ":u8:" in c.routine)


def test_verify_while_profiling_finds_what_is_wrong(calibrated, monkeypatch):
    """A wrong scale of one value makes every integer candidate that writes it wrong."""
    from pathweave.net.scales import Scale
    from pathweave.runtime.bound import BoundNet
    value = calibrated.bind().layers[0].outputs[0]
    plain = BoundNet.scales_of

    def wrong(self, layer, problem):
        return [Scale(s.scale * 1.5, s.zero_point) if v == value else s
                for v, s in zip((*layer.inputs[:len(problem.inputs)], *layer.outputs), plain(self, layer, problem))]
    monkeypatch.setattr(BoundNet, "scales_of", wrong)
    notes = pw.profile(calibrated, accuracy="quantised", threads=1, budget_s=0, store=Store.memory(), verify=True).notes
    first = [w["candidate"] for w in notes["wrong"] if w["layer"] == calibrated.bind().layers[0].name]
    assert first and all(":u8:" in c for c in first)


def test_routes_of_a_single_class_race_beside_the_mixed_one(calibrated, clock, cheap_integers, store):
    """Integers where there are any, f32 elsewhere; and f32 only."""
    tuned = pw.tune(calibrated, accuracy="quantised", threads=1, budget_s=20, progress=False, store=store, timer=clock)
    raced = {n for row in tuned.report["race"] for n in row["names"]} | {r["name"] for r in tuned.report["not raced"]}
    assert {"f32 only", "quantised only"} <= raced
    bound = calibrated.bind()
    profile = pw.profile(calibrated, accuracy="quantised", threads=1, budget_s=0, store=store, timer=clock)
    costs = Costs.of(bound, profile, 1, "quantised")
    routes = dict(single_class_routes(costs))
    best = next(iter(tuned.routes.values())).predicted_ns
    assert all(route.predicted_ns >= best for route in routes.values())
    assert dtypes(routes["f32 only"]) - {"bf16x2"} == {"f32"}
    for name, found in costs.layers.items():
        integers = {p.candidate.key for p in found if p.candidate.accuracy == "quantised"}
        c = routes["quantised only"].layers[name]
        assert not integers or (c.routine, c.version, c.variant) in integers


def test_floats_only_are_not_rounded_on_their_way(calibrated, clock, store, monkeypatch):
    """From one layout to another through u8 would be the cheapest way."""
    plain = Clock.cost

    def cost(problem, routine, variant):
        if routine.startswith("adapt/"):
            return 50 if ":u8:" in routine or "-u8:" in routine else 1e5
        return 1e7 if routine.startswith("conv2/") and ":nchw16c:" not in routine else plain(problem, routine, variant)
    monkeypatch.setattr(Clock, "cost", staticmethod(cost))
    profile = pw.profile(calibrated, accuracy="quantised", threads=1, budget_s=20, store=store, timer=clock)
    costs = Costs.of(calibrated.bind(), profile, 1, "quantised")
    assert any(f.dtype == "u8" for table in costs.adapts.values() for pair in table for f in pair)
    conversions = dict(single_class_routes(costs))["f32 only"].conversions
    assert conversions and {f.dtype for c in conversions for f in (c.source, c.target)} == {"f32"}


def test_one_class_is_no_choice(model, clock, store):
    costs = Costs.of(model.bind(), pw.profile(model, threads=1, budget_s=20, store=store, timer=clock), 1)
    assert not dict(single_class_routes(costs))


@pytest.fixture
def filtering():
    """A 3x3 convolution alone, of which no routine finds scales when it runs."""
    weights = np.random.default_rng(0).standard_normal((8, 8, 3, 3)).astype(np.float32)
    layer = Layer("c", "conv2", ("x", "w"), ("y",), {"pad": (1, 1, 1, 1)})
    return pw.load(Model({"main": Net({"x": TensorSpec("f32", (1, 8, 9, 9))}, ["y"], [layer], {"w": weights})}))


@pytest.mark.parametrize("accuracy, count", [("quantised", 1), ("reduced", 0)])
def test_a_model_without_scales_is_warned_of_before_anything_is_measured(filtering, clock, store, accuracy, count):
    model = filtering
    for work in (pw.profile, pw.tune):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            before = []
            work(model, accuracy=accuracy, threads=1, budget_s=1, store=store,
                 progress=lambda *_, before=before, told=told: before.append(len(told)))
        assert before and set(before) == {count}
        assert [(w.category, w.filename) for w in told] == [(pw.CalibrationWarning, __file__)] * count


def test_a_model_with_scales_is_not_warned_of(calibrated, clock, store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pw.tune(calibrated, accuracy="quantised", threads=1, budget_s=1, progress=False, store=store)
