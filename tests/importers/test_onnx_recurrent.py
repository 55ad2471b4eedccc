"""RNN, GRU, LSTM and DynamicQuantizeLSTM against ONNX Runtime: every direction, activation, attribute and optional input."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from onnx import helper
from onnx_models import assert_same, build

import pathweave as pw
from pathweave.errors import ModelError, ShapeError, UnsupportedOperatorError
from pathweave.importers.onnx import FIRST_OPSET

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, FEATURES, HIDDEN = 7, 3, 5, 6
LENGTHS = np.array([7, 2, 4], np.int32)
FUNCTIONS = ["Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu", "ScaledTanh", "HardSigmoid", "Elu",
             "Softsign", "Softplus"]


def operands(op: str, *, directions: int = 1, given: str = "", seed: int = 0, steps: int = STEPS, dtype=np.float32) -> list:
    """x, w, r, and what `given` names: b, l(engths), h, c, p; None where an operator has more inputs."""
    rng, rows = np.random.default_rng(seed), GATES[op] * HIDDEN

    def f(*shape):
        return (rng.standard_normal(shape) * 0.7).astype(dtype)
    optional = {"b": f(directions, 2 * rows), "l": np.minimum(LENGTHS, steps).astype(np.int32),
                "h": f(directions, BATCH, HIDDEN)}
    if op == "LSTM":
        optional |= {"c": f(directions, BATCH, HIDDEN), "p": f(directions, 3 * HIDDEN)}
    return [f(steps, BATCH, FEATURES), f(directions, rows, FEATURES), f(directions, rows, HIDDEN),
            *[v if k in given else None for k, v in optional.items()]]


def model(op: str, inputs: list, *, opset: int = 17, symbols: bool = False, constant: bool = True, count: int = 0,
          domain: str = "", **attrs) -> bytes:
    """A model of one node; weights are constants, or inputs like others."""
    names = ["" if a is None else f"in{i}" for i, a in enumerate(inputs)]
    while not names[-1]:
        names.pop()
    outputs = [f"y{i}" for i in range(count or (3 if "LSTM" in op else 2))]
    values = {n: a for n, a in zip(names, inputs) if n}
    fixed = {n for i, n in enumerate(names) if n and constant and (i in (1, 2, 3) or i > 6)}
    if symbols:
        values["in0"] = (values["in0"], ["T", "N", FEATURES])
        values |= {n: (values[n], [values[n].shape[0], "N", HIDDEN]) for n in ("in5", "in6") if n in values}
        values |= {"in4": (values["in4"], ["N"])} if "in4" in values else {}
    node = helper.make_node(op, names, outputs, hidden_size=HIDDEN, domain=domain, **attrs)
    return build([node], {n: v for n, v in values.items() if n not in fixed}, {n: values[n] for n in fixed}, outputs, opset,
                 domains=[domain] if domain else ())


def feeds(inputs: list, constant: bool = True) -> dict:
    """The inputs of `model`."""
    return {f"in{i}": a for i, a in enumerate(inputs) if a is not None and not (constant and (i in (1, 2, 3) or i > 6))}


def run_reference(built: bytes, given: dict) -> list:
    """Outputs of ONNX Runtime on one thread: it rounds h to 8 bits for each thread's sequences by themselves."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return onnxruntime.InferenceSession(built, options, providers=["CPUExecutionProvider"]).run(None, given)


def agrees(op: str, inputs: list, *, constant: bool = True, tolerance: float = 2e-6, **attrs) -> None:
    """The model's outputs are those of ONNX Runtime."""
    built, given = model(op, inputs, constant=constant, **attrs), feeds(inputs, constant)
    found = pw.load(built).run(given)
    for (name, y), expected in zip(found.items(), run_reference(built, given), strict=True):
        assert_same(np.asarray(y), expected, tolerance, f"{op} {attrs} {name}")


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", GATES)
def test_directions_lengths_and_states(op, direction):
    directions = 2 if direction == "bidirectional" else 1
    for given in ("", "b", "bl", "bh", "blh", "blhc", "blhcp", "c", "p"):
        agrees(op, operands(op, directions=directions, given=given), direction=direction)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize("op", GATES)
def test_weights_are_constants_or_values(op, constant):
    agrees(op, operands(op, given="blhcp"), constant=constant)


@pytest.mark.parametrize("opset", [v for v in (1, 3, 7, 14, 22) if v >= FIRST_OPSET])
@pytest.mark.parametrize("op", GATES)
def test_opsets(op, opset):
    attrs = {"output_sequence": 1} if opset < 7 else {}
    inputs = operands(op, given="bh")
    built = model(op, inputs, opset=opset, **attrs)
    expected = run_reference(model(op, inputs, opset=17), feeds(inputs))
    for y, e in zip(pw.load(built).run(feeds(inputs)).values(), expected, strict=True):
        assert_same(np.asarray(y), e, 2e-6, f"{op} {opset}")


#: Where ONNX Runtime's defaults are 0, and those of ONNX's operators are not.
_OTHER_DEFAULTS = ("Affine", "ScaledTanh", "ThresholdedRelu")


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("op", GATES)
def test_every_activation(op, function):
    usual = {"RNN": ["Tanh"], "GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"]}[op]
    for place in range(len(usual)):
        names = [function if i == place else v for i, v in enumerate(usual)]
        inputs = operands(op, given="b", steps=2)  # few, since without bounds numbers grow from step to step
        if function not in _OTHER_DEFAULTS:
            agrees(op, inputs, activations=names)
        bounds = {} if op == "LSTM" else {"clip": 0.8}
        agrees(op, inputs, activations=names, activation_alpha=[0.3], activation_beta=[0.25], **bounds)


@pytest.mark.parametrize(("function", "expected"), [
    ("Affine", [-2.0, 0.5, 1.0, 3.0]), ("ThresholdedRelu", [0.0, 0.0, 1.0, 3.0]),
    ("ScaledTanh", np.tanh([-2.0, 0.5, 1.0, 3.0]))])
def test_defaults_are_those_of_the_operators(function, expected):
    """And `thresholded_relu` passes alpha itself on, as the text of these layers says."""
    x, one, none = np.float32([-2.0, 0.5, 1.0, 3.0]), np.ones((1, 1, 1), np.float32), np.zeros((1, 1, 1), np.float32)
    nodes = [helper.make_node("RNN", ["in0", "w", "r"], ["", "y"], activations=[function])]
    found = pw.load(build(nodes, {"in0": x.reshape(1, 4, 1)}, {"w": one, "r": none})).run({"in0": x.reshape(1, 4, 1)})
    np.testing.assert_allclose(np.asarray(found["y"]).ravel(), expected, rtol=1e-6)


def _lstm_by_the_text(x, w, r, b, h, c, p, clip, coupled):
    """The equations of ONNX's text, unit by unit, in float64; every argument of an activation is clipped."""
    def bounded(v):
        return max(-clip, min(clip, float(v)))

    def sigmoid(v):
        return 1 / (1 + np.exp(-bounded(v)))
    n, result = h.shape[1], []
    for xt in x.astype(np.float64):
        before = [h.copy(), c.copy()]
        for row in range(len(xt)):
            of = [w[k] @ xt[row] + r[k] @ before[0][row] + b[k] + b[4 * n + k] for k in range(4 * n)]
            for u in range(n):
                was = before[1][row, u]
                i = sigmoid(of[u] + p[u] * was)
                f = 1 - i if coupled else sigmoid(of[2 * n + u] + p[2 * n + u] * was)
                c[row, u] = f * was + i * np.tanh(bounded(of[3 * n + u]))
                h[row, u] = sigmoid(of[n + u] + p[n + u] * c[row, u]) * np.tanh(bounded(c[row, u]))
        result.append(h.copy())
    return [np.array(result)[:, None], h[None], c[None]]


@pytest.mark.parametrize("coupled", [0, 1])
def test_clip_of_an_lstm_is_that_of_the_text(coupled):
    """ONNX Runtime does not clip the argument of the third activation."""
    inputs = operands("LSTM", given="bhcp")
    x, *others = [a.astype(np.float64) for a in inputs if a is not None]
    w, r, b, h, c, p = (a[0] for a in others)
    expected = _lstm_by_the_text(x, w, r, b, h.copy(), c.copy(), p, 0.4, coupled)
    found = pw.load(model("LSTM", inputs, clip=0.4, input_forget=coupled)).run(feeds(inputs))
    for y, e in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(np.asarray(y), e, rtol=1e-5, atol=1e-6)


def test_alpha_and_beta_go_to_the_functions_that_have_them():
    names = ["Sigmoid", "LeakyRelu", "HardSigmoid", "Affine", "Tanh", "ScaledTanh"]
    agrees("LSTM", operands("LSTM", directions=2, given="b", steps=3), direction="bidirectional", activations=names,
           activation_alpha=[0.1, 0.4, 0.9, 0.8], activation_beta=[0.3, 0.05, 0.7])


@pytest.mark.parametrize("clip", [None, 0.4])
def test_input_forget_and_linear_before_reset(clip):
    bounds = {} if clip is None else {"clip": clip}
    agrees("LSTM", operands("LSTM", given="bhc"), input_forget=1)
    agrees("GRU", operands("GRU", given="bh"), linear_before_reset=1, **bounds)
    agrees("GRU", operands("GRU", directions=2, given="blh"), linear_before_reset=1, direction="bidirectional", **bounds)


@pytest.mark.parametrize("op", GATES)
def test_batch_first_is_the_transposed_layer(op):
    inputs = operands(op, directions=2, given="blhc")
    plain = pw.load(model(op, inputs, direction="bidirectional")).run(feeds(inputs))
    swapped = [a.swapaxes(0, 1).copy() if i in (0, 5, 6) and a is not None else a for i, a in enumerate(inputs)]
    found = pw.load(model(op, swapped, direction="bidirectional", layout=1)).run(feeds(swapped))
    for i, (y, e) in enumerate(zip(found.values(), plain.values(), strict=True)):
        e = np.asarray(e)
        np.testing.assert_array_equal(np.asarray(y), e.transpose(2, 0, 1, 3) if i == 0 else e.swapaxes(0, 1))


@pytest.mark.parametrize("op", GATES)
def test_one_plan_for_all_lengths_and_batches(op):
    inputs = operands(op, directions=2, given="blhc", steps=9)
    built = model(op, inputs, symbols=True, direction="bidirectional")
    loaded = pw.load(built)
    for steps, batch in ((9, 3), (1, 1), (4, 2), (17, 3), (2, 1), (9, 3)):
        rng = np.random.default_rng(steps)
        own = [rng.standard_normal((steps, batch, FEATURES)).astype(np.float32), *inputs[1:4],
               rng.integers(1, steps + 1, batch).astype(np.int32),
               *[a if a is None else a[:, :batch].copy() for a in inputs[5:]]]
        for y, e in zip(loaded.run(feeds(own)).values(), run_reference(built, feeds(own)), strict=True):
            assert_same(np.asarray(y), e, 2e-6, f"{op} {steps} {batch}")


def test_sequences_without_steps_leave_zeros():
    inputs = operands("LSTM", given="blhc")
    inputs[4] = np.array([3, 0, 7], np.int32)
    agrees("LSTM", inputs)


@pytest.mark.parametrize("op", GATES)
def test_no_steps_and_no_sequences(op):
    """ONNX Runtime ends the process on an input without steps."""
    inputs = operands(op, given="bhc")
    loaded = pw.load(model(op, inputs, symbols=True))
    y, *last = (np.asarray(v) for v in loaded.run(feeds([inputs[0][:0], *inputs[1:]])).values())
    assert y.shape == (0, 1, BATCH, HIDDEN) and all(s.shape == (1, BATCH, HIDDEN) and not s.any() for s in last)
    none = [a if a is None or i not in (0, 5, 6) else a[:, :0] for i, a in enumerate(inputs)]
    assert np.asarray(loaded.run(feeds(none))["y0"]).shape == (STEPS, 1, 0, HIDDEN)


@pytest.mark.parametrize(("op", "dtype", "routine"), [
    ("LSTM", np.float32, "lstm/packed:f32"), ("GRU", np.float32, "gru/packed:f32"), ("RNN", np.float32, "rnn/packed:f32"),
    ("LSTM", np.float64, "lstm/steps:any")])
def test_native_routines_are_the_default(op, dtype, routine):
    loaded = pw.load(model(op, operands(op, given="blh", dtype=dtype), direction="forward"))
    (layer,) = pw.default_route(loaded).layers.values()
    assert layer.routine.startswith(routine)


def test_the_native_routine_of_8_bits_is_the_default():
    inputs = quantised(1, 3, signed=True, columns=False, given="b")
    (layer,) = pw.default_route(pw.load(model("DynamicQuantizeLSTM", inputs, domain="com.microsoft"))).layers.values()
    assert layer.routine.startswith("dynamic_quantize_lstm/packed:f32")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_outputs_that_are_absent(count):
    agrees("LSTM", operands("LSTM", given="b"), count=count)


def test_double():
    inputs = operands("LSTM", directions=2, given="blhcp", dtype=np.float64)
    built = model("LSTM", inputs, direction="bidirectional")
    single = [a.astype(np.float32) if a is not None and a.dtype == np.float64 else a for a in inputs]
    expected = run_reference(model("LSTM", single, direction="bidirectional"), feeds(single))
    for y, e in zip(pw.load(built).run(feeds(inputs)).values(), expected, strict=True):
        assert np.asarray(y).dtype == np.float64
        np.testing.assert_allclose(np.asarray(y), e, rtol=1e-5, atol=1e-5)


def quantised(directions: int, seed: int, *, signed: bool, columns: bool, given: str) -> list:
    """The inputs of a DynamicQuantizeLSTM."""
    rng, inputs = np.random.default_rng(seed), operands("LSTM", directions=directions, given=given, seed=seed)
    kind = np.int8 if signed else np.uint8
    scales = []
    for i in (1, 2):
        shape = (directions, inputs[i].shape[2], 4 * HIDDEN)
        # Without VNNI, ONNX Runtime cuts sums of two products with signed weights to 16 bits: these have none to cut.
        low, high = (-64, 64) if signed else (0, 256)
        inputs[i] = rng.integers(low, high, shape).astype(kind)
        of = (directions, 4 * HIDDEN) if columns else (directions,)
        zero = rng.integers(-9, 9, of) + (0 if signed else 128)
        scales += [rng.uniform(0.004, 0.01, of).astype(np.float32),
                   (np.zeros(of) if columns and signed else zero).astype(kind)]
    return [*inputs, *scales]


@pytest.mark.parametrize("given", ["b", "blhc", "bp"])
@pytest.mark.parametrize(("signed", "columns"), [(True, False), (True, True), (False, False)])
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_weights_of_8_bits(direction, signed, columns, given):
    inputs = quantised(2 if direction == "bidirectional" else 1, 3, signed=signed, columns=columns, given=given)
    agrees("DynamicQuantizeLSTM", inputs, direction=direction, domain="com.microsoft", tolerance=1e-5)


@pytest.mark.parametrize(("attrs", "error", "message"), [
    ({"activations": ["Tanh", "Tanh"]}, ModelError, "'activations' names 2; expected 3"),
    ({"activations": ["Tanh", "Swish", "Tanh"]}, UnsupportedOperatorError, "Swish"),
    ({"direction": "backward"}, ModelError, "'direction' is 'backward'"), ({"clip": -1.0}, ModelError, "'clip' is -1.0"),
    ({"layout": 2}, ShapeError, "layout")])
def test_refused(attrs, error, message):
    inputs = operands("LSTM")
    with pytest.raises(error, match=message):
        pw.load(model("LSTM", inputs, **attrs)).run(feeds(inputs))


def test_lengths_beyond_the_steps_are_an_error():
    inputs = operands("GRU", given="l")
    inputs[4] = np.array([3, 9, 1], np.int32)
    with pytest.raises(pw.Error):
        pw.load(model("GRU", inputs)).run(feeds(inputs))


def test_hidden_size_is_that_of_the_weights():
    inputs = operands("RNN")
    inputs[2] = np.zeros((1, HIDDEN + 1, HIDDEN + 1), np.float32)
    with pytest.raises(ModelError, match="hidden_size"):
        pw.load(model("RNN", inputs))
