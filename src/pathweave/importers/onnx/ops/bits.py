"""Functions of the bits of elements."""

from __future__ import annotations

from ..node import Node
from .elementwise import binary, unary


def bit_shift(n: Node) -> None:
    """Bits moved to the left or to the right."""
    n.required(2)
    direction = n.text("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise ValueError(f"direction is {direction!r}, expected LEFT or RIGHT")
    n.emit("shift_left" if direction == "LEFT" else "shift_right", [n.input(0), n.input(1)], last=True)


def bit_cast(n: Node) -> None:
    """Bits read as another element type."""
    n.required(1)
    source, target = n.file_type(n.input(0)), n.element_type(n.int("to"))
    if source is None:
        n.unsupported("the element type of its input is not known")
    if "f64" in n.builder.types.computed and "f64" in (source, target):
        n.unsupported("values of float64 are computed in float32, as asked for, and have no bits to read")
    n.emit("bit_cast", [n.input(0)], {"source": source, "dtype": target}, last=True)
    n.builder.types.declare(n.outputs[0], target)


OPERATORS = {
    "BitwiseAnd": binary("bitwise_and"), "BitwiseOr": binary("bitwise_or"), "BitwiseXor": binary("bitwise_xor"),
    "BitwiseNot": unary("bitwise_not"), "BitShift": bit_shift, "BitCast": bit_cast,
}
