"""Evaluate a net by the NumPy meanings of its layers: the reference of every test, and the engine of folding."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import Error, InputError, ModelError, OutOfMemoryError, ShapeError
from ..layers import MEANING_ERRORS
from ..layers.blocks import check_room, in_precision, in_type
from ..net.arguments import by_name, check_on_host, check_unmasked
from ..net.border import advice, logical_shapes, of_caller
from ..net.floats import host_dtype, numbers_of, taken
from ..net.format import dtype_of, numpy_dtype
from ..net.net import Layer, Net, TensorSpec


def evaluate(net: Net, inputs: Mapping[str, Any], precision: str | None = None) -> dict[str, np.ndarray]:
    """Run a net by NumPy meanings and return its outputs by name, in the net's order.

    `inputs`: one array per net input; symbols of the declared shapes take the sizes of the arrays. With `precision`
    ("f64", "f32") every floating-point input, constant and result of a layer is computed in that precision, rounded where
    the net rounds it; without it, in its own. A value is freed after its last use. Raises InputError, DTypeError,
    ShapeError, SizeError, OutOfMemoryError.
    """
    values = {name: in_type(array, precision) for name, array in _checked_inputs(net, inputs, precision).items()}
    last_use = {v: i for i, layer in enumerate(net.layers) for v in layer.inputs if v}
    kept = set(net.outputs)
    for i, layer in enumerate(net.layers):
        arguments = [_argument(net, values, v, precision) for v in layer.inputs]
        check_room(layer, arguments)
        with in_precision(precision):
            made = run_layer(layer, arguments)
        for name, array in zip(layer.outputs, made):
            if name in last_use or name in kept:
                values[name] = in_type(array, precision)
        for v in set(layer.inputs):
            if v in values and last_use[v] == i and v not in kept:
                del values[v]
    results = {name: np.asarray(_argument(net, values, name, precision)) for name in net.outputs}
    return {name: _bfloat(array, precision) if _is_bf16(net, name) else array for name, array in results.items()}


def _is_bf16(net: Net, name: str) -> bool:
    """True for a value that lies as bits of bfloat16: only inputs and what a cast makes."""
    if name in net.inputs:
        return net.inputs[name].dtype == "bf16"
    layer = next((layer for layer in net.layers if name in layer.outputs), None)
    return layer is not None and layer.kind == "cast" and layer.attrs["dtype"] == "bf16"


def _bfloat(bits: np.ndarray, precision: str | None) -> np.ndarray:
    return bits.view(host_dtype("bf16")) if precision is None else in_type(numbers_of(bits, "bf16"), precision)


def run_layer(layer: Layer, arguments: list) -> list:
    """Outputs of one layer by its meaning, with failures turned into errors that name the layer."""
    from ..layers import compute
    try:
        with np.errstate(all="ignore"):
            return compute(layer, arguments)
    except Error:
        raise
    except MemoryError as e:
        raise OutOfMemoryError(f"layer {layer.name!r} ({layer.kind}): no memory for its result: {e}") from e
    except MEANING_ERRORS as e:
        operands = ", ".join("-" if a is None else f"{a.dtype}{list(a.shape)}" for a in arguments)
        raise ShapeError(f"layer {layer.name!r} ({layer.kind}) cannot be computed on {operands}: {e}") from e


def spec_of(array: Any) -> TensorSpec:
    """The spec of an array."""
    return TensorSpec(dtype_of(array.dtype), tuple(array.shape))


def match_arrays(inputs: Mapping[str, TensorSpec], layouts: Mapping[str, str],
                 shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes as a net declares them, from those of a caller's arrays, which lie in `layouts` (see `net.border`).

    Raises InputError where they do not fit; it says which layout is expected, and which one the shape would fit.
    """
    specs = {name: of_caller(spec, layouts.get(name)) for name, spec in inputs.items()} if layouts else inputs
    try:
        match_symbols(specs, shapes, "a call takes" if layouts else "the model declares")
    except InputError as e:
        more = (advice(name, inputs[name], layouts.get(name), shape) for name, shape in shapes.items() if name in inputs)
        raise InputError(f"{e}{''.join(more)}") from None
    return logical_shapes(inputs, layouts, shapes)


def match_symbols(net_inputs: Mapping[str, TensorSpec], shapes: Mapping[str, tuple[int, ...]],
                  declares: str = "the model declares") -> dict[str, int]:
    """Size of every symbol, given concrete shapes of some of the inputs. `declares`: how an error introduces a spec.

    Raises InputError for an unknown input, another rank, a fixed dimension that differs, a size below 0, or a symbol
    that gets two values.
    """
    sizes: dict[str, int] = {}
    origin: dict[str, tuple[str, int]] = {}

    def where(name: str, axis: int) -> str:
        return f"input {name!r}, dimension {axis}"
    for name, shape in shapes.items():
        if name not in net_inputs:
            raise InputError(f"input {name!r} is unknown; the model's inputs are {', '.join(map(repr, net_inputs))}")
        spec = net_inputs[name]
        if len(shape) != spec.rank:
            raise InputError(f"input {name!r}: expected rank {spec.rank} ({spec}), got shape {tuple(shape)}")
        for axis, (dim, size) in enumerate(zip(spec.shape, shape)):
            if type(size) is not int and (isinstance(size, bool) or not isinstance(size, (int, np.integer))) or size < 0:
                raise InputError(f"{where(name, axis)}: expected a size of 0 or more, got {size!r}")
            if isinstance(dim, int):
                if dim != size:
                    raise InputError(f"{where(name, axis)}: expected {dim} ({declares} {spec}), got {size}")
                continue
            symbol = str(dim)
            if symbol not in sizes:
                sizes[symbol], origin[symbol] = int(size), (name, axis)
            elif sizes[symbol] != size:
                raise InputError(f"{where(name, axis)}: symbol {symbol!r} is {sizes[symbol]} at {where(*origin[symbol])} and "
                                 f"{size} here")
    return sizes


def _checked_inputs(net: Net, inputs: Mapping[str, Any], precision: str | None) -> dict[str, np.ndarray]:
    given = by_name("evaluate", net.inputs, inputs)
    for name, array in given.items():
        check_on_host(f"input {name!r}", array)
        check_unmasked(f"input {name!r}", array)
    arrays = {name: np.asarray(array) for name, array in given.items()}
    match_symbols(net.inputs, {name: array.shape for name, array in arrays.items()})
    for name, array in arrays.items():
        expected = np.dtype(numpy_dtype(net.inputs[name].dtype))
        if precision is None or array.dtype.kind != "f" or expected.kind != "f":
            arrays[name] = taken(f"input {name!r}", net.inputs[name], array)
    return arrays


def _argument(net: Net, values: dict, name: str, precision: str | None) -> Any:
    if not name:
        return None
    if name in values:
        return values[name]
    if name in net.constants:
        return in_type(net.constants[name], precision)
    raise ModelError(f"value {name!r} is made by no layer before its use")
