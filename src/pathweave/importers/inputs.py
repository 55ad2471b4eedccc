"""Inputs of a foreign graph: their symbols, and shapes that the caller of an importer gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import InputError
from ..net.net import TensorSpec


def is_anonymous(symbol: str) -> bool:
    """True for what stands where a dimension has no name: "", "?", "-1", "None"; each is an unknown of its own."""
    return symbol == "None" or not any(c.isalpha() for c in symbol)


def with_shapes(inputs: Mapping[str, TensorSpec], shapes: Mapping[str, Sequence[int | str]],
                defaults: Sequence[str] = ()) -> dict[str, TensorSpec]:
    """The inputs with some of their declared shapes replaced."""
    changed = dict(inputs)
    for name, shape in shapes.items():
        if name in defaults and name not in inputs:
            raise InputError(f"shapes: input {name!r} has a default value, which is taken; give default_inputs=[{name!r}] for "
                             f"one that calls give")
        if name not in inputs:
            raise InputError(f"shapes: input {name!r} is unknown; "
                             f"the model's inputs are {', '.join(map(repr, inputs))}")
        shape = tuple(shape)
        if len(shape) != inputs[name].rank or not all(map(_is_dimension, shape)):
            raise InputError(f"shapes: input {name!r} is {inputs[name]}; expected {inputs[name].rank} sizes of "
                             f"0 or more, or symbols, got {shape}")
        changed[name] = TensorSpec(inputs[name].dtype, shape)
    return changed


def _is_dimension(dim: object) -> bool:
    return bool(dim) if isinstance(dim, str) else isinstance(dim, int) and not isinstance(dim, bool) and dim >= 0
