"""Operators of com.microsoft that fuse others of ai.onnx, against ONNX Runtime; those without a kernel there against NumPy."""

from __future__ import annotations

from math import erf

import numpy as np
import pytest
from onnx import helper
from onnx_models import assert_same, build, check

from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import bind, optimise

RNG = np.random.default_rng(7)


def f(*shape):
    """Random float32 numbers."""
    return RNG.standard_normal(shape).astype(np.float32)


def node(op, inputs, outputs=("y",), domain="com.microsoft", **attrs):
    """One node; `inputs` and `outputs` are names, "" for what is left out."""
    return helper.make_node(op, list(inputs), list(outputs), domain=domain, **{k: v for k, v in attrs.items() if v != []})


X, SKIP = f(2, 5, 12), f(2, 5, 12)
GAMMA, BETA, BIAS = f(12), f(12), f(12)
IDS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]], np.int32)
SEGMENTS = np.array([[0, 0, 1, 1, 1], [0, 1, 1, 0, 0]], np.int32)
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
TABLES = {"word": f(11, 12), "place": f(8, 12), "segment": f(2, 12), "g": GAMMA, "b": BETA}
IMAGE, WEIGHTS = f(2, 6, 7, 9), f(8, 6, 3, 3)

CASES = {
    "skip": (node("SkipLayerNormalization", ["x", "s", "g", "b"]), {"x": X, "s": SKIP}, {"g": GAMMA, "b": BETA}, ["y"]),
    "skip sum": (node("SkipLayerNormalization", ["x", "s", "g", "b", "c"], ["y", "", "", "t"], epsilon=1e-3),
                 {"x": X, "s": SKIP}, {"g": GAMMA, "b": BETA, "c": BIAS}, ["y", "t"]),
    "skip without beta": (node("SkipLayerNormalization", ["x", "s", "g"]), {"x": X, "s": SKIP}, {"g": GAMMA}, ["y"]),
    "skip broadcast": (node("SkipLayerNormalization", ["x", "s", "g", "b"]), {"x": X, "s": SKIP[0]},
                       {"g": GAMMA, "b": BETA}, ["y"]),
    "skip rms": (node("SkipSimplifiedLayerNormalization", ["x", "s", "g"], ["y", "", "", "t"]), {"x": X, "s": SKIP},
                 {"g": GAMMA}, ["y", "t"]),
    "skip rms bias": (node("SkipSimplifiedLayerNormalization", ["x", "s", "g", "c"]), {"x": X, "s": SKIP},
                      {"g": GAMMA, "c": BIAS}, ["y"]),
    "rms": (node("SimplifiedLayerNormalization", ["x", "g"], ["y", "v"], domain="", axis=-1, epsilon=1e-4), {"x": X},
            {"g": GAMMA}, ["y", "v"]),
    "embed": (node("EmbedLayerNormalization", ["i", "s", "word", "place", "segment", "g", "b", "m"], ["y", "k"]),
              {"i": IDS, "s": SEGMENTS, "m": MASK}, TABLES, ["y", "k"]),
    "embed without segments": (node("EmbedLayerNormalization", ["i", "", "word", "place", "", "g", "b"], ["y", "k"]),
                               {"i": IDS}, {k: v for k, v in TABLES.items() if k != "segment"}, ["y", "k"]),
    "embed sum": (node("EmbedLayerNormalization", ["i", "s", "word", "place", "segment", "g", "b", "", "p"], ["y", "", "t"]),
                  {"i": IDS, "s": SEGMENTS, "p": np.array([[4, 3, 2, 1, 0]] * 2, np.int32)}, TABLES, ["y", "t"]),
    "gelu": (node("Gelu", ["x"]), {"x": X}, {}, ["y"]), "fast gelu": (node("FastGelu", ["x"]), {"x": X}, {}, ["y"]),
    "fast gelu bias": (node("FastGelu", ["x", "c"]), {"x": X}, {"c": BIAS}, ["y"]),
    "bias gelu": (node("BiasGelu", ["x", "c"]), {"x": X}, {"c": BIAS}, ["y"]),
    "quick gelu": (node("QuickGelu", ["x"]), {"x": X}, {}, ["y"]),
    "quick gelu 1": (node("QuickGelu", ["x"], alpha=1.0), {"x": X}, {}, ["y"]),
    **{f"matmul {a}{b}": (node("FusedMatMul", ["a", "b"], alpha=0.5, transA=a, transB=b),
                          {"a": f(*((2, 7, 4) if a else (2, 4, 7))), "b": f(*((2, 5, 7) if b else (2, 7, 5)))}, {}, ["y"])
       for a in (0, 1) for b in (0, 1)},
    "matmul batch": (node("FusedMatMul", ["a", "b"], transBatchA=1, transBatchB=1, transB=1),
                     {"a": f(4, 2, 3, 7), "b": f(5, 2, 3, 7)}, {}, ["y"]),
    "matmul batch turned": (node("FusedMatMul", ["a", "b"], transBatchA=1, transA=1), {"a": f(7, 2, 3, 4), "b": f(2, 3, 7, 5)},
                            {}, ["y"]),
    "matmul vector": (node("FusedMatMul", ["a", "b"], transA=1), {"a": f(7), "b": f(7, 5)}, {}, ["y"]),
    "gemm": (node("FusedGemm", ["a", "w", "c"], activation="LeakyRelu", activation_alpha=0.2, transB=1), {"a": f(3, 7)},
             {"w": f(12, 7), "c": BIAS}, ["y"]),
    "gemm relu": (node("FusedGemm", ["a", "w"], activation="Relu"), {"a": f(3, 7)}, {"w": f(7, 4)}, ["y"]),
    **{f"conv {name}": (node("FusedConv", ["x", "w"], activation=name, activation_params=p, pads=[1, 1, 1, 1]), {"x": IMAGE},
                        {"w": WEIGHTS}, ["y"]) for name, p in (
        ("Relu", []), ("LeakyRelu", [0.3]), ("Clip", [-0.5, 0.5]), ("HardSigmoid", [0.3, 0.4]), ("Tanh", []), ("Sigmoid", []))},
    "conv residual": (node("FusedConv", ["x", "w", "c", "z"], activation="Relu", strides=[2, 2]),
                      {"x": IMAGE, "z": f(2, 8, 3, 4)}, {"w": WEIGHTS, "c": f(8)}, ["y"]),
}

PLAIN = {
    "lp 1": (node("LpNormalization", ["x"], domain="", p=1, axis=1), {"x": X}, {}, ["y"]),
    "lp 2": (node("LpNormalization", ["x"], domain=""), {"x": X}, {}, ["y"]),
    "mean and variance": (node("MeanVarianceNormalization", ["x"], domain=""), {"x": IMAGE}, {}, ["y"]),
    "mean and variance of an axis": (node("MeanVarianceNormalization", ["x"], domain="", axes=[1]), {"x": IMAGE}, {}, ["y"]),
    "batch norm of values": (node("BatchNormalization", ["x", "s", "b", "m", "v"], domain="", epsilon=1e-3),
                             {"x": IMAGE, "s": f(6), "b": f(6), "m": f(6), "v": np.abs(f(6))}, {}, ["y"]),
}
CASES |= PLAIN


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("symbols", [False, True], ids=["fixed", "open"])
def test_operator_equals_onnx_runtime(name, symbols):
    op, inputs, constants, outputs = CASES[name]
    check([op], inputs, constants, outputs, symbols=symbols, tolerance=2e-5, domains=("com.microsoft",))


def _run(op, inputs, constants, outputs=("y",)):
    """Outputs of the imported and bound net by its meaning."""
    model = load(build([op], inputs, constants, outputs, domains=("com.microsoft",)))
    net = bind(optimise(model.main), {n: a.shape for n, a in inputs.items()})
    return evaluate(net, inputs)


def _group_norm(x, groups, gamma, beta, epsilon):
    n, c = x.shape[:2]
    wide = x.astype(np.float64).reshape(n, groups, -1)
    y = (wide - wide.mean(2, keepdims=True)) / np.sqrt(wide.var(2, keepdims=True) + epsilon)
    return y.reshape(x.shape) * gamma.reshape(c, 1, 1) + beta.reshape(c, 1, 1)


def _silu(x):
    return x / (1 + np.exp(-x))


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("activation", [0, 1])
def test_group_norm(last, activation):
    """ONNX Runtime has these on GPUs alone."""
    x, gamma, beta = f(2, 6, 3, 4), f(6), f(6)
    given = x.transpose(0, 2, 3, 1) if last else x
    found = _run(node("GroupNorm", ["x", "g", "b"], groups=3, activation=activation, channels_last=last, epsilon=1e-3),
                 {"x": given}, {"g": gamma, "b": beta})["y"]
    expected = _group_norm(x, 3, gamma, beta, 1e-3)
    expected = _silu(expected) if activation else expected
    assert_same(found, (expected.transpose(0, 2, 3, 1) if last else expected).astype(np.float32), 1e-5, "y")


@pytest.mark.parametrize("skip", [(2, 3, 4, 6), (2, 1, 1, 6), (2, 6)])
def test_skip_group_norm(skip):
    x, other, gamma, beta, bias = f(2, 3, 4, 6), f(*skip), f(6), f(6), f(6)
    found = _run(node("SkipGroupNorm", ["x", "g", "b", "s", "c"], ["y", "t"], groups=2, activation=0, epsilon=1e-5),
                 {"x": x, "s": other}, {"g": gamma, "b": beta, "c": bias}, ("y", "t"))
    total = x + (other.reshape(2, 1, 1, 6) if other.ndim == 2 else other) + bias
    expected = _group_norm(total.transpose(0, 3, 1, 2), 2, gamma, beta, 1e-5).transpose(0, 2, 3, 1)
    assert_same(found["t"], total, 1e-6, "the sum")
    assert_same(found["y"], expected.astype(np.float32), 1e-5, "y")


def test_bias_split_gelu():
    x, bias = f(2, 5, 8), f(8)
    found = _run(node("BiasSplitGelu", ["x", "c"]), {"x": x}, {"c": bias})["y"]
    left, right = np.split((x + bias).astype(np.float64), 2, axis=-1)
    expected = left * right * 0.5 * (1 + np.vectorize(erf)(right / np.sqrt(2)))
    assert_same(found, expected.astype(np.float32), 1e-5, "y")


@pytest.mark.parametrize("residual", [False, True])
def test_convolution_with_channels_last(residual):
    """NhwcConv and NhwcFusedConv are Conv between transposes."""
    x, w, b, z = f(2, 7, 9, 6), f(8, 6, 3, 3), f(8), f(2, 5, 7, 8)
    if residual:
        op, inputs = node("NhwcFusedConv", ["x", "w", "c", "z"], activation="Relu"), {"x": x, "z": z}
    else:
        op, inputs = node("NhwcConv", ["x", "w", "c"]), {"x": x}
    found = _run(op, inputs, {"w": w, "c": b})["y"]
    patches = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), (3, 3), axis=(1, 2))
    expected = np.einsum("nhwcij,ocij->nhwo", patches, w) + b
    expected = np.maximum(expected + z, 0) if residual else expected
    assert_same(found, expected.astype(np.float32), 1e-5, "y")


def test_max_pool_with_channels_last():
    x = f(2, 7, 9, 6)
    found = _run(node("NhwcMaxPool", ["x"], kernel_shape=[3, 3]), {"x": x}, {})["y"]
    assert_same(found, np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2)).max((-1, -2)), 0, "y")


def test_group_norm_of_values_and_of_groups():
    """Scale and bias that are computed, per channel (opset 21) and per group (opset 18)."""
    x = f(2, 6, 3, 4)
    for opset, size in ((21, 6), (18, 3)):
        gamma, beta = f(size), f(size)
        op = node("GroupNormalization", ["x", "g", "b"], domain="", num_groups=3)
        model = load(build([op], {"x": x, "g": gamma, "b": beta}, {}, opset=opset))
        for net in (optimise(model.main), bind(optimise(model.main))):
            found = evaluate(net, {"x": x, "g": gamma, "b": beta})["y"]
            expected = _group_norm(x, 3, np.repeat(gamma, 6 // size), np.repeat(beta, 6 // size), 1e-5)
            assert_same(found, expected.astype(np.float32), 1e-5, f"y, opset {opset}")


@pytest.mark.parametrize("axis", [-1, 1])
def test_rms_norm(axis):
    x, scale = f(2, 5, 12), f(*((12,) if axis == -1 else (5, 12)))
    op = node("RMSNormalization", ["x", "g"], domain="", axis=axis, epsilon=1e-4)
    model = load(build([op], {"x": x}, {"g": scale}, opset=23))
    found = evaluate(bind(optimise(model.main)), {"x": x})["y"]
    wide = x.astype(np.float64)
    expected = wide / np.sqrt((wide**2).mean((2,) if axis == -1 else (1, 2), keepdims=True) + 1e-4) * scale
    assert_same(found, expected.astype(np.float32), 1e-6, "y")


def test_a_norm_of_zero_gives_zeros():
    """As ONNX's text says; a NaN would be what the formula says."""
    x = np.zeros((2, 3), np.float32)
    x[0] = 3, 0, 4
    found = _run(node("LpNormalization", ["x"], domain="", axis=1, p=2), {"x": x}, {})["y"]
    np.testing.assert_allclose(found, [[0.6, 0, 0.8], [0, 0, 0]], rtol=1e-6)
