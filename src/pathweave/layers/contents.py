"""Contents of values that shape rules need: inputs that hold sizes become attributes, and sizes are computed from sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..net.conditions import assumed
from ..net.dim import MOST_SIZE, Expr, unknown
from ..net.format import numpy_dtype
from ..net.net import Layer, TensorSpec
from ..net.size import MOST_RANK
from . import kind_of

#: A value of at most this many elements is followed by its contents, not only by its shape.
FOLLOWED_ELEMENTS = 4096
#: Elements of a value whose contents are followed as expressions: as many as a shape has.
MOST_OPEN_ELEMENTS = MOST_RANK
#: Element type -> up to where whole numbers are exact in it.
_EXACT = {"f16": 2**11, "f32": 2**24, "f64": 2**53, "i8": 2**7 - 1, "u8": 2**8 - 1, "i16": 2**15 - 1, "u16": 2**16 - 1,
          "i32": 2**31 - 1, "u32": 2**32 - 1, "i64": 2**63 - 1, "u64": 2**64 - 1}


def resolve(layer: Layer, contents: Mapping[str, np.ndarray]) -> Layer:
    """Move what a layer is given by inputs of known contents into its attributes: shapes, sizes, constants of its blocks."""
    kind: Any = kind_of(layer.kind)
    if kind.nested:
        return kind.take_in(layer, contents)
    if not any(i < len(layer.inputs) and layer.inputs[i] for i in getattr(kind, "value_inputs", ())):
        return layer
    attrs, gone = kind.absorb(layer.attrs, [contents.get(v) if v else None for v in layer.inputs])
    if not gone:
        return layer
    inputs = ["" if i in gone else v for i, v in enumerate(layer.inputs)]
    while inputs and not inputs[-1]:
        inputs.pop()
    return layer.with_(inputs=tuple(inputs), attrs=attrs)


def resolve_open(layer: Layer, specs: Mapping[str, TensorSpec], contents: Mapping[str, np.ndarray],
                 counts: Mapping[str, tuple[int | None, ...] | None] | None = None) -> Layer:
    """The same, with unknown numbers in place of sizes that are not known.

    `counts`: shapes of values, None for what is not known of them; by default those of `specs`.
    """
    kind: Any = kind_of(layer.kind)
    wanted = [i for i in getattr(kind, "value_inputs", ()) if i < len(layer.inputs) and layer.inputs[i]]
    if not wanted:
        return resolve(layer, contents)
    if kind.attributes.get("dtype") == "" and layer.inputs[wanted[0]] in specs:
        layer = layer.with_(attrs={"dtype": specs[layer.inputs[wanted[0]]].dtype, **layer.attrs})
    known = dict(contents)
    for i in wanted:
        value = layer.inputs[i]
        shape = counts.get(value) if counts is not None else _numbers(specs[value].dims) if value in specs else None
        if value not in known and shape is not None and len(shape) <= 1:
            sizes = [d for d in shape if d is not None]
            if len(sizes) == len(shape) and sum(sizes) <= MOST_OPEN_ELEMENTS:
                count = sizes[0] if sizes else 1
                known[value] = objects([unknown(-MOST_SIZE, MOST_SIZE) for _ in range(count)]).reshape(sizes)
    return resolve(layer, known)


def _numbers(dims: Sequence[int | Expr]) -> tuple[int | None, ...]:
    return tuple(None if isinstance(d, Expr) else d for d in dims)


def sizes_made(layer: Layer, arrays: list[Any], inputs: list[TensorSpec | None],
               outputs: Mapping[str, TensorSpec]) -> dict[str, np.ndarray]:
    """Contents of outputs, which may be open, by `LayerKind.on_sizes`; nothing where they are not known.

    `arrays`: per input its contents, None for one that is absent or not known. `outputs`: bound specs by value.
    """
    kind = kind_of(layer.kind)
    if not kind.of_shapes and any(a is None for a, s in zip(arrays, inputs) if s is not None) or layer.epilogue \
            or any(s.elements > MOST_OPEN_ELEMENTS for s in outputs.values()):
        return {}
    found: dict[str, np.ndarray] = {}
    made = kind.on_sizes(kind.complete(layer.attrs), arrays, inputs)
    for (value, spec), array in zip(outputs.items(), made or ()):
        numbers = [] if array is None else np.asarray(array, object).reshape(-1).tolist()
        if len(numbers) == spec.elements and all(_fits(n, spec.dtype) for n in numbers):
            whole = not any(isinstance(n, Expr) for n in numbers)
            flat = np.array(numbers, numpy_dtype(spec.dtype)) if whole else objects(numbers)
            found[value] = flat.reshape(spec.sizes)
    return found


def objects(numbers: list) -> np.ndarray:
    """A list of sizes as an array of dtype object."""
    array = np.empty(len(numbers), object)
    array[:] = numbers
    return array


def _fits(number: object, dtype: str) -> bool:
    """Whether a value of this type holds a number exactly; what is open is assumed to be small enough."""
    if isinstance(number, bool) or dtype == "bool":
        return isinstance(number, bool) and dtype == "bool"
    if not isinstance(number, (int, Expr)) or dtype not in _EXACT:
        return False
    most = _EXACT[dtype]
    least = 0 if dtype.startswith("u") else -most
    if isinstance(number, int):
        return least <= number <= most
    return assumed((most, ">=", number)) and assumed((number, ">=", least))
