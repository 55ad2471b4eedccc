"""resize2 on bytes: weights of 15 bits, intermediate results of 7 bits behind the point (docs/accuracy.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...layers import kind_of
from ...layers.resize import Resize2, positions, taps
from ...net.scales import Scale
from .. import Case
from ..quantised import dequantise, quantise

KIND = "resize2"


def values(case: Case, arrays: Sequence[np.ndarray | None], scales: Sequence[Scale]) -> list[np.ndarray] | None:
    """One array; None for mode cubic."""
    x, attrs = arrays[0], kind_of(KIND).complete(case.attrs)
    if x is None or attrs["mode"] == "cubic" or case.epilogue:
        return None
    y = x.astype(np.int64) * 128
    for axis, (out, scale) in zip((2, 3), Resize2._target(attrs, x.shape)):
        at = positions(out, x.shape[axis], scale, attrs["coordinates"])
        index, _ = taps(at, x.shape[axis], attrs["mode"], attrs["rounding"])
        near = [np.take(y, index[:, k], axis) for k in range(index.shape[1])]
        if len(near) == 2:
            shape = [1] * x.ndim
            shape[axis] = -1
            weight = np.minimum(np.floor((at - np.floor(at)) * 32768 + 0.5), 32767).astype(np.int64).reshape(shape)
            near[0] = near[0] + ((near[1] - near[0]) * weight + 2 ** 14) // 2 ** 15
        y = near[0]
    q = ((y + 64) // 128).astype(np.uint8)
    source, target = scales[0], scales[len(arrays)]
    return [q if source == target else quantise(dequantise(q, source), target)]
