#!/usr/bin/env python3
"""A token of a decoder with caches, batch 1, beside ONNX Runtime and OpenVINO, and beside the time of reading its weights.

    python bench/decoder.py [--net gpt2 --net llama ...] [--form f32 --form q4 ...] [--past 128] [--threads 2] [--rounds 5]
                            [--against onnxruntime,openvino] [--tune SECONDS] [--prompt N] [--small]

`gpt2` has the sizes of GPT-2 small (124 million weights); `llama` is a decoder of 1024 columns with grouped heads, rotary
positions and gated layers. Forms: f32; bf16 and f16, the same file with weights that we hold in 16 bits (class `reduced`);
q8 and q4, MatMulNBits in blocks of 32. Weights are random. All engines run in this process, in turn, from a cache of the
same length; ours by a session whose caches are states, ONNX Runtime by IOBinding, OpenVINO with states of its own.

`floor` is the bytes of all weights that a token reads over the bandwidth of memory (`pathweave.runtime.limits`); the columns
behind it are times over that floor. `--prompt N`: N rows in one call instead of one.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from new_sizes import Graph
from onnx import TensorProto, helper

FORMS = ("f32", "bf16", "f16", "q8", "q4")
BLOCK = 32


@dataclass(frozen=True)
class Sizes:
    """Of a decoder; `groups`: heads of keys and values."""

    layers: int
    width: int
    heads: int
    groups: int
    inner: int
    words: int


NETS = {"gpt2": Sizes(12, 768, 12, 12, 3072, 50257), "llama": Sizes(12, 1024, 16, 4, 2816, 32000)}
SMALL = {"gpt2": Sizes(2, 64, 4, 4, 256, 500), "llama": Sizes(2, 64, 4, 2, 160, 500)}


@dataclass
class Decoder(Graph):
    """The model of a net in a form. `weights_read`: numbers of all matrices that a token reads."""

    sizes: Sizes
    form: str
    gated: bool
    weights_read: int = 0
    floats: int = 0
    caches: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        Graph.__init__(self, 0)
        # The same random numbers over and over: a model of this size is made in a second.
        self._pool = (self._random.standard_normal(1 << 20) * 0.04).astype(np.float32)
        self._bytes = self._random.integers(0, 256, 1 << 20, dtype=np.uint8)

    def matrix(self, *shape: int) -> str:
        self.floats += int(np.prod(shape))
        return self.constant(np.resize(self._pool, shape))

    def linear(self, x: str, depth: int, columns: int, bias: bool = False) -> str:
        self.weights_read += depth * columns
        if self.form in ("q8", "q4"):
            bits, blocks = int(self.form[1]), -(-depth // BLOCK)
            w = self.constant(np.resize(self._bytes, (columns, blocks, BLOCK * bits // 8)))
            scales = self.constant(np.resize(np.abs(self._pool) * (0.1 if bits == 4 else 0.006), (columns * blocks,)))
            y = self.node("MatMulNBits", x, w, scales, domain="com.microsoft", K=depth, N=columns, bits=bits,
                          block_size=BLOCK, accuracy_level=0)
        else:
            y = self.node("MatMul", x, self.matrix(depth, columns))
        return self.node("Add", y, self.matrix(columns)) if bias else y

    def norm(self, x: str) -> str:
        width = self.sizes.width
        if not self.gated:
            return self.node("LayerNormalization", x, self.matrix(width), self.matrix(width), axis=-1, epsilon=1e-5)
        mean = self.node("ReduceMean", self.node("Pow", x, self.constant(np.float32(2))), axes=[-1])
        root = self.node("Sqrt", self.node("Add", mean, self.constant(np.float32(1e-5))))
        return self.node("Mul", self.node("Div", x, root), self.matrix(width))

    def split_heads(self, x: str, heads: int) -> str:
        shape = self.constant(np.array([0, 0, heads, self.sizes.width // self.sizes.heads], np.int64))
        return self.node("Transpose", self.node("Reshape", x, shape), perm=[0, 2, 1, 3])

    def rotated(self, x: str, position: tuple[str, str]) -> str:
        half = self.sizes.width // self.sizes.heads // 2
        a = self.node("Slice", x, self.constant(np.array([0], np.int64)), self.constant(np.array([half], np.int64)),
                      self.constant(np.array([3], np.int64)))
        b = self.node("Slice", x, self.constant(np.array([half], np.int64)), self.constant(np.array([2 * half], np.int64)),
                      self.constant(np.array([3], np.int64)))
        turned = self.node("Concat", self.node("Neg", b), a, axis=-1)
        return self.node("Add", self.node("Mul", x, position[0]), self.node("Mul", turned, position[1]))

    def gelu(self, x: str) -> str:
        cubed = self.node("Mul", self.node("Pow", x, self.constant(np.float32(3))), self.constant(np.float32(0.044715)))
        inner = self.node("Mul", self.node("Add", x, cubed), self.constant(np.float32((2 / np.pi) ** 0.5)))
        gate = self.node("Add", self.node("Tanh", inner), self.constant(np.float32(1)))
        return self.node("Mul", self.node("Mul", x, self.constant(np.float32(0.5))), gate)

    def repeated(self, x: str) -> str:
        """Heads of keys, each as often as there are queries to it."""
        s = self.sizes
        times, size = s.heads // s.groups, s.width // s.heads
        wide = self.node("Unsqueeze", x, self.constant(np.array([2], np.int64)))
        shape = self.node("Concat", self.constant(np.array([1, s.groups, times], np.int64)),
                          self.node("Slice", self.node("Shape", x), *(self.constant(np.array([i], np.int64)) for i in (2, 3))),
                          self.constant(np.array([size], np.int64)), axis=0)
        return self.node("Reshape", self.node("Expand", wide, shape), self.constant(np.array([0, s.heads, -1, size], np.int64)))

    def attention_of(self, x: str, layer: int, position: tuple[str, str], mask: str) -> str:
        s = self.sizes
        size = s.width // s.heads
        q = self.split_heads(self.linear(x, s.width, s.width, not self.gated), s.heads)
        k, v = (self.split_heads(self.linear(x, s.width, s.groups * size, not self.gated), s.groups) for _ in range(2))
        if self.gated:
            q, k = self.rotated(q, position), self.rotated(k, position)
        present = []
        for word, new in (("k", k), ("v", v)):
            past = self.input(f"past_{word}{layer}", TensorProto.FLOAT, [1, s.groups, "P", size])
            present.append(self.node("Concat", past, new, name=f"present_{word}{layer}", axis=2))
            self.output(present[-1], [1, s.groups, "P1", size])
            self.caches.append(past)
        keys, values = (self.repeated(p) if s.heads != s.groups else p for p in present)
        scores = self.node("MatMul", q, self.node("Transpose", keys, perm=[0, 1, 3, 2]))
        scores = self.node("Mul", scores, self.constant(np.float32(size ** -0.5)))
        scores = self.node("Softmax", self.node("Add", scores, mask), axis=-1)
        mixed = self.node("Transpose", self.node("MatMul", scores, values), perm=[0, 2, 1, 3])
        merged = self.node("Reshape", mixed, self.constant(np.array([0, 0, s.width], np.int64)))
        return self.linear(merged, s.width, s.width, not self.gated)

    def feed_forward_of(self, x: str) -> str:
        s = self.sizes
        if not self.gated:
            return self.linear(self.gelu(self.linear(x, s.width, s.inner, True)), s.inner, s.width, True)
        gate, up = self.linear(x, s.width, s.inner), self.linear(x, s.width, s.inner)
        return self.linear(self.node("Mul", self.node("Mul", gate, self.node("Sigmoid", gate)), up), s.inner, s.width)

    def model(self) -> bytes:
        s = self.sizes
        x = self.node("Gather", self.constant(np.resize(self._pool, (s.words, s.width))),
                      self.input("ids", TensorProto.INT64, [1, "S"]))
        mask = self.input("mask", TensorProto.FLOAT, [1, 1, "S", "P1"])
        position = ("", "")
        if self.gated:
            position = tuple(self.input(n, TensorProto.FLOAT, [1, 1, "S", s.width // s.heads]) for n in ("cos", "sin"))
        for layer in range(s.layers):
            x = self.node("Add", x, self.attention_of(self.norm(x), layer, position, mask))
            x = self.node("Add", x, self.feed_forward_of(self.norm(x)))
        logits = self.linear(self.norm(x), s.width, s.words)
        self.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
        self.output("logits", [1, "S", s.words])
        graph = helper.make_graph(self.nodes, "net", self.inputs, self.outputs, self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])
        made.ir_version = 9
        return made.SerializeToString()

    def bytes_read(self) -> float:
        """Bytes of weights of a token, in the form that they are held in."""
        per = {"f32": 4.0, "bf16": 2.0, "f16": 2.0, "q8": 1 + 4 / BLOCK, "q4": 0.5 + 4 / BLOCK}[self.form]
        return self.weights_read * per


def feed_of(net: Decoder, past: int, rows: int) -> dict[str, np.ndarray]:
    """What is no cache: token ids, mask, positions."""
    rng = np.random.default_rng(3)
    mask = np.zeros((1, 1, rows, past + rows), np.float32)
    mask[0, 0][np.arange(past + rows)[None] > past + np.arange(rows)[:, None]] = np.finfo(np.float32).min
    feed = {"ids": rng.integers(0, net.sizes.words, (1, rows)), "mask": mask}
    if net.gated:
        size = net.sizes.width // net.sizes.heads
        angle = np.arange(past, past + rows)[None, None, :, None] / 1e4 ** (np.arange(size // 2) / (size // 2))
        feed |= {n: np.concatenate([f(angle)] * 2, -1).astype(np.float32) for n, f in (("cos", np.cos), ("sin", np.sin))}
    return feed


class Engine:
    """`begin(past)`: the caches hold so many rows; `step(feed)`: a call, the caches grow; gives the logits."""

    def begin(self, caches: dict[str, np.ndarray]) -> None: ...
    def step(self, feed: dict[str, np.ndarray]) -> np.ndarray: ...


class Ours(Engine):
    def __init__(self, file: str, net: Decoder, threads: int, past: int, rows: int, tune: float = 0):
        import pathweave as pw
        states = {p: p.replace("past", "present") for p in net.caches}
        self.model = pw.load(file, threads=threads)
        accuracy = {"bf16": "reduced", "f16": "reduced"}.get(net.form, "f32")
        feed = feed_of(net, past, rows)
        shapes = {n: a.shape for n, a in feed.items()} | {n: cache_shape(net, past) for n in net.caches}
        if tune:
            self.model = pw.tune(self.model, accuracy=accuracy, threads=threads, shapes=shapes, budget_s=tune, progress=False)
        elif accuracy != "f32":
            self.model.add_route(held_in(self.model.bind(shapes), threads, net.form))
        self.model = self.model.with_states(states, sizes={n: cache_shape(net, past) for n in net.caches})
        self.session = self.model.session()

    def begin(self, caches: dict[str, np.ndarray]) -> None:
        self.session.set_state(caches)

    def step(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        return self.session.run(feed)["logits"]


def held_in(bound: Any, threads: int, form: str) -> Any:
    """The default route with dense layers whose weights are held in `bf16` or `f16`, where there are such routines."""
    from dataclasses import replace

    from pathweave.runtime.conversions import conversions_for
    from pathweave.runtime.defaults import default_choices, route_of, usual_route
    usual = usual_route(bound, threads)
    fused = bound.fused(usual.regions)
    fixed = {}
    for i, layer in enumerate(fused.layers):
        if layer.kind == "dense":
            found = fused.candidates(i, threads, accuracy="reduced")[0]
            held = [c for c in found if c.routine.startswith("dense/gemv_in_f32:" + form)]
            if held:
                fixed[layer.name] = held[0]
    choices = default_choices(fused, threads, "reduced", fixed=fixed)
    route = route_of(fused, choices, conversions_for(fused, choices, threads), threads, "reduced")
    return replace(route, regions=usual.regions)


class OnnxRuntime(Engine):
    def __init__(self, file: str, net: Decoder, threads: int, level: int = 0):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        if level:
            options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", str(level))
        self.ort = onnxruntime
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.net = net
        self.names = ["logits", *(p.replace("past", "present") for p in net.caches)]

    def begin(self, caches: dict[str, np.ndarray]) -> None:
        self.past = {n: self.ort.OrtValue.ortvalue_from_numpy(a) for n, a in caches.items()}

    def step(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        binding = self.session.io_binding()
        for name, array in feed.items():
            binding.bind_cpu_input(name, array)
        for name, value in self.past.items():
            binding.bind_ortvalue_input(name, value)
        for name in self.names:
            binding.bind_output(name, "cpu")
        self.session.run_with_iobinding(binding)
        outputs = binding.get_outputs()
        self.past = dict(zip(self.net.caches, outputs[1:]))
        return outputs[0].numpy()


class Reading(Engine):
    """Reads as many bytes as a token's weights have, from memory: the floor at this moment. The best of the probes."""

    def __init__(self, net: Decoder, threads: int):
        from pathweave.runtime.native import native
        self.probe = next(p["name"] for p in native().limit_probes() if p["kind"] == "read")
        self.native, self.threads, self.bytes = native(), threads, int(net.bytes_read())

    def begin(self, caches: dict[str, np.ndarray]) -> None: ...

    def milliseconds(self) -> float:
        # Twice the size, so that a shared cache holds little of it from the time before.
        size = max(self.bytes, 128 << 20)
        ns = self.native.time_read(self.probe, size // self.threads // 4096 * 4096, self.threads, 1, 1)
        return ns / 1e6 * self.bytes / size


class OpenVino(Engine):
    def __init__(self, file: str, net: Decoder, threads: int):
        import openvino
        from openvino._offline_transformations import apply_make_stateful_transformation
        core = openvino.Core()
        model = core.read_model(file)
        apply_make_stateful_transformation(model, {p: p.replace("past", "present") for p in net.caches})
        self.compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads,
                                                          "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"})
        self.ov = openvino
        self.request = self.compiled.create_infer_request()

    def begin(self, caches: dict[str, np.ndarray]) -> None:
        for state in self.request.query_state():
            state.state = self.ov.Tensor(caches[next(n for n in caches if state.name.startswith(n + "present"))])

    def step(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        self.request.infer(feed, share_inputs=True, share_outputs=True)
        return self.request.get_tensor("logits").data


def cache_shape(net: Decoder, past: int) -> tuple[int, ...]:
    s = net.sizes
    return (1, s.groups, past, s.width // s.heads)


def engine(make: Callable[[], Engine], name: str) -> Engine | None:
    """The engine, or None with a line that says why."""
    try:
        return make()
    except Exception as e:  # whatever a peer raises
        print(f"  {name}: not run: {type(e).__name__}: {' '.join(str(e).split())[:150]}", flush=True)
        return None


def makers_of(file: str, net: Decoder, a: argparse.Namespace) -> dict[str, Callable[[], Engine]]:
    """What makes each engine, by its name."""
    makers: dict[str, Callable[[], Engine]] = {"pathweave": lambda: Ours(file, net, a.threads, a.past, a.prompt)}
    if a.tune:
        makers["pathweave tuned"] = lambda: Ours(file, net, a.threads, a.past, a.prompt, a.tune)
    makers["onnxruntime"] = lambda: OnnxRuntime(file, net, a.threads)
    makers["openvino"] = lambda: OpenVino(file, net, a.threads)
    return makers


def measure(net: Decoder, engines: dict[str, Engine], past: int, rows: int, rounds: int, tokens: int) -> dict[str, list[float]]:
    """Milliseconds of a call by engine. A turn: caches of `past` rows, two calls that do not count, then `tokens`."""
    from pathweave.report.timing import settle
    rng = np.random.default_rng(5)
    caches = {n: rng.standard_normal(cache_shape(net, past), dtype=np.float32) for n in net.caches}
    feeds = [feed_of(net, past + i * rows, rows) for i in range(tokens + 2)]
    times: dict[str, list[float]] = {n: [] for n in engines}
    first: np.ndarray | None = None
    order, shuffle = list(engines), random.Random(7)
    for turn in range(rounds):
        if turn:
            shuffle.shuffle(order)
        for name in order:
            e = engines[name]
            settle()
            e.begin(caches)
            if isinstance(e, Reading):
                times[name] += [e.milliseconds() for _ in range(tokens)]
                continue
            for i, feed in enumerate(feeds):
                begin = time.perf_counter()
                y = e.step(feed)
                if i >= 2:
                    times[name].append(1e3 * (time.perf_counter() - begin))
                if turn == 0 and i == 1:
                    y = np.array(y)
                    first = y if first is None else first
                    apart = float(np.abs(y - first).max() / np.abs(first).max())
                    if apart > 1e-3:
                        print(f"  {name}: logits differ from those of pathweave by {apart:.1e} of the largest")
    return times


def show_steps(ours: Any, net: Decoder, past: int, rows: int) -> None:
    """Milliseconds of our steps by routine, the slowest first."""
    from collections import defaultdict

    from pathweave.report.timing import step_samples
    inputs = feed_of(net, past, rows) | {n: np.zeros(cache_shape(net, past), np.float32) for n in net.caches}
    plan = ours.model.plan(shapes={n: x.shape for n, x in inputs.items()})
    samples, calls = step_samples(plan.session(), inputs, seconds=2)
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
    for step, ns, low in zip(plan.steps, np.median(samples, axis=0), np.min(samples, axis=0)):
        entry = sums[f"{step.routine} {step.variant}"]
        entry[0] += ns / 1e6
        entry[1] += low / 1e6
        entry[2] += 1
    print(f"    calls {calls.minimum / 1e6:.3f} ({calls.median / 1e6:.3f}) ms; median of steps, minimum")
    for routine, (ms, low, n) in sorted(sums.items(), key=lambda kv: -kv[1][0])[:14]:
        print(f"    {ms:9.3f} {low:9.3f} ms {n:4d} x {routine}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", action="append", choices=NETS)
    parser.add_argument("--form", action="append", choices=FORMS)
    parser.add_argument("--past", type=int, default=128)
    parser.add_argument("--prompt", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--against", default="onnxruntime,openvino")
    parser.add_argument("--tune", type=float, default=0)
    parser.add_argument("--steps", action="store_true", help="our steps by routine")
    parser.add_argument("--small", action="store_true", help="nets of a few thousand weights, to see that it runs")
    a = parser.parse_args()
    from pathweave.runtime.limits import limits
    bandwidth = limits([a.threads]).bandwidth("memory", a.threads)
    print(f"{a.threads} threads, {bandwidth / 1e9:.1f} GB/s read from memory, caches of {a.past}, {a.prompt} rows in a call; "
          f"minimum (median) in ms")
    for name in a.net or NETS:
        for form in a.form or FORMS:
            net = Decoder((SMALL if a.small else NETS)[name], form, name == "llama")
            with tempfile.TemporaryDirectory() as folder:
                file = str(Path(folder) / "net.onnx")
                Path(file).write_bytes(net.model())
                net.weights.clear()
                makers = makers_of(file, net, a)
                made = {n: engine(makers[n], n) for n in makers if n.startswith("pathweave") or n in a.against.split(",")}
            made = {"reading": Reading(net, a.threads), **made}
            times = measure(net, {n: e for n, e in made.items() if e}, a.past, a.prompt, a.rounds, a.tokens)
            floor = 1e3 * net.bytes_read() / bandwidth
            read = times.pop("reading")
            cells = [f"{n} {min(t):.2f} ({statistics.median(t):.2f}): {min(t) / min(read):.2f} "
                     f"({statistics.median(t) / statistics.median(read):.2f})" for n, t in times.items()]
            print(f"{name} {form}: {net.bytes_read() / 1e6:.0f} MB, floor {floor:.2f}, read in turn {min(read):.2f} "
                  f"({statistics.median(read):.2f}): {'; '.join(cells)}", flush=True)
            if a.steps:
                show_steps(made["pathweave"], net, a.past, a.prompt)
            del made


if __name__ == "__main__":
    sys.exit(main())
