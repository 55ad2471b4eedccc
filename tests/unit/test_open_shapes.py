"""What is known of values at every size of the symbols."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from pathweave.errors import Error
from pathweave.meaning.evaluate import evaluate
from pathweave.meaning.open_shapes import OpenShapes, infer, of_bound_again
from pathweave.net.net import Layer, Net, TensorSpec
from pathweave.passes import bind


def _followed(spec, *layers, **constants) -> OpenShapes:
    shapes = OpenShapes({"x": TensorSpec("f32", spec)})
    for name, array in constants.items():
        shapes.constant(name, np.asarray(array))
    for i, (kind, inputs, output, attrs) in enumerate(layers):
        shapes.step(Layer(f"l{i}", kind, tuple(inputs.split()), tuple(output.split()), attrs))
    return shapes


def test_sizes_and_symbols():
    t = _followed(("N", 3, "H"), ("relu", "x", "a", {}), ("transpose", "a", "b", {"perm": (2, 1, 0)}),
                ("concat", "a a", "c", {"axis": 2}), ("reduce", "x", "r", {"op": "sum", "axes": (0, 2), "keepdims": 0}))
    assert t.shape("b") == (None, 3, None) and t.named_shape("b") == ("H", 3, "N")
    assert t.named_shape("c") == ("N", 3, "c.2") and t.shape("r") == (3,) and t.dtype("c") == "f32"


def test_sizes_that_stand_for_others_are_equal_where_they_must_be():
    """A state whose batch is another symbol than the input's, behind another axis, as recurrent nets have it."""
    inputs = {"x": TensorSpec("f32", ("N", "T", 8)), "h": TensorSpec("f32", (2, "S", 8))}
    shapes = OpenShapes(inputs)
    shapes.step(Layer("last", "slice", ("x",), ("l",), {"starts": (-1,), "ends": (2**31,), "axes": (1,), "steps": (1,)}))
    shapes.step(Layer("flat", "reshape", ("l",), ("f",), {"shape": (1, -1, 8)}))
    shapes.step(Layer("both", "concat", ("f", "h"), ("y",), {"axis": 0}))
    sizes = shapes.representative(inputs)
    assert sizes is not None and sizes["N"] == sizes["S"] == 1 and sizes["T"] > 1, shapes.conditions
    assert shapes.shapes_at(sizes)["y"].shape == (3, 1, 8)


@pytest.mark.parametrize(("start", "end", "known"), [(0, 3, None), (0, 1, 1), (-1, 2**31, 1), (1, 3, None), (0, 300, None)])
def test_slices_of_a_symbol(start, end, known):
    """Three rows of a batch are one where the batch has only one; the first row is always there."""
    t = _followed(("N", 4), ("slice", "x", "y", {"starts": (start,), "ends": (end,), "axes": (0,), "steps": (1,)}))
    assert t.shape("y") == (known, 4)


def test_squeezing_depends_on_the_size():
    layer = ("squeeze", "x", "y", {"axes": ()})
    assert _followed(("N", 1, 3), layer).shape("y") is None
    assert _followed((2, 1, 3), layer).shape("y") == (2, 3)
    assert _followed(("N", "M"), layer).shape("y") is None
    many = tuple(f"s{i}" for i in range(10))  # too many for a follower each: one in which all are 1
    assert _followed(many, layer).shape("y") is None


def test_broadcasting_with_one():
    t = _followed(("N", 4), ("add", "x c", "y", {}), c=np.ones((1, 4), np.float32))
    assert t.named_shape("y") == ("N", 4)
    t = _followed(("N", "M"), ("expand", "x", "y", {"shape": (1, 1)}), ("transpose", "x", "t", {"perm": (1, 0)}),
                ("add", "x t", "z", {}))
    assert t.named_shape("y") == ("N", "M") and t.shape("z") == (None, None)


def test_what_only_some_sizes_fit():
    """A reshape to a constant shape, and a sum with rows of a constant, hold at one batch size only."""
    t = _followed(("N", 3, 4, 5), ("reshape", "x", "r", {"shape": (2, 3, 20)}), ("add", "r c", "s", {}),
                ("matmul", "s w", "m", {}), ("reduce", "m", "y", {"op": "max", "axes": (-1,), "keepdims": 0}),
                c=np.ones((2, 3, 20), np.float32), w=np.ones((20, 7), np.float32))
    assert t.shape("r") == t.shape("s") == (2, 3, 20) and t.shape("m") == (2, 3, 7) and t.shape("y") == (2, 3)


def test_contents():
    t = _followed(("N", 3), ("shape", "x", "d", {}), ("gather", "d one", "columns", {}), ("gather", "d zero", "rows", {}),
                ("concat", "d one1", "both", {"axis": 0}), ("reshape", "x both", "y", {}), one=np.int64(1),
                zero=np.int64(0), one1=np.array([1]))
    assert t.content("columns") == 3 and t.content("rows") is None and t.content("d") is None
    assert t.named_shape("y") == ("N", 3, 1)


def _image_net() -> Net:
    """Convolution, pooling and a resize back to the size of before, the sum flattened by a shape that is computed."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32), "two": np.array([2]), "four": np.array([4]),
                 "zero": np.array([0]), "none": np.array([-1]), "v": rng.standard_normal((4, 8)).astype(np.float32)}
    layers = [
        Layer("conv", "conv2", ("x", "w"), ("c",), {"stride": (2, 2), "pad": (1, 1, 1, 1)}),
        Layer("relu", "relu", ("c",), ("r",)),
        Layer("pool", "max_pool2", ("r",), ("p",), {"kernel": (2, 2), "stride": (2, 2), "ceil": 1}),
        Layer("shape", "shape", ("r",), ("s",)), Layer("image", "slice", ("s", "two", "four"), ("hw",)),
        Layer("pooled", "shape", ("p",), ("sp",)), Layer("channels", "slice", ("sp", "zero", "two"), ("nc",)),
        Layer("size", "concat", ("nc", "hw"), ("size",), {"axis": 0}),
        Layer("up", "resample", ("p", "size"), ("u",), {"coordinates": "asymmetric", "rounding": "floor"}),
        Layer("sum", "add", ("u", "r"), ("a",)),
        Layer("flat", "concat", ("nc", "none"), ("fs",), {"axis": 0}), Layer("reshape", "reshape", ("a", "fs"), ("f",)),
        Layer("order", "transpose", ("f",), ("t",), {"perm": (0, 2, 1)}), Layer("dense", "dense", ("t", "v"), ("y",)),
    ]
    return Net({"x": TensorSpec("f32", ("N", 3, "H", "W"))}, ["y", "p"], layers, constants)


def test_one_pass_gives_all_shapes():
    net = _image_net()
    shapes = infer(net)
    assert {v: str(net.specs[v]) for v in ("x", "c", "p", "size", "u", "f", "y")} == {
        "x": "f32[N,3,H,W]", "c": "f32[N,8,(H+1)/2,(W+1)/2]", "p": "f32[N,8,(H+3)/4,(W+3)/4]", "size": "i64[4]",
        "u": "f32[N,8,(H+1)/2,(W+1)/2]", "f": "f32[N,8,((H+1)/2)*((W+1)/2)]", "y": "f32[N,((H+1)/2)*((W+1)/2),4]"}
    assert [str(d) for d in shapes.contents["size"]] == ["N", "8", "(H+1)/2", "(W+1)/2"]
    assert shapes.content("size") is None
    assert set(net.specs) == {*net.inputs, *net.constants, *(v for layer in net.layers for v in layer.outputs)}


def _net(inputs, *layers, **constants) -> Net:
    made = [Layer(f"l{i}", kind, tuple(ins.split()), tuple(outs.split()), attrs)
            for i, (kind, ins, outs, attrs) in enumerate(layers)]
    return Net({n: TensorSpec("f32", s) for n, s in inputs.items()}, list(made[-1].outputs), made,
               {n: np.asarray(a) for n, a in constants.items()})


NETS = {
    "image": (_image_net(), [(1, 3, 32, 48), (2, 3, 7, 9), (1, 3, 1, 1), (0, 3, 8, 8), (3, 3, 2, 5), (1, 3, 3, 4)]),
    "pool": (_net({"x": ("N", 2, "H", "H")}, ("average_pool2", "x", "y", {"kernel": (3, 3)})),
             [(1, 2, 8, 8), (1, 2, 3, 3), (1, 2, 2, 2), (4, 2, 5, 5)]),
    "halves": (_net({"x": ("N", 6)}, ("split_even", "x", "a b", {"parts": 2, "axis": 0}), ("concat", "a b", "c", {"axis": 0}),
                    ("add", "c x", "y", {})), [(4, 6), (5, 6), (1, 6), (9, 6)]),
    "rows": (_net({"x": ("N", 4)}, ("slice", "x", "s", {"starts": (-3,), "ends": (2**31 - 1,), "axes": (0,)}),
                  ("add", "s c", "y", {}), c=np.ones((3, 4), np.float32)), [(9, 4), (3, 4), (2, 4), (1, 4)]),
    "fixed": (_net({"x": ("N", 4)}, ("reshape", "x", "r", {"shape": (-1, 8)}), ("squeeze", "r", "y", {"axes": (0,)})),
              [(1, 4), (2, 4), (4, 4)]),
}


@pytest.mark.parametrize("name", NETS)
def test_binding_again_evaluates_to_what_binding_infers(name):
    """The second binding follows expressions; it must not differ from a first one, in what it refuses neither."""
    net, sizes = NETS[name]
    for shape in (*sizes, *sizes):
        fresh, again = (_bound(n, shape) for n in (net.copy(), net))
        assert fresh == again, f"{name} at {shape}"
    assert any(not isinstance(_bound(net, shape), str) for shape in sizes)
    shapes = of_bound_again(net)
    assert shapes is not None and shapes.specs == infer(net.copy()).specs


def test_a_net_that_was_bound_can_be_pickled_and_copied():
    net = _image_net()
    for height in (8, 9, 10):
        bind(net, {"x": (1, 3, height, 8)})
    for again in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        assert again.specs == net.specs and repr(_bound(again, (2, 3, 11, 8))) == repr(_bound(net, (2, 3, 11, 8)))


def _bound(net: Net, shape):
    try:
        bound = bind(net, {"x": shape})
    except Error as e:
        return f"{type(e).__name__}: {e}"
    return bound.specs, bound.layers, sorted(bound.constants)


def test_evaluated_shapes_are_those_of_the_arrays():
    """Independent of inference: the shapes of the arrays that NumPy makes."""
    net = _image_net()
    shapes = infer(net)
    for n, h, w in ((1, 8, 8), (2, 5, 12), (1, 3, 3), (3, 16, 4)):
        x = np.ones((n, 3, h, w), np.float32)
        specs = shapes.shapes_at({"N": n, "H": h, "W": w})
        assert specs
        for value in ("c", "p", "u", "a", "f", "y", "hw"):
            part = Net(net.inputs, [value], net.layers, net.constants)
            assert evaluate(part, {"x": x})[value].shape == specs[value].shape


def test_sizes_that_do_not_fit_are_left_to_inference():
    shapes = infer(_net({"x": ("N", "M"), "z": ("N", 3)}, ("add", "x z", "y", {})))
    assert shapes.named_shape("y") == ("N", 3) and [str(c) for c in shapes.conditions] == ["M == 1 or M == 3"]
    assert shapes.shapes_at({"N": 2, "M": 3}) and shapes.shapes_at({"N": 2, "M": 1}) and not shapes.shapes_at({"N": 2, "M": 2})
    assert not shapes.shapes_at({"N": 0, "M": 3}) and not shapes.shapes_at({"N": 2})


def test_contents_that_are_sizes():
    """Arithmetic on shapes, as exporters write it, is followed as expressions."""
    t = _followed(("N", 6, "H"), ("shape", "x", "d", {}), ("gather", "d two", "h", {}), ("cast", "h", "hf", {"dtype": "f32"}),
                  ("mul", "hf scale", "bigger", {}), ("cast", "bigger", "b", {"dtype": "i64"}), ("div", "b four", "q", {}),
                  ("reduce", "d", "all", {"op": "prod", "axes": (0,), "keepdims": 0}), ("greater", "all zero", "some", {}),
                  ("equal", "h zero", "empty", {}), ("less", "h q", "open", {}), ("minimum", "h four", "m", {}),
                  ("mod", "h four", "rest", {}), ("where", "empty four h", "chosen", {}), ("range", "zero q one", "r", {}),
                  two=np.int64(2), scale=np.float32(6), four=np.int64(4), zero=np.int64(0), one=np.int64(1))
    assert {v: str(t.contents[v].item()) for v in ("h", "bigger", "q", "all", "m", "rest", "chosen")} == {
        "h": "H", "bigger": "6*H", "q": "H+H/2", "all": "6*H*N", "m": "min(4, H)", "rest": "H-4*(H/4)", "chosen": "H"}
    assert t.content("some").item() is True and t.content("empty").item() is False and "open" not in t.contents
    assert str(t.specs["r"]) == "i64[H+H/2]"


def test_what_depends_on_contents_has_symbols_of_its_own():
    t = OpenShapes({"x": TensorSpec("f32", ("N", 4)), "k": TensorSpec("i64", (1,)), "s": TensorSpec("i64", (2,))})
    t.step(Layer("topk", "topk", ("x", "k"), ("v", "i"), {"axis": 1}))
    t.step(Layer("reshape", "reshape", ("x", "s"), ("r",)))
    t.step(Layer("slice", "slice", ("x", "k", "k"), ("c",), {}))
    assert t.named_shape("v") == ("N", "v.1") and t.named_shape("r") == ("r.0", "r.1") and t.dtype("i") == "i64"
    assert t.named_shape("c") == ("c.0", 4) and not t.shapes_at({"N": 3}).keys() & {"v", "i", "r", "c"}


def test_after_much_effort_sizes_are_symbols_of_their_own(monkeypatch):
    layers = [("pad", f"v{i}", f"v{i + 1}", {"pads": (i, 0, 0, 1)}) for i in range(40)]
    layers += [("max_pool2", "z", "p", {"kernel": (2, 2), "stride": (2, 2)})]
    inputs = ("transpose", "x", "v0", {"perm": (0, 1)}), ("reshape", "x", "z", {"shape": (1, 1, 0, -1)})
    assert _followed(("N", "M"), *inputs, *layers).named_shape("v40") == ("v40.0", "v40.1")
    assert str(_followed(("N", "M"), *inputs, *layers).specs["v40"]) == "f32[N+780,M+40]"
    monkeypatch.setattr("pathweave.meaning.open_shapes.MOST_EFFORT", 100)
    monkeypatch.setattr("pathweave.meaning.open_shapes.FEW_NODES", 2)
    shapes = _followed(("N", "M"), *inputs, *layers)
    assert str(shapes.specs["v40"]) == "f32[v40.0,v40.1]" and str(shapes.specs["v1"]) == "f32[N,M+1]"


def test_hostile_nets_take_bounded_time():
    """Each layer makes sizes larger or more complicated; beyond the limit they are symbols of their own."""
    layers = [("concat", f"v{i} v{i} u", f"v{i + 1}", {"axis": 0}) for i in range(400)]
    t = _followed(("N",), ("identity", "x", "v0", {}), ("slice", "x", "u", {"starts": (1,), "ends": (7,)}), *layers)
    assert t.shape("v400") == (None,)
    many = [f"s{i}" for i in range(60)]
    t = _followed(tuple(many), ("reshape", "x", "y", {"shape": (-1,)}), *(("add", f"y{i - 1 if i else ''} w{i}", f"y{i}", {})
                                                                          for i in range(3)), **{f"w{i}": np.ones(1, np.float32)
                                                                                                for i in range(3)})
    assert t.shape("y2") == (None,)
    t = OpenShapes({f"x{i}": TensorSpec("f32", (f"a{i}", 3)) for i in range(30)})
    for i in range(1, 30):
        t.step(Layer(f"l{i}", "add", (f"x{i}", f"y{i - 1}" if i > 1 else "x0"), (f"y{i}",)))
    assert str(t.specs["y2"]) == "f32[max(a0, a1, a2),3]" and t.dtype("y29") == "f32" and t.shape("y29") == (None, 3)


def _computed(less: int, dtype: str = "i64") -> OpenShapes:
    """x [N,4,3] without its first row, reshaped to 4, N - `less` cast to `dtype`, 3; and as many zeros as that number says."""
    return _followed(("N", 4, 3), ("slice", "x", "c", {"starts": (1,), "ends": (2**40,), "axes": (0,)}),
                     ("shape", "x", "d", {}), ("gather", "d zero", "n", {}), ("sub", "n less", "m", {}),
                     ("cast", "m", "s", {"dtype": dtype}),
                     ("cast", "s", "t", {"dtype": "i64"}), ("concat", "four t three", "r", {"axis": 0}),
                     ("reshape", "c r", "y", {}), ("constant_of_shape", "t", "z", {}), zero=np.array([0]),
                     less=np.array([less]), four=np.array([4]), three=np.array([3]))


def test_an_open_number_of_a_reshape_that_is_0_means_another_size():
    """At N = 1 the shape is (4, 0, 3), which keeps the 4 rows of an empty axis: no shape that holds at other sizes."""
    shapes = _computed(1)
    assert str(shapes.specs["y"]) == "f32[4,N-1,3]" and shapes.shapes_at({"N": 2})["y"].shape == (4, 1, 3)
    assert not shapes.shapes_at({"N": 1})


def test_a_negative_size_in_an_unsigned_type_is_another_number():
    shapes = _computed(3, "u8")
    assert shapes.shapes_at({"N": 3})["z"].shape == (0,) and not shapes.shapes_at({"N": 2}) and not shapes.shapes_at({"N": 259})
    assert np.array(2 - 3).astype(np.uint8) == 255


@pytest.mark.parametrize("name", ["?1", "?batch", "(unknown)", "y.0", "min", "1", "a b", 'q"u', "\\", "ü", "max(N, 1)",
                                  " ", "-"])
def test_symbols_may_have_any_name(name):
    t = _followed((name, 4), ("relu", "x", "r", {}), ("concat", "r r", "y", {"axis": 0}))
    assert t.named_shape("r") == (name, 4) and t.shapes_at({name: 3})["y"].shape == (6, 4)
