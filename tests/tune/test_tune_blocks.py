"""Nets with conditions, loops and sizes that depend on contents: profile, solver against brute force, race, reports."""

from __future__ import annotations

import itertools
import json
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from scripted import CALL_NS, Clock

import pathweave as pw
from pathweave.net.format import Format
from pathweave.net.problem import adapt_problem
from pathweave.net.route import Route
from pathweave.profiling.rounds import ROUNDS, SIZE, UNTAKEN, Counts
from pathweave.report.routes import route_json, route_table
from pathweave.runtime.conversions import adapt_candidates
from pathweave.runtime.descriptor import restriction
from pathweave.runtime.layouts import host_formats
from pathweave.tuning.explain import explain
from pathweave.tuning.tuner import solved_routes

V, F = helper.make_tensor_value_info, TensorProto.FLOAT
THREADS = 2
rng = np.random.default_rng(5)


def constant(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def weights(name, *shape):
    return constant(name, rng.standard_normal(shape).astype(np.float32) * 0.2)


def onnx_model(nodes, ins, outs, constants) -> bytes:
    graph = helper.make_graph(nodes, "net", ins, outs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def conv(x, w, y, name):
    return helper.make_node("Conv", [x, w], [y], name, pads=[1, 1, 1, 1])


def condition_between_convolutions() -> bytes:
    """A convolution, an If with a convolution in the branch that is taken where the largest input is above -100, another."""
    then = helper.make_graph([helper.make_node("Sigmoid", ["c"], ["s"], "sigmoid"), conv("s", "w2", "t", "inner")], "then", [],
                             [V("t", F, None)])
    other = helper.make_graph([helper.make_node("Relu", ["c"], ["e"], "relu")], "else", [], [V("e", F, None)])
    nodes = [conv("x", "w1", "c", "first"), helper.make_node("ReduceMax", ["x"], ["m"], "max", keepdims=0),
             helper.make_node("Greater", ["m", "low"], ["b"], "greater"),
             helper.make_node("If", ["b"], ["i"], "if", then_branch=then, else_branch=other), conv("i", "w3", "y", "last")]
    return onnx_model(nodes, [V("x", F, [1, 4, 6, 6])], [V("y", F, None)],
                      [weights("w1", 16, 4, 3, 3), weights("w2", 16, 16, 3, 3), weights("w3", 4, 16, 3, 3),
                       constant("low", np.float32(-100))])


def loop_with_condition() -> bytes:
    """Five trips of a convolution and an If: its first branch in the first two trips, the other one in three."""
    then = helper.make_graph([helper.make_node("Tanh", ["z"], ["t"], "tanh")], "then", [], [V("t", F, None)])
    other = helper.make_graph([helper.make_node("Sigmoid", ["z"], ["e"], "sigmoid")], "else", [], [V("e", F, None)])
    body = helper.make_graph(
        [conv("a", "w", "z", "conv"), helper.make_node("Less", ["n", "two"], ["b"], "less"),
         helper.make_node("If", ["b"], ["o"], "if", then_branch=then, else_branch=other),
         helper.make_node("Add", ["o", "c"], ["next"], "add"), helper.make_node("Identity", ["go"], ["on"], "on")],
        "body", [V("n", TensorProto.INT64, []), V("go", TensorProto.BOOL, []), V("a", F, [1, 8, 4, 4])],
        [V("on", TensorProto.BOOL, []), V("next", F, [1, 8, 4, 4])])
    nodes = [conv("x", "w0", "c", "first"), helper.make_node("Loop", ["five", "", "c"], ["y"], "loop", body=body)]
    return onnx_model(nodes, [V("x", F, [1, 3, 4, 4])], [V("y", F, None)],
                      [weights("w0", 8, 3, 3, 3), weights("w", 8, 8, 3, 3), constant("two", np.int64(2)),
                       constant("five", np.int64(5))])


def indices() -> bytes:
    """Indices of the positive numbers among |x| with the sign changed in every second row: how many is only known in a run."""
    nodes = [helper.make_node("Abs", ["x"], ["p"], "abs"), helper.make_node("Mul", ["p", "sign"], ["q"], "signed"),
             helper.make_node("Greater", ["q", "zero"], ["g"], "greater"),
             helper.make_node("NonZero", ["g"], ["nz"], "nonzero"),
             helper.make_node("Cast", ["nz"], ["f"], "cast", to=F), helper.make_node("Mul", ["f", "half"], ["y"], "last")]
    sign = np.where(np.arange(6)[:, None] % 2, 1, -1).astype(np.float32)
    return onnx_model(nodes, [V("x", F, [6, 4])], [V("y", F, None)],
                      [constant("sign", sign), constant("zero", np.float32(0)), constant("half", np.float32(0.5))])


class FlowClock(Clock):
    """A scripted timer whose runs take place, so that it is known how often each step runs; the times are scripted."""

    def scripted(self, plan) -> list[int]:
        counts = self.counts or [1] * len(plan.steps)
        times, seen = [], set()
        for step, n in zip(plan.steps, counts):
            if step.layer == "copy":  # of a constant: a part of the call
                times.append(0)
            elif step.value:
                times.append(n * self.cost(step.problem, step.routine, step.variant))
            elif step.routine == "control":
                c = plan.choices[step.layer]
                first = step.variant in ("branch", "loop") and step.layer not in seen
                seen |= {step.layer} if first else set()
                times.append(n * self.cost(c.problem.text, c.routine, c.variant) if first else 0)
            else:
                c = plan.choices[step.layer]
                times.append(n * self.cost(step.problem, c.routine, c.variant) if step.part == 0 else 0)
        return times

    def steps(self, session, inputs, out):
        session.run_timed(inputs)
        self.counts = session.counts()
        return super().steps(session, inputs, out)

    def call(self, session, inputs, out):
        session.run(inputs)
        self.counts = session.counts()
        return super().call(session, inputs, out)


class Force:
    """All routes of a small net with blocks, priced one by one, from the catalogue and the script alone.

    `counts`: how often each block runs in a call, by its name.
    """

    def __init__(self, bound, clock, known, counts, restrict):
        self.clock, self.known, self.counts = clock, known, counts
        self.options, self.layers, self.specs, self.same, self.weight = [], [], {}, {}, {}
        self.tables = {}
        self._add(bound, "", 1.0, restriction(restrict))
        self.inputs, self.outputs = dict(bound.inputs), dict(bound.outputs)
        self.formats = {v: {*host_formats(s)} for v, s in self.specs.items()}
        for (layer, reads, *_), found in zip(self.layers, self.options):
            for _, ins, outs, _ in found:
                for value, form in (*zip(reads, ins), *zip(layer.outputs, outs)):
                    self.formats[value].add(form)

    def _add(self, net, block, weight, restrict):
        for v, s in net.net.specs.items():
            self.specs.setdefault(self.same.get(v, v), s)
            self.weight.setdefault(self.same.get(v, v), weight)
        for i, layer in enumerate(net.layers):
            problem = net.problems(THREADS)[i]
            if layer.name not in net.nested:
                found = net.candidates(i, THREADS)[0]
                found = [c for c in found if restrict is None or restrict(i, layer, c)] or found
                reads = [self.same.get(v, v) for v in net.dynamic(layer)]
                ports = [(c, c.ins, c.outs) for c in found]
            else:
                first = {"if": 1, "loop": 2 + layer.attrs.get("carried", 0)}[layer.kind]
                own = [v for v in layer.inputs[:first] if v and v not in net.net.constants]
                made = []
                for name, inner in net.nested[layer.name].items():
                    before = 0 if layer.kind == "if" else first
                    self.same |= {i: self.same.get(o, o) for i, o in zip(list(inner.inputs)[before:], layer.inputs[first:])}
                    self._add(inner, f"{layer.name}/{name}", self.counts[f"{layer.name}/{name}"], restrict)
                    made += [v for v in inner.net.outputs if v not in inner.net.constants]
                reads = [self.same.get(v, v) for v in (*own, *made)]
                ports = [(c, [*map(self.plain, own), *(self.wanted(layer, c, v) for v in made)], c.outs)
                         for c in net.candidates(i, THREADS)[0] if c.algorithm == "program"]
            self.options.append([(weight * self.clock.cost(problem.text, c.routine, c.variant), tuple(ins), outs, c)
                                 for c, ins, outs in ports])
            self.layers.append((layer, reads, weight))

    def plain(self, value):
        spec = self.specs[self.same.get(value, value)]
        return Format(spec.dtype, "nchw" if spec.rank == 4 else "plain")

    def wanted(self, layer, c, value):
        return c.outs[0] if layer.kind == "if" else self.plain(value)

    def conversions(self, value, made, wanted) -> float:
        """The cheapest set of conversions, by trying every one: into no format leads more than one."""
        key = value, made, frozenset(wanted)
        if key not in self.tables:
            edges = []
            for a, b in itertools.permutations(self.formats[value], 2):
                problem = adapt_problem(self.specs[value], a, b, THREADS)
                if problem.text in self.known:
                    edges.append((a, b, min(self.clock.cost(problem.text, c.routine, c.variant)
                                            for c in adapt_candidates(self.specs[value], a, b, THREADS))))
            best = float("inf")
            for size in range(len(self.formats[value])):
                for chosen in itertools.combinations(edges, size):
                    reached = {made}
                    for _ in chosen:
                        reached |= {b for a, b, _ in chosen if a in reached}
                    if wanted <= reached:
                        best = min(best, sum(e[2] for e in chosen))
            self.tables[key] = self.weight[value] * best
        return self.tables[key]

    def price(self, choice) -> float:
        made = {v: self.plain(v) for v in self.specs}
        wanted = {v: {self.plain(v)} for v in self.outputs}
        total = float(CALL_NS)
        for (layer, reads, _), (cost, ins, outs, _) in zip(self.layers, choice):
            total += cost
            for value, form in zip(reads, ins):
                wanted.setdefault(value, set()).add(form)
            made.update(zip(layer.outputs, outs))
        return total + sum(self.conversions(v, made[v], forms) for v, forms in wanted.items() if forms != {made[v]})

    def best(self) -> float:
        short = []
        for found in self.options:
            best = {}
            for option in found:
                if option[1:3] not in best or option[0] < best[option[1:3]][0]:
                    best[option[1:3]] = option
            short.append(list(best.values()))
        return min(map(self.price, itertools.product(*short)))


NETS = {"if": (condition_between_convolutions, {"if/then_branch": 1.0, "if/else_branch": UNTAKEN}),
        "loop": (loop_with_condition, {"loop/body": 5.0, "loop/body/if/then_branch": 2.0, "loop/body/if/else_branch": 3.0})}


@pytest.fixture(params=NETS)
def net(request):
    make, counts = NETS[request.param]
    return make(), counts


@pytest.mark.parametrize("restrict", [["conv2/direct", "conv2/im2col"], ["nhwc"]], ids=["two algorithms", "nhwc"])
def test_total_equals_brute_force(net, store, restrict):
    clock, (model, counts) = FlowClock(), net
    loaded = pw.load(model)
    profile = pw.profile(loaded, threads=THREADS, store=store, budget_s=1e6, timer=clock, restrict=restrict, progress=False)
    assert profile.notes["counts"] == counts
    route = pw.solve(loaded, profile, restrict=restrict)
    bound = loaded.bind()
    assert route.certificate == "optimal" and set(route.layers) == {layer.name for layer in bound.all_layers()}
    force = Force(bound, clock, profile.problems(), counts, restrict)
    assert route.predicted_ns == pytest.approx(force.best(), rel=1e-12)
    # What the plan's own steps take is what was predicted, where every block was counted.
    if UNTAKEN not in counts.values():
        plan = loaded.plan(route, threads=THREADS)
        session = plan.session()
        steps, _ = clock.steps(session, {n: np.ones(s.sizes, np.float32) for n, s in bound.inputs.items()}, {})
        assert sum(steps) + CALL_NS == pytest.approx(route.predicted_ns, rel=1e-12)


def test_a_branch_that_never_ran_is_measured_as_a_net_of_its_own(store):
    profile = pw.profile(condition_between_convolutions(), threads=THREADS, store=store, budget_s=1e6, timer=FlowClock(),
                         progress=False)
    assert profile.notes["unrun"] == ["if/else_branch"] and not profile.notes["unmeasured"]


def test_counts_travel_with_the_profile(store, tmp_path):
    model = pw.load(loop_with_condition())
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=FlowClock(), progress=False)
    profile.save(tmp_path / "p.jsonl")
    again = pw.Profile.load(tmp_path / "p.jsonl")
    assert Counts.of(model.bind(), again, THREADS).runs == NETS["loop"][1]
    assert {m.routine for m in again} >= {ROUNDS}
    assert pw.solve(model, again).to_json() == pw.solve(model, profile).to_json()


def test_sizes_that_a_layer_finds_are_those_of_the_profile(store):
    model = pw.load(indices())
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=FlowClock(), progress=False)
    assert list(profile.notes["sizes"].values()) == [{"size": 12, "source": "measured"}]
    assert {m.routine for m in profile} >= {SIZE}
    seen = model.bind().at_sizes({n: s["size"] for n, s in profile.notes["sizes"].items()})
    assert seen.signature == model.bind().signature
    assert seen.spec("y").sizes == (2, 12) and model.bind().spec("y").sizes == (2, 24)
    assert {p.text for p in seen.problems(THREADS)} <= profile.problems()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = model.plan(pw.solve(model, profile), threads=THREADS)
    x = rng.standard_normal((6, 4)).astype(np.float32)
    got = plan.session()(x)
    assert np.array_equal(got, 0.5 * np.stack(np.nonzero(np.arange(6)[:, None] % 2 * np.ones((1, 4)))).astype(np.float32))


def test_a_tuned_route_is_replayed(net, store, tmp_path):
    ort = pytest.importorskip("onnxruntime")
    model = net[0]
    tuned = pw.tune(model, threads=THREADS, budget_s=0.5, store=store, progress=False)
    route = tuned.route()
    assert Route.from_json(json.loads(json.dumps(route.to_json()))).to_json() == route.to_json()
    tuned.save(tmp_path / "m.pw")
    again = pw.load(tmp_path / "m.pw")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = again.plan(threads=THREADS)
    assert plan.route.to_json() == route.to_json()
    named = {n: (c.routine, c.version, c.variant) for n, c in route.layers.items()}
    assert {n: c.key for n, c in plan.choices.items()} == named
    assert sorted((c.value, c.target) for c in plan.conversions) == sorted((c.value, c.target) for c in route.conversions)
    x = rng.standard_normal(again.inputs["x"].shape).astype(np.float32)
    wanted = ort.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    assert np.abs(again(x) - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert tuned.report["race"] and tuned.report["profile"]["counts"] == net[1]


def test_verified_candidates_are_right(net, store):
    profile = pw.profile(net[0], threads=THREADS, store=store, budget_s=0.2, progress=False, verify=True)
    assert profile.notes["wrong"] == []


def test_explanation_of_a_layer_in_a_block(store):
    model = pw.load(loop_with_condition())
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=FlowClock(), progress=False)
    found = explain(model, "loop/body/conv", profile)
    assert (found.block, found.runs, found.index) == ("loop/body", 5.0, 1)
    route = pw.solve(model, profile)
    assert route.layers["loop/body/conv"].predicted_ns == 5 * found.chosen.cost_ns
    assert found.margin_ns >= 0 and found.exact and found.to_json()["runs"] == 5
    loop = explain(model, "loop", profile)
    assert loop.blocks == [{"block": "loop/body", "runs": 5.0, "counted": True}]
    assert "runs" not in explain(model, "first", profile).to_json()


def test_tables_show_blocks_below_their_layer(store):
    model = pw.load(loop_with_condition())
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=FlowClock(), progress=False)
    route = pw.solve(model, profile)
    plan = model.plan(route, threads=THREADS)
    rows = route_json(plan)["steps"]
    names = [r["layer"] for r in rows if r["kind"] not in ("adapt", "copy")]
    order = [names.index(n) for n in ("loop", "loop/body", "loop/body/conv", "loop/body/if/then_branch")]
    assert order == sorted(order)
    assert {r["layer"]: r["runs"] for r in rows}["loop/body/if/then_branch"] == 2
    total = sum(r["predicted_ns"] for r in rows if r["kind"] not in ("block", "copy"))
    assert total + route.notes["call_ns"] == pytest.approx(route.predicted_ns)
    shown = {r["layer"] for r in route_table(plan).rows}
    assert {"loop", "  body:", "    conv", "      then_branch:"} <= shown


def test_table_of_a_loop_whose_condition_is_constant():
    """The step that writes the condition reads no value."""
    body = helper.make_graph([helper.make_node("Identity", ["go"], ["more"]), helper.make_node("Neg", ["v"], ["w"])], "body",
                             [V("i", TensorProto.INT64, []), V("go", TensorProto.BOOL, []), V("v", F, ["N"])],
                             [V("more", TensorProto.BOOL, []), V("w", F, ["N"])])
    model = pw.load(onnx_model([helper.make_node("Loop", ["m", "", "x"], ["y"], "loop", body=body)],
                               [V("x", F, ["N"]), V("m", TensorProto.INT64, [])], [V("y", F, ["N"])], []))
    plan = model.plan(shapes={"N": 4})
    assert any(step.layer == "copy" and not step.ins for step in plan.steps)
    shown = [r["layer"].strip() for r in route_table(plan).rows]
    assert "loop" in shown and "Neg_1" in shown


def test_restriction_speaks_about_layers_in_blocks(store):
    model = pw.load(loop_with_condition())
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=FlowClock(), progress=False,
                         restrict="conv2/direct")
    route = pw.solve(model, profile, restrict="conv2/direct")
    assert {c.routine.partition(":")[0] for n, c in route.layers.items() if c.routine.startswith("conv2")} == {"conv2/direct"}
    costs = pw.solve(model, profile, restrict="conv2/direct@0")
    assert costs.layers["first"].routine.startswith("conv2/direct")


def test_several_routes_are_ranked(store):
    from pathweave.tuning.costs import Costs
    model = pw.load(condition_between_convolutions())
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=FlowClock(), progress=False,
                         restrict=["conv2/direct"])
    routes = solved_routes(Costs.of(model.bind(), profile, THREADS), 10, 3)
    assert [r.predicted_ns for r in routes] == sorted(r.predicted_ns for r in routes) and len(routes) == 3
