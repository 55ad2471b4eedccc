"""LiteRT with XNNPACK, f32 and int8. It reads no ONNX: the module that `pytorch` runs is converted by litert-torch.

The converter pins versions of many packages. Where it lives in an environment of its own, PATHWEAVE_LITERT_PYTHON names that
Python; the converted file is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from . import Declined, Engine, Peer, Task, converted


def load(task: Task, dtype: str) -> Engine:
    """An interpreter of static shapes; copies of inputs and outputs are part of the call, as its interface demands."""
    from ai_edge_litert.interpreter import Interpreter
    path = converted(task, f"litert-{dtype}") / "model.tflite"
    if not path.exists():
        _convert(task, dtype, path)
    interpreter = Interpreter(str(path), num_threads=task.threads)
    interpreter.allocate_tensors()
    # The converter keeps the order of the arguments in the signature's names, not in the list of inputs.
    signature = interpreter.get_signature_runner()
    ins = [signature.get_input_details()[f"args_{i}"] for i in range(len(task.inputs))]
    outs = [signature.get_output_details()[f"output_{i}"] for i in range(len(task.outputs))]
    feed = list(zip((d["index"] for d in ins), task.inputs.values()))

    def run() -> list:
        for index, array in feed:
            interpreter.set_tensor(index, array)
        interpreter.invoke()
        return [interpreter.get_tensor(d["index"]) for d in outs]
    return run


def _convert(task: Task, dtype: str, path: Path) -> None:
    request = {"onnx": task.onnx, "out": str(path), "dtype": dtype, "shapes": task.shapes}
    python = os.environ.get("PATHWEAVE_LITERT_PYTHON") or sys.executable
    # The package's own folder, for a Python in which it is not installed.
    places = [str(Path(__file__).resolve().parents[3]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run([python, "-m", "pathweave.report.peers._litert_convert", json.dumps(request)],
                          capture_output=True, text=True, check=False,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))})
    if done.returncode or not path.exists():
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Declined(f"the ONNX file cannot be converted: {last[-200:]}")


PEERS = [Peer("litert", ("ai_edge_litert",), "ai-edge-litert", partial(load, dtype="f32")),
         Peer("litert-int8", ("ai_edge_litert",), "ai-edge-litert", partial(load, dtype="int8"), "quantised")]
