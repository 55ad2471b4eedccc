"""Random geometry of windows, slices, broadcasts and pads against ONNX Runtime and NumPy."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from layer_oracle import Graph, oracle, session_of
from onnx import TensorProto, helper

from pathweave.errors import ShapeError
from pathweave.layers import kind_of
from pathweave.layers._common import broadcast_shapes
from pathweave.layers.activation import erf
from pathweave.net.compare import relative_error
from pathweave.net.net import TensorSpec
from pathweave.testing import case

_FEW = settings(max_examples=60, deadline=None, derandomize=True)
_pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
_pads = st.tuples(*[st.integers(0, 3)] * 4)


def _agrees(one, limit=2e-6):
    arrays = one.arrays()
    for got, own in zip(oracle(one, arrays), one.reference(arrays), strict=True):
        assert got.shape == own.shape
        assert relative_error(got, own) <= limit


@_FEW
@given(st.data(), _pair, _pair, _pair, _pads)
def test_convolution(data, kernel, stride, dilation, pad):
    n, groups = data.draw(st.integers(1, 2)), data.draw(st.integers(1, 3))
    c, o = groups * data.draw(st.integers(1, 3)), groups * data.draw(st.integers(1, 3))
    h, w = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    try:
        one = case("conv2", (n, c, h, w), (o, c // groups, *kernel), (o,), stride=stride, pad=pad, dilation=dilation,
                   groups=groups)
    except ShapeError:
        assert any(d + pad[i] + pad[i + 2] < (k - 1) * e + 1
                   for i, (d, k, e) in enumerate(zip((h, w), kernel, dilation, strict=True)))
        return
    _agrees(one)


@_FEW
@given(st.data(), _pair, _pair, _pair, st.tuples(*[st.integers(0, 1)] * 4))
def test_transposed_convolution(data, kernel, stride, dilation, pad):
    groups = data.draw(st.integers(1, 2))
    c, o = groups * data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    h, w = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    output_pad = tuple(data.draw(st.integers(0, s - 1)) for s in stride)
    for i, d in enumerate((h, w)):
        assume(stride[i] * (d - 1) + output_pad[i] + (kernel[i] - 1) * dilation[i] + 1 - pad[i] - pad[i + 2] > 0)
    _agrees(case("conv_transpose2", (2, c, h, w), (c, o, *kernel), (o * groups,), stride=stride, pad=pad,
                 dilation=dilation, groups=groups, output_pad=output_pad))


@_FEW
@given(st.data(), st.sampled_from(["max_pool2", "average_pool2"]), _pair, st.booleans(), st.booleans())
def test_pooling(data, kind, stride, ceil, count_pad):
    kernel = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pad = tuple(data.draw(st.integers(0, k - 1)) for k in kernel * 2)
    dilation = data.draw(_pair)
    size = tuple(data.draw(st.integers(max(1, (k - 1) * e + 1 - pad[i] - pad[i + 2]), 12))
                 for i, (k, e) in enumerate(zip(kernel, dilation, strict=True)))
    extra = {"count_pad": int(count_pad)} if kind == "average_pool2" else {}
    one = case(kind, (1, 2, *size), kernel=kernel, stride=stride, pad=pad, dilation=dilation, ceil=int(ceil), **extra)
    seen = _inside(size, kernel, stride, dilation, pad, ceil)
    assert one.outputs()[0].shape[2:] == seen.shape
    assume(seen.all())  # a dilated window may see padding alone; ONNX leaves its result open
    _agrees(one)


def _inside(size, kernel, stride, dilation, pad, ceil):
    """How many elements of the image each window sees, counted one by one."""
    counts = []
    for i, d in enumerate(size):
        room = d + pad[i] + pad[i + 2] - (kernel[i] - 1) * dilation[i] - 1
        out = (math.ceil(room / stride[i]) if ceil else room // stride[i]) + 1
        starts = [s * stride[i] - pad[i] for s in range(out)]
        starts = [s for s in starts if not ceil or s < d]
        counts.append([sum(0 <= s + k * dilation[i] < d for k in range(kernel[i])) for s in starts])
    return np.multiply.outer(*counts)


def _slice_session():
    g = Graph()
    g.node("Slice", ["x", "starts", "ends", "axes", "steps"])
    vector = [helper.make_tensor_value_info(n, TensorProto.INT64, ["k"]) for n in ("starts", "ends", "axes", "steps")]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["a", "b"])
    y = helper.make_tensor_value_info("t0_0", TensorProto.FLOAT, None)
    return session_of(helper.make_model(helper.make_graph(g.nodes, "slice", [x, *vector], [y]), ir_version=9,
                                        opset_imports=[helper.make_opsetid("", 20)]))


_bound = st.one_of(st.integers(-9, 9), st.sampled_from([2**63 - 1, -(2**63) + 1, 2**31 - 1, -(2**31)]))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data(), st.integers(1, 7), st.integers(1, 7))
def test_slice(data, rows, columns):
    axes = data.draw(st.sampled_from([(0,), (1,), (0, 1), (1, 0), (-1,), (-2, 1)]))
    starts, ends, steps = (tuple(data.draw(b) for _ in axes) for b in (
        _bound, _bound, st.integers(-3, 3).filter(bool)))
    # ONNX Runtime takes such an end as "to the end" even backwards; ONNX clamps it to the last element.
    assume(not any(s < 0 and e >= 2**31 - 1 for s, e in zip(steps, ends, strict=True)))
    x = np.arange(rows * columns, dtype=np.float32).reshape(rows, columns)
    attrs = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    feeds = {name: np.array(v, np.int64) for name, v in attrs.items()}
    (wanted,) = _SLICE.run(None, {"x": x, **feeds})
    kind = kind_of("slice")
    (own,) = kind.meaning(kind.complete(attrs), [x])
    (through_inputs,) = kind.meaning(kind.complete({}), [x, *feeds.values()])
    (spec,) = kind.infer(kind.complete(attrs), [TensorSpec("f32", x.shape)])
    assert spec.shape == wanted.shape
    assert np.array_equal(own, wanted) and np.array_equal(through_inputs, wanted)


_SLICE = _slice_session()
_shape = st.lists(st.integers(0, 3), max_size=4)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(_shape, min_size=1, max_size=3))
def test_broadcast_shapes(shapes):
    try:
        wanted = np.broadcast_shapes(*shapes)
    except ValueError:
        wanted = None
    try:
        assert broadcast_shapes(*shapes) == wanted
    except ShapeError:
        assert wanted is None


@_FEW
@given(st.data(), st.sampled_from(["constant", "edge", "reflect", "wrap"]))
def test_pad(data, mode):
    shape = data.draw(st.tuples(st.integers(2, 5), st.integers(2, 5)))
    most = 4 if mode == "constant" else min(shape) - 1
    pads = data.draw(st.tuples(*[st.integers(-1 if mode == "constant" else 0, most)] * 4))
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    kind = kind_of("pad")
    attrs = kind.complete({"pads": pads, "mode": mode, "value": 7.0})
    (own,) = kind.meaning(attrs, [x])
    rows, columns = (range(-pads[i], shape[i] + pads[i + 2]) for i in (0, 1))
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            at = tuple(_source(v, n, mode) for v, n in zip((r, c), shape, strict=True))
            assert own[i, j] == (7.0 if None in at else x[at])
    assert kind.infer(attrs, [TensorSpec("f32", shape)])[0].shape == own.shape == (len(rows), len(columns))


def _source(v, n, mode):
    """The index that a padded position shows, None for the constant."""
    if 0 <= v < n or mode == "constant":
        return v if 0 <= v < n else None
    if mode == "edge":
        return min(max(v, 0), n - 1)
    if mode == "wrap":
        return v % n
    return -v if v < 0 else 2 * (n - 1) - v


def test_erf_to_the_last_place():
    x = np.concatenate([np.linspace(-7, 7, 20001), [0.0, 1e-300, 0.84375, 1.25, 1 / 0.35, 6.0, np.inf, -np.inf]])
    wanted = np.array([math.erf(v) for v in x])
    assert np.abs(erf(x) - wanted).max() <= 2.3e-16
    assert np.abs(erf(x.astype(np.float32)) - wanted).max() <= 1e-7 * 4
    assert np.isnan(erf(np.array([np.nan]))).all() and np.signbit(erf(np.array(-0.0)))
