"""Recurrent layers: RNN, GRU, LSTM, and ONNX Runtime's LSTM with weights of 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....errors import ModelError
from ....layers import kind_of
from ....layers.recurrent import ACTIVATIONS, DIRECTIONS
from ..node import Node

#: The functions that take an alpha, and those that take a beta: numbers are given for these alone, in their order.
_ALPHA = ("affine", "leaky_relu", "thresholded_relu", "scaled_tanh", "hard_sigmoid", "elu")
_BETA = ("affine", "scaled_tanh", "hard_sigmoid")
_WORDS = {name.replace("_", ""): name for name in ACTIVATIONS}


def _floats(n: Node, name: str) -> list[float]:
    return [float(v) for v in n.attribute(name)[1]] if n.has(name) else []


def _activations(n: Node, kind: Any, directions: int) -> dict[str, tuple[Any, ...]]:
    """`activations`, `alpha` and `beta` with what the node leaves out. Source: ONNX LSTM; names as in ONNX Runtime, which
    does not look at their case."""
    given = [v.decode("utf-8", "replace") for v in n.attribute("activations")[1]] if n.has("activations") else []
    count = len(kind.defaults)
    if n.op == "RNN" and directions == 1 and len(given) == 2 and given[0] == given[1]:
        given = given[:1]  # as the default of the attribute has it, whatever the direction
    if given and len(given) != count * directions:
        raise ModelError(f"attribute 'activations' names {len(given)}; expected {count * directions}")
    unknown = [v for v in given if v.lower() not in _WORDS]
    if unknown:
        n.unsupported(f"activations {unknown}")
    names = [_WORDS[v.lower()] for v in given] or list(kind.defaults) * directions
    alphas, betas = _floats(n, "activation_alpha"), _floats(n, "activation_beta")
    found: list[tuple[float, float]] = []
    for name in names:
        alpha, beta = ACTIVATIONS[name]
        found.append((alphas.pop(0) if name in _ALPHA and alphas else alpha, betas.pop(0) if name in _BETA and betas else beta))
    return {"activations": tuple(names), "alpha": tuple(a for a, _ in found), "beta": tuple(b for _, b in found)}


def _recurrent(kind_name: str, *flags: str) -> Callable[[Node], None]:
    """An operator that has the inputs and outputs of the layer kind; `flags`: attributes that are the kind's own."""
    def convert(n: Node) -> None:
        kind: Any = kind_of(kind_name)
        n.required(3)
        n.ignore("output_sequence")  # opset 1: outputs that are not named are not wanted
        direction = n.text("direction", "forward").lower()
        if direction == "foward":  # as opset 1 of GRU spells its default
            direction = "forward"
        if direction not in DIRECTIONS:
            raise ModelError(f"attribute 'direction' is {direction!r}; expected one of {', '.join(DIRECTIONS)}")
        clip = n.float("clip", 0.0)
        if n.has("clip") and not clip > 0:
            raise ModelError(f"attribute 'clip' is {clip}; expected a positive number")
        attrs: dict[str, Any] = {"direction": direction, "clip": clip, "layout": n.int("layout"),
                                 **_activations(n, kind, 2 if direction == "bidirectional" else 1)}
        attrs |= {flag: int(n.int(flag) != 0) for flag in flags}
        inputs = [n.input(i) for i in range(kind.inputs_most)]
        _check_hidden(n, inputs[2], -1 if kind_name != "dynamic_quantize_lstm" else 1)
        while not inputs[-1]:
            inputs.pop()
        count = 3 if "lstm" in kind_name else 2
        n.no_outputs_after(count)
        used = max((i + 1 for i in range(count) if n.uses_output(i)), default=1)
        n.emit(kind_name, inputs, attrs, last=True, count=used)
    return convert


def _check_hidden(n: Node, weights: str, axis: int) -> None:
    hidden, shape = n.int("hidden_size", -1), n.shape(weights)
    if hidden >= 0 and shape is not None and len(shape) == 3 and shape[axis] not in (None, hidden):
        raise ModelError(f"attribute 'hidden_size' is {hidden}, but the recurrent weights are for {shape[axis]}")


OPERATORS = {"RNN": _recurrent("rnn"), "GRU": _recurrent("gru", "linear_before_reset"),
             "LSTM": _recurrent("lstm", "input_forget"),
             "com.microsoft:DynamicQuantizeLSTM": _recurrent("dynamic_quantize_lstm", "input_forget")}
