"""Hostile sizes: whatever stands in a model, a file or a problem ends in an answer or in a typed error.

What may crash runs in a process of its own, with little memory; there the last line printed names the culprit.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pathweave import _native
from pathweave.errors import SizeError
from pathweave.layers import kind_of
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.net.size import check_windows
from pathweave.testing import cases
from pathweave.testing.edges import hostile_text

HERE = Path(__file__).parent
MEMORY = 6 << 30


def lines_of(script: str, *arguments: int) -> list[str]:
    """What a script prints, run with a limit of memory. It has five minutes: then it hangs."""
    done = subprocess.run([sys.executable, str(HERE / script), *map(str, arguments)], capture_output=True, text=True,
                          timeout=300, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
                          env={**os.environ, "PYTHONFAULTHANDLER": "1"})
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and lines[-1:] == ["done"], f"{lines[-1:]} ended with {done.returncode}: {done.stderr[-2000:]}"
    return lines


@pytest.mark.parametrize("seed", [1, 2])
def test_every_kind_at_the_edges(seed):
    lines = lines_of("size_cases.py", seed, 25)
    failed = [f"{before}\n{line}" for before, line in zip(lines, lines[1:]) if line.startswith("failed")]
    assert not failed, "\n".join(failed[:3])
    assert sum(line.startswith("planned") for line in lines) > 100, "hardly any case is valid: the test has become blind"
    assert seed != 1 or lines.count("answered") > 1000, "hardly any case with long axes is valid: the test has become blind"


def test_models_that_crashed_or_hung():
    found = dict(line.split(" ", 1) for line in lines_of("size_models.py")[:-1])
    assert found.pop("transposed-2**20") == "fine", "its output has nine elements"
    wrong = {name: said for name, said in found.items() if said not in ("SizeError", "OutOfMemoryError")}
    assert not wrong
    assert {found[n] for n in ("transposed-20000", "pad-1e9-last", "resize-1e4", "constant-2**35")} == {"OutOfMemoryError"}, \
        "within the limit, but not within the memory of the machine"


def windows(rng) -> Problem | None:
    """A convolution whose windows, padding and steps reach over about as much as the limit allows."""
    def about(power: float) -> int:
        return int(2 ** rng.uniform(0, power))
    x = (about(4), about(6), about(16), about(16))
    k, stride, dilation = (about(4), about(4)), (about(24), about(24)), (about(22), about(22))
    need = [max(0, (k[i] - 1) * dilation[i] + 1 - x[2 + i]) for i in (0, 1)]
    pad = (need[0], need[1], about(20), about(20))
    out = [(x[2 + i] + pad[i] + pad[i + 2] - (k[i] - 1) * dilation[i] - 1) // stride[i] + 1 for i in (0, 1)]
    y = (x[0], 5, *out)
    specs = [TensorSpec("f32", s) for s in (x, (5, x[1], *k), y)]
    if max(np.prod([float(d) for d in s.shape]) for s in specs) > 2**36:
        return None
    return Problem.make("conv2", specs[:2], (False, True), specs[2:],
                        {"stride": stride, "pad": pad, "dilation": dilation, "groups": 1})


def test_python_and_cpp_refuse_the_same_windows():
    rng, told = np.random.default_rng(5), {True: 0, False: 0}
    for _ in range(1500):
        problem = windows(rng)
        if problem is None:
            continue
        try:
            check_windows(dict(problem.attrs), problem.inputs, problem.outputs)
            fine = True
        except SizeError:
            fine = False
        told[fine] += 1
        if fine:
            _native.candidates(problem.text)
        else:
            with pytest.raises(ValueError, match="reach over more than|look at more than"):
                _native.candidates(problem.text)
    assert min(told.values()) > 100, told


RESIDUAL = "its epilogue adds the last input"
CONV = "conv2 in=f32:1x3x8x8,const:f32:3x3x3x3 out=f32:1x3x8x8 "


@pytest.mark.parametrize(("text", "said"), [
    ("relu in=f32:3x-4 out=f32:3x-4 threads=1", "a dimension is -4"),
    ("relu in=f32:3xa out=f32:3x4 threads=1", "'a' is no size"),
    ("relu in=f32: out=f32:99999999999999999999 threads=1", "is no size"),
    (f"relu in=f32:{2**38 + 1} out=f32: threads=1", "more than the 2\\^40 bytes"),
    (f"relu in=f32:0x{2**40}x2 out=f32: threads=1", "more than the 2\\^40 bytes"),
    ("relu in=f32:" + "x".join("1" * 65) + " out=f32: threads=1", "rank 65"),
    ("relu in= out=f32:1 epilogue=add threads=1", RESIDUAL),
    ("relu in=f32:2x3,f32:3 out=f32:2x3 epilogue=add threads=1", RESIDUAL),
    ("relu in=f32:2x3,f32:1x2x3 out=f32:2x3 epilogue=add+relu threads=1", RESIDUAL),
    ("relu in=f32:2x3,f64:2x3 out=f32:2x3 epilogue=add threads=1", RESIDUAL),
    ("relu in=f32:1 out=f32:1 threads=0", "0 threads, expected 1 to 1024"),
    ("relu in=f32:1 out=f32:1 threads=2147483648", "expected 1 to 1024"),
    ("relu in=f32:1 out=f32:1 threads=-99999999999999999999", "expected 1 to 1024"),
    ("softmax in=f32:1x2 out=f32:1x2 axis=2 threads=1", "names axis 2"),
    ("reduce in=f32:1x2 out=f32:1x1 axes=-3 keepdims=1 op=sum threads=1", "names axis -3"),
    (CONV + "dilation=1,1 groups=0 pad=1,1,1,1 stride=1,1 threads=1", "one group"),
    (CONV + "dilation=1,1 groups=1 pad=1,1,-1,1 stride=1,1 threads=1", "attribute pad"),
    (CONV + "dilation=1,1 groups=1 pad=1,1,1,1 stride=0,1 threads=1", "attribute stride"),
    (CONV + "dilation=1 groups=1 pad=1,1,1,1 stride=1,1 threads=1", "attribute dilation"),
])
def test_the_parser_of_problems(text, said):
    with pytest.raises(ValueError, match=said):
        _native.candidates(text)


def test_a_table_out_of_proportion_is_declined():
    """An image and a kernel of 4 MB each make 10^12 offsets; with a small kernel they are worth their memory."""
    kind = kind_of("conv2")
    attrs = kind.complete({"pad": (500, 500, 499, 499)})
    specs = [TensorSpec("f32", (1, 1, 1000, 1000)), TensorSpec("f32", (1, 1, 1000, 1000))]
    problem = Problem.make("conv2", specs, (False, True), kind.infer(attrs, specs), attrs)
    reasons = {c["id"]: c["reason"] for c in _native.candidates(problem.text) if not c["ok"]}
    assert re.search(r"table of offsets would take \d+ bytes", reasons["conv2/direct:f32:nhwc:cpu"])
    small = [specs[0], TensorSpec("f32", (16, 1, 3, 3))]
    attrs = kind.complete({"pad": (1, 1, 1, 1)})
    problem = Problem.make("conv2", small, (False, True), kind.infer(attrs, small), attrs)
    assert {c["id"]: c["ok"] for c in _native.candidates(problem.text)}["conv2/direct:f32:nhwc:cpu"]


def test_phases_of_large_strides():
    """Strides beyond the output make no phases beyond it; too many of them are declined, and NumPy remains."""
    kind = kind_of("conv_transpose2")

    def ids(shape, kernel, stride) -> set[str]:
        specs = [TensorSpec("f32", shape), TensorSpec("f32", (shape[1], 1, *kernel))]
        attrs = kind.complete({"stride": stride})
        problem = Problem.make("conv_transpose2", specs, (False, True), kind.infer(attrs, specs), attrs)
        return {c["id"].partition(":")[0] for c in _native.candidates(problem.text) if c["ok"]}
    assert "conv_transpose2/gemm" in ids((1, 3, 1, 1), (3, 3), (2**20, 2**20))
    assert "conv_transpose2/gemm" in ids((1, 3, 4, 4), (3, 3), (2, 256))
    assert "conv_transpose2/gemm" not in ids((1, 1, 4, 4), (3, 3), (300, 300))


@pytest.mark.parametrize("bytes_", [2**40 + 1, 2**63, 2**64 - 1])
def test_placement_refuses_what_no_value_may_have(bytes_):
    with pytest.raises(ValueError, match="is not possible"):
        _native.place([64, bytes_], [0, 0], [([0], [1], [], [])], [0], [1])


def test_edges_change_what_they_say():
    """The generator that fuzzers share: it repeats, and it finds places in every kind that has numbers."""
    rng = np.random.default_rng(0)
    text = cases("conv2")[0].problem().text
    assert hostile_text(text, np.random.default_rng(1)) == hostile_text(text, np.random.default_rng(1))
    assert sum(hostile_text(text, rng) != text for _ in range(50)) > 45
