"""Fourier transforms, windows, and weights of mel bands. Complex numbers lie as pairs along the last axis."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import ModelError, ShapeError
from ..net.conditions import at_least, equal
from ..net.dim import Expr, is_unknown, largest, unknown
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from . import Outline
from ._common import FLOATS, NUMBERS, ValueKind, as_type, check_dtype, one_number, take, word


def _one(attrs: Mapping[str, Any], name: str) -> Any:
    """A number that may be absent (None), unknown, or the only element of a tuple."""
    value = attrs[name]
    if isinstance(value, tuple):
        if len(value) > 1:
            raise ModelError(f"{name}={value}: expected one number")
        value = value[0] if value else None
    return value


def _whole(attrs: Mapping[str, Any], name: str, least: int) -> Any:
    value = _one(attrs, name)
    if value is None or isinstance(value, Expr):
        return value
    if not float(value).is_integer() or value < least:
        raise ModelError(f"{name}={value}: expected a whole number of at least {least}")
    return int(value)


def _among(parts: Any, wanted: tuple[int, ...]) -> bool:
    """Whether a size is 1, 2, or one of both."""
    return equal(parts, wanted[0]) if len(wanted) == 1 else at_least(parts, 1) and at_least(2, parts)


def _half(length: Any) -> Any:
    """Values of a one-sided spectrum; an unknown size of its own where the length depends on contents."""
    return unknown() if is_unknown(length) else length // 2 + 1


def _complex(x: np.ndarray) -> np.ndarray:
    wide = x.astype(np.float64)
    return wide[..., 0] + 1j * wide[..., 1] if x.shape[-1] == 2 else wide[..., 0] + 0j


def _pairs(z: np.ndarray, like: np.ndarray) -> np.ndarray:
    return np.stack([z.real, z.imag], -1).astype(like.dtype)


class _Numbers(ValueKind):
    """A kind whose value inputs are single numbers."""

    name = ""

    def attribute(self, name: str, array: np.ndarray) -> Any:
        return one_number(name, array)


class Dft(_Numbers):
    """Discrete Fourier transform along `axis` of x [..., 1 or 2], padded with zeros or cut to `length`. Source: ONNX DFT.

    `onesided`: of real x the first length // 2 + 1 values; with `inverse` such values become real numbers [..., 1], by default
    2 * (n - 1) of them. `inverse` divides by the length. Sums in double.
    """

    name = "dft"
    attributes = {"length": (), "axis": -2, "inverse": 0, "onesided": 0}
    value_inputs = {1: "length", 2: "axis"}

    def _sizes(self, attrs: Mapping[str, Any], shape: Any) -> tuple[int, Any, Any, int]:
        """(axis, length of the transform, size of the output's axis, of its last one)."""
        rank = len(shape)
        axis = _one(attrs, "axis")
        if rank < 2 or axis is None or isinstance(axis, Expr) or not -rank <= axis < rank or axis % rank == rank - 1:
            raise ShapeError(f"axis {axis} of x of rank {rank}: expected one in front of the last axis, which holds real and "
                             "imaginary parts")
        axis = int(axis) % rank
        inverse, onesided = bool(attrs["inverse"]), bool(attrs["onesided"])
        parts = shape[-1]
        wanted = (2,) if onesided and inverse else (1,) if onesided else (1, 2)
        if not _among(parts, wanted):
            raise ShapeError(f"x has {parts} numbers along its last axis; expected {' or '.join(map(str, wanted))}"
                             f"{' where onesided is set' if onesided else ''}")
        length = _whole(attrs, "length", 1)
        if length is None:
            length = 2 * (shape[axis] - 1) if inverse and onesided else shape[axis]
        if not at_least(length, 1):
            raise ShapeError(f"axis {axis} of x has {shape[axis]} elements: expected a transform of at least 1")
        made = _half(length) if onesided and not inverse else length
        return axis, length, made, 1 if onesided and inverse else 2

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        (x,) = take(self.plain(inputs), 1)
        check_dtype("x", x, FLOATS)
        axis, _, made, parts = self._sizes(attrs, x.shape)
        return [TensorSpec(x.dtype, (*x.shape[:axis], made, *x.shape[axis + 1:-1], parts))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        if shapes[0] is None:
            return None
        return (*(None,) * (len(shapes[0]) - 1), 1 if attrs["onesided"] and attrs["inverse"] else 2)

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        axis, length, made, _ = self._sizes(attrs, inputs[0].shape)
        return _fft_operations(length) * outputs[0].elements // max(1, made * outputs[0].shape[-1])

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        return self._sizes(attrs, inputs[0].shape)[1]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, (x,) = self.resolve(attrs, inputs)
        axis, length, made, _ = self._sizes(attrs, x.shape)
        z = _complex(x)
        if attrs["onesided"] and attrs["inverse"]:
            return [np.fft.irfft(z, length, axis)[..., None].astype(x.dtype)]
        z = np.fft.ifft(z, length, axis) if attrs["inverse"] else np.fft.fft(z, length, axis)
        return [_pairs(np.take(z, np.arange(made), axis), x)]


def _fft_operations(length: int) -> int:
    """Operations of a fast transform, as they are counted by custom."""
    return int(5 * length * math.log2(max(2, length)))


class Stft(_Numbers):
    """Fourier transforms of frames of x [B, L, 1 or 2], each times `window` where it is given: [B, frames, bins, 2].

    Frames of `length` numbers (0: that of the window, or L) begin every `step` numbers. `onesided`: the first length // 2 + 1
    values, of real x. Sums in double. Source: ONNX STFT.
    """

    name = "stft"
    attributes = {"step": (), "length": (), "onesided": 1}
    value_inputs = {2: "step", 3: "length"}

    def _sizes(self, attrs: Mapping[str, Any], shape: Any, window: Any) -> tuple[Any, Any, Any, Any]:
        """(step, length, frames, bins)."""
        if len(shape) not in (2, 3):
            raise ShapeError(f"x has rank {len(shape)}: expected [batch, length, 1 or 2], or [batch, length]")
        if len(shape) == 3 and not _among(shape[2], (1,) if attrs["onesided"] else (1, 2)):
            raise ShapeError(f"x has {shape[2]} numbers along its last axis; expected {'1' if attrs['onesided'] else '1 or 2'}")
        step, length = _whole(attrs, "step", 1), _whole(attrs, "length", 1)
        if step is None:
            raise ModelError("step: expected a number")
        if window is not None and len(window) != 1:
            raise ShapeError(f"window has rank {len(window)}: expected 1")
        if length is None:
            length = shape[1] if window is None else window[0]
        elif window is not None and not is_unknown(length) and not equal(window[0], length):
            raise ShapeError(f"window has {window[0]} elements; expected {length}, the length of a frame")
        if not is_unknown(length) and not (at_least(length, 1) and at_least(shape[1], length)):
            raise ShapeError(f"x has {shape[1]} numbers for frames of {length}: expected 1 or more, and no more than x has")
        frames = unknown() if is_unknown(step) or is_unknown(length) else largest(0, (shape[1] - length) // step + 1)
        return step, length, frames, _half(length) if attrs["onesided"] else length

    @staticmethod
    def _window(inputs: list[Any]) -> Any:
        return inputs[1] if len(inputs) > 1 else None

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        x, window = take(self.plain(inputs), 1, 2)
        check_dtype("x", x, FLOATS)
        if window is not None and window.dtype != x.dtype:
            raise ModelError(f"window is {window}, x is {x}: expected the same element type")
        _, _, frames, bins = self._sizes(attrs, x.shape, None if window is None else window.shape)
        return [TensorSpec(x.dtype, (x.shape[0], frames, bins, 2))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (None, None, None, 2)

    def operations(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        window = self._window(self.plain(inputs))
        length = self._sizes(attrs, inputs[0].shape, None if window is None else window.shape)[1]
        return _fft_operations(length) * outputs[0].sizes[0] * outputs[0].sizes[1]

    def terms(self, attrs: Mapping[str, Any], inputs: list[Any]) -> int:
        window = self._window(self.plain(inputs))
        return self._sizes(attrs, inputs[0].shape, None if window is None else window.shape)[1]

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, body = self.resolve(attrs, inputs)
        x, window = body[0], self._window(body)
        step, length, frames, bins = self._sizes(attrs, x.shape, None if window is None else window.shape)
        z = _complex(x if x.ndim == 3 else x[..., None])
        at = np.arange(frames)[:, None] * step + np.arange(length)
        framed = z[:, at] * (1.0 if window is None else window.astype(np.float64))
        return [_pairs(np.fft.fft(framed, axis=-1)[..., :bins], x)]


class Window(_Numbers):
    """`size` numbers of a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n), n = size where it is periodic, else size - 1, or 1 of a
    single number. `coefficients`: a0, a1, a2. Source: ONNX HannWindow, HammingWindow, BlackmanWindow."""

    name = "window"
    attributes = {"size": (), "coefficients": None, "periodic": 1, "dtype": "f32"}
    value_inputs = {0: "size"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        take(self.plain(inputs), 0)
        size = _whole(attrs, "size", 0)
        if size is None or len(attrs["coefficients"]) != 3:
            raise ModelError(f"size={attrs['size']} coefficients={attrs['coefficients']}: expected a size and three numbers")
        return [TensorSpec(word("dtype", attrs["dtype"], sorted(NUMBERS)), (size,))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (None,)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, _ = self.resolve(attrs, inputs)
        size = _whole(attrs, "size", 0)
        a0, a1, a2 = attrs["coefficients"]
        angle = 2 * np.pi * np.arange(size) / max(1, size if attrs["periodic"] else size - 1)
        return [as_type(a0 - a1 * np.cos(angle) + a2 * np.cos(2 * angle), numpy_dtype(attrs["dtype"]))]


class MelWeights(_Numbers):
    """Weights [length // 2 + 1, bands] of the bins of a one-sided spectrum in triangular bands on the mel scale, between
    `lower` and `upper` hertz at `rate` numbers a second; edges are rounded down to bins. Source: ONNX MelWeightMatrix."""

    name = "mel_weights"
    attributes = {"bands": (), "length": (), "rate": (), "lower": (), "upper": (), "dtype": "f32"}
    value_inputs = {0: "bands", 1: "length", 2: "rate", 3: "lower", 4: "upper"}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        take(self.plain(inputs), 0)
        bands, length = _whole(attrs, "bands", 0), _whole(attrs, "length", 1)
        if bands is None or length is None:
            raise ModelError(f"bands={attrs['bands']} length={attrs['length']}: expected two numbers")
        return [TensorSpec(word("dtype", attrs["dtype"], sorted(NUMBERS)), (_half(length), bands))]

    def outline(self, attrs: Mapping[str, Any], shapes: list[Any]) -> Outline:
        return (None, None)

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        attrs, _ = self.resolve(attrs, inputs)
        bands, length = _whole(attrs, "bands", 0), _whole(attrs, "length", 1)
        rate, lower, upper = (float(_one(attrs, n)) for n in ("rate", "lower", "upper"))
        low, high = (2595 * math.log10(1 + f / 700) for f in (lower, upper))
        mel = low + np.arange(bands + 2) * (high - low) / (bands + 2)
        edges = np.floor((length + 1) * (700 * (10 ** (mel / 2595) - 1)) / rate).astype(np.int64)
        bins = length // 2 + 1
        if bands and not 0 <= edges[0] <= edges[-2] < bins:
            raise ModelError(f"lower={lower} upper={upper}: expected bands within the {bins} bins of a spectrum at {rate} Hz")
        weights = np.zeros((bins, bands))
        at = np.arange(bins)
        for i, (first, centre, last) in enumerate(zip(edges, edges[1:], edges[2:])):
            rising, falling = (at >= first) & (at <= centre), (at >= centre) & (at < last)
            weights[rising, i] = (at[rising] - first) / (centre - first) if centre > first else 1
            if last > centre:
                weights[falling, i] = (last - at[falling]) / (last - centre)
        return [as_type(weights, numpy_dtype(attrs["dtype"]))]
