"""Cases of recurrent layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...net.net import TensorSpec
from .. import Attrs, Case, case

_GATES = {"rnn": 1, "gru": 3, "lstm": 4, "dynamic_quantize_lstm": 4}
_BOTH: Attrs = {"direction": "bidirectional"}
_REVERSE: Attrs = {"direction": "reverse"}


def _case(kind: str, steps: int, batch: int, features: int, hidden: int, given: str = "", dtype: str = "f32",
          constant: str = "wrbp", **attrs: Any) -> Case:
    """A case with the inputs that `given` names: b, l(engths), h, c, p; those of `constant` are constants, w and r too."""
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    rows, first = _GATES[kind] * hidden, attrs.get("layout", 0)
    state = (batch, directions, hidden) if first else (directions, batch, hidden)
    shapes = {"x": (batch, steps, features) if first else (steps, batch, features), "w": (directions, rows, features),
              "r": (directions, rows, hidden), "b": (directions, 2 * rows), "l": (batch,), "h": state}
    if kind == "lstm":
        shapes |= {"c": state, "p": (directions, 3 * hidden)}
    words = {"w": f"scaled:{features}", "r": f"scaled:{hidden}", "l": f"count:{steps}"}
    specs = [TensorSpec("i32" if n == "l" else dtype, s) if n in "xwr" + given else None for n, s in shapes.items()]
    while specs[-1] is None:
        specs.pop()
    return case(kind, *specs, constant=[i for i, n in enumerate(shapes) if n in constant and i < len(specs) and specs[i]],
                values=[words.get(n, "") for n in shapes][:len(specs)], **attrs)


def _cases(kind: str) -> Iterator[Case]:
    every = "blhcp" if kind == "lstm" else "blh"
    count = {"rnn": 1, "gru": 2, "lstm": 3}[kind]
    yield _case(kind, 4, 1, 8, 16)
    yield _case(kind, 1, 1, 5, 7, "bh")
    yield _case(kind, 5, 3, 6, 10, "b", **_REVERSE)
    yield _case(kind, 6, 2, 7, 33, every, **_BOTH)
    yield _case(kind, 6, 2, 7, 18, every, constant="", **_BOTH)
    yield _case(kind, 3, 2, 4, 20, every, layout=1, **_BOTH)
    yield _case(kind, 3, 17, 12, 24, "bl", **_REVERSE)
    yield _case(kind, 2, 1, 3, 200, "b")
    yield _case(kind, 2, 3, 9, 160, "bl", **_BOTH)
    yield _case(kind, 3, 1, 300, 64, "h", constant="w")
    yield _case(kind, 3, 2, 5, 6, "b", clip=0.5)
    yield _case(kind, 4, 2, 6, 9, every, "f64", **_BOTH)
    yield _case(kind, 2, 2, 3, 4, "b", "f64", constant="", layout=1)
    for name, alpha, beta in (("relu", 0.0, 0.0), ("softsign", 0.0, 0.0), ("softplus", 0.0, 0.0), ("affine", 0.5, 0.25),
                              ("leaky_relu", 0.125, 0.0), ("thresholded_relu", 0.375, 0.0), ("scaled_tanh", 0.75, 0.5),
                              ("hard_sigmoid", 0.25, 0.5), ("elu", 0.5, 0.0), ("sigmoid", 0.0, 0.0), ("tanh", 0.0, 0.0)):
        for dtype in ("f32", "f64"):
            yield _case(kind, 2, 2, 3, 21, "bh", dtype, activations=(name,) * count, alpha=(alpha,) * count,
                        beta=(beta,) * count)


def _gru() -> Iterator[Case]:
    for steps, batch, features, hidden, given, attrs in (
            (4, 1, 8, 16, "b", {}), (5, 3, 6, 10, "bh", _REVERSE), (6, 2, 7, 33, "blh", _BOTH), (2, 1, 3, 200, "b", {}),
            (3, 2, 4, 20, "bh", {"layout": 1}), (3, 2, 5, 6, "", {"clip": 0.5})):
        for dtype in ("f32", "f64"):
            yield _case("gru", steps, batch, features, hidden, given, dtype, linear_before_reset=1, **attrs)
    yield _case("gru", 3, 2, 5, 12, "bh", constant="", linear_before_reset=1)
    yield _case("gru", 7, 1, 12, 300, "bh", linear_before_reset=1, **_BOTH)
    yield _case("gru", 5, 1, 12, 240, "b", **_BOTH)


def _lstm() -> Iterator[Case]:
    yield _case("lstm", 9, 1, 6, 256, "bhc")
    yield _case("lstm", 1, 1, 40, 208, "bhc", **_BOTH)
    yield _case("lstm", 2, 1, 8, 736, "b", **_BOTH)  # weights of both directions are more than half of a common shared cache
    for dtype in ("f32", "f64"):
        yield _case("lstm", 3, 2, 5, 12, "bhcp", dtype, input_forget=1)
        yield _case("lstm", 3, 2, 5, 12, "bp", dtype, clip=0.3, **_BOTH)
        yield _case("lstm", 2, 3, 4, 5, "b", dtype, activations=("sigmoid", "tanh", "tanh", "hard_sigmoid", "softsign", "relu"),
                    alpha=(0.0,) * 3 + (0.25, 0.0, 0.0), beta=(0.0,) * 3 + (0.5, 0.0, 0.0), **_BOTH)


def _narrow(steps: int, batch: int, features: int, hidden: int, given: str, signed: bool, columns: bool, constant: bool = True,
            **attrs: Any) -> Case:
    """A case with weights of 8 bits and a scale of a matrix, or of each of its columns."""
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    kind, rows = "i8" if signed else "u8", 4 * hidden
    state = (directions, batch, hidden)
    scales, zeros = (TensorSpec(t, (directions, rows) if columns else (directions,)) for t in ("f32", kind))
    specs = {"x": TensorSpec("f32", (steps, batch, features)), "w": TensorSpec(kind, (directions, features, rows)),
             "r": TensorSpec(kind, (directions, hidden, rows)), "b": TensorSpec("f32", (directions, 2 * rows)),
             "l": TensorSpec("i32", (batch,)), "h": TensorSpec("f32", state), "c": TensorSpec("f32", state),
             "p": TensorSpec("f32", (directions, 3 * hidden)), "s": scales, "z": zeros, "t": scales, "y": zeros}
    zero = "count:0" if columns else "" if signed else "middle"  # ONNX Runtime takes no others
    words = {"l": f"count:{steps}", "s": "small", "t": "small", "z": zero, "y": zero}
    known = "wrbpsyzt" if constant else ""
    return case("dynamic_quantize_lstm", *[s if n in "xwrsyzt" + given else None for n, s in specs.items()],
                constant=[i for i, n in enumerate(specs) if n in known and n in "wrsyzt" + given],
                values=[words.get(n, "") for n in specs], **attrs)


def _of_8_bits() -> Iterator[Case]:
    for signed, columns in ((True, False), (True, True), (False, False)):
        yield _narrow(4, 1, 8, 16, "b", signed, columns)
        yield _narrow(3, 2, 7, 21, "blhc", signed, columns, **_BOTH)
    yield _narrow(1, 1, 5, 3, "bhcp", True, False)
    yield _narrow(3, 3, 6, 40, "b", True, True, **_REVERSE)
    yield _narrow(3, 2, 6, 5, "bl", True, False, constant=False, **_BOTH)
    yield _narrow(2, 2, 130, 72, "b", True, True)
    yield _narrow(2, 1, 4, 5, "bhcp", True, False, clip=0.5, input_forget=1)


CASES = [*_cases("rnn"), *_cases("gru"), *_cases("lstm"), *_gru(), *_lstm(), *_of_8_bits()]
