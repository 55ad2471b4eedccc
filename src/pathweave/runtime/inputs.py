"""Inputs for a net of which nothing is known but the net: random, within what its layers can make sense of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import OutOfMemoryError
from ..net import memory
from ..net.floats import host_dtype, taken
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from ..net.size import size_bytes
from .bound import BoundNet
from .layouts import laid_out, to_logical

#: Integers where the net says nothing: masks and flags are frequent, and 0 and 1 are in the range of nearly everything.
UNKNOWN_RANGE = (0, 1)
_ADVICE = "ask for a smaller batch, or a machine with more memory"


def random_inputs(bound: BoundNet, seed: int = 0) -> dict[str, Any]:
    """Arrays for every input, as a call takes them, with the same numbers in every layout.

    Floating point: normal values (images of unit variance), in a calibrated model values all over the range that its samples
    had. Others: integers from the `integer_range` of the input, zeros and ones where it has none. Raises OutOfMemoryError.
    """
    _require(bound.inputs, "the inputs of the model")
    rng = np.random.default_rng(seed)
    try:
        return as_caller(bound, {name: _random(bound, name, spec, rng) for name, spec in bound.inputs.items()})
    except MemoryError as e:
        raise OutOfMemoryError(f"the inputs of the model: no memory ({e}); {_ADVICE}") from e


def _random(bound: BoundNet, name: str, spec: TensorSpec, rng: np.random.Generator) -> np.ndarray:
    dtype = host_dtype(spec.dtype)
    if name in bound.scales and dtype.kind == "f":
        values = np.ascontiguousarray(rng.uniform(*bound.scales[name].range, spec.sizes), dtype)
    elif spec.dtype == "bf16":
        values = np.ascontiguousarray(rng.standard_normal(spec.sizes, np.float32))
    elif dtype.kind == "f":
        values = np.ascontiguousarray(rng.standard_normal(spec.sizes, np.float32), dtype)
    else:
        least, largest = integer_range(bound, name) or UNKNOWN_RANGE
        values = np.ascontiguousarray(rng.integers(least, largest, spec.sizes, endpoint=True), dtype)
    return taken(name, spec, values).view(dtype).reshape(spec.sizes)


def arrays_for_outputs(bound: BoundNet) -> dict[str, Any]:
    """An array of zeros for every output whose size is known before a run. Raises OutOfMemoryError, before any memory is
    taken."""
    _require(bound.outputs, "the results of the model")
    try:
        return {name: np.zeros(bound.array_shape(name), numpy_dtype(s.dtype)) for name, s in bound.outputs.items()
                if not (bound.opened and bound.opened.is_late(bound.opened.net.specs[name].dims))}
    except MemoryError as e:
        raise OutOfMemoryError(f"the results of the model: no memory ({e}); {_ADVICE}") from e


def as_caller(bound: BoundNet, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values in their logical order as arrays of the caller's layouts; those of row-major ones are not copied."""
    return {n: np.ascontiguousarray(laid_out(a, bound.layouts[n])) if n in bound.layouts else a for n, a in arrays.items()}


def as_declared(bound: BoundNet, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays of a call, inputs or outputs, in the declared order, as meanings and other engines take them; views where that
    can be."""
    return {n: to_logical(a, bound.layouts[n]) if n in bound.layouts else a for n, a in arrays.items()}


def _require(specs: Mapping[str, TensorSpec], what: str) -> None:
    memory.require(sum(map(size_bytes, specs.values())), what, _ADVICE)


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
