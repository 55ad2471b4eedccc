"""ONNX Runtime in int8: its static quantisation, QDQ, a scale per output channel, u8 activations; else as `onnxruntime`."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import replace
from typing import Any

from . import Engine, Peer, Task, converted
from .onnxruntime import load as load_f32


def load(task: Task) -> Engine:
    """A session over the quantised file, which is kept."""
    path = converted(task, "onnxruntime-int8") / "model.onnx"
    if not path.exists():
        quantise(task, str(path))
    return load_f32(replace(task, onnx=str(path)))


def quantise(task: Task, path: str) -> None:
    """Write the quantised model; it appears when it is whole."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(task.samples())

        def get_next(self) -> Any:
            return next(self.left, None)
    prepared, temporary = f"{path}.prepared", f"{path}.{os.getpid()}.tmp"
    logging.getLogger().setLevel(logging.ERROR)
    try:
        quant_pre_process(task.onnx, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, temporary, Reader(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
        os.replace(temporary, path)
    finally:
        for leftover in (prepared, temporary):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(leftover)


PEERS = [Peer("onnxruntime-int8", ("onnxruntime", "onnx"), "onnxruntime onnx", load, "quantised")]
