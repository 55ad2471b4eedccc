"""Blocks: their text, what passes do to them, files that hold them, and what is refused."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest

from pathweave.errors import FileFormatError, ModelError, OutOfMemoryError, ShapeError
from pathweave.files import model as own_file
from pathweave.files import spec
from pathweave.layers import blocks, infer_layer, kind_of
from pathweave.layers.blocks import infer_block
from pathweave.meaning.evaluate import evaluate
from pathweave.meaning.partial import Follower, Known
from pathweave.net import memory
from pathweave.net.block import MOST_DEPTH, Block
from pathweave.net.dim import symbol
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.net.problem import Problem, attr_text
from pathweave.passes import bind, optimise

RNG = np.random.default_rng(3)


def f32(*shape):
    return TensorSpec("f32", shape)


TRUTH, NUMBER = TensorSpec("bool", ()), TensorSpec("i64", ())


def block(inputs, outputs, *layers, **constants):
    """Layers are (kind, inputs, outputs, attributes ...), names in words."""
    made = [Layer(f"{kind} of {out}", kind, tuple(ins.split()), tuple(out.split()), *attrs)
            for kind, ins, out, *attrs in layers]
    return Block(Net(dict(inputs), outputs.split(), made, constants))


def test_the_text_is_of_what_is_computed_and_not_of_names():
    w = RNG.standard_normal((3, 3)).astype(np.float32)
    one = block({"x": f32("N", 3)}, "y", ("matmul", "x w", "m"), ("relu", "m", "y"), w=w)
    same = block({"a": f32("B", 3)}, "d", ("matmul", "a c", "b"), ("relu", "b", "d"), c=w.copy(), unused=w)
    assert one == same and hash(one) == hash(same) and one.text == str(one) == attr_text(one) == attr_text(same)
    assert one.text[0] == "@" and len(one.text) == 13
    others = [block({"x": f32("N", 3)}, "y", ("matmul", "x w", "m"), ("relu", "m", "y"), w=w + 1),
              block({"x": f32("N", 3)}, "y", ("matmul", "x w", "m"), ("tanh", "m", "y"), w=w),
              block({"x": f32("N", 3)}, "m", ("matmul", "x w", "m"), ("relu", "m", "y"), w=w),
              block({"x": f32(2, 3)}, "y", ("matmul", "x w", "m"), ("relu", "m", "y"), w=w),
              block({"x": f32("N", 3)}, "y", ("matmul", "x w", "m"), ("elu", "m", "y", {"alpha": 2.0}), w=w),
              block({"x": f32("N", 3)}, "y", ("matmul", "x w", "m"), ("elu", "m", "y", {"alpha": 3.0}), w=w)]
    assert len({one, *others}) == len({b.digest for b in (one, *others)}) == 7
    assert pickle.loads(pickle.dumps(one)) == one


def test_the_problem_of_a_layer_names_its_blocks():
    then, other = (block({"x": f32(3)}, "y", (kind, "x", "y")) for kind in ("relu", "neg"))
    problem = Problem.make("if", [TRUTH, f32(3)], [False, False], [f32(3)], {"then_branch": then, "else_branch": other})
    assert problem.text == f"if in=bool:,f32:3 out=f32:3 else_branch={other} then_branch={then} threads=1"


def test_blocks_are_not_nested_without_end():
    inner = block({"c": TRUTH, "x": f32(3)}, "y", ("relu", "x", "y"))
    for depth in range(2, MOST_DEPTH + 1):
        branches = {"then_branch": inner, "else_branch": inner}
        inner = block({"c": TRUTH, "x": f32(3)}, "y", ("if", "c c x", "y", branches))
        assert inner.depth == depth
    with pytest.raises(ModelError, match=f"nested {MOST_DEPTH + 1} deep: expected at most {MOST_DEPTH}"):
        block({"c": TRUTH, "x": f32(3)}, "y", ("if", "c c x", "y", {"then_branch": inner, "else_branch": inner}))


def test_what_a_block_is_given_must_fit():
    relu = block({"x": f32("N", 3)}, "y", ("relu", "x", "y"))
    assert infer_block(relu, [f32(symbol("B"), 3)]) == [f32(symbol("B"), 3)]
    for specs in ([], [f32(2, 4)], [f32(3)], [TensorSpec("i64", (2, 3))], [None]):
        with pytest.raises(ShapeError, match="of a block|a block with the inputs"):
            infer_block(relu, specs)
    layer = Layer("l", "if", ("c", "x"), ("y",), {"then_branch": relu, "else_branch": relu})
    for condition in (f32(), TensorSpec("bool", (2,))):
        with pytest.raises(ShapeError, match="condition"):
            infer_layer(layer, [condition, f32(2, 3)])
    with pytest.raises(ModelError, match="expected a Block"):
        kind_of("if").complete({"then_branch": relu, "else_branch": 3})


def test_a_loop_that_ends_never_is_not_folded():
    body = block({"i": NUMBER, "c": TRUTH, "v": NUMBER}, "d w", ("identity", "c", "d"), ("add", "v i", "w"))
    net = Net({}, ["y"], [Layer("l", "loop", ("", "", "v"), ("y",), {"body": body, "carried": 1})], {"v": np.array(1)})
    assert [layer.kind for layer in optimise(net).layers] == ["loop"]
    bounded = Net({}, ["y"], [net.layers[0].with_(inputs=("n", "", "v"))], {"v": np.array(1), "n": np.array(5)})
    assert optimise(bounded).layers == [] and optimise(bounded).constants["y"] == 11


def test_captures_that_nobody_reads_go_and_equal_ones_are_one():
    then = block({"a": f32(3), "b": f32(3), "c": f32(3)}, "y z", ("add", "a b", "y"), ("neg", "a", "z"))
    other = block({"p": f32(3), "q": f32(3), "r": f32(3)}, "y z", ("mul", "p q", "y"), ("abs", "p", "z"))
    layer = Layer("l", "if", ("flag", "x", "x", "w"), ("y", "z"), {"then_branch": then, "else_branch": other})
    net = Net({"flag": TRUTH, "x": f32(3), "w": f32(3)}, ["y"], [layer], {})
    (found,) = optimise(net).layers
    assert found.inputs == ("flag", "x") and found.outputs == ("y",)
    for flag in (True, False):
        given = {"flag": np.array(flag), "x": np.arange(3, dtype=np.float32) - 1, "w": np.zeros(3, np.float32)}
        np.testing.assert_array_equal(evaluate(net, given)["y"], evaluate(optimise(net), given)["y"])


def test_equal_layers_with_blocks_are_one_and_others_stay():
    relu, same, neg = (block({v: f32(3)}, "y", (kind, v, "y")) for kind, v in (("relu", "x"), ("relu", "z"), ("neg", "x")))
    layers = [Layer(f"l{i}", "if", ("flag", "x"), (f"y{i}",), {"then_branch": a, "else_branch": b})
              for i, (a, b) in enumerate(((relu, neg), (same, neg), (neg, relu)))]
    layers += [Layer("s", "add", ("y0", "y1"), ("s",)), Layer("t", "add", ("s", "y2"), ("t",))]
    net = Net({"flag": TRUTH, "x": f32(3)}, ["t"], layers, {})
    assert [layer.kind for layer in optimise(net).layers].count("if") == 2


def test_evaluation_in_another_precision_reaches_into_blocks():
    w = np.array([1e-9, 1, 1e9], np.float32)
    body = block({"i": NUMBER, "c": TRUTH, "h": f32(3)}, "c2 h2", ("identity", "c", "c2"), ("add", "h w", "h2"), w=w)
    net = Net({"x": f32(3)}, ["y"], [Layer("l", "loop", ("", "", "x"), ("y",), {"body": body, "carried": 1, "trips": 7})], {})
    x = np.array([1.0, 1e9, 3.0])
    found = evaluate(net, {"x": x}, "f64")["y"]
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, x + 7 * w.astype(np.float64), rtol=1e-15)


def test_sizes_that_depend_on_contents_in_a_bound_net():
    layers = [Layer("n", "nonzero", ("x",), ("at",)), Layer("s", "shape", ("at",), ("s",)),
              Layer("t", "transpose", ("at",), ("rows",), {"perm": (1, 0)}),
              Layer("r", "reshape", ("rows", "shape"), ("flat",)), Layer("g", "gather_nd", ("x", "rows"), ("y",))]
    net = Net({"x": f32("N", 3)}, ["y", "flat", "s"], layers, {"shape": np.array([-1])})
    x = np.array([[0, 1, 0], [2, 0, 3]], np.float32)
    bound = bind(optimise(net), {"x": (2, 3)})
    for one in (net, bound):
        found = evaluate(one, {"x": x})
        assert {n: a.tolist() for n, a in found.items()} == {"y": [1, 2, 3], "flat": [0, 1, 1, 0, 1, 2], "s": [2, 3]}
    assert not bound.specs["y"].bound and bound.specs["y"].upper.shape == (6,) and bound.specs["flat"].upper.shape == (12,)


def _model():
    w = RNG.standard_normal((4, 4)).astype(np.float32)
    k = RNG.standard_normal(4).astype(np.float32)
    body = block({"i": NUMBER, "c": TRUTH, "h": f32("N", 4)}, "c2 h2", ("identity", "c", "c2"), ("matmul", "h w", "h2"), w=w)
    then = block({"h": f32("N", 4), "n": NUMBER}, "y", ("loop", "n  h", "y", {"body": body, "carried": 1}), k=k)
    then = Block(Net(then.net.inputs, ["y"], [then.net.layers[0].with_(inputs=("n", "", "h"))], {}))
    other = block({"h": f32("N", 4), "n": NUMBER}, "y", ("add", "h k", "y"), k=k)
    layers = [Layer("i", "if", ("flag", "x", "n"), ("a",), {"then_branch": then, "else_branch": other}),
              Layer("m", "matmul", ("a", "w"), ("y",))]
    return Model({"main": Net({"flag": TRUTH, "x": f32("N", 4), "n": NUMBER}, ["y"], layers, {"w": w})})


def test_files_hold_blocks_and_share_arrays(tmp_path):
    model = _model()
    own_file.save(model, tmp_path / "a.pw")
    read = own_file.read(tmp_path / "a.pw")
    own_file.save(read, tmp_path / "b.pw")
    assert (tmp_path / "a.pw").read_bytes() == (tmp_path / "b.pw").read_bytes()
    assert read.main.layers == model.main.layers
    then = read.main.layers[0].blocks["then_branch"].net
    assert then.layers[0].blocks["body"].net.constants["w"] is read.main.constants["w"]
    text = spec.encode(model)
    assert text["nets"]["main"]["layers"][0]["attrs"]["else_branch"]["$block"]["constants"] == {"k": "block/0"}
    for flag in (True, False):
        given = {"flag": np.array(flag), "x": np.ones((2, 4), np.float32), "n": np.array(3)}
        np.testing.assert_array_equal(evaluate(model.main, given)["y"], evaluate(read.main, given)["y"])


def _decoded(change):
    model = _model()
    data = spec.encode(model)
    constants = {"main/w": model.main.constants["w"],
                 "block/0": model.main.layers[0].blocks["else_branch"].net.constants["k"]}
    change(data["nets"]["main"]["layers"][0]["attrs"])
    return spec.decode(data, constants)


def _nested(attrs):
    inner = leaf = attrs["else_branch"]
    for _ in range(20):
        layer = {"name": "l", "kind": "if", "inputs": ["y"], "outputs": ["y"],
                 "attrs": {"then_branch": inner, "else_branch": leaf}}
        inner = {"$block": {"inputs": {}, "outputs": ["y"], "constants": {}, "layers": [layer]}}
    attrs["else_branch"] = inner


@pytest.mark.parametrize("change, message", [
    (lambda a: a["else_branch"]["$block"]["constants"].update(k="block/7"), "a tensor named 'block/7'"),
    (lambda a: a["else_branch"]["$block"].update(outputs=[]), "at least one name"),
    (lambda a: a["else_branch"]["$block"].update(outputs=["nowhere"]), "'nowhere' is made by no layer"),
    (lambda a: a["else_branch"]["$block"]["layers"][0].update(kind="no such"), "got 1 unknown: 'no such'"),
    (lambda a: a["else_branch"]["$block"]["layers"][0].update(attrs={"alpha": a["then_branch"]}), "unknown attributes"),
    (lambda a: a["else_branch"].update(more=1), r"nothing but \$block"),
    (lambda a: a.update(else_branch=3), "Block"),
    (lambda a: a.update(else_branch={"$block": 3}), "an object, got 3"),
    (_nested, "nested at most 8 deep")])
def test_damaged_blocks_are_refused(change, message):
    with pytest.raises(FileFormatError, match=message):
        _decoded(change)


def _computed(monkeypatch, work) -> int:
    """Layers that some work computes inside blocks."""
    count, original = 0, blocks.compute

    def counted(layer, arguments):
        nonlocal count
        count += 1
        return original(layer, arguments)
    with monkeypatch.context() as m:
        m.setattr(blocks, "compute", counted)
        work()
    return count


def _loop(trips, body, *inputs, carried=1):
    return Layer("l", "loop", ("", "", *inputs), tuple(f"y{i}" for i in range(len(body.net.outputs) - 1)),
                 {"body": body, "carried": carried, "trips": trips})


CARRY = {"i": NUMBER, "c": TRUTH, "h": f32(1)}


def _halves(extra=1):
    """A body with 1 + `extra` layers."""
    layers = [("mul" if i % 2 else "add", f"{f'h{i - 1}' if i else 'h'} k", f"h{i}") for i in range(extra)]
    return block(CARRY, f"d h{extra - 1}", ("identity", "c", "d"), *layers, k=np.float32([0.5]))


def _loops(trips, inner_trips):
    inner = block({"h": f32(1)}, "h2", ("loop", "h", "h2", {"body": _halves(3), "carried": 1, "trips": inner_trips}))
    inner = Block(Net(inner.net.inputs, ["h2"], [inner.net.layers[0].with_(inputs=("", "", "h"))], {}))
    branch = {"then_branch": inner, "else_branch": block({"h": f32(1)}, "h2", ("neg", "h", "h2"))}
    return _loop(trips, block(CARRY, "d h2", ("identity", "c", "d"), ("if", "c h", "h2", branch)), "z")


def _scan(length):
    body = block({"a": f32(), "e": f32()}, "b p", ("add", "a e", "b"), ("identity", "b", "p"))
    return Layer("s", "scan", ("n", "e"), ("y0", "y1"), {"body": body, "carried": 1, "scanned": 1}), np.ones(length, np.float32)


def test_the_effort_of_blocks_counts_what_python_takes_for_each_layer_and_trip(monkeypatch):
    scan, sequence = _scan(50)
    given = {"z": np.ones(1, np.float32), "n": np.float32(0), "e": sequence}
    for layer in (_loop(1, _halves(), "z"), _loop(40, _halves(9), "z"), _loops(5, 7), _loops(0, 7), scan):
        arrays = [given[v] if v else None for v in layer.inputs]
        specs = [None if a is None else TensorSpec("f32", a.shape) for a in arrays]
        kind = kind_of(layer.kind)
        attrs = kind.complete(layer.attrs)
        runs = _computed(monkeypatch, partial(kind.meaning, attrs, arrays))
        assert 2000 * runs <= kind.effort(attrs, specs, infer_layer(layer, specs)) <= 20_000 * (runs + 1)


@pytest.mark.parametrize("make", [lambda: (_loop(10**6, _halves(2), "z"), {}), lambda: (_loop(2 * 10**4, _halves(50), "z"), {}),
                                  lambda: (_loops(1000, 1000), {}), lambda: (_scan(200_000)[0], {"e": _scan(200_000)[1]})])
def test_a_long_loop_of_constants_is_left_for_the_run(monkeypatch, make):
    layer, more = make()
    net = Net({"x": f32(1)}, ["y"], [layer, Layer("a", "add", ("x", "y0"), ("y",))],
              {"z": np.ones(1, np.float32), "n": np.float32(0), **more})
    found = []
    assert _computed(monkeypatch, lambda: found.append(bind(optimise(net)))) < 1000
    assert [one.kind for one in found[0].layers] == [layer.kind, "add"]


def _growing(trips):
    body = block({"i": NUMBER, "c": TRUTH, "a": f32("M")}, "d b", ("identity", "c", "d"), ("concat", "a a", "b", {"axis": 0}))
    layers = [_loop(trips, body, "z"), Layer("t", "reduce", ("y0",), ("t",), {"op": "sum", "axes": (0,), "keepdims": 0}),
              Layer("a", "add", ("x", "t"), ("y",))]
    return Net({"x": f32()}, ["y"], layers, {"z": np.ones(1, np.float32)})


def test_a_loop_whose_values_grow_is_left_for_the_run_and_asks_for_memory_there(monkeypatch):
    assert evaluate(_growing(10), {"x": np.float32(1)})["y"] == 1025
    found = optimise(_growing(40))
    assert [layer.kind for layer in found.layers][0] == "loop"
    monkeypatch.setattr(memory, "available", lambda: 65 << 20)
    with pytest.raises(OutOfMemoryError, match=r"^layer 'concat of b' \(concat\): .* are needed"):
        evaluate(found, {"x": np.float32(1)})


def test_a_block_whose_effort_is_not_known_is_not_folded():
    """One whose values are large inside, and one of which nothing can be said; a small one is."""
    def made(size, shape):
        body = block({"h": f32(1)}, "s", ("expand", "h", "w", {"shape": (size,)}),
                     ("reduce", "w", "s", {"op": "sum", "axes": (0,), "keepdims": 0}))
        layer = Layer("i", "if", ("c", "z"), ("y",), {"then_branch": body, "else_branch": body})
        return kind_of("if").effort(layer.attrs, [TRUTH, f32(*shape)], [f32()])
    assert made(1000, (1,)) < 10**5
    assert made(10**8, (1,)) == made(1000, (2, 3)) == made(1000, (symbol("N"),)) == blocks.ENDLESS


def test_all_who_follow_a_net_share_the_effort_of_folding(monkeypatch):
    """Small values of constants that are too much for folding are tried by each round of the passes."""
    follow = Known()
    layer, inputs = _loop(1000, _halves(), "z"), {}
    efforts = []
    for _ in range(3):
        follower = Follower(inputs, known=follow)
        follower.constant("z", np.ones(1, np.float32))
        follower.step(layer)
        efforts.append(follower.folding.effort)
    assert efforts[0] > efforts[1] > efforts[2]
    follow.folding().effort = 0
    follower = Follower(inputs, known=follow)
    follower.constant("z", np.ones(1, np.float32))
    assert _computed(monkeypatch, lambda: follower.step(layer)) == 0 and "y0" not in follower.contents
