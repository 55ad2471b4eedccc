"""Mutated ONNX bytes end in a net or in an error of our tree, never in anything else, and soon."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build

from pathweave.errors import Error
from pathweave.importers import load
from pathweave.passes import bind, optimise
from pathweave.testing.fuzz.mutate import flip, onnx_message

MUTANTS_PER_BASE = 400
MESSAGE_MUTANTS_PER_BASE = 400
#: A mutant that takes longer hangs: the slowest of all takes well under a second.
HANGS_AFTER_SECONDS = 20

RANDOM = np.random.default_rng(7)


def _f(*shape):
    return RANDOM.standard_normal(shape).astype(np.float32)


def _i(*values):
    return np.array(values, np.int64)


def _node(op, inputs, outputs="", **attrs):
    return helper.make_node(op, inputs.split(), (outputs or inputs + "'").split(), name=f"node_{op}_{outputs}", **attrs)


def _classifier() -> bytes:
    nodes = [
        _node("Conv", "x w b", "a", strides=[2, 2], pads=[1, 1, 1, 1]),
        _node("BatchNormalization", "a s s s v", "n", epsilon=1e-3),
        _node("Relu", "n", "r"),
        _node("MaxPool", "r", "p", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
        _node("Conv", "p d", "q", group=4, dilations=[2, 2], pads=[2, 2, 2, 2]),
        _node("Add", "q p", "t"),
        _node("GlobalAveragePool", "t", "g"),
        _node("Flatten", "g", "h"),
        _node("Gemm", "h m c", "y", transB=1, alpha=0.5),
    ]
    constants = {
        "w": _f(4, 3, 3, 3),
        "b": _f(4),
        "s": _f(4),
        "v": np.abs(_f(4)),
        "d": _f(4, 1, 3, 3),
        "m": _f(5, 4),
        "c": _f(5),
    }
    return build(nodes, {"x": (_f(1, 3, 16, 16), ["N", 3, "H", "W"])}, constants)


def _shapes() -> bytes:
    nodes = [
        _node("Shape", "x", "s"),
        _node("Gather", "s zero", "n"),
        _node("Unsqueeze", "n axis", "u"),
        _node("Concat", "u rest", "shape", axis=0),
        _node("Reshape", "x shape", "r"),
        _node("Transpose", "r", "t", perm=[0, 2, 1]),
        _node("Slice", "t one three axis1", "l"),
        _node("Pad", "l pads", "p"),
        _node("Expand", "p big", "e"),
        _node("Tile", "e reps", "k"),
        _node("ConstantOfShape", "big", "z", value=numpy_helper.from_array(np.array([2.0], np.float32))),
        _node("Add", "k z", "q"),
        _node("ReduceMean", "q", "y", axes=[-1], keepdims=0),
    ]
    constants = {
        "zero": np.array(0, np.int64),
        "axis": _i(0),
        "rest": _i(3, -1),
        "one": _i(0),
        "three": _i(3),
        "axis1": _i(1),
        "pads": _i(0, 1, 0, 0, 1, 2),
        "big": _i(1, 5, 1),
        "reps": _i(1, 1, 2),
    }
    return build(nodes, {"x": (_f(2, 3, 4), ["N", 3, 4])}, constants, opset=13)


def _elementwise() -> bytes:
    nodes = [
        _node("Split", "x", "a b", axis=1),
        _node("Clip", "a low high", "c"),
        _node("HardSigmoid", "b", "d", alpha=0.3),
        _node("Mul", "c d", "e"),
        _node("Resize", "e none scales", "r", mode="linear"),
        _node("Concat", "r r", "k", axis=-3),
        _node("Softmax", "k", "s", axis=1),
        _node("TopK", "s three", "v i", axis=2),
        _node("Cast", "i", "j", to=1),
        _node("Where", "flag v j", "w"),
        _node("Pow", "w two", "o"),
        _node("DepthToSpace", "o", "y", blocksize=2),
    ]
    constants = {
        "low": np.float32(-1),
        "high": np.float32(1),
        "none": np.zeros(0, np.float32),
        "flag": np.array([True]),
        "scales": np.array([1, 1, 2, 1.5], np.float32),
        "three": _i(3),
        "two": np.float32(2),
    }
    return build(nodes, {"x": _f(1, 4, 3, 4)}, constants, opset=13)


def _half_precision() -> bytes:
    bf16 = helper.make_tensor("m", TensorProto.BFLOAT16, [4], np.ones(4, np.float32).tobytes()[2::4] * 2, raw=True)
    nodes = [
        helper.make_node("Constant", [], ["m"], value=bf16),
        helper.make_node("Constant", [], ["k"], value_ints=[0, 0, -1]),
        _node("ConvTranspose", "x w", "t", strides=[2], auto_pad="SAME_LOWER"),
        _node("InstanceNormalization", "t m m", "n"),
        _node("Reshape", "n k", "r"),
        _node("LpPool", "r", "p", kernel_shape=[2], p=3),
        _node("Range", "s l d", "g"),
        _node("Gather", "p g", "q", axis=2),
        _node("Squeeze", "q", "y"),
    ]
    constants = {
        "w": _f(3, 4, 3).astype(np.float16),
        "s": np.array(0, np.int64),
        "l": np.array(4, np.int64),
        "d": np.array(2, np.int64),
    }
    return build(nodes, {"x": _f(1, 3, 5).astype(np.float16)}, constants, opset=17)


def _float_data() -> bytes:
    tensors = [
        helper.make_tensor("w", TensorProto.FLOAT, [5, 6], list(range(30))),
        helper.make_tensor("d", TensorProto.DOUBLE, [6], [1.0] * 6),
        helper.make_tensor("i", TensorProto.INT32, [2], [1, -1]),
    ]
    nodes = [helper.make_node("Constant", [], [t.name], value=t) for t in tensors]
    nodes += [
        _node("MatMul", "x w", "a"),
        _node("Cast", "d", "s", to=TensorProto.FLOAT),
        _node("Add", "a s", "b"),
        _node("Gather", "b i", "c", axis=-1),
        _node("Erf", "c", "e"),
        _node("ArgMax", "e", "f", axis=-1),
        _node("Unsqueeze", "f", "g", axes=[0]),
        _node("Equal", "g g", "h"),
        _node("Not", "h", "y"),
    ]
    return build(nodes, {"x": _f(4, 5)}, opset=11)


BASES = {
    "classifier": _classifier,
    "shapes": _shapes,
    "elementwise": _elementwise,
    "half_precision": _half_precision,
    "float_data": _float_data,
}
BYTES = {name: make() for name, make in BASES.items()}


@contextmanager
def deadline(seconds: int):
    """Raise TimeoutError in the main thread when the block takes longer."""

    def expire(*_):
        raise TimeoutError(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, expire)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def use(data: bytes) -> bool:
    """Import, optimise and bind; True where all of it succeeds, False where an error of our tree is raised."""
    try:
        net = load(data).main
        optimise(net)
        bind(net, {n: tuple(d if isinstance(d, int) else 8 for d in s.shape) for n, s in net.inputs.items()})
    except Error as e:
        assert str(e)
        return False
    return True


@pytest.mark.parametrize("name", BASES)
def test_the_unchanged_model_is_fine(name):
    assert use(BYTES[name])


@pytest.mark.parametrize("mutator, count", [(flip, MUTANTS_PER_BASE), (onnx_message, MESSAGE_MUTANTS_PER_BASE)])
@pytest.mark.parametrize("name", BASES)
def test_mutants(name, mutator, count):
    outcomes = set()
    for seed in range(count):
        repeat = f"use({mutator.__name__}(BYTES[{name!r}], np.random.default_rng([{seed}, {len(name)}])))"
        mutant = mutator(BYTES[name], np.random.default_rng([seed, len(name)]))
        try:
            with deadline(HANGS_AFTER_SECONDS):
                outcomes.add(use(mutant))
        except Exception as e:  # whatever it is, it is the finding
            pytest.fail(f"{name}, seed {seed}: {type(e).__name__}: {e}; repeat with: {repeat}")
    assert outcomes == {True, False}  # the mutants are neither all harmless nor all nonsense


@pytest.mark.parametrize("name", BASES)
def test_every_prefix(name):
    data = BYTES[name]
    for end in range(0, len(data), max(1, len(data) // 60)):
        with deadline(HANGS_AFTER_SECONDS):
            use(data[:end])


def test_random_bytes(tmp_path):
    random = np.random.default_rng(11)
    for seed in range(200):
        data = random.bytes(int(random.integers(0, 200)))
        path = tmp_path / "model"
        path.write_bytes(b"\x08\x08" + data if seed % 2 else data)
        with pytest.raises(Error):
            load(path)
    assert os.listdir(tmp_path) == ["model"]
