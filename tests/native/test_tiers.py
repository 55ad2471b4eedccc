"""Which instruction-set tiers a machine uses: by its features, by what was built, and by PATHWEAVE_ISA."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pathweave import _native

AVX2 = "avx2 fma f16c"
AVX512 = AVX2 + " avx512f avx512bw avx512vl avx512dq"
AMX = " amx_tile amx_bf16 amx_int8"
BASES = ["generic", "avx2", "avx512"]
REAL = [*BASES, "avxvnni", "vnni", "bf16", "fp16", "amx"]
TWINS = [f"{t}-emulated" for t in REAL[2:]]
MACHINES = {
    "no AVX2": ("", ["generic"]),
    "Haswell, Zen 3": (AVX2, BASES[:2]),
    "no FMA": ("avx2 f16c", ["generic"]),
    "AVX-512 masked by the system, VNNI named": (AVX2 + " avx512_vnni", BASES[:2]),
    "Alder Lake, Sierra Forest": (AVX2 + " avx_vnni", [*BASES[:2], "avxvnni"]),
    "AVX-VNNI without FMA": ("avx2 f16c avx_vnni", ["generic"]),
    "Skylake-X": (AVX512, BASES),
    "Knights Landing": (AVX2 + " avx512f", BASES[:2]),
    "Ice Lake": (AVX512 + " avx512_vnni", [*BASES, "vnni"]),
    "Zen 4": (AVX512 + " avx512_vnni avx512_bf16", [*BASES, "vnni", "bf16"]),
    "Zen 5": (AVX512 + " avx_vnni avx512_vnni avx512_bf16", REAL[:6]),
    "Sapphire Rapids": (AVX512 + " avx_vnni avx512_vnni avx512_bf16 avx512_fp16" + AMX, REAL),
    "the same, tile registers refused": (AVX512 + " avx_vnni avx512_vnni avx512_bf16 avx512_fp16", REAL[:7]),
    "a guest without FP16": (AVX512 + " avx512_vnni avx512_bf16" + AMX, [*BASES, "vnni", "bf16", "amx"]),
    "tiles without AVX512-BF16": (AVX512 + " avx512_vnni" + AMX, [*BASES, "vnni"]),
    "tiles without int8": (AVX512 + " avx512_vnni avx512_bf16 amx_tile amx_bf16", [*BASES, "vnni", "bf16"]),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_gets_what_it_has(machine):
    features, expected = MACHINES[machine]
    t = _native.tiers(features, REAL + TWINS, "")
    assert t["used"] == expected and t["warning"] == ""
    assert t["found"] == expected + (TWINS if "avx2" in expected else [])


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("cap", REAL)
def test_a_cap_cuts_what_is_above(machine, cap):
    features, expected = MACHINES[machine]
    t = _native.tiers(features, REAL + TWINS, cap)
    assert t["used"] == [x for x in expected if REAL.index(x) <= REAL.index(cap)] and t["warning"] == ""


@pytest.mark.parametrize("features", [AVX2, MACHINES["Sapphire Rapids"][0]])
@pytest.mark.parametrize("cap", TWINS)
def test_a_cap_that_names_a_twin_takes_twins_only(features, cap):
    expected = ["generic", "avx2", *TWINS[:TWINS.index(cap) + 1]]
    assert _native.tiers(features, REAL + TWINS, cap)["used"] == expected
    assert _native.tiers("", REAL + TWINS, cap)["used"] == ["generic"]  # twins need AVX2


def test_what_was_not_built_is_not_used():
    features = MACHINES["Sapphire Rapids"][0]
    assert _native.tiers(features, ["generic", "avx2", "amx"], "")["used"] == ["generic", "avx2", "amx"]
    assert _native.tiers(features, REAL[:3], "amx")["used"] == REAL[:3]
    t = _native.tiers(AVX2, ["generic", "avx2", "bf16-emulated"], "amx-emulated")
    assert t["used"][2:] == ["bf16-emulated"] and "PATHWEAVE_EMULATED_TIERS=ON" in t["warning"]
    assert not _native.tiers(AVX2, ["generic", "avx2", "bf16-emulated"], "bf16-emulated")["warning"]


def test_an_unknown_cap_is_ignored_and_said():
    t = _native.tiers(AVX2, REAL + TWINS, "avx1024")
    assert t["used"] == REAL[:2]
    assert "PATHWEAVE_ISA=avx1024 is not a tier" in t["warning"] and "amx-emulated" in t["warning"]
    with pytest.raises(ValueError, match="'sse' is not a tier"):
        _native.tiers(AVX2, ["sse"], "")


@pytest.mark.parametrize("cap", ["", "generic", "avx2", "amx", "avx512-emulated", "amx-emulated"])
def test_this_machine_follows_the_rules(cap):
    """The process's own choice is what the rules say of its features, its build and its cap."""
    code = ("from pathweave import _native as n; i = n.cpu_info(); t = n.tiers(i['features'], i['compiled'], i['cap']); "
            "assert i['used'] == t['used'] and i['found'] == t['found'], (i, t); "
            "words = n.devices()[0]['capabilities'].split(); assert set(i['used']) <= set(words); "
            "assert len(words) == len(set(words)); "
            "assert ('amx_tile' in words) == any(u.startswith('amx') for u in i['used'])")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env={**os.environ, "PATHWEAVE_ISA": cap, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)})
    assert done.returncode == 0, done.stderr
