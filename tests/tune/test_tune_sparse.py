"""Nets with many zero weights: sparse routines are candidates, are chosen where they cost least, and compute the net."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator
from scripted import Clock, Net

import pathweave as pw


class Pruned(Net):
    """A graph whose weights, biases aside, are zero to this share."""

    def __init__(self, share: float):
        super().__init__()
        self.share = share

    def weight(self, *shape: int) -> str:
        name = super().weight(*shape)
        if len(shape) > 1:
            array = onnx.numpy_helper.to_array(self.weights[-1])
            kept = self.rng.random(shape) >= self.share
            self.weights[-1] = onnx.numpy_helper.from_array((array * kept).astype(np.float32), name)
        return name


def pruned(share: float) -> bytes:
    """Two convolutions and a classifier."""
    n = Pruned(share)
    x = n.add("Relu", n.conv("x", 8, 24))
    x = n.add("Relu", n.conv(x, 24, 32, 1))
    x = n.add("Flatten", n.add("GlobalAveragePool", x))
    n.add("Gemm", x, n.weight(20, 32), n.weight(20), transB=1, out="y")
    return n.model([1, 8, 10, 10], ["y"])


@pytest.mark.parametrize("threads", [1, 2])
def test_chosen_where_they_cost_least(threads, clock, store, monkeypatch):
    monkeypatch.setattr(Clock, "cost", staticmethod(
        lambda problem, routine, variant: 10 if "/sparse" in routine else 100 if problem.startswith("adapt ") else 5_000))
    data = pruned(0.85)
    model = pw.load(data)
    route = pw.solve(model, pw.profile(model, threads=threads, store=store, budget_s=1e6, timer=clock))
    weighted = [c.routine for c in route.layers.values() if c.routine.startswith(("conv2/", "dense/"))]
    assert len(weighted) == 3 and all("/sparse" in r for r in weighted)
    x = np.random.default_rng(1).standard_normal((1, 8, 10, 10)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"x": x})
    got = model.plan(route).session().run({"x": x})
    np.testing.assert_allclose(got["y"], wanted, rtol=1e-5, atol=1e-6)


def test_measured_with_the_real_clock(store):
    model = pw.load(pruned(0.85))
    profile = pw.profile(model, threads=1, store=store, budget_s=2)
    measured = {m.routine for m in profile if "zeros=" in m.problem}
    assert {"conv2/sparse:f32:nchw:cpu", "dense/sparse:f32:plain:cpu"} <= measured


def test_dense_weights_have_no_such_candidate():
    bound = pw.load(pruned(0.3)).bind()
    assert not any("zeros=" in p.text for p in bound.problems(1))
    assert not any("sparse" in c.routine for i in range(len(bound.layers)) for c in bound.candidates(i, 1)[0])
