"""Partial evaluation: follow a net layer by layer with concrete input shapes, and fold what depends on shapes alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..errors import Error, ShapeError
from .evaluate import MEANING_ERRORS, run_layer
from .format import dtype_of, itemsize
from .net import Layer, TensorSpec

#: A value of at most this many elements is followed by its contents, not only by its shape.
FOLLOWED_ELEMENTS = 4096
#: A folded constant may be this large whatever it is made from ...
FREE_BYTES = 64 << 10
#: ... and larger ones may have this many times the bytes of the constants that they are made from.
GROWTH = 2


def resolve(layer: Layer, contents: Mapping[str, np.ndarray]) -> Layer:
    """Move the inputs of a layer that hold shapes or sizes into its attributes, where their contents are known."""
    from ..layers import kind_of
    kind = kind_of(layer.kind)
    if not any(i < len(layer.inputs) and layer.inputs[i] for i in getattr(kind, "value_inputs", ())):
        return layer
    attrs, gone = kind.absorb(layer.attrs, [contents.get(v) if v else None for v in layer.inputs])
    if not gone:
        return layer
    inputs = ["" if i in gone else v for i, v in enumerate(layer.inputs)]
    while inputs and not inputs[-1]:
        inputs.pop()
    return layer.with_(inputs=tuple(inputs), attrs=attrs)


class Follower:
    """Specs of all values, and contents of the small ones that depend on constants and shapes alone.

    `specs` and `contents` may be read at any time. A `lenient` follower leaves out what it cannot infer, and limits no
    size, since those of its inputs may only stand for unknown ones; a strict one raises the ShapeError.
    """

    def __init__(self, inputs: Mapping[str, TensorSpec], lenient: bool = False):
        self.specs: dict[str, TensorSpec] = dict(inputs)
        self.contents: dict[str, np.ndarray] = {}
        self.lenient = lenient
        self.limited = not lenient

    def constant(self, name: str, array: np.ndarray) -> None:
        """Make a constant known."""
        self.specs[name] = TensorSpec(dtype_of(array.dtype), tuple(array.shape))
        self.contents[name] = array

    def step(self, layer: Layer) -> Layer:
        """Follow one layer; returns it with known shape inputs moved into attributes."""
        from ..layers import infer_layer
        try:
            layer = resolve(layer, self.contents)
            if any(v and v not in self.specs for v in layer.inputs):
                return layer
            outputs = infer_layer(layer, [self.specs[v] if v else None for v in layer.inputs], self.limited)
            self.specs.update(zip(layer.outputs, outputs))
            self._follow_contents(layer, outputs)
        except Error:
            if not self.lenient:
                raise
        except MEANING_ERRORS as e:
            if not self.lenient:
                raise ShapeError(f"layer {layer.name!r} ({layer.kind}): malformed: {type(e).__name__}: {e}") from e
        return layer

    def _follow_contents(self, layer: Layer, outputs: list[TensorSpec]) -> None:
        from ..layers import kind_of
        kind = kind_of(layer.kind)
        if kind.of_shapes:
            specs = [self.specs[v] if v else None for v in layer.inputs]
            self.contents.update(zip(layer.outputs, kind.meaning(kind.complete(layer.attrs), specs)))
        elif all(not v or v in self.contents for v in layer.inputs) and \
                all(s.elements <= FOLLOWED_ELEMENTS for s in outputs):
            folded = fold(layer, outputs, self.contents)
            if folded is not None:
                self.contents.update(folded)


def fold(layer: Layer, outputs: list[TensorSpec], contents: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Contents of a layer's outputs from the contents of all its inputs; None where folding does not pay.

    Bounded: the result may not be larger than FREE_BYTES, or GROWTH times the bytes it is made from, nor than its kind
    allows.
    """
    from ..layers import kind_of
    largest = kind_of(layer.kind).folds
    if not largest:
        return None
    arguments = [contents[v] if v else None for v in layer.inputs]
    size = sum(s.elements * itemsize(s.dtype) for s in outputs)
    if size > min(largest, max(FREE_BYTES, GROWTH * sum(a.nbytes for a in arguments if a is not None))):
        return None
    try:
        arrays = run_layer(layer, arguments)
    except (Error, *MEANING_ERRORS):
        return None
    if any(tuple(a.shape) != s.shape for a, s in zip(arrays, outputs)):
        return None
    return {name: np.asarray(a) for name, a in zip(layer.outputs, arrays)}
