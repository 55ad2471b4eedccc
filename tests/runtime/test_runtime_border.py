"""The border of a net: layouts, element types and devices of a call's arrays, against ONNX Runtime and NumPy."""

from __future__ import annotations

import gc
import itertools
import pickle

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import pathweave as pw
from pathweave.errors import DTypeError, InputDeviceError, InputError, ModelError
from pathweave.net.dim import symbol
from pathweave.net.format import LAYOUTS, Format, fits, logical_shape, physical_shape
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.runtime import catalogue
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.layouts import laid_out, to_logical
from pathweave.runtime.model import LoadedModel
from pathweave.runtime.plan import build_plan
from pathweave.testing.layouts import lay_out, logical

IMAGE = ("nchw", "nhwc", "nchw16c")
COMBINATIONS = list(itertools.product(IMAGE, IMAGE))


def onnx_model(nodes, inputs, outputs, weights=None) -> bytes:
    """`inputs`, `outputs`: name -> (ONNX element type, shape)."""
    infos = [[helper.make_tensor_value_info(n, *s) for n, s in side.items()] for side in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *infos, [numpy_helper.from_array(a, n) for n, a in (weights or {}).items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def conv_net(channels: int = 16) -> bytes:
    """x [N,channels,H,W] -> y [N,32,H,W], and s [N,32]: convolutions with a residual, and a mean."""
    rng = np.random.default_rng(4)
    w = {"a": (32, channels, 3, 3), "b": (32, 32, 3, 3)}
    weights = {n: (rng.standard_normal(s) / np.sqrt(np.prod(s[1:]))).astype(np.float32) for n, s in w.items()}
    nodes = [helper.make_node("Conv", ["x", "a"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("Conv", ["r", "b"], ["d"], pads=[1] * 4), helper.make_node("Add", ["d", "r"], ["y"]),
             helper.make_node("GlobalAveragePool", ["y"], ["p"]), helper.make_node("Flatten", ["p"], ["s"])]
    return onnx_model(nodes, {"x": (TensorProto.FLOAT, ["N", channels, "H", "W"])},
                      {"y": (TensorProto.FLOAT, None), "s": (TensorProto.FLOAT, None)}, weights)


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    return got.shape == wanted.shape and np.abs(got - wanted).max() <= 1e-5 * np.abs(wanted).max()


# ---- what a layout means --------------------------------------------------------------------------------------------

@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_table_says_what_the_definitions_say(layout):
    shape = {"plain": (2, 3, 5), "nlc": (2, 3, 5), "ndhwc": (2, 3, 4, 5, 7)}.get(layout, (2, 32, 3, 5))
    x = np.arange(np.prod(shape)).reshape(shape)
    wanted = lay_out(x, layout)
    assert fits(layout, shape) and physical_shape(layout, shape) == wanted.shape
    assert logical_shape(layout, wanted.shape) == shape
    assert np.array_equal(laid_out(x, layout), wanted) and np.array_equal(to_logical(wanted, layout), x)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (1, 2, 3), (1, 16, 2, 3), (1, 24, 2, 3), (1, 0, 2, 2), (1, 2, 3, 4, 5)])
def test_which_shapes_fit(shape):
    image = len(shape) == 4
    wanted = {"plain": not image, "nchw": image, "nhwc": image, "nchw16c": image and shape[1] % 16 == 0,
              "nlc": len(shape) == 3, "ndhwc": len(shape) == 5}
    assert {layout: fits(layout, shape) for layout in LAYOUTS} == wanted


@pytest.mark.parametrize("channels", ["C", symbol("C")])
def test_open_channels_lie_in_no_blocks(channels):
    shape = (1, channels, 2, 3)
    assert fits("nhwc", shape) and not fits("nchw16c", shape)
    assert physical_shape("nhwc", shape) == (1, 2, 3, channels)
    with pytest.raises(ModelError, match="known number of channels, got C"):
        physical_shape("nchw16c", shape)


# ---- layouts of a call's arrays -------------------------------------------------------------------------------------

@pytest.mark.parametrize("threads", [1, 2, 7])
@pytest.mark.parametrize("source, target", COMBINATIONS)
def test_every_combination_of_layouts(ort, tmp_path, source, target, threads):
    data = conv_net()
    model = pw.load(data, threads=threads, layouts={"x": source, "y": target})
    model.save(tmp_path / "m.pw")
    again, copy = pw.load(tmp_path / "m.pw", threads=threads), pickle.loads(pickle.dumps(model))
    assert again.layouts == {"x": source, "y": target}
    for n, h, w in ((1, 6, 5), (3, 4, 7), (1, 6, 5)):
        x = values(n, 16, h, w, seed=n)
        wanted = ort(data, {"x": x})
        for m in (model, again, copy):
            got = m(lay_out(x, source))
            assert got["y"].shape == lay_out(wanted["y"], target).shape and got["y"].flags.c_contiguous
            assert close(got["y"], lay_out(wanted["y"], target)) and close(got["s"], wanted["s"])


def test_results_are_the_same_numbers_whatever_the_number_of_threads():
    x = lay_out(values(2, 16, 9, 7), "nhwc")
    results = [pw.load(conv_net(), threads=t, layouts={"x": "nhwc", "y": "nhwc"})(x)["y"] for t in (1, 2, 7)]
    assert all(np.array_equal(r, results[0]) for r in results)


def test_the_bound_net_states_the_formats():
    model = pw.load(conv_net(), layouts={"x": "nhwc", "y": "nchw16c"})
    bound = model.bind({"x": (2, 16, 4, 6)})
    assert bound.shapes == {"x": (2, 16, 4, 6)}
    assert (bound.input_format("x"), bound.array_shape("x")) == (Format("f32", "nhwc", "cpu"), (2, 4, 6, 16))
    assert (bound.output_format("y"), bound.array_shape("y")) == (Format("f32", "nchw16c", "cpu"), (2, 2, 4, 6, 16))
    assert (bound.output_format("s"), bound.array_shape("s")) == (Format("f32", "plain", "cpu"), (2, 32))
    plain = pw.load(conv_net()).bind({"x": (2, 16, 4, 6)})
    assert plain.input_format("x") == Format("f32", "nchw", "cpu") and plain.signature != bound.signature
    assert pw.load(conv_net(), layouts={"x": "nchw", "s": "plain"}).bind(bound.shapes).signature == plain.signature


def test_an_array_in_the_layout_of_the_first_routine_is_read_in_place(monkeypatch):
    """Nothing converts it, and the layer's NumPy meaning sees the caller's own memory."""
    import pathweave.layers as layers
    bound = pw.load(conv_net(), layouts={"x": "nhwc", "y": "nhwc"}).bind({"x": (1, 16, 4, 5)})
    choices = {layer.name: catalogue.numpy_candidate(p, "nhwc") for layer, p in zip(bound.layers, bound.problems(1))}
    seen, compute = [], layers.compute

    def spy(layer, inputs):
        seen.extend(a.ctypes.data for a in inputs if a is not None)
        return compute(layer, inputs)
    monkeypatch.setattr(layers, "compute", spy)
    plan, x = build_plan(bound, choices, [], 1), values(1, 4, 5, 16)
    assert [s for s in plan.steps if s.layer == "adapt" and s.value in ("x", "y")] == []
    plan.session()(x)
    assert x.ctypes.data in seen


def test_the_default_route_follows_the_caller():
    """No conversion stands at a border whose layout the routines have; `restrict` says which those are."""
    def at_border(layouts):
        bound = pw.load(conv_net(), layouts=layouts).bind({"x": (1, 16, 6, 6)})
        route = pw.default_route(bound, 1, restrict=["conv2/direct:f32:nhwc"])
        return {c.value for c in route.conversions} & {"x", "y"}
    assert at_border({}) == {"x", "y"}
    assert at_border({"x": "nhwc"}) == {"y"}
    assert at_border({"x": "nhwc", "y": "nhwc"}) == set()


def test_out_is_written_in_its_layout():
    model, x = pw.load(conv_net(), layouts={"x": "nhwc", "y": "nhwc"}), values(1, 5, 6, 16)
    y = np.full((1, 5, 6, 32), np.nan, np.float32)
    assert model(x, out={"y": y})["y"] is y
    assert np.array_equal(y, model(x)["y"])
    with pytest.raises(InputError, match=r"expected shape \(1, 5, 6, 32\) in layout nhwc, got \(1, 32, 5, 6\)"):
        model(x, out={"y": np.empty((1, 32, 5, 6), np.float32)})


def test_strided_arrays_are_copied():
    model, x = pw.load(conv_net(), layouts={"x": "nhwc"}), values(1, 16, 5, 6)
    view = x.transpose(0, 2, 3, 1)
    assert not view.flags.c_contiguous
    assert np.array_equal(model(view)["y"], model(np.ascontiguousarray(view))["y"])


def test_outputs_that_are_inputs_or_constants():
    k, x = values(1, 3, 2, 5, seed=3), values(2, 3, 4, 5)
    net = Net({"x": TensorSpec("f32", ("N", 3, 4, 5))}, ["x", "k", "y"], [Layer("r", "relu", ("x",), ("y",))], {"k": k})
    for layout in ("nchw", "nhwc"):
        model = LoadedModel(Model({"main": net}, layouts={"x": layout, "k": layout, "y": layout}))
        got = model(lay_out(x, layout))
        for name, wanted in (("x", x), ("k", k), ("y", np.maximum(x, 0))):
            assert np.array_equal(got[name], lay_out(wanted, layout))


def test_other_layouts_of_a_loaded_model(ort):
    data, x = conv_net(), values(1, 16, 5, 4)
    model = pw.load(data)
    other = model.with_layouts({"x": "nhwc"})
    assert model.layouts == {} and other.layouts == {"x": "nhwc"} and other.main is model.main
    assert model.with_layouts({}) is model and pw.load(other, layouts={"x": "nhwc"}) is other
    assert close(other(lay_out(x, "nhwc"))["y"], ort(data, {"x": x})["y"])
    back = pw.load(other, layouts={"x": "nchw"})
    assert np.array_equal(back(x)["y"], model(x)["y"])
    assert other.with_layouts({"y": "nhwc"}).layouts == {"x": "nhwc", "y": "nhwc"}


def test_a_route_is_carried_over_to_another_layout(ort):
    data, x = conv_net(), values(1, 16, 6, 6)
    model = pw.load(data, threads=1)
    route = pw.default_route(model, 1, shapes={"x": (1, 16, 6, 6)}, restrict=["conv2/im2col"])
    model.add_route(route)
    other = model.with_layouts({"x": "nhwc", "y": "nhwc"})
    plan = other.plan(shapes={"x": (1, 16, 6, 6)})
    assert [c.routine for c in plan.route.layers.values()] == [c.routine for c in route.layers.values()]
    assert plan.route.notes["carried_from"] == route.signature
    assert close(other(lay_out(x, "nhwc"))["y"], lay_out(ort(data, {"x": x})["y"], "nhwc"))


def test_packed_weights_of_a_file_serve_other_layouts_too(ort, tmp_path):
    """Also when the model that was read is gone."""
    data, x = conv_net(), values(1, 16, 6, 6)
    model = pw.load(data, threads=1)
    model(x)
    model.save(tmp_path / "m.pw", packed=True)
    other = pw.load(tmp_path / "m.pw", threads=1).with_layouts({"x": "nhwc", "y": "nhwc"})
    gc.collect()
    assert close(other(lay_out(x, "nhwc"))["y"], lay_out(ort(data, {"x": x})["y"], "nhwc"))
    total = len(other.packed.packings)
    assert total and f"{total} of {total} packed weights of the file are in use" in other.notes


def test_inputs_with_defaults_keep_the_layouts():
    scale = np.full((1, 3, 1, 1), 2, np.float32)
    data = onnx_model([helper.make_node("Mul", ["x", "k"], ["y"])],
                      {"x": (TensorProto.FLOAT, [1, 3, 2, 4]), "k": (TensorProto.FLOAT, [1, 3, 1, 1])},
                      {"y": (TensorProto.FLOAT, None)}, {"k": scale})
    for model in (pw.load(data, layouts={"x": "nhwc", "y": "nhwc"}), pw.load(data).with_layouts({"x": "nhwc", "y": "nhwc"})):
        x = values(1, 2, 4, 3)
        assert np.array_equal(model(x), 2 * x)
        assert np.array_equal(model({"x": x, "k": 5 * scale}), 10 * x)


@pytest.mark.parametrize("source, target", COMBINATIONS)
def test_routes_on_8_bits(ort, source, target):
    data, samples = conv_net(), [values(1, 16, 6, 5, seed=i) for i in range(4)]
    model = pw.load(data, threads=1, layouts={"x": source, "y": target}).calibrate([lay_out(s, source) for s in samples])
    bound = model.bind({"x": (1, 16, 6, 5)})
    route = pw.default_route(bound, 1, accuracy="quantised", restrict=["qint8"])
    assert any(f.dtype == "u8" for c in route.layers.values() for f in (*c.ins, *c.outs))
    wanted = ort(data, {"x": samples[0]})["y"]
    got = model.plan(route, bound.shapes, 1).session()(lay_out(samples[0], source))["y"]
    error = logical(got, target, wanted.shape) - wanted
    assert np.sqrt(np.mean(error ** 2) / np.mean(wanted ** 2)) < 0.05


@pytest.mark.parametrize("layouts, says", [
    (["x"], "expected a dict"),
    ({"z": "nhwc"}, "'z' is neither an input nor an output; the inputs are 'x', the outputs 'y', 's'"),
    ({"x": "nhcw"}, "expected one of plain, nchw, nhwc, nchw16c"), ({"x": 3}, "expected one of"),
    ({"x": "plain"}, "any rank but 4"), ({"s": "nhwc"}, r"output 's' .* it is for rank 4, and the value has rank 2"),
    ({"x": "nchw16c"}, "16 divides .* got 8"),
])
def test_layouts_that_do_not_fit(layouts, says):
    with pytest.raises(InputError, match=says):
        pw.load(conv_net(8), layouts=layouts)
    with pytest.raises(InputError, match=says):
        pw.load(conv_net(8)).with_layouts(layouts)
    with pytest.raises(InputError, match=says):
        BoundNet.bind(pw.load(conv_net(8)).main, {"x": (1, 8, 4, 4)}, None, layouts)


@pytest.mark.parametrize("shape, says", [
    ((1, 16, 4, 6), r"x\.transpose\(0, 2, 3, 1\)"), ((4, 6, 16), "rank 4.*the layout nhwc was chosen for 'x'"),
    ((1, 4, 6, 8), "expected 16 .*f32.N,H,W,16.*the layout nhwc was chosen"),
])
def test_shapes_that_do_not_fit_the_layout(shape, says):
    model = pw.load(conv_net(), layouts={"x": "nhwc"})
    session = model.session({"x": (1, 16, 4, 6)})
    for call in (model, session):
        with pytest.raises(InputError, match="the layout nhwc was chosen for 'x'"):
            call(np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=says):
        model(np.zeros(shape, np.float32))
    with pytest.raises(InputError, match=says.split(".*")[-1]):
        model.calibrate([np.zeros((*shape, 1), np.float32) if len(shape) == 3 else np.zeros(shape, np.float32)])


def test_a_shape_of_another_layout_is_recognised():
    with pytest.raises(InputError, match=r"its shape in nhwc: .*layouts=\{'x': 'nhwc'\}"):
        pw.load(conv_net())(np.zeros((1, 4, 6, 16), np.float32))


# ---- images and samples ---------------------------------------------------------------------------------------------

PIPELINE = {"preprocess": [{"type": "source", "shape": [1, 3, 8, 10], "format": "rgb"},
                           {"type": "sink", "name": "x"}]}


def image_net() -> bytes:
    w = values(16, 3, 3, 3, seed=9)
    return onnx_model([helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4)],
                      {"x": (TensorProto.FLOAT, [1, 3, 8, 10])}, {"y": (TensorProto.FLOAT, None)}, {"w": w})


@pytest.mark.parametrize("source, target", list(itertools.product(("nchw", "nhwc"), IMAGE)))
def test_images(ort, source, target):
    pixels = np.random.default_rng(2).integers(0, 256, (8, 10, 3), np.uint8)
    post = {"postprocess": [{"type": "softmax", "axis": 1}]}
    plain = pw.load(image_net(), preprocess=PIPELINE, postprocess=post)
    model = pw.load(image_net(), preprocess=PIPELINE, postprocess=post, layouts={"x": source, "y": target})
    (given,) = plain.image_inputs(pixels).values()
    assert np.array_equal(model.image_inputs(pixels)["x"], lay_out(given, source))
    y = ort(image_net(), {"x": given})["y"].astype(np.float64)
    e = np.exp(y - y.max(1, keepdims=True))
    for image in (pixels, Image.fromarray(pixels)):
        (got,) = model.predict(image).values()
        assert close(got, (e / e.sum(1, keepdims=True)).astype(np.float32))


@pytest.mark.parametrize("layout", IMAGE)
def test_samples_of_a_calibration(layout):
    samples = [values(1, 16, 6, 5, seed=i) for i in range(4)]
    plain = pw.load(conv_net(), threads=1).calibrate(samples)
    model = pw.load(conv_net(), threads=1, layouts={"x": layout})
    assert model.calibrate([lay_out(s, layout) for s in samples]).quantisation == plain.quantisation
    without_batch = [lay_out(s, layout)[0] for s in samples]
    assert model.calibrate(without_batch).quantisation == plain.quantisation


def test_images_as_samples():
    images = [Image.fromarray(np.random.default_rng(i).integers(0, 256, (8, 10, 3), np.uint8)) for i in range(3)]
    plain = pw.load(image_net(), preprocess=PIPELINE, threads=1).calibrate(images)
    model = pw.load(image_net(), preprocess=PIPELINE, threads=1, layouts={"x": "nhwc"}).calibrate(images)
    assert model.quantisation == plain.quantisation


# ---- element types --------------------------------------------------------------------------------------------------

def types() -> dict[str, tuple[int, np.dtype]]:
    """Our name -> ONNX element type, NumPy dtype of the arrays."""
    ml_dtypes = pytest.importorskip("ml_dtypes")
    named = {"f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE, "f16": TensorProto.FLOAT16, "i8": TensorProto.INT8,
             "u8": TensorProto.UINT8, "i16": TensorProto.INT16, "u16": TensorProto.UINT16, "i32": TensorProto.INT32,
             "u32": TensorProto.UINT32, "i64": TensorProto.INT64, "u64": TensorProto.UINT64, "bool": TensorProto.BOOL}
    return {**{n: (t, np.dtype(helper.tensor_dtype_to_np_dtype(t))) for n, t in named.items()},
            "bf16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16))}


NAMES = ("f32", "f64", "f16", "bf16", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "bool")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("node", ["Identity", "Transpose"])
def test_every_element_type_keeps_its_type(name, node):
    kind, dtype = types()[name]
    data = onnx_model([helper.make_node(node, ["x"], ["y"])], {"x": (kind, ["N", 3])}, {"y": (kind, None)})
    x = np.random.default_rng(1).integers(0, 2 if name == "bool" else 100, (2, 3)).astype(dtype)
    y = pw.load(data)(x)
    assert y.dtype == dtype and np.array_equal(y, x if node == "Identity" else x.T)
    out = np.zeros(y.shape, dtype)
    assert pw.load(data)(x, out=out) is out and np.array_equal(out, y)
    wrong = np.dtype("int64" if name != "i64" else "int32")
    with pytest.raises(DTypeError):
        pw.load(data)(x.astype(wrong))
    with pytest.raises(DTypeError):
        pw.load(data)(x, out=out.astype(wrong))


@pytest.mark.parametrize("source", NAMES)
def test_every_element_type_through_a_cast(source):
    kind, dtype = types()[source]
    x = np.array([[0, 1, 2, 7]]).astype(dtype)  # numbers that every type but bool holds
    for target, (other, wanted) in types().items():
        data = onnx_model([helper.make_node("Cast", ["x"], ["y"], to=other)], {"x": (kind, [1, 4])}, {"y": (other, None)})
        y = pw.load(data)(x)
        assert y.dtype == wanted, target
        assert np.array_equal(y, (x != 0) if target == "bool" else x.astype(np.float32).astype(wanted)), target


@pytest.mark.parametrize("name", NAMES)
def test_every_element_type_in_every_layout(name):
    kind, dtype = types()[name]
    data = onnx_model([helper.make_node("Identity", ["x"], ["y"])], {"x": (kind, ["N", 16, 2, 3])}, {"y": (kind, None)})
    x = np.random.default_rng(1).integers(0, 2 if name == "bool" else 100, (2, 16, 2, 3)).astype(dtype)
    for source, target in COMBINATIONS:
        y = pw.load(data, layouts={"x": source, "y": target})(lay_out(x, source))
        assert y.dtype == dtype and np.array_equal(logical(y, target, x.shape), x), (source, target)


# ---- devices --------------------------------------------------------------------------------------------------------

class Elsewhere:
    """An array that says through DLPack that it lies on some device, and cannot be read."""

    def __init__(self, device):
        self.device, self.shape, self.dtype = device, (1, 16, 4, 4), np.dtype("float32")

    def __dlpack__(self, **options):
        raise AssertionError("nobody reads it")

    def __dlpack_device__(self):
        return self.device


class Cuda:
    """An array that offers `__cuda_array_interface__` alone."""

    __cuda_array_interface__ = {"shape": (1, 16, 4, 4), "typestr": "<f4", "data": (4096, False), "version": 3}


@pytest.mark.parametrize("array, device", [
    (Elsewhere((2, 0)), "cuda:0"), (Elsewhere((10, 1)), "rocm:1"), (Elsewhere((8, 0)), "metal:0"),
    (Elsewhere((99, 3)), "device type 99:3"), (Cuda(), "cuda")])
def test_arrays_of_another_device_are_refused(array, device):
    from pathweave.meaning.evaluate import evaluate
    model, x = pw.load(conv_net()), values(1, 16, 4, 4)
    session = model.session({"x": (1, 16, 4, 4)})
    images = pw.load(image_net(), preprocess=PIPELINE)
    ways_in = {"call": lambda: model(array), "by name": lambda: model(x=array), "run": lambda: model.run({"x": array}),
               "session": lambda: session(array), "session.run": lambda: session.run({"x": array}),
               "timed": lambda: session.run_timed(array), "predict": lambda: model.predict(array),
               "image": lambda: images.predict(array), "image inputs": lambda: images.image_inputs(array),
               "calibrate": lambda: model.calibrate([array]), "calibrate by name": lambda: model.calibrate([{"x": array}]),
               "out": lambda: model(x, out={"y": array}), "out of a session": lambda: session(x, out={"y": array}),
               "meaning": lambda: evaluate(model.main, {"x": array})}
    for way, call in ways_in.items():
        with pytest.raises(InputDeviceError, match=f"lies on {device}; .*x.cpu()") as caught:
            call()
        assert type(caught.value) is InputDeviceError, way


def test_memory_that_the_cpu_reads_is_taken(ort):
    """Pinned memory of a device's driver says so, and is read like any other."""
    x = values(1, 16, 4, 4)

    class Pinned:
        def __dlpack__(self, **options):
            return x.__dlpack__()

        def __dlpack_device__(self):
            return (3, 0)
    data = conv_net()
    assert close(pw.load(data)(Pinned())["y"], ort(data, {"x": x})["y"])
