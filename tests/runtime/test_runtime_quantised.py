"""Calibration, scales of values, and plans that hold values as 8-bit integers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runtime_nets import Builder, convolutions

import pathweave as pw
from pathweave.errors import DTypeError, InputError, RouteError
from pathweave.meaning.evaluate import evaluate
from pathweave.net.format import Format
from pathweave.net.net import Net
from pathweave.net.scales import LEAST_SCALE, Scale
from pathweave.runtime import calibrate as calibration
from pathweave.runtime import catalogue
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.defaults import default_choices, default_route
from pathweave.runtime.descriptor import Restriction
from pathweave.runtime.plan import build_plan

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, 16, 16)).astype(np.float32)


def values_of(bound: BoundNet) -> list[str]:
    names = [*bound.inputs, *(v for layer in bound.layers for v in layer.outputs)]
    return [v for v in names if bound.spec(v).dtype == "f32"]


def in_numpy(bound: BoundNet, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every value of a net by the NumPy meanings in float64."""
    net = bound.net
    every = Net(net.inputs, [v for layer in net.layers for v in layer.outputs], net.layers, net.constants)
    return {"x": x, **evaluate(every, {"x": x}, "f64")}


def quantised_route(model, shapes=None, words="qint8"):
    bound = model.bind(shapes)
    return default_route(bound, 1, "quantised", Restriction(words))


@pytest.fixture
def calibrated(classifier):
    return classifier.calibrate(images(6))


# ---- scales ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("low, high", [(0, 1), (-1, 0), (-3, 7), (2, 5), (-9, -4), (-1e-3, 2e4), (-5e-30, 1e-30)])
def test_a_range_is_covered_and_zero_is_exact(low, high):
    scale = Scale.of_range(low, high)
    least, largest = scale.range
    step = scale.scale
    assert 0 <= scale.zero_point <= 255 and step >= LEAST_SCALE and np.float32(step) == step
    assert least <= min(low, 0) + step / 2 * 1.001 and largest >= max(high, 0) - step / 2 * 1.001
    if max(high, 0) - min(low, 0) > 1e-20:
        assert step == pytest.approx((max(high, 0) - min(low, 0)) / 255, rel=1e-6)


def test_ranges_without_a_scale():
    assert Scale.of_range(0, 0) == Scale(1.0, 0)
    assert Scale.of_range(-np.inf, 1) is None and Scale.of_range(0, np.nan) is None
    assert Scale.of_range(0, 1e38) is None


# ---- calibration ----------------------------------------------------------------------------------------------------

def test_every_value_gets_the_range_of_the_samples(classifier):
    samples = images(5)
    assert classifier.calibrate(samples) is classifier
    bound = classifier.bind()
    assert set(bound.scales) == set(values_of(bound))
    seen = [in_numpy(bound, x[None]) for x in samples]
    shared = {layer.outputs[0] for layer in bound.layers if layer.kind == "max_pool2"} | \
        {layer.inputs[0] for layer in bound.layers if layer.kind == "max_pool2"}
    for value, scale in bound.scales.items():
        if value not in shared:
            low, high = min(s[value].min() for s in seen), max(s[value].max() for s in seen)
            expected = Scale.of_range(low, high)
            assert scale.scale == pytest.approx(expected.scale, rel=1e-4), value
            assert abs(scale.zero_point - expected.zero_point) <= 1


def test_groups_give_the_same_scales(classifier, monkeypatch):
    whole = dict(classifier.calibrate(images(2)).quantisation["main"])
    monkeypatch.setattr(calibration, "GROUP_BYTES", 1)  # every value has a plan of its own
    made = []
    monkeypatch.setattr(calibration.BoundNet, "up_to", lambda self, values, part=calibration.BoundNet.up_to:
                        made.append(values) or part(self, values))
    again = classifier.calibrate(images(2)).quantisation["main"]
    assert len(made) == len(whole) - 1 and all(len(v) == 1 for v in made)
    for value, scale in whole.items():  # other plans may take other routines
        assert again[value].scale == pytest.approx(scale.scale, rel=1e-4)


def test_samples_in_every_form(classifier):
    x = images(3)
    expected = dict(classifier.calibrate(x).quantisation["main"])
    for samples in (list(x), [a[None] for a in x], ({"x": a} for a in x), [x[:1], x[1:2], x[2]]):
        assert classifier.calibrate(samples).quantisation["main"] == expected
    batched = classifier.calibrate([x]).quantisation["main"]  # one sample of three images
    assert all(batched[v].scale == pytest.approx(s.scale, rel=1e-4) for v, s in expected.items())


def test_progress_and_samples_of_several_shapes(classifier):
    said = []
    x = images(4)
    classifier.calibrate([x[:1], x[1:3], x[3:]], progress=lambda share, text: said.append((share, text)))
    assert [s for s, _ in said] == [0, 1 / 3, 2 / 3] and said[1][1] == "sample 2 of 3"
    assert classifier.bind({"x": (4, 3, 16, 16)}).scales


@pytest.mark.parametrize("samples, error, words", [
    ([], InputError, "at least one sample, got none"),
    ([np.zeros((3, 16, 16), np.float64)], DTypeError, r"samples\[0\], input 'x': expected element type float32"),
    ([np.zeros((3, 16, 16), np.float32), np.zeros((4, 16, 16), np.float32)], InputError, r"samples\[1\]: input 'x'"),
    ([np.full((3, 16, 16), np.nan, np.float32)], InputError, r"samples\[0\], input 'x': expected finite"),
    ([np.zeros(5, np.float32)], InputError, r"samples\[0\]: input 'x': expected rank 4"),
    ([{"y": np.zeros((3, 16, 16), np.float32)}], InputError, r"samples\[0\]: 'x' missing and 'y' unknown; expected"),
    ([["not an array"]], InputError, r"samples\[0\], input 'x'"),
    (["cat.png"], InputError, r"samples\[0\]: an image needs a preprocess net"),
    ("cat.png", InputError, "an iterable of samples, got str; read a file of arrays with numpy.load"),
    ({"x": np.zeros((3, 16, 16), np.float32)}, InputError, "got dict; put a single one into a list"),
    (np.load(DIGITS / "heldout.npz"), InputError, r"got NpzFile; give one of its arrays by name \(images, labels\)"),
    (7, InputError, "an iterable of samples, got int")])
def test_wrong_samples_change_nothing(calibrated, samples, error, words):
    before = dict(calibrated.quantisation["main"])
    with pytest.raises(error, match=words):
        calibrated.calibrate(samples)
    assert calibrated.quantisation["main"] == before == calibrated.bind().scales


def test_images_go_through_the_preprocess_net():
    pytest.importorskip("PIL")
    model = pw.load(DIGITS / "digits.onnx", preprocess=[
        {"type": "source", "shape": [1, 1, 8, 8], "format": "gray", "resize_mode": "nearest"},
        {"type": "madd", "scale": 1 / 255, "shift": 0.0}, {"type": "sink", "name": "x"}])
    model.calibrate(sorted((DIGITS / "images").glob("*.png")))
    assert model.quantisation["main"]["x"].range == pytest.approx((0, 1), abs=0.01)


# ---- values that share a scale --------------------------------------------------------------------------------------

def moving(private: bool = True) -> bytes:
    """Concatenation, max pooling and a reshape; a relu of its own behind them."""
    b = Builder(5)
    left = b.node("Conv", "x", b.weight(16, 3, 1, 1, scale=3.0), b.weight(16), outputs=["left"])
    right = b.node("AveragePool", "x", kernel_shape=[1, 1], outputs=["right"])
    y = b.node("Concat", left, right, axis=1, outputs=["joined"])
    y = b.node("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2], outputs=["pooled"])
    y = b.node("HardSwish", y, outputs=["swished"])
    y = b.node("Sub", y, b.weight(1), outputs=["negative"])
    relu = b.node("Relu", y, outputs=["cut"])
    return b.model({"x": [1, 3, 16, 16]}, [relu] if private else [relu, "negative"])


def test_layers_that_move_elements_share_a_scale():
    model = pw.load(moving()).calibrate(images(3))
    scales, bound = model.quantisation["main"], model.bind()
    assert scales["left"] == scales["joined"] == scales["pooled"] != scales["x"]
    everything = [in_numpy(bound, x[None]) for x in images(3)]
    joined = np.concatenate([v["joined"].ravel() for v in everything])
    assert scales["joined"].scale == pytest.approx((joined.max() - joined.min()) / 255, rel=1e-4)


@pytest.mark.parametrize("private", [True, False])
def test_a_relu_gives_its_range_to_an_input_that_only_it_uses(private):
    model = pw.load(moving(private)).calibrate(images(3))
    scales = model.quantisation["main"]
    if "negative" not in scales:
        pytest.fail(f"the passes fused the subtraction: {list(scales)}")
    assert scales["cut"].zero_point == 0
    assert (scales["negative"] == scales["cut"]) is private


def test_a_value_that_is_not_finite_has_no_scale():
    b = Builder()
    b.node("Mul", b.node("Exp", "x", outputs=["large"]), "x",
           outputs=["y"])
    model = pw.load(b.model({"x": [1, 4]}, ["y"]))
    scales = model.calibrate(np.full((1, 4), 200, np.float32)).quantisation["main"]
    assert "x" in scales and "large" not in scales and "y" not in scales


# ---- files ----------------------------------------------------------------------------------------------------------

def test_scales_are_saved(calibrated, tmp_path):
    calibrated.save(tmp_path / "m.pw")
    again = pw.load(tmp_path / "m.pw")
    assert again.quantisation == calibrated.quantisation
    for shape in ((1, 3, 16, 16), (5, 3, 16, 16)):
        bound = again.bind({"x": shape})
        assert set(bound.scales) == set(values_of(bound))


def test_a_model_without_scales_is_saved_as_before(classifier, tmp_path):
    classifier.save(tmp_path / "m.pw")
    assert b"quantisation" not in (tmp_path / "m.pw").read_bytes() and not pw.load(tmp_path / "m.pw").quantisation


# ---- candidates -----------------------------------------------------------------------------------------------------

def test_without_a_scale_a_quantised_routine_is_refused(classifier):
    bound = classifier.bind()
    found, refusals = bound.candidates(0, 1, accuracy="quantised")
    assert not any(f.dtype == "u8" for c in found for f in (*c.ins, *c.outs))
    reasons = {r.reason for r in refusals if ":u8:" in r.routine}
    assert "value 'x' has no scale: calibrate the model first (model.calibrate(samples), or --calibrate)" in reasons


def test_with_scales_they_stand_side_by_side(calibrated):
    bound = calibrated.bind()
    found, _ = bound.candidates(0, 1, accuracy="quantised")
    assert {f.dtype for c in found for f in c.ins} - {"bf16", "f16", "bf16x2"} == {"f32", "u8"}  # where there is such a unit
    assert {c.accuracy for c in found if c.ins[0].dtype == "u8"} == {"quantised"}
    assert {c.accuracy for c in found if c.ins[0].dtype == "f32"} >= {"strict"}
    only, _ = bound.candidates(0, 1)
    assert {f.dtype for c in only for f in (*c.ins, *c.outs)} - {"bf16x2"} == {"f32"}


def test_no_epilogue_of_its_own_follows_integers(calibrated):
    bound = calibrated.bind()
    for problem in bound.problems(1):
        for c in catalogue.candidates(problem, accuracy="quantised", include_reference=True)[0]:
            assert not c.steps or c.outs[0].dtype == "f32"


def test_the_default_route_stays_in_f32(calibrated):
    route = default_route(calibrated.bind(), 1, "quantised")
    assert {f.dtype for c in route.layers.values() for f in (*c.ins, *c.outs)} == {"f32"}


# ---- plans ----------------------------------------------------------------------------------------------------------

def test_a_quantised_plan_is_near_the_float_one(calibrated):
    x = images(6)
    route = quantised_route(calibrated, {"x": x.shape})
    assert any(f.dtype == "u8" for c in route.layers.values() for f in c.ins)
    plan = calibrated.plan(route, {"x": x.shape}, 1)
    got, exact = plan.session()(x), evaluate(calibrated.main, {"x": x}, "f64")["y"]
    error = np.sqrt(np.mean((got - exact) ** 2) / np.mean(exact ** 2))
    assert 0 < error < 0.05


def test_threads_do_not_change_the_result(calibrated):
    x = images(6)
    route = quantised_route(calibrated, {"x": x.shape})
    one, two = (calibrated.plan(route, {"x": x.shape}, n).session()(x) for n in (1, 2))
    assert np.array_equal(one, two)


def test_integers_take_a_quarter_of_the_memory(calibrated):
    shapes = {"x": (8, 3, 16, 16)}
    plain = calibrated.plan(default_route(calibrated.bind(shapes), 1), shapes, 1)
    small = calibrated.plan(quantised_route(calibrated, shapes), shapes, 1)
    assert small.unshared_bytes < plain.unshared_bytes


def test_equal_shapes_with_different_scales_are_converted_apart():
    """One adapt problem, two values: the kernel depends on the scale."""
    b = Builder()
    b.node("Add", "a", "b", outputs=["sum"])
    model = pw.load(b.model({"a": [2, 40], "b": [2, 40]}, ["sum"]))
    rng = np.random.default_rng(1)
    a, c = (rng.uniform(-s, s, (2, 40)).astype(np.float32) for s in (1, 100))
    model.calibrate([{"a": a, "b": c}])
    bound = model.bind()
    found = [k for k in bound.candidates(0, 1, accuracy="quantised")[0] if {f.dtype for f in k.ins} == {"u8"}]
    assert found, "no routine adds integers"
    plan = build_plan(bound, {bound.layers[0].name: found[0]}, [], 1)
    got = plan.session().run({"a": a, "b": c})["sum"]
    steps = [bound.scales[v].scale for v in ("a", "b", "sum")]
    assert np.abs(got - (a + c)).max() <= 0.51 * sum(steps)


def test_a_plan_refuses_integers_without_a_scale(calibrated, classifier):
    bound = calibrated.bind()
    choices = default_choices(bound, 1, "quantised", Restriction("qint8"))
    with pytest.raises(RouteError, match="has no scale: calibrate the model first"):
        build_plan(BoundNet(replace(bound.net, scales={})), choices, [], 1)
    form = Format("u8", "nhwc")
    bare = BoundNet(replace(bound.net, scales={}))
    with pytest.raises(RouteError, match="has no scale"):
        from pathweave.net.problem import adapt_problem
        from pathweave.net.route import Conversion
        from pathweave.runtime.builder import Builder
        from pathweave.runtime.prepare import KernelCache
        c = catalogue.candidates(adapt_problem(bare.spec("x"), Format("f32", "nchw"), form, 1), accuracy="quantised")[0][0]
        builder = Builder(bare, {}, [], 1, KernelCache(bare))
        builder.where["x"] = {Format("f32", "nchw"): 0}
        builder._adapt("x", Conversion("x", Format("f32", "nchw"), form, c.routine, c.version, c.variant))


def test_a_quantised_route_without_scales_falls_back(calibrated, tmp_path):
    route = quantised_route(calibrated)
    bare = pw.load(convolutions())
    with pytest.warns(pw.RouteWarning, match="has no scale"):
        plan = bare.plan(route, None, 1)
    assert {f.dtype for s in plan.steps for f in (*s.ins, *s.outs)} == {"f32"}


def test_a_quantised_route_is_saved_and_runs_again(calibrated, tmp_path):
    calibrated.add_route(quantised_route(calibrated))
    x = images(1)
    calibrated.save(tmp_path / "m.pw")
    again = pw.load(tmp_path / "m.pw", threads=1)
    plan = again.plan()
    assert any(f.dtype == "u8" for s in plan.steps for f in s.ins)
    assert np.array_equal(plan.session()(x), calibrated.plan(None, None, 1).session()(x))


def test_calibrating_again_renews_kept_plans(calibrated):
    calibrated.add_route(quantised_route(calibrated))
    x = images(1)
    before = calibrated(x)
    calibrated.calibrate(images(6) * 50)  # coarse steps for what x holds
    after = calibrated(x)
    exact = evaluate(calibrated.main, {"x": x}, "f64")["y"]
    assert np.abs(after - exact).max() > np.abs(before - exact).max()


# ---- a trained network ----------------------------------------------------------------------------------------------

def test_digits_are_told_apart_as_well_as_in_f32():
    data = np.load(DIGITS / "heldout.npz")
    samples, rest, labels = data["images"][:60], data["images"][60:], data["labels"][60:]
    model = pw.load(DIGITS / "digits.onnx", threads=1).calibrate(samples)
    shapes = {"x": rest.shape}
    route = quantised_route(model, shapes)
    integers = [c.routine for c in route.layers.values() if ":u8:" in c.routine]
    assert len(integers) >= 6, route.layers
    right = (model.plan(route, shapes, 1).session()(rest).argmax(1) == labels).mean()
    plain = (model(rest).argmax(1) == labels).mean()
    assert plain > 0.98 and right >= plain - 0.01
