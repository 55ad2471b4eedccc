"""Transposed convolutions whose strides are far beyond their outputs: preparing takes no longer than the outputs are worth."""

from __future__ import annotations

import numpy as np
import pytest
from native_helpers import isolated

from pathweave import _native
from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.testing.guard import Guarded

#: x, w, stride and pad (left, right) that leave one to five outputs, every one of them in a phase of its own.
CROPPED = [
    ((1, 3, 1, 2), (3, 2, 1, 1), 1 << 20, ((1 << 20) - 4, 0)),
    ((1, 3, 1, 2), (3, 2, 1, 3), 1 << 20, (0, (1 << 20) - 2)),
    ((1, 20, 1, 1), (20, 20, 1, 5), 1 << 20, (0, 0)),
]


def problem_of(x, w, stride, pad, out, groups=1) -> str:
    attrs = {"stride": (stride, stride), "pad": (0, pad[0], 0, pad[1]), "dilation": (1, 1), "groups": groups,
             "output_pad": (0, 0)}
    return Problem.make("conv_transpose2", [TensorSpec("f32", x), TensorSpec("f32", w)], [False, True],
                        [TensorSpec("f32", out)], attrs, threads=2).text


def expected(x, w, stride, pad, width):
    """By the definition, output by output."""
    y = np.zeros((1, w.shape[1], 1, width))
    for ix in range(x.shape[3]):
        for k in range(w.shape[3]):
            ox = ix * stride + k - pad[0]
            if 0 <= ox < width:
                y[0, :, 0, ox] += x[0, :, 0, ix].astype(np.float64) @ w[:, :, 0, k]
    return y


def prepared_and_run(x_shape, w_shape, stride, pad, width):
    """Largest error over all f32 routines, and how many there were."""
    rng = np.random.default_rng(3)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in (x_shape, w_shape))
    text = problem_of(x_shape, w_shape, stride, pad, (1, w_shape[1], 1, width))
    wanted, errors = expected(x, w, stride, pad, width), []
    for card in _native.candidates(text):
        if card["ok"] and ":f32:" in card["id"]:
            y = run(text, card, x, w, wanted.shape)
            errors.append(float(np.abs(y - wanted).max()))
    return max(errors), len(errors)


def candidates(text: str) -> list[dict]:
    """What the catalogue says."""
    return _native.candidates(text)


def run(text: str, card: dict, x: np.ndarray, w: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What a routine gives, in nchw."""
    kernel = _native.prepare(text, card["id"], card["variants"][0], [(None, 0), (w, 0)])
    source = x.transpose(0, 2, 3, 1) if ":nhwc" in card["ins"][0] else x
    last = ":nhwc" in card["outs"][0]
    y = np.full((shape[0], *shape[2:], shape[1]) if last else shape, np.nan, np.float32)
    workspace = Guarded((kernel.workspace_bytes,), np.uint8, at_end=False, align=64)
    kernel.run([np.ascontiguousarray(source)], [y], workspace.array, 2)
    assert workspace.intact()
    return y.transpose(0, 3, 1, 2) if last else y


@pytest.mark.parametrize("x, w, stride, pad", CROPPED, ids=["kernel of 1", "kernel of 3", "one input"])
def test_strides_beyond_the_outputs(x, w, stride, pad):
    # In a process of its own, which has two minutes: a loop over the stride would take longer.
    width = (x[3] - 1) * stride + w[3] - sum(pad)
    error, routines = isolated(prepared_and_run, x, w, stride, pad, width)
    assert error < 1e-5 and routines >= 5


def test_more_phases_than_the_outputs_are_worth_are_refused():
    attrs = {"stride": (20000, 20000), "pad": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, "output_pad": (0, 0)}
    text = Problem.make("conv_transpose2", [TensorSpec("f32", (1, 1, 2, 2)), TensorSpec("f32", (1, 1, 1, 1))], [False, True],
                        [TensorSpec("f32", (1, 1, 20001, 20001))], attrs, threads=1).text
    cards = isolated(candidates, text)
    reasons = {c["id"]: c.get("reason", "") for c in cards if not c["ok"]}
    assert "400000000 phases" in reasons["conv_transpose2/gemm:f32:nhwc:cpu"]
    assert any(c["ok"] and c["id"] == "conv_transpose2/col2im:f32:nchw:cpu" for c in cards)


def test_units_are_not_offered_hundreds_of_phases(monkeypatch):
    if not all("amx-emulated" in _native.cpu_info()[k] for k in ("compiled", "found")):
        pytest.skip("amx-emulated is not built, or this processor has no AVX2")
    monkeypatch.setenv("PATHWEAVE_ISA", "amx-emulated")  # for the other process: the one tier with all units
    # Each phase brings all of x to the unit: an inverse STFT took 0.2 to 4 s where the product takes 10 ms.
    text = problem_of((1, 34, 1, 40), (34, 1, 1, 1024), 256, (0, 0), (1, 1, 1, 39 * 256 + 1024))
    reasons = {c["id"]: c.get("reason", "") for c in isolated(candidates, text) if not c["ok"]}
    halves = [name for name in reasons if name.startswith("conv_transpose2/direct")]
    assert len(halves) == 13 and all("256 phases, more than 64" in reasons[name] for name in halves)
