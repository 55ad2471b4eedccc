"""What passes may compute with instead of running a layer: affine maps by constants, and weights that are linear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


class Affine(NamedTuple):
    """Input number `position` times `scale` plus `shift`, both float64.

    `by_channel`: the arrays are [C] for axis 1 (or []), else they broadcast as in NumPy.
    """

    position: int
    scale: np.ndarray
    shift: np.ndarray
    by_channel: bool


def one_group(attrs: Mapping[str, Any], w: np.ndarray) -> int:
    """Groups of weights that have none."""
    return 1


@dataclass(frozen=True)
class Linear:
    """How weights (input 1) and a bias (input 2, may be absent) act on the first input of a layer.

    `rank`: of input and output, with channels on axis 1; None: any rank, channels on the last axis.
    `outputs`: the axis of the weights, 0 or 1, along which the output channels lie; the input channels lie along the other.
    Groups lie along axis 0; `groups` counts them. `whole`: True where each output element sees all weights of its channel,
    so that without padding a constant input gives a constant output.
    """

    rank: int | None
    outputs: int = 0
    groups: Callable[[Mapping[str, Any], np.ndarray], int] = one_group
    whole: bool = True

    @property
    def channels(self) -> int:
        """Where the channels lie in input and output, counted from the right; 1 is the last axis."""
        return 1 if self.rank is None else self.rank - 1

    def output_channels(self, attrs: Mapping[str, Any], w: np.ndarray) -> int:
        """Number of output channels that the weights have."""
        return w.shape[self.outputs] * (self.groups(attrs, w) if self.outputs else 1)

    def scale_outputs(self, attrs: Mapping[str, Any], w: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The weights with every output channel times its factor ([O] or []), in the weights' precision."""
        return self._scaled(attrs, w, scale, self.outputs)

    def scale_inputs(self, attrs: Mapping[str, Any], w: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """The weights with every input channel times its factor ([C] or []), in the weights' precision."""
        return self._scaled(attrs, w, scale, 1 - self.outputs)

    def response(self, attrs: Mapping[str, Any], w: np.ndarray, constant: np.ndarray) -> np.ndarray:
        """What the weights of a `whole` kind make of an input that is `constant` [C] everywhere: [O], float64."""
        w = w.astype(np.float64)
        if w.ndim == 2:
            return w @ constant
        products = self._grouped(attrs, w) * self._along(attrs, w, constant, 1 - self.outputs)
        return products.sum(tuple(i for i in range(2, products.ndim))).reshape(-1)

    def _grouped(self, attrs: Mapping[str, Any], w: np.ndarray) -> np.ndarray:
        return w.reshape(self.groups(attrs, w), -1, *w.shape[1:])

    def _along(self, attrs: Mapping[str, Any], w: np.ndarray, vector: np.ndarray, axis: int) -> np.ndarray:
        """A vector over the channels of an axis, shaped so that it broadcasts over grouped weights."""
        return vector.reshape(self.groups(attrs, w), *(-1 if i == axis else 1 for i in range(w.ndim)))

    def _scaled(self, attrs: Mapping[str, Any], w: np.ndarray, scale: np.ndarray, axis: int) -> np.ndarray:
        factor = scale.astype(w.dtype)
        if factor.ndim == 0:
            return w * factor
        return (self._grouped(attrs, w) * self._along(attrs, w, factor, axis)).reshape(w.shape)
