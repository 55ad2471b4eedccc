"""What the layer kinds refuse, inputs that stand for attributes, special values, the precision of the arithmetic."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from pathweave.errors import ModelError, ShapeError
from pathweave.layers import apply_epilogue, infer_layer, kind_of, kinds
from pathweave.net.net import Epilogue, Layer, TensorSpec
from pathweave.testing import cases


def _infer(kind, *shapes, **attrs):
    specs = [s if s is None or isinstance(s, TensorSpec) else TensorSpec("f32", s) for s in shapes]
    return infer_layer(Layer("the layer", kind, tuple("x" for _ in specs), ("y",), attrs), specs)


def _meaning(kind, *arrays, **attrs):
    of = kind_of(kind)
    return of.meaning(of.complete(attrs), [None if a is None else np.asarray(a) for a in arrays])


def test_unknown_kind_lists_the_known_ones():
    with pytest.raises(ModelError, match="conv4.*conv2"):
        kind_of("conv4")


@pytest.mark.parametrize("name", sorted(kinds()))
def test_unknown_attribute(name):
    with pytest.raises(ModelError, match=f"{name}: unknown attributes \\['no_such'\\]"):
        kind_of(name).complete({"no_such": 1})


@pytest.mark.parametrize("name", sorted(n for n, k in kinds().items() if None in k.attributes.values()))
def test_missing_attribute(name):
    with pytest.raises(ModelError, match="required"):
        kind_of(name).complete({})


@pytest.mark.parametrize("name", sorted({n for n, k in kinds().items() if not k.refuses}
                                        - {"constant_of_shape", "range", "window", "mel_weights"}))
def test_no_input_and_too_many(name):
    (one, *_) = cases(name)
    attrs = kind_of(name).complete(one.attrs)
    with pytest.raises(ShapeError, match="expected .* inputs?"):
        kind_of(name).infer(attrs, [])
    if name != "concat":
        with pytest.raises(ShapeError):
            kind_of(name).infer(attrs, list(one.inputs) + [TensorSpec("f32", (1,))] * 5)


@pytest.mark.parametrize(("kind", "shapes", "attrs", "message"), [
    ("conv2", [(1, 3, 8, 8), (16, 4, 3, 3)], {}, "C/groups"),
    ("conv2", [(1, 4, 8, 8), (15, 2, 3, 3)], {"groups": 2}, "multiple of groups"),
    ("conv2", [(1, 3, 2, 8), (16, 3, 3, 3)], {}, "does not fit"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3), (15,)], {}, r"b is f32\[15\]: expected shape \[16\]"),
    ("conv2", [(3, 8, 8), (16, 3, 3, 3)], {}, "expected rank 4"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3)], {"stride": (0, 1)}, "stride"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3)], {"pad": (1, 1)}, "pad"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3)], {"pad": (-1, 0, 0, 0)}, "pad"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3)], {"dilation": "two"}, "dilation"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3)], {"groups": 0}, "groups"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3)], {"stride": (1.5, 1)}, "stride"),
    ("conv2", [(1, 3, 8, 8), (16, 3, 3, 3)], {"stride": (math.inf, 1)}, "stride"),
    ("depthwise_conv2", [(1, 8, 8, 8), (4, 1, 3, 3)], {}, "expected shape"),
    ("conv_transpose2", [(1, 8, 4, 4), (4, 8, 3, 3)], {}, "C, O/groups"),
    ("conv_transpose2", [(1, 8, 4, 4), (8, 8, 3, 3)], {"output_pad": (1, 0)}, "output_pad"),
    ("conv_transpose2", [(1, 8, 1, 1), (8, 8, 1, 1)], {"pad": (1, 1, 1, 1)}, "leaves nothing"),
    ("conv3", [(1, 3, 4, 4, 4), (8, 4, 2, 2, 2)], {}, "C/groups"), ("conv3", [(1, 3, 4, 4), (8, 3, 2, 2, 2)], {}, "rank 5"),
    ("conv3", [(1, 3, 1, 4, 4), (8, 3, 2, 2, 2)], {}, "does not fit"),
    ("conv_transpose3", [(1, 8, 2, 2, 2), (4, 8, 2, 2, 2)], {}, "C, O/groups"),
    ("max_pool3", [(1, 3, 4, 4, 4)], {"kernel": (2, 2)}, "kernel"),
    ("max_pool_indices", [(1, 3, 4)], {"kernel": (2,), "stride": (1,), "pad": (2, 0), "dilation": (1,)},
        "nothing but padding"),
    ("max_unpool", [(1, 3, 4), TensorSpec("i64", (1, 3, 5))], {"kernel": (2,), "stride": (2,), "pad": (0, 0)}, "shape of x"),
    ("grid_sample", [(1, 3, 4, 4), (1, 2, 2, 3)], {}, r"\[1, ..., 2\]"),
    ("grid_sample", [(1, 3, 0, 4), (1, 2, 2, 2)], {}, "empty"),
    ("grid_sample", [(1, 3, 4, 4), (1, 2, 2, 2)], {"mode": "area"}, "mode"),
    ("roi_align", [(1, 3, 4, 4), (2, 5), TensorSpec("i64", (2,))], {}, "regions"),
    ("roi_align", [(1, 3, 4, 4), (2, 4), TensorSpec("i64", (3,))], {}, "indices"),
    ("max_roi_pool", [(1, 3, 4, 4), (2, 4)], {"size": (1, 1)}, "regions"),
    ("deform_conv2", [(1, 3, 4, 4), (8, 3, 2, 2), (1, 6, 3, 3)], {}, "offset is"),
    ("deform_conv2", [(1, 3, 4, 4), (8, 3, 2, 2), (1, 16, 3, 3)], {"offset_groups": 2}, "multiple of it"),
    ("col2im", [(1, 9, 4)], {"image": (4, 4), "block": (2, 2)}, "multiple of 4"),
    ("col2im", [(1, 8, 9)], {"image": (4, 4), "block": (2, 2), "pads": (2**45, 0, 0, 0)}, "expected"),
    ("dense", [(4, 8), (3, 9)], {}, "last dimension"), ("dense", [(4, 8), (3, 8), (4,)], {}, "b is"),
    ("matmul", [(4, 8), (9, 3)], {}, "summed"), ("matmul", [(2, 4, 8), (3, 8, 3)], {}, "broadcast"),
    ("matmul", [(), (3,)], {}, "rank 1"),
    ("max_pool2", [(1, 3, 4, 4)], {"kernel": (5, 5)}, "does not fit"),
    ("max_pool2", [(1, 3, 4, 4)], {"kernel": (2, 2), "pad": (2, 0, 0, 0)}, "nothing but padding"),
    ("lp_pool2", [(1, 3, 4, 4)], {"kernel": (2, 2), "p": 0}, "p=0"),
    ("global_average_pool", [(1, 3, 0, 4)], {}, "not empty"),
    ("batch_norm", [(1, 3, 4, 4), (3,), (3,), (3,), (4,)], {}, "var is"),
    ("batch_norm", [(1, 3, 4, 4), (3,), (3,), (3,), (3,)], {"epsilon": "small"}, "epsilon"),
    ("madd", [(1, 3, 4, 4), (4,), ()], {}, "scale is"), ("madd", [(3,), (3,), ()], {}, "rank 2"),
    ("layer_norm", [(2, 3), (4,)], {}, "broadcast"), ("layer_norm", [(2, 3), (3,)], {"axis": 2}, "axis 2"),
    ("lrn", [(1, 3, 4, 4)], {"size": 0}, "size"), ("instance_norm", [(1, 3), (3,), (3,)], {}, "rank 3"),
    ("add", [(2, 3), (2, 4)], {}, "broadcast"), ("prelu", [(2, 3), (4, 2, 3)], {}, "does not broadcast"),
    ("add", [TensorSpec("f32", (2,)), TensorSpec("i64", (2,))], {}, "cast"),
    ("logical_and", [(2,), (2,)], {}, "element type"), ("sqrt", [TensorSpec("i32", (2,))], {}, "element type"),
    ("clip", [(2,)], {"min": "low"}, "min"), ("cast", [(2,)], {"dtype": "float"}, "dtype"),
    ("cast", [(2,)], {"dtype": "f32", "source": "bf16"}, "bf16"),
    ("cast", [(2,)], {"dtype": "f32", "through": "f32"}, "through"),
    ("reduce", [(2, 3)], {"op": "median", "axes": (0,)}, "op"),
    ("reduce", [(2, 3)], {"op": "sum", "axes": (2,)}, "axis"),
    ("reduce", [(2, 3)], {"op": "sum", "axes": (0, -2)}, "repeated"),
    ("softmax", [(2, 3)], {"axis": 2}, "axis 2"), ("softmax", [(2, 3)], {"axis": "last"}, "axis"),
    ("concat", [(2, 3), (2, 4)], {"axis": 0}, "more than axis 0"), ("concat", [(2, 3), (2,)], {"axis": 0}, "differ"),
    ("split", [(2, 5)], {"axis": 1, "sizes": (2, 2)}, "add up to 4"),
    ("slice", [(4,)], {"starts": (0,), "ends": (1, 2)}, "ends"),
    ("slice", [(4,)], {"starts": (0, 0), "ends": (1, 1)}, "axis"),
    ("slice", [(4,)], {"starts": (0,), "ends": (1,), "steps": (0,)}, "steps"),
    ("pad", [(4,)], {"pads": (1,)}, "pads"), ("pad", [(4,)], {"pads": (-3, -2)}, "cut off"),
    ("pad", [(4,)], {"pads": (1, 1), "mode": "mirror"}, "mode"),
    ("pad", [(1,)], {"pads": (1, 0), "mode": "reflect"}, "short"),
    ("transpose", [(2, 3)], {"perm": (0, 0)}, "perm"), ("transpose", [(2, 3)], {"perm": (0,)}, "perm"),
    ("reshape", [(2, 3)], {"shape": (4, 2)}, "8 elements"), ("reshape", [(2, 3)], {"shape": (-1, -1)}, "-1"),
    ("reshape", [(2, 3)], {"shape": (4, -1)}, "-1"), ("reshape", [(2, 3)], {"shape": (-2,)}, "at least -1"),
    ("reshape", [(6,)], {"shape": (6, 0)}, "0 keeps"), ("squeeze", [(2, 3)], {"axes": (0,)}, "length 1"),
    ("expand", [(2, 3)], {"shape": (4, 3)}, "broadcast"), ("tile", [(2, 3)], {"repeats": (2,)}, "repeats"),
    ("depth_to_space", [(1, 6, 2, 2)], {"block": 2}, "multiple"),
    ("space_to_depth", [(1, 6, 3, 2)], {"block": 2}, "multiples"),
    ("gather", [(2, 3), (1,)], {}, "indices"), ("argmax", [(0, 3)], {}, "empty"), ("topk", [(3,)], {"k": 4}, "only 3"),
    ("topk", [(3,)], {}, "k="), ("where", [(2,), (2,), (2,)], {}, "condition"),
    ("range", [], {"start": 0, "limit": 4}, "three numbers"),
    ("range", [], {"start": 0, "limit": 4, "delta": 0}, "delta"),
    ("range", [], {"start": 0, "limit": math.inf, "delta": 1}, "three numbers"),
    ("constant_of_shape", [], {"shape": (-1,)}, "shape"), ("constant_of_shape", [], {"dtype": "text"}, "dtype"),
    ("resize2", [(1, 3, 4, 4)], {}, "exactly one"),
    ("resize2", [(1, 3, 4, 4)], {"size": (2, 2), "scale": (2.0, 2.0)}, "one"),
    ("resize2", [(1, 3, 4, 4)], {"size": (1, 4, 8, 8)}, "leave N and C"),
    ("resize2", [(1, 3, 4, 4)], {"scale": (0.1, 1.0)}, "empty"),
    ("resize2", [(1, 3, 4, 4)], {"scale": (-1.0, 1.0)}, "positive"),
    ("resize2", [(1, 3, 4, 4)], {"mode": "area", "size": (2, 2)}, "mode"),
])
def test_refused(kind, shapes, attrs, message):
    with pytest.raises(ShapeError, match=f"'the layer' .{kind}.*{message}"):
        _infer(kind, *shapes, **attrs)


def test_every_refusal_of_a_hostile_attribute_is_typed():
    hostile = ["text", (), -1, 2**70, math.nan, math.inf, (1, 2, 3), ("a", "b"), (2**70,) * 4, (math.nan,) * 2, 0.5]
    for one in {c.kind: c for c in cases()}.values():
        for name in kind_of(one.kind).attributes:
            for value in hostile:
                layer = Layer("l", one.kind, ("x",) * len(one.inputs), ("y",), {**one.attrs, name: value})
                try:
                    infer_layer(layer, list(one.inputs))
                except ShapeError:
                    continue


@pytest.mark.parametrize(("kind", "data", "attrs", "inputs"), [
    ("reshape", [np.arange(12.0)], {"shape": (3, -1)}, [np.array([3, -1])]),
    ("slice", [np.arange(12.0)], {"starts": (2,), "ends": (9,)}, [np.array([2]), np.array([9])]),
    ("slice", [np.arange(12.0).reshape(3, 4)], {"starts": (3,), "ends": (0,), "axes": (1,), "steps": (-2,)},
     [np.array([3]), np.array([0]), np.array([1]), np.array([-2])]),
    ("pad", [np.arange(4.0)], {"pads": (1, 2), "value": 3.0}, [np.array([1, 2]), np.array(3.0)]),
    ("pad", [np.zeros((2, 3))], {"pads": (1, 2), "axes": (1,)}, [np.array([1, 2]), None, np.array([1])]),
    ("squeeze", [np.zeros((1, 3, 1))], {"axes": (2,)}, [np.array([2])]),
    ("unsqueeze", [np.zeros((3,))], {"axes": (0, 2)}, [np.array([0, 2])]),
    ("expand", [np.ones((3, 1))], {"shape": (2, 1, 4)}, [np.array([2, 1, 4])]),
    ("tile", [np.arange(3.0)], {"repeats": (2,)}, [np.array([2])]),
    ("topk", [np.array([3.0, 1.0, 2.0])], {"k": 2}, [np.array([2])]),
    ("resize2", [np.ones((1, 2, 3, 3))], {"size": (6, 5)}, [np.array([1, 2, 6, 5])]),
    ("resize2", [np.ones((1, 2, 3, 3))], {"scale": (2.0, 1.5)}, [None, np.array([1, 1, 2, 1.5])]),
    ("constant_of_shape", [], {"shape": (2, 3)}, [np.array([2, 3])]),
    ("range", [], {"start": 2, "limit": 9, "delta": 3}, [np.array(2), np.array(9), np.array(3)]),
    ("range", [], {"start": (2,), "limit": (9,), "delta": (3,)}, [np.array(2), np.array(9), np.array(3)]),
    ("range", [], {"start": 0.0, "limit": 1.0, "delta": 0.25}, [np.float32(0), np.float32(1), np.float32(0.25)]),
])
def test_inputs_stand_for_attributes(kind, data, attrs, inputs):
    of = kind_of(kind)
    wanted = _meaning(kind, *data, **attrs)
    got = _meaning(kind, *data, *inputs)
    absorbed, gone = of.absorb({}, [*[None] * len(data), *inputs])
    bound = of.meaning(of.complete(absorbed), data)
    specs = of.infer(of.complete(absorbed), [TensorSpec("f64", d.shape) for d in data])
    assert gone == {i + len(data) for i, v in enumerate(inputs) if v is not None}
    for a, b, c, spec in zip(wanted, got, bound, specs, strict=True):
        assert np.array_equal(a, b) and np.array_equal(a, c) and a.dtype == b.dtype and a.shape == spec.shape
    with pytest.raises(ShapeError, match="depends on the contents of input"):
        of.infer(of.complete({}), [*[TensorSpec("f64", d.shape) for d in data],
                                   *[v if v is None else TensorSpec("i64", np.shape(v)) for v in inputs]])


def test_reshape_zero_with_allowzero():
    assert _infer("reshape", (0, 3), shape=(3, 0), allowzero=1)[0].shape == (3, 0)
    assert _meaning("reshape", np.zeros((0, 3)), shape=(3, 0), allowzero=1)[0].shape == (3, 0)


def test_squeeze_without_axes_takes_every_one():
    assert _infer("squeeze", (1, 4, 1))[0].shape == (4,)


def test_integers_divide_towards_zero():
    a, b = np.array([7, -7, 7, -7, 6, -6, 0]), np.array([2, 2, -2, -2, 3, 3, 5])
    (y,) = _meaning("div", a, b)
    assert y.tolist() == [3, -3, -3, 3, 2, -2, 0] and y.dtype == a.dtype


def test_mean_of_integers_is_cut_towards_zero():
    assert _meaning("reduce", np.array([[-1, -2], [1, 2]]), op="mean", axes=(1,))[0].tolist() == [[-1], [1]]


def test_gather_outside_is_a_model_error():
    with pytest.raises(ModelError, match="axis 0 of length 3"):
        _meaning("gather", np.zeros(3), np.array([3]))


@pytest.mark.parametrize("name", ["sigmoid", "silu", "softplus", "mish", "elu", "selu", "celu", "gelu", "tanh",
    "hard_swish"])
def test_activations_stay_finite_for_large_inputs(name):
    with np.errstate(over="raise", invalid="raise"):
        (y,) = _meaning(name, np.array([-1e4, -100.0, 0.0, 100.0, 1e4], np.float32))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_large_inputs(name):
    (y,) = _meaning(name, np.array([1e30, 0.0, 1e30], np.float32))
    wanted = np.array([0.5, 0, 0.5]) if name == "softmax" else np.array([-math.log(2), -1e30, -math.log(2)])
    assert np.allclose(y, wanted, rtol=1e-6)


def test_nan_passes_through():
    x = np.array([np.nan, 1.0], np.float32)
    for name in ("relu", "clip", "leaky_relu", "sigmoid", "hard_sigmoid", "hard_swish", "silu", "gelu", "elu",
        "softplus",
                 "mish", "erf", "abs"):
        (y,) = _meaning(name, x)
        assert np.isnan(y[0]) and not np.isnan(y[1]), name
    assert np.isnan(_meaning("maximum", x, np.float32(3))[0][0])
    assert np.isnan(_meaning("max_pool2", x.reshape(1, 1, 1, 2), kernel=(1, 2))[0]).all()


def test_log_sum_exp_of_infinities():
    (y,) = _meaning("reduce", np.array([[-np.inf, -np.inf], [np.inf, 0.0], [1e4, 1e4]]), op="log_sum_exp", axes=(1,))
    assert y[0, 0] == -np.inf and y[1, 0] == np.inf and y[2, 0] == pytest.approx(1e4 + math.log(2))


def test_float16_is_computed_in_float32():
    x = np.full((1, 4096), 16.0, np.float16)  # the squares add up to 2^20, beyond float16
    assert _meaning("reduce", x, op="l2", axes=(1,))[0].item() == 1024.0
    w = np.ones((1, 4096), np.float16) / np.float16(64)
    assert _meaning("dense", x, w)[0].dtype == np.float16 and _meaning("dense", x, w)[0].item() == 1024.0


def test_epilogue_adds_then_activates():
    y = apply_epilogue(np.array([1.0, -3.0]), Epilogue.parse("add+clip:0.0:2.5"), np.array([2.0, 1.0]))
    assert y.tolist() == [2.5, 0.0]


def test_large_convolution_in_chunks_equals_small_ones():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 64, 96, 97)), rng.standard_normal((2, 64, 3, 3))
    (y,) = _meaning("conv2", x, w, pad=(1, 1, 1, 1))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    wanted = sum(np.einsum("nchw,oc->nohw", padded[:, :, i:i + 96, j:j + 97], w[:, :, i, j])
                 for i in range(3) for j in range(3))
    assert np.abs(y - wanted).max() < 1e-11


@pytest.mark.parametrize("kind", sorted({c.kind for c in cases() if c.epilogue.add}))
def test_a_residual_is_of_the_type_and_shape_of_the_output(kind):
    """Routines read it at the output's positions: one that only broadcasts would be read past its end."""
    case = next(c for c in cases(kind) if c.epilogue.add)
    layer, (output, *_) = case.layer(), case.outputs()
    assert infer_layer(layer, [*case.inputs[:-1], output])[0] == output
    shape = output.shape
    others = [shape[1:], (1, *shape), (*shape[:-1], shape[-1] + 1), (*shape[:-1], 1), (), (0, *shape[1:])]
    for residual in [*(TensorSpec("f32", s) for s in others if s != shape), TensorSpec("f64", shape), None]:
        with pytest.raises(ShapeError, match="its epilogue adds the last input"):
            infer_layer(layer, [*case.inputs[:-1], residual])


@pytest.mark.parametrize("case", list({c.kind: c for c in cases()}.values()), ids=lambda c: c.kind)
def test_a_layer_has_no_more_outputs_than_its_kind(case):
    """A name that nothing computes would end as a KeyError in whoever reads it."""
    layer = case.layer()
    with pytest.raises(ShapeError, match="expected .* outputs?, got the names .*'one too many'"):
        infer_layer(replace(layer, outputs=(*layer.outputs, "one too many")), list(case.inputs))
