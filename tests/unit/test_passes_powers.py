"""Small whole powers become products; others, and those of integers, stay."""

from __future__ import annotations

import numpy as np
import pytest
from pass_sketch import Sketch

from pathweave.meaning.evaluate import evaluate
from pathweave.net.net import Epilogue, Layer, Net, TensorSpec
from pathweave.passes import bind

WHOLE = {3: ["mul", "mul"], 4: ["mul", "mul"], -1: ["reciprocal"], 2: ["pow"], -2: ["pow"]}


@pytest.mark.parametrize("power, wanted, form", [
    *((power, wanted, form) for power, wanted in WHOLE.items() for form in ("number", "one element", "of whole numbers")),
    *((power, ["pow"], form) for power in (0.5, 3.5) for form in ("number", "one element"))])
def test_small_powers_are_products(power, wanted, form):
    s = Sketch()
    s.inputs["x"] = (s.inputs["x"][0], np.abs(s.inputs["x"][1]) + 0.1 if power % 1 else s.inputs["x"][1])
    exponent = s.const(power if form == "number" else [power], np.int64 if form == "of whole numbers" else np.float64)
    assert s.check(s.op("pow", "x", exponent)) == wanted


def test_the_epilogue_stays_with_the_last_product():
    s = Sketch()
    assert s.check(s.op("pow", "x", s.const(3.0), epilogue=Epilogue(act="relu"))) == ["mul", "mul+relu"]
    s = Sketch()
    assert s.check(s.op("pow", "x", s.weights(6, 5))) == ["pow"]


def test_powers_of_integers_stay():
    """3 ^ -1 of integers is 0, and a power of more axes has the axes of its exponent."""
    for x, exponent in ((np.array([-2, 3, 7], np.int32), np.int32(3)), (np.float32([2, 3]), np.full((1, 1), 3, np.float32))):
        spec = TensorSpec({"int32": "i32", "float32": "f32"}[x.dtype.name], x.shape)
        net = Net({"x": spec}, ["y"], [Layer("p", "pow", ("x", "e"), ("y",), {})], {"e": np.asarray(exponent)})
        found = bind(net, {"x": x.shape})
        assert [layer.kind for layer in found.layers] == ["pow"]
        np.testing.assert_array_equal(evaluate(found, {"x": x})["y"], x ** exponent)
