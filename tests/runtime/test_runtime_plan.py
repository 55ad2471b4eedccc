"""Plans: wiring, conversions, outputs of every sort, and the cache of plans per shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pathweave.errors import InputError, RouteError
from pathweave.meaning.evaluate import evaluate
from pathweave.net.format import Format
from pathweave.net.net import Epilogue, Layer, Net, TensorSpec
from pathweave.net.route import Conversion
from pathweave.runtime import catalogue, conversions
from pathweave.runtime.bound import BoundNet, constant_id, resolve_shapes
from pathweave.runtime.catalogue import Candidate, numpy_candidate
from pathweave.runtime.defaults import default_choices, default_route
from pathweave.runtime.plan import build_plan
from pathweave.runtime.prepare import KernelCache
from pathweave.runtime.runnable import Runnable

F32 = "f32"


def net_of(layers, inputs, outputs, constants=None) -> BoundNet:
    """A bound net as it stands, without any pass."""
    return BoundNet(Net({n: TensorSpec(F32, s) for n, s in inputs.items()}, outputs, layers, constants or {}))


def layer(name, kind, inputs, outputs=None, epilogue="", **attrs) -> Layer:
    return Layer(name, kind, tuple(inputs), tuple(outputs or [name]), attrs, Epilogue.parse(epilogue))


def random(shapes) -> dict:
    rng = np.random.default_rng(5)
    return {n: rng.standard_normal(s).astype(np.float32) for n, s in shapes.items()}


def agrees(bound, plan, inputs, tolerance=1e-6) -> None:
    """A plan computes what the layers mean, in float64."""
    expected = evaluate(bound.net, inputs, "f64")
    for session in (plan.session(), plan.session()):
        for _ in range(2):
            results = session.run(inputs)
            assert list(results) == list(expected)
            for name, wanted in expected.items():
                assert results[name].shape == wanted.shape
                assert np.allclose(results[name], wanted, rtol=tolerance, atol=tolerance)


def in_layouts(bound, layouts: dict, threads=1) -> dict:
    """NumPy candidates, each in the layout named for its layer."""
    return {la.name: numpy_candidate(p, layouts.get(la.name)) for la, p in zip(bound.layers, bound.problems(threads))}


def adapts(plan) -> list[tuple]:
    return [(s.value, str(s.ins[0]), str(s.outs[0])) for s in plan.steps if s.layer == "adapt"]


CHAIN = {"x": (2, 32, 5, 3)}


def test_a_value_is_converted_once_for_several_consumers():
    consumers = [layer(n, kind, ["a"]) for n, kind in (("b", "neg"), ("c", "abs"), ("d", "exp"))]
    bound = net_of([layer("a", "relu", ["x"]), *consumers],
                   CHAIN, ["b", "c", "d"])
    plan = build_plan(bound, in_layouts(bound, {"b": "nhwc", "c": "nhwc"}), [], 1)
    assert [a for a in adapts(plan) if a[0] == "a"] == [("a", "f32:nchw:cpu", "f32:nhwc:cpu")]
    assert sorted(a[0] for a in adapts(plan)) == ["a", "b", "c"]  # and both results back to the caller's format
    agrees(bound, plan, random(CHAIN))


@pytest.mark.parametrize("first", ["nchw", "nhwc", "nchw16c"])
@pytest.mark.parametrize("second", ["nchw", "nhwc", "nchw16c"])
def test_every_pair_of_layouts(first, second):
    bound = net_of([layer("a", "exp", ["x"]), layer("b", "neg", ["a"])], CHAIN, ["b"])
    plan = build_plan(bound, in_layouts(bound, {"a": first, "b": second}, 2), [], 2)
    assert len(adapts(plan)) == (first != "nchw") + (first != second) + (second != "nchw")
    agrees(bound, plan, random(CHAIN))


def test_listed_chains_are_followed():
    bound = net_of([layer("a", "exp", ["x"])], CHAIN, ["a"])
    choices = in_layouts(bound, {"a": "nchw16c"})
    formats = [Format(F32, f) for f in ("nchw", "nhwc", "nchw16c")]
    spec = bound.spec("x")
    chain = []
    for source, target in zip(formats, formats[1:]):
        c = conversions.adapt_candidates(spec, source, target, 1)[0]
        chain.append(Conversion("x", source, target, c.routine, c.version, c.variant))
    wanted = conversions.conversions_for(bound, choices, 1, chain)
    assert wanted[:2] == chain
    plan = build_plan(bound, choices, wanted, 1)
    assert [a[2] for a in adapts(plan)][:2] == ["f32:nhwc:cpu", "f32:nchw16c:cpu"]
    agrees(bound, plan, random(CHAIN))


def test_a_conversion_that_does_not_exist():
    bound = net_of([layer("a", "exp", ["x"])], CHAIN, ["a"])
    bad = Conversion("x", Format(F32, "nchw"), Format(F32, "nhwc"), "adapt/none:f32:cpu", 1, "")
    with pytest.raises(RouteError, match="adapt/none"):
        build_plan(bound, in_layouts(bound, {"a": "nhwc"}), [bad], 1)
    with pytest.raises(RouteError, match="no chain of adapts"):
        conversions.shortest("x", bound.spec("x"), [Format(F32, "nchw")], Format(F32, "nchw", "moon"), 1)


def test_an_output_that_is_an_input():
    bound = net_of([layer("a", "exp", ["x"])], {"x": (3, 4)}, ["x", "a"])
    agrees(bound, build_plan(bound, default_choices(bound, 1), [], 1), random({"x": (3, 4)}))


def test_an_output_that_is_a_constant():
    constants = {"k": np.arange(6, dtype=np.float32).reshape(2, 3), "s": np.full((), 4, np.float32)}
    bound = net_of([layer("a", "exp", ["x"])], {"x": (3,)}, ["k", "a", "s"], constants)
    plan = build_plan(bound, default_choices(bound, 1), [], 1)
    agrees(bound, plan, random({"x": (3,)}))
    results = plan.session().run(random({"x": (3,)}))
    results["k"][:] = 0  # the caller's own
    assert constants["k"].any()


def test_an_output_that_is_used_inside_and_one_that_is_listed_twice():
    bound = net_of([layer("a", "exp", ["x"]), layer("b", "neg", ["a"])], {"x": (3, 4)}, ["a", "b", "a"])
    agrees(bound, build_plan(bound, default_choices(bound, 1), [], 1), random({"x": (3, 4)}))


def test_values_that_nobody_uses():
    split = layer("s", "split", ["x"], ["p", "q", "r"], axis=1, sizes=(1, 2, 3))
    bound = net_of([split, layer("dead", "exp", ["x"]), layer("y", "neg", ["q"])], {"x": (2, 6)}, ["y"])
    agrees(bound, build_plan(bound, default_choices(bound, 1), [], 1), random({"x": (2, 6)}))


def test_one_value_as_both_operands_and_rank_0():
    bound = net_of([layer("a", "mul", ["x", "x"]), layer("b", "reduce", ["a"], op="sum", axes=(0, 1), keepdims=0)],
                   {"x": (4, 5)}, ["a", "b"])
    agrees(bound, build_plan(bound, default_choices(bound, 1), [], 1), random({"x": (4, 5)}), 1e-5)


def test_a_net_without_layers():
    bound = net_of([], {"x": (2, 3)}, ["x"])
    agrees(bound, build_plan(bound, {}, [], 1), random({"x": (2, 3)}))


def test_other_element_types_run_in_numpy():
    net = Net({"x": TensorSpec("i64", (2, 16, 3, 3))}, ["a", "b"],
              [layer("a", "neg", ["x"]), layer("b", "cast", ["a"], dtype="f64")], {})
    bound = BoundNet(net)
    plan = build_plan(bound, default_choices(bound, 1), [], 1)
    x = np.arange(288, dtype=np.int64).reshape(2, 16, 3, 3)
    results = plan.session().run({"x": x})
    assert np.array_equal(results["a"], -x) and results["b"].dtype == np.float64


@pytest.mark.parametrize("act, add", [("", True), *((a, b) for a in ("relu", "clip:-0.5:0.5", "hard_swish", "sigmoid")
                                                     for b in (False, True))])
@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nchw16c"])
def test_an_epilogue_as_steps_of_its_own(act, add, layout):
    """A routine that takes none, followed by element-wise steps in its own format."""
    epilogue = "+".join(filter(None, ["add" if add else "", act]))
    shape = (2, 16, 6, 5)
    inputs = {"x": shape, **({"r": (2, 16, 3, 2)} if add else {})}
    pool = layer("y", "max_pool2", inputs, kernel=(2, 2), stride=(2, 2), epilogue=epilogue)
    bound = net_of([pool], inputs, ["y"])
    problem = bound.problems(2)[0]
    bare = catalogue.without_epilogue(problem)
    c = numpy_candidate(bare, layout)
    c = catalogue._append_steps(Candidate(c.routine, 1, "", problem, bare, c.ins, c.outs, "strict", True))
    assert c.steps and len(c.ins) == len(inputs) and {*c.ins, *c.outs} == {Format(F32, layout)}
    plan = build_plan(bound, {"y": c}, [], 2)
    assert [s.part for s in plan.steps if s.layer == "y"] == list(range(1 + len(c.steps)))
    agrees(bound, plan, random(inputs), 1e-6)


def test_native_routines_that_take_no_epilogue_get_steps():
    pool = layer("y", "max_pool2", ["x"], kernel=(2, 2), stride=(2, 2), epilogue="relu")
    bound = net_of([pool], {"x": (1, 16, 8, 8)}, ["y"])
    found, _ = bound.candidates(0, 1)
    stepped = [c for c in found if c.steps]
    assert stepped and not any(c.reference for c in found)
    for c in stepped:
        assert not any(s.problem.epilogue for s in c.steps) and "epilogue" not in c.base.text
        agrees(bound, build_plan(bound, {"y": c}, [], 1), random({"x": (1, 16, 8, 8)}))


def test_memory_is_shared_and_reported():
    names = [f"v{i}" for i in range(12)]
    bound = net_of([layer(n, "exp" if n == "v0" else "sigmoid", [before]) for before, n in zip(["x", *names], names)],
                   {"x": (1, 16, 32, 32)}, [names[-1]])
    plan = build_plan(bound, default_choices(bound, 1), [], 1)
    size = 16 * 32 * 32 * 4
    assert plan.unshared_bytes >= 11 * size and plan.peak_bytes <= 3 * size
    agrees(bound, plan, random({"x": (1, 16, 32, 32)}))
    text = plan.describe()
    assert all(n in text for n in names) and f"{len(plan.steps)} steps" in text


def test_a_choice_for_another_problem_is_refused():
    bound = net_of([layer("a", "exp", ["x"])], {"x": (3, 4)}, ["a"])
    other = net_of([layer("a", "exp", ["x"])], {"x": (3, 5)}, ["a"])
    with pytest.raises(RouteError, match="another problem"):
        build_plan(bound, default_choices(other, 1), [], 1)
    with pytest.raises(RouteError, match="no candidate"):
        build_plan(bound, {}, [], 1)


def test_kernels_are_prepared_once():
    w = np.ones((8, 4), np.float32)
    bound = net_of([layer("a", "dense", ["x", "w"])], {"x": (3, 4)}, ["a"], {"w": w})
    cache = KernelCache(bound)
    choices = default_choices(bound, 1)
    build_plan(bound, choices, [], 1, cache)
    kernel = cache.layer(bound.layers[0], choices["a"])
    build_plan(bound, choices, [], 1, cache)
    assert cache.layer(bound.layers[0], choices["a"]) is kernel and len(cache) == 1
    cache.drop(bound.layers[0])
    assert len(cache) == 0


def test_ids_of_constants():
    a, b = np.zeros(3), np.zeros(3)
    first = constant_id(a)
    assert constant_id(a) == first != constant_id(b)
    seen = {first, constant_id(b)}
    for _ in range(50):  # arrays that come and go at the same address
        number = constant_id(np.zeros(3))
        assert number not in seen
        seen.add(number)


# ---- shapes and the cache ----

def test_shapes_of_symbols(classifier, adder):
    assert resolve_shapes(classifier.main) == {"x": (1, 3, 16, 16)}
    for shapes in ({"N": 4}, {"x": (4, 3, 16, 16)}, (4, 3, 16, 16), [4, 3, 16, 16]):
        assert resolve_shapes(classifier.main, shapes) == {"x": (4, 3, 16, 16)}
    assert resolve_shapes(adder.main, {"a": (5, 6)}) == {"a": (5, 6), "b": (5, 6)}


@pytest.mark.parametrize("shapes", [{"N": -1}, {"M": 2}, {"x": 4}, {"x": (1, 3, 16)}, (1, 4, 16, 16), {"N": 1.5}, "x",
                                    {"N": 2, "x": (3, 3, 16, 16)}])
def test_wrong_shapes(classifier, shapes):
    with pytest.raises(InputError):
        resolve_shapes(classifier.main, shapes)


def test_a_shape_of_what_is_no_input_says_so(classifier):
    with pytest.raises(InputError, match=r"'M' is neither an input nor a symbol; the inputs are x f32\[N,3,16,16\]"):
        resolve_shapes(classifier.main, {"M": 2})


def test_plans_are_kept_per_shape(classifier, batch_of):
    runnable = Runnable(classifier.main, kept=2, threads=1)
    one, two = runnable.plan(), runnable.plan(shapes={"N": 2})
    assert runnable.plan() is one and runnable.plan(shapes={"x": (2, 3, 16, 16)}) is two
    runnable(batch_of(1))
    assert runnable.plan() is one
    runnable.plan(shapes={"N": 3})  # drops the plan that was not used for longest
    assert runnable.plan() is one and runnable.plan(shapes={"N": 2}) is not two
    assert runnable.plan(threads=2) is not one
    runnable.forget_plans()
    assert runnable.plan() is not one


def test_packed_weights_are_shared_between_shapes(classifier):
    """Nets bound to two shapes hold the same arrays."""
    a, b = classifier.bind({"N": 1}), classifier.bind({"N": 2})
    shared = [n for n, array in a.net.constants.items() if b.net.constants.get(n) is array]
    assert shared and a.signature != b.signature and a.signature == classifier.bind({"N": 1}).signature


@pytest.mark.parametrize("bad", [0, -1, 1.5, True, "2", 1025, 2**31, 2**63])
def test_threads_are_checked(classifier, bad):
    import pathweave as pw
    route = classifier.route()
    for call in (lambda: classifier.plan(threads=bad), lambda: pw.Model(classifier, threads=bad),
                 lambda: default_route(classifier.bind(), bad), lambda: replace(route, threads=bad)):
        with pytest.raises((InputError, RouteError), match="threads: expected a number from 1 to 1024"):
            call()
    assert classifier.plan(threads=1).threads == 1


def test_results_do_not_depend_on_threads(classifier, x):
    wanted = classifier.plan(threads=1).session()(x)
    for threads in (2, 3, 16, 64, 128):
        assert np.array_equal(classifier.plan(threads=threads).session()(x), wanted), threads


def test_the_default_prefers_one_layout(classifier):
    route = default_route(classifier.bind(), 1)
    layouts = {f.layout for c in route.layers.values() for f in (*c.ins, *c.outs)} - {"plain"}
    assert len(layouts) == 1 and route.certificate == "default" and len(route.conversions) == 1
