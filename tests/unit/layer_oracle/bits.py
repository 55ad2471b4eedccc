"""Functions of bits. ONNX of the oracle's opset shifts unsigned integers alone: signed ones are put together."""

from __future__ import annotations

import numpy as np

from pathweave.net.format import numpy_dtype

from . import ELEMENT


def _shift(direction):
    def shift(g, case, a, names):
        dtype = case.inputs[0].dtype
        bits = np.dtype(numpy_dtype(dtype)).itemsize * 8
        unsigned = ELEMENT[f"u{bits}"]
        x, places = names
        # No place, or none too many, for what is beyond the bits of the type.
        below, least = (g.array(v, numpy_dtype(dtype)) for v in (bits - 1, 0))
        (most,), (fits,) = g.node("LessOrEqual", [places, below]), g.node("GreaterOrEqual", [places, least])
        (inside,) = g.node("And", [most, fits])
        (kept,) = g.node("Cast", g.node("Where", [inside, places, least]), to=unsigned)

        def moved(value):
            return g.node("Cast", g.node("BitShift", [*g.node("Cast", [value], to=unsigned), kept], direction=direction),
                          to=ELEMENT[dtype])[0]
        (none,) = g.node("Mul", [x, least])
        if direction == "LEFT":
            return g.node("Where", [inside, moved(x), none])
        # ~(~x >> n) brings copies of the sign in.
        (flipped,) = g.node("BitwiseNot", [moved(*g.node("BitwiseNot", [x]))])
        (negative,) = g.node("Less", [x, least])
        (ones,) = g.node("BitwiseNot", [none])
        (right,) = g.node("Where", [negative, flipped, moved(x)])
        return g.node("Where", [inside, right, *g.node("Where", [negative, ones, none])])
    return shift


OPERATORS = {"bitwise_and": "BitwiseAnd", "bitwise_or": "BitwiseOr", "bitwise_xor": "BitwiseXor", "bitwise_not": "BitwiseNot",
             "shift_left": _shift("LEFT"), "shift_right": _shift("RIGHT")}
ELSEWHERE = {"bit_cast": "test_layers_bits.py"}
