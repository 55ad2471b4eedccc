"""tools/isa_symbols.py: objects that could leak wide instructions are found, clean ones are not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import isa_symbols  # noqa: E402

CLEAN = """
namespace pw { struct UKernel { const char* name; };
namespace { void body() {} struct S { void (*f)(); }; const S s{&body}; }
extern const UKernel pw_uk_avx2_x[]; extern const UKernel pw_uk_avx2_x[] = {{"x"}, {nullptr}};
const void* keep_alive(); }
"""
WEAK = "inline int shared(int x) { return x + 1; }\nint (*pw_uk_pointer)(int) = &shared;\n"
STATIC = "int clock_now();\nint pw_uk_value = clock_now();\n"
STRONG = "int helper(int x) { return x + 1; }\n"


@pytest.fixture
def build(tmp_path):
    """Compiles one source into a folder that looks like a build."""
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler or not shutil.which("nm") or not shutil.which("readelf"):
        pytest.skip("needs a C++ compiler and binutils")

    def compile_(source: str, target: str = "pw_ukernels_avx2.dir") -> Path:
        folder = tmp_path / "CMakeFiles" / target
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x.cpp").write_text(source)
        subprocess.run([compiler, "-O0", "-c", tmp_path / "x.cpp", "-o", folder / "x.cpp.o"], check=True)
        return tmp_path
    return compile_


def test_clean_object(build, capsys):
    assert isa_symbols.main([str(build(CLEAN))]) == 0
    assert "1 objects of micro-kernels, 0 of the core, 0 findings" in capsys.readouterr().out


@pytest.mark.parametrize("source, words", [(WEAK, "weak symbol shared"), (STATIC, "section .init_array"),
                                           (STRONG, "strong symbol helper")])
def test_leaks_are_found(build, capsys, source, words):
    assert isa_symbols.main([str(build(source))]) == 1
    assert words in capsys.readouterr().out


def test_what_is_destroyed_at_the_end_of_the_process_is_found(build, capsys):
    build(CLEAN)
    words = "struct T { ~T(); T(); };\n"
    build(words + "T& kept() { static T& all = *new T; return all; }\n", "pw_core.dir")
    assert isa_symbols.main([str(build(CLEAN))]) == 0
    build(words + "T& kept() { static T all; return all; }\n", "pw_core.dir")
    assert isa_symbols.main([str(build(CLEAN))]) == 1
    assert "has a destructor" in capsys.readouterr().out


def test_no_objects_is_not_success(tmp_path):
    assert isa_symbols.main([str(tmp_path)]) == 2
    assert isa_symbols.main([]) == 2


def test_this_build():
    """The objects of the build that these tests run on, where its folder is there."""
    folder = ROOT / "build"
    if not folder.is_dir() or not isa_symbols.objects(folder):
        pytest.skip("no build folder in this checkout")
    assert isa_symbols.main([str(folder)]) == 0
