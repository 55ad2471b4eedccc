"""What stands between dequantize_linear and quantize_linear is done on bytes, with the same bytes as before."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave.meaning.evaluate import evaluate
from pathweave.net.net import Layer, Net, TensorSpec
from pathweave.passes import bind, optimise

SHAPE = (2, 4, 6, 5)
ONE = [("relu", {}), ("sigmoid", {}), ("hard_swish", {}), ("clip", {"min": -0.3, "max": 0.7}), ("leaky_relu", {"alpha": 0.1}),
       ("tanh", {})]
MOVERS = [("transpose", {"perm": (0, 2, 3, 1)}), ("reshape", {"shape": (2, -1)}), ("max_pool2", {"kernel": (2, 2)}),
          ("max_pool2", {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1)}), ("unsqueeze", {"axes": (0,)}),
          ("slice", {"starts": (1,), "ends": (3,), "axes": (1,), "steps": (1,)}),
          ("resize2", {"mode": "nearest", "size": (12, 11)})]


class Quantised:
    """A net over bytes x and z that is written layer by layer."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype)
        info, random = np.iinfo(self.dtype), np.random.default_rng(3)
        self.feeds = {n: random.integers(info.min, info.max + 1, SHAPE).astype(self.dtype) for n in "xz"}
        self.feeds["x"].flat[:60] = np.linspace(info.min, info.max, 60).astype(self.dtype)
        self.layers, self.constants = [], {}

    def op(self, kind, *inputs, **attrs):
        name = f"v{len(self.layers)}"
        self.layers.append(Layer(f"{kind}_{name}", kind, inputs, (name,), attrs))
        return name

    def const(self, array):
        name = f"c{len(self.constants)}"
        self.constants[name] = array
        return name

    def points(self, scale, zero):
        return self.const(np.float32(scale)), self.const(self.dtype.type(zero))

    def real(self, value, scale=0.031, zero=3):
        return self.op("dequantize_linear", value, *self.points(scale, zero))

    def bytes(self, value, scale=0.031, zero=3):
        return self.op("quantize_linear", value, *self.points(scale, zero), dtype="u8" if self.dtype == np.uint8 else "i8")

    def check(self, *outputs):
        """Kinds of the rewritten net; the bytes are those of the net as it was written."""
        specs = {n: TensorSpec("u8" if self.dtype == np.uint8 else "i8", SHAPE) for n in self.feeds}
        net = Net(specs, list(outputs), self.layers, self.constants)
        before = evaluate(net, self.feeds)
        for result in (optimise(net), bind(net)):
            after = evaluate(result, self.feeds)
            for v in outputs:
                np.testing.assert_array_equal(after[v], before[v])
                assert after[v].dtype == before[v].dtype
        return [layer.kind for layer in result.layers]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(("kind", "attrs"), ONE)
def test_a_function_of_one_byte_is_a_table(kind, attrs, dtype):
    q = Quantised(dtype)
    assert q.check(q.bytes(q.op(kind, q.real("x"), **attrs), 0.011, 9)) == ["lookup_table"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_silu_in_two_steps_is_one_table(dtype):
    q = Quantised(dtype)
    x = q.real("x")
    gate = q.real(q.bytes(q.op("sigmoid", x), 1 / 256, 0), 1 / 256, 0)
    assert q.check(q.bytes(q.op("mul", x, gate), 0.02, 7)) == ["lookup_table"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_other_scale_is_a_table(dtype):
    q = Quantised(dtype)
    assert q.check(q.bytes(q.real("x"), 0.05, 11)) == ["lookup_table"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("kind", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_a_function_of_two_bytes_is_one_layer(kind, dtype):
    q = Quantised(dtype)
    assert q.check(q.bytes(q.op(kind, q.real("x"), q.real("z", 0.02, 40)), 0.04, 30)) == ["quantised_binary"]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(("kind", "attrs"), MOVERS)
@pytest.mark.parametrize("same", [True, False])
def test_bytes_are_moved_as_they_are(kind, attrs, dtype, same):
    q = Quantised(dtype)
    y = q.bytes(q.op(kind, q.real("x"), **attrs), *(() if same else (0.07, 50)))
    assert q.check(y) == ([] if same else ["lookup_table"]) + ["reshape" if kind == "unsqueeze" else kind]


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_concat_of_several_scales(dtype):
    q = Quantised(dtype)
    y = q.op("concat", q.real("x"), q.real("z", 0.02, 1), q.const(np.full(SHAPE, 0.5, np.float32)), axis=1)
    assert sorted(q.check(q.bytes(q.op("transpose", y, perm=(0, 3, 2, 1))))) == ["concat", "lookup_table", "transpose"]


@pytest.mark.parametrize("outputs", [1, 2])
def test_real_numbers_that_others_want_stay(outputs):
    q = Quantised(np.uint8)
    moved = q.op("transpose", q.real("x"), perm=(0, 3, 2, 1))
    y = q.bytes(moved)
    kinds = q.check(*[y, moved][:outputs])
    assert ("dequantize_linear" in kinds) == (outputs == 2)


@pytest.mark.parametrize("mode", ["bilinear"])
def test_what_mixes_elements_stays_real(mode):
    q = Quantised(np.uint8)
    assert "quantize_linear" in q.check(q.bytes(q.op("resize2", q.real("x"), mode=mode, size=(12, 11))))
