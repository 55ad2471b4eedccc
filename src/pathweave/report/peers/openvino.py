"""OpenVINO, CPU plugin, one stream, latency hint; f32 and bf16."""

from __future__ import annotations

from functools import partial
from typing import Any

from . import Declined, Engine, Peer, Task


def load(task: Task, precision: str) -> Engine:
    """A compiled model of static shapes; inputs and outputs are shared, not copied."""
    import openvino
    core = openvino.Core()
    model = core.read_model(task.onnx)
    model.reshape({name: list(shape) for name, shape in task.shapes.items()})
    return compiled(core, model, task, precision)


def compiled(core: Any, model: Any, task: Task, precision: str) -> Engine:
    """The engine of a model with static shapes. Raises Declined for a precision that the processor lacks."""
    import openvino
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Declined("this processor has no bf16 instructions that it uses")
    program = core.compile_model(model, "CPU", {
        "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": task.threads, "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY"})
    request = program.create_infer_request()
    feed = {name: openvino.Tensor(array) for name, array in task.inputs.items()}
    outputs = [program.output(name) for name in task.outputs]

    def run() -> list:
        request.infer(feed, share_inputs=True, share_outputs=True)
        return [request.get_tensor(o).data for o in outputs]
    return run


PEERS = [Peer("openvino", ("openvino",), "openvino", partial(load, precision="f32")),
         Peer("openvino-bf16", ("openvino",), "openvino", partial(load, precision="bf16"), "reduced")]
