"""OpenVINO in int8: quantised after training by NNCF with its defaults; what stays in floating point is f32 or bf16."""

from __future__ import annotations

from functools import partial
from typing import Any

from . import Engine, Peer, Task, converted
from .openvino import compiled


def load(task: Task, precision: str) -> Engine:
    """A compiled quantised model, which is kept."""
    import openvino
    core = openvino.Core()
    path = converted(task, "openvino-int8") / "model.xml"
    if not path.exists():
        openvino.save_model(_quantised(core, task), str(path), compress_to_fp16=False)
    return compiled(core, core.read_model(str(path)), task, precision)


def _quantised(core: Any, task: Task) -> Any:
    import logging

    import nncf
    nncf.set_log_level(logging.ERROR)
    model = core.read_model(task.onnx)
    model.reshape({name: list(shape) for name, shape in task.shapes.items()})
    samples = task.samples()
    return nncf.quantize(model, nncf.Dataset(samples), subset_size=len(samples))


PEERS = [Peer("openvino-int8", ("openvino", "nncf"), "openvino nncf", partial(load, precision="f32"), "quantised"),
         Peer("openvino-int8-bf16", ("openvino", "nncf"), "openvino nncf", partial(load, precision="bf16"), "quantised")]
