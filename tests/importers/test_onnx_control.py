"""If, Loop and Scan of ONNX: nets inside nodes against ONNX Runtime, with captures, open sizes, and what is refused."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import TYPES, assert_same, build, run_reference

from pathweave.errors import ModelError, ShapeError, UnsupportedOperatorError
from pathweave.files import model as own_file
from pathweave.importers import builder, load
from pathweave.layers import blocks
from pathweave.meaning import open_shapes
from pathweave.meaning.evaluate import evaluate
from pathweave.meaning.open_shapes import infer
from pathweave.meaning.partial import Folding
from pathweave.passes import bind, optimise

RNG = np.random.default_rng(5)
I64, F32, BOOL = TensorProto.INT64, TensorProto.FLOAT, TensorProto.BOOL


def node(op, inputs, outputs, **attrs):
    return helper.make_node(op, [v if v != "-" else "" for v in inputs.split()], outputs.split(), **attrs)


def graph(nodes, inputs, outputs, constants=None, name="inside"):
    """`inputs`: (name, element type, shape or None); `outputs`: names in words."""
    return helper.make_graph(
        nodes, name, [helper.make_tensor_value_info(*v) for v in inputs],
        [onnx.ValueInfoProto(name=v) for v in outputs.split()],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in (constants or {}).items()])


def f32(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def check(model: bytes, *feeds: dict, tolerance=1e-5, tmp_path=None):
    """The net as imported, optimised, bound, and read back from a file agrees with ONNX Runtime."""
    loaded = load(model)
    net = loaded.main
    nets = {"imported": net, "optimised": optimise(net)}
    if tmp_path is not None:
        own_file.save(loaded, tmp_path / "net.pw")
        nets["saved"] = own_file.read(tmp_path / "net.pw").main
    for given in feeds:
        given = {n: np.asarray(a) for n, a in given.items()}
        expected = run_reference(model, given)
        for what, one in {**nets, "bound": bind(net, {n: a.shape for n, a in given.items()})}.items():
            for (name, found), wanted in zip(evaluate(one, given).items(), expected, strict=True):
                if wanted.size:  # of no trips ONNX Runtime knows no shape
                    assert_same(found, wanted, tolerance, f"{what} {name}")
                assert found.size == wanted.size and found.dtype == wanted.dtype
                assert name not in one.specs or one.specs[name].rank == found.ndim


def lstm_cell(hidden):
    """One step of an LSTM as a loop's body: captures the sequence, carries h and c, stacks h."""
    return graph([
        node("Gather", "sequence i", "x", axis=0), node("MatMul", "x w", "a"), node("MatMul", "h r", "b"),
        node("Add", "a b", "ab"), node("Add", "ab bias", "gates"), node("Split", "gates", "gi go gf gg", axis=1),
        node("Sigmoid", "gi", "si"), node("Sigmoid", "go", "so"), node("Sigmoid", "gf", "sf"), node("Tanh", "gg", "tg"),
        node("Mul", "sf c", "keep"), node("Mul", "si tg", "new"), node("Add", "keep new", "c2"), node("Tanh", "c2", "tc"),
        node("Mul", "so tc", "h2"), node("Identity", "h2", "part"), node("Identity", "going", "still")],
        [("i", I64, []), ("going", BOOL, []), ("h", F32, ["B", hidden]), ("c", F32, ["B", hidden])], "still h2 c2 part",
        {"r": f32(hidden, 4 * hidden), "bias": f32(4 * hidden)})


def lstm_model() -> bytes:
    return build([node("Shape", "sequence", "s", start=0, end=1), node("Squeeze", "s", "length"),
                  node("Loop", "length - h0 c0", "h c all", body=lstm_cell(6))],
                 {"sequence": (f32(4, 2, 5), ["T", "B", 5]), "h0": (f32(2, 6), ["B", 6]), "c0": (f32(2, 6), ["B", 6])},
                 {"w": f32(5, 24)}, ("h", "c", "all"))


def test_lstm_cell_in_a_loop(tmp_path):
    model = lstm_model()
    check(model, *({"sequence": f32(t, b, 5), "h0": f32(b, 6), "c0": f32(b, 6)} for t, b in ((4, 2), (1, 1), (9, 3), (0, 2))),
          tmp_path=tmp_path)
    specs = infer(load(model).main).specs
    assert str(specs["all"]) == "f32[T,B,6]" and str(specs["h"]) == "f32[B,6]"
    bound = bind(load(model).main, {"sequence": (7, 2, 5), "h0": (2, 6), "c0": (2, 6)})
    assert str(bound.specs["all"]) == "f32[7,2,6]"
    (loop,) = (layer for layer in bound.layers if layer.kind == "loop")
    assert loop.attrs["trips"] == 7 and loop.inputs == ("", "", "h0", "c0", "sequence")  # the weights are inside


def test_if_between_two_convolutions(tmp_path):
    then = graph([node("Relu", "a", "t")], [], "t")
    other = graph([node("Conv", "a k", "u", pads=[1, 1, 1, 1]), node("Add", "u a", "t")], [], "t", {"k": f32(8, 8, 3, 3)})
    model = build([node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("ReduceMean", "a", "m", keepdims=0),
                   node("Greater", "m zero", "flag"), node("If", "flag", "b", then_branch=then, else_branch=other),
                   node("Conv", "b v", "y")], {"x": (f32(1, 3, 6, 6), ["N", 3, "H", "W"])},
                  {"w": np.abs(f32(8, 3, 3, 3)), "v": f32(4, 8, 1, 1), "zero": np.float32(0)})
    x = np.abs(f32(1, 3, 6, 6))
    check(model, {"x": x}, {"x": -x}, {"x": np.abs(f32(2, 3, 5, 7))}, tmp_path=tmp_path)
    specs = infer(load(model).main).specs
    assert str(specs["y"]) == "f32[N,4,H,W]"


def test_if_inside_a_loop_inside_an_if(tmp_path):
    odd, even = graph([node("Add", "v step", "r")], [], "r"), graph([node("Mul", "v step", "r")], [], "r")
    body = graph([node("Mod", "i two", "m"), node("Equal", "m one", "odd"),
                  node("If", "odd", "v2", then_branch=odd, else_branch=even), node("ReduceMax", "v2", "top", keepdims=0),
                  node("Less", "top most", "still")],
                 [("i", I64, []), ("going", BOOL, []), ("v", F32, ["N"])], "still v2", {"two": np.int64(2), "one": np.int64(1)})
    then = graph([node("Loop", "trips - x", "r", body=body)], [], "r", {"step": np.float32(1.5)})
    other = graph([node("Neg", "x", "r")], [], "r")
    model = build([node("If", "flag", "y", then_branch=then, else_branch=other)],
                  {"x": (f32(4), ["N"]), "flag": np.array(True), "trips": np.array(3)}, {"most": np.float32(20)})
    check(model, *({"x": np.abs(f32(n)), "flag": np.array(flag), "trips": np.array(trips)}
                   for n, flag, trips in ((4, True, 3), (4, True, 100), (3, False, 2), (5, True, 0))), tmp_path=tmp_path)


def test_loop_with_a_carried_value_that_grows(tmp_path):
    body = graph([node("Concat", "v row", "v2", axis=0), node("Shape", "v2", "s"), node("Gather", "s zero", "n"),
                  node("Less", "n most", "still"), node("Slice", "v n0 n1", "last")],
                 [("i", I64, []), ("going", BOOL, []), ("v", F32, None)], "still v2 last",
                 {"zero": np.int64(0), "n0": np.array([-1]), "n1": np.array([2**62])})
    model = build([node("Loop", "trips going x", "y parts", body=body)],
                  {"x": (f32(2, 3), ["N", 3]), "row": f32(1, 3), "trips": np.array(4), "going": np.array(True)},
                  {"most": np.int64(9)}, ("y", "parts"))
    row = f32(1, 3)
    check(model, *({"x": f32(n, 3), "row": row, "trips": np.array(trips), "going": np.array(going)}
                   for n, trips, going in ((2, 4, True), (1, 100, True), (2, 3, False), (3, 1, True))), tmp_path=tmp_path)
    specs = infer(load(model).main).specs
    assert specs["y"].rank == 2 and not specs["y"].bound and specs["y"].shape[1] == 3


@pytest.mark.parametrize("axis, direction, out_axis, out_direction", [(0, 0, 0, 0), (1, 1, 1, 0), (-1, 0, -1, 1), (2, 1, 0, 1)])
def test_scan_with_axes_and_directions(axis, direction, out_axis, out_direction, tmp_path):
    body = graph([node("Add", "state slice", "sum"), node("Mul", "sum scale", "part"), node("Identity", "sum", "state2")],
                 [("state", F32, None), ("slice", F32, None)], "state2 part")
    model = build([node("Scan", "init x", "last all", body=body, num_scan_inputs=1, scan_input_axes=[axis],
                        scan_input_directions=[direction], scan_output_axes=[out_axis],
                        scan_output_directions=[out_direction])],
                  {"init": (f32(3, 4), ["A", "B"]), "x": (f32(3, 4, 5), ["X", "Y", "Z"]), "scale": f32()}, {}, ("last", "all"))
    x, rest = f32(3, 4, 5), [3, 4, 5]
    del rest[axis]
    check(model, {"init": f32(*rest), "x": x, "scale": f32()}, tmp_path=tmp_path)


def test_shadowed_names_initializers_and_captures_at_two_depths():
    """The innermost graph reads from the main graph and from the one between; both have an initializer of one name."""
    inner = graph([node("Mul", "k t", "u"), node("Add", "u x", "r")], [], "r", {"k": np.float32(3)})
    other = graph([node("Identity", "outer", "r")], [], "r")
    then = graph([node("Sub", "outer k", "t"), node("If", "second", "s", then_branch=inner, else_branch=other),
                  node("Identity", "s", "r")], [], "r", {"k": np.float32(2)})
    model = build([node("Mul", "x x", "outer"), node("If", "first", "y", then_branch=then, else_branch=other)],
                  {"x": (f32(2, 3), ["N", 3]), "first": np.array(True), "second": np.array(True)}, {})
    check(model, *({"x": f32(2, 3), "first": np.array(a), "second": np.array(b)} for a in (True, False)
                   for b in (True, False)))


def _shadowing(constant: bool, shadow: str) -> bytes:
    """Both branches of an If may mean the outer value z; the second one has one of its own as well."""
    then = graph([node("Add", "z x", "r")], [], "r", name="first")
    values = {"z": np.float32([1, 2, 3])} if shadow != "node" else {}
    nodes = {"read": [node("Add", "z x", "r")], "unread": [node("Abs", "x", "r")],
             "inner": [node("If", "flag", "r", then_branch=graph([node("Add", "z x", "q")], [], "q"),
                            else_branch=graph([node("Abs", "x", "q")], [], "q"))],
             "output": [], "node": [node("Abs", "x", "z"), node("Add", "z x", "r")]}[shadow]
    other = graph(nodes, [], "z" if shadow == "output" else "r", values, name="second")
    outer = [] if constant else [node("Neg", "x", "z")]
    return build([*outer, node("If", "flag", "y", then_branch=then, else_branch=other)], {"x": f32(3), "flag": np.array(True)},
                 {"z": f32(3)} if constant else {})


@pytest.mark.parametrize("constant", [False, True])
def test_a_shadowed_name_that_another_branch_reads_from_outside(constant):
    """ONNX Runtime computes with the outer value although the branch has one of that name, so it is refused, not guessed."""
    for shadow in ("read", "inner", "output", "node"):
        with pytest.raises(ModelError, match="graph 'second' inside has a value 'z' .*rename 'z' in the graph 'second'"):
            load(_shadowing(constant, shadow))
    check(_shadowing(constant, "unread"), *({"x": f32(3), "flag": np.array(flag)} for flag in (True, False)))


def test_a_graph_that_makes_what_it_returns_of_constants_and_captures_alone():
    then, other = graph([], [], "one x"), graph([node("Identity", "x", "same")], [], "same one")
    model = build([node("If", "flag", "a b", then_branch=then, else_branch=other), node("Add", "a b", "y")],
                  {"x": (f32(1), ["N"]), "flag": np.array(True)}, {"one": np.ones(1, np.float32)})
    x = f32(1)
    for flag in (True, False):  # ONNX Runtime wants an Identity between
        for net in (load(model).main, bind(load(model).main, {"x": (1,), "flag": ()})):
            np.testing.assert_array_equal(evaluate(net, {"x": x, "flag": np.array(flag)})["y"], x + 1)


def test_condition_and_iteration_of_rank_1():
    body = graph([node("Cast", "i", "f", to=F32), node("Add", "v f", "v2"), node("Less", "i most", "still")],
                 [("i", I64, [1]), ("going", BOOL, [1]), ("v", F32, [1])], "still v2", {"most": np.array([2])})
    net = load(build([node("Loop", "trips - x", "y", body=body)], {"x": f32(1), "trips": np.array([9])})).main
    assert evaluate(net, {"x": np.zeros(1, np.float32), "trips": np.array([9])})["y"].tolist() == [3.0]


def test_shapes_inside_that_depend_on_what_is_captured():
    then = graph([node("Reshape", "x shape", "r"), node("Slice", "r from to axes", "t")], [], "t")
    other = graph([node("Reshape", "x flat", "r"), node("Slice", "r from to axes", "t")], [], "t", {"flat": np.array([3, -1])})
    model = build([node("Shape", "x", "s"), node("Gather", "s first", "n"), node("Concat", "n rest", "shape", axis=0),
                   node("If", "flag", "y", then_branch=then, else_branch=other)],
                  {"x": (f32(2, 3, 4), ["N", 3, "M"]), "flag": np.array(True), "to": np.array([2])},
                  {"first": np.array([0]), "rest": np.array([-1]), "from": np.array([0]), "axes": np.array([1])})
    check(model, *({"x": f32(n, 3, m), "flag": np.array(flag), "to": np.array([to])}
                   for n, m, flag, to in ((2, 4, True, 2), (3, 2, False, 1), (1, 5, True, 9))))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8, np.bool_])
def test_element_types_inside(dtype):
    then, other = graph([node("Identity", "x", "r")], [], "r"), graph([node("Concat", "x x", "r", axis=0)], [], "r")
    body = graph([node("If", "going", "v2", then_branch=then, else_branch=other), node("Identity", "v", "part"),
                  node("Identity", "going", "still")],
                 [("i", I64, []), ("going", BOOL, []), ("v", TYPES[np.dtype(dtype).name], [2])], "still v2 part")
    x = (RNG.integers(0, 2, 2) if dtype == np.bool_ else RNG.integers(0, 9, 2)).astype(dtype)
    model = build([node("Loop", "trips - x", "y all", body=body)], {"x": x, "trips": np.array(3)}, {}, ("y", "all"))
    check(model, {"x": x, "trips": np.array(3)})


def test_a_loop_of_one_trip_and_an_if_that_is_decided_are_part_of_the_net():
    body = graph([node("Add", "v k", "v2"), node("Identity", "v2", "part"), node("Identity", "going", "still")],
                 [("i", I64, []), ("going", BOOL, []), ("v", F32, [3])], "still v2 part", {"k": f32(3)})
    for trips in (0, 1):
        model = build([node("Loop", "trips - x", "y all", body=body)], {"x": f32(3)}, {"trips": np.array(trips)},
                      ("y", "all") if trips else ("y",))
        check(model, {"x": f32(3)})
        assert "loop" not in {layer.kind for layer in optimise(load(model).main).layers}


def test_equal_branches_need_no_condition():
    branches = [graph([node("Relu", "x", name), node("Neg", name, f"{name}2")], [], f"{name}2") for name in ("a", "b")]
    model = build([node("If", "flag", "y", then_branch=branches[0], else_branch=branches[1])],
                  {"x": f32(3), "flag": np.array(True)})
    assert [layer.kind for layer in optimise(load(model).main).layers] == ["relu", "neg"]


def test_operators_inside_that_are_not_covered_are_listed_with_all_others():
    body = graph([node("Strange", "v", "v2"), node("Identity", "going", "still")],
                 [("i", I64, []), ("going", BOOL, []), ("v", F32, [3])], "still v2")
    then = graph([node("Loop", "trips - x", "l", body=body), node("NoSuch", "l", "r")], [], "r")
    other = graph([node("Unknown", "x", "r")], [], "r")
    model = build([node("If", "flag", "y", then_branch=then, else_branch=other), node("Mystery", "y", "z")],
                  {"x": f32(3), "flag": np.array(True), "trips": np.array(2)}, {}, ("z",))
    with pytest.raises(UnsupportedOperatorError) as e:
        load(model)
    assert {operator for operator, _ in e.value.operators} == {"Strange", "NoSuch", "Unknown", "Mystery"}


@pytest.mark.parametrize("then, other, message", [
    ([node("Relu", "x", "r")], [node("ReduceSum", "x", "r", keepdims=0)], "f32.3. or f32..: expected one rank"),
    ([node("Relu", "x", "r")], [node("Cast", "x", "r", to=I64)], "f32.3. or i64.3.: expected one element type")])
def test_branches_of_different_ranks_and_types_say_both(then, other, message):
    model = build([node("If", "flag", "y", then_branch=graph(then, [], "r"), else_branch=graph(other, [], "r"))],
                  {"x": f32(3), "flag": np.array(True)})
    with pytest.raises(ShapeError, match=message):
        bind(load(model).main, {"x": (3,), "flag": ()})


def test_graphs_that_are_malformed():
    missing = graph([node("Relu", "nowhere", "r")], [], "r")
    good = graph([node("Relu", "x", "r")], [], "r")
    inputs = {"x": f32(3), "flag": np.array(True)}
    with pytest.raises(ModelError, match="reads 'nowhere', which is not made before"):
        load(build([node("If", "flag", "y", then_branch=good, else_branch=missing)], inputs))
    with pytest.raises(ModelError, match="attribute 'else_branch' is missing"):
        load(build([node("If", "flag", "y", then_branch=good)], inputs))
    body = graph([node("Identity", "going", "still")], [("i", I64, []), ("going", BOOL, [])], "still")
    with pytest.raises(ModelError, match="its body has 2 inputs and 1 outputs for 1 carried"):
        load(build([node("Loop", "- flag x", "y", body=body)], inputs))
    deep = good
    for _ in range(12):
        deep = graph([node("If", "flag", "r", then_branch=deep, else_branch=good)], [], "r")
    with pytest.raises(ModelError, match="nested"):
        load(build([node("If", "flag", "y", then_branch=deep, else_branch=good)], inputs))


def test_model_local_functions_inside_graphs():
    function = helper.make_function("local", "Twice", ["a"], ["b"], [node("Add", "a a", "b")],
                                    [helper.make_opsetid("", 17)])
    twice = helper.make_node("Twice", ["x"], ["r"], domain="local")
    model = onnx.ModelProto.FromString(build(
        [node("If", "flag", "y", then_branch=graph([twice], [], "r"), else_branch=graph([node("Neg", "x", "r")], [], "r"))],
        {"x": f32(3), "flag": np.array(True)}, domains=("local",)))
    model.functions.append(function)
    data = model.SerializeToString()
    check(data, {"x": f32(3), "flag": np.array(True)}, {"x": f32(3), "flag": np.array(False)})


def test_graphs_inside_share_the_effort_of_what_is_computed_while_a_model_loads(monkeypatch):
    """However many there are: what may be folded is counted for the model, not for each graph in it."""
    def model(count: int) -> bytes:
        body = graph([node("Add", "v k", "v2"), node("Identity", "going", "still")],
                     [("i", I64, []), ("going", BOOL, []), ("v", F32, [1])], "still v2", {"k": f32(1)})
        nodes, last = [], "x"
        for i in range(count):
            then = graph([node("Loop", "n - z", "l", body=body), node("Add", f"l {last}", "r")], [], "r",
                         {"n": np.array(50), "z": np.float32([i])})
            other = graph([node("Neg", last, "r")], [], "r")
            nodes.append(node("If", "flag", f"y{i}", then_branch=then, else_branch=other))
            last = f"y{i}"
        return build(nodes, {"x": f32(1), "flag": np.array(True)}, {}, (last,))
    monkeypatch.setattr(builder, "Folding", lambda *limits: Folding(effort=0))
    monkeypatch.setattr(open_shapes, "FOLLOWED_EFFORT", 2_000_000)  # more than one of the loops takes
    computed, original = [], blocks.compute
    monkeypatch.setattr(blocks, "compute", lambda *arguments: computed.append(1) or original(*arguments))
    counts = []
    for count in (2, 8):
        computed.clear()
        load(model(count))
        counts.append(len(computed))
    assert 50 <= counts[0] == counts[1], counts


def test_nodes_in_any_order():
    nodes = [helper.make_node("Add", ["b", "c"], ["y"]), helper.make_node("Relu", ["x"], ["b"]),
             helper.make_node("Neg", ["b"], ["c"])]
    x = np.arange(-3, 3, dtype=np.float32)
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [6])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [6])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (y,) = evaluate(load(model.SerializeToString()).main, {"x": x}).values()
    np.testing.assert_array_equal(y, np.zeros(6, np.float32))
