"""What is known of values at every size of the symbols."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave.meaning.open_shapes import OpenShapes
from pathweave.net.net import Layer, TensorSpec


def _followed(spec, *layers, **constants) -> OpenShapes:
    shapes = OpenShapes({"x": TensorSpec("f32", spec)})
    for name, array in constants.items():
        shapes.constant(name, np.asarray(array))
    for i, (kind, inputs, output, attrs) in enumerate(layers):
        shapes.step(Layer(f"l{i}", kind, tuple(inputs.split()), tuple(output.split()), attrs))
    return shapes


def test_sizes_and_symbols():
    t = _followed(("N", 3, "H"), ("relu", "x", "a", {}), ("transpose", "a", "b", {"perm": (2, 1, 0)}),
                ("concat", "a a", "c", {"axis": 2}), ("reduce", "x", "r", {"op": "sum", "axes": (0, 2), "keepdims": 0}))
    assert t.shape("b") == (None, 3, None) and t.named_shape("b") == ("H", 3, "N")
    assert t.named_shape("c") == ("N", 3, "c.2") and t.shape("r") == (3,) and t.dtype("c") == "f32"


@pytest.mark.parametrize(("start", "end", "known"), [(0, 3, None), (0, 1, 1), (-1, 2**31, 1), (1, 3, None), (0, 300, None)])
def test_slices_of_a_symbol(start, end, known):
    """Three rows of a batch are one where the batch has only one; the first row is always there."""
    t = _followed(("N", 4), ("slice", "x", "y", {"starts": (start,), "ends": (end,), "axes": (0,), "steps": (1,)}))
    assert t.shape("y") == (known, 4)


def test_squeezing_depends_on_the_size():
    layer = ("squeeze", "x", "y", {"axes": ()})
    assert _followed(("N", 1, 3), layer).shape("y") is None
    assert _followed((2, 1, 3), layer).shape("y") == (2, 3)
    assert _followed(("N", "M"), layer).shape("y") is None
    many = tuple(f"s{i}" for i in range(10))  # too many for a follower each: one in which all are 1
    assert _followed(many, layer).shape("y") is None


def test_broadcasting_with_one():
    t = _followed(("N", 4), ("add", "x c", "y", {}), c=np.ones((1, 4), np.float32))
    assert t.named_shape("y") == ("N", 4)
    t = _followed(("N", "M"), ("expand", "x", "y", {"shape": (1, 1)}), ("transpose", "x", "t", {"perm": (1, 0)}),
                ("add", "x t", "z", {}))
    assert t.named_shape("y") == ("N", "M") and t.shape("z") == (None, None)


def test_what_only_some_sizes_fit():
    """A reshape to a constant shape, and a sum with rows of a constant, hold at one batch size only."""
    t = _followed(("N", 3, 4, 5), ("reshape", "x", "r", {"shape": (2, 3, 20)}), ("add", "r c", "s", {}),
                ("matmul", "s w", "m", {}), ("reduce", "m", "y", {"op": "max", "axes": (-1,), "keepdims": 0}),
                c=np.ones((2, 3, 20), np.float32), w=np.ones((20, 7), np.float32))
    assert t.shape("r") == t.shape("s") == (2, 3, 20) and t.shape("m") == (2, 3, 7) and t.shape("y") == (2, 3)


def test_contents():
    t = _followed(("N", 3), ("shape", "x", "d", {}), ("gather", "d one", "columns", {}), ("gather", "d zero", "rows", {}),
                ("concat", "d one1", "both", {"axis": 0}), ("reshape", "x both", "y", {}), one=np.int64(1),
                zero=np.int64(0), one1=np.array([1]))
    assert t.content("columns") == 3 and t.content("rows") is None and t.content("d") is None
    assert t.named_shape("y") == ("N", 3, 1)
