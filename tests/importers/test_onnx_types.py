"""Element types: what the file says is what the caller gets, and where it rounds; lengths and numbers of float32."""

from __future__ import annotations

import zlib
from fractions import Fraction

import ml_dtypes
import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import assert_same, build, check, run_reference
from test_onnx_ops import CASES, K

import pathweave
from pathweave.errors import DTypeError
from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import bind

TYPES = {"f16": (TensorProto.FLOAT16, np.dtype(np.float16)), "bf16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
         "f32": (TensorProto.FLOAT, np.dtype(np.float32)), "f64": (TensorProto.DOUBLE, np.dtype(np.float64)),
         "i8": (TensorProto.INT8, np.dtype(np.int8)), "u8": (TensorProto.UINT8, np.dtype(np.uint8)),
         "i16": (TensorProto.INT16, np.dtype(np.int16)), "u16": (TensorProto.UINT16, np.dtype(np.uint16)),
         "i32": (TensorProto.INT32, np.dtype(np.int32)), "u32": (TensorProto.UINT32, np.dtype(np.uint32)),
         "i64": (TensorProto.INT64, np.dtype(np.int64)), "u64": (TensorProto.UINT64, np.dtype(np.uint64)),
         "bool": (TensorProto.BOOL, np.dtype(np.bool_))}
#: Bits of the mantissa, the leading one among them, and the largest relative error of rounding to it.
EPSILON = {"f16": 2.0**-11, "bf16": 2.0**-8}


def model_of(nodes, inputs: dict, outputs: dict, constants: dict | None = None, opset: int = 17) -> bytes:
    """A serialised model; `inputs`: name -> (type, shape), `outputs`: name -> type, `constants`: name -> (type, array)."""
    tensors = [helper.make_tensor(n, TYPES[t][0], a.shape, np.asarray(a, TYPES[t][1]).tobytes(), raw=True)
               for n, (t, a) in (constants or {}).items()]
    graph = helper.make_graph(
        nodes, "types", [helper.make_tensor_value_info(n, TYPES[t][0], s) for n, (t, s) in inputs.items()],
        [helper.make_tensor_value_info(n, TYPES[t][0], None) for n, t in outputs.items()], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9).SerializeToString()


# ---- lengths and positions -------------------------------------------------------------------------------------------

RESIZES = [(27, 1 / 9), (33, 1 / 11), (9, 5 / 3), (10, 0.7), (3, 1 / 3), (50, 1.1), (7, 3.0), (12, 0.25)]
RESIZES += [(int(n), float(s)) for n, s in zip(np.random.default_rng(9).integers(3, 60, 12),
                                               np.random.default_rng(8).uniform(0.3, 3, 12))]


@pytest.mark.parametrize("length, scale", RESIZES)
@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
def test_resize_by_float32_scales(length, scale, coordinates):
    x = np.random.default_rng(length).uniform(-1, 1, (1, 2, length, length)).astype(np.float32)
    scales = np.array([1, 1, scale, scale], np.float32)
    for mode in ("nearest", "linear"):
        node = helper.make_node("Resize", ["x", "", "s"], ["y"], mode=mode, coordinate_transformation_mode=coordinates)
        check([node], {"x": x}, {"s": scales}, opset=13, tolerance=0 if mode == "nearest" else 2e-6)
        data = build([node], {"x": x, "s": scales}, opset=13)  # scales at run time
        assert evaluate(load(data).main, {"x": x, "s": scales})["y"].shape == \
            run_reference(data, {"x": x, "s": scales})[0].shape


@pytest.mark.parametrize("length, scale, expected", [(27, 1 / 9, 3), (33, 1 / 11, 3), (9, 5 / 3, 15)])
def test_resize_and_upsample_lengths(length, scale, expected):
    x, scales = np.ones((1, 1, length, length), np.float32), np.array([1, 1, scale, scale], np.float32)
    for op, names, opset in (("Resize", ["x", "", "s"], 13), ("Upsample", ["x", "s"], 9)):
        if scale < 1 and op == "Upsample":
            continue  # it only enlarges
        model = pathweave.load(build([helper.make_node(op, names, ["y"])], {"x": x}, {"s": scales}, opset=opset))
        assert model(x).shape == (1, 1, expected, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("numbers", [(0, 0.3, 0.1), (0, 1, 0.1), (1, -1, -0.3), (0.1, 2.5, 0.7), (5, 1, 1)])
def test_range(dtype, numbers):
    constants = dict(zip("abc", (np.array(v, dtype) for v in numbers)))
    data = build([helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Add", ["r", "x"], ["y"])],
                 {"x": np.zeros(1, dtype)}, constants, opset=13)
    check([helper.make_node("Range", ["a", "b", "c"], ["r"]), helper.make_node("Add", ["r", "x"], ["y"])],
          {"x": np.zeros(1, dtype)}, constants, opset=13, tolerance=1e-6 if dtype == np.float32 else 1e-15,
          reference=run_reference(data, {"x": np.zeros(1, dtype)}))


def _single(value: float) -> float:
    return float(np.float32(value))


@pytest.mark.parametrize("op, opset, attrs, meaning", [
    ("LeakyRelu", 16, {"alpha": 0.1}, lambda x: np.where(x < 0, _single(0.1) * x, x)),
    ("LeakyRelu", 16, {}, lambda x: np.where(x < 0, _single(0.01) * x, x)),
    ("HardSigmoid", 7, {"alpha": 0.3, "beta": 0.4}, lambda x: np.clip(_single(0.3) * x + _single(0.4), 0, 1)),
    ("HardSigmoid", 7, {}, lambda x: np.clip(_single(0.2) * x + 0.5, 0, 1)),
    ("Elu", 7, {"alpha": 0.7}, lambda x: np.where(x < 0, _single(0.7) * np.expm1(x), x)),
    ("ThresholdedRelu", 10, {"alpha": 0.1}, lambda x: np.where(x > _single(0.1), x, 0)),
    ("Shrink", 9, {"lambd": 0.3, "bias": 0.1},
     lambda x: np.where(x < -_single(0.3), x + _single(0.1), np.where(x > _single(0.3), x - _single(0.1), 0))),
    ("Clip", 7, {"min": -0.3, "max": 0.7}, lambda x: np.clip(x, _single(-0.3), _single(0.7)))])
def test_attributes_are_the_float32_of_the_file(op, opset, attrs, meaning):
    x = np.array([-2, -0.5, -0.3, _single(-0.3), 0.1, _single(0.1), 0.2, _single(0.7), 0.8, 2])
    data = build([helper.make_node(op, ["x"], ["y"], **attrs)], {"x": x}, opset=opset)
    np.testing.assert_allclose(pathweave.load(data)(x), meaning(x), rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_epsilon_is_the_float32_of_the_file(epsilon):
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 4))
    one, variance = np.ones(3), np.full(3, 1e-4)
    data = build([helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], epsilon=epsilon)], {"x": x},
                 {"s": one, "b": 0 * one, "m": 0 * one, "v": variance}, opset=15)
    np.testing.assert_allclose(pathweave.load(data)(x), x / np.sqrt(1e-4 + _single(epsilon)), rtol=1e-14)


# ---- double is double ------------------------------------------------------------------------------------------------

def test_integers_pass_through_double_unharmed():
    cast = [helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE), helper.make_node("Mul", ["d", "one"], ["e"]),
            helper.make_node("Cast", ["e"], ["y"], to=TensorProto.INT64)]
    data = model_of(cast, {"x": ("i64", ["N"])}, {"y": "i64", "e": "f64"}, {"one": ("f64", np.array(1.0))})
    x = np.array([16777217, 2**40 + 1, -(2**53) + 1])
    model = pathweave.load(data)
    found = model(x)
    np.testing.assert_array_equal(found["y"], x)
    assert found["e"].dtype == np.float64 and model.outputs["e"].dtype == "f64"
    np.testing.assert_array_equal(found["e"], x.astype(np.float64))


def test_a_saved_model_keeps_its_types(tmp_path):
    for name, (tensor, dtype) in (("f16", TYPES["f16"]), ("bf16", TYPES["bf16"]), ("f64", TYPES["f64"])):
        data = model_of([helper.make_node("Add", ["x", "w"], ["s"]),
                         helper.make_node("Cast", ["s"], ["c"], to=TensorProto.FLOAT),
                         helper.make_node("Cast", ["c"], ["h"], to=TensorProto.FLOAT16),
                         helper.make_node("Cast", ["h"], ["y"], to=tensor)],
                        {"x": (name, ["N", 4])}, {"y": name}, {"w": (name, np.arange(4) / 7)})
        x = np.linspace(0, 3, 8).reshape(2, 4).astype(dtype)
        model = pathweave.load(data)
        path = tmp_path / f"{name}.pw"
        model.save(path)
        again = pathweave.load(path)
        assert again.inputs["x"].dtype == name and again.outputs["y"].dtype == name and again.notes == model.notes
        found = again(x)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, model(x))


def test_a_double_constant_does_not_slow_a_float32_model():
    nodes = [helper.make_node("Cast", ["d"], ["w"], to=TensorProto.FLOAT), helper.make_node("Conv", ["x", "w"], ["c"]),
             helper.make_node("Relu", ["c"], ["y"])]
    model = pathweave.load(model_of(nodes, {"x": ("f32", [1, 3, 8, 8])}, {"y": "f32"},
                                    {"d": ("f64", np.random.default_rng(0).standard_normal((4, 3, 3, 3)))}))
    assert model.notes == []
    assert not [s for s in model.plan().steps if s.routine.endswith(":python")]


def test_double_layers_are_said_and_can_be_narrowed():
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    w = np.random.default_rng(0).standard_normal((5, 3))
    data = model_of(nodes, {"x": ("f64", [2, 5])}, {"y": "f64"}, {"w": ("f64", w)})
    x = np.random.default_rng(1).standard_normal((2, 5))
    model, narrow = pathweave.load(data), pathweave.load(data, narrow_double=True)
    assert "1 layer with results in float64" in model.notes[0] and "narrow_double" in model.notes[0]
    assert narrow.notes == ["values of float64 are computed in float32, as asked for"]
    np.testing.assert_allclose(model(x), x @ w, rtol=1e-14)
    assert narrow(x).dtype == np.float64
    np.testing.assert_allclose(narrow(x), x @ w, rtol=1e-5, atol=1e-6)
    assert np.abs(narrow(x) - x @ w).max() > 1e-12  # it does compute in float32


def test_formulas_of_doubles_are_computed_as_written():
    """0.7071 is no 1 / sqrt(2): what recognises GELU to the precision of exporters must leave doubles alone."""
    x = np.linspace(-3, 3, 13)
    numbers = {"a": 0.70711, "one": 1.0, "half": 0.5}
    nodes = [helper.make_node("Mul", ["x", "a"], ["s"]), helper.make_node("Erf", ["s"], ["e"]),
             helper.make_node("Add", ["e", "one"], ["t"]), helper.make_node("Mul", ["x", "t"], ["u"]),
             helper.make_node("Mul", ["u", "half"], ["y"])]
    data = model_of(nodes, {"x": ("f64", [13])}, {"y": "f64"}, {n: ("f64", np.array(v)) for n, v in numbers.items()})
    from math import erf
    expected = np.array([v * (erf(v * 0.70711) + 1) * 0.5 for v in x])
    np.testing.assert_allclose(pathweave.load(data)(x), expected, rtol=1e-12, atol=1e-15)


# ---- casts -----------------------------------------------------------------------------------------------------------

def _nearest(value: float, dtype: np.dtype, bits: int, top: int) -> float:
    """A double rounded once to `bits` bits of mantissa, ties to even, in exact arithmetic; infinite from 2**top on."""
    if value == 0 or not np.isfinite(value):
        return value
    exact = Fraction(abs(value))
    exponent = max(int(np.floor(np.log2(abs(value)))), {16: -14, 128: -126}[top])
    step = Fraction(2) ** (exponent - bits + 1)
    rounded = round(exact / step) * step  # round() of a Fraction takes ties to even
    return float(np.copysign(np.inf if rounded >= Fraction(2) ** top else float(rounded), value))


@pytest.mark.parametrize("half, bits, top", [("f16", 11, 16), ("bf16", 8, 128)])
@pytest.mark.parametrize("source", ["f32", "f64"])
def test_casts_to_half_round_once(half, bits, top, source):
    rng = np.random.default_rng(bits)
    step = 2.0 ** (1 - bits)
    x = np.concatenate([
        [123456.7, 65504, 65519.99, 65520, -70000, 3.4e38, 3.39e38, 0.0, -0.0, np.inf, -np.inf, 6e-8, 3e-8, 2.9e-8, 1e-40],
        1 + step * rng.integers(0, 40, 50) + step / 2,                        # ties
        1 + step * rng.integers(0, 40, 50) + step / 2 + rng.choice([-1, 1], 50) * 2.0**-40,  # ties but for a double's bits
        rng.standard_normal(200) * 10.0 ** rng.integers(-8, 5, 200)])
    x = x.astype(TYPES[source][1])
    nodes = [helper.make_node("Cast", ["x"], ["h"], to=TYPES[half][0]),
             helper.make_node("Cast", ["h"], ["y"], to=TensorProto.FLOAT)]
    model = pathweave.load(model_of(nodes, {"x": (source, ["N"])}, {"y": "f32", "h": half}))
    expected = np.array([_nearest(float(v), None, bits, top) for v in x], np.float32)
    found = model(x)
    np.testing.assert_array_equal(found["y"], expected)
    np.testing.assert_array_equal(np.asarray(found["h"], np.float32), expected)
    assert found["h"].dtype == TYPES[half][1]
    bound = bind(load(model_of(nodes, {"x": (source, ["N"])}, {"y": "f32"})).main, {"x": x.shape})  # after all passes
    np.testing.assert_array_equal(evaluate(bound, {"x": x})["y"], expected)
    assert np.isnan(model(np.full(3, np.nan, x.dtype))["y"]).all()


#: In the range of every type; casts beyond an integer's range are undefined for floats, and drop bits for integers.
_NUMBERS = [0, 1, 2, 3, 100, 127]


@pytest.mark.parametrize("source", TYPES)
def test_casts_between_all_types_agree_with_onnx_runtime(source):
    numbers = np.array(_NUMBERS, np.float64)
    if source in ("f16", "bf16", "f32", "f64"):
        numbers = np.concatenate([numbers + 0.75, [0.3]])
    x = numbers.astype(TYPES[source][1])
    for target, (tensor, dtype) in TYPES.items():
        data = model_of([helper.make_node("Cast", ["x"], ["y"], to=tensor)], {"x": (source, [len(x)])}, {"y": target})
        found = pathweave.load(data)(x)
        assert found.dtype == dtype, (source, target)
        if "bf16" in (source, target):  # NumPy feeds of ONNX Runtime have no bfloat16
            expected = x.astype(np.float32) if source == "bf16" else x
            expected = expected.astype(np.float32).astype(dtype) if target == "bf16" else expected.astype(dtype)
        else:
            expected = run_reference(data, {"x": x})[0]
        np.testing.assert_array_equal(found, expected, err_msg=f"{source} to {target}")


@pytest.mark.parametrize("source, target", [("i64", "i32"), ("i32", "i8"), ("i64", "u8"), ("u8", "i8"), ("i16", "u16")])
def test_integers_drop_high_bits(source, target):
    limits = np.iinfo(TYPES[source][1])
    x = np.array([limits.min, limits.max, -1 if limits.min else 255, 130, 77], TYPES[source][1])
    data = model_of([helper.make_node("Cast", ["x"], ["y"], to=TYPES[target][0])], {"x": (source, [5])}, {"y": target})
    np.testing.assert_array_equal(pathweave.load(data)(x), run_reference(data, {"x": x})[0])


def test_cast_like_rounds_to_the_type_of_a_value_that_stands_for_half():
    nodes = [helper.make_node("Relu", ["h"], ["r"]), helper.make_node("CastLike", ["x", "r"], ["c"]),
             helper.make_node("Cast", ["c"], ["y"], to=TensorProto.FLOAT)]
    data = model_of(nodes, {"x": ("f32", [3]), "h": ("f16", [1])}, {"y": "f32"})
    x = np.array([1.0005, 123456.7, -3.3], np.float32)
    np.testing.assert_array_equal(pathweave.load(data)({"x": x, "h": np.ones(1, np.float16)}),
                                  run_reference(data, {"x": x, "h": np.ones(1, np.float16)})[0])


# ---- the border ------------------------------------------------------------------------------------------------------

@pytest.fixture(params=["f16", "bf16"])
def small(request):
    """(name, NumPy type, serialised Conv and Relu of that type, float64 weights)."""
    dtype = TYPES[request.param][1]
    w = (np.random.default_rng(0).standard_normal((16, 3, 3, 3)) / 5).astype(dtype)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["y"])]
    data = model_of(nodes, {"x": (request.param, ["N", 3, 8, 8])}, {"y": request.param}, {"w": (request.param, w)})
    return request.param, dtype, data, w.astype(np.float64)


def _conv_relu(x, w):
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    y = sum(np.einsum("ncij,oc->noij", padded[:, :, a:a + 8, b:b + 8], w[:, :, a, b]) for a in range(3) for b in range(3))
    return np.maximum(y, 0)


def test_half_inputs_and_outputs(small):
    name, dtype, data, w = small
    model = pathweave.load(data)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(dtype)
    assert str(model.inputs["x"]) == f"{name}[N,3,8,8]" and model.outputs["y"].dtype == name
    expected = _conv_relu(x, w)
    session = model.session({"x": x.shape})
    out = np.empty(expected.shape, dtype)
    for found in (model(x), model(x=x), model({"x": x}), model.run(x)["y"], session(x), session.run({"x": x})["y"],
                  model(x, out=out), out, evaluate(model.main, {"x": x})["y"]):
        assert found.dtype == dtype and found.shape == expected.shape
        np.testing.assert_allclose(found.astype(np.float64), expected, rtol=1.01 * EPSILON[name], atol=1e-6)
    assert any("rounded" in note for note in model.notes)


def test_half_inputs_take_float32_rounded_and_nothing_else(small):
    name, dtype, data, w = small
    model = pathweave.load(data)
    x = np.random.default_rng(2).standard_normal((1, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(model(x).astype(np.float32), model(x.astype(dtype)).astype(np.float32))
    for other in (np.float64, np.int32):
        with pytest.raises(DTypeError, match=np.dtype(dtype).name):
            model(x.astype(other))
        with pytest.raises(DTypeError, match=np.dtype(dtype).name):
            model.session({"x": x.shape})(x.astype(other))
    single = pathweave.load(model_of([helper.make_node("Relu", ["x"], ["y"])], {"x": ("f32", [4])}, {"y": "f32"}))
    with pytest.raises(DTypeError, match="float32"):
        single(np.ones(4, dtype))


def test_bfloat16_as_bits():
    data = model_of([helper.make_node("Neg", ["x"], ["y"])], {"x": ("bf16", [3])}, {"y": "bf16"})
    x = np.array([1, -2.5, 0.15625], ml_dtypes.bfloat16)
    out = np.empty(3, np.uint16)
    pathweave.load(data)(x.view(np.uint16), out=out)
    np.testing.assert_array_equal(out.view(ml_dtypes.bfloat16).astype(np.float32), -x.astype(np.float32))


@pytest.mark.parametrize("name", ["f16", "bf16", "f64"])
def test_inputs_and_constants_that_are_outputs(name):
    dtype = TYPES[name][1]
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Relu", ["x"], ["z"])]
    data = model_of(nodes, {"x": (name, [2, 2])}, {"y": name, "c": name, "z": name, "x": name},
                    {"c": (name, np.array([0.3, 1.5]))})
    x = np.array([[1.5, -2], [0.3, 4]]).astype(dtype)
    found = pathweave.load(data)(x)
    for value, expected in (("y", x), ("c", np.array([0.3, 1.5]).astype(dtype)), ("z", np.maximum(x, dtype.type(0))), ("x", x)):
        assert found[value].dtype == dtype, value
        np.testing.assert_array_equal(found[value], expected)


# ---- every operator --------------------------------------------------------------------------------------------------

def _cases():
    """One case per operator and kind of operands that has a float32 input, at its newest opset."""
    seen = {}
    for case in CASES:
        floats = [o for o in case.operands if getattr(o, "array", o) is not None
                  and not isinstance(o, K) and o.dtype == np.float32]
        if floats and case.op not in ("Upsample", "IsInf", "IsNaN") and not case.domain:
            seen.setdefault((case.op, tuple(sorted(case.attrs))), case)
    return list(seen.values())


#: Inputs that stay float32 whatever the type of the values.
_ALWAYS_SINGLE = {"Resize": (1, 2)}
CONVERTED = _cases()


def _converted(case, dtype):
    """The case's node with its float32 operands in another type: (serialised, feeds, output names)."""
    inputs, constants, names = {}, {}, []
    for i, operand in enumerate(case.operands):
        names.append("" if operand is None else f"in{i}")
        array = operand.array if isinstance(operand, K) else operand
        if array is None:
            continue
        if array.dtype == np.float32 and i not in _ALWAYS_SINGLE.get(case.op, ()):
            array = array.astype(dtype)
        (constants if isinstance(operand, K) else inputs)[f"in{i}"] = array
    outputs = ["y"] if case.outputs == 1 else [f"y{i}" for i in range(case.outputs)]
    return [helper.make_node(case.op, names, outputs, **case.attrs)], inputs, constants, outputs


def _id(case):
    return f"{case.op}-{zlib.crc32(repr(sorted(case.attrs)).encode()) % 1000}"


@pytest.mark.parametrize("case", CONVERTED, ids=_id)
def test_operator_in_float16(case):
    """Computed in float32 on the same numbers by ONNX Runtime, then rounded."""
    opset = case.opsets[-1]
    nodes, inputs, constants, outputs = _converted(case, np.float16)
    data = build(nodes, inputs, constants, outputs, opset)
    single = {n: a.astype(np.float32) if a.dtype == np.float16 else a for n, a in inputs.items()}
    fixed = {n: a.astype(np.float32) if a.dtype == np.float16 else a for n, a in constants.items()}
    expected = run_reference(build(nodes, single, fixed, outputs, opset), single)
    found = pathweave.load(data).run(inputs)
    for name, wanted in zip(outputs, expected):
        if wanted.dtype == np.float32:
            assert found[name].dtype == np.float16, name
            with np.errstate(over="ignore"):
                assert_same(found[name].astype(np.float32), wanted.astype(np.float16).astype(np.float32), 2e-3, name)
        else:
            assert_same(found[name], wanted, 0, name)


@pytest.mark.parametrize("case", CONVERTED, ids=_id)
def test_operator_in_float64(case):
    """As ONNX Runtime in float64, or where it has no kernel as its float32 result, and then finer than float32 is."""
    opset = case.opsets[-1]
    nodes, inputs, constants, outputs = _converted(case, np.float64)
    data = build(nodes, inputs, constants, outputs, opset)
    found = pathweave.load(data).run(inputs)
    try:
        expected, tolerance = run_reference(data, inputs), 1e-6  # some of its kernels go through float32 inside
    except Exception:  # noqa: BLE001  onnxruntime has an exception class per code
        _, single, fixed, _ = _converted(case, np.float32)
        expected, tolerance = run_reference(build(nodes, single, fixed, outputs, opset), single), max(case.tolerance, 1e-5)
    for name, wanted in zip(outputs, expected):
        if wanted.dtype.kind == "f":
            assert found[name].dtype == np.float64, name
            assert_same(found[name], wanted.astype(np.float64), tolerance, name)
        else:
            assert_same(found[name], wanted, 0, name)


@pytest.mark.parametrize("accuracy", ["strict", "f32", "reduced", "quantised"])
def test_half_nets_tune_in_every_class(small, accuracy, tmp_path):
    name, dtype, data, w = small
    model = pathweave.load(data, threads=1)
    x = np.random.default_rng(3).standard_normal((1, 3, 8, 8)).astype(dtype)
    if accuracy == "quantised":
        model.calibrate([x])
    tuned = pathweave.tune(model, accuracy=accuracy, threads=1, budget_s=0.5, store=tmp_path / "profile.db", progress=False)
    found, expected = tuned(x), _conv_relu(x, w)
    assert found.dtype == dtype
    error = np.sqrt(np.mean((found.astype(np.float64) - expected) ** 2) / np.mean(expected**2))
    assert error < {"quantised": 0.05, "reduced": 0.01}.get(accuracy, 0) + EPSILON[name]


def test_double_net_tunes(tmp_path):
    w = np.random.default_rng(0).standard_normal((5, 3))
    model = pathweave.load(model_of([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": ("f64", [2, 5])}, {"y": "f64"},
                                    {"w": ("f64", w)}), threads=1)
    tuned = pathweave.tune(model, accuracy="reduced", threads=1, budget_s=0.3, store=tmp_path / "profile.db", progress=False)
    x = np.random.default_rng(1).standard_normal((2, 5))
    np.testing.assert_allclose(tuned(x), x @ w, rtol=1e-14)


def test_onnx_runtime_and_numpy_are_what_these_tests_think():
    """The casts above compare with Fractions; this says that ONNX Runtime rounds float32 in the same way."""
    data = model_of([helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT16)], {"x": ("f32", [2])}, {"y": "f16"})
    found = onnxruntime.InferenceSession(data).run(None, {"x": np.array([123456.7, 1 + 2.0**-11], np.float32)})[0]
    np.testing.assert_array_equal(found, np.array([np.inf, 1], np.float16))
    assert numpy_helper.from_array(found).data_type == TensorProto.FLOAT16
