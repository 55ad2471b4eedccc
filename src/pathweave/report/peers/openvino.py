"""OpenVINO, CPU plugin, one stream, latency hint, or a stream per caller; f32 and bf16."""

from __future__ import annotations

from functools import partial
from typing import Any

from . import Declined, Engine, Peer, Task


def load(task: Task, precision: str) -> Engine:
    """A compiled model of static shapes; inputs and outputs are shared, not copied."""
    import openvino
    core = openvino.Core()
    return compiled(core, _model(core, task), task, precision)


def load_many(task: Task, callers: int, precision: str) -> list[Engine]:
    """A request per caller, each on a stream of its own of one thread."""
    import openvino
    core = openvino.Core()
    program = _program(core, _model(core, task), callers, precision, callers, "THROUGHPUT")
    return [_engine(program, task) for _ in range(callers)]


def _model(core: Any, task: Task) -> Any:
    model = core.read_model(task.onnx)
    model.reshape({name: list(shape) for name, shape in task.shapes.items()})
    return model


def compiled(core: Any, model: Any, task: Task, precision: str) -> Engine:
    """The engine of a model with static shapes. Raises Declined for a precision that the processor lacks."""
    return _engine(_program(core, model, task.threads, precision, 1, "LATENCY"), task)


def _program(core: Any, model: Any, threads: int, precision: str, streams: int, hint: str) -> Any:
    if precision == "bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise Declined("this processor has no bf16 instructions that it uses")
    return core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads,
                                             "NUM_STREAMS": streams, "PERFORMANCE_HINT": hint})


def _engine(program: Any, task: Task) -> Engine:
    import openvino
    request = program.create_infer_request()
    feed = {name: openvino.Tensor(array) for name, array in task.inputs.items()}
    outputs = [program.output(name) for name in task.outputs]

    def run() -> list:
        request.infer(feed, share_inputs=True, share_outputs=True)
        return [request.get_tensor(o).data for o in outputs]
    return run


PEERS = [Peer("openvino", ("openvino",), "openvino", partial(load, precision="f32"),
              load_many=partial(load_many, precision="f32")),
         Peer("openvino-bf16", ("openvino",), "openvino", partial(load, precision="bf16"), "reduced",
              partial(load_many, precision="bf16"))]
