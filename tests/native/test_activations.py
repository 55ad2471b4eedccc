"""Activations: what the micro-kernels' tables state, how routines choose by it, and that a new one is one file."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from native_helpers import ROOT, compiler, write_layouts

from pathweave.layers import kinds
from pathweave.layers.activation import Activation

sys.path.insert(0, str(ROOT / "tools"))
import new  # noqa: E402

CMAKE = """\
cmake_minimum_required(VERSION 3.24)
project(activations LANGUAGES NONE)
include(cmake/collect.cmake)
pw_collect_activations()
"""
TOY = """\
// gain x where x > 0, else shift.
PW_ACTIVATION(toy_step, .parameters = {"gain", "shift"}, .f32_only = true) { return select(x > 0.0f, x * a, b); }
"""


def tool(name: str) -> str | None:
    """A program of this environment or of the system."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name)


def build(source: Path, program: Path, *options: str) -> None:
    subprocess.run([compiler("c++"), "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", "-Wno-psabi", *options,
                    str(source), "-o", str(program)], check=True)


def printed(program: Path, *arguments: object) -> list[str]:
    return subprocess.run([str(program), *map(str, arguments)], check=True, capture_output=True, text=True,
                          timeout=60).stdout.splitlines()


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The program of activation_tables.cpp over a copy of the tree that has two files more: toy_step and soft_clip."""
    cmake, ninja = tool("cmake"), tool("ninja")
    if not cmake or not (ninja or tool("make")):
        pytest.skip("needs cmake with ninja or make, which generate the list of activations")
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("native", "cmake"):
        shutil.copytree(ROOT / folder, tree / folder)
    (tree / "native/ukernels/activations/toy_step.inc").write_text(TOY)
    assert new.main(["activation", "soft_clip"], tree) == 0
    (tree / "CMakeLists.txt").write_text(CMAKE)
    generator = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else ["-G", "Unix Makefiles"]
    subprocess.run([cmake, "-S", tree, "-B", tree / "build", *generator], check=True, capture_output=True)
    program = tree / "tables"
    build(ROOT / "tests/native/activation_tables.cpp", program, f"-I{tree}/native", f"-I{tree}/build/collected",
          '-DPW_SOURCE="ukernels/generic/activation_f32.cpp"')
    return program


@pytest.fixture
def stated(tables):
    """Layer kind -> names of its parameters, and whether it is for f32 alone, as the table states them."""
    lines = [line.split() for line in printed(tables)]
    return {line[0]: ([word for word in line[1:] if word != "f32_only"], line[-1] == "f32_only") for line in lines}


def test_a_new_activation_is_one_file(tables, stated):
    assert stated["toy_step"] == (["gain", "shift"], True)
    assert printed(tables, "toy_step", 2, -3, 1.5) == ["3 -3 -3"]
    assert stated["soft_clip"] == (["alpha"], False)
    assert printed(tables, "soft_clip", 0.25, 0, 4) == ["4 0 -1"]
    # The others are what they were.
    assert printed(tables, "leaky_relu", 0.5, 0, 4) == ["4 0 -2"]
    assert printed(tables, "hard_swish", 0, 0, 6) == ["6 0 -0"]


def test_parameters_are_the_attributes_of_the_layer_kinds(stated):
    del stated["toy_step"], stated["soft_clip"]
    assert {kind: list(kinds()[kind].attributes) for kind in stated} == {kind: names for kind, (names, _) in stated.items()}
    assert {name for name, kind in kinds().items() if isinstance(kind, Activation)} <= set(stated)


def test_every_kind_stated_has_routines(stated):
    from pathweave.runtime.native import native
    ids = {card["id"] for card in native().routines()}
    del stated["toy_step"], stated["soft_clip"]
    for kind, (_, f32_only) in stated.items():
        assert f"{kind}/vector:f32:plain:cpu" in ids and f"{kind}/table:u8:plain:cpu" in ids
        assert (f"{kind}/vector:f16:plain:cpu" in ids) == (not f32_only)


def test_micro_kernels_are_chosen_by_what_they_apply(tmp_path):
    sources = [str(ROOT / "native" / name) for name in ("spi/activation.cpp", "spi/problem.cpp", "spi/routine.cpp",
                                                         "spi/ukernel.cpp", "types/format.cpp")]
    build(ROOT / "tests/native/choosing_activations.cpp", tmp_path / "choosing", "-O0", f"-I{ROOT}/native",
          f"-I{ROOT}/include", f"-I{write_layouts(tmp_path)}", *sources)
    done = subprocess.run([tmp_path / "choosing"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
