"""Operators that look at sizes of their inputs: a model that leaves these open, or gives too few axes, is refused in words."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx_models import build

from pathweave.errors import ModelError, UnsupportedOperatorError
from pathweave.importers import load


def f(*shape):
    return np.zeros(shape, np.float32)


def i(*shape, dtype=np.int32):
    return np.zeros(shape, dtype)


#: Words that stand for unfinished checks in the message of `convert`.
UNFORESEEN = "cannot be converted"
HEADS, GROUPS = {"num_heads": 2}, {"num_heads": 2, "kv_num_heads": 1}
FLAT = {"q_num_heads": 2, "kv_num_heads": 2}
LINEAR = {**FLAT, "update_rule": "linear"}


def model(op, inputs, attrs, opset, domain="", free=()):
    """One node; `free`: inputs of which every size is a symbol."""
    node = helper.make_node(op, ["" if a is None else f"x{k}" for k, a in enumerate(inputs)], ["y"], domain=domain, **attrs)
    given = {f"x{k}": (a, [f"x{k}_{axis}" for axis in range(a.ndim)]) if k in free else a
             for k, a in enumerate(inputs) if a is not None}
    return build([node], given, opset=opset, domains=[domain] if domain else [])


MICROSOFT = {"opset": 17, "domain": "com.microsoft"}
PACKED_GROUPS = (f(2, 5, 16), None, None, None, None, i(2), i(1))


@pytest.mark.parametrize("op, inputs, attrs, says, where", [
    ("Attention", (f(2, 5, 8), f(8, 24), f(24)), HEADS, "number of columns", {**MICROSOFT, "free": (1,)}),
    ("Attention", (f(2, 5, 8), f(8, 24), f(24), i(2)), HEADS, "mask_index", {**MICROSOFT, "free": (0, 3)}),
    ("MultiHeadAttention", (f(2, 5, 8), f(2, 5, 8), f(2, 5, 8), f(24)), HEADS, "widths", {**MICROSOFT, "free": (0, 1, 2)}),
    ("GroupQueryAttention", PACKED_GROUPS, GROUPS, "packed query", {**MICROSOFT, "free": (0,)}),
    ("RotaryEmbedding", (f(2, 5, 8), i(2, 5, dtype=np.int64), f(9, 2), f(9, 2)), {}, "num_heads",
     {**MICROSOFT, "free": (0,)}),
    ("RotaryEmbedding", (f(2, 5, 8), i(2, 5, dtype=np.int64), f(9, 2), f(9, 2)), {}, "num_heads",
     {**MICROSOFT, "free": (2, 3)}),
    ("LinearAttention", (f(2, 5, 8),) * 3, LINEAR, "widths", {"opset": 27, "free": (0,)}),
    ("LinearAttention", (f(2, 5, 8),) * 3, LINEAR, "widths", {"opset": 27, "free": (2,)}),
    ("AffineGrid", (f(2, 2, 3), i(4, dtype=np.int64)), {}, "number of axes", {"opset": 20, "free": (0, 1)}),
])
def test_open_sizes_that_an_operator_needs_are_not_supported(op, inputs, attrs, says, where):
    with pytest.raises(UnsupportedOperatorError, match=says):
        load(model(op, inputs, attrs, **where))


@pytest.mark.parametrize("op, inputs, attrs, where", [
    ("Attention", (f(2, 5, 8), f(24), f(24)), HEADS, MICROSOFT),
    ("MultiHeadAttention", (f(2, 5, 8), f(2, 5), f(2, 5, 8)), HEADS, MICROSOFT),
    ("MultiHeadAttention", (f(2, 5, 8), f(2, 2, 5, 4), f(2, 5, 8)), HEADS, MICROSOFT),
    ("GroupQueryAttention", (f(2, 16), *PACKED_GROUPS[1:]), GROUPS, MICROSOFT),
    ("RotaryEmbedding", (f(2, 5, 8), i(2, 5, dtype=np.int64), f(9), f(9)), {}, MICROSOFT),
    ("QGemm", (i(2, 3, dtype=np.uint8), f(), i(dtype=np.uint8), i(3, dtype=np.uint8), f(), i(dtype=np.uint8)), {}, MICROSOFT),
    ("Attention", (f(2, 5, 8), f(2, 8), f(2, 5, 8)), FLAT, {"opset": 23}),
    ("Attention", (f(2, 5, 8), f(2, 5, 8), f(8)), FLAT, {"opset": 23}),
    ("LinearAttention", (f(2, 5), f(2, 5, 8), f(2, 5, 8)), LINEAR, {"opset": 27}),
    ("GroupNormalization", (f(4), f(2), f(2)), {"num_groups": 2}, {"opset": 18}),
    ("AffineGrid", (f(2), i(4, dtype=np.int64)), {}, {"opset": 20, "free": (1,)}),
])
def test_inputs_with_too_few_axes_are_malformed(op, inputs, attrs, where):
    with pytest.raises(ModelError) as e:
        load(model(op, inputs, attrs, **where))
    assert UNFORESEEN not in str(e.value) and op in str(e.value)
