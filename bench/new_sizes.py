"""What a size costs that a model has not met before: a decoder with caches, and an encoder, beside ONNX Runtime.

    python bench/new_sizes.py [--threads N] [--json]

Both engines run in this process, in turn. Of each length: the first call, the first call with other arrays, calls with the same
arrays again, and ONNX Runtime's.
Weights are random. Needs the extra `test` (onnxruntime).
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw


class Graph:
    """Nodes and weights of a model that is being written."""

    def __init__(self, seed: int):
        self._random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def weight(self, *shape: int) -> str:
        return self.constant((self._random.standard_normal(shape) * 0.05).astype(np.float32))

    def constant(self, array: Any) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = name or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def input(self, name: str, dtype: int, shape: list[Any]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, shape: list[Any]) -> None:
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def layer_norm(self, x: str, width: int) -> str:
        centred = self.node("Sub", x, self.node("ReduceMean", x, axes=[-1]))
        variance = self.node("ReduceMean", self.node("Pow", centred, self.constant(np.float32(2))), axes=[-1])
        deviation = self.node("Sqrt", self.node("Add", variance, self.constant(np.float32(1e-5))))
        scaled = self.node("Mul", self.node("Div", centred, deviation), self.weight(width))
        return self.node("Add", scaled, self.weight(width))

    def heads(self, x: str, width: int, heads: int) -> str:
        shape = self.constant(np.array([0, 0, heads, width // heads], np.int64))
        return self.node("Transpose", self.node("Reshape", x, shape), perm=[0, 2, 1, 3])

    def attention(self, q: str, k: str, v: str, width: int, heads: int) -> str:
        scores = self.node("MatMul", q, self.node("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self.node("Mul", scores, self.constant(np.float32((width // heads) ** -0.5)))
        mixed = self.node("Transpose", self.node("MatMul", self.node("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
        merged = self.node("Reshape", mixed, self.constant(np.array([0, 0, width], np.int64)))
        return self.node("MatMul", merged, self.weight(width, width))

    def feed_forward(self, x: str, width: int) -> str:
        inner = self.node("Relu", self.node("MatMul", x, self.weight(width, 4 * width)))
        return self.node("MatMul", inner, self.weight(4 * width, width))

    def model(self) -> bytes:
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.checker.check_model(model)
        return model.SerializeToString()


def decoder(blocks: int = 4, width: int = 64, heads: int = 4, words: int = 100) -> bytes:
    """One token of a decoder: caches of length P in, of length P + 1 out."""
    g = Graph(0)
    x = g.node("Gather", g.weight(words, width), g.input("ids", TensorProto.INT64, [1, 1]))
    for block in range(blocks):
        y = g.layer_norm(x, width)
        q, k, v = (g.heads(g.node("MatMul", y, g.weight(width, width)), width, heads) for _ in range(3))
        cache = []
        for word, new in (("k", k), ("v", v)):
            past = g.input(f"past_{word}{block}", TensorProto.FLOAT, [1, heads, "P", width // heads])
            cache.append(g.node("Concat", past, new, name=f"present_{word}{block}", axis=2))
            g.output(cache[-1], [1, heads, "P1", width // heads])
        x = g.node("Add", x, g.attention(q, *cache, width, heads))
        x = g.node("Add", x, g.feed_forward(g.layer_norm(x, width), width))
    g.output(g.node("MatMul", x, g.weight(width, words), name="logits"), [1, 1, words])
    return g.model()


def encoder(layers: int = 12, width: int = 256, heads: int = 4) -> bytes:
    """An encoder of sequences of length S."""
    g = Graph(1)
    x = g.input("x", TensorProto.FLOAT, [1, "S", width])
    for _ in range(layers):
        q, k, v = (g.heads(g.node("Add", g.node("MatMul", x, g.weight(width, width)), g.weight(width)), width, heads)
                   for _ in range(3))
        x = g.layer_norm(g.node("Add", x, g.attention(q, k, v, width, heads)), width)
        x = g.layer_norm(g.node("Add", x, g.feed_forward(x, width)), width)
    g.output(g.node("Identity", x, name="y"), [1, "S", width])
    return g.model()


def _feed(model: Any, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    random = np.random.default_rng(2)
    found = {}
    for name, spec in model.inputs.items():
        shape = tuple(sizes.get(d, d) for d in spec.shape)
        found[name] = random.standard_normal(shape).astype(np.float32) if spec.dtype == "f32" else np.full(shape, 3, np.int64)
    return found


def _milliseconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begin)


def _one_length(model: Any, peer: Any, sizes: dict[str, int]) -> tuple[dict[str, float], float]:
    """Milliseconds by what was called, and how far the results are apart over the largest value.

    "new" and "repeated" are each the first call with arrays that were just made; the second one's sizes are known.
    """
    feed = _feed(model, sizes)
    ours: list[Any] = []
    theirs: list[Any] = []
    times = {"new": _milliseconds(lambda: ours.append(model.run(feed))),
             "onnxruntime_new": _milliseconds(lambda: theirs.append(peer.run(None, feed)))}
    other = _feed(model, sizes)
    times |= {"repeated": _milliseconds(lambda: model.run(other)),
             "again": statistics.median(_milliseconds(lambda: model.run(feed)) for _ in range(3)),
             "onnxruntime_again": statistics.median(_milliseconds(lambda: peer.run(None, feed)) for _ in range(3))}
    apart = [float(np.abs(ours[0][output.name] - y).max()) / max(1e-6, float(np.abs(y).max()))
             for output, y in zip(peer.get_outputs(), theirs[0])]
    return times, max(apart)


def measure(source: bytes, symbol: str, lengths: list[int], threads: int) -> dict[str, Any]:
    """Milliseconds of a call at a new length, at the same one again, and of ONNX Runtime's calls; medians and minima."""
    model = pw.load(source, threads=threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    peer = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    for warm in (lengths[0] - 1, lengths[0] - 2):
        feed = _feed(model, {symbol: warm})
        model.run(feed), peer.run(None, feed)
    times: dict[str, list[float]] = {"new": [], "repeated": [], "again": [], "onnxruntime_new": [], "onnxruntime_again": []}
    worst = 0.0
    for length in lengths:
        one, difference = _one_length(model, peer, {symbol: length})
        worst = max(worst, difference)
        for name, value in one.items():
            times[name].append(value)
    report: dict[str, Any] = {k: {"median": statistics.median(v), "min": min(v)} for k, v in times.items()}
    extra = [new - again for new, again in zip(times["new"], times["repeated"])]
    grown = [e for e, length in zip(extra, lengths) if length - 1 & length - 2 == 0]  # where memory is planned anew
    inside = [e for e, length in zip(extra, lengths) if length - 1 & length - 2]
    return {**report, "lengths": len(lengths), "largest_difference": worst,
            "new_against_onnxruntime": report["new"]["median"] / report["onnxruntime_new"]["median"],
            "again_against_onnxruntime": report["again"]["median"] / report["onnxruntime_again"]["median"],
            "extra_in_planned_memory": statistics.median(inside), "extra_where_memory_grows": max(grown, default=0.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    report = {"decoder of 4 blocks": measure(decoder(), "P", list(range(18, 130)), arguments.threads),
              "encoder of 12 layers": measure(encoder(), "S", list(range(18, 130)), arguments.threads)}
    if arguments.json:
        print(json.dumps({"threads": arguments.threads, **report}, indent=2))
        return
    for name, r in report.items():
        print(f"{name}, {r['lengths']} lengths, each new; milliseconds (median):")
        print(f"  new length {r['new']['median']:.3f}, again {r['again']['median']:.3f}; ONNX Runtime "
              f"{r['onnxruntime_new']['median']:.3f}, {r['onnxruntime_again']['median']:.3f}")
        print(f"  against ONNX Runtime: new {r['new_against_onnxruntime']:.2f}, again {r['again_against_onnxruntime']:.2f}")
        print(f"  more than a call of a known length: {r['extra_in_planned_memory']:.3f} in planned memory, at most "
              f"{r['extra_where_memory_grows']:.3f} where memory grows; largest difference {r['largest_difference']:.1e}")


if __name__ == "__main__":
    main()
