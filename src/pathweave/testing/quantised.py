"""What routines of class `quantised` must give: integer sums, then the float32 operations of docs/accuracy.md, in NumPy.

Shares no code with the runtime. Sums are int64; a fused multiply-add is computed exactly and rounded once.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..layers import compute, kind_of
from ..net.format import Format
from ..net.net import Epilogue, Layer
from ..net.scales import UNKNOWN, Scale, needs_scale
from . import Case

#: Kinds whose sums are integers where their routines hold values as such.
LINEAR = ("conv2", "depthwise_conv2", "dense", "matmul")
#: Those of them whose weights are scaled so that no two neighbours come to more than 128.
PAIRED = ("conv2", "dense")
#: Activations of which every operation is exact or named in docs/accuracy.md; others may be off by one step.
DEFINED = ("", "relu", "clip", "hard_swish")
#: Errors of rounding add up like independent ones; a root mean square above this many of their deviations is a fault.
DEVIATIONS = 5.0
#: The end of the range that a test's scale covers.
LARGEST = 1e15


# ---- values and integers --------------------------------------------------------------------------------------------

def fma(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> np.ndarray:
    """a * b + c of float32 arrays, rounded once: the product is exact in float64, the sum is rounded to odd there."""
    product, c = np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64)
    total = product + c
    part = total - product
    lost = (product - (total - part)) + (c - part)
    even = (np.asarray(total).view(np.int64) & 1) == 0
    odd = np.where((lost != 0) & even, np.nextafter(total, np.where(lost > 0, np.inf, -np.inf)), total)
    return odd.astype(np.float32)


def pair_of(scale: Scale) -> tuple[float, int]:
    """The scale and the zero point of a value that has one of each."""
    step, zero = scale.scale, scale.zero_point
    assert not isinstance(step, tuple) and not isinstance(zero, tuple)
    return step, zero


def quantise(y: np.ndarray, scale: Scale, nan: int | None = None) -> np.ndarray:
    """float32 -> u8. `nan`: what NaN becomes, by default the zero point."""
    step, zero = pair_of(scale)
    with np.errstate(over="ignore"):
        t = np.asarray(y, np.float32) * (np.float32(1) / np.float32(step))
    q = np.clip(np.rint(t), -zero, 255 - zero) + np.float32(zero)
    return np.where(np.isnan(t), zero if nan is None else nan, q).astype(np.uint8)


def dequantise(q: np.ndarray, scale: Scale) -> np.ndarray:
    """u8 -> float32."""
    step, zero = pair_of(scale)
    return np.float32(step) * (q.astype(np.int32) - zero).astype(np.float32)


def held(array: np.ndarray, form: Format, scale: Scale) -> np.ndarray:
    """A logical value in the element type of a format."""
    return quantise(array, scale) if needs_scale("f32", form.dtype) and array.dtype.kind == "f" else array


def read(array: np.ndarray, form: Format, scale: Scale, dtype: str) -> np.ndarray:
    """The inverse of `held`, for a value whose element type is `dtype`."""
    return dequantise(array, scale) if needs_scale(dtype, form.dtype) else array


def scales_of(case: Case, arrays: Sequence[np.ndarray | None], wanted: Sequence[np.ndarray]) -> list[Scale]:
    """A scale per input of a case, then per output, from the data; unknown for what is no f32 value.

    What is beyond LARGEST saturates. Of layers that move elements, every other case has one scale for all values, as
    calibration gives them.
    """
    ranges = [_range(a) if a is not None and not c and a.dtype == np.float32 else None
              for a, c in zip(arrays, case.constant)]
    ranges += [_range(y) if s.dtype == "f32" else None for y, s in zip(wanted, case.outputs())]
    kind = kind_of(case.kind)
    if (kind.exact or kind.moves != slice(0)) and zlib.crc32(case.name.encode()) % 2:
        known = [r for r in ranges if r is not None]
        if known:
            one = min(r[0] for r in known), max(r[1] for r in known)
            ranges = [r and one for r in ranges]
    return [r and Scale.of_range(*r) or UNKNOWN for r in ranges]


def _range(y: np.ndarray) -> tuple[float, float]:
    fine = np.clip(y[np.isfinite(y)], -LARGEST, LARGEST)
    return (float(fine.min()), float(fine.max())) if fine.size else (0.0, 0.0)


# ---- what must come out ---------------------------------------------------------------------------------------------

class Expected:
    """The outputs that a routine with these ports must give on a case.

    `arrays`, `values`: inputs and outputs in the element types of the ports. `steps`: by how many steps of q an element
    may differ.
    """

    def __init__(self, case: Case, arrays: Sequence[np.ndarray | None], scales: Sequence[Scale], ins: Sequence[Format],
                 outs: Sequence[Format]):
        self.case, self.scales, self.outs = case, list(scales), list(outs)
        self.ports = dict(zip((i for i, (s, c) in enumerate(zip(case.inputs, case.constant)) if s is not None and not c),
                              ins))
        self.arrays = [a if i not in self.ports or a is None else held(a, self.ports[i], scales[i])
                       for i, a in enumerate(arrays)]
        linear = case.kind in LINEAR and self._dtype(0) == "f32" and \
            all(needs_scale("f32", f.dtype) for i, f in self.ports.items() if i < 2)
        ruled = self._ruled()
        if ruled is not None:
            self.values, self.steps = ruled, 0
            return
        with np.errstate(all="ignore"):
            reals = self._linear() if linear else self._meaning()
        n = len(case.inputs)
        self.values = [quantise(y, scales[n + i], 0 if linear else None) if needs_scale("f32", f.dtype) else y
                       for i, (y, f) in enumerate(zip(reals, outs))]
        moves = kind_of(case.kind).exact and len({s for s in self.scales if s != UNKNOWN}) <= 1
        self.steps = 0 if (linear or moves) and case.epilogue.act in DEFINED else 1

    def _ruled(self) -> list[np.ndarray] | None:
        """The outputs of a kind with integers of its own, all whose values are u8."""
        from .integers import rules
        rule = rules().get(self.case.kind)
        if rule is None or not all(f.dtype == "u8" for f in (*self.ports.values(), *self.outs)) or \
                self._dtype(0) != "f32":
            return None
        return rule(self.case, self.arrays, self.scales)

    def _dtype(self, i: int) -> str:
        """Element type of input `i`, "" of an absent one."""
        spec = self.case.inputs[i]
        return "" if spec is None else spec.dtype

    def _array(self, i: int) -> np.ndarray:
        """Input `i`, which is there."""
        a = self.arrays[i]
        assert a is not None
        return a

    def _real(self, i: int) -> np.ndarray | None:
        """Input `i` as float32."""
        a = self.arrays[i]
        return a if i not in self.ports or a is None else read(a, self.ports[i], self.scales[i], self._dtype(i))

    def _meaning(self) -> list[np.ndarray]:
        """Layers without integer sums: their meaning in float64 on what the integers stand for."""
        arguments = [None if a is None else self._real(i) for i, a in enumerate(self.arrays)]
        wide = [a.astype(np.float64) if a is not None and a.dtype.kind == "f" else a for a in arguments]
        return [y.astype(np.float32) if y.dtype == np.float64 else y for y in compute(self.case.layer(), wide)]

    def _linear(self) -> list[np.ndarray]:
        case, layer = self.case, self.case.layer()
        operands, factor = [], np.float32(1)
        for i in (0, 1):
            if i in self.ports:
                step, zero = pair_of(self.scales[i])
                operands.append(self._array(i).astype(np.int64) - zero)
                factor = factor * np.float32(step)
            else:
                q, s = weights(case.kind, i, self._array(i))
                operands.append(q)
                factor = factor * s
        bare = Layer(layer.name, layer.kind, layer.inputs[:2], layer.outputs, layer.attrs)
        total = compute(bare, operands)[0].astype(np.float32)
        arity = len(case.inputs) - case.epilogue.add
        bias = self.arrays[2] if arity > 2 and self.arrays[2] is not None else np.float32(0)
        y = fma(total, self._spread(factor), self._spread(bias))
        if case.epilogue.add:
            i = len(case.inputs) - 1
            if i in self.ports and needs_scale("f32", self.ports[i].dtype):
                step, zero = pair_of(self.scales[i])
                r = (self._array(i).astype(np.int32) - zero).astype(np.float32)
                y = fma(r, np.float32(step), y)
            else:
                y = y + self._array(i)
        return [activated(y, case.epilogue)]

    def _spread(self, factor: np.ndarray) -> np.ndarray:
        """Numbers per output channel, so that they broadcast with the sums."""
        if np.ndim(factor) == 0 or self.case.kind in ("dense", "matmul"):
            return factor
        return factor.reshape(-1, 1, 1)

    # ---- judging ----

    def fault(self, got: Sequence[np.ndarray]) -> str:
        """What is wrong with outputs in the element types of the ports, "" when nothing is."""
        for k, (y, wanted, form) in enumerate(zip(got, self.values, self.outs)):
            if y.shape != wanted.shape or y.dtype != wanted.dtype:
                return f"output {k} is {y.dtype}{list(y.shape)}, expected {wanted.dtype}{list(wanted.shape)}"
            if form.dtype in ("u8", "i8") or wanted.dtype.kind in "iub":
                off = np.abs(y.astype(np.int64) - wanted.astype(np.int64))
                allowed = float(self.steps if wanted.dtype == np.uint8 else 0)
            else:
                with np.errstate(all="ignore"):
                    off = np.where(y == wanted, 0, np.abs(y - wanted) / np.maximum(np.abs(wanted), 1e-30))
                off = np.where(np.isnan(y) & np.isnan(wanted), 0, np.where(np.isnan(off), np.inf, off))
                allowed = 0.0 if self.steps == 0 else 1e-5
            if y.size and not off.max() <= allowed:
                at = np.unravel_index(int(off.argmax()), off.shape)
                return (f"output {k} at {tuple(map(int, at))}: got {y[at]}, the integer reference has {wanted[at]}; "
                        f"{int((off > allowed).sum())} of {y.size} elements differ, {allowed:g} allowed")
        return ""

    def allowed(self, arrays: Sequence[np.ndarray | None], wanted: Sequence[np.ndarray]) -> float:
        """Largest relative RMS error against float64 that 8 bits explain; infinite where NaN or infinity is asked for.

        Rounding a value of scale s has the variance s^2 / 12; through a sum of products it goes as the sum of the
        variances times the squares of the other factors.
        """
        n, arrays = len(self.case.inputs), list(arrays)
        fine = all(np.isfinite(a).all() for a in (*arrays, *wanted) if a is not None and a.dtype.kind == "f")
        size = math.sqrt(np.mean(np.square(wanted[0]))) if fine and wanted[0].size else 0.0
        if not size or wanted[0].dtype.kind != "f":
            return math.inf if not fine else 0.0
        steps = [pair_of(s)[0] for s in self.scales]
        rounding = steps[n] ** 2 / 12
        if self.case.kind not in LINEAR:
            spread = max(steps[:n], default=0.0)
            return DEVIATIONS * math.sqrt(rounding + spread ** 2) / size
        variance = rounding + float(np.mean(self._variance(arrays)))
        if self.case.epilogue.add:
            variance += steps[n - 1] ** 2 / 12
        return DEVIATIONS * math.sqrt(variance) / size

    def _variance(self, arrays: list) -> np.ndarray:
        layer = self.case.layer()
        bare = Layer(layer.name, layer.kind, layer.inputs[:2], layer.outputs, layer.attrs)
        squares, errors = [], []
        for i in (0, 1):
            a = arrays[i].astype(np.float64)
            if i in self.ports:
                step = np.full(a.shape, self.scales[i].scale)
            else:
                step = np.broadcast_to(_per_channel(self.case.kind, i, a)[1], a.shape).astype(np.float64)
            squares.append(a * a)
            errors.append(step ** 2 / 12)
        return compute(bare, [squares[0], errors[1]])[0] + compute(bare, [errors[0], squares[1] + errors[1]])[0]


def _per_channel(kind: str, index: int, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights and their scales, shaped to broadcast with the weights."""
    if kind == "matmul":
        # Summed over the last dimension of the first operand, over the last but one of the second.
        axes: tuple[int, ...] = (w.ndim - 1,) if index == 0 or w.ndim == 1 else (w.ndim - 2,)
    else:
        axes = tuple(range(1, w.ndim))
    scale = (np.max(np.abs(w), axis=axes, keepdims=True) / np.float32(127)).astype(np.float32)
    if kind in PAIRED:
        # Channels last: the order in which a product adds them up.
        rows = np.moveaxis(w, 1, -1).reshape(len(w), -1).astype(np.float32)
        rows = np.pad(rows, ((0, 0), (0, rows.shape[1] % 2)))
        pairs = np.max(np.abs(rows[:, ::2] + rows[:, 1::2]), axis=1).reshape(scale.shape)
        scale = np.maximum(scale, pairs / np.float32(127.9))
    return w, np.where(scale > 0, scale, np.float32(1))


def weight_scales(kind: str, index: int, w: np.ndarray) -> np.ndarray:
    """The scales of weights, shaped to broadcast with them."""
    return _per_channel(kind, index, w)[1]


def weights(kind: str, index: int, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(q as int64, scales as they multiply the sums)."""
    w, s = _per_channel(kind, index, w)
    q = np.clip(np.rint(w / s), -127, 127).astype(np.int64)
    if kind == "matmul":
        return q, s.reshape(()) if w.ndim == 1 else s
    return q, s.reshape(-1)


def activated(y: np.ndarray, epilogue: Epilogue) -> np.ndarray:
    """The activation of an epilogue in float32."""
    if epilogue.act == "hard_swish":
        gate = fma(y, np.float32(0.166666667), np.float32(0.5))
        return y * np.minimum(np.maximum(gate, np.float32(0)), np.float32(1))
    if not epilogue.act:
        return y
    kind = kind_of(epilogue.act)
    return kind.meaning(kind.complete(dict(zip(kind.attributes, epilogue.params))), [y])[0].astype(np.float32)
