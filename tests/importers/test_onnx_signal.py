"""Operators of signals: DFT, STFT, windows and mel weights of ONNX, against NumPy in float64 and onnx.reference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import pathweave
from pathweave.errors import Error


def _model(operator, shapes, constants=None, opset=20, dtype=T.FLOAT, **attributes):
    """One node; `shapes`: input -> shape; `constants`: input -> array; `order`: of them, "" for one that is absent."""
    constants = constants or {}
    names = attributes.pop("order", [*shapes, *constants])
    graph = helper.make_graph([helper.make_node(operator, names, ["y"], **attributes)], "g",
                              [helper.make_tensor_value_info(n, dtype, s) for n, s in shapes.items()],
                              [helper.make_empty_tensor_value_info("y")],
                              [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _run(model, **inputs):
    loaded = pathweave.load(model.SerializeToString())
    return loaded(inputs), loaded


def _device(loaded, **shapes):
    return {c.device for c in loaded.plan(shapes=shapes).choices.values()}


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("n", [1, 30, 97, 256])
def test_a_real_transform_of_open_batches_runs_natively(n, batch):
    model = _model("DFT", {"x": ["N", n, 1]}, {"axis": 1}, order=["x", "", "axis"], onesided=1)
    x = np.random.default_rng(0).standard_normal((batch, n, 1)).astype("f4")
    y, loaded = _run(model, x=x)
    expected = np.fft.rfft(x[..., 0].astype("f8"))
    np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], expected, atol=2e-7 * n)
    assert _device(loaded, x=(batch, n, 1)) == {"cpu"}


def test_the_axis_of_opset_17_is_an_attribute_with_a_default_of_its_own():
    x = np.random.default_rng(1).standard_normal((2, 6, 5, 2)).astype("f4")
    z = x[..., 0] + 1j * x[..., 1].astype("f8")
    for opset, axis, order in ((17, 1, ["x"]), (20, 2, ["x"])):
        y, _ = _run(_model("DFT", {"x": [2, 6, 5, 2]}, order=order, opset=opset), x=x)
        np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], np.fft.fft(z, axis=axis), atol=1e-5)


@pytest.mark.parametrize("length", [7, 12, 16])
def test_what_goes_and_comes_back_is_the_signal(length):
    x = np.random.default_rng(2).standard_normal((3, length, 1)).astype("f4")
    spectrum, _ = _run(_model("DFT", {"x": [3, length, 1]}, {"axis": 1}, order=["x", "", "axis"], onesided=1), x=x)
    back = _model("DFT", {"x": [3, length // 2 + 1, 2]}, {"n": length, "axis": 1}, order=["x", "n", "axis"], onesided=1,
                  inverse=1)
    y, _ = _run(back, x=spectrum)
    np.testing.assert_allclose(y, x, atol=1e-6)


@pytest.mark.parametrize("signal", [300, 517])
def test_a_transform_of_frames_with_a_window(signal):
    window = np.hanning(64).astype("f4")
    model = _model("STFT", {"x": ["N", "L", 1]}, {"step": np.int64(20), "w": window}, order=["x", "step", "w"])
    x = np.random.default_rng(3).standard_normal((2, signal, 1)).astype("f4")
    y, loaded = _run(model, x=x)
    frames = np.lib.stride_tricks.sliding_window_view(x[..., 0].astype("f8"), 64, 1)[:, ::20] * window
    expected = np.fft.rfft(frames)
    assert y.shape == (*expected.shape, 2)
    np.testing.assert_allclose(y[..., 0] + 1j * y[..., 1], expected, atol=1e-5)
    assert _device(loaded, x=(2, signal, 1)) == {"cpu"}


@pytest.mark.parametrize("operator", ["HannWindow", "HammingWindow", "BlackmanWindow"])
@pytest.mark.parametrize("dtype", [T.FLOAT, T.DOUBLE, T.FLOAT16])
def test_a_window_of_known_size_is_a_constant(operator, dtype):
    model = _model(operator, {}, {"size": np.int64(21)}, output_datatype=dtype, periodic=0)
    loaded = pathweave.load(model.SerializeToString())
    (y,) = loaded.run({}).values()
    (expected,) = ReferenceEvaluator(model).run(None, {})
    assert y.dtype == expected.dtype
    np.testing.assert_allclose(y, expected, atol=2e-3 if dtype == T.FLOAT16 else 1e-6)


@pytest.mark.parametrize("bands, length, rate", [(8, 16, 8192), (40, 400, 16000), (80, 512, 22050)])
def test_mel_weights(bands, length, rate):
    constants = {"a": np.int64(bands), "b": np.int64(length), "c": np.int64(rate), "d": np.float32(20),
                 "e": np.float32(rate / 2)}
    model = _model("MelWeightMatrix", {}, constants)
    (y,) = pathweave.load(model.SerializeToString()).run({}).values()
    np.testing.assert_allclose(y, ReferenceEvaluator(model).run(None, {})[0], atol=1e-6)


@pytest.mark.parametrize("shape, axis, attributes, words", [
    ([2, 8, 3], 1, {}, "expected 1 or 2"), ([2, 8, 2], 1, {"onesided": 1}, "expected 1 where onesided"),
    ([2, 8, 2], 2, {}, "in front of the last axis"), ([2, 8, 2], -4, {}, "in front of the last axis")])
def test_what_does_not_fit_is_refused(shape, axis, attributes, words):
    model = _model("DFT", {"x": shape}, {"axis": axis}, order=["x", "", "axis"], **attributes)
    with pytest.raises(Error, match=words):
        pathweave.load(model.SerializeToString())(np.zeros(shape, "f4"))
