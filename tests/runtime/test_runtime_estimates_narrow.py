"""Estimates of routines on integers and halves, and the routes of the classes below f32, on a machine that is made up."""

from __future__ import annotations

import math
import warnings
from dataclasses import replace

import numpy as np
import pytest
from made_up import made_up_limits
from onnx import numpy_helper
from runtime_nets import Builder

import pathweave as pw
from pathweave.net.accuracy import accuracy_rank
from pathweave.net.format import Format
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.runtime import catalogue
from pathweave.runtime.conversions import adapt_candidates
from pathweave.runtime.defaults import usual_route
from pathweave.runtime.devices import cpu_info
from pathweave.runtime.estimated import estimated
from pathweave.runtime.estimates import Estimator
from pathweave.runtime.limits import Limits
from pathweave.runtime.rates import fixed
from pathweave.testing.conformance import subjects

#: Kinds whose time is that of products.
PRODUCTS = {"conv2", "dense", "matmul", "depthwise_conv2", "conv_transpose2", "conv_integer", "matmul_integer"}


@pytest.fixture
def avx2() -> None:
    """Skips where micro-kernels of AVX2 are not used."""
    if "avx2" not in cpu_info()["used"]:
        pytest.skip("the processor or PATHWEAVE_ISA stops below AVX2, of whose micro-kernels this test asks")


def limits_with(i8: float, tiers: dict[str, float] | None = None) -> Limits:
    """The machine that is made up, with so many operations on bytes per nanosecond and thread; of some tiers others."""
    limits = made_up_limits()
    measured = {}
    for n, m in limits.measured.items():
        rates = {"peak_i8__x": i8, **{f"peak_i8__{tier}": rate for tier, rate in (tiers or {}).items()}}
        peaks = {name: {"dtype": "i8", "per_second": n * rate * 1e9} for name, rate in rates.items()}
        measured[n] = {**m, "peaks": {**m["peaks"], **peaks}}
    return Limits(limits.host, limits.caches, measured)


def calibrated(channels: int = 64, size: int = 28) -> pw.Model:
    """Three convolutions, of which the last is 1x1, with scales of all values."""
    b = Builder()
    x = b.node("Relu", b.node("Conv", "x", b.weight(channels, 3, 3, 3), b.weight(channels), pads=[1] * 4))
    x = b.node("Relu", b.node("Conv", x, b.weight(channels, channels, 3, 3), b.weight(channels), pads=[1] * 4))
    b.node("Conv", x, b.weight(channels, channels, 1, 1), b.weight(channels), outputs=["y"])
    model = pw.load(b.model({"x": [1, 3, size, size]}, ["y"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.calibrate([{"x": np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)}])


def forms_of(route: pw.Route) -> set[str]:
    """Element types that a route's layers read and write."""
    return {form.dtype for c in route.layers.values() for form in (*c.ins, *c.outs)}


def test_products_of_every_element_type_say_what_they_do():
    silent, seen = set(), set()
    for subject in subjects():
        asked = subject.make(2)
        if asked.kind not in PRODUCTS or asked.text in seen:
            continue
        seen.add(asked.text)
        for c in catalogue.candidates(asked, accuracy="quantised")[0]:
            narrow = c.routine.split(":")[1] in ("u8", "qint8", "bf16", "f16", "bf16x2", "bf16x3") or "integer" in asked.kind
            if not narrow or c.reference or c.device != "cpu" or "naive" in c.algorithm:
                continue
            if not c.estimate or c.estimate[1] <= 0 and c.estimate[2] <= 0:
                silent.add(c.routine)
                continue
            operations, work, share, constants, pieces, phases, _, moved = c.estimate
            assert all(map(math.isfinite, (operations, work, share, constants, pieces))), (asked.text, c)
            assert phases >= 1 and all(size >= 0 and room >= 0 for size, room in moved), (asked.text, c)
    assert not silent


def test_routines_on_bytes_are_taken_where_their_unit_is_fast_and_nowhere_else(avx2):
    bound = calibrated().bind()
    for rate, wanted in ((400.0, True), (1.0, False)):
        with fixed(limits_with(rate)):
            route = usual_route(bound, 2, "quantised")
        assert ("u8" in forms_of(route)) == wanted, (rate, route.layers)


def test_conversions_to_bytes_weigh(avx2):
    """Between layers on bytes there is none; each costs by the size of its value."""
    with fixed(limits_with(400.0)):
        found = estimated(calibrated().bind(), 2, "quantised")
    assert found is not None and len(found.conversions) <= 2
    priced = Estimator(limits_with(400.0), 2)
    x = TensorSpec("f32", (1, 64, 28, 28))
    for source, target in (("f32:nhwc:cpu", "u8:nhwc:cpu"), ("u8:nhwc:cpu", "f32:nhwc:cpu"), ("f32:nhwc:cpu", "bf16:nhwc:cpu")):
        large, small = (min(priced.price(c) for c in adapt_candidates(spec, Format.parse(source), Format.parse(target), 2))
                        for spec in (x, replace(x, shape=(1, 64, 7, 7))))
        assert large > small > 0


@pytest.mark.parametrize("accuracy", ["strict", "f32", "reduced", "quantised"])
def test_no_route_is_less_accurate_than_its_class(accuracy, avx2):
    bound = calibrated().bind()
    route = usual_route(bound, 2, accuracy)
    assert route.notes["estimated_ns"] > 0
    for layer, choice in zip(bound.layers, route.layers.values()):
        card = catalogue.find(bound.problems(2)[bound.index[layer.name]], choice.routine, choice.variant)
        assert isinstance(card, catalogue.Candidate) and accuracy_rank(card.accuracy) <= accuracy_rank(accuracy)
    narrow = {"strict": set(), "f32": {"bf16x2"}, "reduced": {"bf16x2", "bf16", "f16"}}
    assert accuracy == "quantised" or forms_of(route) - {"f32"} <= narrow[accuracy]


@pytest.mark.parametrize("accuracy", ["reduced", "quantised"])
def test_the_routines_of_lower_classes_are_the_same_for_every_number_of_threads(accuracy):
    bound = calibrated().bind()
    routes = [usual_route(bound, threads, accuracy) for threads in (1, 2, 3, 8)]
    chosen = [{name: (c.routine, c.ins, c.outs) for name, c in route.layers.items()} for route in routes]
    assert all(one == chosen[0] for one in chosen)


def test_weights_of_two_bytes_are_read_sooner_than_of_four(avx2):
    """A row against weights that lie in memory: bytes decide, whatever the unit."""
    asked = Problem.make("dense", [TensorSpec("f32", (1, 4096)), TensorSpec("f32", (4096, 4096))], [False, True],
                         [TensorSpec("f32", (1, 4096))], {}, threads=2)
    estimator = Estimator(made_up_limits(), 2, 4096.0 * 4096 * 4)
    prices = {c.routine: estimator.price(c) for c in catalogue.candidates(asked, accuracy="reduced")[0]}
    assert prices["dense/gemv_in_f32:bf16:plain:cpu"] < 0.7 * prices["dense/gemv:f32:plain:cpu"]


def test_rows_that_find_their_own_scales_take_less_where_bytes_are_fast(avx2):
    asked = Problem.make("dense", [TensorSpec("f32", (256, 1024)), TensorSpec("f32", (1024, 1024))], [False, True],
                         [TensorSpec("f32", (256, 1024))], {}, threads=2)
    found = catalogue.candidates(asked, accuracy="quantised")[0]
    for rate, wanted in ((400.0, True), (20.0, False)):
        estimator = Estimator(limits_with(rate), 2)
        best = min((c for c in found if ":u8:" not in c.routine), key=estimator.price)
        assert ("dynamic" in best.algorithm) == wanted, (rate, best)


def test_a_micro_kernel_goes_by_the_peak_of_its_own_tier(avx2):
    asked = Problem.make("dense", [TensorSpec("f32", (256, 1024)), TensorSpec("f32", (1024, 1024))], [False, True],
                         [TensorSpec("f32", (256, 1024))], {}, threads=2)
    gemm = next(c for c in catalogue.candidates(asked, accuracy="quantised")[0] if c.routine == "dense/gemm:u8:plain:cpu")
    tier = gemm.own_variant.partition("__")[2].partition("/")[0].partition("+")[0]
    own, other = (Estimator(limits_with(400.0, {name: 100.0}), 2).price(gemm) for name in (tier, "another"))
    assert own > 2 * other


def test_nets_of_integers_go_by_estimates():
    b = Builder()
    constants = {"scale": np.float32(0.02), "zero": np.uint8(128),
                 "w": np.random.default_rng(0).integers(-100, 100, (32, 16, 3, 3)).astype(np.int8)}
    b.weights += [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    y = b.node("ConvInteger", b.node("QuantizeLinear", "x", "scale", "zero"), "w", "zero", pads=[1] * 4)
    b.node("Cast", y, to=1, outputs=["y"])
    bound = pw.load(b.model({"x": [1, 16, 14, 14]}, ["y"])).bind()
    assert any(layer.kind == "conv_integer" for layer in bound.layers)
    assert usual_route(bound, 2).notes["estimated_ns"] > 0
