"""Attention and rotary embedding of ONNX Runtime's own domain, each on its forms, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import pathweave
from pathweave.errors import UnsupportedOperatorError

RNG = np.random.default_rng(11)


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def i32(*values):
    return np.asarray(values, np.int32)


def model_of(op, inputs, outputs, constant=(), open_=(), **attrs):
    """A model of one node. `inputs`: (name, array or None) in order; `constant`: names of initializers; `open_`: names of
    inputs whose sizes are symbols."""
    node = helper.make_node(op, [name if a is not None else "" for name, a in inputs], outputs, domain="com.microsoft", **attrs)
    type_of = helper.np_dtype_to_tensor_dtype
    given = [helper.make_tensor_value_info(name, type_of(a.dtype), [f"{name}{i}" for i in range(a.ndim)] if name in open_
                                           else a.shape)
             for name, a in inputs if a is not None and name not in constant]
    made = [helper.make_tensor_value_info(name, 1, None) for name in outputs if name]
    graph = helper.make_graph([node], "node", given, made, [numpy_helper.from_array(a, name) for name, a in inputs
                                                            if a is not None and name in constant])
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20),
                                                                  helper.make_opsetid("com.microsoft", 1)])


def session(model):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def check(op, inputs, outputs=("y",), constant=(), only=None, open_=(), **attrs):
    """pathweave agrees with ONNX Runtime. `only`: what of each output is compared, where some of it is not specified."""
    model = model_of(op, inputs, list(outputs), constant, open_, **attrs)
    feeds = {name: a for name, a in inputs if a is not None and name not in constant}
    wanted = session(model).run(None, feeds)
    found = pathweave.load(model.SerializeToString()).run(feeds)
    for (name, y), expected in zip(found.items(), wanted, strict=True):
        assert y.shape == expected.shape and y.dtype == expected.dtype, name
        if only is not None:
            y, expected = only(name, y), only(name, expected)
        np.testing.assert_allclose(y, expected, rtol=2e-4, atol=2e-5, err_msg=name)


B, S, N, D = 2, 5, 4, 8


@pytest.mark.parametrize("mask", [None, i32(5, 3), i32(5, 3, 0, 1), i32([1, 1, 1, 1, 0], [1, 1, 0, 0, 0]),
                                  np.tril(np.ones((2, 5, 5), np.int32))], ids=["none", "ends", "ranges", "keys", "pairs"])
@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("constant", [("w", "b"), ()])
def test_attention(mask, causal, constant):
    x, w, b = f32(B, S, 12), f32(12, 3 * N * D) * 0.3, f32(3 * N * D)
    check("Attention", [("x", x), ("w", w), ("b", b), ("mask", mask)], constant=constant, num_heads=N, unidirectional=causal)


def test_attention_with_other_sizes_scale_and_bias():
    x, w, b, bias = f32(B, S, 12), f32(12, 32 + 32 + 48) * 0.3, f32(112), f32(1, N, S, S)
    check("Attention", [("x", x), ("w", w), ("b", b), ("m", None), ("p", None), ("bias", bias)], constant=("w", "b"),
          num_heads=N, qkv_hidden_sizes=[32, 32, 48], scale=0.2)
    check("Attention", [("x", x), ("w", w)], constant=("w",), num_heads=N, qkv_hidden_sizes=[32, 32, 48])


@pytest.mark.parametrize("mask", [None, i32([1] * 8, [0] * 3 + [1] * 5)], ids=["none", "keys"])
def test_attention_with_past(mask):
    x, w, b, past = f32(B, S, 12), f32(12, 3 * N * D) * 0.3, f32(3 * N * D), f32(2, B, N, 3, D)
    check("Attention", [("x", x), ("w", w), ("b", b), ("mask", mask), ("past", past)], ("y", "present"), constant=("w", "b"),
          num_heads=N, unidirectional=1)


L = 7


@pytest.mark.parametrize("form", ["apart", "cross"])
@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_attention(form, bias):
    b = f32(3 * N * D) if bias else None
    q, k, v = f32(B, S, N * D), f32(B, L, N * D), f32(B, L, N * D)
    if form == "cross":
        k, v = f32(B, N, L, D), f32(B, N, L, D)
    check("MultiHeadAttention", [("q", q), ("k", k), ("v", v), ("b", b)], num_heads=N)


@pytest.mark.parametrize("bias", [False, True])
def test_packed_inputs_are_those_apart(bias):
    """ONNX Runtime has no packed ones on the CPU: it is given the same apart."""
    b = [("b", f32(3 * N * D))] if bias else []
    q, k, v = f32(B, S, N, D), f32(B, S, N, D), f32(B, S, N, D)
    apart = [(name, x.reshape(B, S, N * D)) for name, x in (("q", q), ("k", k), ("v", v))]
    (wanted,) = session(model_of("MultiHeadAttention", [*apart, *b], ["y"], num_heads=N)).run(None, dict([*apart, *b]))
    none = [("k", None), ("v", None)]
    for inputs in ([("q", np.stack([q, k, v], 3)), *none], [apart[0], ("k", np.stack([k, v], 3)), none[1]]):
        model = model_of("MultiHeadAttention", [*inputs, *b], ["y"], num_heads=N).SerializeToString()
        found = pathweave.load(model).run({name: a for name, a in [*inputs, *b] if a is not None})["y"]
        np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("mask", [i32(7, 4), i32([1] * 7, [1] * 5 + [0] * 2), (RNG.random((B, S, L)) < 0.7).astype(np.int32)],
                         ids=["ends", "keys", "pairs"])
@pytest.mark.parametrize("bias", [None, f32(1, 1, S, L), f32(B, N, S, L)], ids=["none", "one", "all"])
def test_multi_head_attention_with_masks(mask, bias):
    check("MultiHeadAttention", [("q", f32(B, S, N * D)), ("k", f32(B, L, N * D)), ("v", f32(B, L, N * 6)), ("b", None),
                                 ("mask", mask), ("bias", bias)], num_heads=N, scale=0.4)


@pytest.mark.parametrize("filler", [{}, {"mask_filter_value": -1e30}, {"mask_filter_value": -2.0}], ids=str)
@pytest.mark.parametrize("lengths", [i32(0, 5), i32(3, 0), i32(0, 0)], ids=str)
def test_a_length_of_0_masks_every_key_alike(filler, lengths):
    q, k, v = f32(B, S, N * D), f32(B, S, N * D), f32(B, S, N * D)
    check("MultiHeadAttention", [("q", q), ("k", k), ("v", v), ("b", None), ("mask", lengths)], num_heads=N, **filler)
    check("Attention", [("x", f32(B, S, 12)), ("w", f32(12, 3 * N * D) * 0.3), ("b", f32(3 * N * D)), ("mask", lengths)],
          constant=("w", "b"), num_heads=N, **filler)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("open_", [(), ("q", "k", "v", "pk", "pv")])
def test_multi_head_attention_with_past(causal, open_):
    past = [("pk", f32(B, N, 3, D)), ("pv", f32(B, N, 3, D))]
    check("MultiHeadAttention", [("q", f32(B, S, N * D)), ("k", f32(B, S, N * D)), ("v", f32(B, S, N * D)),
                                 ("b", f32(3 * N * D)), ("mask", None), ("bias", None), *past], ("y", "k2", "v2"),
          num_heads=N, unidirectional=causal, constant=("b",) if not open_ else ())


G = 2


def _query_group(batch, rows, held, lengths, room=0, rotary=False, packed=False, positions=None, **attrs):
    size = 16
    q, k, v = (f32(batch, rows, h * size) for h in (N, G, G))
    if packed:
        q, k, v = np.concatenate([q, k, v], 2), None, None
    total = max(lengths)
    cos, sin = (f32(40, size // 2), f32(40, size // 2)) if rotary else (None, None)
    past = [f32(batch, G, held + room, size) for _ in range(2)]
    check("GroupQueryAttention",
          [("q", q), ("k", k), ("v", v), ("pk", past[0]), ("pv", past[1]), ("ends", i32(*[n - 1 for n in lengths])),
           ("total", np.array(total, np.int32)), ("cos", cos), ("sin", sin), ("positions", positions),
           ("bias", attrs.pop("bias", None)), ("sink", attrs.pop("sink", None))],
          ("y", "k2", "v2"), num_heads=N, kv_num_heads=G, do_rotary=int(rotary),
          constant=("total",) if attrs.pop("known", True) else (),
          only=lambda name, y: np.concatenate([(y[b, :min(rows, n)] if name == "y" else y[b, :, :n]).ravel()
                                               for b, n in enumerate(lengths)]), **attrs)


@pytest.mark.parametrize("attrs", [{}, {"rotary": True}, {"rotary": True, "packed": True},
                                   {"rotary": True, "rotary_interleaved": 1}, {"local_window_size": 3}, {"softcap": 2.0},
                                   {"scale": 0.3}, {"smooth_softmax": 1},
                                   {"sink": f32(N)}, {"known": False}], ids=str)
def test_group_query_attention(attrs):
    _query_group(2, 6, 0, (6, 4), **attrs)  # prompts
    _query_group(3, 1, 9, (10, 6, 8), room=1, **attrs)  # a step, in a cache with room
    _query_group(1, 1, 9, (10,), **attrs)  # a step, in one that grows
    _query_group(1, 4, 9, (13,), **attrs)  # several tokens behind a past


def test_group_query_attention_with_positions_and_bias():
    _query_group(2, 1, 9, (10, 7), room=1, rotary=True, positions=np.array([[9], [6]], np.int64))
    _query_group(2, 1, 9, (10, 7), room=1, bias=f32(1, N, 1, 10))


def test_a_decoder_makes_few_plans_and_runs_natively():
    """Steps of GroupQueryAttention in a cache that grows, the lengths being computed from a mask as exporters do."""
    size, nodes = 16, []

    def node(op, inputs, output, **attrs):
        nodes.append(helper.make_node(op, inputs.split(), [output], **attrs))
    node("ReduceSum", "mask axis", "sum", keepdims=1)
    node("Sub", "sum one", "last")
    node("Cast", "last", "ends", to=6)
    node("Shape", "mask", "shape", start=1, end=2)
    node("Cast", "shape", "total", to=6)
    nodes.append(helper.make_node("GroupQueryAttention", ["x", "", "", "pk", "pv", "ends", "total", "cos", "sin"],
                                  ["y", "k2", "v2"], domain="com.microsoft", num_heads=N, kv_num_heads=G, do_rotary=1))
    value = helper.make_tensor_value_info
    inputs = [value("x", 1, ["B", "S", (N + 2 * G) * size]), value("mask", 7, ["B", "T"]),
              *(value(n, 1, ["B", G, "P", size]) for n in ("pk", "pv"))]
    constants = {"axis": np.array([1]), "one": np.array([1]), "cos": f32(64, size // 2), "sin": f32(64, size // 2)}
    graph = helper.make_graph(nodes, "g", inputs, [value(n, 1, None) for n in ("y", "k2", "v2")],
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20),
                                                                   helper.make_opsetid("com.microsoft", 1)])
    reference, loaded = session(model), pathweave.load(model.SerializeToString())
    past, held = [np.zeros((1, G, 0, size), np.float32)] * 2, 0
    for rows in (6, 1, 1, 1, 1, 1, 1, 1):
        feeds = {"x": f32(1, rows, (N + 2 * G) * size), "mask": np.ones((1, held + rows), np.int64), "pk": past[0],
                 "pv": past[1]}
        found = list(loaded.run(feeds).values())
        for y, expected in zip(found, reference.run(None, feeds), strict=True):
            np.testing.assert_allclose(y, expected, rtol=2e-4, atol=2e-5)
        past, held = found[1:], held + rows
    plans = loaded.runnable().kept_plans()
    assert len(plans) <= 2  # one with an empty cache
    assert not [c.routine for plan in plans for c in plan.route.layers.values() if "numpy" in c.routine]


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("positions", [np.array([2], np.int64), RNG.integers(0, 20, (B, S))], ids=["first", "all"])
def test_rotary_embedding(interleaved, positions):
    tables = [("cos", f32(20, D // 2)), ("sin", f32(20, D // 2))]
    for x in (f32(B, S, N * D), f32(B, N, S, D)):
        check("RotaryEmbedding", [("x", x), ("positions", positions), *tables], interleaved=interleaved)
    tables = [("cos", f32(20, D // 4)), ("sin", f32(20, D // 4))]
    check("RotaryEmbedding", [("x", f32(B, S, N * D)), ("positions", positions), *tables], interleaved=interleaved, num_heads=N,
          rotary_embedding_dim=D // 2)


def test_what_is_not_covered_is_refused():
    x, w, b = f32(B, S, 12), f32(12, 3 * N * D), f32(3 * N * D)
    for attrs, said in (({"do_rotary": 1}, "rotary"), ({"past_present_share_buffer": 1}, "buffer")):
        with pytest.raises(UnsupportedOperatorError, match=said):
            pathweave.load(model_of("Attention", [("x", x), ("w", w), ("b", b)], ["y"], num_heads=N, **attrs)
                           .SerializeToString())
