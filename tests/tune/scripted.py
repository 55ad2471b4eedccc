"""Small nets, and a scripted timer: every step takes a time that depends on its problem and routine alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import pathweave as pw  # noqa: E402

#: Scripted nanoseconds of a call beside its steps.
CALL_NS = 7_000


class Net:
    """An ONNX graph in the making."""

    def __init__(self, seed: int = 0):
        self.rng, self.nodes, self.weights = np.random.default_rng(seed), [], []

    def weight(self, *shape: int) -> str:
        name = f"w{len(self.weights)}"
        array = self.rng.standard_normal(shape).astype(np.float32) / np.sqrt(max(1, np.prod(shape[1:])))
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def add(self, op: str, *inputs: str, out: str | None = None, **attributes) -> str:
        out = out or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], f"n{len(self.nodes)}", **attributes))
        return out

    def conv(self, x: str, channels_in: int, channels: int, kernel: int = 3, **attributes) -> str:
        attributes = {"pads": [kernel // 2] * 4, **attributes}
        return self.add("Conv", x, self.weight(channels, channels_in, kernel, kernel), self.weight(channels), **attributes)

    def model(self, shape: list, outputs: list[str]) -> bytes:
        ins = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
        outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
        graph = helper.make_graph(self.nodes, "net", ins, outs, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def residual(extra: bool = False) -> bytes:
    """Stem, residual block, pooling, classifier; with `extra`, one more convolution of a new shape at the end."""
    n = Net()
    x = n.add("Relu", n.conv("x", 3, 16))
    y = n.add("Relu", n.conv(x, 16, 16, 1))
    y = n.add("Relu", n.add("Add", n.conv(y, 16, 16), x))
    y = n.add("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2])
    if extra:
        y = n.add("Relu", n.conv(y, 16, 32))
    y = n.add("Flatten", n.add("GlobalAveragePool", y))
    n.add("Gemm", y, n.weight(10, 32 if extra else 16), n.weight(10), transB=1, out="y")
    return n.model([1, 3, 12, 12], ["y"])


def doubled(model: bytes) -> onnx.ModelProto:
    """The same net in float64."""
    proto = onnx.load_from_string(model)
    for array in proto.graph.initializer:
        array.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(array).astype(np.float64), array.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto


class Clock:
    """A timer of scripted runs: nothing is computed, outputs are zeros, and the time of a step is `cost` of what it runs.

    `beside`: seconds that pass between the end of one run and the start of the next. `log`: (problem, routine, variant) of
    every step that was timed. `plans`: the plan of every run with timed steps. `calls`: runs without. `windows`: threads and
    sessions of each.
    """

    def __init__(self, beside: float = 0.02):
        self.beside, self.seconds = beside, 0.0
        self.log, self.calls, self.plans, self.windows = [], 0, [], []

    @staticmethod
    def cost(problem: str, routine: str, variant: str) -> int:
        """Nanoseconds of a candidate, an arbitrary but fixed number; conversions are cheaper."""
        digest = hashlib.sha256(f"{problem}|{routine}|{variant}".encode()).digest()
        number = int.from_bytes(digest[:4], "little")
        return 500 + number % 5_000 if problem.startswith("adapt ") else 10_000 + number % 40_000

    def scripted(self, plan) -> list[int]:
        """Nanoseconds of every step of a plan."""
        times = []
        for step in plan.steps:
            if step.value:
                times.append(self.cost(step.problem, step.routine, step.variant))
            else:
                c = plan.choices[step.layer]
                times.append(self.cost(step.problem, c.routine, c.variant) if step.part == 0 else 0)
        return times

    def disturbed(self, plan, times: list[int]) -> tuple[list[int], int]:
        """Nanoseconds of every step, and of the call, of one run on a machine that is not quiet."""
        return times, sum(times) + CALL_NS

    def _run(self, plan) -> tuple[list[int], int]:
        times, total = self.disturbed(plan, self.scripted(plan))
        self.seconds += self.beside + total / 1e9
        return times, total

    # ---- what a RunTimer has ----

    def now(self) -> float:
        return self.seconds

    def ns(self) -> int:
        return round(1e9 * self.seconds)

    def cpu(self) -> float:
        return self.seconds

    def date(self) -> float:
        return 1e9 + self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def steps(self, session, inputs, out) -> tuple[list[int], int]:
        self.plans.append(session.plan)
        for step in session.plan.steps:
            self.log.append((step.problem, step.routine, step.variant))
        for array in out.values():
            array[...] = 0
        return self._run(session.plan)

    def call(self, session, inputs, out) -> int:
        self.calls += 1
        return self._run(session.plan)[1]

    def limit(self, seconds: float):
        return contextlib.nullcontext()

    def window(self, sessions, inputs, out):
        """A second of calls, each as long as a call of the first session."""
        from pathweave.profiling.timed import Window
        ns = self._run(sessions[0].plan)[1]
        self.windows.append((sessions[0].plan.threads, len(sessions)))
        return Window(1e9 * len(sessions) / ns, (ns,) * len(sessions))

    def under_load(self, sessions: int):
        return contextlib.nullcontext(self)


def run_python(code: str, folder) -> subprocess.CompletedProcess:
    """Run code in a process of its own, in a folder, with the package that is tested here."""
    source = str(Path(pw.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=120)
