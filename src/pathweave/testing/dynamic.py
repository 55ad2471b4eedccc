"""What routines that find the scales of their inputs when they run must give: the integers of every row, and the float32
operations of docs/accuracy.md, in NumPy. Shares no code with the runtime."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..layers import compute, kind_of
from ..net.net import Epilogue, Layer
from . import Case
from .quantised import DEVIATIONS, activated, fma, weight_scales, weights

#: Kinds that have such routines, with the axis of x along which it is summed.
KINDS = {"dense": -1, "conv2": 1}
#: Activations of which every operation is exact.
DEFINED = ("", "relu", "clip")


def row_scales(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(scale, zero point) of every row [rows,depth], both float32 of shape [rows,1]; NaN where the row is not finite."""
    low, high = (np.float32(f(rows, axis=1, keepdims=True, initial=0)) for f in (np.min, np.max))
    fine = np.isfinite(rows).all(axis=1, keepdims=True)
    with np.errstate(all="ignore"):
        steps = high / np.float32(255) - low / np.float32(255)
        scale = np.where(fine, np.maximum(steps, np.float32(2.0 ** -126)), np.float32(np.nan)).astype(np.float32)
        zero = np.rint(np.minimum(-low * (np.float32(1) / scale), np.float32(255)))
    return scale, zero


def _rows(kind: str, x: np.ndarray) -> np.ndarray:
    """x as [rows,depth]."""
    return np.moveaxis(x, KINDS[kind], -1).reshape(-1, x.shape[KINDS[kind]])


def values(case: Case, arrays: Sequence[np.ndarray | None]) -> np.ndarray:
    """The one output."""
    x, w = (np.asarray(a) for a in arrays[:2])
    rows = _rows(case.kind, x)
    scale, zero = row_scales(rows)
    with np.errstate(all="ignore"):
        q = np.clip(np.rint(rows * (np.float32(1) / scale)), -zero, 255 - zero)
    q_w, s_w = weights(case.kind, 1, w)
    total = np.where(np.isnan(q), 0, q).astype(np.int64) @ q_w.reshape(len(w), -1).T
    bias = arrays[2] if len(case.inputs) - case.epilogue.add > 2 else None
    with np.errstate(all="ignore"):
        y = fma(total.astype(np.float32), scale * s_w, np.float32(0) if bias is None else bias)
        y = np.where(np.isnan(scale), np.float32(np.nan), y)
    shape = case.outputs()[0].sizes
    axis = KINDS[case.kind] % len(shape)
    y = np.moveaxis(y.reshape(*(n for i, n in enumerate(shape) if i != axis), shape[axis]), -1, axis)
    with np.errstate(all="ignore"):
        if case.epilogue.add:
            y = y + np.asarray(arrays[-1])
        return activated(y, case.epilogue) if case.epilogue.act in DEFINED else _activated(y, case.epilogue)


def _activated(y: np.ndarray, epilogue: Epilogue) -> np.ndarray:
    """An activation in float64."""
    kind = kind_of(epilogue.act)
    attrs = kind.complete(dict(zip(kind.attributes, epilogue.params)))
    return kind.meaning(attrs, [y.astype(np.float64)])[0].astype(np.float32)


def fault(case: Case, arrays: Sequence[np.ndarray | None], got: np.ndarray) -> str:
    """What is wrong with an output, "" when nothing is: it is equal to the bit, but for activations whose last bits may
    differ."""
    wanted = values(case, arrays)
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"the output is {got.dtype}{list(got.shape)}, expected {wanted.dtype}{list(wanted.shape)}"
    with np.errstate(all="ignore"):
        same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
        off = np.where(same, 0, np.abs(got - wanted) / (1e-5 * np.abs(wanted) + 1e-6))
    off = np.where(np.isnan(off), np.inf, off)
    allowed = 0 if case.epilogue.act in DEFINED else 1
    if not got.size or off.max() <= allowed:
        return ""
    at = np.unravel_index(int(off.argmax()), off.shape)
    return (f"the output at {tuple(map(int, at))}: got {got[at]}, the integer reference has {wanted[at]}; "
            f"{int((off > allowed).sum())} of {got.size} elements differ")


def allowed(case: Case, arrays: Sequence[np.ndarray | None], wanted: np.ndarray) -> float:
    """Largest relative RMS error against float64 that rounding to 8 bits explains; see `quantised.Expected.allowed`."""
    x, w = (np.asarray(a, np.float64) for a in arrays[:2])
    size = math.sqrt(np.mean(np.square(wanted))) if np.isfinite(wanted).all() and wanted.size else 0.0
    if not size:
        return math.inf
    step = row_scales(_rows(case.kind, np.asarray(arrays[0])))[0].astype(np.float64)
    axis = KINDS[case.kind] % x.ndim
    of_rows = step.reshape(*(n if i != axis else 1 for i, n in enumerate(x.shape))) if case.kind == "dense" else \
        np.moveaxis(step.reshape(x.shape[0], *x.shape[2:], 1), -1, 1)
    x_error = np.broadcast_to(of_rows ** 2 / 12, x.shape)
    w_error = np.broadcast_to(weight_scales(case.kind, 1, np.asarray(arrays[1])).astype(np.float64) ** 2 / 12, w.shape)
    layer = case.layer()
    bare = Layer(layer.name, layer.kind, layer.inputs[:2], layer.outputs, layer.attrs)
    variance = compute(bare, [x * x, w_error])[0] + compute(bare, [x_error, w * w + w_error])[0]
    return DEVIATIONS * math.sqrt(float(np.mean(variance))) / size
