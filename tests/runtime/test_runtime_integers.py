"""Nets that stay in 8-bit integers from their input to their output, layer by layer against the integer reference."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper
from runtime_nets import Builder

import pathweave as pw
from pathweave.meaning.evaluate import evaluate
from pathweave.net.net import Epilogue
from pathweave.runtime.defaults import default_route
from pathweave.runtime.descriptor import Restriction
from pathweave.runtime.native import native
from pathweave.testing import Case, case, quantised
from pathweave.testing.conformance import Subject, checks_of, perform


def constant(name: str, values):
    return numpy_helper.from_array(np.asarray(values), name)


def attention() -> bytes:
    """Two heads: projections in one product, split, products of two values on both sides of a relu, and a residual."""
    b = Builder(7)
    y = b.node("MatMul", "x", b.weight(32, 96, scale=0.18))
    parts = b.node("Split", y, axis=2, outputs=["q", "k", "v"])

    def heads(value: str, perm: list[int]) -> str:
        b.weights.append(constant(f"{value}_shape", [1, 19, 2, 16]))
        return b.node("Transpose", b.node("Reshape", value, f"{value}_shape"), perm=perm)

    scores = b.node("Relu", b.node("MatMul", heads(parts, [0, 2, 1, 3]), heads("k", [0, 2, 3, 1])), outputs=["scores"])
    y = b.node("Transpose", b.node("MatMul", scores, heads("v", [0, 2, 1, 3])), perm=[0, 2, 1, 3])
    b.weights.append(constant("flat", [1, 19, 32]))
    y = b.node("Add", b.node("MatMul", b.node("Reshape", y, "flat"), b.weight(32, 32, scale=0.18)), "x")
    b.weights += [constant("first", [0]), constant("last", [7]), constant("axis", [1])]
    b.node("Slice", y, "first", "last", "axis", outputs=["y"])
    return b.model({"x": [1, 19, 32]}, ["y"])


def pyramid() -> bytes:
    """Padding, two resizes, a split, a concatenation and a slice between convolutions."""
    b = Builder(8)
    b.weights += [constant("pads", [0, 0, 1, 2, 0, 0, 3, 1]), constant("crop", [0, 0, -1, 1, 0, 0, 2, -2])]
    y = b.node("Relu", b.node("Conv", b.node("Pad", "x", "pads", mode="reflect"), b.weight(48, 3, 3, 3), b.weight(48)))
    left = b.node("Split", y, axis=1, outputs=["left", "right"])
    b.weights += [constant("twice", np.array([1, 1, 2, 2], np.float32)), constant("half", np.array([2.5], np.float32))]
    left = b.node("Resize", left, "", "twice", mode="linear", coordinate_transformation_mode="half_pixel")
    right = b.node("Resize", "right", "", "twice", mode="nearest", coordinate_transformation_mode="asymmetric",
                   nearest_mode="floor")
    y = b.node("Pad", b.node("Concat", left, right, axis=1), "crop", "half", mode="constant")
    b.weights += [constant("begin", [3, 1]), constant("end", [-2, 1000]), constant("axes", [2, 3])]
    y = b.node("Slice", y, "begin", "end", "axes")
    b.node("Conv", y, b.weight(16, 48, 1, 1), b.weight(16), outputs=["y"])
    return b.model({"x": [1, 3, 10, 12]}, ["y"])


NETS = {"attention": (attention, (1, 19, 32), {"matmul", "split", "slice", "transpose", "reshape", "dense"}),
        "pyramid": (pyramid, (1, 3, 10, 12), {"pad", "resize2", "split", "slice", "conv2"})}


def in_integers(bound, route, x: np.ndarray) -> np.ndarray:
    """The output, each layer computed by the reference from the bytes that the ones before it gave."""
    values = {"x": quantised.quantise(x, bound.scales["x"])}
    for layer in bound.layers:
        c, constants = route.layers[layer.name], bound.net.constants
        names = list(layer.inputs)
        arrays = [None if not v else constants[v] if v in constants else
                  quantised.dequantise(values[v], bound.scales[v]) for v in names]
        one = Case(layer.name, layer.kind, layer.attrs, tuple(bound.spec(v) if v else None for v in names),
                   tuple(v in constants for v in names), layer.epilogue or Epilogue())
        scales = [bound.scales.get(v, quantised.UNKNOWN) for v in (*names, *layer.outputs)]
        expected = quantised.Expected(one, arrays, scales, c.ins, c.outs)
        assert expected.steps == 0, layer
        values.update(zip(layer.outputs, expected.values))
    return quantised.dequantise(values["y"], bound.scales["y"])


@pytest.mark.parametrize("name", NETS)
def test_a_net_stays_in_integers(name):
    build, shape, kinds = NETS[name]
    rng = np.random.default_rng(3)
    samples = rng.standard_normal((8, *shape)).astype(np.float32)
    model = pw.load(build()).calibrate(list(samples))
    bound = model.bind()
    assert kinds <= {layer.kind for layer in bound.layers}
    route = default_route(bound, 1, "quantised", Restriction("qint8"))
    assert {f.dtype for c in route.layers.values() for f in (*c.ins, *c.outs)} == {"u8"}, route.layers
    crossings = {c.value for c in route.conversions if c.source.dtype != c.target.dtype}
    assert crossings == {"x", "y"}
    for x in samples[:3]:
        results = [model.plan(route, None, threads).session()(x) for threads in (1, 2)]
        assert np.array_equal(*results)
        assert np.array_equal(results[0], in_integers(bound, route, x))
        exact = evaluate(model.main, {"x": x}, "f64")["y"]
        assert np.sqrt(np.mean((results[0] - exact) ** 2) / np.mean(exact ** 2)) < 0.05


def test_layers_that_move_share_their_scale():
    model = pw.load(pyramid()).calibrate(np.random.default_rng(3).standard_normal((4, 1, 3, 10, 12)).astype(np.float32))
    bound = model.bind()
    for layer in bound.layers:
        if layer.kind in ("pad", "resize2", "split", "slice"):
            assert len({bound.scales[v] for v in (layer.inputs[0], *layer.outputs)}) == 1, layer


def test_sums_that_may_not_fit_are_declined():
    for terms, fits in ((33025, True), (33026, False)):
        cards = native().candidates(case("matmul", (2, terms), (terms, 3)).problem().text)
        card = next(c for c in cards if c["id"] == "matmul/gemm:u8:plain:cpu")
        assert card["ok"] is fits and (fits or card["reason"] == "33026 terms may not fit a sum of 32 bits")


@pytest.mark.parametrize("shapes", [[(12, 197, 64), (12, 64, 197)], [(3, 1, 70, 130), (5, 130, 90)], [(300, 520), (520, 260)],
                                    [(6, 50, 40), (40, 200)], [(1, 3000), (3000, 170)]], ids=str)
def test_products_of_many_blocks(shapes):
    one = case("matmul", *shapes)
    arrays = one.arrays()
    subject = Subject(one.name, arrays, lambda: one.reference(arrays), one, one.problem)
    results = [perform(subject, check, card) for check, card in
               checks_of(subject, "matmul/gemm:u8:plain:cpu", threads=(1, 2, 5))]
    assert len(results) >= 3 and not [r.failure for r in results if r.failure]
