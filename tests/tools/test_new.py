"""tools/new.py: what it writes is found, and is harmless until it is filled in."""

from __future__ import annotations

import ast
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import new  # noqa: E402


@pytest.mark.parametrize("what, name, paths", [
    ("routine", "conv2/ring", ["native/routines/conv2/ring.cpp"]),
    ("layer", "swish2", ["src/pathweave/layers/swish2.py", "src/pathweave/testing/cases/swish2.py",
                         "tests/unit/layer_oracle/swish2.py"]),
    ("activation", "soft_clip", ["native/ukernels/activations/soft_clip.inc", "src/pathweave/layers/soft_clip.py",
                                 "src/pathweave/testing/cases/soft_clip.py", "tests/unit/layer_oracle/soft_clip.py"]),
    ("ukernel", "avx2/gemm_f32_4x24", ["native/ukernels/avx2/gemm_f32_4x24.cpp"]),
    ("operator", "swish2", ["src/pathweave/importers/onnx/ops/swish2.py", "src/pathweave/layers/swish2.py",
                            "src/pathweave/testing/cases/swish2.py", "tests/unit/layer_oracle/swish2.py"]),
    ("importer", "toy", ["src/pathweave/importers/toy.py"]), ("region", "pad_pool", ["src/pathweave/regions/pad_pool.py"]),
    ("pass", "merge_pads", ["src/pathweave/passes/merge_pads.py"]), ("command", "diff", ["src/pathweave/cli/diff.py"])])
def test_writes_files_and_keeps_existing_ones(tmp_path, what, name, paths):
    assert new.main([what, name], tmp_path) == 0
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()) == sorted(paths)
    for path in paths:
        if path.endswith(".py"):
            ast.parse((tmp_path / path).read_text())
    (tmp_path / paths[0]).write_text("mine")
    assert new.main([what, name], tmp_path) == 1
    assert (tmp_path / paths[0]).read_text() == "mine"


@pytest.mark.parametrize("arguments", [[], ["routine"], ["routine", "ring"], ["layer", "../x"], ["pass", "Bad"],
                                       ["ukernel", "gemm_f32"], ["ukernel", "avx9/gemm_f32"], ["ukernel", "avx2/rocket_4x4"],
                                       ["device", "x"]])
def test_bad_use(tmp_path, arguments):
    assert new.main(arguments, tmp_path) == 2
    assert not any(tmp_path.iterdir())


def test_routine_compiles(tmp_path):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("needs a C++ compiler")
    new.main(["routine", "conv2/ring"], tmp_path)
    subprocess.run([sys.executable, ROOT / "cmake/layouts.py", ROOT / "src/pathweave/net/layouts.py",
                    tmp_path / "collected/types/layouts.inc"], check=True)
    subprocess.run([compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/native",
                    f"-I{ROOT}/include", f"-I{tmp_path}/collected", "-DPW_COLLECT=collect_conv2_ring",
                    tmp_path / "native/routines/conv2/ring.cpp"], check=True)


@pytest.mark.parametrize("name, macro", [("avx2/gemm_f32_4x24", "PW_KIND_GEMM_F32"), ("generic/table_u8", "PW_KIND_TABLE_U8"),
                                         ("vnni/depthwise_u8_wide", "PW_KIND_DEPTHWISE_U8")])
def test_micro_kernel_compiles(tmp_path, name, macro):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if not compiler:
        pytest.skip("needs a C++ compiler")
    new.main(["ukernel", name], tmp_path)
    path = tmp_path / f"native/ukernels/{name}.cpp"
    assert f"{{{macro}, " in path.read_text()
    path.write_text(path.read_text() + f"const char* kind = {macro};\n")  # the macro that the text names is there
    subprocess.run([compiler, "-std=c++20", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{ROOT}/native",
                    f"-I{ROOT}/include", "-DPW_UKERNELS=kernels", path], check=True)


def loaded(path: Path, name: str):
    """A module from a file, as part of the package that it is written for."""
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_layer_has_a_meaning(tmp_path):
    import numpy as np

    from pathweave.net.net import TensorSpec
    new.main(["layer", "swish2"], tmp_path)
    module = loaded(tmp_path / "src/pathweave/layers/swish2.py", "pathweave.layers.swish2")
    kind = module.Swish2()
    assert kind.infer({}, [TensorSpec("f32", (2, 3))]) == [TensorSpec("f32", (2, 3))]
    x = np.arange(6.0)
    assert np.array_equal(kind.meaning({}, [x])[0], x)


def test_a_layer_kind_is_tested_without_an_edit_elsewhere(tmp_path):
    """In a copy of the layers and their tests: cases, shape rule, meaning against ONNX Runtime, by being there."""
    for folder in ("src/pathweave", "tests/unit"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    new.main(["layer", "swish2"], tmp_path)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, "-k",
                           "swish2 or every_kind", "tests/unit/test_layers.py"], cwd=tmp_path, capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": str(tmp_path / "src")})
    # of each of the template's three cases the meaning and the shape rule, and both tests of every kind
    assert done.returncode == 0 and done.stdout.splitlines()[-1].startswith("8 passed"), done.stdout + done.stderr


def test_pass_and_command_fit_their_folders(tmp_path):
    new.main(["pass", "merge_pads"], tmp_path)
    module = loaded(tmp_path / "src/pathweave/passes/merge_pads.py", "pathweave.passes.merge_pads")
    assert module.apply(None) is False and module.needs_shapes is False and module.order > 0
    new.main(["command", "diff"], tmp_path)
    module = loaded(tmp_path / "src/pathweave/cli/diff.py", "pathweave.cli.diff")
    assert callable(module.command) and module.ORDER > 0


def test_region_and_operator_fit_their_folders(tmp_path):
    from pathweave.net.net import Layer, Net, TensorSpec
    new.main(["region", "pad_pool"], tmp_path)
    module = loaded(tmp_path / "src/pathweave/regions/pad_pool.py", "pathweave.regions.pad_pool")
    net = Net({"x": TensorSpec("f32", (2,))}, ["y"], [Layer("l", "relu", ("x",), ("y",), {})], {})
    assert list(module.find(net)) == []
    new.main(["operator", "swish2"], tmp_path)
    module = loaded(tmp_path / "src/pathweave/importers/onnx/ops/swish2.py", "pathweave.importers.onnx.ops.swish2")
    assert {"Swish2": module.swish2} == module.OPERATORS


def test_an_operator_is_imported_without_an_edit_elsewhere(tmp_path):
    """In a copy of the package: ONNX's Swish2 becomes the new layer, which runs through its NumPy meaning."""
    shutil.copytree(ROOT / "src/pathweave", tmp_path / "src/pathweave", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    new.main(["operator", "swish2"], tmp_path)
    code = """
import numpy as np, onnx
from onnx import helper
from pathweave.importers import load
from pathweave.meaning.evaluate import evaluate
value = lambda name: helper.make_tensor_value_info(name, 1, [2, 3])
graph = helper.make_graph([helper.make_node("Swish2", ["x"], ["y"])], "g", [value("x")], [value("y")])
model = load(helper.make_model(graph).SerializeToString())
x = np.arange(6, dtype=np.float32).reshape(2, 3)
print([layer.kind for layer in model.main.layers], np.array_equal(evaluate(model.main, {"x": x})["y"], x))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(tmp_path / "src")})
    assert done.stdout.split() == ["['swish2']", "True"], done.stderr


@pytest.mark.parametrize("what", ["layer", "activation", "operator", "importer", "pass", "region", "command"])
def test_what_it_writes_is_in_good_style(tmp_path, what):
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("needs ruff beside the interpreter")
    new.main([what, "swish2"], tmp_path)
    done = subprocess.run([ruff, "check", "--config", ROOT / "pyproject.toml", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
