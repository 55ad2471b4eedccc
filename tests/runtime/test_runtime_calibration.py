"""One scale for numbers of very different sizes: what stays in float, what keeps scales of its own, what is said.

The reference is the net's meaning in float64; integers run wherever a routine for them is offered.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from runtime_nets import Builder, convolutions, mobile

import pathweave as pw
from pathweave.meaning.evaluate import evaluate
from pathweave.runtime.defaults import default_route
from pathweave.runtime.descriptor import Restriction

SMALL, LARGE = 0.9, 640.0


def samples(count: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)


class Net(Builder):
    """A stem, and heads of it whose numbers have a size."""

    def __init__(self, seed: int = 0):
        super().__init__(seed)
        self.stem = self.node("Relu", self.node("Conv", "x", self.weight(16, 3, 3, 3), self.weight(16), pads=[1] * 4))

    def constant(self, array) -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def head(self, name: str, channels: int, size: float) -> str:
        y = self.node("Sigmoid", self.node("Conv", self.stem, self.weight(channels, 16, 1, 1), self.weight(channels)))
        return self.node("Mul", y, self.constant(np.float32([size])), outputs=[name])

    def load(self, *outputs: str):
        return pw.load(self.model({"x": [1, 3, 8, 8]}, list(outputs)), threads=1)


def calibrated(model, data=None):
    """The model, calibrated, without its warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.CalibrationWarning)
        return model.calibrate(samples() if data is None else data)


def in_integers(model, x: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Outputs with every layer in 8 bits that can be, and in float64."""
    route = default_route(model.bind(), 1, "quantised", Restriction("qint8"))
    assert any(f.dtype == "u8" for c in route.layers.values() for f in (*c.ins, *c.outs)), "nothing runs in integers"
    return model.plan(route, None, 1).session().run(x), evaluate(model.main, {"x": x}, "f64")


def error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(got - wanted)) / np.mean(np.square(wanted))))


# ---- parts side by side ---------------------------------------------------------------------------------------------

def join_concat(net: Net, large: str, small: str) -> str:
    return net.node("Concat", large, small, axis=1)


def join_stack(net: Net, large: str, small: str) -> str:
    """Stacked by a new axis and a reshape, as exporters write it."""
    shape, axes = net.constant(np.int64([1, 8, 8, 8])), net.constant(np.int64([1]))
    parts = [net.node("Unsqueeze", v, axes) for v in (large, small)]
    return net.node("Reshape", net.node("Concat", *parts, axis=1), shape)


def join_where(net: Net, large: str, small: str) -> str:
    condition = net.constant((np.arange(8) % 2 > 0).reshape(1, 1, 1, 8))
    return net.node("Where", condition, large, small)


def join_transposed(net: Net, large: str, small: str) -> str:
    """What only moves a joined value stays in float with it."""
    y = net.node("Transpose", net.node("Concat", large, small, axis=1), perm=[0, 2, 3, 1])
    return net.node("Slice", y, net.constant(np.int64([0])), net.constant(np.int64([8])), net.constant(np.int64([3])))


@pytest.mark.parametrize("join", [join_concat, join_stack, join_where, join_transposed])
def test_parts_of_different_ranges_keep_their_numbers(join):
    """Finding 14: boxes from 0 to 640 beside scores from 0 to 1."""
    net = Net()
    joined = join(net, net.head("boxes", 4, LARGE), net.head("scores", 4, SMALL))
    net.node("Identity", joined, outputs=["y"])
    model = calibrated(net.load("y"))
    scales = model.quantisation["main"]
    assert scales["boxes"].range[1] > 100 and scales["scores"].range[1] < 2 and "y" not in scales
    got, wanted = in_integers(model, samples(1, 9))
    small = np.abs(wanted["y"]) <= SMALL
    assert 0.2 < small.mean() < 0.8
    assert error(got["y"][small], wanted["y"][small]) < 0.03 and error(got["y"][~small], wanted["y"][~small]) < 0.03
    assert any("stays in float" in note and "times as wide" in note for note in model.notes), model.notes


def test_ranges_that_are_alike_still_share():
    net = Net()
    net.node("Concat", net.head("a", 4, SMALL), net.head("b", 4, 3.0), axis=1, outputs=["y"])
    scales = calibrated(net.load("y")).quantisation["main"]
    assert scales["a"] == scales["b"] == scales["y"]


def test_the_value_of_a_pad_does_not_cost_the_image_its_scale():
    net = Net()
    net.head("a", 4, SMALL)
    net.node("Pad", "a", net.constant(np.int64([0, 0, 1, 1] * 2)), net.constant(np.float32(-1e9)), outputs=["y"])
    model = calibrated(net.load("y"))
    assert model.quantisation["main"]["a"].range[1] < 2 and "y" not in model.quantisation["main"]
    got, wanted = in_integers(model, samples(1, 9))
    inner = (..., slice(1, -1), slice(1, -1))
    assert error(got["y"][inner], wanted["y"][inner]) < 0.03


def test_an_infinite_pad_does_not_cost_the_image_its_scale():
    net = Net()
    net.head("a", 4, SMALL)
    net.node("Pad", "a", net.constant(np.int64([0, 0, 1, 1] * 2)), net.constant(np.float32(-np.inf)), outputs=["y"])
    model = calibrated(net.load("y"))
    assert "a" in model.quantisation["main"] and "y" not in model.quantisation["main"]


@pytest.mark.parametrize("op", ["Add", "Sub"])
def test_a_mask_that_is_added_does_not_wipe_out_what_it_masks(op):
    """As attention does it: 0 or -1e9, and then softmax."""
    net = Net()
    mask = net.constant(np.where(np.arange(8) < 5, 0, -1e9 if op == "Add" else 1e9).astype(np.float32))
    masked = net.node(op, net.head("a", 4, 8.0), mask, outputs=["masked"])
    net.node("Softmax", masked, axis=-1, outputs=["y"])
    model = calibrated(net.load("y"))
    assert "masked" not in model.quantisation["main"]
    got, wanted = in_integers(model, samples(1, 9))
    assert error(got["y"], wanted["y"]) < 0.1


def test_terms_of_which_none_vanishes_have_a_scale():
    net = Net()
    net.node("Add", net.head("a", 4, SMALL), net.head("b", 4, 100.0), outputs=["y"])
    assert "y" in calibrated(net.load("y")).quantisation["main"]


def test_a_narrow_slice_has_a_scale_of_its_own():
    net = Net()
    factor = net.constant(np.float32([LARGE] * 4 + [SMALL] * 4).reshape(1, 8, 1, 1))
    both = net.node("Mul", net.head("a", 8, SMALL), factor, outputs=["both"])
    net.node("Split", both, outputs=["wide", "narrow"], axis=1)
    scales = calibrated(net.load("wide", "narrow")).quantisation["main"]
    assert scales["wide"] == scales["both"] and scales["narrow"].range[1] < 2


# ---- outputs of the net ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("axis", ["second", "last"])
def test_an_output_with_channels_of_different_sizes_stays_in_float(axis):
    """What makes it is no concatenation."""
    net = Net()
    factor = net.constant(np.float32([LARGE] * 4 + [SMALL] * 4).reshape(1, 8, 1, 1))
    y = net.node("Mul", net.head("a", 8, SMALL), factor, outputs=["both"])
    if axis == "last":
        y = net.node("Transpose", net.node("Reshape", y, net.constant(np.int64([1, 8, 64]))), perm=[0, 2, 1])
    net.node("Identity", y, outputs=["y"])
    model = calibrated(net.load("y"))
    assert "y" not in model.quantisation["main"] and "both" not in model.quantisation["main"]
    assert any("channel" in note and "stays in float" in note for note in model.notes)
    got, wanted = in_integers(model, samples(1, 9))
    small = (slice(None), slice(4, None)) if axis == "second" else (..., slice(4, None))
    assert error(got["y"][small], wanted["y"][small]) < 0.03


def test_probabilities_keep_their_scale():
    """A class that no sample shows has tiny numbers; shares of 1 are one thing, and no channel of them is lost."""
    b = Builder()
    bias = numpy_helper.from_array(np.float32([0, 0, 0, -20]), "bias")
    b.weights.append(bias)
    b.node("Softmax", b.node("Gemm", b.node("Flatten", "x"), b.weight(4, 192), "bias", transB=1), axis=1, outputs=["y"])
    model = pw.load(b.model({"x": [1, 3, 8, 8]}, ["y"]), threads=1).calibrate(samples())
    assert "y" in model.quantisation["main"] and not model.notes


# ---- warnings -------------------------------------------------------------------------------------------------------

def spread(factor: float):
    """Finding 15: one channel in the middle has numbers `factor` times as large as the others, which count as much."""
    b = Builder(3)
    first = b.rng.standard_normal((16, 3, 1, 1)).astype(np.float32)
    first[0] *= factor
    second = b.rng.standard_normal((8, 16, 1, 1)).astype(np.float32)
    second[:, 0] /= factor
    b.weights += [numpy_helper.from_array(first, "first"), numpy_helper.from_array(second, "second")]
    y = b.node("Relu", b.node("Conv", "x", "first"), outputs=["middle"])
    b.node("Conv", y, "second", outputs=["y"])
    return pw.load(b.model({"x": [1, 3, 8, 8]}, ["y"]), threads=1)


def told(model) -> float:
    """The relative error that a note says to expect of output y."""
    (note,) = [n for n in model.notes if "relative error of 'y'" in n]
    return float(note.split("'y' ")[1].split()[0])


def test_channels_whose_ranges_differ_by_a_thousand_are_named():
    model = spread(1000)
    with pytest.warns(pw.CalibrationWarning) as warned:
        model.calibrate(samples())
    assert [str(w.message) for w in warned] == model.notes
    assert any("'middle'" in n and "15 channels of axis 1" in n for n in model.notes), model.notes
    got, wanted = in_integers(model, samples(1))
    assert told(model) >= 0.5 * error(got["y"], wanted["y"]) > 0.1


def test_an_outlier_among_the_samples_is_named():
    data = samples(8)
    data[5] *= 1000
    model = spread(1)
    with pytest.warns(pw.CalibrationWarning, match="leave outliers among the samples out"):
        model.calibrate(data)
    assert any("'x'" in n for n in model.notes)
    got, wanted = in_integers(model, data[:1])
    assert told(model) >= 0.5 * error(got["y"], wanted["y"]) > 0.1


@pytest.mark.parametrize("make", [convolutions, mobile, lambda: None])
def test_nets_that_bear_it_are_left_alone(make):
    """No warning, and a scale for every value."""
    model = spread(1) if make() is None else pw.load(make(), threads=1)
    side = 8 if make() is None else 16
    data = np.random.default_rng(0).standard_normal((6, 3, side, side)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.calibrate(data)
    bound = model.bind()
    assert not model.notes
    assert set(bound.scales) == {v for layer in bound.layers for v in layer.outputs} | {"x"}


def test_calibrating_again_renews_the_notes():
    model = spread(1)
    data = samples(8)
    data[5] *= 1000
    assert calibrated(model, data).notes and not calibrated(model, samples(8)).notes


def test_a_tuned_model_keeps_the_notes(tmp_path, monkeypatch):
    monkeypatch.setenv("PATHWEAVE_HOME", str(tmp_path))
    model = calibrated(spread(1000))
    tuned = pw.tune(model, accuracy="quantised", budget_s=0, threads=1, progress=False)
    assert tuned.notes == model.notes != []


def test_integers_among_the_outputs_are_no_matter():
    net = Net()
    net.node("ArgMax", net.head("a", 4, SMALL), axis=1, outputs=["best"])
    info = helper.make_tensor_value_info
    graph = helper.make_graph(net.nodes, "net", [info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
                              [info("best", TensorProto.INT64, None)], net.weights)
    model = pw.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)],
                                      ir_version=8).SerializeToString(), threads=1)
    assert "a" in calibrated(model).quantisation["main"]


@pytest.mark.parametrize("sizes", [(3, 8, 8), ("C", "H", "W")])
def test_a_sample_that_is_huge_ends_in_a_typed_error(sizes, monkeypatch):
    """One number that is repeated: its shape is looked at before its contents, which would not fit into memory."""
    net = pw.Net({"x": pw.TensorSpec("f32", ("N", *sizes))}, ["y"], [pw.Layer("relu", "relu", ("x",), ("y",))], {})
    model = pw.Model(pw.net.net.Model({"main": net}))
    huge = np.broadcast_to(np.float32(1), (1, 3, 8, 2**44))
    with pytest.raises((pw.errors.InputError, pw.errors.OutOfMemoryError), match=r"samples\[0\]"):
        model.calibrate([huge])
