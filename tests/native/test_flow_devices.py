"""Nets whose sizes or steps depend on contents, each on one plan, on the CPU and across the null devices.

A null device has no arithmetic but a relu that copies: the nets hand it values that are not negative, so that what comes back
must be what ONNX Runtime computes. With the lag `hold` nothing runs on it before somebody waits for it.
"""

from __future__ import annotations

import os
from itertools import pairwise

import numpy as np
import pytest
from native_helpers import isolated, null_library
from onnx import TensorProto, helper, numpy_helper

from pathweave.runtime.builder import CONTROL

F, INT, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
WIDTH, HEADS, MOST = 16, 2, 24  # of the decoder; the positions that its cache has at most


def info(name: str, dtype: int, shape) -> object:
    return helper.make_tensor_value_info(name, dtype, shape)


class Builder:
    """Nodes and constants of one graph."""

    def __init__(self, seed: int = 0):
        self.rng, self.nodes, self.constants = np.random.default_rng(seed), [], []

    def weight(self, *shape: int) -> str:
        return self.constant((self.rng.standard_normal(shape) * 0.3).astype(np.float32))

    def constant(self, array) -> str:
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def __call__(self, op: str, *inputs: str, name: str = "", outputs: int = 1, **attributes) -> str:
        names = [name or f"{op.lower()}{len(self.nodes)}", *(f"{op.lower()}{len(self.nodes)}_{k}" for k in range(1, outputs))]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def on_device(self, x: str) -> str:
        """Relu of what is not negative: the layers that the null device computes."""
        return self("Relu", self("Abs", x))

    def model(self, inputs, outputs) -> bytes:
        graph = helper.make_graph(self.nodes, "net", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def nonzero() -> tuple[bytes, list[dict]]:
    """Places of what is positive, gathered: as many columns as there are."""
    b = Builder(1)
    seen = b("NonZero", b("Greater", "x", b.constant(np.float32(0))))
    b("Neg", b.on_device(b("Cast", seen, to=F)), name="y")
    b("MatMul", b("Transpose", b.on_device(b("Neg", "y")), perm=[1, 0]), b.weight(2, 3), name="z")
    rng = np.random.default_rng(2)
    x = [rng.standard_normal((4, 5)).astype(np.float32) + s for s in (0.0, 1.0, -1.0, 0.3)]
    return b.model([info("x", F, (4, 5))], [info("y", F, None), info("z", F, None)]), [{"x": a} for a in x]


def lstm_in_a_loop(size: int = 8, width: int = 5) -> tuple[bytes, list[dict]]:
    b = Builder(2)
    w, r, parts = b.weight(width, 4 * size), b.weight(size, 4 * size), b.constant(np.array([size] * 4))
    x = b("Gather", "xs", "i", axis=0)
    gates = b("Add", b("MatMul", x, w), b("MatMul", "h", r))
    split = b("Split", gates, parts, axis=1, outputs=4)
    names = [split, *(f"{split}_{k}" for k in (1, 2, 3))]
    gate = [b.on_device(b("Sigmoid", names[k])) for k in (0, 1, 3)]
    cell = b("Add", b("Mul", gate[1], "c"), b("Mul", gate[0], b("Tanh", names[2])), name="cell")
    b("Mul", gate[2], b("Tanh", cell), name="hidden")
    b("Identity", "hidden", name="part")
    b("Identity", "going", name="on")
    state = (1, size)
    body = helper.make_graph(b.nodes, "body",
                             [info("i", INT, ()), info("going", B, ()), info("h", F, state), info("c", F, state)],
                             [info("on", B, ()), info("hidden", F, state), info("cell", F, state), info("part", F, state)])
    b.nodes = [helper.make_node("Loop", ["n", "", "h0", "c0"], ["hN", "cN", "all"], body=body)]
    data = b.model([info("n", INT, ()), info("xs", F, (12, 1, width)), info("h0", F, state), info("c0", F, state)],
                   [info("hN", F, None), info("cN", F, None), info("all", F, None)])
    rng = np.random.default_rng(3)
    arrays = {n: rng.standard_normal(s).astype(np.float32) for n, s in (("xs", (12, 1, width)), ("h0", state), ("c0", state))}
    return data, [{**arrays, "n": np.array(n, np.int64)} for n in (5, 0, 12, 1)]


def if_between_convolutions() -> tuple[bytes, list[dict]]:
    b = Builder(3)
    image = (1, 8, 10, 9)
    x = b("Conv", "x", b.weight(8, 3, 3, 3), pads=[1] * 4)
    condition = b("Greater", b("ReduceMean", "x", keepdims=0), b.constant(np.float32(0)))
    whole, branches = b.nodes, []
    for k, (op, args) in enumerate((("Conv", [b.weight(8, 8, 3, 3)]), ("Sigmoid", []))):
        b.nodes = []
        attributes = {"pads": [1] * 4} if op == "Conv" else {}
        b("Sub", b.on_device(b(op, b.on_device(x), *args, name=f"made{k}", **attributes)), b.on_device(x), name=f"branch{k}")
        for node in b.nodes:
            node.output[0] = node.output[0] if node.output[0].startswith(("made", "branch")) else f"{node.output[0]}_{k}"
        names = {n[:-2]: n for node in b.nodes for n in node.output if n.endswith(f"_{k}")}
        for node in b.nodes:
            node.input[:] = [names.get(v, v) for v in node.input]
        branches.append(helper.make_graph(b.nodes, f"branch{k}", [], [info(f"branch{k}", F, image)]))
    b.nodes = [*whole, helper.make_node("If", [condition], ["chosen"], then_branch=branches[0], else_branch=branches[1])]
    b("Conv", "chosen", b.weight(4, 8, 3, 3), name="y")
    rng = np.random.default_rng(4)
    x = rng.standard_normal((1, 3, 10, 9)).astype(np.float32)
    return b.model([info("x", F, x.shape)], [info("y", F, None)]), [{"x": x + s} for s in (1, -1, 1, -1)]


def decoder() -> tuple[bytes, list[dict]]:
    """One block of attention over a cache that is given, and given back with a position more."""
    b, each = Builder(4), WIDTH // HEADS
    apart, whole = b.constant(np.array([0, 0, HEADS, each])), b.constant(np.array([0, 0, WIDTH]))
    q, k, v = (b("Transpose", b("Reshape", b("MatMul", "x", b.weight(WIDTH, WIDTH)), apart), perm=[0, 2, 1, 3])
               for _ in range(3))
    keys, values = (b("Concat", f"past_{n}", new, axis=2, name=n) for n, new in (("keys", k), ("values", v)))
    scores = b("MatMul", q, b("Transpose", keys, perm=[0, 1, 3, 2]))
    mixed = b("MatMul", b.on_device(b("Softmax", scores, axis=-1)), values)
    merged = b("Reshape", b("Transpose", mixed, perm=[0, 2, 1, 3]), whole)
    b("MatMul", b.on_device(merged), b.weight(WIDTH, 7), name="y")
    past = (1, HEADS, "P", each)
    data = b.model([info("x", F, (1, 1, WIDTH)), info("past_keys", F, past), info("past_values", F, past)],
                   [info("y", F, None), info("keys", F, None), info("values", F, None)])
    rng = np.random.default_rng(5)
    return data, [{"x": rng.standard_normal((1, 1, WIDTH)).astype(np.float32),
                   **{f"past_{n}": rng.standard_normal((1, HEADS, length, each)).astype(np.float32)
                      for n in ("keys", "values")}}
                  for length in (6, 7, 8, 1, MOST, 23)]


NETS = {f.__name__: f for f in (nonzero, lstm_in_a_loop, if_between_convolutions, decoder)}


def plan_across(path: str, name: str, device: str, threads: int, lag: str) -> tuple:
    """(a net in one plan, the model, its calls)."""
    import pathweave as pw
    from pathweave import _native
    from pathweave.layers import kind_of
    from pathweave.net.dim import symbol
    from pathweave.net.net import TensorSpec
    from pathweave.runtime.bound import BoundNet
    from pathweave.runtime.defaults import conversions_for, default_choices
    from pathweave.runtime.plan import build_plan
    if device != "cpu":
        os.environ |= {"PW_NULL_DEVICES": "2", "PW_NULL_LAG": lag}
        assert all(d["available"] for d in _native.open_plugin(path))
    data, calls = NETS[name]()
    net = pw.load(data).main

    example = {"P": MOST} if name == "decoder" else {}
    inputs = {n: TensorSpec(s.dtype, tuple(symbol(d, 1, MOST) if isinstance(d, str) else d for d in s.shape))
              for n, s in net.inputs.items()}
    bound = BoundNet.bind_open(net, inputs, example)
    # All row-major: the null device's changes of layout are none.
    fixed = {layer.name: next(c for c in block.candidates(i, threads, include_reference=True)[0]
                              if c.routine.split(":")[-1] in ((device,) if layer.kind == "relu" else ("cpu", "python"))
                              and {f.layout for f in (*c.ins, *c.outs)} <= {"nchw", "plain"})
             for block in bound.everything() for i, layer in enumerate(block.layers)
             if layer.kind == "relu" or device != "cpu" and not kind_of(layer.kind).nested}
    choices = default_choices(bound, threads, fixed=fixed)
    plan = build_plan(bound, choices, conversions_for(bound, choices, threads), threads)
    return plan, data, calls


def across(path: str, name: str, device: str, threads: int, lag: str) -> tuple[int, int, float]:
    """(steps on the device, kinds of steps there that transfer, largest error) of a net in one plan."""
    import onnxruntime
    plan, data, calls = plan_across(path, name, device, threads, lag)
    session, reference, error = plan.session(), onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]), 0.0
    names = [o.name for o in reference.get_outputs()]
    for _ in range(2):
        for inputs in calls:
            got = session.run(inputs)
            for n, want in zip(names, reference.run(names, inputs)):
                assert got[n].shape == want.shape, (n, got[n].shape, want.shape)
                error = max(error, float(np.abs(got[n] - want).max(initial=0) / np.abs(want).max(initial=1)))
    there = [s for s in plan.steps if s.routine.split(":")[-1] == device]
    return len(there), len({s.routine.split("/")[1].split(":")[0] for s in there if s.layer == "adapt"}), error


@pytest.mark.parametrize("lag", ["", "hold"])
@pytest.mark.parametrize("device", ["null0", "null1"])
@pytest.mark.parametrize("name", NETS)
def test_across_a_device_without_arithmetic(null_device, name, device, lag):
    steps, transfers, error = isolated(across, null_device, name, device, 2, lag)
    assert steps >= 3 and transfers == 2 and error < 1e-5


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_on_the_cpu(name, threads):
    steps, _, error = across("", name, "cpu", threads, "")
    assert steps >= 3 and error < 1e-5


#: Of the steps on a device, by the first word of the routine.
SCRIPTED = {"relu/null:f32:nchw": 700, "adapt/upload:any": 300, "adapt/download:any": 200}


def timed(path: str, name: str, device: str, threads: int, lag: str) -> list[str]:
    """What is wrong with the times of a net's calls."""
    plan, _, calls = plan_across(path, name, device, threads, lag)
    library, wrong = null_library(path), []
    for routine, ns in SCRIPTED.items():
        library.null_device_set_time(f"{routine}:{device}".encode(), b"", ns)
    session = plan_across(path, name, device, threads, lag)[0].session()  # its kernels know the script
    for inputs in calls:
        begin = library.null_device_now()
        session.run(inputs)
        counts, call = session.counts(), library.null_device_now() - begin
        ns, starts = session.run_timeline(inputs)
        again = session.run_timed(inputs)
        if session.counts() != counts:
            wrong.append(f"{counts} runs, {session.counts()} timed")
        spent = 0
        for step, n, own, start, other in zip(plan.steps, counts, ns.tolist(), starts.tolist(), again.tolist()):
            there = step.routine.endswith(f":{device}")
            expected = n * next((t for r, t in SCRIPTED.items() if step.routine.startswith(r)), 0) if there else own
            spent += expected if there else 0
            right = (own, other) == (expected, expected if there else other) and start >= 0
            if not right or n == 0 and (own, other, start) != (0, 0, 0):
                wrong.append(f"{step.label}: {own}, {other} ns from {start}, expected {n} runs, {expected}")
            if there and n and name == "nonzero" and start != spent - expected:
                wrong.append(f"{step.label}: began at {start}, expected {spent - expected}")
        if call != spent:
            wrong.append(f"a call takes {call} of the device, its steps {spent}")
    return wrong


@pytest.mark.parametrize("lag", ["", "hold"])
@pytest.mark.parametrize("device", ["null0", "null1"])
@pytest.mark.parametrize("name", NETS)
def test_each_step_is_timed_over_all_its_rounds(null_device, name, device, lag):
    """By the scripted clock of the device; nothing overlaps, as the host waits for each step."""
    assert isolated(timed, null_device, name, device, 2, lag) == []


def beginnings(name: str, threads: int) -> list[str]:
    """Of steps on the CPU: which did not run and has a time, or begins before one that came first."""
    plan, _, calls = plan_across("", name, "cpu", threads, "")
    session, wrong = plan.session(), []
    for inputs in calls:
        ns, starts = session.run_timeline(inputs)
        ran = [i for i, n in enumerate(session.counts()) if n and plan.steps[i].routine != CONTROL]
        wrong += [plan.steps[i].label for i in set(range(len(ns))) - set(ran) if (ns[i] or starts[i]) and not
                  session.counts()[i]]
        wrong += [f"{plan.steps[a].label} at {starts[a]}, {plan.steps[b].label} at {starts[b]}"
                  for a, b in pairwise(ran) if starts[a] > starts[b]]
    return wrong


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_steps_begin_one_after_another(name, threads):
    assert beginnings(name, threads) == []
