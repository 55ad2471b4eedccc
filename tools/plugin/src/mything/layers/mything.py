"""mything: say in one line what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pathweave.errors import ShapeError
from pathweave.layers import LayerKind
from pathweave.net.net import TensorSpec


class Mything(LayerKind):
    """y = x |x|. Source: say where the definition stands."""

    name = "mything"
    attributes: dict[str, Any] = {}
    per_element = 2
    elementwise = True

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        if len(inputs) != 1 or inputs[0] is None or inputs[0].dtype not in ("f32", "f64"):
            raise ShapeError(f"expected one input of f32 or f64, got {', '.join(map(str, inputs)) or 'none'}")
        return [inputs[0]]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        return [inputs[0] * abs(inputs[0])]
