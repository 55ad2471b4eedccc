"""Attention written out in single operators is offered as a region, in the forms that exporters write, and nothing else is."""

from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave
from pathweave import regions
from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import bind

B, H, S, T, D, E = 2, 4, 5, 7, 8, 6


class Graph:
    """Nodes of an ONNX model, whose inputs are random arrays."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.nodes, self.constants, self.feeds, self.outputs = [], [], {}, []

    def input(self, name, *shape, dtype=np.float32):
        self.feeds[name] = self.rng.standard_normal(shape).astype(np.float32) if dtype is np.float32 else \
            self.rng.random(shape) < 0.7
        return name

    def constant(self, values, dtype=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def __call__(self, op, *inputs, count=1, **attrs):
        outputs = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(op, list(inputs), outputs, name=f"n{len(self.nodes)}", **attrs))
        return outputs[0] if count == 1 else outputs

    def reshape(self, x, *shape):
        return self("Reshape", x, self.constant(shape, np.int64))

    def transpose(self, x, *perm):
        return self("Transpose", x, perm=perm)

    def regions(self, *outputs):
        """The regions of kind attention of the bound net; the net with them computes what ONNX Runtime does."""
        inputs = [helper.make_tensor_value_info(n, TensorProto.BOOL if a.dtype == bool else TensorProto.FLOAT, a.shape)
                  for n, a in self.feeds.items()]
        made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        model = helper.make_model(helper.make_graph(self.nodes, "g", inputs, made, self.constants), ir_version=9,
                                  opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
        net = bind(load(model).main, {n: a.shape for n, a in self.feeds.items()})
        found = [r for r in regions.find(net).values() if r.layer.kind == "attention"]
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        wanted = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"]).run(None, self.feeds)
        with np.errstate(all="ignore"):
            results = evaluate(regions.fuse(net, found), self.feeds)
        for y, expected in zip(results.values(), wanted, strict=True):
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
        return found


def written(g, keys="swapped", factor="mul", mask="", guard=False, inside=True, group=1):
    """Attention in one of its forms; gives its output."""
    q = g.transpose(g.input("q", B, S, H, D), 0, 2, 1, 3) if inside else g.input("q", B, H, S, D)
    heads = H // group
    if keys == "cache":
        k, v = g.input("k", B, heads, T, D), g.input("v", B, heads, T, E)
    else:
        k = g.transpose(g.input("k", B, T, heads, D), 0, 2, 1, 3)
        v = g.transpose(g.input("v", B, T, heads, E), 0, 2, 1, 3)
    if group > 1:
        k, v = (g.reshape(g("Expand", g("Unsqueeze", x, g.constant([2], np.int64)),
                            g.constant([B, heads, group, T, w], np.int64)), B, H, T, w) for x, w in ((k, D), (v, E)))
    if factor == "both":
        q, k = (g("Mul", x, g.constant([D**-0.25])) for x in (q, k))
    if factor == "queries":
        q = g("Div", q, g.constant(D**0.5))
    if keys == "flat":
        k = g.reshape(g.transpose(g.reshape(k, -1, T, D), 0, 2, 1), B, H, D, T)
    else:
        k = g.transpose(k, 0, 1, 3, 2)
    s = g("MatMul", q, k)
    if factor in ("mul", "div"):
        s = g("Mul", s, g.constant(0.4)) if factor == "mul" else g("Div", s, g.constant([2.5]))
    if mask == "where":
        s = g("Where", g.input("m", B, 1, S, T, dtype=bool), s, g.constant(-np.inf))
    elif mask == "causal":
        s = g("Add", s, g.constant(np.where(np.tri(S, T, dtype=bool), 0, -1e38)))
    elif mask:
        s = g("Add", g.input("m", *{"rows": (S, T), "column": (S, 1), "keys": (B, 1, 1, T), "all": (B, H, S, T)}[mask]), s)
    p = g("Softmax", s, axis=-1)
    if guard:
        p = g("Where", g("IsNaN", p), g.constant(0.0), p)
    y = g("MatMul", p, v)
    return g.transpose(y, 0, 2, 1, 3) if inside else y


@pytest.mark.parametrize(("keys", "factor"), [*itertools.product(["swapped", "flat", "cache"],
                                                                 ["mul", "div", "both", "queries", ""])])
@pytest.mark.parametrize("inside", [True, False])
def test_every_way_to_write_it(keys, factor, inside):
    g = Graph()
    (region,) = g.regions(written(g, keys, factor, inside=inside))
    inner = {"cache": (0, 0), "flat": (1, 1), "swapped": (1, 1)}[keys]
    assert region.layer.attrs["inside"] == (int(inside), *inner, int(inside))
    assert region.layer.attrs["scale"] == pytest.approx({"mul": 0.4, "div": 0.4, "": 1.0}.get(factor, D**-0.5))


@pytest.mark.parametrize("mask", ["rows", "keys", "column", "all", "where", "causal"])
@pytest.mark.parametrize("guard", [False, True])
@pytest.mark.parametrize("factor", ["mul", "both"])
def test_masks(mask, guard, factor):
    g = Graph()
    (region,) = g.regions(written(g, mask=mask, guard=guard, factor=factor))
    assert region.layer.attrs["guard"] == ("nan" if guard else "none")
    assert len(region.layer.inputs) == (3 if mask == "causal" else 4)
    assert region.layer.attrs.get("causal", 0) == (mask == "causal")


@pytest.mark.parametrize("keys", ["swapped", "cache"])
def test_keys_that_several_heads_share_are_not_repeated(keys):
    g = Graph()
    (region,) = g.regions(written(g, keys, group=2))
    assert region.layer.inputs[1:3] == ("k", "v")


def test_queries_without_any_key():
    for guard in (False, True):
        g = Graph()
        y = written(g, mask="where", guard=guard)
        g.feeds["m"][0, 0, 2] = False
        assert len(g.regions(y)) == 1


def scores(g, axis=-1, mask=None, late=False, value=None):
    q, k, v = g.input("q", B, H, S, D), g.input("k", B, H, T, D), g.input("v", B, H, T, E)
    s = g("MatMul", q, g.transpose(k, 0, 1, 3, 2))
    if mask is not None:
        s = g("Add", s, g.input("m", *mask))
    if late:
        s = g("Mul", s, g.constant(0.3))
    if value is not None:
        s = g("Where", g.input("w", B, 1, S, T, dtype=bool), s, g.constant(value))
    p = g("Softmax", s, axis=axis)
    return s, p, g("MatMul", p, v)


@pytest.mark.parametrize("change", [{"axis": 2}, {"mask": (S, T), "late": True}, {"value": -1e9}], ids=str)
def test_what_only_looks_like_it_is_not(change):
    g = Graph()
    assert not g.regions(scores(g, **change)[2])


def test_what_is_used_elsewhere_stays_outside():
    g = Graph()
    s, p, y = scores(g)
    assert not g.regions(y, p)
    assert not g.regions(y, s)
    assert len(g.regions(y)) == 1
    assert not g.regions(y, g.nodes[0].output[0])  # the transposed keys are an output too


def open_model(q="B", k="B", mask="M"):
    """Attention with a mask, written out, with open sizes."""
    g = Graph()
    c = g.constant(D**-0.5)
    s = g("Add", g("Mul", g("MatMul", "q", g.transpose("k", 0, 1, 3, 2)), c), "m")
    y = g("MatMul", g("Softmax", s, axis=-1), "v")
    shapes = {"q": [q, H, "S", D], "k": [k, H, "T", D], "v": [k, H, "T", E], "m": [q, 1, "S", mask]}
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in shapes.items()]
    graph = helper.make_graph(g.nodes, "g", inputs, [helper.make_tensor_value_info(y, TensorProto.FLOAT, None)], g.constants)
    return helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def run_open(data, sizes):
    """The kinds of regions that the plans have; calls at these (batch of q, of k, S, T, M) agree with ONNX Runtime."""
    rng = np.random.default_rng(3)
    model = pathweave.load(data)
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    for b, c, s, t, m in sizes:
        feeds = {"q": (b, H, s, D), "k": (c, H, t, D), "v": (c, H, t, E), "m": (b, 1, s, m)}
        feeds = {n: rng.standard_normal(shape).astype(np.float32) for n, shape in feeds.items()}
        for y, expected in zip(model.run(feeds).values(), session.run(None, feeds), strict=True):
            np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    return [c.routine for plan in model.runnable().kept_plans() for name, c in plan.route.layers.items()
            if name in plan.route.regions]


def test_open_sizes():
    sizes = [(2, 2, 5, 9, 9), (2, 2, 7, 20, 20), (2, 2, 1, 300, 300), (2, 2, 40, 300, 300), (2, 2, 6, 30, 1), (2, 2, 40, 9, 1),
             (2, 2, 3, 1, 1), (1, 1, 3, 4, 4)]
    found = run_open(open_model(), sizes)
    assert found and set(found) == {"attention/tiles:f32:plain:cpu"}


def test_sizes_that_are_equal_by_chance_do_not_count():
    """Batches of different names: one of them may be 1, and is broadcast."""
    run_open(open_model(k="C"), [(2, 2, 5, 9, 9), (3, 3, 5, 9, 9), (2, 1, 5, 9, 9), (3, 1, 4, 6, 6)])
    most = {"S": 8, "T": 9, "M": 9, "B": 3}
    assert len(pathweave.load(open_model()).plan(most=most).route.regions) == 1
    assert not pathweave.load(open_model(k="C")).plan(most={**most, "C": 3}).route.regions


def test_the_route_of_an_untuned_model_races_against_the_tuned_ones(store):
    """It computes attention as one layer before anything is measured, which the default route does not."""
    graph = Graph()
    q, k, v = (graph.input(n, B, H, S, D) for n in "qkv")
    scores = graph("MatMul", q, graph.transpose(k, 0, 1, 3, 2))
    graph("MatMul", graph("Softmax", graph("Mul", scores, graph.constant(0.3)), axis=-1), v)
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, a.shape) for n, a in graph.feeds.items()]
    made = [helper.make_tensor_value_info(graph.nodes[-1].output[0], TensorProto.FLOAT, None)]
    proto = helper.make_model(helper.make_graph(graph.nodes, "g", inputs, made, graph.constants), ir_version=9,
                              opset_imports=[helper.make_opsetid("", 17)])
    model = pathweave.load(proto.SerializeToString(), threads=1)
    (region,) = model.plan().route.regions
    tuned = pathweave.tune(model, budget_s=0.5, store=store, progress=False)
    rows = {n: row for row in tuned.report["race"] for n in row["names"]}
    left = {row["name"] for row in tuned.report["not raced"]}
    assert "untuned" in {*rows, *left} and region in model.bind().regions
