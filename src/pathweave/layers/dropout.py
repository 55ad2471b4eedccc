"""Dropout of a model that is told when it runs whether it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError
from ..net.net import TensorSpec
from . import LayerKind
from ._common import check_dtype, same_outline, take


class Dropout(LayerKind):
    """x, and a mask that is all true: dropout at inference. Inputs: x, the ratio or None, a truth value.

    The last one says whether the model is trained. Where it is, and the ratio is not 0, the meaning raises ModelError:
    nothing is drawn at random here. Source: ONNX Dropout.
    """

    name = "dropout"
    attributes = {}
    per_element = 0
    outline = same_outline

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, _, training = take(inputs, 1, 3)
        take([training], 1)
        check_dtype("training", training, frozenset(("bool",)))
        return [x, TensorSpec("bool", x.shape)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        x, ratio, training = inputs
        if np.any(training) and (ratio is None or np.any(ratio)):
            raise ModelError("dropout: training_mode is true, and the ratio is not 0: expected inference, or a ratio of 0")
        return [x, np.ones(x.shape, np.bool_)]
