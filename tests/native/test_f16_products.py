"""Products in f16 arithmetic: no sum leaves the range where x does not, small weights lose nothing, sums are short."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

TIERS = ("fp16", "fp16-emulated")


def product(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x @ w.T with a constant w, computed in f16 by blocks, in and out in f32."""
    from pathweave.runtime.native import native
    from pathweave.testing import case
    problem = case("dense", x.shape, w.shape, constant=(1,)).problem(1)
    routine = "dense/gemm_in_f32:f16:plain:cpu"
    variant, = next(c["variants"] for c in native().candidates(problem.text) if c["id"] == routine)
    kernel = native().prepare(problem.text, routine, variant, [(None, 0), (w, id(w))], [])
    y = np.empty((len(x), len(w)), np.float32)
    space = np.empty(kernel.workspace_bytes + 64, np.uint8)
    kernel.run([x], [y], space[-space.ctypes.data % 64:][:kernel.workspace_bytes], 1)
    return y


def check() -> None:
    rng = np.random.default_rng(2)
    x = rng.standard_normal((21, 200)).astype(np.float32)
    w = (rng.standard_normal((40, 200)) / 16).astype(np.float32)
    plain = product(x, w)
    exact = x.astype(np.float64) @ w.astype(np.float64).T
    error = np.sqrt(((plain - exact) ** 2).mean() / (exact**2).mean())
    assert 1e-4 < error < 1e-3, error
    # A power of two in the weights of an output is one in the output, to the bit, however far f16 is from holding them.
    powers = np.float32(2.0) ** rng.integers(-60, 60, 40).astype(np.float32)
    assert np.array_equal(product(x, w * powers[:, None]), plain * powers)
    # The largest x and weights of one sign: sums of 16 reach the end of the range and no further.
    for depth in (16, 32, 200):
        large = np.full((3, depth), 65504, np.float32)
        y = product(large, np.full((2, depth), 0.9999, np.float32))
        assert np.allclose(y, depth * 65504.0, rtol=16 * 2.0**-11)
    # What f16 cannot hold, weights that are zero, infinity and NaN.
    x[0, 0], x[1, 1], x[2, 2] = 65520, np.inf, np.nan
    w[0], w[1] = 0, 1
    with np.errstate(invalid="ignore"):
        y = product(x, w)
    assert np.isnan(y[:3, 0]).all() and not y[3:, 0].any()
    assert np.isposinf(y[:2, 1]).all() and np.isnan(y[2]).all() and np.isfinite(y[3:]).all()


@pytest.mark.parametrize("tier", TIERS)
def test_range(tier: str) -> None:
    """The tier is chosen when a process starts, so each has its own."""
    from pathweave.runtime.devices import cpu_info
    if tier not in set(cpu_info()["found"]) & set(cpu_info()["compiled"]):
        pytest.skip(f"this machine or build has no {tier}")
    environment = {**os.environ, "PATHWEAVE_ISA": tier, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, __file__], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"PATHWEAVE_ISA={tier} python {__file__}\n{done.stderr[-3000:]}"


if __name__ == "__main__":
    check()
