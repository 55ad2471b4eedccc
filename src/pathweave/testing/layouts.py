"""Layouts for tests, by the definition of each: where element (n, c, h, w) lies. Shares no code with the runtime."""

from __future__ import annotations

import numpy as np

_BLOCK = 16


def lay_out(value: np.ndarray, layout: str) -> np.ndarray:
    """A logical value as it lies in memory in a layout: contiguous, of the physical shape."""
    if layout == "plain" or layout == "nchw":
        return np.array(value, order="C")
    n, c, h, w = value.shape
    if layout == "nhwc":
        return np.array(np.einsum("nchw->nhwc", value), order="C")
    out = np.empty((n, c // _BLOCK, h, w, _BLOCK), value.dtype)
    for channel in range(c):
        out[:, channel // _BLOCK, :, :, channel % _BLOCK] = value[:, channel]
    return out


def logical(array: np.ndarray, layout: str, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse: memory of a layout, of any shape, as the logical value of `shape`."""
    if layout == "plain" or layout == "nchw":
        return np.array(array).reshape(shape)
    n, c, h, w = shape
    if layout == "nhwc":
        return np.array(np.einsum("nhwc->nchw", array.reshape(n, h, w, c)))
    blocks = array.reshape(n, c // _BLOCK, h, w, _BLOCK)
    out = np.empty(shape, array.dtype)
    for channel in range(c):
        out[:, channel] = blocks[:, channel // _BLOCK, :, :, channel % _BLOCK]
    return out
