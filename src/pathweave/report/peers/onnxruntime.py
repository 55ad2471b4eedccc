"""ONNX Runtime, CPU provider, default options but for the thread count (its threads may spin, as they do for its users)."""

from __future__ import annotations

from . import Engine, Peer, Task


def load(task: Task) -> Engine:
    """One session; outputs in the task's order."""
    return _engine(task, task.threads)


def load_many(task: Task, callers: int) -> list[Engine]:
    """One session that runs each call in the thread that makes it, for all callers."""
    return [_engine(task, 1)] * callers


def _engine(task: Task, threads: int) -> Engine:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(task.onnx, options, providers=["CPUExecutionProvider"])
    names, feed = list(task.outputs), dict(task.inputs)
    return lambda: session.run(names, feed)


PEERS = [Peer("onnxruntime", ("onnxruntime",), "onnxruntime", load, load_many=load_many)]
