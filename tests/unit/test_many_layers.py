"""Nets of many layers take time in proportion to them: counted in layers and names that are touched, not in seconds."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pathweave import regions
from pathweave.meaning.evaluate import evaluate
from pathweave.net.block import Block
from pathweave.net.names import Names
from pathweave.net.net import Layer, Net, TensorSpec
from pathweave.passes import _graph, bind, inline_blocks, optimise

X = TensorSpec("f32", (1, 4, 3, 3))
SMALL, FACTOR = 100, 4
#: Work may grow by this much where the net grows by FACTOR; quadratic work grows by 16.
ALLOWED = 6


def layers_of(n: int, kind: str, source: str, **attrs) -> list[Layer]:
    return [Layer(f"l{i}", kind, (source,), (f"v{i}",), attrs) for i in range(n)]


def joined(layers: list[Layer], constants=None) -> Net:
    values = tuple(v for layer in layers for v in layer.outputs if v.startswith("v"))
    join = Layer("join", "concat", values, ("y",), {"axis": 1})
    return Net({"x": X}, ["y"], [*layers, join], constants or {})


def identities(n: int) -> Net:
    return joined([Layer("first", "relu", ("x",), ("s",), {}), *layers_of(n, "identity", "s")])


def equals(n: int) -> Net:
    return joined(layers_of(n, "relu", "x"))


def reshapes(n: int) -> Net:
    return joined([Layer("first", "relu", ("x",), ("s",), {}), *layers_of(n, "expand", "s", shape=(4, 1, 1))])


def equal_constants(n: int) -> Net:
    constants = {f"c{i}": np.full((1, 4, 3, 3), 2, np.float32) for i in range(n)}
    return Net({"x": X}, ["y"], [Layer("join", "concat", ("x", *constants), ("y",), {"axis": 1})], constants)


def transposes(n: int) -> Net:
    """A fan of sums behind one transpose, each of which moves to its front."""
    front = Layer("front", "transpose", ("x",), ("s",), {"perm": (0, 2, 3, 1)})
    sums = [Layer(f"l{i}", "add", ("s", f"c{i}"), (f"v{i}",), {}) for i in range(n)]
    net = joined([front, *sums], {f"c{i}": np.full((4,), i, np.float32) for i in range(n)})
    net.layers[-1] = net.layers[-1].with_(attrs={"axis": 3})
    return net


def chain(n: int) -> Net:
    layers = [Layer(f"l{i}", "sigmoid" if i % 2 else "tanh", (f"v{i - 1}" if i else "x",), (f"v{i}",), {}) for i in range(n)]
    return Net({"x": X}, [f"v{n - 1}"], layers, {})


def affine_chain(n: int) -> Net:
    constants = {f"c{i}": np.full((4, 1, 1), 1 + i % 3 * 0.125, np.float32) for i in range(n)}
    layers = [Layer(f"l{i}", "add" if i % 2 else "mul", (f"v{i - 1}" if i else "x", f"c{i}"), (f"v{i}",), {}) for i in range(n)]
    return Net({"x": X}, [f"v{n - 1}"], layers, constants)


NETS = [identities, equals, reshapes, equal_constants, transposes, chain, affine_chain]


class Counted:
    """How many inputs of layers were registered, and how many layers were listed as consumers or visited."""

    def __init__(self, monkeypatch):
        self.touched = 0
        self._wrap(monkeypatch, "_note", lambda graph, layer, *a: len(layer.inputs))
        self._wrap(monkeypatch, "_forget", lambda graph, layer: len(layer.inputs))
        self._wrap(monkeypatch, "consumers", lambda graph, value: len(graph._consumers.get(value, ())))
        self._wrap(monkeypatch, "alive", lambda graph, layer: 1)

    def _wrap(self, monkeypatch, name, cost):
        original = getattr(_graph.Graph, name)

        def counted(graph, *arguments):
            self.touched += cost(graph, *arguments)
            return original(graph, *arguments)
        monkeypatch.setattr(_graph.Graph, name, counted)


@pytest.mark.parametrize("make", NETS)
def test_passes_touch_each_layer_a_few_times(monkeypatch, make):
    counts = []
    for n in (SMALL, SMALL * FACTOR):
        with monkeypatch.context() as m:
            counted = Counted(m)
            bind(optimise(make(n)))
            counts.append(counted.touched)
    assert counts[1] <= ALLOWED * counts[0], counts


@pytest.mark.parametrize("make", NETS)
def test_and_keep_the_meaning(make):
    x = np.random.default_rng(0).standard_normal(X.shape)
    wanted = evaluate(make(9), {"x": x}, "f64")
    net = bind(optimise(make(9)))
    got = evaluate(net, {"x": x}, "f64")
    assert list(got) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(got[name], array, rtol=1e-6, atol=1e-9)
    if make in (identities, equals, reshapes):
        assert len(net.layers) == 2, "all of the fan are one value"


def test_identities_that_make_outputs_and_stand_in_chains():
    layers = [Layer("a", "relu", ("x",), ("a",), {}), Layer("b", "identity", ("a",), ("b",), {}),
              Layer("c", "identity", ("b",), ("c",), {}), Layer("d", "identity", ("c",), ("d",), {}),
              Layer("e", "add", ("b", "c"), ("e",), {}), Layer("f", "identity", ("x",), ("f",), {})]
    net = bind(optimise(Net({"x": X}, ["d", "e", "f", "b"], layers, {})))
    x = np.random.default_rng(0).standard_normal(X.shape).astype(np.float32)
    got = evaluate(net, {"x": x})
    for name, wanted in {"d": np.maximum(x, 0), "b": np.maximum(x, 0), "e": 2 * np.maximum(x, 0), "f": x}.items():
        np.testing.assert_array_equal(got[name], wanted)


def lines_run(work) -> int:
    """Lines of the graph and of the pass that inlines blocks that some work runs, each turn of a loop once."""
    count, files = 0, {module.__file__ for module in (_graph, inline_blocks)}

    def trace(frame, event, argument):
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        return trace
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def inlined(n: int) -> Net:
    """A loop of one trip around a chain with sigmoids times their inputs, each of which becomes one layer."""
    layers = [Layer(f"l{i}", *(("mul", (f"v{i - 1}", f"v{i - 2}")) if i % 3 == 2 else
                               ("sigmoid" if i % 3 else "tanh", (f"v{i - 1}" if i else "x",))), (f"v{i}",)) for i in range(n)]
    inputs = {"i": TensorSpec("i64", ()), "going": TensorSpec("bool", ()), "x": X}
    body = Block(Net(inputs, ["still", f"v{n - 1}"], [Layer("s", "identity", ("going",), ("still",)), *layers], {}))
    return Net({"x": X}, ["y"], [Layer("l", "loop", ("", "", "x"), ("y",), {"body": body, "carried": 1, "trips": 1})], {})


def test_layers_of_a_block_that_becomes_part_of_the_net_are_like_others():
    counts = [lines_run(lambda n=n: optimise(inlined(n))) for n in (SMALL, SMALL * FACTOR)]
    assert counts[1] <= ALLOWED * counts[0], counts
    found, wanted = optimise(inlined(30)), inlined(30)
    assert [layer.kind for layer in found.layers] == ["tanh", "silu"] * 10
    x = np.random.default_rng(0).standard_normal(X.shape)
    np.testing.assert_allclose(evaluate(found, {"x": x}, "f64")["y"], evaluate(wanted, {"x": x}, "f64")["y"], rtol=1e-12)


def test_a_graph_finds_names_of_layers_without_trying_all_again():
    def names(n: int) -> None:
        graph = _graph.Graph(chain(3))
        found = []
        for _ in range(n):
            found.append(graph.fresh_layer_name("l1"))
            last = graph.layer("l2")
            graph.replace(last, last.with_(name=found[-1], outputs=(graph.fresh("v"),)), last)
        assert len(set(found)) == n and not {"l0", "l1", "l2"}.intersection(found)
    counts = [lines_run(lambda n=n: names(n)) for n in (SMALL, SMALL * FACTOR)]
    assert counts[1] <= ALLOWED * counts[0], counts


def test_the_order_of_a_graph_against_a_list():
    """Layers are replaced by none, one and several, again and again at one place, while the graph is walked."""
    rng = np.random.default_rng(1)
    graph, wanted = _graph.Graph(chain(5)), [layer.name for layer in chain(5).layers]
    for round_ in range(400):
        at = int(rng.integers(len(wanted))) if round_ % 2 else 0
        layer = graph.layer(wanted[at])
        count = 0 if len(wanted) > 60 else int(rng.integers(1, 4))
        new = [layer.with_(name=graph.fresh_layer_name("n"), outputs=(graph.fresh("m"),)) for _ in range(count)]
        seen = []
        for other in graph.layers():
            seen.append(other.name)
            if other is layer:
                graph.replace(layer, *new)
        assert seen == wanted and not graph.alive(layer)
        wanted[at:at + 1] = [n.name for n in new]
        assert [other.name for other in graph.layers()] == wanted
        assert all(graph.alive(n) and graph.layer(n.name) is n for n in new)
        positions = [graph.position(graph.layer(name)) for name in wanted]
        assert positions == sorted(set(positions))


def test_names_are_found_without_trying_all_again():
    class CountingSet(set):
        asked = 0

        def __contains__(self, name):
            CountingSet.asked += 1
            return set.__contains__(self, name)

    names = Names()
    names._taken = CountingSet(["n", "n_2", "other"])
    found = [names.fresh("n") for _ in range(500)]
    assert found[:3] == ["n_1", "n_3", "n_4"] and len(set(found)) == 500
    assert CountingSet.asked < 5 * 500
    assert names.unused("n") == names.unused("n") and names.fresh("free") == "free" and names.fresh("") == "_1"


def test_regions_look_at_the_net_once(monkeypatch):
    """However many there are: who uses what is not looked up for each."""
    def mobile(n: int) -> Net:
        layers, constants, value = [], {}, "x"
        for i in range(n):
            for j, (kind, shape, attrs) in enumerate([("conv2", (8, 4, 1, 1), {}),
                                                      ("depthwise_conv2", (8, 1, 3, 3), {"pad": (1,) * 4}),
                                                      ("conv2", (4, 8, 1, 1), {})]):
                constants[f"w{i}.{j}"] = np.ones(shape, np.float32)
                layers.append(Layer(f"l{i}.{j}", kind, (value, f"w{i}.{j}"), (f"v{i}.{j}",), attrs))
                value = f"v{i}.{j}"
        return Net({"x": X}, [value], layers, constants)
    calls, original = [], Net.consumers
    monkeypatch.setattr(Net, "consumers", lambda net: calls.append(1) or original(net))
    counts = []
    for n in (4, 16):
        calls.clear()
        assert len(regions.find(mobile(n))) >= n
        counts.append(len(calls))
    assert counts[0] == counts[1]
