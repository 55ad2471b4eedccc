"""What a thread fetches while it waits for the step before: the packed weights from where its own part begins."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave import _native
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.testing import cases, conformance
from pathweave.testing.guard import fence

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


def test_memory_of_others_is_astray():
    text, weights = dense(1, 40, 300)
    _, before = next(kernels(text, weights, "dense/gemm:f32:plain:cpu"))
    with fence():
        _, packed = next(kernels(text, weights, "dense/gemm:f32:plain:cpu"))
        _, where_they_lie = next(kernels(text, weights, "dense/gemv:f32:plain:cpu"))
    # What was packed before the fence was raised is not known.
    assert before.reads_astray([1, 2], [weights]).startswith("phase 0, thread 0 of 1 reads first ")
    assert packed.reads_astray(conformance.TEAMS, []) == ""
    assert where_they_lie.reads_astray(conformance.TEAMS, [weights]) == ""
    assert where_they_lie.reads_astray([1], []) != ""
    assert where_they_lie.reads_astray([1], [weights.ravel()[1:]]) != ""
    assert where_they_lie.reads_astray([1], [weights.ravel()[:-1]]) != ""


#: Routines that name memory, in some team of some case.
NAMING = {"dense/gemv:f32", "dense/gemm:f32", "dense/gemv:u8", "dense/gemm:u8", "conv2/pointwise:f32", "conv2/pointwise:u8",
          "conv2/direct:f32", "conv2/im2col:f32", "conv2/direct:u8", "conv2/winograd4:f32", "conv2/winograd4:u8",
          "inverted_residual/rows:f32", "inverted_residual/channels:f32"}


def test_within_the_memory_of_the_kernel_in_teams_of_any_size():
    """Every routine on three cases of few pieces, prepared for one thread, for some and for more than there are pieces."""
    seen: dict[tuple[str, int], int] = {}
    naming, faults = set(), []
    for case, threads in ((case, threads) for case in cases() for threads in (1, 4, 40)):
        problem = case.problem(threads)
        given = [(a if c else None, 0) for a, c in zip(case.arrays(), problem.constant)]
        for card in _native.candidates(problem.text):
            routine, key = card["id"], (card["id"], threads)
            if not card["ok"] or not routine.endswith(":cpu") or seen.get(key, 0) == 3:
                continue
            seen[key] = seen.get(key, 0) + 1
            scales = [(0.01, 128)] * (len(problem.inputs) + len(problem.outputs)) if ":u8:" in routine else []
            for variant in card["variants"]:
                with fence():
                    kernel = _native.prepare(problem.text, routine, variant, given, scales)
                astray = kernel.reads_astray([*conformance.TEAMS, 1024], [a for a, _ in given if a is not None])
                if astray:
                    faults.append(f"{routine} {variant} on {problem.text}: {astray}")
                elif any(kernel.reads_first(phase, 0, 2) for phase in range(max(1, kernel.phases))):
                    naming.add(routine.rsplit(":", 2)[0])
    assert not faults, "\n".join(faults[:20])
    assert not NAMING - naming


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
