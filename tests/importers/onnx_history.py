"""Every operator of ONNX in every version that it had: whether it is taken, and an example of a node in that version."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx_history_more import MORE
from onnx_history_node import I64, Example, Maker, numbers, signed

from pathweave.importers.onnx import operators
from pathweave.importers.onnx.bodies import has_body

#: What is about sequences, optionals, strings, random numbers or images in files, and no operator of a net.
OUT_OF_SCOPE = {
    "ConcatFromSequence", "SplitToSequence", "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase",
    "SequenceInsert", "SequenceLength", "SequenceMap", "Optional", "OptionalGetElement", "OptionalHasElement", "StringConcat",
    "StringNormalizer", "StringSplit", "RegexFullMatch", "TfIdfVectorizer", "RandomNormal", "RandomNormalLike",
    "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli", "ImageDecoder",
}
#: Operators of tensors that are not taken.
NOT_TAKEN: set[str] = set()


@cache
def history() -> dict[str, list[int]]:
    """Operator of ai.onnx -> the opsets at which it changed, deprecations left out."""
    found: dict[str, list[int]] = defaultdict(list)
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "" and not schema.deprecated:
            found[schema.name].append(schema.since_version)
    return {name: sorted(versions) for name, versions in sorted(found.items())}


def taken(name: str, version: int) -> bool:
    """Whether the importer has an operator, or takes it by ONNX's own function of others."""
    return name in operators() or has_body(name, version, "")


def model_of(name: str, version: int, example: Example) -> onnx.ModelProto:
    """A model of one node."""
    names = [f"x{i}" if a is not None else "" for i, a in enumerate(example.inputs)]
    node = helper.make_node(name, names, [f"y{i}" for i in range(example.outputs)], **example.attributes)
    element = helper.np_dtype_to_tensor_dtype
    values = [helper.make_tensor_value_info(n, element(a.dtype), a.shape)
              for i, (n, a) in enumerate(zip(names, example.inputs)) if a is not None and i not in example.constant]
    constants = [numpy_helper.from_array(example.inputs[i], names[i]) for i in example.constant]
    outputs = [helper.make_empty_tensor_value_info(v) for v in node.output]
    graph = helper.make_graph([node], "history", values, outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", version)], ir_version=8)
    model = onnx.shape_inference.infer_shapes(model)
    for value, array in zip(model.graph.output, example.expected or example.inputs):  # old schemas infer nothing
        if not value.type.tensor_type.elem_type:
            value.type.tensor_type.elem_type = element(array.dtype)
    return model


def _unary(low: float = 1, high: float = 5, **attributes: Any) -> Maker:
    return lambda version, t: Example([numbers(t, (2, 3, 4), low, high)], dict(attributes))


def _any(version: int, t: Any) -> Example:
    return Example([signed(t)])


def _binary(version: int, t: Any) -> Example:
    if version < 7:
        return Example([numbers(t), numbers(t, (3,))], {"broadcast": 1, "axis": 1})
    return Example([numbers(t), numbers(t, (3, 1))])


def _logic(version: int, t: Any) -> Example:
    a, b = np.arange(6).reshape(2, 3) % 2 == 0, np.arange(3) % 2 == 0
    return Example([a, b], {"broadcast": 1} if version < 7 else {})


def _several(version: int, t: Any) -> Example:
    return Example([numbers(t), numbers(t, (2, 3, 4), 0, 9), numbers(t, (2, 3, 4) if version < 8 else (4,), 2, 3)])


def _image(**attributes: Any) -> Maker:
    return lambda version, t: Example([numbers(t, (1, 4, 6, 6))], dict(attributes))


def _reduce(version: int, t: Any) -> Example:
    as_input = version >= (13 if t == "sum" else 18)
    return Example([numbers(t), np.array([1])] if as_input else [numbers(t)], {} if as_input else {"axes": [1]})


def _reduce_sum(version: int, t: Any) -> Example:
    return Example([numbers(t), np.array([1])]) if version >= 13 else Example([numbers(t)], {"axes": [1]})


def _axes(axes: list[int], shape: tuple[int, ...]) -> Maker:
    def make(version: int, t: Any) -> Example:
        x = signed(t, shape)
        return Example([x, np.array(axes)]) if version >= 13 else Example([x], {"axes": axes})
    return make


def _reshape(version: int, t: Any) -> Example:
    return Example([signed(t), np.array([0, -1])]) if version >= 5 else Example([signed(t)], {"shape": [0, -1]})


def _batch_norm(version: int, t: Any) -> Example:
    stats = [numbers(t, (3,), 1, 2 + i) for i in range(4)]
    attributes = {"is_test": 1} if version < 7 else {}
    return Example([numbers(t), *stats], {**attributes, **({"consumed_inputs": [0, 0, 0, 1, 1]} if version < 6 else {})})


def _cast(version: int, t: Any) -> Example:
    x = signed(t)
    return Example([x], {"to": "INT32" if version < 6 else TensorProto.INT32}, expected=[x.astype(np.int32)])


def _selu(version: int, t: Any) -> Example:
    if version >= 6:
        return _any(version, t)
    x = signed(t)
    return Example([x], expected=[np.where(x > 0, 1.0507 * x, 1.0507 * 1.6732 * np.expm1(x)).astype(t)])


def _clip(version: int, t: Any) -> Example:
    if version < 11:
        return Example([numbers(t)], {"min": 2.0, "max": 4.0})
    return Example([numbers(t), np.array(2, t), np.array(4, t)])


def _dropout(version: int, t: Any) -> Example:
    return Example([signed(t)], {"is_test": 1} if version < 7 else {})


def _gemm(version: int, t: Any) -> Example:
    return Example([numbers(t, (2, 3)), numbers(t, (3, 4)), numbers(t, (4,))], {"broadcast": 1} if version < 7 else {})


def _pad(version: int, t: Any) -> Example:
    x = signed(t, (2, 3))
    if version < 11:
        return Example([x], {"paddings" if version < 2 else "pads": [0, 1, 2, 0], "value": 1.5})
    return Example([x, np.array([0, 1, 2, 0]), np.array(1, t)])


def _prelu(version: int, t: Any) -> Example:
    return Example([signed(t), numbers(t, (3,) if version < 7 else (3, 1), 1, 3)])


def _resize(version: int, t: Any) -> Example:
    x, scales = numbers(t, (1, 2, 3, 4)), np.array([1, 1, 2, 2], np.float32)
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    if version < 11:
        return Example([x, scales], {"mode": "nearest"})
    return Example([x, np.zeros(0, np.float32), scales], attributes)


def _slice(version: int, t: Any) -> Example:
    x = signed(t)
    if version < 10:
        return Example([x], {"starts": [0, 1], "ends": [2, -1], "axes": [1, 2]})
    return Example([x, np.array([0, 1]), np.array([2, -1]), np.array([1, 2])])


def _split(version: int, t: Any) -> Example:
    x, sizes = signed(t, (2, 6)), [2, 4]
    if version < 2 or version >= 13:
        return Example([x, np.array(sizes, t if version < 2 else I64)], {"axis": 1}, 2)
    return Example([x], {"axis": 1, "split": sizes}, 2)


def _tile(version: int, t: Any) -> Example:
    if version < 6:
        x = signed(t)
        return Example([x, np.array(2, t), np.array(1, t)], constant=(2,), expected=[np.concatenate([x, x], 1)])
    return Example([signed(t), np.array([1, 2, 1])])


def _top_k(version: int, t: Any) -> Example:
    x = numbers(t, (2, 9))
    return Example([x], {"k": 3}, 2) if version < 10 else Example([x, np.array([3])], {}, 2)


def _upsample(version: int, t: Any) -> Example:
    x = numbers(t, (1, 2, 3, 4))
    expected = [x.repeat(2, 2).repeat(3, 3)]
    if version < 7:
        return Example([x], {"height_scale": 2.0, "width_scale": 3.0, "mode": "nearest"}, expected=expected)
    if version < 9:
        return Example([x], {"scales": [1.0, 1.0, 2.0, 3.0]}, expected=expected)
    return Example([x, np.array([1, 1, 2, 3], np.float32)], expected=expected)


def _constant(version: int, t: Any) -> Example:
    x = signed(t)
    return Example([], {"value": numpy_helper.from_array(x)}, expected=[x])


def _group_norm(version: int, t: Any) -> Example:
    return Example([numbers(t, (2, 4, 3)), numbers(t, (4,)), numbers(t, (4,))], {"num_groups": 2})


def _scan(version: int, t: Any) -> Example:
    """The running sum of a sequence, of truth values whether one was true so far."""
    value = helper.make_tensor_value_info
    element = helper.np_dtype_to_tensor_dtype(np.dtype(t))
    truth = np.dtype(t).kind == "b"
    nodes = [helper.make_node("Or" if truth else "Add", ["s", "v"], ["a"]), helper.make_node("Identity", ["a"], ["b"])]
    states = [[value(n, element, [3]) for n in names] for names in ("sv", "ab")]
    body = helper.make_graph(nodes, "body", *states)
    start, x = np.zeros(3, t), numbers(t, (4, 3))
    inputs = [None, start[None], x[None]] if version < 9 else [start, x]
    total = np.logical_or.accumulate(x) if truth else np.cumsum(x, 0, dtype=t)
    expected = [total[-1], total] if version >= 9 else [total[-1][None], total[None]]
    return Example(inputs, {"body": body, "num_scan_inputs": 1}, 2, expected=expected)


def _loop(version: int, t: Any) -> Example:
    """x doubled three times; of truth values, x itself."""
    value, element = helper.make_tensor_value_info, helper.np_dtype_to_tensor_dtype(np.dtype(t))
    truth = np.dtype(t).kind == "b"
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Or" if truth else "Add", ["v", "v"], ["w"])], "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []), value("v", element, [3])],
        [value("d", TensorProto.BOOL, []), value("w", element, [3])])
    x = numbers(t, (3,))
    return Example([np.array(3), np.array(True), x], {"body": body}, expected=[x if truth else x * np.array(8, t)])


def _if(version: int, t: Any) -> Example:
    value, x = helper.make_tensor_value_info, numbers(t, (3,))
    element = helper.np_dtype_to_tensor_dtype(np.dtype(t))
    graphs = {f"{name}_branch": helper.make_graph(
        [helper.make_node("Constant", [], [name], value=numpy_helper.from_array(x * np.array(n, t)))], name, [],
        [value(name, element, [3])]) for n, name in enumerate(("else", "then"), 1)}
    return Example([np.array(True)], graphs, expected=[x * np.array(2, t)])


def _loss(version: int, t: Any) -> Example:
    return Example([-numbers(t, (2, 3)), np.array([1, 2])], {"reduction": "mean"})


def _layer_norm(version: int, t: Any) -> Example:
    return Example([numbers(t), numbers(t, (4,)), numbers(t, (4,))])


def _grid(version: int, t: Any) -> Example:
    """Of two images: ONNX's function squeezes all axes of length 1, the batch too."""
    return Example([numbers(t, (2, 2, 3)), np.array([2, 1, 2, 3])], {"align_corners": 0}, constant=(1,))


_SHAPE = np.array([2, 3, 4])
_ARITHMETIC = dict.fromkeys(("Add", "Sub", "Mul", "Div", "Pow"), _binary)
_COMPARISONS = dict.fromkeys(("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"), _binary)
_ONE = dict.fromkeys(
    ("Abs", "Ceil", "Floor", "Neg", "Sign", "Identity", "Shape", "Size", "Not", "Relu", "Elu", "LeakyRelu", "Sigmoid",
     "Tanh", "Softplus", "Softsign", "HardSigmoid", "HardSwish", "Mish", "Celu", "ThresholdedRelu", "Gelu", "Swish", "Erf",
     "Exp", "Sin", "Cos", "Tan", "Atan", "Sinh", "Cosh", "Asinh", "Round", "IsNaN", "IsInf", "NonZero", "Shrink", "Flatten",
     "Transpose", "Softmax", "LogSoftmax", "Hardmax", "BitwiseNot", "ArgMax", "ArgMin"), _any)
EXAMPLES: dict[str, Maker] = {
    **_ARITHMETIC, **_COMPARISONS, **_ONE, **dict.fromkeys(("And", "Or", "Xor"), _logic),
    **dict.fromkeys(("Max", "Min", "Sum", "Mean"), _several),
    **dict.fromkeys(("BitwiseAnd", "BitwiseOr", "BitwiseXor"), _binary),
    **{f"Reduce{op}": _reduce for op in ("Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")},
    "ReduceSum": _reduce_sum, "Mod": lambda version, t: Example([numbers(t), numbers(t, (3, 1))],
                                                              {"fmod": int(np.dtype(t).kind == "f")}),
    "Log": _unary(), "Sqrt": _unary(), "Reciprocal": _unary(), "Acosh": _unary(), "Asin": _unary(0, 1), "Acos": _unary(0, 1),
    "Atanh": _unary(0, 0.9), "BitShift": lambda version, t: Example([numbers(t), numbers(t)], {"direction": "LEFT"}),
    "BitCast": lambda version, t: Example([signed(t)], {"to": helper.np_dtype_to_tensor_dtype(np.dtype(t))},
                                         expected=[signed(t)]),
    "Cast": _cast, "Selu": _selu, "CastLike": lambda version, t: Example([numbers(t), np.zeros(1, np.int32)]), "Clip": _clip,
    "PRelu": _prelu, "Gemm": _gemm, "MatMul": lambda version, t: Example([numbers(t, (2, 3)), numbers(t, (3, 4))]),
    "BatchNormalization": _batch_norm, "Dropout": _dropout, "LayerNormalization": _layer_norm,
    "InstanceNormalization": lambda version, t: Example([numbers(t), numbers(t, (3,)), numbers(t, (3,))]),
    "GroupNormalization": _group_norm, # onnx.reference computes it for the first N channels only
    "LRN": lambda version, t: Example([numbers(t, (4, 4, 3, 3))], {"size": 3}), "MeanVarianceNormalization": _image(),
    "RMSNormalization": lambda version, t: Example([numbers(t), numbers(t, (4,))]),
    "Conv": lambda version, t: Example([numbers(t, (1, 2, 5, 5)), numbers(t, (3, 2, 3, 3))], constant=(1,)),
    "ConvTranspose": lambda version, t: Example([numbers(t, (1, 2, 5, 5)), numbers(t, (2, 3, 3, 3))], constant=(1,)),
    "MaxPool": _image(kernel_shape=[2, 2]), "AveragePool": _image(kernel_shape=[2, 2]), "LpPool": _image(kernel_shape=[2, 2]),
    "GlobalAveragePool": _image(), "GlobalMaxPool": _image(), "GlobalLpPool": _image(),
    "Squeeze": _axes([1], (2, 1, 3)), "Unsqueeze": _axes([0, 2], (2, 3)), "Reshape": _reshape, "Pad": _pad, "Slice": _slice,
    "Split": _split, "Tile": _tile, "TopK": _top_k, "Upsample": _upsample, "Resize": _resize, "Constant": _constant,
    "Concat": lambda version, t: Example([signed(t), signed(t)], {"axis": 1}),
    "Expand": lambda version, t: Example([signed(t, (3, 1)), _SHAPE]),
    "Gather": lambda version, t: Example([signed(t), np.array([2, 0])], {"axis": 1}),
    "GatherElements": lambda version, t: Example([signed(t, (2, 3)), np.array([[0, 1, 0]])], {"axis": 0}),
    "GatherND": lambda version, t: Example([signed(t), np.array([[0, 1], [1, 2]])]),
    "Where": lambda version, t: Example([np.arange(4) % 2 == 0, signed(t), signed(t)[::-1].copy()]),
    "Compress": lambda version, t: Example([signed(t), np.array([True, False, True])], {"axis": 1}),
    "DepthToSpace": _image(blocksize=2), "SpaceToDepth": _image(blocksize=2),
    "ConstantOfShape": lambda version, t: Example([_SHAPE], {"value": numpy_helper.from_array(np.array([2], t))},
                                                  expected=[np.full(_SHAPE, 2, t)]),
    "Range": lambda version, t: Example([np.array(v, t) for v in (1, 9, 2)]),
    "Det": lambda version, t: Example([numbers(t, (2, 3, 3))]), "If": _if, "Loop": _loop, "Scan": _scan,
    "SwiGLU": lambda version, t: Example([numbers(t), numbers(t)]),
    "NegativeLogLikelihoodLoss": _loss, "SoftmaxCrossEntropyLoss": _loss,
    "CenterCropPad": lambda version, t: Example([signed(t, (4, 5)), np.array([2, 7])]),
    "AffineGrid": _grid,
    **dict.fromkeys(("HannWindow", "HammingWindow", "BlackmanWindow"),
                    lambda version, t: Example([np.array(8, t)])),
}
EXAMPLES |= MORE
#: Operators taken by ONNX's function of others whose nodes ONNX's own cases show in all their versions.
SHOWN = {"Attention", "CausalConvWithState", "LinearAttention", "RotaryEmbedding", "DynamicQuantizeLinear"}


def types_of(name: str, version: int) -> Iterator[np.dtype]:
    """Element types that NumPy and a net have of an operator's first input, or of its output where it has none."""
    schema = onnx.defs.get_schema(name, version)
    formal = schema.inputs[0] if schema.inputs and name not in ("ConstantOfShape", "If", "Loop", "Where", "Scan") \
        else schema.outputs[0] if name != "Where" else schema.inputs[1]
    allowed = next((c.allowed_type_strs for c in schema.type_constraints if c.type_param_str == formal.type_str),
                   [formal.type_str])
    names = {"float": "float32", "double": "float64"}
    for kind in ("float", "float16", "double", "bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))):
        if f"tensor({kind})" in allowed:
            yield np.dtype(names.get(kind, kind))
