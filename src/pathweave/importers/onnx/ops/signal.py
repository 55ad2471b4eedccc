"""Fourier transforms, windows, and weights of mel bands."""

from __future__ import annotations

from ..node import Node

#: a0, a1, a2 of the windows. Source: ONNX HannWindow, HammingWindow, BlackmanWindow.
_WINDOWS = {"HannWindow": (0.5, 0.5, 0.0), "HammingWindow": (25 / 46, 21 / 46, 0.0), "BlackmanWindow": (0.42, 0.5, 0.08)}


def _output_type(n: Node) -> str:
    """Element type of the output in the net; what it is in the file is noted."""
    declared = n.element_type(n.int("output_datatype", 1))
    n.builder.types.declare(n.outputs[0], declared)
    return n.builder.types.net_type(declared)


def dft(n: Node) -> None:
    """Discrete Fourier transform; from opset 20 the axis is an input."""
    n.required(1)
    attrs = {"inverse": n.int("inverse"), "onesided": n.int("onesided")}
    inputs = [n.input(0), n.input(1)]
    if n.version < 20:
        attrs["axis"] = n.int("axis", 1)
    else:
        inputs.append(n.input(2))
    n.emit("dft", inputs, attrs, last=True)


def stft(n: Node) -> None:
    """Fourier transforms of frames."""
    n.required(2)
    n.emit("stft", [n.input(0), n.input(2), n.input(1), n.input(3)], {"onesided": n.int("onesided", 1)}, last=True)


def window(n: Node) -> None:
    """A window of cosines."""
    n.required(1)
    n.emit("window", [n.input(0)], {"coefficients": _WINDOWS[n.op], "periodic": n.int("periodic", 1), "dtype": _output_type(n)},
           last=True)


def mel_weights(n: Node) -> None:
    """Weights of mel bands."""
    n.required(5)
    n.emit("mel_weights", [n.input(i) for i in range(5)], {"dtype": _output_type(n)}, last=True)


OPERATORS = {"DFT": dft, "STFT": stft, "MelWeightMatrix": mel_weights, **dict.fromkeys(_WINDOWS, window)}
