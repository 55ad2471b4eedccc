"""What loading a model, its first call and a call at a further shape cost, each in processes of their own.

    python bench/loading.py MODEL.onnx... [--runs N] [--threads N] [--json]
    python bench/loading.py --chain 300          a net of 300 layers that is made here

Per model: the time of `import onnx`, which NumPy is part of, of `import pathweave` after it, of `pw.load`, of the first call,
of the first call at a further shape, and of a call whose shape is known. Then, of a model that is loaded anew, the net bound to
one shape, a plan for it, and both for a further shape. Symbols have the size 16, and 24 as the further one; the first axis has
--batch, and one more. A time is the least of N processes; processor time of the process stands beside it, since the machine may
have other work.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

PARTS = ("import_onnx", "import_pathweave", "load", "first_call", "further_call", "again", "bind", "plan", "further_bind",
         "further_plan")


def chain(layers: int) -> bytes:
    """A net of N layers: blocks of a convolution, a batch-norm that is no part of it, a sum and a sigmoid."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    random = np.random.default_rng(0)
    nodes, weights, value = [], [], "x"
    for i in range(layers):
        if i % 3 == 0:
            weights.append(numpy_helper.from_array(random.standard_normal((16, 16, 3, 3)).astype(np.float32) * 0.1, f"w{i}"))
            nodes.append(helper.make_node("Conv", [value, f"w{i}"], [f"v{i}"], pads=[1, 1, 1, 1]))
        elif i % 3 == 1:
            nodes.append(helper.make_node("Sin", [value], [f"v{i}"]))
        else:
            nodes.append(helper.make_node("Softmax", [value], [f"v{i}"], axis=1))
        value = f"v{i}"
    shape = ["N", 16, "H", "W"]
    graph = helper.make_graph(nodes, "chain", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info(value, TensorProto.FLOAT, None)], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def inputs(model: Any, size: int, batch: int) -> dict[str, Any]:
    """Arrays of what a model takes: symbols have the size that is asked for, integers are small."""
    import numpy as np
    random = np.random.default_rng(size)
    made: dict[str, Any] = {}
    for name, spec in model.inputs.items():
        shape = tuple(d if isinstance(d, int) else size if i else batch for i, d in enumerate(spec.shape))
        made[name] = random.standard_normal(shape).astype(np.float32) if spec.dtype[0] == "f" else np.ones(shape, np.int64)
        if spec.dtype not in ("f32", "i64"):
            made[name] = made[name].astype({"f64": "f8", "f16": "f2", "bool": "?"}.get(spec.dtype, spec.dtype))
    return made


def timed(call: Callable[[], Any]) -> tuple[list[float], Any]:
    """Milliseconds of a call by the clock, and of this process on processors."""
    used, begin = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
    result = call()
    return [1e3 * (time.perf_counter() - begin), 1e3 * (resource.getrusage(resource.RUSAGE_SELF).ru_utime - used)], result


def one_process(path: str, threads: int, batch: int) -> dict[str, list[float]]:
    """All parts, in this process."""
    found: dict[str, list[float]] = {}
    found["import_onnx"], _ = timed(lambda: __import__("onnx"))
    found["import_pathweave"], pw = timed(lambda: __import__("pathweave"))
    found["load"], model = timed(lambda: pw.load(path, threads=threads))
    near, far = inputs(model, 16, batch), inputs(model, 24, batch + 1)
    found["first_call"], _ = timed(lambda: model.run(near))
    found["further_call"], _ = timed(lambda: model.run(far))
    found["again"], _ = timed(lambda: model.run(far))
    model = pw.load(path, threads=threads)
    for word, arrays in (("", near), ("further_", far)):
        shapes = {name: array.shape for name, array in arrays.items()}
        found[f"{word}bind"], _ = timed(partial(model.bind, shapes))
        found[f"{word}plan"], _ = timed(partial(model.plan, shapes=shapes))
    return found


def least(path: str, runs: int, threads: int, batch: int) -> dict[str, list[float]]:
    """The least time of each part over several processes, and the least processor time."""
    command = [sys.executable, __file__, path, "--threads", str(threads), "--batch", str(batch), "--one-process"]
    found = [json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout) for _ in range(runs)]
    return {part: [min(f[part][k] for f in found) for k in (0, 1)] for part in PARTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", metavar="MODEL.onnx")
    parser.add_argument("--chain", type=int, metavar="LAYERS", help="a net of so many layers, made here")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--one-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one_process:
        print(json.dumps(one_process(arguments.models[0], arguments.threads, arguments.batch)))
        return
    with tempfile.TemporaryDirectory() as folder:
        models = list(arguments.models)
        if arguments.chain:
            made = Path(folder, f"chain{arguments.chain}.onnx")
            made.write_bytes(chain(arguments.chain))
            models.append(str(made))
        report = {Path(m).name: least(m, arguments.runs, arguments.threads, arguments.batch) for m in models}
    if arguments.json:
        print(json.dumps(report, indent=2))
        return
    print("milliseconds by the clock / of the process, the least of", arguments.runs)
    for name, parts in report.items():
        print(name)
        for part, (clock, user) in parts.items():
            print(f"  {part.replace('_', ' '):18} {clock:9.1f} {user:9.1f}")


if __name__ == "__main__":
    main()
