"""What a thread fetches while it waits for the step before: the packed weights from where its own part begins."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave import _native
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.testing import conformance

RNG = np.random.default_rng(5)
THREADS = 4
SCALES = [(0.01, 128), (0.0, 0), (0.02, 3)]  # of x and y


def weights_of(*shape: int) -> np.ndarray:
    """All different, none zero."""
    return RNG.permutation(np.arange(1, np.prod(shape) + 1, dtype=np.float32)).reshape(shape)


def text_of(kind: str, x: tuple, w: np.ndarray, y: tuple, **attrs) -> str:
    specs = [TensorSpec("f32", x), TensorSpec("f32", w.shape)]
    return Problem.make(kind, specs, [False, True], [TensorSpec("f32", y)], attrs, threads=THREADS).text


def dense(rows: int, depth: int, columns: int) -> tuple[str, np.ndarray]:
    w = weights_of(columns, depth)
    return text_of("dense", (rows, depth), w, (rows, columns)), w


def conv2(channels: int, outputs: int, size: int, kernel: int) -> tuple[str, np.ndarray]:
    """Stride 1, as many pixels out as in."""
    w, edge = weights_of(outputs, channels, kernel, kernel), kernel // 2
    return text_of("conv2", (1, channels, size, size), w, (1, outputs, size, size), stride=(1, 1), dilation=(1, 1),
                   pad=(edge,) * 4, groups=1), w


#: (what makes the problem, its arguments, routine, whether its weights lie there in f32).
CASES = [
    (dense, (1, 40, 300), "dense/gemv:f32:plain:cpu", True),
    (dense, (5, 40, 300), "dense/gemm:f32:plain:cpu", True),
    (dense, (1, 40, 300), "dense/gemv:u8:plain:cpu", False),
    (dense, (70, 40, 300), "dense/gemm:u8:plain:cpu", False),
    (conv2, (24, 160, 14, 1), "conv2/pointwise:f32:nhwc:cpu", True),
    (conv2, (24, 160, 14, 1), "conv2/pointwise:u8:nhwc:cpu", False),
    (conv2, (16, 96, 14, 3), "conv2/direct:f32:nhwc:cpu", True),
    (conv2, (16, 96, 14, 3), "conv2/im2col:f32:nhwc:cpu", True),
    (conv2, (16, 96, 14, 3), "conv2/direct:u8:nhwc:cpu", False),
    (conv2, (3, 32, 30, 3), "conv2/direct:u8:nhwc:cpu", False),
    (conv2, (16, 96, 56, 3), "conv2/winograd4:f32:nhwc:cpu", False),
    (conv2, (16, 96, 56, 3), "conv2/winograd4:u8:nhwc:cpu", False),
]


def kernels(text: str, weights: np.ndarray, routine: str):
    """(variant, kernel) of every variant of a routine."""
    found = next(c for c in _native.candidates(text) if c["id"] == routine)
    assert found["ok"], found
    scales = SCALES if ":u8:" in routine else []
    for variant in found["variants"]:
        yield variant, _native.prepare(text, routine, variant, [(None, 0), (weights, 0)], scales)


@pytest.mark.parametrize("make, args, routine, floats", CASES, ids=lambda v: v if isinstance(v, str) else None)
def test_the_weights_from_where_a_thread_begins(make, args, routine, floats):
    text, weights = make(*args)
    for variant, kernel in kernels(text, weights, routine):
        found = [[kernel.reads_first(phase, i, THREADS) for i in range(THREADS)] for phase in range(3)]
        first = max((views[0] for views in found), key=len)
        assert len(first) >= weights.size, f"{variant}: {len(first)} bytes for {weights.size} weights"
        assert kernel.reads_first(0, 0, 1) in (first, b""), variant
        for views in found:
            # All end where the weights end, and nobody begins before the one in front of him.
            assert all(views[0].endswith(view) for view in views), variant
            assert sorted(map(len, views), reverse=True) == [len(view) for view in views], variant
        if floats:
            there = np.frombuffer(first, np.float32)
            assert np.array_equal(np.sort(there[there != 0]), np.sort(weights.ravel())), variant


def test_threads_that_share_the_outputs_begin_apart():
    text, weights = dense(1, 40, 300)
    for _, kernel in kernels(text, weights, "dense/gemv:f32:plain:cpu"):
        views = [np.frombuffer(kernel.reads_first(0, i, THREADS), np.float32) for i in range(THREADS)]
        starts = [weights.size - view.size for view in views]
        assert starts[0] == 0 and all(a < b for a, b in zip(starts, starts[1:])), starts
        assert all(np.array_equal(view, weights.ravel()[start:]) for view, start in zip(views, starts))


@pytest.mark.parametrize("routine", ["rows", "channels"])
def test_regions(routine):
    routine, some = f"inverted_residual/{routine}:f32:nhwc:cpu", 0
    for subject in conformance.subjects():
        if subject.case is None or subject.case.kind != "inverted_residual":
            continue
        problem = subject.problem(THREADS)
        constants = [(a if c else None, 0) for a, c in zip(subject.arrays, problem.constant)]
        for card in _native.candidates(problem.text):
            for variant in card["variants"] if card["id"] == routine and card["ok"] else []:
                kernel = _native.prepare(problem.text, routine, variant, constants)
                for phase in range(2):
                    views = [kernel.reads_first(phase, i, THREADS) for i in range(THREADS)]
                    assert all(views[0].endswith(view) for view in views), variant
                    some += len(views[0]) > 0
    assert some > 0


def test_no_such_thread():
    text, weights = dense(1, 40, 300)
    _, kernel = next(kernels(text, weights, "dense/gemv:f32:plain:cpu"))
    with pytest.raises(ValueError, match="thread 2 of 2"):
        kernel.reads_first(0, 2, 2)
