"""Fourier transforms, windows and mel bands."""

from __future__ import annotations

import numpy as np

_WINDOWS = {(0.5, 0.5, 0.0): "HannWindow", (25 / 46, 21 / 46, 0.0): "HammingWindow", (0.42, 0.5, 0.08): "BlackmanWindow"}
_NUMBERS = {"f32": 1, "f64": 11}


def _dft(g, case, a, names):
    length = g.array(a["length"]) if a["length"] != () else ""
    return g.node("DFT", [names[0], length, g.array(a["axis"])], inverse=a["inverse"], onesided=a["onesided"])


def _stft(g, case, a, names):
    window = names[1] if len(names) > 1 else ""
    length = g.array(a["length"] if a["length"] != () else case.inputs[1].shape[0] if window else case.inputs[0].shape[1])
    return g.node("STFT", [names[0], g.array(a["step"]), window, length], onesided=a["onesided"])


def _window(g, case, a, names):
    return g.node(_WINDOWS[a["coefficients"]], [g.array(a["size"])], periodic=a["periodic"],
                  output_datatype=_NUMBERS[a["dtype"]])


def _mel_weights(g, case, a, names):
    inputs = [g.array(a[k]) for k in ("bands", "length", "rate")]
    return g.node("MelWeightMatrix", [*inputs, *(g.array(a[k], np.float32) for k in ("lower", "upper"))],
                  output_datatype=_NUMBERS[a["dtype"]])


OPERATORS = {"dft": _dft, "stft": _stft, "window": _window, "mel_weights": _mel_weights}
#: ONNX Runtime sums in float with factors that lose digits, and its one-sided inverse cuts the spectrum elsewhere.
BY_REFERENCE = ("dft", "stft")
