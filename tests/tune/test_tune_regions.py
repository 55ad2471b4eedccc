"""Regions: routines for several layers weighed against routines for each, compared with trying every combination."""

from __future__ import annotations

import itertools
import random

import numpy as np
import onnxruntime
import pytest

import pathweave as pw
from pathweave import regions
from pathweave.errors import ModelError, RouteError
from pathweave.layers import infer
from pathweave.meaning.evaluate import evaluate
from pathweave.net.net import Epilogue, Layer, Net, TensorSpec
from pathweave.net.problem import adapt_problem
from pathweave.profiling.about import About
from pathweave.profiling.measurement import Measurement
from pathweave.profiling.profile import Profile
from pathweave.profiling.protocol import problems_of
from pathweave.report import work
from pathweave.runtime import catalogue
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.descriptor import restriction
from pathweave.runtime.layouts import host_formats
from pathweave.solvers import solve
from pathweave.tuning.costs import Costs
from pathweave.tuning.explain import explain

CLIP = Epilogue(False, "clip", (0.0, 6.0))


class Sketch:
    """Collects pointwise and depthwise layers of one net."""

    def __init__(self, channels: int, size: int, seed: int):
        self.rng = np.random.default_rng(seed)
        self.net = Net({"x": TensorSpec("f32", (1, channels, size, size))}, [], [], {})
        self.channels = {"x": channels}

    def layer(self, kind: str, value: str, out: int, epilogue: Epilogue = CLIP, residual: str = "", **attrs) -> str:
        n = len(self.net.layers)
        shape = (out, 1, 3, 3) if kind == "depthwise_conv2" else (out, self.channels[value], 1, 1)
        for name, s in ((f"w{n}", shape), (f"b{n}", (out,))):
            self.net.constants[name] = (self.rng.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32)
        inputs = (value, f"w{n}", f"b{n}", *([residual] if residual else []))
        epilogue = Epilogue(True) if residual else epilogue
        self.net.layers.append(Layer(f"l{n}", kind, inputs, (f"v{n}",), attrs, epilogue))
        self.channels[f"v{n}"] = out
        return f"v{n}"

    def pointwise(self, value: str, out: int, **rest) -> str:
        return self.layer("conv2", value, out, **rest)

    def depthwise(self, value: str, **rest) -> str:
        return self.layer("depthwise_conv2", value, self.channels[value], pad=(1, 1, 1, 1), **rest)

    def squeeze_excite(self, value: str, hidden: int = 8, gate: Epilogue = CLIP) -> str:
        self.net.layers.append(Layer(f"l{len(self.net.layers)}", "global_average_pool", (value,), (f"m{value}",)))
        self.channels[f"m{value}"] = self.channels[value]
        excited = self.pointwise(self.pointwise(f"m{value}", hidden), self.channels[value], epilogue=gate)
        n = len(self.net.layers)
        pair = (value, excited) if n % 2 else (excited, value)
        self.net.layers.append(Layer(f"l{n}", "mul", pair, (f"v{n}",)))
        self.channels[f"v{n}"] = self.channels[value]
        return f"v{n}"

    def bound(self, *outputs: str) -> BoundNet:
        self.net.outputs = list(outputs)
        infer(self.net)
        return BoundNet(self.net)


def random_blocks(seed: int) -> BoundNet:
    """Up to three blocks of random parts, with residuals, branches and values that are outputs too."""
    draw = random.Random(seed)
    sketch = Sketch(draw.choice([8, 16]), 6, seed)
    x, outputs = "x", []
    for _ in range(draw.randint(1, 3)):
        start = x
        for part in draw.choice(["edp", "edsp", "eds", "dp", "dd", "epdp", "s", "ds"]):
            if part == "d":
                x = sketch.depthwise(x)
            elif part == "s":
                x = sketch.squeeze_excite(x)
            else:
                x = sketch.pointwise(x, 16 if part == "p" else draw.choice([16, 24]))
            if draw.random() < 0.1:
                outputs.append(x)
        if sketch.channels[start] == 16 and draw.random() < 0.5:
            x = sketch.pointwise(x, 16, residual=start)
    return sketch.bound(*dict.fromkeys([*outputs, x]))


def random_profile(bound: BoundNet, seed: int) -> Profile:
    """Random prices for every candidate, every region and every conversion."""
    draw = random.Random(seed)
    found = []

    def add(c, ns):
        about = About(c.ins, c.outs, c.accuracy, 0, c.reference).text()
        found.append(Measurement("here", c.problem.text, *c.key, (ns,), 1.0, about=about))
    wholes = [bound.region_problem(r, 1) for r in bound.regions.values()]
    for problem in (*bound.problems(1), *wholes):
        for c in catalogue.candidates(problem)[0]:
            add(c, draw.uniform(1, 30 if problem in wholes else 12))
    for spec in {bound.spec(v) for v in (*bound.inputs, *(v for layer in bound.layers for v in layer.outputs))}:
        for source, target in itertools.permutations(host_formats(spec), 2):
            for c in catalogue.candidates(adapt_problem(spec, source, target, 1))[0]:
                add(c, draw.uniform(1, 6))
    return Profile("here", found)


def all_disjoint(names: list[str], bound: BoundNet):
    """Every set of regions in which no two share a layer."""
    for n in range(len(names) + 1):
        for chosen in itertools.combinations(names, n):
            members = [m for name in chosen for m in bound.regions[name].layers]
            if len(members) == len(set(members)):
                yield chosen


@pytest.mark.parametrize("seed", range(40))
def test_the_solver_weighs_regions_like_every_combination_tried(seed):
    bound = random_blocks(seed)
    profile = random_profile(bound, seed)
    costs = Costs.of(bound, profile, 1)
    solution = solve(costs.instance)
    best = min(solve(Costs.of(bound.fused(names), profile, 1).instance).cost
               for names in all_disjoint(list(bound.regions), bound))
    assert solution.certificate == "optimal"
    assert solution.cost == pytest.approx(best, rel=1e-9)
    route = costs.route(solution)
    assert sum(c.predicted_ns for c in route.layers.values()) + sum(c.predicted_ns for c in route.conversions) == \
        pytest.approx(solution.cost, rel=1e-9)
    assert route.covered() == set(bound.index)
    assert costs.choice_of(route) == solution.choice


@pytest.mark.parametrize("seed", range(12))
def test_fused_nets_compute_the_same(seed):
    bound = random_blocks(seed)
    x = {"x": np.random.default_rng(seed).standard_normal(bound.inputs["x"].shape)}
    wanted = evaluate(bound.net, x, "f64")
    for group in regions.disjoint(bound.regions.values()):
        fused = bound.fused(r.name for r in group)
        assert fused.signature == bound.signature and len(fused.layers) < len(bound.layers)
        for name, y in evaluate(fused.net, x, "f64").items():
            np.testing.assert_allclose(y, wanted[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_a_region_counts_the_operations_of_its_layers(seed):
    bound = random_blocks(seed)
    for region in bound.regions.values():
        members = [bound.layers[bound.index[name]] for name in region.layers]
        assert work.operations(bound.net, region.layer) == sum(work.operations(bound.net, m) for m in members)


def test_what_is_used_elsewhere_stays_outside():
    sketch = Sketch(8, 6, 0)
    e = sketch.pointwise("x", 16)
    d = sketch.depthwise(e)
    bound = sketch.bound(sketch.pointwise(d, 8), e)
    assert [r.layers for r in bound.regions.values()] == [("l1", "l2")]  # the expansion is an output
    sketch = Sketch(8, 6, 0)
    d = sketch.depthwise(sketch.pointwise("x", 16))
    p = sketch.pointwise(d, 16)
    bound = sketch.bound(sketch.pointwise(p, 16, residual=d))
    assert [r.layers for r in bound.regions.values()] == [("l0", "l1")]  # the residual comes from inside
    assert not Sketch(8, 6, 0).bound("x").regions


def test_squeeze_excite_is_offered_alone_and_with_its_depthwise_layer():
    sketch = Sketch(8, 6, 0)
    bound = sketch.bound(sketch.squeeze_excite(sketch.depthwise("x")))
    assert [r.layers for r in bound.regions.values()] == [tuple(f"l{i}" for i in range(5)), ("l1", "l2", "l3", "l4")]
    assert [r.layer.kind for r in bound.regions.values()] == ["squeeze_excite"] * 2
    sketch = Sketch(8, 6, 0)
    d = sketch.depthwise("x")
    bound = sketch.bound(sketch.squeeze_excite(d), d)  # what is scaled is an output too
    assert [r.layers for r in bound.regions.values()] == [("l1", "l2", "l3", "l4")]
    sketch = Sketch(8, 6, 0)
    scaled = sketch.squeeze_excite("x")
    assert not sketch.bound(scaled, sketch.net.layers[-2].outputs[0]).regions  # the factors are an output too


@pytest.mark.parametrize("change", ["one_factor", "other_value", "flat_mean", "residual_from_inside"])
def test_what_only_looks_like_squeeze_excite_is_not(change):
    sketch = Sketch(8, 6, 0)
    y = sketch.squeeze_excite(sketch.pointwise("x", 8))
    net = sketch.net
    if change == "one_factor":  # broadcast over the channels
        net.constants["w3"], net.constants["b3"] = net.constants["w3"][:1], net.constants["b3"][:1]
    elif change == "other_value":
        net.layers[-1] = net.layers[-1].with_(inputs=tuple("x" if v == "v0" else v for v in net.layers[-1].inputs))
    elif change == "flat_mean":
        net.layers[1] = net.layers[1].with_(outputs=("flat",), attrs={"keepdims": 0})
        net.layers.insert(2, Layer("again", "reshape", ("flat",), ("mv0",), {"shape": (1, 8, 1, 1)}))
    else:
        last = net.layers[-1]
        net.layers[-1] = last.with_(inputs=(*last.inputs, "v0"), epilogue=Epilogue(True))
    assert not sketch.bound(y).regions


def test_rules_that_break_the_contract_are_refused():
    sketch = Sketch(8, 6, 0)
    d = sketch.depthwise(sketch.pointwise("x", 16))
    bound = sketch.bound(sketch.pointwise(d, 8))
    first, *rest = bound.regions.values()
    with pytest.raises(ModelError, match="share a layer"):
        regions.fuse(bound.net, bound.regions.values())
    for layers in (("l0",), ("l1", "l0"), ("l0", "nowhere")):
        with pytest.raises(ModelError, match="two or more layers"):
            regions._check(bound.net, regions.Region(layers, first.layer), bound.index)
    with pytest.raises(ModelError, match="all that leaves it"):
        regions._check(bound.net, regions.Region(("l0", "l2"), first.layer), bound.index)


# ---- through the tuner ----------------------------------------------------------------------------------------------

def mobile(batch="N") -> bytes:
    """An ONNX net of two inverted residuals on symbolic batch and size."""
    from onnx import TensorProto, helper, numpy_helper
    rng = np.random.default_rng(0)
    nodes, weights = [], []

    def conv(value: str, shape, clip: bool = True, **attributes) -> str:
        n = len(weights)
        weights.append(numpy_helper.from_array((rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(
            np.float32), f"w{n}"))
        nodes.append(helper.make_node("Conv", [value, f"w{n}"], [f"c{n}"], f"conv{n}", **attributes))
        if clip:
            nodes.append(helper.make_node("Relu", [f"c{n}"], [f"r{n}"]))
        return f"r{n}" if clip else f"c{n}"
    x = conv(conv("x", (24, 8, 1, 1)), (24, 1, 3, 3), pads=[1] * 4, group=24, strides=[2, 2])
    x = conv(x, (16, 24, 1, 1), False)
    y = conv(conv(conv(x, (48, 16, 1, 1)), (48, 1, 3, 3), pads=[1] * 4, group=48), (16, 48, 1, 1), False)
    nodes.append(helper.make_node("Add", [y, x], ["y"]))
    f32 = TensorProto.FLOAT
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", f32, [batch, 8, "H", "W"])],
                              [helper.make_tensor_value_info("y", f32, None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def excited() -> bytes:
    """An ONNX net of a depthwise convolution and squeeze-and-excite, on symbolic batch and size."""
    from onnx import TensorProto, helper, numpy_helper
    rng = np.random.default_rng(0)
    shapes = {"d": (8, 1, 3, 3), "s": (3, 8, 1, 1), "e": (8, 3, 1, 1)}
    weights = [numpy_helper.from_array((rng.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32), n)
               for n, s in shapes.items()]
    make = helper.make_node
    nodes = [make("Conv", ["x", "d"], ["c"], "conv", pads=[1] * 4, group=8, strides=[2, 2]), make("Relu", ["c"], ["r"]),
             make("GlobalAveragePool", ["r"], ["m"]), make("Conv", ["m", "s"], ["h"], "squeeze"),
             make("Relu", ["h"], ["k"]), make("Conv", ["k", "e"], ["g"], "excite"), make("HardSigmoid", ["g"], ["q"]),
             make("Mul", ["q", "r"], ["y"])]
    f32 = TensorProto.FLOAT
    graph = helper.make_graph(nodes, "net", [helper.make_tensor_value_info("x", f32, ["N", 8, "H", "W"])],
                              [helper.make_tensor_value_info("y", f32, None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


SHAPES = {"x": (1, 8, 18, 18)}


def expected(data: bytes, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})[0]


@pytest.fixture
def fused(store):
    """A model tuned with nothing but routines for regions."""
    return pw.tune(pw.load(mobile()), threads=2, budget_s=2, shapes=SHAPES, store=store, progress=False,
                   restrict="inverted_residual")


def test_profile_measures_regions_and_tune_runs_them(store, fused, tmp_path):
    route = fused.route(SHAPES)
    assert set(route.regions) == {name for name in route.layers if ".." in name} and len(route.regions) == 2
    assert all(c.routine.startswith("inverted_residual/") for n, c in route.layers.items() if n in route.regions)
    bound = fused.bind(SHAPES)
    texts = problems_of(bound, 2)
    assert all(bound.region_problem(r, 2).text in texts for r in bound.regions.values())
    fused.save(tmp_path / "m.pw")
    again = pw.load(tmp_path / "m.pw", threads=2)
    assert again.route(SHAPES).regions == route.regions
    for shape in (SHAPES["x"], (3, 8, 7, 11)):  # the second is carried over
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        y = expected(mobile(), x)
        for model in (fused, again):
            plan = model.plan(shapes={"x": shape})
            assert sum(s.routine.startswith("inverted_residual/") for s in plan.steps) == 2
            assert np.abs(model(x) - y).max() <= 1e-5 * np.abs(y).max()


def test_squeeze_excite_from_onnx_to_a_plan(store):
    tuned = pw.tune(pw.load(excited()), threads=2, budget_s=1, shapes=SHAPES, store=store, progress=False,
                    restrict="squeeze_excite")
    assert [len(members) for members in tuned.route(SHAPES).regions.values()] in ([4], [5])
    for shape in (SHAPES["x"], (3, 8, 7, 11)):  # the second is carried over
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        y = expected(excited(), x)
        assert any(s.routine == "squeeze_excite/rows:f32:nhwc:cpu" for s in tuned.plan(shapes={"x": shape}).steps)
        assert np.abs(tuned(x) - y).max() <= 1e-5 * np.abs(y).max()


def test_explain_a_layer_inside_a_region(store, fused):
    profile = pw.profile(fused, threads=2, budget_s=0.5, shapes=SHAPES, store=store)
    bound = fused.bind(SHAPES)
    region = next(iter(fused.route(SHAPES).regions))
    for layer in (*bound.regions[region].layers, region):
        e = explain(fused, layer, profile, shapes=SHAPES, threads=2, route=fused.route(SHAPES))
        assert e.chosen.routine.startswith("inverted_residual/") and region in e.chosen.variant
        assert any("computed together with" in note for note in e.notes)
        assert e.margin_ns is not None and any(r.routine.startswith(("conv2/", "depthwise_conv2/")) for r in e.candidates)


def test_a_restriction_to_other_routines_excludes_regions(store):
    model = pw.load(mobile())
    profile = pw.profile(model, threads=1, budget_s=1, shapes=SHAPES, store=store)
    for words in ("conv2/pointwise", "depthwise_conv2"):
        assert not pw.solve(model, profile, shapes=SHAPES, restrict=words).regions
    costs = Costs.of(model.bind(SHAPES), profile, 1, restrict=restriction("inverted_residual"))
    assert len(costs.route(solve(costs.instance)).regions) == 2
    with pytest.raises(RouteError, match="matches no candidate"):
        pw.solve(model, profile, shapes=SHAPES, restrict="inverted_residual/nothing")


def test_a_region_that_this_build_cannot_compute_is_left_to_its_layers(fused):
    route = fused.route(SHAPES)
    name = next(iter(route.regions))
    route.regions[name] = ("other", "layers")
    x = np.random.default_rng(1).standard_normal(SHAPES["x"]).astype(np.float32)
    plan = fused.plan(route, shapes=SHAPES)
    assert sum(s.routine.startswith("inverted_residual/") for s in plan.steps) == 1
    assert {r["reason"] for r in plan.route.notes["replaced"]} == {"the route has no such layer"}
    out = {"y": np.empty(fused.bind(SHAPES).outputs["y"].shape, np.float32)}
    plan.session().run({"x": x}, out)
    assert np.abs(out["y"] - expected(mobile(), x)).max() <= 1e-5


@pytest.mark.parametrize("count", [1, 2, 3])
def test_layers_without_inputs_are_in_no_region(count):
    """Numbers that no input makes, behind some layers of one input, times a value."""
    layers = [Layer("r", "range", (), ("v0",), {"start": 0, "limit": 4, "delta": 1, "dtype": "f32"})]
    layers += [Layer(f"l{i}", "relu", (f"v{i}",), (f"v{i + 1}",), {}) for i in range(count - 1)]
    layers += [Layer("m", "mul", ("x", f"v{count - 1}"), ("y",), {})]
    assert regions.find(Net({"x": TensorSpec("f32", (2, 4))}, ["y"], layers, {})) == {}
