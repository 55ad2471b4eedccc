"""The activation swish."""

from __future__ import annotations

import numpy as np

from .activation import Activation, _sigmoid


class Swish(Activation):
    """x / (1 + e^(-alpha x)). Source: ONNX Swish."""

    name = "swish"
    attributes = {"alpha": 1.0}

    @staticmethod
    def function(x: np.ndarray, alpha: float) -> np.ndarray:
        return x * _sigmoid(alpha * x)
