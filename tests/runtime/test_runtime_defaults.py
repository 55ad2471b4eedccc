"""The order of candidates where nothing is measured: routines that call themselves fast come first."""

from __future__ import annotations

import pytest

from pathweave.net.net import Epilogue, TensorSpec
from pathweave.net.problem import Problem
from pathweave.runtime.catalogue import candidates


def first(kind: str, x: tuple, w: tuple, y: tuple, accuracy: str = "f32", **options) -> str:
    """The algorithm of the first candidate."""
    specs = [TensorSpec("f32", s) for s in (x, w)]
    attrs = {"stride": (1, 1), "pad": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1} if kind == "conv2" else {}
    problem = Problem.make(kind, specs, [False, kind != "matmul"], [TensorSpec("f32", y)], attrs, threads=2, **options)
    return candidates(problem, accuracy=accuracy)[0][0].algorithm


@pytest.mark.parametrize("epilogue", [Epilogue(), Epilogue(False, "relu")], ids=["bare", "relu"])
def test_what_calls_itself_fast_comes_first(epilogue):
    def conv(inputs: int, outputs: int, accuracy: str = "f32") -> str:
        return first("conv2", (1, inputs, 28, 28), (outputs, inputs, 3, 3), (1, outputs, 28, 28), accuracy, epilogue=epilogue)
    assert conv(64, 64) == "winograd4"
    assert conv(3, 64) == conv(64, 8) == conv(64, 64, "strict") == "direct"


def test_few_rows_are_no_matrix():
    assert first("dense", (1, 256), (512, 256), (1, 512)) == "gemv"
    assert first("dense", (64, 256), (512, 256), (64, 512)) == "gemm"
    assert first("matmul", (8, 64), (64, 1), (8, 1)) == "gemv"
    assert first("matmul", (1, 64), (64, 8), (1, 8)) == "gevm"
