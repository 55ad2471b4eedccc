"""Recurrent layers."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from pathweave.layers import kind_of

_NAMES = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign", "softplus": "Softplus",
          "affine": "Affine", "leaky_relu": "LeakyRelu", "thresholded_relu": "ThresholdedRelu", "scaled_tanh": "ScaledTanh",
          "hard_sigmoid": "HardSigmoid", "elu": "Elu"}
_ALPHA = ("affine", "leaky_relu", "thresholded_relu", "scaled_tanh", "hard_sigmoid", "elu")
_BETA = ("affine", "scaled_tanh", "hard_sigmoid")


def _recurrent(operator, axis, states, domain=""):
    """ONNX Runtime computes in f32 with the steps first: what else a case has is cast and transposed around the operator."""
    def build(g, case, a, names):
        wide, first = case.inputs[0].dtype == "f64", a["layout"]
        names = list(names)
        for i, name in enumerate(names):
            if name and wide and case.inputs[i].dtype == "f64":
                names[i] = g.node("Cast", [name], to=TensorProto.FLOAT)[0]
            if name and first and i in (0, 5, 6):
                names[i] = g.node("Transpose", [names[i]], perm=[1, 0, 2])[0]
        twice = 2 if a["direction"] == "bidirectional" and len(a["activations"]) == len(kind_of(case.kind).defaults) else 1
        words, alphas, betas = (list(a[k]) * twice for k in ("activations", "alpha", "beta"))
        attrs = {"activations": [_NAMES[w] for w in words], "direction": a["direction"],
                 "hidden_size": case.inputs[2].shape[axis]}
        alpha = [v for w, v in zip(words, alphas, strict=True) if w in _ALPHA]
        beta = [v for w, v in zip(words, betas, strict=True) if w in _BETA]
        attrs |= ({"activation_alpha": alpha} if alpha else {}) | ({"activation_beta": beta} if beta else {})
        attrs |= {k: a[k] for k in ("linear_before_reset", "input_forget") if k in a}
        attrs |= {"clip": a["clip"]} if a["clip"] else {}
        results = g.node(operator, names, 1 + states, domain=domain, **attrs)
        if first:
            results = [g.node("Transpose", [y], perm=[1, 0, 2] if i else [2, 0, 1, 3])[0] for i, y in enumerate(results)]
        return [g.node("Cast", [y], to=TensorProto.DOUBLE)[0] for y in results] if wide else results
    return build


def _unrolled(g, case, a, names):
    """The equations of an LSTM step by step: ONNX Runtime does not clip the argument of the last activation."""
    (steps, batch, _), hidden = case.inputs[0].shape, case.inputs[2].shape[2]
    wide = case.inputs[0].dtype == "f64"
    number = np.float64 if wide else np.float32
    names = [*names, *[""] * (8 - len(names))]

    def one(operator, *inputs, **attrs):
        return g.node(operator, list(inputs), **attrs)[0]

    def part(value, first, last, axis):
        return one("Slice", value, *(g.array([v]) for v in (first, last, axis)))

    def of(value, d):
        return one("Squeeze", part(value, d, d + 1, 0), g.array([0]))

    def activated(operator, value):
        return one(operator, one("Clip", value, g.array(-a["clip"], number), g.array(a["clip"], number)))
    sequences = []
    for d in range(case.inputs[1].shape[0]):
        w, r = (one("Transpose", of(names[i], d), perm=[1, 0]) for i in (1, 2))
        bias = one("Add", *(part(of(names[3], d), k * 4 * hidden, (k + 1) * 4 * hidden, 0) for k in (0, 1)))
        p = of(names[7], d) if names[7] else g.array(np.zeros(3 * hidden), number)
        h, c = (of(names[i], d) if names[i] else g.array(np.zeros((batch, hidden)), number) for i in (5, 6))
        done = {}
        for t in reversed(range(steps)) if d or a["direction"] == "reverse" else range(steps):
            x = one("MatMul", of(names[0], t), w)
            gates = one("Add", one("Add", x, one("MatMul", h, r)), bias)
            i, o, f, n = (part(gates, k * hidden, (k + 1) * hidden, 1) for k in range(4))
            pi, po, pf = (part(p, k * hidden, (k + 1) * hidden, 0) for k in range(3))
            i, f = (activated("Sigmoid", one("Add", v, one("Mul", q, c))) for v, q in ((i, pi), (f, pf)))
            c = one("Add", one("Mul", f, c), one("Mul", i, activated("Tanh", n)))
            h = one("Mul", activated("Sigmoid", one("Add", o, one("Mul", po, c))), activated("Tanh", c))
            done[t] = h
        sequences.append((one("Concat", *(one("Unsqueeze", done[t], g.array([0])) for t in range(steps)), axis=0), h, c))
    return [one("Concat", *(one("Unsqueeze", s[k], g.array([axis])) for s in sequences), axis=axis)
            for k, axis in ((0, 1), (1, 0), (2, 0))]


def _lstm(g, case, a, names):
    usual = not a["layout"] and not a["input_forget"] and a["activations"] == ("sigmoid", "tanh", "tanh")
    if a["clip"] and usual and (len(names) < 5 or not names[4]):
        return _unrolled(g, case, a, names)
    assert not a["clip"], "a case that this oracle is not written for"
    return _recurrent("LSTM", 2, 2)(g, case, a, names)


def _of_bytes(g, case, a, names):
    """Signed weights and their zero points as unsigned ones, 128 more each: without VNNI, ONNX Runtime cuts sums of two
    products with signed weights to 16 bits."""
    names = list(names)
    for i, spec in enumerate(case.inputs):
        if spec is not None and spec.dtype == "i8":
            more = g.node("Add", [g.node("Cast", [names[i]], to=TensorProto.INT32)[0], g.array(128, np.int32)])
            names[i] = g.node("Cast", more, to=TensorProto.UINT8)[0]
    return _recurrent("DynamicQuantizeLSTM", 1, 2, "com.microsoft")(g, case, a, names)


OPERATORS = {"rnn": _recurrent("RNN", 2, 1), "gru": _recurrent("GRU", 2, 1), "lstm": _lstm,
             "dynamic_quantize_lstm": _of_bytes}
