"""The route of an untuned net, by the rates of a machine that is made up: what is chosen, and that nothing else decides it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from made_up import made_up_limits
from runtime_nets import NETS, Builder

import pathweave as pw
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.runtime import catalogue
from pathweave.runtime.defaults import default_route, usual_route
from pathweave.runtime.devices import cpu_info
from pathweave.runtime.estimated import Estimates, estimated
from pathweave.runtime.estimates import Estimator
from pathweave.runtime.limits import Limits, assumed
from pathweave.runtime.rates import fixed
from pathweave.testing.conformance import subjects


@pytest.fixture
def avx2() -> None:
    """Skips where micro-kernels of AVX2 are not used."""
    if "avx2" not in cpu_info()["used"]:
        pytest.skip("AVX2 is not used here")


def problem(x: tuple, w: tuple, y: tuple, threads: int = 1, pad: int = 0) -> Problem:
    """A convolution with constant weights."""
    attrs = {"stride": (1, 1), "pad": (pad,) * 4, "dilation": (1, 1), "groups": 1}
    return Problem.make("conv2", [TensorSpec("f32", x), TensorSpec("f32", w)], [False, True], [TensorSpec("f32", y)], attrs,
                        threads=threads)


def chosen(asked: Problem, layout: str = "") -> catalogue.Candidate:
    """The candidate of the least estimate, among those in f32 whose values lie in a layout."""
    estimator = Estimator(made_up_limits(), asked.threads)
    return min((c for c in catalogue.candidates(asked)[0]
                if ":f32:" in c.routine and (not layout or c.ins[0].layout == c.outs[0].layout == layout)), key=estimator.price)


def small_net(channels: int = 64, size: int = 56) -> bytes:
    """Three convolutions, of which the last is 1x1."""
    b = Builder()
    x = b.node("Relu", b.node("Conv", "x", b.weight(channels, 3, 3, 3), b.weight(channels), pads=[1] * 4))
    x = b.node("Relu", b.node("Conv", x, b.weight(channels, channels, 3, 3), b.weight(channels), pads=[1] * 4))
    b.node("Conv", x, b.weight(channels, channels, 1, 1), b.weight(channels), outputs=["y"])
    return b.model({"x": [1, 3, size, size]}, ["y"])


# ---- prices of candidates -------------------------------------------------------------------------------------------

@pytest.mark.parametrize("threads", [1, 2, 8])
def test_large_kernels_of_many_channels_are_multiplied_by_winograd(threads, avx2):
    for layout in ("nhwc", ""):
        best = chosen(problem((1, 64, 56, 56), (64, 64, 3, 3), (1, 64, 56, 56), threads, pad=1), layout)
        assert best.algorithm.startswith("winograd"), best


def test_kernels_of_one_pixel_are_one_product(avx2):
    best = chosen(problem((1, 64, 28, 28), (256, 64, 1, 1), (1, 256, 28, 28)), "nhwc")
    assert best.algorithm in ("pointwise", "strassen", "direct"), best
    single = chosen(problem((1, 64, 1, 1), (256, 64, 1, 1), (1, 256, 1, 1)))
    assert single.algorithm in ("gemv", "pointwise"), single


def test_tiny_images_and_few_channels_are_not_transformed(avx2):
    for x, w, y in (((1, 512, 2, 2), (512, 512, 3, 3), (1, 512, 2, 2)), ((1, 3, 64, 64), (16, 3, 3, 3), (1, 16, 64, 64))):
        best = chosen(problem(x, w, y, pad=1))
        assert not best.algorithm.startswith(("winograd4", "winograd6")), best


def test_small_layers_of_two_threads_are_left_to_one():
    x = TensorSpec("f32", (1, 64))
    asked = Problem.make("relu", [x], [False], [x], {}, threads=2)
    assert chosen(asked).alone


@pytest.mark.parametrize("threads", [1, 2])
def test_every_routine_has_a_finite_price_on_every_case(threads):
    estimator = Estimator(made_up_limits(), threads)
    seen = set()
    for subject in subjects():
        asked = subject.make(threads)
        if asked.text in seen:
            continue
        seen.add(asked.text)
        for c in catalogue.candidates(asked, accuracy="quantised", include_reference=True)[0]:
            price = estimator.price(c)
            assert math.isfinite(price) and 0 < price < 1e15, (asked.text, c, price)


def test_times_scale_with_the_rates():
    asked = problem((1, 64, 56, 56), (64, 64, 3, 3), (1, 64, 56, 56), pad=1)
    limits = made_up_limits()
    measured = limits.measured[1]
    slow = Limits(limits.host, limits.caches, {1: {
        "peaks": {k: {**p, "per_second": p["per_second"] / 4} for k, p in measured["peaks"].items()},
        "reads": {k: rate / 4 for k, rate in measured["reads"].items()}, "barrier_ns": 800.0}})
    for c in catalogue.candidates(asked)[0]:
        assert Estimator(slow, 1).price(c) == pytest.approx(4 * Estimator(limits, 1).price(c), rel=0.05)


def test_winograd_states_fewer_operations_and_more_bytes(avx2):
    found = {c.algorithm: c for c in catalogue.candidates(problem((1, 64, 56, 56), (64, 64, 3, 3), (1, 64, 56, 56), pad=1))[0]
             if ":f32:" in c.routine and c.ins[0].layout == c.outs[0].layout == "nhwc"}
    direct = 2 * 56 * 56 * 64 * 64 * 9
    operations = {name: c.estimate[0] for name, c in found.items()}
    assert direct <= operations["direct"] < 1.3 * direct
    assert operations["winograd4"] < direct / 2 and operations["winograd4"] < operations["winograd2"] < direct
    assert sum(size for size, _ in found["winograd4"].estimate[7]) > sum(size for size, _ in found["direct"].estimate[7])


# ---- routes ---------------------------------------------------------------------------------------------------------

def test_the_untuned_route_says_what_it_expects_and_is_the_same_every_time():
    model = pw.load(small_net())
    route = pw.default_route(model, 2)
    assert route.certificate == "default" and route.notes["estimated_ns"] > 0 and route.predicted_ns is None
    assert route == pw.default_route(pw.load(small_net()), 2)


def test_conversions_weigh(avx2):
    """Where converting costs nothing, every layer takes its own best layout; where it costs much, none is made between them."""
    bound = pw.load(small_net()).bind()
    limits = made_up_limits()
    reads = {level: 0.02e9 for level in limits.measured[1]["reads"]}
    dear = Limits(limits.host, limits.caches, {1: {**limits.measured[1], "reads": reads}})
    dear = replace(dear, measured={n: {**limits.measured[n], "reads": reads} for n in (1, 2)})
    with fixed(dear):
        found = estimated(bound, 1)
    assert found is not None
    inside = {v for layer in bound.layers[:-1] for v in layer.outputs}
    assert not [c for c in found.conversions if c.value in inside]


def test_no_choice_of_one_layer_is_better():
    """The solver's route against every exchange of one layer's candidate, conversions included."""
    from pathweave.solvers.evaluate import evaluate
    estimates = Estimates(pw.load(NETS["convolutions"]()).bind({"N": 2}), 2)
    instance, best = estimates.instance(), estimates.solve()
    assert best is not None
    from pathweave.solvers import solve
    solution = solve(instance)
    assert best.ns == pytest.approx(solution.cost, rel=0.02)  # small layers may be done by one thread
    for layer in instance.layers:
        for c in layer.candidates:
            if (solution.choice[layer.name].ins, solution.choice[layer.name].outs) == (c.ins, c.outs):
                assert evaluate(instance, {**solution.choice, layer.name: c}).cost >= solution.cost - 1e-6


def test_a_restriction_is_kept():
    model = pw.load(small_net())
    route = pw.default_route(model, 2, restrict="conv2/im2col")
    routines = {c.routine.partition(":")[0] for c in route.layers.values()}
    assert "conv2/im2col" in routines and not routines & {"conv2/direct", "conv2/winograd4"}
    with pytest.raises(pw.Error):
        pw.default_route(model, 2, restrict="conv2/nothing")


def test_results_are_those_of_the_route_by_rule():
    model = pw.load(small_net(16, 12))
    bound = model.bind()
    x = {"x": np.random.default_rng(0).standard_normal((1, 3, 12, 12)).astype(np.float32)}
    got, wanted = (model.plan(route(bound, 2)).session().run(x)["y"] for route in (usual_route, default_route))
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_a_wide_graph_is_solved_by_descent_and_else_by_rule(monkeypatch):
    from pathweave.runtime import estimated as module
    bound = pw.load(small_net(16, 12)).bind()
    exact = usual_route(bound, 1).notes["estimated_ns"]
    monkeypatch.setattr(module, "MOST_TABLE", 1)
    route = usual_route(bound, 1)
    assert route.certificate == "default" and exact <= route.notes["estimated_ns"] * (1 + 1e-9) < 1.2 * exact
    monkeypatch.setattr(module, "descended", lambda instance: None)
    route = usual_route(bound, 1)
    assert "estimated_ns" not in route.notes and replace(route, notes={}) == replace(default_route(bound, 1), notes={})


def test_rates_by_the_description_alone():
    cpu = {"used": ["generic", "avx2"], "l1d": 32 << 10, "l2": 512 << 10, "l3": 32 << 20}
    found = assumed(cpu, 2)
    assert found.peak("f32", 2) == 2 * 2 * 2 * 8 * 2.5e9 and found.barrier_ns(2) > 0
    wide = assumed({**cpu, "used": ["generic", "avx2", "avx512"]}, 2)
    assert wide.peak("f32", 2) == 2 * found.peak("f32", 2)
    assert Estimator(found, 2).price(catalogue.candidates(problem((1, 8, 8, 8), (8, 8, 1, 1), (1, 8, 8, 8), 2))[0][0]) > 0


def test_the_routines_are_the_same_for_every_number_of_threads():
    bound = pw.load(NETS["convolutions"]()).bind({"N": 2})
    routes = [usual_route(bound, threads) for threads in (1, 2, 3, 8)]
    chosen = [{name: (c.routine, c.ins, c.outs) for name, c in route.layers.items()} for route in routes]
    assert all(one == chosen[0] for one in chosen)
    assert len({route.notes["estimated_ns"] for route in routes}) > 1
