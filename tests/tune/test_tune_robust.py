"""A tune ends well wherever the default route runs: odd nets, routines that cannot be prepared, no time at all."""

from __future__ import annotations

import numpy as np
import pytest
from scripted import residual

import pathweave as pw
from pathweave.errors import NoRoutineError, OutOfMemoryError, RouteError
from pathweave.meaning.evaluate import evaluate
from pathweave.net.accuracy import ACCURACIES
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.profiling import passes
from pathweave.profiling.store import Store
from pathweave.runtime import plan as planning
from pathweave.runtime import prepare
from pathweave.runtime.model import LoadedModel
from pathweave.tuning import again, tuner

F32 = {"x": TensorSpec("f32", (1, 4, 3, 3))}


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(tuner, "RACE_S", 0.0)
    monkeypatch.setattr(again, "AGAIN_S", 0.0)


def tuned(model, store, accuracy="f32", **options):
    return pw.tune(model, accuracy=accuracy, store=store, progress=False, **{"threads": 1, "budget_s": 0.2, **options})


def odd_nets() -> dict[str, Net]:
    relu = Layer("relu", "relu", ("x",), ("y",))
    half = Layer("half", "slice", ("x",), ("y",), {"starts": (3,), "ends": (3,), "axes": (2,)})
    c = {"c": np.arange(6, dtype=np.float32)}
    return {"no layers": Net(F32, ["x"], [], {}),
            "only a constant": Net(F32, ["c"], [], c),
            "an input among the outputs": Net(F32, ["y", "x"], [relu], {}),
            "a constant among the outputs": Net(F32, ["c", "y"], [relu], c),
            "one value twice": Net(F32, ["y", "y"], [relu], {}),
            "values of no bytes": Net(F32, ["z"], [half, Layer("act", "relu", ("y",), ("z",))], {})}


@pytest.mark.parametrize("accuracy", ACCURACIES)
@pytest.mark.parametrize("name", odd_nets())
def test_odd_nets(name, accuracy, store):
    net = odd_nets()[name]
    x = np.random.default_rng(0).standard_normal((1, 4, 3, 3)).astype(np.float32)
    for budget in (0, 0.2):
        got = tuned(Model({"main": net}), store, accuracy, budget_s=budget).run({"x": x})
        for value, array in evaluate(net, {"x": x}, "f64").items():
            assert got[value].shape == array.shape and np.allclose(got[value], array, atol=1e-2)


def right(model, data=None):
    x = np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32)
    exact = evaluate(model.main, {"x": x}, "f64")["y"]
    return np.sqrt(np.mean((model(x) - exact) ** 2) / np.mean(exact ** 2)) < 1e-4


@pytest.mark.parametrize("error", [MemoryError("none"), RuntimeError("cannot"), TypeError("what"), OverflowError("much")])
def test_routines_that_cannot_be_prepared(monkeypatch, error):
    """All convolutions but one kind throw, each in its own way: that kind is taken; where it throws or declines, NumPy."""
    model, native = pw.load(residual()), prepare.native()
    for spared in ("conv2/im2col:", "nothing"):
        class Broken:
            def prepare(self, text, routine, *rest, spared=spared):
                if routine.startswith("conv2/") and not routine.startswith(spared):
                    raise error
                return native.prepare(text, routine, *rest)

            def __getattr__(self, name):
                return getattr(native, name)
        monkeypatch.setattr(prepare, "native", Broken)
        found = tuned(model, Store.memory())
        kinds = {c.algorithm for c in found.plan(threads=1).choices.values() if c.problem.kind == "conv2"}
        assert kinds == ({"im2col", "numpy"} if spared != "nothing" else {"numpy"})
        assert right(found)
        assert found.report["profile"]["failed"]


def test_plans_that_do_not_fit_into_memory(store, monkeypatch):
    """No arena for any plan with a Winograd convolution: others are taken, and the refusal is told."""
    model, build = pw.load(residual()), planning.build_plan

    def refused(bound, choices, *rest):
        if any("winograd" in c.routine for c in choices.values()):
            raise OutOfMemoryError("plan: no memory")
        return build(bound, choices, *rest)
    monkeypatch.setattr(passes, "build_plan", refused)
    found = tuned(model, store, budget_s=5)
    assert not any("winograd" in c.routine for c in next(iter(found.routes.values())).layers.values()) and right(found)
    assert any("no memory" in f["reason"] for f in found.report["profile"]["failed"])


def test_a_route_that_cannot_be_planned_does_not_race(store, monkeypatch):
    """Known prices make such a route the favourite; the race goes on with the others. With none left it is an error."""
    model, plan_route = pw.load(residual()), tuner.plan_route
    tuned(model, store, budget_s=2)
    refused = []

    def failing(route, *rest):
        if len(refused) < 1:
            refused.append(route)
            raise OutOfMemoryError("plan: no memory")
        return plan_route(route, *rest)
    monkeypatch.setattr(tuner, "plan_route", failing)
    found = tuned(model, store)  # there may be time for the favourite alone, as on a busy machine
    assert right(found) and any("no memory" in row.get("reason", "") for row in found.report["not raced"])

    def never(route, *rest):
        raise RouteError("no plan")
    monkeypatch.setattr(tuner, "plan_route", never)
    with pytest.raises(RouteError, match="no plan"):
        tuned(model, store)


def test_without_time_for_others_they_stand_in_for_a_favourite_that_cannot_be_planned(store, monkeypatch):
    """There is time for no race at all, and the favourite, which may be the default route too, has no plan."""
    model, plan_route = pw.load(residual()), tuner.plan_route
    tuned(model, store, budget_s=2)
    monkeypatch.setattr(tuner, "LATEST_S", -1e9)
    refused = []

    def failing(route, *rest):
        refused.append(tuner.identity(route))
        if refused[-1] == refused[0]:
            raise OutOfMemoryError("plan: no memory")
        return plan_route(route, *rest)
    monkeypatch.setattr(tuner, "plan_route", failing)
    assert right(tuned(model, store)) and len(set(refused)) > 1


def test_what_everything_gets_wrong_is_left_to_reference_routines(store, monkeypatch):
    from pathweave.profiling import verify
    check = verify._check
    monkeypatch.setattr(verify, "_check", lambda single, reference, c, threads: "wrong" if c.problem.kind == "dense"
                        and not c.reference else check(single, reference, c, threads))
    model = pw.load(residual())
    profile = pw.profile(model, threads=1, budget_s=0, store=store, verify=True)
    route = pw.solve(model, profile)
    (routine,) = {c.routine for c in route.layers.values() if c.routine.startswith("dense/")}
    assert routine.startswith(("dense/naive", "dense/numpy"))


@pytest.mark.parametrize("offset, left_out", [(0.0, False), (1e-6, True), (1e-3, True)])
def test_sums_that_cancel_are_not_called_wrong(store, monkeypatch, offset, left_out):
    """The mean of numbers that are nearly opposite pairs; with an offset that no rounding explains."""
    layers = [Layer("opposite", "neg", ("x",), ("n",), {}), Layer("nearly", "add", ("n", "small"), ("m",), {}),
              Layer("all", "concat", ("x", "m"), ("c",), {"axis": 1}),
              Layer("mean", "reduce", ("c",), ("y",), {"op": "mean", "axes": (1,)})]
    model = LoadedModel(Model({"main": Net({"x": TensorSpec("f32", (1, 500))}, ["y"], layers,
                                              {"small": np.float32(1e-6).reshape(())})}))
    from pathweave.profiling import verify
    if offset:
        compare = verify.relative_error
        monkeypatch.setattr(verify, "relative_error", lambda got, right: compare(
            np.asarray(got) + np.float32(offset) if np.asarray(got).dtype == np.float32 else got, right))
    profile = pw.profile(model, threads=1, budget_s=0, store=store, verify=True)
    assert bool(profile.notes["wrong"]) == left_out


def test_restrictions(store):
    model = pw.load(residual())
    for words in (["nchw"], ["nhwc"], ["nchw16c"], ["naive"], ["python"], ["fast"], ["faster"], ["cpu:f32"], ["1thread"],
                  ["bf16"], ["conv2/direct", "bf16x2@1"]):
        try:
            pw.default_route(model, 2, accuracy="reduced", restrict=words)
        except RouteError as e:  # no routine is left, or a word has no effect
            assert "descriptor" in str(e) or isinstance(e, NoRoutineError), words
            continue
        try:
            found = tuned(model, store, "reduced", restrict=words, threads=2, budget_s=0)
        except (NoRoutineError, RouteError) as e:
            assert "descriptor" in str(e), words  # a word without effect is an error of its own
            continue
        x = np.zeros((1, 3, 12, 12), np.float32)
        assert np.isfinite(found(x)).all()
