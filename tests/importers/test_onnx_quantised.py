"""Quantised operators, one by one and in nets that ONNX Runtime's quantiser made, against ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import arrays, assert_same, build, check, run_reference
from onnxruntime import quantization

import pathweave as pw
from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import optimise

MS = "com.microsoft"


def _rng(seed=0):
    return np.random.default_rng(seed)


def _bytes(dtype, *shape, seed=0):
    info = np.iinfo(dtype)
    return _rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


def _weights(*shape: int) -> np.ndarray:
    """Signed weights of 7 bits: without VNNI, ONNX Runtime cuts the sum of two products with u8 to 16 bits."""
    return _rng(1).integers(-64, 64, shape).astype(np.int8)


def _within_a_step(nodes, inputs, constants, outputs=("y",), steps=1, opset=17):
    """The imported net and its plan give ONNX Runtime's integers, at most `steps` off."""
    model = build(nodes, inputs, constants, outputs, opset, domains=(MS,))
    feeds = arrays(inputs)
    expected = run_reference(model, feeds)
    for found in (evaluate(load(model).main, feeds), pw.load(model).run(feeds)):
        for name, wanted in zip(outputs, expected, strict=True):
            got = np.asarray(found[name])
            assert got.dtype == wanted.dtype
            assert got.shape == wanted.shape
            assert np.abs(got.astype(int) - wanted.astype(int)).max(initial=0) <= steps


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(("operator", "attributes"), [("QLinearAdd", {}), ("QLinearMul", {})])
def test_binary(operator, attributes, dtype):
    x = {"a": _bytes(dtype, 3, 4, 7), "b": _bytes(dtype, 4, 1, seed=1)}
    constants = {
        "as": np.float32(0.05),
        "az": dtype(5),
        "bs": np.float32(0.02),
        "bz": dtype(100),
        "ys": np.float32(0.07),
        "yz": dtype(31),
    }
    node = helper.make_node(operator, ["a", "as", "az", "b", "bs", "bz", "ys", "yz"], ["y"], domain=MS, **attributes)
    _within_a_step([node], x, constants)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize(
    ("operator", "attributes"),
    [
        ("QLinearSigmoid", {}),
        ("QLinearLeakyRelu", {"alpha": 0.1}),
        ("QLinearSoftmax", {"opset": 13, "axis": -1}),
        ("QLinearGlobalAveragePool", {}),
        ("QLinearAveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("QLinearAveragePool", {"kernel_shape": [2, 2], "count_include_pad": 1, "pads": [1, 0, 0, 1]}),
    ],
)
def test_one_value(operator, attributes, dtype):
    x = {"x": _bytes(dtype, 2, 3, 8, 7)}
    scale = 1 / 256 if operator in ("QLinearSigmoid", "QLinearSoftmax") else 0.04
    constants = {
        "xs": np.float32(0.03),
        "xz": dtype(7),
        "ys": np.float32(scale),
        "yz": dtype(0 if dtype == np.uint8 else -128) if scale < 0.01 else dtype(9),
    }
    _within_a_step(
        [helper.make_node(operator, ["x", "xs", "xz", "ys", "yz"], ["y"], domain=MS, **attributes)], x, constants
    )


def test_means_of_axes():
    """ONNX Runtime has no kernel for it."""
    x = _bytes(np.int8, 2, 3, 8, 7)
    node = helper.make_node("QLinearReduceMean", ["x", "xs", "xz", "ys", "yz"], ["y"], domain=MS, axes=[2, 3], keepdims=0)
    model = load(
        build(
            [node],
            {"x": x},
            {"xs": np.float32(0.03), "xz": np.int8(7), "ys": np.float32(0.004), "yz": np.int8(9)},
            domains=(MS,),
        )
    )
    wanted = np.clip(np.rint((x.astype(float) - 7).mean((2, 3)) * 0.03 / 0.004) + 9, -128, 127)
    assert np.abs(evaluate(model.main, {"x": x})["y"] - wanted).max() <= 1


def test_channels_last_pools():
    x = {"x": _bytes(np.uint8, 2, 8, 7, 3)}
    constants = {"xs": np.float32(0.03), "xz": np.uint8(7), "ys": np.float32(0.04), "yz": np.uint8(9)}
    for operator, attributes in (("QLinearGlobalAveragePool", {}), ("QLinearAveragePool", {"kernel_shape": [3, 3]})):
        _within_a_step(
            [helper.make_node(operator, ["x", "xs", "xz", "ys", "yz"], ["y"], domain=MS, channels_last=1, **attributes)],
            x,
            constants,
        )


def test_concat_and_where():
    x = {"a": _bytes(np.uint8, 2, 3), "b": _bytes(np.uint8, 2, 4, seed=1)}
    constants = {
        "as": np.float32(0.05),
        "az": np.uint8(5),
        "bs": np.float32(0.02),
        "bz": np.uint8(100),
        "ys": np.float32(0.04),
        "yz": np.uint8(31),
    }
    _within_a_step(
        [helper.make_node("QLinearConcat", ["ys", "yz", "a", "as", "az", "b", "bs", "bz"], ["y"], domain=MS, axis=1)],
        x,
        constants,
    )
    inputs = {"c": _rng().random((2, 3)) < 0.5, "a": x["a"], "b": _bytes(np.uint8, 1, 3, seed=2)}
    _within_a_step(
        [helper.make_node("QLinearWhere", ["c", "a", "as", "az", "b", "bs", "bz", "ys", "yz"], ["y"], domain=MS)],
        inputs,
        constants,
    )


@pytest.mark.parametrize("columns", [(), (9,)])
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (9,), (1, 9), (5, 9)])
def test_gemm(columns, transposed, bias):
    b = _weights(*((9, 7) if transposed else (7, 9)))
    constants = {
        "as": np.float32(0.05),
        "az": np.uint8(5),
        "b": b,
        "bs": np.full(columns, 0.02, np.float32),
        "bz": np.zeros(columns, np.int8),
        "ys": np.float32(0.4),
        "yz": np.uint8(31),
    }
    if bias is not None:
        constants["c"] = _rng().integers(-3000, 3000, bias).astype(np.int32)
    x = {"a": _bytes(np.uint8, 5, 7)}
    names = ["a", "as", "az", "b", "bs", "bz", "c" if bias is not None else "", "ys", "yz"]
    attributes = {"transB": transposed, "alpha": 1.5}
    _within_a_step([helper.make_node("QGemm", names, ["y"], domain=MS, **attributes)], x, constants)
    check([helper.make_node("QGemm", names[:7], ["y"], domain=MS, **attributes)], x, constants, domains=(MS,))


@pytest.mark.parametrize("columns", [(), (9,)])
@pytest.mark.parametrize("bias", [False, True])
def test_products_of_real_numbers(columns, bias):
    constants = {
        "b": _weights(7, 9),
        "bs": np.full(columns, 0.02, np.float32),
        "bz": np.full(columns, 3, np.int8),
        "as": np.float32(0.05),
        "az": np.uint8(5),
        "bias": _rng().standard_normal(9).astype(np.float32),
    }
    tail = ["bias"] if bias else []
    check(
        [helper.make_node("MatMulIntegerToFloat", ["a", "b", "as", "bs", "az", "bz", *tail], ["y"], domain=MS)],
        {"a": _bytes(np.uint8, 2, 5, 7)},
        constants,
        domains=(MS,),
    )
    check(
        [helper.make_node("DynamicQuantizeMatMul", ["a", "b", "bs", "bz", *tail], ["y"], domain=MS)],
        {"a": _rng().standard_normal((2, 5, 7)).astype(np.float32)},
        constants,
        domains=(MS,),
    )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("columns", [(), (48,)])
def test_attention(masked, columns):
    constants = {"w": _weights(16, 48), "b": _rng().standard_normal(48).astype(np.float32),
                 "xs": np.float32(0.02), "ws": np.full(columns, 0.01, np.float32), "xz": np.uint8(120),
                 "wz": np.zeros(columns, np.int8)}
    x = {"x": _bytes(np.uint8, 2, 5, 16)}
    if masked:
        x["m"] = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
    names = ["x", "w", "b", "xs", "ws", "m" if masked else "", "xz", "wz"]
    check([helper.make_node("QAttention", names, ["y"], domain=MS, num_heads=4)], x, constants, domains=(MS,))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("points", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_weights_of_few_bits(bits, points, flat):
    depth, outputs, block = 96, 10, 32
    constants = {
        "w": _bytes(np.uint8, outputs, 3, block * bits // 8),
        "s": _rng().random((outputs, 3)).astype(np.float32) / 50,
    }
    if points:
        constants["z"] = _bytes(np.uint8, outputs, -(-3 * bits // 8), seed=3)
    if flat:
        constants = {n: a if n == "w" else a.reshape(-1) for n, a in constants.items()}
    node = helper.make_node(
        "MatMulNBits",
        ["x", "w", "s", *(["z"] if points else [])],
        ["y"],
        domain=MS,
        bits=bits,
        block_size=block,
        K=depth,
        N=outputs,
    )
    x = {"x": _rng().standard_normal((2, 3, depth)).astype(np.float32)}
    check([node], x, constants, domains=(MS,), tolerance=2e-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_gather_of_blocks(bits):
    rows, depth, block = 20, 64, 16
    constants = {
        "w": _bytes(np.uint8, rows, depth * bits // 8),
        "s": _rng().random((rows, depth // block)).astype(np.float32),
        "z": _bytes(np.uint8, rows, depth // block * bits // 8, seed=3),
    }
    x = {"i": _rng().integers(0, rows, (2, 5)).astype(np.int64)}
    for names in (["w", "i", "s"], ["w", "i", "s", "z"]):
        check(
            [
                helper.make_node(
                    "GatherBlockQuantized",
                    names,
                    ["y"],
                    domain=MS,
                    bits=bits,
                    block_size=block,
                    gather_axis=0,
                    quantize_axis=1,
                )
            ],
            x,
            constants,
            domains=(MS,),
        )


@pytest.mark.parametrize("number", [TensorProto.INT4, TensorProto.UINT4])
@pytest.mark.parametrize("raw", [False, True])
def test_constants_of_four_bits(number, raw):
    signed = number == TensorProto.INT4
    q = _rng().integers(*((-8, 8) if signed else (0, 16)), (5, 9))
    packed = np.concatenate([q.reshape(-1) & 15, np.zeros(q.size % 2, int)]).reshape(-1, 2)
    packed = (packed[:, 0] | packed[:, 1] << 4).astype(np.uint8)
    tensor = TensorProto(name="q", data_type=number, dims=q.shape)
    if raw:
        tensor.raw_data = packed.tobytes()
    else:
        tensor.int32_data.extend(packed.tolist())
    scale = numpy_helper.from_array(np.arange(1, 10, dtype=np.float32), "s")
    graph = helper.make_graph(
        [helper.make_node("DequantizeLinear", ["q", "s"], ["w"], axis=1), helper.make_node("MatMul", ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (2, 5))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (2, 9))],
        [tensor, scale],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10).SerializeToString()
    x = _rng(1).standard_normal((2, 5)).astype(np.float32)
    assert_same(evaluate(load(model).main, {"x": x})["y"], x @ (q * np.arange(1, 10)).astype(np.float32), 1e-6, "y")


# Nets that ONNX Runtime's quantiser made


def _convolutional():
    rng = _rng(5)

    def weights(*shape):
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    constants = {
        "w1": weights(16, 3, 3, 3),
        "b1": weights(16, 1)[:, 0],
        "w2": weights(16, 1, 3, 3),
        "b2": weights(16, 1)[:, 0],
        "w3": weights(24, 16, 1, 1),
        "b3": weights(24, 1)[:, 0],
        "w4": weights(24, 24, 3, 3),
        "b4": weights(24, 1)[:, 0],
        "w5": weights(24, 10),
        "b5": weights(10, 1)[:, 0],
    }
    pads = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c1"], **pads, strides=[2, 2]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        helper.make_node("Conv", ["r1", "w2", "b2"], ["c2"], **pads, group=16),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"]),
        helper.make_node("Conv", ["c3", "w4", "b4"], ["c4"], **pads),
        helper.make_node("Add", ["c3", "c4"], ["a"]),
        helper.make_node("Relu", ["a"], ["r3"]),
        helper.make_node("MaxPool", ["r3"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Concat", ["p", "p"], ["d"], axis=1),
        helper.make_node("Sigmoid", ["d"], ["s"]),
        helper.make_node("Split", ["s"], ["s0", "s1"], axis=1, num_outputs=2),
        helper.make_node("GlobalAveragePool", ["s0"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w5", "b5"], ["y"]),
    ]
    return nodes, {"x": (2, 3, 17, 16)}, constants


def _encoder():
    """One layer of a transformer's encoder, with heads."""
    rng, width, heads = _rng(6), 32, 4
    names = ("q", "k", "v", "o")
    constants = {n: (rng.standard_normal((width, width)) / 6).astype(np.float32) for n in names}
    constants |= {
        "up": (rng.standard_normal((width, 64)) / 6).astype(np.float32),
        "bias": np.full(64, 0.1, np.float32),
        "down": (rng.standard_normal((64, width)) / 8).astype(np.float32),
        "g": np.ones(width, np.float32),
        "h": np.zeros(width, np.float32),
        "shape": np.array([0, 0, heads, width // heads]),
        "back": np.array([0, 0, width]),
        "root": np.float32((width / heads) ** -0.5),
    }
    nodes = []
    for n in names[:3]:
        nodes += [
            helper.make_node("MatMul", ["x", n], [f"{n}m"]),
            helper.make_node("Reshape", [f"{n}m", "shape"], [f"{n}r"]),
            helper.make_node("Transpose", [f"{n}r"], [f"{n}t"], perm=[0, 2, 3, 1] if n == "k" else [0, 2, 1, 3]),
        ]
    nodes += [
        helper.make_node("MatMul", ["qt", "kt"], ["scores"]),
        helper.make_node("Mul", ["scores", "root"], ["scaled"]),
        helper.make_node("Softmax", ["scaled"], ["shares"], axis=-1),
        helper.make_node("MatMul", ["shares", "vt"], ["mixed"]),
        helper.make_node("Transpose", ["mixed"], ["mt"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["mt", "back"], ["mr"]),
        helper.make_node("MatMul", ["mr", "o"], ["om"]),
        helper.make_node("Add", ["om", "x"], ["res"]),
        helper.make_node("LayerNormalization", ["res", "g", "h"], ["norm"], axis=-1),
        helper.make_node("MatMul", ["norm", "up"], ["um"]),
        helper.make_node("Add", ["um", "bias"], ["ub"]),
        helper.make_node("Relu", ["ub"], ["act"]),
        helper.make_node("MatMul", ["act", "down"], ["dm"]),
        helper.make_node("Add", ["dm", "norm"], ["y"]),
    ]
    return nodes, {"x": (2, 9, width)}, constants


class _Samples(quantization.CalibrationDataReader):
    def __init__(self, shape):
        self._left = iter([{"x": _rng(seed).standard_normal(shape).astype(np.float32)} for seed in range(6)])

    def get_next(self):
        return next(self._left, None)


NETS = {"conv": _convolutional, "encoder": _encoder}
WAYS = {
    "qdq_u8": {"quant_format": quantization.QuantFormat.QDQ, "activation_type": quantization.QuantType.QUInt8},
    "qdq_i8_axis": {
        "quant_format": quantization.QuantFormat.QDQ,
        "activation_type": quantization.QuantType.QInt8,
        "per_channel": True,
    },
    "qdq_u16": {"quant_format": quantization.QuantFormat.QDQ, "activation_type": quantization.QuantType.QUInt16},
    "qoperator": {"quant_format": quantization.QuantFormat.QOperator, "activation_type": quantization.QuantType.QUInt8},
    "qoperator_axis": {
        "quant_format": quantization.QuantFormat.QOperator,
        "activation_type": quantization.QuantType.QInt8,
        "per_channel": True,
    },
    "dynamic": None,
    "dynamic_axis": None,
    "dynamic_u8": None,
}


def quantised(tmp_path, net: str, way: str) -> bytes:
    """A net as ONNX Runtime's quantiser writes it."""
    nodes, inputs, constants = NETS[net]()
    shapes = {n: np.zeros(s, np.float32) for n, s in inputs.items()}
    before, after = tmp_path / "before.onnx", tmp_path / "after.onnx"
    model = onnx.load_from_string(build(nodes, shapes, constants, opset=21 if "16" in way else 18))
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    onnx.save(onnx.shape_inference.infer_shapes(model), before)
    if WAYS[way] is None:
        quantization.quantize_dynamic(
            before,
            after,
            per_channel="axis" in way,
            reduce_range=True,  # see _weights
            weight_type=quantization.QuantType.QUInt8 if "u8" in way else quantization.QuantType.QInt8,
        )
    else:
        quantization.quantize_static(
            before, after, _Samples(inputs["x"]), weight_type=quantization.QuantType.QInt8, reduce_range=True, **WAYS[way]
        )
    return after.read_bytes()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("net", NETS)
def test_nets_of_the_quantiser(tmp_path, net, way):
    model = quantised(tmp_path, net, way)
    x = _rng(9).standard_normal(NETS[net]()[1]["x"]).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (wanted,) = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"]).run(None, {"x": x})
    # A number that lies between two integers may go to either; a few of them do.
    step = 0.02 * np.abs(wanted).max()
    found = evaluate(load(model).main, {"x": x})["y"]
    assert np.abs(found - wanted).max() <= step
    loaded = pw.load(model)
    got = loaded(x)
    own = {"quantize_linear", "dequantize_linear", "dynamic_scale", "matmul_integer", "conv_integer", "dense", "add", "mul"}
    slow = [s.routine for s in loaded.plan(shapes={"x": x.shape}).steps if s.routine.endswith(":python")]
    assert not [r for r in slow if r.partition("/")[0] in own]
    assert np.abs(got - wanted).max() <= step
    assert np.abs(got - found).max() <= step


def test_few_bits_run_natively():
    node = helper.make_node("MatMulNBits", ["x", "w", "s"], ["y"], domain=MS, bits=4, block_size=32, K=64, N=10)
    x = _rng().standard_normal((3, 64)).astype(np.float32)
    constants = {"w": _bytes(np.uint8, 10, 2, 16), "s": np.ones((10, 2), np.float32)}
    steps = pw.load(build([node], {"x": x}, constants, domains=(MS,))).plan(shapes={"x": x.shape}).steps
    assert [s.routine for s in steps] == ["matmul_nbits/by_rows:any:plain:cpu"]


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("block", [16, 32, 128])
@pytest.mark.parametrize("rows", [1, 4, 5, 37])
def test_few_bits_are_products_with_the_numbers_that_they_stand_for(bits, block, rows):
    depth, columns = 272, 27
    blocks = -(-depth // block)
    x, scale = _rng().standard_normal((rows, depth)).astype(np.float32), _rng().random((columns, blocks)).astype(np.float32)
    q = _rng().integers(0, 2**bits, (columns, blocks * block))
    zero = _rng().integers(0, 2**bits, (columns, blocks))
    pairs = np.concatenate([zero, np.zeros((columns, blocks % 2), int)], 1)
    packed = q[:, ::2] | q[:, 1::2] << 4 if bits == 4 else q
    points = pairs[:, ::2] | pairs[:, 1::2] << 4 if bits == 4 else zero
    node = helper.make_node("MatMulNBits", ["x", "w", "s", "z"], ["y"], domain=MS, bits=bits, block_size=block, K=depth,
                            N=columns)
    constants = {"w": packed.astype(np.uint8).reshape(columns, blocks, -1), "s": scale, "z": points.astype(np.uint8)}
    model = pw.load(build([node], {"x": x}, constants, domains=(MS,)), threads=2)
    weights = ((q - np.repeat(zero, block, 1)) * np.repeat(scale.astype(np.float64), block, 1))[:, :depth]
    wanted = x.astype(np.float64) @ weights.T
    assert np.abs(model(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()


def test_products_between_dequantize_and_quantize_are_of_integers(tmp_path):
    kinds = [layer.kind for layer in optimise(load(quantised(tmp_path, "conv", "qdq_i8_axis")).main).layers]
    assert "conv2" not in kinds
    assert "dense" not in kinds
    assert kinds.count("conv_integer") == 4
    assert kinds.count("matmul_integer") == 1


def test_open_sizes(tmp_path):
    """A sequence of any length on one plan."""
    for way in ("dynamic", "qdq_u8"):
        model = onnx.load_from_string(quantised(tmp_path, "encoder", way))
        for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[:2], "NL", strict=True):
            dim.dim_param = name
        del model.graph.value_info[:]
        for size in model.graph.output[0].type.tensor_type.shape.dim:
            size.Clear()
        raw = model.SerializeToString()
        loaded = pw.load(raw)
        for shape in ((1, 5, 32), (3, 11, 32), (1, 1, 32)):
            x = _rng(sum(shape)).standard_normal(shape).astype(np.float32)
            wanted = run_reference(raw, {"x": x})[0]
            assert np.abs(loaded(x) - wanted).max() <= 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize("constant", [True, False], ids=["constants", "values"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["one_scale", "by_channel"])
def test_convolutions_of_three_axes_are_exact(constant, per_channel):
    """ONNX Runtime has none on the CPU, so that the sums are NumPy's."""
    rng = np.random.default_rng(7)
    x, w = rng.integers(0, 256, (2, 4, 5, 6, 7), np.uint8), rng.integers(-128, 128, (6, 2, 2, 3, 2), np.int8)
    bias = rng.integers(-3000, 3000, 6).astype(np.int32)
    x_zero, w_zero = np.uint8(131), rng.integers(-5, 5, 6).astype(np.int8) if per_channel else np.int8(3)
    w_scale = rng.uniform(0.01, 0.03, 6).astype(np.float32) if per_channel else np.float32(0.02)
    padded = np.pad(x.astype(np.int64) - 131, ((0, 0), (0, 0), (1, 0), (1, 1), (0, 1)))
    kernel = w.astype(np.int64) - np.reshape(w_zero, (-1, 1, 1, 1, 1)).astype(np.int64)
    sums = np.zeros((2, 6, 5, 3, 7), np.int64)
    for o, i, j, k in np.ndindex(6, 5, 3, 7):
        part = padded[:, o // 3 * 2:o // 3 * 2 + 2, i:i + 2, 2 * j:2 * j + 3, k:k + 2]
        sums[:, o, i, j, k] = (part * kernel[o]).sum((1, 2, 3, 4))
    how = {"group": 2, "pads": [1, 1, 0, 0, 1, 1], "strides": [1, 2, 1]}
    given = {"x": x, "w": w, "xz": x_zero, "wz": w_zero, "xs": np.float32(0.05), "ws": w_scale, "ys": np.float32(2.5),
             "yz": np.uint8(120), "b": bias}
    integer = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["sums"], **how)
    linear = helper.make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], **how)
    held = {name for name in given if name != "x"} if constant else set()
    graph = helper.make_graph([integer, linear], "g", [helper.make_tensor_value_info(
        name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for name, a in given.items() if name not in held],
        [helper.make_tensor_value_info("sums", 6, None), helper.make_tensor_value_info("y", 2, None)],
        [numpy_helper.from_array(np.asarray(given[name]), name) for name in held])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    found = pw.load(model.SerializeToString()).run({name: a for name, a in given.items() if name not in held})
    np.testing.assert_array_equal(found["sums"], sums)
    scale = np.float32(0.05) * w_scale / np.float32(2.5)
    wanted = np.rint((sums + bias.reshape(-1, 1, 1, 1)).astype(np.float32) * np.reshape(scale, (-1, 1, 1, 1))) + 120
    np.testing.assert_array_equal(found["y"], np.clip(wanted, 0, 255).astype(np.uint8))
