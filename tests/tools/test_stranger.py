"""What tools/new.py begins, finished as a stranger would: a copy of the tree is built with it, and no other file was edited."""

from __future__ import annotations

import filecmp
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import new  # noqa: E402

#: The routines and micro-kernels that the copy keeps, so that it builds in half a minute.
KEPT = {"native/routines": ["adapt/transpose.cpp", "dense/dense.h", "dense/gemm.cpp", "elementwise/unary.cpp"],
        "native/ukernels/generic": ["activation_f32.cpp", "gemm_f32.cpp", "peak_f32.cpp", "read.cpp", "transpose_f32.cpp"]}
REFUSED = 'accepts(const Problem&) const override { return Verdict::no("it is not written yet"); }'
TAKEN = """accepts(const Problem& problem) const override {
    if (problem.in[0].dtype != DType::f32 || problem.in[0].constant) return Verdict::no("it is for values of f32");
    return problem.epilogue ? Verdict::no("it takes no epilogue") : Verdict::ok();
  }"""
RELU = {"native/routines/relu/mine.cpp": {REFUSED: TAKEN, "y[i] = x[i];": "y[i] = x[i] < 0.0f ? 0.0f : x[i];"}}
TILE = {"native/ukernels/generic/gemm_f32_3x16.cpp": {
    '#include "spi/ukernel.h"\n': '#include <cstddef>\n#include <cstdint>\n\n#include "spi/ukernel.h"\n',
    '#include "ukernels/kinds/gemm_f32.h"\n': '#include "ukernels/kinds/gemm_f32.h"\n\n#define PW_LANES 4\n',
    "namespace {\n": '''namespace {
#include "ukernels/body/vec.inc"
#include "ukernels/body/activation.inc"
#include "ukernels/body/gemm_f32.inc"

constexpr GemmF32 k3x16{3, 16, gemm<3, 4>};
''',
    "{{nullptr, nullptr, nullptr}}": '{{PW_KIND_GEMM_F32, "gemm_f32_3x16__generic", &k3x16, kActivations},\n'
                                     "                                      {nullptr, nullptr, nullptr}}"}}
PASS = {"src/pathweave/passes/abs_of_relu.py": {"    return False\n": """    changed = False
    for layer in graph.layers():
        if layer.kind == "abs" and not layer.epilogue and graph.made_by(layer.inputs[0], "relu"):
            changed |= graph.bypass(layer)
    return changed
"""}}
KIND = {"src/pathweave/layers/neg_relu.py": {"from typing import Any\n": "from typing import Any\n\nimport numpy as np\n",
                                             "x.copy()": "np.maximum(-x, x.dtype.type(0))"}}
REGION = {"src/pathweave/regions/neg_relu.py": {
    "import Net\n": "import Layer, Net\n", "import Region\n": "import Region, region_name\n",
    "    yield from ()\n": """    makers, users = net.producer(), net.consumers()
    for layer in net.layers:
        before = makers.get(layer.inputs[0])
        if layer.kind == "relu" and before and before.kind == "neg" and len(users[before.outputs[0]]) == 1:
            members = [before, layer]
            merged = Layer(region_name(members), "neg_relu", before.inputs, layer.outputs, {})
            yield Region(tuple(m.name for m in members), merged)
"""}}
FUSED = {"native/routines/neg_relu/fused.cpp": {REFUSED: TAKEN, "y[i] = x[i];": "y[i] = x[i] > 0.0f ? 0.0f : -x[i];"}}
#: What `new.py` is asked for, and what is then written into its files.
ADDED = {("routine", "relu/mine"): RELU, ("ukernel", "generic/gemm_f32_3x16"): TILE, ("activation", "soft_clip"): {},
         ("pass", "abs_of_relu"): PASS, ("layer", "neg_relu"): KIND, ("region", "neg_relu"): REGION,
         ("routine", "neg_relu/fused"): FUSED, ("command", "diff"): {}}


def changed(folder: Path, compared: filecmp.dircmp) -> list[str]:
    """Files of the copy that the tree lacks or has otherwise."""
    found = [str(folder / name) for name in (*compared.right_only, *compared.diff_files)]
    return found + [name for sub, inner in compared.subdirs.items() for name in changed(folder / sub, inner)]


def run(tree: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, *words], cwd=tree, capture_output=True, text=True, timeout=300,
                          env={**os.environ, "PYTHONPATH": str(tree / "src"), "PATHWEAVE_HOME": str(tree / "home")})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    """A copy of the sources with all that is added, built for the generic tier."""
    beside = Path(sys.executable).parent
    cmake, ninja = (shutil.which(name, path=beside) or shutil.which(name) for name in ("cmake", "ninja"))
    missing = [name for name, found in (("CMake", cmake), ("Ninja", ninja), ("a C++ compiler", shutil.which("c++")),
                                        ("nanobind", importlib.util.find_spec("nanobind"))) if not found]
    assert not missing, f"the extra `test` brings what builds the core, the system a compiler; missing: {', '.join(missing)}"
    tree = tmp_path_factory.mktemp("stranger")
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for folder in ("cmake", "include", "native", "src"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=ignored)
    shutil.copy(ROOT / "CMakeLists.txt", tree)
    for folder, names in KEPT.items():
        for path in (p for p in (tree / folder).rglob("*") if p.is_file()):
            if path.relative_to(tree / folder).as_posix() not in names:
                path.unlink()
    for (what, name), edits in ADDED.items():
        assert new.main([what, name], tree) == 0
        for file, texts in edits.items():
            text = (tree / file).read_text()
            for old, wanted in texts.items():
                assert text.count(old) == 1, f"{file}: {old!r}"
                text = text.replace(old, wanted)
            (tree / file).write_text(text)
    begin = [cmake, "-S", tree, "-B", tree / "build", "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DPATHWEAVE_TIERS=",
             "-DPATHWEAVE_EMULATED_TIERS=OFF", f"-DPython_EXECUTABLE={sys.executable}"]
    for line in (begin, [cmake, "--build", tree / "build"]):
        done = subprocess.run(line, capture_output=True, text=True)
        assert done.returncode == 0 and "warning:" not in done.stdout, done.stdout[-4000:] + done.stderr
    (library,) = (tree / "build").glob("_native*.so")
    shutil.copy(library, tree / "src/pathweave")
    return tree


def test_nothing_else_was_edited(tree):
    mine = {name for pair in ADDED for name in new.files(*pair)}
    found = {name for folder in ("cmake", "include", "native", "src")
             for name in changed(Path(folder), filecmp.dircmp(ROOT / folder, tree / folder, ignore=["__pycache__"]))
             if not name.endswith(".so")}
    new_folders = {"native/routines/relu", "native/routines/neg_relu"}
    assert found == {name for name in mine if not name.startswith((*new_folders, "tests/"))} | new_folders


@pytest.mark.parametrize("routine, least", [("relu/mine:f32:nhwc:cpu", 10), ("neg_relu/fused:f32:nhwc:cpu", 10)])
def test_a_routine_is_checked_by_being_there(tree, routine, least):
    last = run(tree, "-m", "pathweave.testing", "--routine", routine).splitlines()[-1].split()
    assert int(last[0]) >= least and last[2:] == ["0", "failed"]


def test_a_micro_kernel_is_a_variant_of_the_routines_of_its_kind(tree):
    lines = run(tree, "-m", "pathweave.testing", "--match", "3x16", "--json").splitlines()
    checked = {line["routine"].split(":")[0] for line in map(json.loads, lines) if "routine" in line}
    assert "dense/gemm" in checked, checked


#: name -> layers, what they give, which routines are allowed; prints the steps of each plan and its largest error.
USE = """
import json
import numpy as np
import pathweave as pw
from pathweave.files.model import save
from pathweave.net.net import Model

x = np.linspace(-2, 2, 48, dtype=np.float32).reshape(3, 16)
def layers(*kinds, **attrs):
    values = ["x", *(f"v{i}" for i in range(1, len(kinds))), "y"]
    return [pw.Layer(k, k, (values[i],), (values[i + 1],), attrs) for i, k in enumerate(kinds)]
NETS = {"routine": (layers("relu"), np.maximum(x, 0), "relu/mine"),
        "activation": (layers("soft_clip", alpha=0.5), np.where(x < 0, x / 2, x), None),
        "pass": (layers("relu", "abs"), np.maximum(x, 0), None),
        "region": (layers("neg", "relu"), np.maximum(-x, 0), "neg_relu/fused")}
told = {}
for name, (net, wanted, restrict) in NETS.items():
    save(Model({"main": pw.Net({"x": pw.TensorSpec("f32", (3, 16))}, ["y"], net, {})}), f"{name}.pw")
    plan = pw.tune(f"{name}.pw", threads=1, budget_s=0.2, restrict=restrict).plan()
    told[name] = [s.routine.split(":")[0] for s in plan.steps], float(abs(plan.session()(x) - wanted).max())
print(json.dumps(told))
"""


def test_they_work_in_nets(tree):
    told = json.loads(run(tree, "-c", USE))
    assert all(error < 1e-6 for _, error in told.values()), told
    assert told["routine"][0] == ["relu/mine"] and told["region"][0] == ["neg_relu/fused"], told
    assert told["activation"][0] == ["soft_clip/vector"], told
    assert told["pass"][0] in (["relu/vector"], ["relu/mine"]), told
    facts = json.loads(run(tree, "-m", "pathweave", "diff", "region.pw", "--json"))
    assert facts == {"model": "region.pw", "layers": 2}
