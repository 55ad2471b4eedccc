"""ncnn, f32 (no f16 or bf16 storage); the ONNX file is converted by pnnx. One input, batch 1: ncnn has no batch."""

from __future__ import annotations

import shutil
import subprocess

from . import Declined, Engine, Peer, Task, converted


def load(task: Task) -> Engine:
    """A network with ncnn's own optimisations. Raises Declined for several inputs, outputs, or a batch."""
    import ncnn
    import numpy as np
    if len(task.inputs) != 1 or len(task.outputs) != 1:
        raise Declined("only networks with one input and one output are compared with it")
    (array,) = task.inputs.values()
    if array.ndim != 4 or array.shape[0] != 1:
        raise Declined(f"it computes single images, and the input is {'x'.join(map(str, array.shape))}")
    folder = converted(task, "ncnn")
    parameters, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
    if not (parameters.exists() and weights.exists()):
        import pnnx
        shutil.copy(task.onnx, folder / "model.onnx")
        shape = ",".join(map(str, array.shape))
        done = subprocess.run([pnnx.EXEC_PATH, "model.onnx", f"inputshape=[{shape}]", "fp16=0"], cwd=folder,
                              capture_output=True, text=True, check=False)
        if done.returncode or not parameters.exists():
            raise Declined(f"pnnx cannot convert the model: {(done.stderr or done.stdout).strip()[-200:]}")
    net = ncnn.Net()
    net.opt.num_threads = task.threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    if net.load_param(str(parameters)) or net.load_model(str(weights)):
        raise Declined("it cannot load what pnnx wrote")

    def run() -> list:
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(array[0]))
        return [np.array(extractor.extract("out0")[1])[None]]
    return run


PEERS = [Peer("ncnn", ("ncnn", "pnnx"), "ncnn pnnx", load)]
