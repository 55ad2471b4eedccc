"""split_even: equal parts of an axis whose length is known when the net is bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ShapeError
from ..net.conditions import at_least
from ..net.dim import Expr
from ..net.net import Layer, TensorSpec
from . import kind_of
from ._common import Mover, axis_of, integers, take

#: More parts than any net has outputs; their sizes are listed.
MOST_PARTS = 1 << 16


def even_sizes(length: int | Expr, parts: int) -> tuple[int | Expr, ...]:
    """Sizes of `parts` equal parts, the last one smaller where they do not divide the length. Source: ONNX Split, opset 18.

    Raises ShapeError where nothing would be left for the last part, and for more than MOST_PARTS.
    """
    if parts > MOST_PARTS:
        raise ShapeError(f"{parts} parts: expected at most {MOST_PARTS}")
    size = -(-length // parts)
    last = length - size * (parts - 1)
    if not at_least(last, 0):
        raise ShapeError(f"a length of {length} has no {parts} parts of {size}")
    return (size,) * (parts - 1) + (last,)


class SplitEven(Mover):
    """x in `parts` equal parts along `axis`, one output each, the last one smaller where need be. Source: ONNX Split."""

    name = "split_even"
    attributes = {"axis": 0, "parts": None}

    @staticmethod
    def _split(attrs: Mapping[str, Any], shape: Any) -> Any:
        axis = axis_of(attrs["axis"], len(shape))
        (parts,) = integers("parts", attrs["parts"], 1, 1)
        return axis, {"axis": axis, "sizes": even_sizes(shape[axis], parts)}

    def settle(self, layer: Layer, specs: list[Any]) -> Layer:
        _, attrs = self._split(self.complete(layer.attrs), specs[0].shape)
        return layer.with_(kind="split", attrs=attrs)

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(inputs, 1)
        axis, split = self._split(attrs, x.shape)
        return [TensorSpec(x.dtype, (*x.shape[:axis], size, *x.shape[axis + 1:])) for size in split["sizes"]]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        (x,) = take(inputs, 1)
        split = kind_of("split")
        return split.meaning(split.complete(self._split(attrs, x.shape)[1]), [x])
