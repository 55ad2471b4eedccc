"""The zeros of weights as a problem tells them, against counting one by one."""

from __future__ import annotations

import gc

import numpy as np
import pytest

from pathweave.net.net import Layer, Net, TensorSpec
from pathweave.net.per_array import PerArray
from pathweave.net.problem import Problem
from pathweave.net.zeros import zeros_of


def brute_force(w: np.ndarray) -> str:
    """The word by its definition, element by element."""
    outputs, rest = w.shape[0], w.reshape(w.shape[0], -1)
    count = sum(1 for v in w.ravel().tolist() if v == 0.0)
    if 2 * count < w.size:
        return ""
    blocks = [all(rest[o, k] == 0 for o in range(b, min(b + 16, outputs)))
              for b in range(0, outputs, 16) for k in range(rest.shape[1])]
    word = str(100 * count // w.size)
    return word + (f"/1x16:{100 * sum(blocks) // len(blocks)}" if outputs >= 16 and 2 * sum(blocks) >= len(blocks)
                   else "")


@pytest.mark.parametrize("shape", [(16, 10), (33, 8), (48, 5, 3, 3), (7, 12), (32, 4, 1, 1)])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.77, 0.9, 1.0])
@pytest.mark.parametrize("blocks", [False, True])
def test_as_by_counting(shape, share, blocks):
    rng = np.random.default_rng(int(share * 100) + len(shape))
    kept = rng.random((-(-shape[0] // 16) if blocks else shape[0], *shape[1:])) >= share
    if blocks:
        kept = np.repeat(kept, 16, axis=0)[:shape[0]]
    w = (rng.standard_normal(shape) * kept).astype(np.float32)
    assert zeros_of(w) == brute_force(w)


def test_large_weights_from_a_sample():
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((512, 512)).astype(np.float32)
    assert zeros_of(dense) == ""
    assert zeros_of(np.where(rng.random(dense.shape) < 0.8, 0, dense).astype(np.float32)) in ("79", "80")


def test_minus_zero_is_zero_and_nan_is_not():
    assert zeros_of(np.full((4, 4), -0.0, np.float32)) == "100"
    assert zeros_of(np.full((4, 4), np.nan, np.float32)) == ""


def test_only_matrices_of_f32():
    assert zeros_of(np.zeros(64, np.float32)) == zeros_of(np.zeros((8, 8))) == zeros_of(np.zeros((0, 3), np.float32)) == ""


def problem_with(weights: np.ndarray) -> Problem:
    net = Net({"x": TensorSpec("f32", (1, weights.shape[1]))}, ["y"],
              [Layer("fc", "dense", ("x", "w"), ("y",), {})], {"w": weights})
    from pathweave.layers import infer
    from pathweave.layers.problems import problem_of
    infer(net)
    return problem_of(net, net.layers[0], 2)


def test_the_key_of_a_layer_tells_them_and_that_of_a_dense_one_does_not():
    dense = np.ones((16, 8), np.float32)
    sparse = dense.copy()
    sparse[:, 2:] = 0
    assert problem_with(dense).text == "dense in=f32:1x8,const:f32:16x8 out=f32:1x16 threads=2"
    assert problem_with(sparse).text == "dense in=f32:1x8,const:f32:16x8 out=f32:1x16 zeros=75/1x16:75 threads=2"


def test_routines_read_it():
    from pathweave.runtime import catalogue
    for text, zeros in (("", False), ("75", True)):
        problem = Problem.make("dense", [TensorSpec("f32", (1, 8)), TensorSpec("f32", (16, 8))], [False, True],
                               [TensorSpec("f32", (1, 16))], {}, zeros=text)
        found, refusals = catalogue.candidates(problem)
        assert any(c.algorithm == "sparse" for c in found) == zeros
        assert any("half of the weights are zeros" in r.reason for r in refusals) != zeros


def test_values_of_arrays_are_forgotten_with_them():
    made = []
    ids = PerArray(lambda a: made.append(1) or len(made))
    a = np.zeros(3)
    assert ids(a) == ids(a) == 1
    del a
    gc.collect()
    assert not ids._known
