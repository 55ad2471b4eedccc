"""How much a layer kind computes, and which kinds round nothing: against numbers counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pathweave.layers import infer_layer, kind_of, kinds
from pathweave.net.net import Layer, TensorSpec
from pathweave.testing import cases

PLANE = (1, 2, 4, 4)


def sizes(kind, *inputs, **attrs):
    """(operations, terms) of a layer; an input is a shape (f32), a spec, or None."""
    specs = [s if s is None or isinstance(s, TensorSpec) else TensorSpec("f32", s) for s in inputs]
    outputs = infer_layer(Layer("l", kind, tuple("x" for _ in specs), ("y",), attrs), specs)
    of = kind_of(kind)
    return of.operations(of.complete(attrs), specs, outputs), of.terms(of.complete(attrs), specs)


@pytest.mark.parametrize(("kind", "inputs", "attrs", "operations", "terms"), [
    # 4 channels of 7 x 5 outputs, each 3 * 3 * 3 multiply-adds and a bias
    ("conv2", [(1, 6, 9, 7), (4, 3, 3, 3), (4,)], {"groups": 2}, 4 * 35 * 55, 27),
    ("conv2", [(1, 6, 9, 7), (4, 6, 1, 1)], {"stride": (2, 2)}, 4 * 20 * 12, 6),
    ("depthwise_conv2", [(1, 8, 6, 6), (8, 1, 3, 5)], {"pad": (1, 2, 1, 2)}, 8 * 36 * 30, 15),
    # 4 channels of 5 x 5 inputs, each of which meets 3 * 2 * 2 weights; an output sums 4 channels' taps at the most
    ("conv_transpose2", [(1, 4, 5, 5), (4, 3, 2, 2)], {"stride": (2, 2)}, 100 * 24, 16),
    ("conv_transpose2", [(1, 4, 5, 5), (4, 3, 2, 2)], {"groups": 2}, 100 * 24, 8),
    ("conv_transpose2", [(1, 4, 5, 5), (4, 3, 2, 2), (3,)], {"stride": (2, 2)}, 100 * 24 + 3 * 100, 16),
    ("dense", [(3, 10), (5, 10), (5,)], {}, 15 * 21, 10),
    ("matmul", [(2, 3, 7), (7, 5)], {}, 30 * 14, 7),
    ("matmul", [(7,), (7,)], {}, 14, 7),
    ("max_pool2", [PLANE], {"kernel": (2, 3), "stride": (2, 1)}, 8 * 6, 6),
    ("average_pool2", [PLANE], {"kernel": (2, 2), "stride": (2, 2)}, 8 * 4, 4),
    ("lp_pool2", [PLANE], {"kernel": (4, 4)}, 2 * 16, 16),
    ("global_average_pool", [PLANE], {}, 32, 16),
    ("global_max_pool", [PLANE], {"keepdims": 0}, 32, 1),
    ("reduce", [(2, 3, 5)], {"op": "sum", "axes": (0, -1)}, 30, 10),
    ("reduce", [(2, 3, 5)], {"op": "mean", "axes": ()}, 30, 30),
    ("argmax", [(3, 5)], {"axis": 1}, 15, 1),
    ("softmax", [(3, 5)], {"axis": 0}, 15, 3),
    ("hardmax", [(3, 5)], {}, 15, 1),
    ("batch_norm", [PLANE, (2,), (2,), (2,), (2,)], {}, 32, 1),
    ("madd", [PLANE, (2,), (2,)], {}, 64, 1),
    ("instance_norm", [PLANE, (2,), (2,)], {}, 32, 16),
    ("layer_norm", [(3, 5, 7), (5, 7)], {"axis": 1}, 105, 35),
    ("lrn", [PLANE], {"size": 5}, 32, 5),
    ("add", [(2, 1, 3), (4, 1)], {}, 24, 1),
    ("relu", [(3, 5)], {}, 15, 1),
    ("topk", [(3, 5)], {"k": 2}, 12, 1),
    ("resize2", [PLANE], {"size": (8, 2)}, 32, 1),
    ("concat", [(2, 3), (4, 3)], {"axis": 0}, 0, 1), ("split", [(5,)], {"sizes": (2, 3)}, 0, 1),
    ("slice", [(5,)], {"starts": (1,), "ends": (3,)}, 0, 1), ("pad", [(5,)], {"pads": (1, 3)}, 0, 1),
    ("transpose", [(2, 3)], {"perm": (1, 0)}, 0, 1), ("permute", [(2, 3)], {"order": (1, 0)}, 0, 1),
    ("reshape", [(2, 3)], {"shape": (6,)}, 0, 1), ("squeeze", [(1, 3)], {}, 0, 1), ("cast", [(3,)], {"dtype": "i8"}, 0, 1),
    ("unsqueeze", [(3,)], {"axes": (0,)}, 0, 1), ("expand", [(3, 1)], {"shape": (3, 2)}, 0, 1),
    ("tile", [(3,)], {"repeats": (2,)}, 0, 1), ("depth_to_space", [(1, 4, 2, 2)], {"block": 2}, 0, 1),
    ("space_to_depth", [PLANE], {"block": 2}, 0, 1), ("identity", [(3,)], {}, 0, 1), ("sink", [(3,)], {}, 0, 1),
    ("gather", [(5,), TensorSpec("i64", (2,))], {}, 0, 1), ("where", [TensorSpec("bool", (3,)), (3,), (3,)], {}, 0, 1),
    ("shape", [PLANE], {}, 0, 1), ("constant_of_shape", [], {"shape": (3,)}, 0, 1),
    ("range", [], {"start": 0, "limit": 4, "delta": 1}, 0, 1),
    ("source", [TensorSpec("u8", (9, 9, 3))], {"shape": (1, 3, 4, 4)}, 0, 1),
])
def test_operations_and_terms(kind, inputs, attrs, operations, terms):
    assert sizes(kind, *inputs, **attrs) == (operations, terms)


def test_an_inverted_residual_counts_its_stages():
    x, expand, depthwise, project = (1, 4, 6, 6), (8, 4, 1, 1), (8, 1, 3, 3), (3, 8, 1, 1)
    attrs = {"stride": (2, 2), "pad": (1, 1, 1, 1), "expand": "relu", "depthwise": "clip:0.0:6.0"}
    # 8 x 36 values of 4 multiply-adds, bias, activation; 8 x 9 of 9 and an activation; 3 x 9 of 8 and a bias
    whole = 288 * (8 + 2) + 72 * (18 + 1) + 27 * (16 + 1)
    assert sizes("inverted_residual", x, expand, (8,), depthwise, None, project, (3,), **attrs) == (whole, 9)
    # without an expansion; the last stage's activation is the layer's own epilogue
    assert sizes("inverted_residual", x, None, None, (4, 1, 3, 3), (4,), (3, 4, 1, 1), stride=(2, 2), pad=(1, 1, 1, 1)) == \
        (36 * (18 + 1) + 27 * 8, 9)
    # without a projection
    assert sizes("inverted_residual", x, expand, None, depthwise) == (288 * 8 + 8 * 16 * 18, 9)


def test_squeeze_and_excite_counts_its_stages():
    x, squeeze, excite = (2, 8, 3, 3), (4, 8, 1, 1), (8, 4, 1, 1)
    # two images: 72 values each are summed and scaled; 4 factors of 8 terms, 8 of 4
    plain = 2 * (72 + 4 * 16 + 8 * 8 + 72)
    assert sizes("squeeze_excite", x, None, None, squeeze, None, excite) == (plain, 9)
    # two biases and two activations; a depthwise stage that halves 6 x 6, with an activation
    more = 2 * (2 * 4 + 2 * 8) + 2 * 72 * (18 + 1)
    attrs = {"stride": (2, 2), "pad": (1, 1, 1, 1), "depthwise": "relu", "squeeze": "relu", "excite": "hard_sigmoid"}
    assert sizes("squeeze_excite", (2, 8, 6, 6), (8, 1, 3, 3), None, squeeze, (4,), excite, (8,), **attrs) == \
        (plain + more, 9)


@pytest.mark.parametrize("name", sorted(n for n, k in kinds().items() if k.exact))
def test_exact_kinds_round_nothing(name):
    """Of float32 numbers, what comes out in float64 fits into float32."""
    for case in cases(name):
        if not case.epilogue and all(s is None or s.dtype != "f64" for s in case.inputs):
            for y in case.reference(case.arrays()):
                if y.dtype == np.float64:
                    assert np.array_equal(y, y.astype(np.float32).astype(np.float64), equal_nan=True), case


@pytest.mark.parametrize("name", sorted(n for n, k in kinds().items() if range(99)[k.moves] and k.exact))
def test_movers_give_elements_of_their_inputs(name):
    """And nothing else but a constant."""
    for case in cases(name):
        if not case.epilogue:
            arrays = case.arrays()
            moved = np.concatenate([np.ravel(a) for a in arrays[kind_of(name).moves]])
            others = {v for y in case.reference(arrays) for v in np.ravel(y[~np.isin(y, moved) & ~np.isnan(y)]).tolist()}
            values = getattr(kind_of(name), "value_inputs", {})
            given = [float(np.ravel(arrays[i])[0]) for i, key in values.items() if key == "value" and i < len(arrays)
                     and arrays[i] is not None]
            assert others <= {float(case.attrs.get("value", 0)), *given}, case
