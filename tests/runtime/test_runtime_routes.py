"""Routes applied: the letter, another shape, another build."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import Error, RouteError
from pathweave.meaning.evaluate import evaluate
from pathweave.net.accuracy import ACCURACIES
from pathweave.net.format import Format
from pathweave.net.route import Choice, Route
from pathweave.runtime.catalogue import candidates
from pathweave.runtime.conversions import conversions_for
from pathweave.runtime.defaults import default_choices, default_route, route_of
from pathweave.runtime.routes import RouteWarning, carried_from, choices_of, origin, plan_route


@pytest.fixture
def bound(classifier):
    return classifier.bind({"N": 2})


@pytest.fixture
def route(bound):
    return default_route(bound, 2)


def routines(plan) -> dict[str, str]:
    return {name: c.routine for name, c in plan.choices.items()}


def test_a_route_is_followed_to_the_letter(bound, route, batch_of):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Route.from_json(json.loads(json.dumps(route.to_json())))
        applied = choices_of(again, bound)
        assert applied.route is again and not applied.replaced and applied.conversions == route.conversions
        plan = plan_route(again, bound)
    assert routines(plan) == {n: c.routine for n, c in route.layers.items()}
    assert plan.route is again and plan.threads == 2
    x = batch_of(2)
    assert np.array_equal(plan.session()(x), plan_route(route, bound).session()(x))


def test_every_candidate_of_every_layer_can_be_named(bound, route, batch_of):
    """A route that names any one candidate gives a plan that uses it and computes the same."""
    x = batch_of(2)
    expected = plan_route(route, bound).session()(x)
    for i, layer in enumerate(bound.layers):
        for c in bound.candidates(i, 1, include_reference=True)[0]:
            layers = {**route.layers, layer.name: Choice(c.routine, c.version, c.variant, c.ins, c.outs)}
            plan = plan_route(dataclasses.replace(route, layers=layers, threads=1), bound)
            assert plan.choices[layer.name].key == c.key
            assert np.allclose(plan.session()(x), expected, atol=1e-5), c


def test_carried_over_to_another_batch(classifier, route, batch_of):
    other = classifier.bind({"N": 5})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plan = plan_route(route, other)
    assert plan.route.signature == other.signature and plan.route.notes["carried_from"] == route.signature
    assert plan.route.predicted_ns is None
    accepted = {n: c for n, c in plan.choices.items() if n not in {r["layer"] for r in plan.route.notes["replaced"]}}
    assert accepted and all(c.routine == route.layers[n].routine for n, c in accepted.items())
    x = batch_of(5)
    assert np.allclose(plan.session()(x), default_plan(other).session()(x), atol=1e-5)


def test_a_route_says_where_it_comes_from(classifier, bound, route):
    """A plan's route is called tuned only where it is for just these shapes, threads and processor."""
    tuned = dataclasses.replace(route, certificate="optimal", solver="elimination", host="here", predicted_ns=1.0)

    def said(route, bound, threads, host) -> str:
        plan = plan_route(route, bound, threads)
        return origin(plan.route, plan.signature, plan.threads, host)
    assert said(tuned, bound, 2, "here") == "tuned route" and said(route, bound, 2, "here") == "default route"
    assert said(tuned, bound, 1, "here") == "carried over from 2 threads"
    assert said(tuned, bound, 2, "elsewhere") == "carried over from another processor"
    assert said(dataclasses.replace(tuned, threads=1), bound, 3, "there") == "carried over from 1 thread and another processor"
    assert said(tuned, classifier.bind({"N": 3}), 2, "here").startswith("carried over from other shapes")
    assert said(route, bound, 1, "here") == "default route"
    name, first = next(iter(route.layers.items()))
    gone = dataclasses.replace(first, routine="conv2/gone:f32:nhwc:cpu")
    lost = dataclasses.replace(tuned, layers={**tuned.layers, name: gone})
    with pytest.warns(RouteWarning):
        assert said(lost, bound, 2, "here") == f"carried over, 1 of {len(route.layers)} layers by default"
    assert carried_from(tuned, bound.signature, 2, "here") == []
    assert carried_from(tuned, "other", 1, "elsewhere") == ["other shapes or layouts", "2 threads", "another processor"]


def default_plan(bound):
    return plan_route(default_route(bound, 1), bound)


def test_carried_over_to_another_number_of_threads(bound, route):
    plan = plan_route(route, bound, threads=1)
    assert plan.threads == 1 and routines(plan) == {n: c.routine for n, c in route.layers.items()}


@pytest.mark.parametrize("change, reason", [
    ({"routine": "conv2/gone:f32:nhwc:cpu"}, "no routine of this build"),
    ({"version": 99}, "version"),
    ({"routine": "dense/gemm:f32:plain:cpu"}, "another kind"),
])
def test_a_routine_that_is_gone(bound, route, change, reason, batch_of):
    name = bound.layers[0].name
    old = dataclasses.replace(route, layers={**route.layers, name: dataclasses.replace(route.layers[name], **change)})
    with pytest.warns(RouteWarning, match=f"{name}.*{reason}"):
        plan = plan_route(old, bound)
    (note,) = plan.route.notes["replaced"]
    assert note["layer"] == name and note["used"] == plan.choices[name].routine
    x = batch_of(2)
    assert np.allclose(plan.session()(x), plan_route(route, bound).session()(x), atol=1e-5)


def test_a_variant_that_is_gone_leaves_the_routine(bound, route):
    name = bound.layers[0].name
    choice = dataclasses.replace(route.layers[name], variant="gemm_f32_99x99__quantum")
    plan = plan_route(dataclasses.replace(route, layers={**route.layers, name: choice}), bound)
    assert plan.choices[name].routine == choice.routine and plan.route.layers[name].variant != choice.variant


def test_layers_that_the_route_does_not_know(bound, route):
    few = dict(list(route.layers.items())[:2])
    plan = plan_route(dataclasses.replace(route, layers=few), bound)
    assert set(plan.choices) == set(bound.index)


def test_a_route_without_its_conversions(bound, route):
    plan = plan_route(dataclasses.replace(route, conversions=[]), bound)
    assert [(c.value, c.target) for c in plan.conversions] == [(c.value, c.target) for c in route.conversions]


def test_nothing_less_accurate_than_asked(bound):
    for accuracy in ACCURACIES:
        rank = ACCURACIES.index(accuracy)
        for i in range(len(bound.layers)):
            found, _ = bound.candidates(i, 1, accuracy=accuracy)
            assert found and all(ACCURACIES.index(c.accuracy) <= rank for c in found)
    with pytest.raises(Error, match="strict, f32"):
        candidates(bound.problems(1)[0], accuracy="fp32")


def test_a_less_accurate_route_is_not_followed_by_a_stricter_one(classifier):
    bound = classifier.bind({"N": 1})
    f32 = [(i, c) for i in range(len(bound.layers)) for c in bound.candidates(i, 1)[0] if c.accuracy == "f32"]
    assert f32, "no routine of class f32 accepts a layer of this net"
    i, c = f32[0]
    name = bound.layers[i].name
    choices = {**default_choices(bound, 1), name: c}
    route = route_of(bound, choices, conversions_for(bound, choices, 1), 1, "strict")
    with pytest.warns(RouteWarning, match="accuracy class f32"):
        assert plan_route(route, bound).choices[name].accuracy == "strict"


def test_refusals_have_reasons(bound):
    refused = [r for i in range(len(bound.layers)) for r in bound.candidates(i, 1)[1]]
    assert refused and all(r.reason.strip() and r.routine for r in refused)


def test_a_kept_route_is_used_and_saved(classifier, bound, tmp_path, batch_of):
    choices = default_choices(bound, 1, restrict=lambda i, layer, c: "nchw16c" in c.routine or "plain" in c.routine
                              or layer.name == bound.layers[0].name)
    tuned = route_of(bound, choices, conversions_for(bound, choices, 1), classifier.threads, "f32")
    x = batch_of(2)
    before = classifier(x)
    classifier.add_route(tuned)
    assert classifier.plan(shapes={"N": 2}).route.layers == tuned.layers
    assert np.allclose(classifier(x), before, atol=1e-5)
    classifier.save(tmp_path / "tuned.pw")
    loaded = pw.load(tmp_path / "tuned.pw", threads=classifier.threads)
    assert loaded.plan(shapes={"N": 2}).route.to_json() == tuned.to_json()
    assert np.array_equal(loaded(x), classifier(x))


def test_a_route_from_a_wider_machine(bound, route, tmp_path, batch_of):
    """Made without a cap, run with the machine capped at the lowest tier: other micro-kernels, the same answer."""
    from runtime_nets import convolutions
    x = batch_of(2)
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "net.onnx").write_bytes(convolutions())
    (tmp_path / "route.json").write_text(json.dumps(route.to_json()))
    code = """if True:
        import sys, json, numpy as np, pathweave as pw
        folder = sys.argv[1]
        route = pw.Route.from_json(json.load(open(folder + "/route.json")))
        plan = pw.plan(folder + "/net.onnx", route, shapes={"N": 2})
        np.save(folder + "/y.npy", plan.session()(np.load(folder + "/x.npy")))
        print(*{s.variant for s in plan.steps})"""
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PATHWEAVE_ISA": "generic"})
    assert done.returncode == 0, done.stderr
    variants = [v for v in done.stdout.split() if "__" in v]
    assert variants and all(v.split("/")[0].endswith("__generic") for v in variants)
    assert np.allclose(np.load(tmp_path / "y.npy"), plan_route(route, bound).session()(x), atol=1e-5)


def test_formats_of_a_route_are_formats(route):
    assert all(isinstance(f, Format) for c in route.layers.values() for f in (*c.ins, *c.outs))


def test_one_thread_is_a_variant_of_small_layers(bound, route, batch_of):
    """One thread runs the layer, the others go on; the answer is that of the layer's meaning all the same."""
    x = batch_of(2)
    expected = evaluate(bound.net, {"x": x}, "f64")["y"]
    alone = {}
    for i, (layer, problem) in enumerate(zip(bound.layers, bound.problems(2))):
        found = bound.candidates(i, 2)[0]
        single = {c.variant for c in bound.candidates(i, 1)[0] if c.device == "cpu"}
        assert {c.own_variant for c in found if c.alone} == single, "every variant of one thread is there, nothing else"
        assert all(c.problem == problem and c.base.threads == 1 and c.variant.endswith("+1thread") for c in found if c.alone)
        alone[layer.name] = next(c for c in found if c.alone)
    for chosen in (alone, {**default_choices(bound, 2), **dict(list(alone.items())[::2])}):  # all of them, every other
        layers = {n: Choice(c.routine, c.version, c.variant, c.ins, c.outs) for n, c in chosen.items()}
        text = json.dumps(dataclasses.replace(route, layers=layers, conversions=[]).to_json())
        plan = plan_route(Route.from_json(json.loads(text)), bound)
        assert {n: c.key for n, c in plan.choices.items()} == {n: c.key for n, c in chosen.items()}
        for _ in range(3):
            np.testing.assert_allclose(plan.session()(x), expected, rtol=1e-5, atol=1e-6)


def test_a_route_with_one_thread_layers_runs_where_there_is_one_thread(bound, route, batch_of):
    chosen = {layer.name: next(c for c in bound.candidates(i, 2)[0] if c.alone) for i, layer in enumerate(bound.layers)}
    layers = {n: Choice(c.routine, c.version, c.variant, c.ins, c.outs) for n, c in chosen.items()}
    applied = choices_of(dataclasses.replace(route, layers=layers, conversions=[]), bound, threads=1)
    assert not applied.replaced
    assert {n: (c.routine, c.variant) for n, c in applied.choices.items()} == \
        {n: (c.routine, c.own_variant) for n, c in chosen.items()}


def test_large_layers_have_no_variant_of_one_thread(classifier):
    large = classifier.bind({"N": 64})
    assert not any(c.alone for i in range(2) for c in large.candidates(i, 2)[0])


@pytest.mark.parametrize("accuracy", ["", "x", "F32", "f32 ", "bf16:nhwc:cpu"])
def test_a_class_that_is_none_is_refused_where_a_route_is_made(route, accuracy):
    for make in (lambda: dataclasses.replace(route, accuracy=accuracy),
                 lambda: Route.from_json({**route.to_json(), "accuracy": accuracy})):
        with pytest.raises(pw.errors.RouteError, match="strict, f32, reduced, quantised"):
            make()


@pytest.mark.parametrize("threads", [0, -1, 1025, 2**31, 2**40, True, 1.5, None])
def test_a_number_of_threads_that_no_call_may_have(classifier, bound, route, threads):
    for make in (lambda: dataclasses.replace(route, threads=threads),
                 lambda: Route.from_json({**route.to_json(), "threads": threads})):
        with pytest.raises(pw.errors.RouteError, match="threads: .* from 1 to 1024"):
            make()
    if threads is not None:
        with pytest.raises(pw.errors.InputError, match="from 1 to 1024"):
            default_route(bound, threads)


#: One of every type that JSON has, some of them what a route has elsewhere.
ANYTHING = (None, True, -1, 2**70, 1.5, float("nan"), "", "cpu", "f32:nhwc:cpu", "\ud800", [], [1], ["f32:nhwc:cpu"],
            [[]], {}, {"a": 1})


def places(data, path=()):
    """(path, holder, key) of everything in JSON data."""
    for key, value in list(data.items() if isinstance(data, dict) else enumerate(data)):
        yield (*path, key), data, key
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, key))


def test_a_route_of_any_types_ends_in_a_plan_or_in_a_typed_error(bound, route):
    """Each field in turn becomes something of each type, or is not there; what is taken can be shown and planned."""
    text = json.dumps(dataclasses.replace(route, notes={"race": [1, 2.5]}, regions={"r": ("a", "b")}).to_json())
    paths, outcomes = [p for p, *_ in places(json.loads(text))], set()
    for path in paths:
        for value in (*ANYTHING, "absent"):
            data = json.loads(text)
            holder, key = next((h, k) for p, h, k in places(data) if p == path)
            if value == "absent":
                del holder[key]
            else:
                holder[key] = value
            try:
                changed = Route.from_json(data)
                repr(changed), changed._repr_html_(), changed.to_json()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    choices_of(changed, bound)
                outcomes.add("planned")
            except Error as e:
                outcomes.add(type(e).__name__)
    assert {"planned", "RouteError"} <= outcomes


def test_what_is_no_route_is_refused(classifier):
    for wrong in (None, 5, {}, "route"):
        with pytest.raises(RouteError, match="add_route: expected a Route"):
            classifier.add_route(wrong)
    assert not classifier.routes


# ---- routes of other models -----------------------------------------------------------------------------------------

def onnx_net(nodes: list, shape: list, *outputs: str, weights: tuple = ()) -> bytes:
    infos = [helper.make_tensor_value_info(v, TensorProto.FLOAT, None) for v in outputs]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)], infos,
                              [numpy_helper.from_array(a, n) for n, a in weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


@pytest.fixture
def foreign():
    """A route of another model, for shapes that the classifier takes too."""
    nodes = [helper.make_node("Sin", ["x"], ["a"], "sine"), helper.make_node("Exp", ["a"], ["y"], "exp")]
    return pw.default_route(onnx_net(nodes, ["N", 3, 16, 16], "y"), 1)


@pytest.mark.parametrize("noted", [True, False])
def test_a_route_of_another_model_is_refused(classifier, route, foreign, noted):
    """Whether it has no layer in common with the model, or some; `noted`: it says for which shapes it was made."""
    name, choice = next(iter(route.layers.items()))
    mixed = dataclasses.replace(foreign, layers={**foreign.layers, name: choice})
    for wrong in (foreign, mixed, dataclasses.replace(mixed, signature=route.signature)):
        wrong = wrong if noted else dataclasses.replace(wrong, notes={})
        with pytest.raises(RouteError, match=r"plan: the route names 2 layers that this model does not have: 'exp', 'sine'"):
            pw.plan(classifier, wrong, shapes={"N": 2})
        with pytest.raises(RouteError, match="add_route: the route names 2 layers that this model does not have"):
            classifier.add_route(wrong)
    assert not classifier.routes


def test_a_route_of_no_layer_is_refused(classifier, route):
    for noted in (route.notes, {}):
        none = dataclasses.replace(route, layers={}, notes=noted)
        with pytest.raises(RouteError, match="plan: the route covers none of the"):
            classifier.plan(none, shapes={"N": 2})
        with pytest.raises(RouteError, match="add_route: the route covers none of the"):
            classifier.add_route(none)


def test_a_model_of_which_binding_leaves_nothing_takes_its_route():
    """What depends on shapes alone is known once these are."""
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Cast", ["s"], ["y"], to=1)]
    model = pw.load(onnx_net(nodes, ["N", 3], "y"))
    route = pw.default_route(model, shapes={"N": 4})
    assert not route.layers
    model.add_route(route)
    for session in (model.plan(route, {"N": 4}).session(), model.session({"N": 4})):
        np.testing.assert_array_equal(session(np.zeros((4, 3), np.float32)), [4, 3])


def test_a_route_goes_to_shapes_at_which_a_model_has_other_layers():
    """One branch or the other of an If, by the size of its input: each has a layer of its own, the Neg is that of both."""
    branches = {n: helper.make_graph([helper.make_node(op, ["a"], [n], op)], n, [],
                                     [helper.make_tensor_value_info(n, TensorProto.FLOAT, None)])
                for n, op in (("then_branch", "Exp"), ("else_branch", "Sin"))}
    nodes = [helper.make_node("Neg", ["x"], ["a"], "neg"), helper.make_node("Size", ["x"], ["s"]),
             helper.make_node("Greater", ["s", "ten"], ["c"]), helper.make_node("If", ["c"], ["y"], "if", **branches)]
    model = pw.load(onnx_net(nodes, ["N", 4], "y", weights=(("ten", np.int64(10)),)), threads=1)
    x = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
    few, many = ({layer.name for layer in model.bind({"N": n}).layers} for n in (2, 4))
    assert few - many and many - few and few & many
    for n in (2, 4):
        route = pw.default_route(model, 1, shapes={"N": n})
        np.testing.assert_allclose(model.plan(route, {"N": 4}).session()(x), np.exp(-x), rtol=1e-5)
        np.testing.assert_allclose(model.plan(route, {"N": 2}).session()(x[:2]), np.sin(-x[:2]), rtol=1e-5)
        model.add_route(route)
        np.testing.assert_allclose(model(x), np.exp(-x), rtol=1e-5)
