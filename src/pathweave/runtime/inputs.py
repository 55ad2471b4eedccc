"""Inputs for a net of which nothing is known but the net: random, within what its layers can make sense of."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..net.floats import host_dtype, taken
from ..net.format import numpy_dtype
from .bound import BoundNet

#: Integers where the net says nothing: masks and flags are frequent, and 0 and 1 are in the range of nearly everything.
UNKNOWN_RANGE = (0, 1)


def random_inputs(bound: BoundNet, seed: int = 0) -> dict[str, Any]:
    """Arrays for every input: normal values (images of unit variance) for floating point, else integers from the
    `integer_range` of the input, zeros and ones where it has none."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, spec in bound.inputs.items():
        dtype = host_dtype(spec.dtype)
        if spec.dtype == "bf16":
            values = np.ascontiguousarray(rng.standard_normal(spec.shape, np.float32))
        elif dtype.kind == "f":
            values = np.ascontiguousarray(rng.standard_normal(spec.shape, np.float32), dtype)
        else:
            least, largest = integer_range(bound, name) or UNKNOWN_RANGE
            values = np.ascontiguousarray(rng.integers(least, largest, spec.shape, endpoint=True), dtype)
        inputs[name] = taken(name, spec, values).view(dtype).reshape(spec.shape)
    return inputs


def integer_range(bound: BoundNet, name: str) -> tuple[int, int] | None:
    """The least and the largest integer that an input may hold, by the layers that read it; None where they do not say.

    Rows of a table that is indexed (`LayerKind.sensible`), numbers that it is compared with; bytes have the range of their
    type. What is moved or cast is followed.
    """
    from ..layers import kind_of
    net, consumers = bound.net, bound.net.consumers()
    dtype = bound.inputs[name].dtype
    if dtype == "bool":
        return 0, 1
    found: list[tuple[int, int]] = []
    seen, todo = {name}, [name]
    while todo:
        for layer, position in consumers.get(todo.pop(), ()):
            kind = kind_of(layer.kind)
            said = kind.sensible(kind.complete(layer.attrs), position,
                                 [bound.spec(v) if v else None for v in layer.inputs],
                                 [net.constants.get(v) for v in layer.inputs])
            if said is not None:
                found.append(said)
            elif layer.kind == "cast" or position in range(len(layer.inputs))[kind.moves]:
                todo += [v for v in layer.outputs if v not in seen]
                seen.update(layer.outputs)
    if found:
        least, largest = max(a for a, _ in found), min(b for _, b in found)
        return (least, largest) if least <= largest else None
    if dtype in ("u8", "i8"):
        limits = np.iinfo(numpy_dtype(dtype))
        return int(limits.min), int(limits.max)
    return None
