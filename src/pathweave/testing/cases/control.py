"""Cases of the kinds with blocks, and of those whose shape depends on contents."""

from __future__ import annotations

from typing import Any

from ...net.block import Block
from ...net.net import Layer, Net, TensorSpec
from .. import case

_TRUTH, _NUMBER = TensorSpec("bool", ()), TensorSpec("i64", ())


def _block(inputs: dict[str, TensorSpec], outputs: str, *layers: tuple[Any, ...]) -> Block:
    """A block of layers (kind, inputs, outputs, attributes ...), names in words."""
    return Block(Net(inputs, outputs.split(), [Layer(f"{kind} {out}", kind, tuple(ins.split()), tuple(out.split()), *attrs)
                                               for kind, ins, out, *attrs in layers], {}))


def _f32(*shape: int | str) -> TensorSpec:
    return TensorSpec("f32", shape)


_POSITIVE = _block({"x": _f32("R", "C"), "w": _f32(5, 5)}, "y", ("matmul", "x w", "m"), ("relu", "m", "y"))
_NEGATIVE = _block({"x": _f32("R", "C"), "w": _f32(5, 5)}, "y", ("neg", "x", "y"))
_SWAP = _block({"a": _f32(2, 3), "b": _f32(2, 3)}, "b a")
_BOTH = _block({"a": _f32(2, 3), "b": _f32(2, 3)}, "s d", ("add", "a b", "s"), ("sub", "a b", "d"))
_LOOP = {"i": _NUMBER, "going": _TRUTH}
_GROWS = _block({**_LOOP, "h": _f32(2, 4), "w": _f32(4, 4)}, "still h2 part", ("identity", "going", "still"),
                ("matmul", "h w", "m"), ("tanh", "m", "h2"),
                ("reduce", "h2", "part", {"op": "sum", "axes": (1,), "keepdims": 0}))
_COUNTS = _block({**_LOOP, "n": _NUMBER}, "still sum i2", ("identity", "going", "still"), ("add", "n i", "sum"),
                 ("add", "i i", "i2"))
_DOUBLES = _block({**_LOOP, "h": _f32(2, 4)}, "still h2", ("identity", "going", "still"), ("add", "h h", "h2"))
_STEP = _block({"h": _f32(3), "x": _f32(3), "w": _f32(3)}, "h2 y", ("mul", "x w", "m"), ("add", "h m", "h2"),
               ("sub", "h2 x", "y"))
_ROWS = _block({"a": _f32(2, 3), "b": _f32(2, 3)}, "y z", ("add", "a b", "y"), ("mul", "a b", "z"))

CASES = [
    case("if", _TRUTH, (3, 5), (5, 5), name="if branches", then_branch=_POSITIVE, else_branch=_NEGATIVE),
    case("if", TensorSpec("bool", (1,)), (2, 3), (2, 3), name="if two outputs", then_branch=_SWAP, else_branch=_BOTH),
    case("loop", None, None, (2, 4), (4, 4), name="loop with parts", body=_GROWS, carried=1, trips=3),
    case("loop", None, None, _NUMBER, name="loop of integers", body=_COUNTS, carried=1, trips=5),
    case("loop", None, None, (2, 4), name="loop without parts", body=_DOUBLES, carried=1, trips=4),
    case("loop", None, None, (2, 4), (4, 4), name="loop of no trip", body=_GROWS, carried=1, trips=0),
    case("scan", (3,), (4, 3), (3,), name="scan rows", body=_STEP, carried=1, scanned=1),
    case("scan", (3,), (3, 5), (3,), name="scan columns backwards", body=_STEP, carried=1, scanned=1, input_axes=(1,),
         input_directions=(1,), output_axes=(-1,), output_directions=(1,)),
    case("scan", (4, 2, 3), (2, 3, 4), name="scan two", body=_ROWS, scanned=2, input_axes=(0, -1), input_directions=(0, 1),
         output_axes=(2, 0), output_directions=(0, 1)),
    *(case("nonzero", TensorSpec(t, s), values=("ties",)) for t, s in (
        ("f32", (3, 4)), ("i64", (7,)), ("bool", (2, 3, 5)), ("i32", (1, 16, 5, 5)), ("f32", (0, 3)), ("f32", ()))),
    *(case("compress", (3, 4), TensorSpec("bool", (3,)), axis=(a,)) for a in (0, -1)),
    case("compress", (2, 3, 5), TensorSpec("bool", (20,))),
    *(case("compress", x, TensorSpec("bool", (2,)), axis=(a,)) for x, a in (((2, 0, 3), 0), ((0, 2), 1), ((4, 2, 0), 1))),
]
