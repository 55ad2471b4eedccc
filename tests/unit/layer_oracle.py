"""The independent oracle of layer meanings: a case as an ONNX model, run by ONNX Runtime or onnx.reference."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import onnxruntime.capi.onnxruntime_pybind11_state as ort_errors
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from pathweave.layers import kind_of
from pathweave.net.format import numpy_dtype
from pathweave.net.net import Epilogue

OPSET = 20
_SAME_NAME = {  # kinds whose inputs and attributes (if any) are those of one ONNX operator
    "matmul": "MatMul", "batch_norm": "BatchNormalization", "instance_norm": "InstanceNormalization",
    "layer_norm": "LayerNormalization", "lrn": "LRN", "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div",
    "pow": "Pow", "minimum": "Min", "maximum": "Max", "mod": "Mod", "equal": "Equal", "less": "Less",
    "greater": "Greater", "less_equal": "LessOrEqual", "greater_equal": "GreaterOrEqual", "logical_and": "And",
    "logical_or": "Or", "logical_xor": "Xor", "prelu": "PRelu", "relu": "Relu", "leaky_relu": "LeakyRelu",
    "sigmoid": "Sigmoid", "hard_sigmoid": "HardSigmoid", "hard_swish": "HardSwish", "tanh": "Tanh", "elu": "Elu",
    "selu": "Selu", "celu": "Celu", "softplus": "Softplus", "softsign": "Softsign", "mish": "Mish",
    "thresholded_relu": "ThresholdedRelu", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "reciprocal": "Reciprocal",
    "neg": "Neg", "abs": "Abs", "floor": "Floor", "ceil": "Ceil", "round": "Round", "sign": "Sign", "erf": "Erf",
    "sin": "Sin", "cos": "Cos", "logical_not": "Not", "is_nan": "IsNaN", "softmax": "Softmax",
    "log_softmax": "LogSoftmax", "hardmax": "Hardmax", "concat": "Concat", "transpose": "Transpose",
    "identity": "Identity", "sink": "Identity", "gather": "Gather", "where": "Where", "shape": "Shape",
}
_REDUCE = {"sum": "Sum", "mean": "Mean", "max": "Max", "min": "Min", "prod": "Prod", "l1": "L1", "l2": "L2",
           "sum_square": "SumSquare", "log_sum": "LogSum", "log_sum_exp": "LogSumExp"}
_ELEMENT = {"f32": TensorProto.FLOAT, "f64": TensorProto.DOUBLE, "f16": TensorProto.FLOAT16, "i64": TensorProto.INT64,
            "i32": TensorProto.INT32, "i8": TensorProto.INT8, "u8": TensorProto.UINT8, "bool": TensorProto.BOOL}


class Graph:
    """Nodes and initialisers under construction."""

    def __init__(self):
        self.nodes, self.initialisers = [], []

    def node(self, operator, inputs, count=1, **attrs):
        """Append a node; returns the names of its outputs."""
        outputs = [f"t{len(self.nodes)}_{i}" for i in range(count)]
        self.nodes.append(helper.make_node(operator, inputs, outputs, **attrs))
        return outputs

    def array(self, values, dtype=np.int64):
        """Append an initialiser; returns its name."""
        name = f"c{len(self.initialisers)}"
        self.initialisers.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name


def _geometry(a):
    out = {"strides": a["stride"], "pads": a["pad"]}
    if "dilation" in a:
        out["dilations"] = a["dilation"]
    return out


def _conv(g, case, a, names):
    groups = case.inputs[0].shape[1] if case.kind == "depthwise_conv2" else a["groups"]
    more = {"output_padding": a["output_pad"]} if case.kind == "conv_transpose2" else {}
    return g.node("ConvTranspose" if more else "Conv", names, group=groups, **_geometry(a), **more)


def _dense(g, case, a, names):
    product = g.node("MatMul", [names[0], *g.node("Transpose", [names[1]], perm=[1, 0])])
    return g.node("Add", [*product, names[2]]) if len(names) > 2 else product


def _madd(g, case, a, names):
    rank = case.inputs[0].rank
    shaped = [names[i] if case.inputs[i].rank == 0 else
              g.node("Reshape", [names[i], g.array([-1] + [1] * (rank - 2))])[0] for i in (1, 2)]
    return g.node("Add", [*g.node("Mul", [names[0], shaped[0]]), shaped[1]])


def _pool(g, case, a, names):
    operator = {"max_pool2": "MaxPool", "average_pool2": "AveragePool", "lp_pool2": "LpPool"}[case.kind]
    more = {"count_include_pad": a["count_pad"]} if "count_pad" in a else {"p": a["p"]} if "p" in a else {}
    return g.node(operator, names, kernel_shape=a["kernel"], ceil_mode=a["ceil"], **_geometry(a), **more)


def _global_pool(g, case, a, names):
    y = g.node("GlobalAveragePool" if "average" in case.kind else "GlobalMaxPool", names)
    return y if a["keepdims"] else g.node("Squeeze", [*y, g.array([2, 3])])


def _clip(g, case, a, names):
    dtype = case.inputs[0].dtype if case.kind == "clip" else "f32"
    limits = [g.array(v, numpy_dtype(dtype)) if np.isfinite(v) else "" for v in (a["min"], a["max"])]
    return g.node("Clip", [names[0], *limits])


def _gelu(g, case, a, names):
    return g.node("Gelu", names, approximate="tanh" if a["approximate"] else "none")


def _silu(g, case, a, names):
    return g.node("Mul", [names[0], *g.node("Sigmoid", names)])


def _resize(g, case, a, names):
    n, c = case.inputs[0].shape[:2]
    scales = g.array([1, 1, *a["scale"]], np.float32) if a["scale"] else ""
    sizes = [g.array([n, c, *a["size"]])] if a["size"] else []
    mode = {"nearest": "nearest", "bilinear": "linear", "cubic": "cubic"}[a["mode"]]
    return g.node("Resize", [names[0], "", scales, *sizes], mode=mode, coordinate_transformation_mode=a["coordinates"],
                  nearest_mode=a["rounding"], cubic_coeff_a=a["cubic_a"])


def _with_value(operator, key):
    def build(g, case, a, names):
        return g.node(operator, [names[0], g.array(a[key])])
    return build


def _pad(g, case, a, names):
    value = g.array(a["value"], numpy_dtype(case.inputs[0].dtype))
    return g.node("Pad", [names[0], g.array(a["pads"]), value, *([g.array(a["axes"])] if a["axes"] else [])],
                  mode=a["mode"])


def _slice(g, case, a, names):
    count = len(a["starts"])
    axes, steps = a["axes"] or range(count), a["steps"] or [1] * count
    return g.node("Slice", [names[0], *(g.array(list(v)) for v in (a["starts"], a["ends"], axes, steps))])


def _arg(g, case, a, names):
    return g.node("ArgMax" if case.kind == "argmax" else "ArgMin", names, axis=a["axis"], keepdims=a["keepdims"],
                  select_last_index=a["select_last"])


def _constant_of_shape(g, case, a, names):
    value = numpy_helper.from_array(np.array([a["value"]], numpy_dtype(a["dtype"])))
    return g.node("ConstantOfShape", [g.array(a["shape"])], value=value)


def _stage(g, case, value, w, b, activation, **attributes):
    """A convolution and the activation after it, the text of an epilogue."""
    y = g.node("Conv", [value, w, *([b] if b else [])], **attributes)[0]
    act = Epilogue.parse(activation)
    if not act:
        return y
    kind = kind_of(act.act)
    return _layer(g, act.act, case, kind.complete(dict(zip(kind.attributes, act.params, strict=False))), [y])[0]


def _inverted_residual(g, case, a, names):
    x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias = names
    if expand:
        x = _stage(g, case, x, expand, expand_bias, a["expand"])
    x = _stage(g, case, x, depthwise, depthwise_bias, a["depthwise"] if project else "", strides=a["stride"],
               pads=a["pad"], dilations=a["dilation"], group=case.inputs[3].shape[0])
    return [_stage(g, case, x, project, project_bias, "") if project else x]


def _squeeze_excite(g, case, a, names):
    x, depthwise, depthwise_bias, squeeze, squeeze_bias, excite, excite_bias = names
    if depthwise:
        x = _stage(g, case, x, depthwise, depthwise_bias, a["depthwise"], strides=a["stride"], pads=a["pad"],
                   dilations=a["dilation"], group=case.inputs[1].shape[0])
    gate = g.node("GlobalAveragePool", [x])[0]
    gate = _stage(g, case, gate, squeeze, squeeze_bias, a["squeeze"])
    return g.node("Mul", [x, _stage(g, case, gate, excite, excite_bias, a["excite"])])


_BUILDERS = {
    "inverted_residual": _inverted_residual, "squeeze_excite": _squeeze_excite,
    "conv2": _conv, "depthwise_conv2": _conv, "conv_transpose2": _conv, "dense": _dense, "madd": _madd,
    "max_pool2": _pool, "average_pool2": _pool, "lp_pool2": _pool, "global_average_pool": _global_pool,
    "global_max_pool": _global_pool, "clip": _clip, "gelu": _gelu, "silu": _silu, "resize2": _resize, "pad": _pad,
    "slice": _slice, "argmax": _arg, "argmin": _arg, "constant_of_shape": _constant_of_shape,
    "reshape": lambda g, c, a, n: g.node("Reshape", [n[0], g.array(a["shape"])], allowzero=a["allowzero"]),
    "squeeze": lambda g, c, a, n: g.node("Squeeze", [n[0], *([g.array(a["axes"])] if a["axes"] else [])]),
    "unsqueeze": _with_value("Unsqueeze", "axes"), "expand": _with_value("Expand", "shape"),
    "tile": _with_value("Tile", "repeats"),
    "split": lambda g, c, a, n: g.node("Split", [n[0], g.array(a["sizes"])], len(a["sizes"]), axis=a["axis"]),
    "reduce": lambda g, c, a, n: g.node("Reduce" + _REDUCE[a["op"]], [n[0], g.array(a["axes"])],
                                        keepdims=a["keepdims"]),
    "depth_to_space": lambda g, c, a, n: g.node("DepthToSpace", n, blocksize=a["block"], mode=a["mode"]),
    "space_to_depth": lambda g, c, a, n: g.node("SpaceToDepth", n, blocksize=a["block"]),
    "topk": lambda g, c, a, n: g.node("TopK", [n[0], g.array([a["k"]])], 2, axis=a["axis"], largest=a["largest"],
                                      sorted=a["sorted"]),
    "range": lambda g, c, a, n: g.node("Range", [g.array(a[k], numpy_dtype(a["dtype"]))
                                                 for k in ("start", "limit", "delta")]),
    "cast": lambda g, c, a, n: g.node("Cast", n, to=_ELEMENT[a["dtype"]]),
    "permute": lambda g, c, a, n: g.node("Transpose", n, perm=a["order"] or a["perm"]),
}


def _layer(g, kind, case, attrs, names):
    if kind in _BUILDERS:
        return _BUILDERS[kind](g, case, attrs, names)
    return g.node(_SAME_NAME[kind], names, **({} if kind == "sink" else attrs))


def covers(case) -> bool:
    """Whether the case's kind has an ONNX counterpart."""
    return case.kind in _BUILDERS or case.kind in _SAME_NAME


def model_of(case, specs) -> onnx.ModelProto:
    """The case, epilogue included, as an ONNX model with inputs in0, in1, ... of the given specs."""
    g = Graph()
    names = [f"in{i}" if s is not None else "" for i, s in enumerate(specs)]
    body = names[:-1] if case.epilogue.add else names
    kind = kind_of(case.kind)
    results = _layer(g, case.kind, case, kind.complete(case.attrs), body)
    if case.epilogue.add:
        results[:1] = g.node("Add", [results[0], names[-1]])
    if case.epilogue.act:
        act = kind_of(case.epilogue.act)
        attrs = act.complete(dict(zip(act.attributes, case.epilogue.params, strict=False)))
        results[:1] = _layer(g, case.epilogue.act, case, attrs, results[:1])
    inputs = [helper.make_tensor_value_info(n, _ELEMENT[s.dtype], s.shape)
              for n, s in zip(names, specs, strict=True) if s is not None]
    outputs = [helper.make_tensor_value_info(n, _ELEMENT[s.dtype], None)
               for n, s in zip(results, case.outputs(), strict=True)]
    graph = helper.make_graph(g.nodes, "case", inputs, outputs, g.initialisers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A quiet ONNX Runtime session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def oracle(case, arrays) -> list[np.ndarray]:
    """Outputs by ONNX Runtime, or by onnx.reference for what ONNX Runtime has no kernel for."""
    model = model_of(case, case.inputs)
    feeds = {f"in{i}": a for i, a in enumerate(arrays) if a is not None}
    try:
        return session_of(model).run(None, feeds)
    except (ort_errors.NotImplemented, ort_errors.Fail):
        # No kernel for the element type, or not for these attributes (LRN of an even size: onnx.reference computes it
        # for the first N channels only, so the case has as many images as channels).
        return [np.asarray(y) for y in ReferenceEvaluator(model).run(None, feeds)]
