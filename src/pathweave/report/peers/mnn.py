"""MNN, CPU, precision `high` (f32); the ONNX file is converted by MNN's own converter, in a process of its own."""

from __future__ import annotations

import subprocess
import sys

from . import Declined, Engine, Peer, Task, converted

#: Not `MNN.tools.mnnconvert`: that module installs a logging package by pip when it is imported (into whatever environment
#: pip finds, replacing packages there) and reports every conversion to a server. This is the converter alone.
_CONVERT = "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"


def load(task: Task) -> Engine:
    """A session; copies of inputs and outputs are part of the call, as its interface demands."""
    import MNN
    import numpy as np
    path = converted(task, "mnn") / "model.mnn"
    if not path.exists():
        done = subprocess.run([sys.executable, "-c", _CONVERT, "-f", "ONNX", "--modelFile", task.onnx, "--MNNModel",
                               str(path), "--bizCode", "pathweave"], capture_output=True, text=True, check=False)
        if done.returncode or not path.exists():
            raise Declined(f"its converter fails: {(done.stderr or done.stdout).strip()[-200:]}")
    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"backend": "CPU", "precision": "high", "numThread": task.threads})
    feeds = []
    for name, array in task.inputs.items():
        if array.dtype != np.float32:
            raise Declined(f"input {name} is {array.dtype}; only float32 networks are compared with it")
        tensor = interpreter.getSessionInput(session, name)
        interpreter.resizeTensor(tensor, tuple(array.shape))
        feeds.append((tensor, MNN.Tensor(tuple(array.shape), MNN.Halide_Type_Float, array, MNN.Tensor_DimensionType_Caffe)))
    interpreter.resizeSession(session)
    results = []
    for name in task.outputs:
        tensor = interpreter.getSessionOutput(session, name)
        shape = tuple(tensor.getShape())
        results.append((tensor, shape, MNN.Tensor(shape, MNN.Halide_Type_Float, np.zeros(shape, np.float32),
                                                  MNN.Tensor_DimensionType_Caffe)))

    def run() -> list:
        for tensor, host in feeds:
            tensor.copyFrom(host)
        interpreter.runSession(session)
        for tensor, _, host in results:
            tensor.copyToHostTensor(host)
        return [np.array(host.getNumpyData()).reshape(shape) for _, shape, host in results]
    return run


PEERS = [Peer("mnn", ("MNN",), "MNN", load)]
