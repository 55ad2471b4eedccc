"""Functions of two elements, identity and cast."""

from __future__ import annotations

from . import ELEMENT


def _cast(g, case, a, names):
    if a["through"]:
        names = g.node("Cast", names, to=ELEMENT[a["through"]])
    return g.node("Cast", names, to=ELEMENT[a["dtype"]])


OPERATORS = {
    "add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div", "pow": "Pow", "minimum": "Min", "maximum": "Max", "mod": "Mod",
    "equal": "Equal", "less": "Less", "greater": "Greater", "less_equal": "LessOrEqual",
    "greater_equal": "GreaterOrEqual", "logical_and": "And", "logical_or": "Or", "logical_xor": "Xor", "prelu": "PRelu",
    "identity": "Identity",
    "cast": _cast,
}
