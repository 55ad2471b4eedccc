"""Good inputs that cases start from: small models of all makes, as ONNX and as `.pw` files. The same on every machine."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ...net.net import Model
from ...runtime.defaults import default_route
from ...runtime.descriptor import restriction
from ...runtime.model import LoadedModel, load


def onnx_model(nodes: list, inputs: dict[str, tuple[int, tuple]], constants: dict[str, Any], outputs: tuple[str, ...] = ("y",),
               opset: int = 17) -> bytes:
    """A serialised model. `inputs`: name -> (ONNX's element type, shape)."""
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info(n, t, s) for n, (t, s) in inputs.items()],
                              [helper.make_empty_tensor_value_info(v) for v in outputs],
                              [numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8).SerializeToString()


def _node(op: str, inputs: str, output: str, **attrs: Any) -> Any:
    return helper.make_node(op, [n if n != "-" else "" for n in inputs.split()], output.split(), **attrs)


def _inside(nodes: list, outputs: str, inputs: tuple[tuple[str, int, tuple], ...] = ()) -> Any:
    """A graph inside a node."""
    return helper.make_graph(nodes, "inside", [helper.make_tensor_value_info(*v) for v in inputs],
                             [helper.make_empty_tensor_value_info(v) for v in outputs.split()])


def _f(*shape: int) -> np.ndarray:
    return (np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape) % 7 - 3) / 8


def _i(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@cache
def onnx_models() -> dict[str, bytes]:
    """Small models that are imported, by name."""
    f32 = TensorProto.FLOAT
    return {
        "classifier": onnx_model([
            _node("Conv", "x w b", "a", strides=[2, 2], pads=[1, 1, 1, 1]), _node("Relu", "a", "r"),
            _node("BatchNormalization", "r s s s v", "n"),
            _node("MaxPool", "n", "p", kernel_shape=[3, 3], auto_pad="SAME_UPPER"),
            _node("Conv", "p d", "q", group=4, dilations=[2, 2], pads=[2, 2, 2, 2]), _node("Add", "q p", "t"),
            _node("GlobalAveragePool", "t", "g"), _node("Flatten", "g", "h"), _node("Gemm", "h m c", "z", transB=1, alpha=0.5),
            _node("Softmax", "z", "y", axis=-1)],
            {"x": (f32, ("N", 3, 8, 8))},
            {"w": _f(4, 3, 3, 3), "b": _f(4), "s": _f(4), "v": np.abs(_f(4)), "d": _f(4, 1, 3, 3), "m": _f(5, 4), "c": _f(5)}),
        "image": onnx_model([
            _node("Conv", "x w", "a", auto_pad="SAME_UPPER"), _node("HardSwish", "a", "h"),
            _node("ConvTranspose", "h t", "u", strides=[2, 2]), _node("Resize", "u - s", "z", mode="linear"),
            _node("Clip", "z lo hi", "y")],
            {"x": (f32, (1, 3, 6, 6))},
            {"w": _f(8, 3, 3, 3), "t": _f(8, 3, 2, 2), "s": np.array([1, 1, 2, 1.5], np.float32), "lo": np.float32(-1),
             "hi": np.float32(1)}),
        "shapes": onnx_model([
            _node("Shape", "x", "s"), _node("Gather", "s zero", "n"), _node("Unsqueeze", "n axis", "u"),
            _node("Concat", "u rest", "shape", axis=0), _node("Reshape", "x shape", "r"),
            _node("Transpose", "r", "t", perm=[0, 2, 1]), _node("Slice", "t from to axis1", "l"), _node("Pad", "l pads", "p"),
            _node("Expand", "p big", "e"), _node("Tile", "e reps", "y")],
            {"x": (f32, ("N", 3, 4))},
            {"zero": np.array(0, np.int64), "axis": _i(0), "rest": _i(3, -1), "from": _i(0), "to": _i(3), "axis1": _i(1),
             "pads": _i(0, 1, 0, 0, 1, 2), "big": _i(1, 5, 1), "reps": _i(1, 1, 2)}, opset=13),
        "attention": onnx_model([
            _node("MatMul", "x w", "q"), _node("Transpose", "q", "k", perm=[0, 2, 1]), _node("MatMul", "q k", "a"),
            _node("Softmax", "a", "s", axis=-1), _node("MatMul", "s q", "v"), _node("Add", "v x", "r"),
            _node("LayerNormalization", "r g", "n"), _node("Gelu", "n", "y")],
            {"x": (f32, (1, 5, 8))}, {"w": _f(8, 8), "g": _f(8)}, opset=20),
        "integers": onnx_model([
            _node("Gather", "table x", "e"), _node("ReduceMean", "e", "m", axes=[1], keepdims=0),
            _node("TopK", "m k", "v i"), _node("Cast", "i", "j", to=f32), _node("Where", "c v j", "w"),
            _node("Cast", "w", "y", to=7)],
            {"x": (TensorProto.INT64, ("N", 4))}, {"table": _f(9, 6), "k": _i(3), "c": np.array([True, False, True])}),
        "half": onnx_model([
            _node("InstanceNormalization", "x m m", "n"), _node("LpPool", "n", "p", kernel_shape=[2], p=3),
            _node("Split", "p", "a b", axis=1), _node("Max", "a b", "y")],
            {"x": (TensorProto.FLOAT16, (1, 4, 6))}, {"m": np.ones(4, np.float16)}),
        "program": onnx_model([
            _node("ReduceMax", "x", "m", keepdims=0), _node("Greater", "m zero", "flag"),
            _node("If", "flag", "b", then_branch=_inside([_node("MatMul", "x w", "t"), _node("Relu", "t", "r")], "r"),
                  else_branch=_inside([_node("Neg", "x", "r")], "r")),
            _node("Scan", "init b", "last y", num_scan_inputs=1, body=_inside(
                [_node("Add", "state row", "sum"), _node("Mul", "sum gain", "part")], "sum part",
                (("state", f32, (4,)), ("row", f32, (4,)))))],
            {"x": (f32, (3, 4))},
            {"w": _f(4, 4), "zero": np.float32(0), "init": _f(4), "gain": _f(4)}),
        "recurrent": onnx_model([
            _node("MatMul", "x w", "a"), _node("MatMul", "h u", "b"), _node("Add", "a b", "c"), _node("Tanh", "c", "g"),
            _node("Unsqueeze", "x axis", "r"), _node("Concat", "past r", "present", axis=1),
            _node("ReduceMean", "present", "m", axes=[1], keepdims=0), _node("Concat", "g m", "y", axis=1)],
            {"x": (f32, (1, 3)), "h": (f32, (1, 4)), "past": (f32, (1, "P", 3))}, {"w": _f(3, 4), "u": _f(4, 4), "axis": _i(1)},
            ("y", "g", "present")),
    }


#: Kinds of `.pw` files: what is done before one is saved.
VARIANTS = ("plain", "packed", "quantised", "tuned", "pipeline", "layouts")
#: Of "recurrent": which inputs get which outputs in the next call.
STATES = {"h": "g", "past": "present"}
PIPELINE = {
    "preprocess": [{"type": "source", "shape": [1, 3, 8, 8], "format": "rgb", "resize_mode": "bilinear", "keep_ar": True,
                    "padding_color": [0, 1, 2]},
                   {"type": "madd", "scale": [0.017, 0.018, 0.017], "shift": [-2.1, -2.0, -1.8]},
                   {"type": "sink", "name": "x"}],
    "postprocess": [{"type": "softmax", "axis": -1}, {"type": "topk", "k": 2, "labels": ["a", "b", "c", "d", "e"]}],
}


def pw_model(name: str, variant: str) -> LoadedModel:
    """One of the models, with packed weights to be saved, scales, a route that is not the default, a pipeline, an input in
    nhwc, or states that begin with an array and with an empty one."""
    pipeline = PIPELINE if variant == "pipeline" else None
    layouts = {"x": "nhwc"} if variant == "layouts" else None
    model = load(onnx_models()[name], threads=1, preprocess=pipeline, layouts=layouts)
    if variant == "states":
        model = model.with_states(STATES, initial={"h": _f(1, 4)}, sizes={"P": 0})
    if variant == "quantised":
        model.calibrate([np.random.default_rng(i).standard_normal((1, 3, 8, 8), np.float32) for i in range(3)])
    if variant in ("tuned", "quantised"):
        bound = model.runnable().bind()
        nchw = default_route(bound, 1, "f32", restriction("nchw"))
        nchw.certificate, nchw.notes, nchw.predicted_ns = "optimal", {"race": [1, 2.5, None]}, 1234.5
        model.add_route(nchw)
    return model


def pw_models(folder: Path) -> dict[str, bytes]:
    """`.pw` files by name: every variant of the classifier, the other models as they are, and one with states."""
    import warnings
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        others = [(n, "plain") for n in onnx_models() if n != "classifier"]
        for name, variant in [*(("classifier", v) for v in VARIANTS), *others, ("image", "packed"), ("recurrent", "states")]:
            path = folder / f"{name}-{variant}.pw"
            pw_model(name, variant).save(path, packed=variant == "packed")
            found[f"{name}-{variant}"] = path.read_bytes()
    return found


def plain(model: LoadedModel) -> Model:
    """A model without what it keeps between calls."""
    return Model(model.nets, model.meta, dict(model.routes), model.quantisation, layouts=dict(model.layouts),
                 states=dict(model.states))
