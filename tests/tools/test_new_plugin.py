"""tools/new.py device and plugin: the packages that they begin are built, installed and used as a stranger would."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import new  # noqa: E402

NAME = "toy_box"
SOURCE = str(ROOT / "src") if importlib.util.find_spec("pathweave").origin.startswith(str(ROOT / "src")) else ""


def environment(*folders: Path) -> dict[str, str]:
    """The interpreter first on the path, and folders whose packages it finds beside pathweave."""
    bin_ = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([bin_, os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(filter(None, [SOURCE, *map(str, folders)]))}


def begun(folder: Path, what: str) -> Path:
    assert new.main([what, NAME, "--into", str(folder)]) == 0
    return folder / NAME


def with_compiler(package: Path, site: Path) -> None:
    """The library by the line of the README; then what pip does: copy the package, and write down its entry points."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    text = (package / "README.md").read_text()
    line = re.search(r"^ +(cc (?:.*\\\n)*.*)$", text, re.MULTILINE)[1]
    subprocess.run(["bash", "-c", line], cwd=package, env=environment(), check=True)
    shutil.copytree(package / "src" / NAME, site / NAME)
    written_down(package, site)


def with_cmake(package: Path, site: Path) -> None:
    """The library as scikit-build-core has it built: by CMake, which installs it into the package."""
    cmake = shutil.which("cmake", path=environment()["PATH"])
    if not cmake or not shutil.which("cc"):
        pytest.skip("needs CMake and a C compiler")
    ninja = shutil.which("ninja", path=environment()["PATH"])
    build = package / "build"
    made = ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []
    for line in ([cmake, "-S", package, "-B", build, f"-DPython_EXECUTABLE={sys.executable}", *made], [cmake, "--build", build],
                 [cmake, "--install", build, "--prefix", site]):
        done = subprocess.run(line, capture_output=True, text=True, env=environment())
        assert done.returncode == 0 and "warning" not in done.stdout + done.stderr, done.stdout + done.stderr
    shutil.copytree(package / "src" / NAME, site / NAME, dirs_exist_ok=True)
    written_down(package, site)


def with_pip(package: Path, site: Path) -> None:
    missing = [m for m in ("pip", "scikit_build_core") if importlib.util.find_spec(m) is None]
    assert not missing, f"the extra `test` brings what builds a package: {', '.join(missing)} is missing"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--target"]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *options, site, package], capture_output=True, text=True,
                          env=environment())
    assert done.returncode == 0, done.stdout + done.stderr


def written_down(package: Path, site: Path) -> None:
    """The dist-info of what pyproject.toml says."""
    text = (package / "pyproject.toml").read_text()
    project = {key: re.search(rf'^{key} = "(.*)"$', text, re.MULTILINE)[1] for key in ("name", "version")}
    points = configparser.ConfigParser()
    points["pathweave.plugins"] = dict(re.findall(r'^(\w+) = "(.*)"$', text.split("entry-points.", 1)[1], re.MULTILINE))
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    with open(info / "entry_points.txt", "w") as f:
        points.write(f)


#: A net of the kind, between layers of ours; saved, loaded, and run by the device and without it.
USE = """
import json, sys, warnings
warnings.simplefilter("error")
import numpy as np
import pathweave as pw
from pathweave.files.model import save
from pathweave.net.net import Model
kind, file = sys.argv[1:]
layers = [pw.Layer("before", "relu", ("x",), ("a",), {}), pw.Layer("own", kind, ("a",), ("b",), {}),
          pw.Layer("after", "neg", ("b",), ("y",), {})]
save(Model({"main": pw.Net({"x": pw.TensorSpec("f32", ("N", 3))}, ["y"], layers, {})}), file)
model = pw.load(file)
bound = model.bind({"x": (4, 3)})
x = np.linspace(-2, 2, 12, dtype=np.float32).reshape(4, 3)
route = pw.default_route(bound, restrict="toy_box0")
plan = pw.plan(model, route, shapes={"x": (4, 3)})
print(json.dumps({
    "devices": [[d["name"], d["available"]] for d in pw.devices()], "routines": [r["id"] for r in pw.routines(kind)],
    "inferred": str(bound.spec("b")), "kinds": [layer.kind for layer in model.main.layers],
    "steps": [s.routine for s in plan.steps], "error": float(abs(plan.session()(x) - (EXPECTED)).max())}))
"""


def used(site: Path, kind: str, expected: str) -> dict:
    code = USE.replace("EXPECTED", expected)
    done = subprocess.run([sys.executable, "-c", code, kind, site / "net.pw"], capture_output=True, text=True,
                          env=environment(site), timeout=120)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


def command(site: Path, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, env=environment(site), timeout=300)
    assert done.returncode == 0 and not done.stderr, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("install", [with_compiler, with_cmake, with_pip])
def test_a_plugin_is_built_installed_and_used(tmp_path, install):
    site = tmp_path / "site"
    install(begun(tmp_path, "plugin"), site)
    plugin, = json.loads(command(site, "pathweave", "devices", "--json"))["plugins"]
    assert plugin == {"name": NAME, "package": NAME, "version": "0.1.0", "target": NAME, "left_out": {},
                      "adds": {"devices": ["toy_box0"], "layers": [NAME]}}
    routine = "toy_box/simple:f32:nchw:toy_box0"
    found = used(site, NAME, "-np.maximum(x, 0) ** 2")
    assert found["devices"] == [["cpu", True], ["toy_box0", True]] and found["routines"] == [routine]
    assert found["inferred"] == "f32[4,3]" and found["kinds"] == ["relu", NAME, "neg"]
    assert [s for s in found["steps"] if "toy_box" in s] == \
        ["adapt/upload:f32:toy_box0", routine, "adapt/download:f32:toy_box0"]
    assert found["error"] < 1e-6
    told = command(site, "pathweave.testing", "--routine", routine)
    assert re.search(r"^15 checks, 0 failed$", told, re.MULTILINE), told  # three cases, and 1, 2, 3, 4 and 8 threads


@pytest.mark.parametrize("install", [with_compiler, with_cmake])
def test_a_device_alone_is_built_installed_and_used(tmp_path, install):
    """Its routine is one of relu, which has cases already."""
    site = tmp_path / "site"
    install(begun(tmp_path, "device"), site)
    plugin, = json.loads(command(site, "pathweave", "devices", "--json"))["plugins"]
    assert plugin["adds"] == {"devices": ["toy_box0"]} and not plugin["left_out"]
    found = used(site, "relu", "-np.maximum(x, 0)")
    assert "relu/simple:f32:nchw:toy_box0" in found["routines"] and "relu/simple:f32:nchw:toy_box0" in found["steps"]
    assert found["error"] == 0
    told = command(site, "pathweave.testing", "--routine", "relu/simple:f32:nchw:toy_box0")
    checks, failed = map(int, re.search(r"^(\d+) checks, (\d+) failed$", told, re.MULTILINE).groups())
    assert checks >= 15 and failed == 0


def test_a_plugin_that_is_not_built_is_listed_with_what_to_do(tmp_path):
    package = begun(tmp_path, "plugin")
    shutil.copytree(package / "src" / NAME, tmp_path / "site" / NAME)
    written_down(package, tmp_path / "site")
    done = subprocess.run([sys.executable, "-m", "pathweave", "devices"], capture_output=True, text=True,
                          env=environment(tmp_path / "site"))
    assert done.returncode == 0 and "layer kinds toy_box" in done.stdout
    assert "toy_box/device.so is no file; expected a device library: build or install the package again" in done.stderr


@pytest.mark.parametrize("arguments", [["device", "x"], ["plugin", "x", "--into"], ["plugin", "x", "--to", "."],
                                       ["layer", "x", "--into", "."], ["plugin", "Bad", "--into", "."],
                                       ["device", "class", "--into", "."], ["plugin", "toy2", "--into", "."],
                                       ["plugin", "../x", "--into", "."]])
def test_bad_use(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert new.main(arguments, tmp_path) == 2
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("what", ["device", "plugin"])
def test_the_package_is_in_good_style_and_has_no_name_but_its_own(tmp_path, what):
    package = begun(tmp_path, what)
    assert new.main([what, NAME, "--into", str(tmp_path)]) == 1  # nothing is overwritten
    for path in package.rglob("*"):
        assert "mything" not in path.name and (path.is_dir() or "mything" not in path.read_text().lower())
    assert (what == "plugin") == (package / "src" / NAME / "layers").exists() == (package / "src" / NAME / "cases").exists()
    compiler = shutil.which("cc")
    if compiler:
        subprocess.run([compiler, "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", f"-I{ROOT}/include",
                        package / "src" / NAME / "device.c"], check=True)
    ruff = Path(sys.executable).with_name("ruff")
    if not ruff.exists():
        pytest.skip("needs ruff beside the interpreter")
    done = subprocess.run([ruff, "check", "--config", ROOT / "pyproject.toml", package], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
