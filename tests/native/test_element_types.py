"""Routines of any element type where the conformance suite's cases, which ONNX Runtime computes too, cannot go: numbers at the
ends of their type, NaN and infinities, indices that lie outside. References are NumPy in the type itself, or Python."""

from __future__ import annotations

import math
from functools import partial

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper

import pathweave
from pathweave.errors import InputError
from pathweave.layers import kind_of
from pathweave.net.format import numpy_dtype
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.runtime.native import native
from pathweave.testing import Case, case
from pathweave.testing.conformance import Subject, checks_of, perform

INTEGERS = ("i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64")


def run(found: Case, arrays: list[np.ndarray], threads: int = 1) -> list[np.ndarray]:
    """What the first native routine of any type makes of a case."""
    problem = found.problem(threads)
    card = next(c for c in native().candidates(problem.text) if c["ok"] and ":any:" in c["id"])
    kernel = native().prepare(problem.text, card["id"], "", [(a if c else None, 0) for a, c in zip(arrays, found.constant,
                                                                                                strict=True)])
    outs = [np.empty(s.shape, numpy_dtype(s.dtype)) for s in found.outputs()]
    values = [np.ascontiguousarray(a) for a, c in zip(arrays, found.constant, strict=True) if not c]
    kernel.run(values, outs, workspace(kernel), threads)
    return outs


def workspace(kernel) -> np.ndarray:
    memory = np.empty(kernel.workspace_bytes + 64, np.uint8)
    return memory[-memory.ctypes.data % 64:]


def edges(dtype: str) -> np.ndarray:
    """Numbers at the ends and around zero of an integer type."""
    info = np.iinfo(numpy_dtype(dtype))
    near = {info.min, info.min + 1, info.max, info.max - 1, 0, 1, 2, 7, info.max // 2}
    return np.array(sorted(near | ({-1, -2, -7} if info.min < 0 else set())), numpy_dtype(dtype))


def wrapped(value: int, dtype: str) -> int:
    """A whole number as the type holds it."""
    info = np.iinfo(numpy_dtype(dtype))
    return (value - info.min) % (info.max - info.min + 1) + info.min


def _quotient(a: int, b: int) -> int:
    return 0 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


PYTHON = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": _quotient,
    "minimum": min, "maximum": max, "mod": lambda a, b: a % b if b else 0, "equal": lambda a, b: a == b,
    "less": lambda a, b: a < b, "greater_equal": lambda a, b: a >= b,
}


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("kind", PYTHON)
def test_integers_wrap_and_never_trap(kind, dtype):
    x = edges(dtype)
    found = case(kind, TensorSpec(dtype, (x.size, 1)), TensorSpec(dtype, (1, x.size)))
    (y,) = run(found, [x[:, None], x[None]])
    wanted = [[PYTHON[kind](int(a), int(b)) for b in x] for a in x]
    if y.dtype != bool:
        wanted = [[wrapped(v, dtype) for v in row] for row in wanted]
    assert y.tolist() == wanted


@pytest.mark.parametrize("dtype", INTEGERS)
def test_remainder_with_the_sign_of_the_dividend(dtype):
    x = edges(dtype)
    found = case("mod", TensorSpec(dtype, (x.size, 1)), TensorSpec(dtype, (1, x.size)), fmod=1)
    (y,) = run(found, [x[:, None], x[None]])
    assert y.tolist() == [[int(a) - _quotient(int(a), int(b)) * int(b) if b else 0 for b in x] for a in x]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(("kind", "function"), [("abs", abs), ("neg", lambda v: -v), ("sign", lambda v: (v > 0) - (v < 0)),
                                                ("relu", lambda v: max(v, 0))])
def test_functions_of_integers_at_the_ends(kind, function, dtype):
    if kind == "neg" and dtype[0] == "u":
        with pytest.raises(Exception, match="expected an element type"):
            case(kind, TensorSpec(dtype, (3,)))
        return
    x = edges(dtype)
    (y,) = run(case(kind, TensorSpec(dtype, x.shape)), [x])
    assert y.tolist() == [wrapped(function(int(v)), dtype) for v in x]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize(("low", "high"), [(-1e30, 1e30), (2.5, 6.5), (-math.inf, 3.0), (5.0, math.inf)])
def test_clip_of_integers(dtype, low, high):
    x = edges(dtype)
    (y,) = run(case("clip", TensorSpec(dtype, x.shape), min=low, max=high), [x])
    assert y.tolist() == [int(v) if low <= v <= high else math.ceil(low) if v < low else math.floor(high) for v in x.tolist()]


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("axes", [(0,), (1,), (0, 2)])
@pytest.mark.parametrize("op", ["sum", "mean", "max", "min", "prod", "l1", "sum_square"])
def test_reductions_of_integers_wrap(op, axes, dtype):
    rng = np.random.default_rng(3)
    info = np.iinfo(numpy_dtype(dtype))
    far = op not in ("mean",) or info.bits < 64
    x = rng.integers(info.min if far else -1000 if info.min else 0, info.max if far else 1000, (4, 5, 6), numpy_dtype(dtype))
    (y,) = run(case("reduce", TensorSpec(dtype, x.shape), op=op, axes=axes), [x])
    moved = np.moveaxis(x, axes, range(len(axes))).reshape(-1, *[d for i, d in enumerate(x.shape) if i not in axes])
    columns = moved.reshape(moved.shape[0], -1).T.tolist()
    of = {"sum": sum, "max": max, "min": min, "prod": math.prod, "mean": lambda v: _quotient(sum(v), len(v)),
          "l1": lambda v: sum(wrapped(abs(n), dtype) for n in v), "sum_square": lambda v: sum(n * n for n in v)}[op]
    assert y.ravel().tolist() == [wrapped(of(c), dtype) for c in columns]


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.5]


@pytest.mark.parametrize("dtype", ["f16", "f32", "f64"])
@pytest.mark.parametrize("kind", ["argmax", "argmin"])
@pytest.mark.parametrize("last", [0, 1])
def test_not_a_number_is_the_extreme(kind, dtype, last):
    x = np.random.default_rng(1).choice(SPECIAL, (40, 9)).astype(numpy_dtype(dtype))
    for axis in (0, 1):
        found = case(kind, TensorSpec(dtype, x.shape), axis=axis, select_last=last)
        (y,) = run(found, [x])
        turned = np.flip(x, axis) if last else x
        wanted = getattr(np, kind)(turned, axis, keepdims=True)
        assert np.array_equal(y, x.shape[axis] - 1 - wanted if last else wanted)


def special_cases() -> list[Case]:
    cases = [case("reduce", TensorSpec("f64", (30, 2)), op=op, axes=(a,), values=("special",)) for op in ("max", "min", "sum")
             for a in (0, 1)]
    cases += [case(kind, TensorSpec("f64", (40,)), values=("special",)) for kind in ("abs", "sign", "relu", "clip", "neg")]
    cases += [case("clip", TensorSpec(t, (40,)), min=-1.0, max=1.0, values=("special",)) for t in ("f16", "f64")]
    cases += [case(kind, TensorSpec("f64", (40,)), values=("special",)) for kind in (
        "sigmoid", "tanh", "softplus", "exp", "elu", "selu", "celu", "erf", "floor", "hard_sigmoid", "thresholded_relu")]
    cases += [case("mod", TensorSpec(t, (9, 9)), TensorSpec(t, (9, 9)), fmod=f, values=("special", "special"))
              for t in ("f32", "f64") for f in (0, 1)]
    cases += [case(kind, TensorSpec(t, shape), axis=axis, select_last=last, values=("special",))
              for kind in ("argmax", "argmin") for t in ("f32", "f64", "f16") for last in (0, 1)
              for shape, axis in (((3, 2600), 1), ((2, 40, 300), 1), ((7, 5), 0))]
    cases += [case("scatter_nd", TensorSpec(t, (5, 9)), TensorSpec("i64", (4, 1)), TensorSpec(t, (4, 9)), reduction=r,
                   values=("special", "index:5", "special")) for t in ("f32", "f64") for r in ("max", "min")]
    return cases


@pytest.mark.parametrize("found", special_cases(), ids=str)
def test_special_numbers(found):
    arrays = found.arrays()
    subject = Subject(found.name, arrays, partial(found.reference, arrays), found, found.problem)
    checked = [perform(subject, check, card) for check, card in checks_of(subject, threads=(1, 3)) if ":any:" in check.routine]
    assert checked and not [r.failure for r in checked if r.failure]


# ---- casts ----

def test_a_double_is_rounded_once():
    """Halfway between two halves by so little that a float does not see it."""
    ties = np.array([1 + 2.0**-11 + 2.0**-40, 1 + 2.0**-11 - 2.0**-40, 1 + 2.0**-11, -(1 + 3 * 2.0**-11) + 2.0**-45,
                     65519.9999999, 65520.0, 2.0**-25, 2.0**-25 + 2.0**-60, 2.0**-14 - 2.0**-26, 1e300, -1e-300, 5e-324])
    (y,) = run_cast(ties, "f16")
    with np.errstate(over="ignore"):
        assert y.tobytes() == ties.astype(np.float16).tobytes()
    ties = np.array([1 + 2.0**-8 + 2.0**-40, 1 + 2.0**-8 - 2.0**-40, 1 + 2.0**-8, -(1 + 3 * 2.0**-8) + 2.0**-45,
                     3.4e38, 1e300, 1e-40])
    (y,) = run_cast(ties, "bf16")
    # ml_dtypes passes through float32: numbers that lie nearer to one side than float32 can tell are stated here.
    with np.errstate(over="ignore"):
        wanted = ties.astype(ml_dtypes.bfloat16)
    wanted[:2] = [1 + 2.0**-7, 1.0]
    wanted[3] = -(1 + 2.0**-7)
    assert y.tobytes() == wanted.tobytes()


def run_cast(x: np.ndarray, dtype: str, **attrs) -> list[np.ndarray]:
    found = case("cast", TensorSpec("f64", x.shape), dtype=dtype, **attrs)
    problem = found.problem()
    card = next(c for c in native().candidates(problem.text) if c["ok"])
    kernel = native().prepare(problem.text, card["id"], "", [(None, 0)])
    outs = [np.empty(s.shape, numpy_dtype(s.dtype)) for s in found.outputs()]
    kernel.run([x], outs, workspace(kernel), 1)
    return outs


# ---- indices that lie outside ----

@pytest.mark.parametrize("index", ["i32", "i64"])
@pytest.mark.parametrize("wrong", [5, -6, 2**31 - 1, -2**31])
def test_an_index_outside_is_an_error_and_is_not_read(index, wrong):
    found = case("gather", TensorSpec("f32", (2, 5, 3)), TensorSpec(index, (4,)), axis=1)
    x = np.zeros((2, 5, 3), np.float32)
    with pytest.raises(RuntimeError, match="an index that lies outside of the axis"):
        run(found, [x, np.array([0, 4, wrong, -5], numpy_dtype(index))])
    (y,) = run(found, [x, np.array([0, 4, -1, -5], numpy_dtype(index))])
    assert not y.any()


def test_the_error_names_the_layer():
    values = [helper.make_tensor_value_info(n, t, s) for n, t, s in (
        ("x", TensorProto.FLOAT, (7, 3)), ("i", TensorProto.INT64, (2,)), ("y", TensorProto.FLOAT, (2, 3)))]
    node = helper.make_node("Gather", ["x", "i"], ["y"], name="tokens", axis=0)
    graph = helper.make_graph([node], "g", values[:2], values[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = pathweave.load(model.SerializeToString(), threads=2).session()
    x = np.arange(21, dtype=np.float32).reshape(7, 3)
    with pytest.raises(InputError, match=r"tokens.*an index that lies outside of the axis.*expected indices from -n to n - 1"):
        session({"x": x, "i": np.array([1, 7])})
    assert np.array_equal(session({"x": x, "i": np.array([1, -1])}), x[[1, -1]])


# ---- sizes of a run ----

def test_wrong_sizes_of_a_run_are_refused():
    attrs = kind_of("shape").complete({})
    problem = Problem.make("shape", [TensorSpec("u8", (2, 3))], [False], [TensorSpec("i64", (2,))], attrs)
    kernel = native().prepare(problem.text, "shape/sizes:any:plain:cpu", "", [(None, 0)])
    y = np.empty(2, np.int64)
    assert kernel.open(0, 0) and not kernel.open(1, 0)
    kernel.run([np.empty((1, 2), np.uint8)], [y], workspace(kernel), 1, sizes=[(1, 2), (2,)])
    assert y.tolist() == [1, 2]
    for sizes, message in (([(1, 4), (2,)], "axis 1 has size 4"), ([(1, 2), (1,)], "axis 0 has size 1, expected 2"),
                           ([(1,), (2,)], "expected 2 sizes"), ([(1, 2)], "the sizes of 2 ports"),
                           ([(1, -1), (2,)], "size -1")):
        with pytest.raises(ValueError, match=message):
            kernel.run([np.empty((1, 2), np.uint8)], [y], workspace(kernel), 1, sizes=sizes)
    with pytest.raises(ValueError, match="expected 2 bytes, got 6"):
        kernel.run([np.empty((2, 3), np.uint8)], [y], workspace(kernel), 1, sizes=[(1, 2), (2,)])
