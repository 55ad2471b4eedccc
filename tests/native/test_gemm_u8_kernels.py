"""The micro-kernels that multiply bytes against integer loops: emulated, and on the unit itself where there is one."""

from __future__ import annotations

import subprocess

import pytest
from native_helpers import ROOT, compiler

BASE = ["-mavx2", "-mfma", "-mf16c", "-mbmi", "-mbmi2"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512dq"]
FLAGS = {"avx2": BASE, "avxvnni": [*BASE, "-mavxvnni"], "vnni": [*BASE, *AVX512, "-mavx512vnni"],
         "amx": [*BASE, *AVX512, "-mavx512bf16", "-mamx-tile", "-mamx-int8", "-mamx-bf16"]}
TIERS = ["avx2", *(f"{unit}{twin}" for unit in ("avxvnni", "vnni", "amx") for twin in ("-emulated", ""))]


@pytest.mark.parametrize("tier", TIERS)
def test_tails_and_extremes(tier, tmp_path):
    from pathweave.runtime.devices import cpu_info
    if tier not in cpu_info()["found"]:
        pytest.skip(f"this machine has no {tier}")
    unit = tier.removesuffix("-emulated")
    flags = FLAGS[unit] if unit == tier else [*BASE, "-DPW_EMULATED"]
    program = tmp_path / "kernels"
    subprocess.run([compiler("c++"), "-std=c++20", "-O1", "-ffp-contract=fast", "-Wno-psabi", *flags,
                    f'-DPW_SOURCE="ukernels/{unit}/gemm_u8.cpp"', "-I", ROOT / "native",
                    "-I", ROOT / "tests/native/two_activations",
                    ROOT / "tests/native/gemm_u8_kernels.cpp", "-o", program], check=True)
    done = subprocess.run([program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
