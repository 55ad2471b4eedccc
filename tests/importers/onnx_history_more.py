"""Examples of onnx_history.py: operators that pick, scatter and scan, windows, recurrent layers, integers, signals."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx_history_node import I64, Example, Maker, numbers, signed

_INDICES = np.array([[0, 2, 1, 0], [1, 0, 2, 2]], I64)
_BYTES = np.array([[3, 200, 7], [90, 0, 255]], np.uint8)


def _of_axis(version: int, t: Any) -> Example:
    return Example([signed(t), np.array(1, I64)])


def _matrix(version: int, t: Any) -> Example:
    return Example([signed(t, (3, 4))])


def _scatter(version: int, t: Any) -> Example:
    return Example([signed(t, (3, 4)), _INDICES, numbers(t, (2, 4))], {"axis": 0})


def _scatter_nd(version: int, t: Any) -> Example:
    return Example([signed(t, (3, 4)), np.array([[2], [0]], I64), numbers(t, (2, 4))])


def _cache(version: int, t: Any) -> Example:
    past, new = signed(t, (2, 2, 5, 3)), numbers(t, (2, 2, 1, 3))
    at = np.array([1, 4], I64)
    expected = past.copy()
    for i, k in enumerate(at):
        expected[i, :, k] = new[i, :, 0]
    return Example([past, new, at], {"axis": -2}, expected=[expected])


def _one_hot(version: int, t: Any) -> Example:
    return Example([np.trunc(numbers(np.float64, (2, 3), 0, 4)).astype(t), np.array(4, I64), np.array([0, 1], np.float32)])


def _suppression(version: int, t: Any) -> Example:
    boxes = np.array([[[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 10, 1, 11]]], t)
    scores = np.array([[[0.9, 0.75, 0.6]]], np.float32)
    return Example([boxes, scores, np.array([3], I64), np.array([0.5], np.float32), np.array([0.0], np.float32)])


def _reversed(version: int, t: Any) -> Example:
    return Example([signed(t, (4, 3)), np.array([1, 4, 2], I64)], {"time_axis": 0, "batch_axis": 1})


def _recurrent(gates: int, **attributes: Any) -> Maker:
    def maker(version: int, t: Any) -> Example:
        x, w, r = numbers(t, (3, 2, 4), -1, 1), numbers(t, (1, gates * 5, 4), -1, 1), numbers(t, (1, gates * 5, 5), -1, 1)
        return Example([x, w, r, numbers(t, (1, 2 * gates * 5), -1, 1)], {"hidden_size": 5, **attributes},
                       outputs=2 if version < 3 else 1, constant=(1, 2, 3))
    return maker


def _sampled(version: int, t: Any) -> Example:
    return Example([signed(t, (1, 2, 4, 5)), numbers(np.float32, (1, 3, 3, 2), -0.9, 0.9)])


def _regions(version: int, t: Any) -> Example:
    boxes = np.array([[0, 0, 3, 3], [1, 1, 5, 4]], t)
    return Example([numbers(t, (1, 2, 6, 6)), boxes, np.array([0, 0], I64)],
                   {"output_height": 2, "output_width": 2, "sampling_ratio": 2})


def _regions_max(version: int, t: Any) -> Example:
    return Example([numbers(t, (1, 2, 6, 6)), np.array([[0, 0, 0, 3, 3]], t)], {"pooled_shape": [2, 2]})


def _unpooled(version: int, t: Any) -> Example:
    return Example([numbers(t, (1, 1, 2, 2)), np.array([[[[5, 7], [13, 15]]]], I64)],
                   {"kernel_shape": [2, 2], "strides": [2, 2]})


def _columns(version: int, t: Any) -> Example:
    return Example([signed(t, (1, 8, 9)), np.array([4, 4], I64), np.array([2, 2], I64)], constant=(1, 2))


def _deformed(version: int, t: Any) -> Example:
    return Example([numbers(t, (1, 2, 4, 4)), numbers(t, (3, 2, 2, 2), -1, 1), numbers(t, (1, 8, 3, 3), -0.5, 0.5)],
                   {"kernel_shape": [2, 2]})


def _quantised(version: int, t: Any) -> Example:
    if np.dtype(t) == np.int32:
        return Example([signed(t), np.array(0.5, np.float32), np.array(3, np.uint8)])
    return Example([signed(t), np.array(0.5, t if version >= 19 and t != np.float64 else np.float32), np.array(3, np.uint8)])


def _real(version: int, t: Any) -> Example:
    if np.dtype(t) == np.int32:
        return Example([signed(t), np.array(0.5, np.float32)])
    return Example([signed(t), np.array(0.5, np.float32), np.array(3, t)])


def _products_of_bytes(version: int, t: Any) -> Example:
    return Example([_BYTES.astype(t), _BYTES.T.copy().astype(t), np.array(2, t)])


def _windows_of_bytes(version: int, t: Any) -> Example:
    return Example([numbers(t, (1, 2, 4, 4), 0, 90), numbers(t, (3, 2, 2, 2), 0, 90), np.array(2, t)])


def _product_in_bytes(version: int, t: Any) -> Example:
    one, zero = np.array(0.01, np.float32), np.array(3, t)
    return Example([_BYTES.astype(t), one, zero, _BYTES.T.copy().astype(t), one, zero, np.array(3.0, np.float32), zero])


def _window_in_bytes(version: int, t: Any) -> Example:
    one, zero = np.array(0.01, np.float32), np.array(3, t)
    return Example([numbers(t, (1, 2, 4, 4), 0, 90), one, zero, numbers(t, (3, 2, 2, 2), 0, 90), one, zero,
                    np.array(0.1, np.float32), zero])


def _spectrum(version: int, t: Any) -> Example:
    x = signed(t, (1, 6, 1))
    expected = np.fft.fft(x[..., 0].astype(np.float64), axis=1)
    return Example([x], {"axis": 1} if version < 20 else {}, expected=[np.stack([expected.real, expected.imag], -1).astype(t)])


def _frames(version: int, t: Any) -> Example:
    x, window = signed(t, (1, 16)), np.ones(8, t)
    parts = np.stack([x[0, i:i + 8] for i in (0, 4, 8)]).astype(np.float64)
    found = np.fft.rfft(parts, axis=1)
    expected = np.stack([found.real, found.imag], -1)[None].astype(t)
    return Example([x[..., None], np.array(4, I64), window], {"onesided": 1}, constant=(1,), expected=[expected])


def _mel(version: int, t: Any) -> Example:
    return Example([np.array(4, t), np.array(16, t), np.array(8000, t), np.array(20.0, np.float32),
                    np.array(4000.0, np.float32)], constant=(0, 1, 2, 3, 4))


MORE: dict[str, Maker] = {
    "CumSum": _of_axis, "CumProd": _of_axis, "Trilu": _matrix, "EyeLike": _matrix, "Scatter": _scatter,
    "ScatterElements": _scatter, "ScatterND": _scatter_nd, "TensorScatter": _cache, "OneHot": _one_hot,
    "NonMaxSuppression": _suppression, "ReverseSequence": _reversed,
    "Unique": lambda version, t: Example([signed(t, (6,))], outputs=4),
    "RNN": _recurrent(1), "GRU": _recurrent(3), "LSTM": _recurrent(4),
    "GridSample": _sampled, "RoiAlign": _regions, "MaxRoiPool": _regions_max, "MaxUnpool": _unpooled, "Col2Im": _columns,
    "DeformConv": _deformed, "Einsum": lambda version, t: Example([numbers(t, (2, 3)), numbers(t, (3, 4))],
                                                                   {"equation": "ij,jk->ki"}),
    "LpNormalization": lambda version, t: Example([signed(t)], {"axis": 1, "p": 2}),
    "QuantizeLinear": _quantised, "DequantizeLinear": _real, "MatMulInteger": _products_of_bytes,
    "ConvInteger": _windows_of_bytes, "QLinearMatMul": _product_in_bytes, "QLinearConv": _window_in_bytes,
    "DFT": _spectrum, "STFT": _frames, "MelWeightMatrix": _mel,
}
