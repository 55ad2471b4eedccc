"""Recurrent layers: rnn, gru, lstm, and dynamic_quantize_lstm, whose weights are 8 bits wide."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.net import TensorSpec
from . import LayerKind, Outline, kind_of
from ._common import (
    FLOATS,
    STEP_EFFORT,
    as_type,
    check_dtype,
    check_rank,
    check_same_dtype,
    check_shape,
    integers,
    numbers,
    take,
    widen,
    word,
)

DIRECTIONS = ("forward", "reverse", "bidirectional")

#: What a gate may be activated by: word -> (alpha, beta) where a model gives none, as the ONNX operators have them. A number
#: that the function does not have is 0.
ACTIVATIONS = {"relu": (0.0, 0.0), "tanh": (0.0, 0.0), "sigmoid": (0.0, 0.0), "softsign": (0.0, 0.0), "softplus": (0.0, 0.0),
               "affine": (1.0, 0.0), "leaky_relu": (float(np.float32(0.01)), 0.0), "thresholded_relu": (1.0, 0.0),
               "scaled_tanh": (1.0, 1.0), "hard_sigmoid": (float(np.float32(0.2)), 0.5), "elu": (1.0, 0.0)}

_Gate = Callable[[np.ndarray], np.ndarray]


def _activation(name: str, alpha: float, beta: float) -> _Gate:
    """The function of an activation; those that are layers have their meaning, the others that of ONNX's text."""
    if name == "affine":
        return lambda x: as_type(alpha * x + beta, x.dtype)
    if name == "scaled_tanh":
        return lambda x: as_type(alpha * np.tanh(beta * x), x.dtype)
    if name == "thresholded_relu":  # here, and not in the operator of this name, alpha itself is passed on
        return lambda x: np.where((x >= alpha) | np.isnan(x), x, x.dtype.type(0))
    kind = kind_of(name)
    attrs = kind.complete(dict(zip(kind.attributes, (alpha, beta))))
    return lambda x: np.asarray(kind.meaning(attrs, [x])[0])


class _Recurrent(LayerKind):
    """One layer over sequences: inputs x, w, r, b?, lengths?, initial_h?; outputs y and the last hidden state.

    x[T,N,I], w[D,G*H,I], r[D,G*H,H], b[D,2*G*H] (of w, then of r), lengths[N] of i32, initial_h[D,N,H]; y[T,D,N,H],
    y_h[D,N,H]. T steps, N sequences, I inputs, H hidden units, G gates, D directions. With layout 1 the sequences come first:
    x[N,T,I], initial_h[N,D,H], y[N,T,D,H], y_h[N,D,H].

    Attributes: `activations`, with `alpha` and `beta`, one for each activated gate (of each direction, or the same for both);
    `clip` bounds what is activated, 0: it does not. Behind the length of a sequence y is 0, and the last states are those of
    its last step, 0 where it has none; in reverse a sequence begins at its own end.

    Source: ONNX, opset 22; lengths as in ONNX Runtime.
    """

    gates = 0
    inputs_most = 6
    zero_states: tuple[int, ...] = (5,)
    defaults: tuple[str, ...] = ()
    clipped = 3  # of the activations, the first so many

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        return None  # outputs of different ranks

    def _checked(self, attrs: Mapping[str, Any]) -> int:
        """The number of directions. Raises ModelError for attributes that do not fit."""
        directions = 1 + (word("direction", attrs["direction"], DIRECTIONS) == "bidirectional")
        (clip,) = numbers(attrs, "clip")
        (layout,) = integers("layout", attrs["layout"], 1, 0)
        count = len(self.defaults)
        for name in ("activations", "alpha", "beta"):
            values = attrs[name]
            if not isinstance(values, tuple) or len(values) not in (count, count * directions):
                raise ModelError(f"attribute {name}={values!r}: expected {count} or {count * directions} values")
        for name in attrs["activations"]:
            word("activations", name, tuple(ACTIVATIONS))
        if any(isinstance(v, str) for v in (*attrs["alpha"], *attrs["beta"])) or not clip >= 0 or layout > 1:
            raise ModelError(f"attributes alpha={attrs['alpha']!r}, beta={attrs['beta']!r}, clip={clip!r}, layout={layout!r}: "
                             f"expected numbers, a clip of at least 0 and a layout of 0 or 1")
        return directions

    def _functions(self, attrs: Mapping[str, Any], direction: int) -> list[_Gate]:
        """What activates the gates of one direction, what they are bounded to included."""
        count, clip = len(self.defaults), float(attrs["clip"])

        def own(name: str) -> tuple[Any, ...]:
            return attrs[name][-count:] if direction else attrs[name][:count]

        def bounded(f: _Gate) -> _Gate:
            return (lambda x: f(np.clip(x, -clip, clip))) if clip else f
        functions = [_activation(*of) for of in zip(own("activations"), own("alpha"), own("beta"))]
        return [bounded(f) if i < self.clipped else f for i, f in enumerate(functions)]

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        directions = self._checked(attrs)
        x, w, r, b, lengths, h, *rest = take(inputs, 3, self.inputs_most)
        check_dtype("x", x, FLOATS)
        check_same_dtype(x, w, r, b, h, *rest)
        for name, spec in (("x", x), ("w", w), ("r", r)):
            check_rank(name, spec, 3)
        return self._outputs(attrs, directions, x, r.dims[2], inputs)

    def _outputs(self, attrs: Mapping[str, Any], directions: int, x: TensorSpec, hidden: Any,
                 inputs: list[Any]) -> list[TensorSpec]:
        _, w, r, b, lengths, *states = take(inputs, 3, self.inputs_most)
        steps, batch, features = x.dims if not attrs["layout"] else (x.dims[1], x.dims[0], x.dims[2])
        rows = self.gates * hidden
        self._check_weights(w, r, (directions, rows, features), (directions, rows, hidden))
        check_shape("b", b, (directions, 2 * rows))
        if lengths is not None:
            check_dtype("lengths", lengths, frozenset(("i32", "i64")))
            check_shape("lengths", lengths, (batch,))
        state = (batch, directions, hidden) if attrs["layout"] else (directions, batch, hidden)
        for name, spec in zip(("initial_h", "initial_c"), states):
            check_shape(name, spec, state)
        if len(states) > 2:
            check_shape("p", states[2], (directions, 3 * hidden))
        y = (batch, steps, directions, hidden) if attrs["layout"] else (steps, directions, batch, hidden)
        return [TensorSpec(x.dtype, y), *[TensorSpec(x.dtype, state)] * min(2, len(states))]

    def _check_weights(self, w: TensorSpec, r: TensorSpec, of_w: tuple[Any, ...], of_r: tuple[Any, ...]) -> None:
        check_shape("w", w, of_w)
        check_shape("r", r, of_r)

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[0].shape[2] + inputs[2].shape[2]

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        x, w, r = (s.shape for s in inputs[:3])
        return x[0] * x[1] * (2 * (w[0] * w[1] * w[2] + r[0] * r[1] * r[2]) + 8 * r[0] * r[1])

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        steps = inputs[0].shape[0 if not attrs["layout"] else 1]
        return super().effort(attrs, inputs, outputs) + 2 * 8 * STEP_EFFORT * steps

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        directions, first = self._checked(attrs), attrs["layout"]
        x, w, r, b, lengths, *states = take(inputs, 3, self.inputs_most)
        given = x.dtype
        x, w, r, b, *states = widen(x, w, r, b, *states)
        if first:
            x = x.swapaxes(0, 1)
            states[:2] = [s if s is None else s.swapaxes(0, 1) for s in states[:2]]
        (steps, batch), hidden = x.shape[:2], self._hidden(r)
        time, valid = _order(lengths, steps, batch)
        y = np.zeros((steps, directions, batch, hidden), x.dtype)
        last: list[list[np.ndarray]] = []
        for d in range(directions):
            backward = d == 1 or attrs["direction"] == "reverse"
            start = [np.zeros((batch, hidden), x.dtype) if s is None else s[d] for s in states[:2]]
            bias = np.zeros(2 * self.gates * hidden, x.dtype) if b is None else b[d]
            step = self._cell(attrs, d, [a if a is None else a[d] for a in (w, r, *states[2:])], bias)
            last.append(_run(step, x, time[backward], valid, start, y[:, d]))
        ends = [np.stack(s, 1 if first else 0) for s in zip(*last)]
        return [as_type(a, given) for a in (y.transpose(2, 0, 1, 3) if first else y, *ends)]

    def _hidden(self, r: np.ndarray) -> int:
        return r.shape[2]

    def _cell(self, attrs: Mapping[str, Any], d: int, weights: list[Any], bias: np.ndarray) -> Any:
        """(products of all rows of x, states after one step from such products and the states before it) of a direction."""
        raise NotImplementedError


def _order(lengths: np.ndarray | None, steps: int, batch: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """At which time step s of each sequence is, forward and in reverse, and whether there is one: [T,N] each.

    Raises ShapeError for a length that no sequence has.
    """
    length = np.full(batch, steps) if lengths is None else np.asarray(lengths).astype(np.int64)
    if batch and not 0 <= length.min() <= length.max() <= steps:
        raise ShapeError(f"lengths of sequences are {length.min()} to {length.max()}; expected 0 to {steps}")
    forward = np.repeat(np.arange(steps)[:, None], batch, 1)
    valid = forward < length
    return (forward, np.where(valid, length - 1 - forward, forward)), valid


def _run(cell: Any, x: np.ndarray, time: np.ndarray, valid: np.ndarray, states: list[np.ndarray],
         y: np.ndarray) -> list[np.ndarray]:
    """The states after all steps; hidden ones go to y at their time."""
    products, step = cell
    longest = int(valid.any(1).sum())
    projected, rows = products(x[:longest]), np.arange(x.shape[1])
    last = [np.zeros_like(s) for s in states]
    for t, there in zip(time[:longest], valid):
        after = step(projected[t, rows], *states)
        # A sequence that has ended goes on from 0: its state still counts in the next step where h is rounded.
        states = [np.where(there[:, None], new, new.dtype.type(0)) for new in after]
        last = [np.where(there[:, None], new, old) for new, old in zip(after, last)]
        y[t[there], rows[there]] = after[0][there]
    return last


class Rnn(_Recurrent):
    """h = f(x w' + h r' + b). Source: ONNX RNN. See `_Recurrent`."""

    name = "rnn"
    gates = 1
    defaults = ("tanh",)
    attributes = {"direction": "forward", "activations": defaults, "alpha": (0.0,), "beta": (0.0,), "clip": 0.0, "layout": 0}

    def _cell(self, attrs: Mapping[str, Any], d: int, weights: list[Any], bias: np.ndarray) -> Any:
        w, r = weights[:2]
        (f,) = self._functions(attrs, d)
        total = bias[:len(r)] + bias[len(r):]
        return lambda x: x @ w.T + total, lambda x, h: [f(x + h @ r.T)]


class Gru(_Recurrent):
    """z = f(.), r = f(.), n = g(.), h = (1 - z) n + z h; gates lie in the order z, r, n. Source: ONNX GRU. See `_Recurrent`.

    `linear_before_reset`: r multiplies h r' + b behind the product, not h before it.
    """

    name = "gru"
    gates = 3
    defaults = ("sigmoid", "tanh")
    attributes = {"direction": "forward", "activations": defaults, "alpha": (0.0, 0.0), "beta": (0.0, 0.0), "clip": 0.0,
                  "layout": 0, "linear_before_reset": 0}

    def _cell(self, attrs: Mapping[str, Any], d: int, weights: list[Any], bias: np.ndarray) -> Any:
        w, r = weights[:2]
        f, g = self._functions(attrs, d)
        n, rows = r.shape[1], len(r)
        after = bias[rows:]

        def step(x: np.ndarray, h: np.ndarray) -> list[np.ndarray]:
            zr = f(x[:, :2 * n] + h @ r[:2 * n].T + after[:2 * n])
            z, reset = zr[:, :n], zr[:, n:]
            if attrs["linear_before_reset"]:
                new = g(x[:, 2 * n:] + reset * (h @ r[2 * n:].T + after[2 * n:]))
            else:
                new = g(x[:, 2 * n:] + (reset * h) @ r[2 * n:].T + after[2 * n:])
            return [(1 - z) * new + z * h]
        return lambda x: x @ w.T + bias[:rows], step


class Lstm(_Recurrent):
    """i, o, f = f(.), c' = f c + i g(.), h = o h(c'); gates lie in the order i, o, f, c. Source: ONNX LSTM. See `_Recurrent`.

    Inputs initial_c?[D,N,H] and p?[D,3*H] go on: weights of c before the gates i, o, f, which see c' in o. A third output is
    the last c. `input_forget`: f is 1 - i.
    """

    name = "lstm"
    gates = 4
    inputs_most = 8
    zero_states: tuple[int, ...] = (5, 6)
    defaults = ("sigmoid", "tanh", "tanh")
    attributes: Mapping[str, Any] = {"direction": "forward", "activations": defaults, "alpha": (0.0,) * 3, "beta": (0.0,) * 3,
                                     "clip": 0.0, "layout": 0, "input_forget": 0}

    def _cell(self, attrs: Mapping[str, Any], d: int, weights: list[Any], bias: np.ndarray) -> Any:
        w, r, p = weights[:3]
        total = bias[:len(r)] + bias[len(r):]
        return lambda x: x @ w.T + total, self._steps(attrs, d, p, lambda h: h @ r.T)

    def _steps(self, attrs: Mapping[str, Any], d: int, p: np.ndarray | None, product: _Gate) -> Any:
        """The states after a step, from a function that multiplies h by the recurrent weights."""
        f, g, last = self._functions(attrs, d)

        def step(x: np.ndarray, h: np.ndarray, c: np.ndarray) -> list[np.ndarray]:
            n = h.shape[1]
            i, o, forget, cell = np.split(x + product(h), 4, 1)
            if p is not None:
                i, forget = i + p[:n] * c, forget + p[2 * n:] * c
            i = f(i)
            c = (1 - i if attrs["input_forget"] else f(forget)) * c + i * g(cell)
            o = f(o if p is None else o + p[n:2 * n] * c)
            return [o * last(c), c]
        return step


class DynamicQuantizeLstm(Lstm):
    """An LSTM with weights of 8 bits: x, and h at each step, are rounded to u8 before they are multiplied.

    Inputs as those of `lstm`, but w[D,I,4*H] and r[D,H,4*H] of u8 or i8; then w_scale, w_zero, r_scale, r_zero: [D], or
    [D,4*H] for one of each column; zeros are of the type of the weights. x has one scale in a call, h of a direction
    one at each step: (max(0, largest) - min(0, least)) / 255. `clip` is not for the argument of the last activation.
    Source: ONNX Runtime, com.microsoft.DynamicQuantizeLSTM.
    """

    name = "dynamic_quantize_lstm"
    inputs_most = 12
    zero_states: tuple[int, ...] = ()
    clipped = 2

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        directions = self._checked(attrs)
        x, w, r, b, lengths, h, c, p, *scales = take(inputs, 3, 12)
        check_dtype("x", x, FLOATS - {"f64"})
        check_same_dtype(x, b, h, c, p, scales[0], scales[2])
        for name, spec, zero in (("w", w, scales[1]), ("r", r, scales[3])):
            check_dtype(name, spec, frozenset(("u8", "i8")))
            check_same_dtype(spec, zero)
        for name, spec in (("x", x), ("w", w), ("r", r)):
            check_rank(name, spec, 3)
        hidden = r.dims[1]
        for name, spec in zip(("w_scale", "w_zero", "r_scale", "r_zero"), scales):
            if spec is None:
                raise ShapeError(f"expected 12 inputs, got no {name}")
            check_shape(name, spec, (directions,) if spec.rank == 1 else (directions, 4 * hidden))
        return self._outputs(attrs, directions, x, hidden, inputs)

    def _outputs(self, attrs: Mapping[str, Any], directions: int, x: TensorSpec, hidden: Any,
                 inputs: list[Any]) -> list[TensorSpec]:
        outputs = super()._outputs(attrs, directions, x, hidden, inputs)
        return outputs[:3]

    def _check_weights(self, w: TensorSpec, r: TensorSpec, of_w: tuple[Any, ...], of_r: tuple[Any, ...]) -> None:
        check_shape("w", w, (of_w[0], of_w[2], of_w[1]))
        check_shape("r", r, (of_r[0], of_r[2], of_r[1]))

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return inputs[0].shape[2] + inputs[2].shape[1]

    def _hidden(self, r: np.ndarray) -> int:
        return r.shape[1]

    def _cell(self, attrs: Mapping[str, Any], d: int, weights: list[Any], bias: np.ndarray) -> Any:
        w, r, p, w_scale, w_zero, r_scale, r_zero = weights
        total = bias[:w.shape[1]] + bias[w.shape[1]:]

        def products(x: np.ndarray) -> np.ndarray:
            return _rounded_product(x, w, w_scale, w_zero) + total
        return products, self._steps(attrs, d, p, lambda h: _rounded_product(h, r, r_scale, r_zero))


def _rounded_product(a: np.ndarray, weights: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """a, rounded to u8 with one scale, times weights; in a's precision. The scale is found in f32."""
    low, high = (np.float32(v) for v in (min(0, a.min(initial=0)), max(0, a.max(initial=0))))
    step = np.float32(1) if low == high else (high - low) / np.float32(255)
    offset = np.rint(np.clip(-low / step, 0, 255)).astype(np.float32)
    whole = np.clip(np.rint(a.astype(np.float32) / step) + offset, 0, 255) - offset
    sums = whole.astype(np.float64) @ (weights.astype(np.float64) - np.asarray(zero, np.float64))
    return as_type(sums, a.dtype) * (as_type(step, a.dtype) * scale)
