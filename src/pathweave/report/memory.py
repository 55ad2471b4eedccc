"""Peak memory of one engine: load and ten runs in a fresh process.

`python -m pathweave.report.memory '{"engine": ..., "model": ..., "onnx": ..., "shapes": {...}, "threads": 2}'` prints the
process's peak resident bytes as JSON, before the engine was imported and at the end.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

RUNS = 10


def measure(engine: str, model: str, onnx: str, shapes: dict[str, tuple[int, ...]], threads: int) -> dict[str, Any]:
    """{"peak_bytes", "base_bytes"} of an engine in a process of its own, or {"reason"}."""
    request = json.dumps({"engine": engine, "model": model, "onnx": onnx, "shapes": shapes, "threads": threads})
    done = subprocess.run([sys.executable, "-m", "pathweave.report.memory", request], capture_output=True, text=True,
                          check=False)
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return {"reason": last[:300]}


def peak_bytes() -> int:
    """Largest resident size of this process since it began. (getrusage would include the parent's, before exec.)"""
    with open("/proc/self/status", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM")


def _main(request: dict[str, Any]) -> dict[str, Any]:
    import numpy as np
    rng = np.random.default_rng(0)
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    inputs = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    base = peak_bytes()
    if request["engine"] == "pathweave":
        import pathweave
        model = pathweave.load(request["model"], threads=request["threads"])
        if model.layouts:
            from ..runtime.inputs import as_caller
            inputs = as_caller(model.bind(shapes), inputs)
        outputs: Any = None
        for _ in range(RUNS):
            outputs = model.runnable().run(inputs)
    else:
        from .peers import Task, peers
        peer = peers()[request["engine"]]
        if peer.missing():
            return {"reason": peer.missing()}
        call = peer.load(Task(request["onnx"], inputs, tuple(request.get("outputs") or _outputs(request["onnx"])),
                              request["threads"]))
        outputs = None
        for _ in range(RUNS):
            outputs = call()
    assert outputs is not None
    return {"peak_bytes": peak_bytes(), "base_bytes": base}


def _outputs(path: str) -> list[str]:
    """Output names of an ONNX file, read in a process of its own so that its memory does not count here."""
    code = ("import onnx, json, sys; print(json.dumps([o.name for o in "
            "onnx.load(sys.argv[1], load_external_data=False).graph.output]))")
    return json.loads(subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    print(json.dumps(_main(json.loads(sys.argv[1]))))
