"""The emulated units compute, to the bit, what the processor's manual defines."""

from __future__ import annotations

import platform
import subprocess

import pytest
from native_helpers import ROOT, compiler


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the emulation is written for AVX2")
@pytest.mark.parametrize("unit", ["amx", "f16"])
def test_emulation(tmp_path, unit):
    from pathweave.runtime.devices import cpu_info
    if "avx2" not in cpu_info()["found"]:
        pytest.skip("this machine has no AVX2")
    program = tmp_path / "emulation"
    # Contraction as in the build of the micro-kernels; the reference rounds by calls that it cannot touch.
    subprocess.run([compiler("c++"), "-std=c++20", "-O2", "-ffp-contract=fast", "-mavx2", "-mfma", "-mf16c", "-Wno-psabi", "-I",
                    ROOT / "native", ROOT / f"tests/native/{unit}_emulation.cpp", "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
