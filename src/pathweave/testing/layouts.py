"""Layouts for tests, by the definition of each: where element (n, c, h, w) lies. Shares no code with the runtime."""

from __future__ import annotations

import numpy as np

_BLOCK = 16
#: Layout with the channels last -> the axes of a value in it, as letters.
_LAST = {"nlc": "ncl->nlc", "nhwc": "nchw->nhwc", "ndhwc": "ncdhw->ndhwc"}


def lay_out(value: np.ndarray, layout: str) -> np.ndarray:
    """A logical value as it lies in memory in a layout: contiguous, of the physical shape."""
    if layout == "plain" or layout == "nchw":
        return np.array(value, order="C")
    if layout in _LAST:
        return np.array(np.einsum(_LAST[layout], value), order="C")
    n, c, h, w = value.shape
    out = np.empty((n, c // _BLOCK, h, w, _BLOCK), value.dtype)
    for channel in range(c):
        out[:, channel // _BLOCK, :, :, channel % _BLOCK] = value[:, channel]
    return out


def round_bf16(value: np.ndarray) -> np.ndarray:
    """float32 rounded to bf16, to the nearest, ties to even, as float32: by the nearest of its two neighbours."""
    value = np.asarray(value, np.float32)
    down = (value.view(np.uint32) & 0xFFFF0000).view(np.float32)  # towards zero
    with np.errstate(all="ignore"):
        up = (down.view(np.uint32) + 0x10000).view(np.float32)
        # Behind the largest bf16 lies 2^128, which float32 lacks.
        wide = [np.where(np.isinf(x), np.copysign(np.float64(2.0**128), x), x.astype(np.float64)) for x in (down, up)]
        below, above = abs(value.astype(np.float64) - wide[0]), abs(wide[1] - value.astype(np.float64))
    even = (down.view(np.uint32) >> 16 & 1) == 0
    rounded = np.where((below < above) | ((below == above) & even), down, up)
    return np.where(np.isnan(value), np.float32(np.nan), np.where(np.isinf(value), value, rounded)).astype(np.float32)


def encode(array: np.ndarray, dtype: str) -> np.ndarray:
    """float32 memory as it is stored in another form, by the definition of each; other element types as they are."""
    if array.dtype != np.float32 or dtype not in ("bf16", "bf16x2", "f16"):
        return array
    if dtype == "f16":
        with np.errstate(over="ignore"):
            return array.astype(np.float16)
    hi = round_bf16(array)
    halves = [(hi.view(np.uint32) >> 16).astype(np.uint16)]
    if dtype == "bf16":
        return halves[0]
    with np.errstate(all="ignore"):
        lo = np.where(np.isfinite(hi), round_bf16(array - hi), np.float32(0)).astype(np.float32)
    halves.append((lo.view(np.uint32) >> 16).astype(np.uint16))
    rows = np.concatenate([h.reshape(*h.shape[:-1], -1) if h.ndim else h.reshape(1) for h in halves], axis=-1)
    return np.ascontiguousarray(rows).view(np.uint32).reshape(array.shape)


def decode(array: np.ndarray, dtype: str) -> np.ndarray:
    """The float32 memory that a stored form stands for."""
    if dtype == "bf16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    if array.dtype == np.float16 and dtype == "f16":
        return array.astype(np.float32)
    if dtype == "bf16x2":
        rows = np.ascontiguousarray(array).reshape(-1, array.shape[-1] if array.ndim else 1).view(np.uint16)
        hi, lo = ((rows[:, part].astype(np.uint32) << 16).view(np.float32)
                  for part in (slice(None, rows.shape[1] // 2), slice(rows.shape[1] // 2, None)))
        return (hi + lo).reshape(array.shape)
    return array


def logical(array: np.ndarray, layout: str, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse: memory of a layout, of any shape, as the logical value of `shape`."""
    if layout == "plain" or layout == "nchw":
        return np.array(array).reshape(shape)
    if layout in _LAST:
        logical_axes, axes = _LAST[layout].split("->")
        return np.array(np.einsum(f"{axes}->{logical_axes}", array.reshape([shape[logical_axes.index(a)] for a in axes])))
    n, c, h, w = shape
    blocks = array.reshape(n, c // _BLOCK, h, w, _BLOCK)
    out = np.empty(shape, array.dtype)
    for channel in range(c):
        out[:, channel] = blocks[:, channel // _BLOCK, :, :, channel % _BLOCK]
    return out
