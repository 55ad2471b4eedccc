"""Blocks: their text, what passes do to them, files that hold them, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pathweave.errors import FileFormatError, ModelError, ShapeError
from pathweave.files import model as own_file
from pathweave.files import spec
from pathweave.layers import infer_layer, kind_of
from pathweave.layers.blocks import infer_block
from pathweave.meaning.evaluate import evaluate
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
