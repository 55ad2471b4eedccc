#!/usr/bin/env python3
"""An encoder of the size of BERT base beside ONNX Runtime and OpenVINO, in float32 and in int8.

    python bench/transformers.py [--length 16 --length 128 --length 512] [--batch 1 --batch 8] [--class f32 --class quantised]
                                 [--threads 2] [--rounds 5] [--layers 12] [--tune SECONDS] [--against NAMES] [--steps]

12 layers, 768 columns, 12 heads, 30522 words, random weights; token ids, kinds of tokens and a mask go in. All engines run in
one process, in turn, as in `pathweave bench`; a ratio is the time of a peer over ours. In class `quantised` ours is calibrated
with samples, and ONNX Runtime is there in two forms: `onnxruntime-int8` (static) and `onnxruntime-dynamic`. `floor` is
the time of all products at the machine's peak (f32) for the threads. `--steps` lists our steps by routine.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from new_sizes import Graph
from onnx import TensorProto, helper

WIDTH, HEADS, INNER, WORDS = 768, 12, 3072, 30522
#: Class -> the peers that it is compared with.
USUAL = {"f32": "onnxruntime,openvino", "quantised": "onnxruntime,onnxruntime-int8,onnxruntime-dynamic,openvino-int8"}


class Encoder(Graph):
    """The model of so many layers; `layers` of weights are all different."""

    def __init__(self) -> None:
        super().__init__(0)
        self._pool = (self._random.standard_normal(1 << 20) * 0.03).astype(np.float32)
        self.products = 0  # multiplications and additions of dense layers for one token

    def matrix(self, *shape: int) -> str:
        return self.constant(np.resize(np.roll(self._pool, len(self.weights) * 997), shape))

    def linear(self, x: str, depth: int, columns: int) -> str:
        self.products += 2 * depth * columns
        return self.node("Add", self.node("MatMul", x, self.matrix(depth, columns)), self.matrix(columns))

    def norm(self, x: str) -> str:
        ones = self.constant(np.ones(WIDTH, np.float32))
        return self.node("LayerNormalization", x, ones, self.matrix(WIDTH), axis=-1, epsilon=1e-12)

    def split(self, x: str, perm: list[int]) -> str:
        shape = self.constant(np.array([0, 0, HEADS, WIDTH // HEADS], np.int64))
        return self.node("Transpose", self.node("Reshape", x, shape), perm=perm)

    def gelu(self, x: str) -> str:
        inner = self.node("Erf", self.node("Div", x, self.constant(np.float32(2**0.5))))
        return self.node("Mul", self.node("Mul", x, self.node("Add", inner, self.constant(np.float32(1)))),
                         self.constant(np.float32(0.5)))

    def layer(self, x: str, mask: str) -> str:
        q, v = (self.split(self.linear(x, WIDTH, WIDTH), [0, 2, 1, 3]) for _ in range(2))
        k = self.split(self.linear(x, WIDTH, WIDTH), [0, 2, 3, 1])
        scores = self.node("Div", self.node("MatMul", q, k), self.constant(np.float32((WIDTH // HEADS) ** 0.5)))
        scores = self.node("Softmax", self.node("Add", scores, mask), axis=-1)
        mixed = self.node("Transpose", self.node("MatMul", scores, v), perm=[0, 2, 1, 3])
        merged = self.node("Reshape", mixed, self.constant(np.array([0, 0, WIDTH], np.int64)))
        x = self.norm(self.node("Add", self.linear(merged, WIDTH, WIDTH), x))
        return self.norm(self.node("Add", self.linear(self.gelu(self.linear(x, WIDTH, INNER)), INNER, WIDTH), x))

    def encoder(self, layers: int) -> bytes:
        ids, kinds, given = (self.input(n, TensorProto.INT64, ["N", "S"]) for n in ("ids", "kinds", "mask"))
        zero, one, two = (self.constant(np.array([i], np.int64)) for i in range(3))
        length = self.node("Slice", self.node("Shape", ids), one, two)
        numbers = self.node("Slice", self.constant(np.arange(512)[None]), zero, length, one)
        places = self.node("Gather", self.matrix(512, WIDTH), numbers)
        words, kind = self.node("Gather", self.matrix(WORDS, WIDTH), ids), self.node("Gather", self.matrix(2, WIDTH), kinds)
        x = self.norm(self.node("Add", self.node("Add", words, kind), places))
        mask = self.node("Cast", self.node("Unsqueeze", given, self.constant(np.array([1, 2], np.int64))), to=TensorProto.FLOAT)
        mask = self.node("Mul", self.node("Sub", self.constant(np.float32(1)), mask), self.constant(np.float32(-1e4)))
        for _ in range(layers):
            x = self.layer(x, mask)
        self.nodes.append(helper.make_node("Identity", [x], ["hidden"]))
        self.output("hidden", ["N", "S", WIDTH])
        return self.model()


def dynamic_peer() -> Any:
    """ONNX Runtime with weights of 8 bits and inputs that are quantised when it runs."""
    from pathweave.report.peers import Engine, Peer, Task
    from pathweave.report.peers.onnxruntime import load

    def dynamic(task: Task) -> Engine:
        from onnxruntime.quantization import QuantType, quantize_dynamic
        path = f"{task.onnx}.dynamic.onnx"
        if not Path(path).exists():
            quantize_dynamic(task.onnx, path, weight_type=QuantType.QInt8, per_channel=True)
        return load(replace(task, onnx=path))
    return Peer("onnxruntime-dynamic", ("onnxruntime",), "onnxruntime", dynamic, "quantised")


def show_steps(model: Any, plan: Any, inputs: dict[str, Any]) -> None:
    """Milliseconds of our steps by routine, the slowest first."""
    from pathweave.report.timing import step_samples
    samples, calls = step_samples(plan.session(), inputs, seconds=2)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for step, ns in zip(plan.steps, np.median(samples, axis=0)):
        entry = sums[f"{step.routine} {step.variant}"]
        entry[0] += ns / 1e6
        entry[1] += 1
    for routine, (ms, n) in sorted(sums.items(), key=lambda kv: -kv[1][0])[:14]:
        print(f"    {ms:9.3f} ms {n:4d} x {routine}")


def run_setting(a: argparse.Namespace, net: Encoder, loaded: Any, file: str, kind: str, batch: int, length: int) -> None:
    """Time one class at one batch and length beside the peers, and print it with its floor."""
    import pathweave as pw
    from pathweave.report import bench
    from pathweave.report.ours import calibrated, entry_of, task_of
    from pathweave.runtime.defaults import usual_route
    from pathweave.runtime.limits import limits
    rng = np.random.default_rng(1)
    inputs = {"ids": rng.integers(0, WORDS, (batch, length)), "kinds": np.zeros((batch, length), np.int64),
              "mask": np.ones((batch, length), np.int64)}
    bound = loaded.bind({n: x.shape for n, x in inputs.items()})
    if kind == "quantised":
        bound = calibrated(loaded, bound, inputs)
    routes = {"pathweave": usual_route(bound, a.threads, kind)}
    if a.tune:
        tuned = pw.tune(loaded, accuracy=kind, threads=a.threads, shapes=bound.shapes, budget_s=a.tune, progress=False)
        routes["pathweave tuned"] = tuned.route(bound.shapes)
    entries = [entry_of(n, loaded, bound, r, inputs) for n, r in routes.items()]
    task = task_of(file, inputs, bound, a.threads)
    for name in (n for n in (USUAL[kind] if a.against is None else a.against).split(",") if n):
        peer = dynamic_peer() if name == "onnxruntime-dynamic" else bench.select([name], kind)[0]
        entries.append(bench.prepare_peer(peer, task))
    bench.check(entries)
    bench.measure(entries, a.rounds)
    peak = limits([a.threads]).peak("f32", a.threads) or 1.0
    floor = 1e3 * batch * length * (net.products + 4 * length * WIDTH * a.layers) / peak
    ours = min(e.times.minimum for e in entries if e.times and e.name.startswith("pathweave"))
    print(f"{kind} batch {batch} length {length}: f32 floor {floor:.2f} ms", flush=True)
    for e in entries:
        if not e.times:
            print(f"  {e.name:22s} {e.reason}", flush=True)
            continue
        low, typical = e.times.minimum / 1e6, e.times.median / 1e6
        print(f"  {e.name:22s} {low:9.2f} ms ({typical:.2f}), ratio {1e6 * low / ours:.2f}, difference "
              f"{e.agreement.largest if e.agreement else 0:.1e}", flush=True)
    if a.steps:
        for name, route in routes.items():
            print(f"    {name}")
            show_steps(loaded, loaded.plan(route, bound.shapes, a.threads), inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, action="append")
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--class", dest="classes", action="append", choices=tuple(USUAL))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--tune", type=float, default=0)
    parser.add_argument("--against")
    parser.add_argument("--steps", action="store_true")
    a = parser.parse_args()
    import pathweave as pw
    net = Encoder()
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "bert.onnx")
        Path(file).write_bytes(net.encoder(a.layers))
        net.weights.clear()
        loaded = pw.load(file, threads=a.threads)
        for kind, batch, length in itertools.product(a.classes or USUAL, a.batch or [1, 8], a.length or [16, 128, 512]):
            run_setting(a, net, loaded, file, kind, batch, length)


if __name__ == "__main__":
    sys.exit(main())
