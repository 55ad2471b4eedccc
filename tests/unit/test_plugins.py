"""Installed packages add to pathweave by entry points: what is found, in which order, and what is left out; in processes of
their own, with packages that lie in a folder on the path as pip would leave them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import pathweave
from pathweave import errors, plugins

SOURCE = str(Path(pathweave.__file__).resolve().parents[1])

KIND = '''
from pathweave.layers import LayerKind

class Kind(LayerKind):
    """x |x|, whatever its sign."""
    name = {name!r}
    attributes = {{}}
    def infer(self, attrs, inputs):
        return [inputs[0]]
    def meaning(self, attrs, inputs):
        return [inputs[0] * abs(inputs[0])]
'''
OPERATORS = '''
def signed_square(n):
    n.required(1)
    n.emit("signed_square", [n.input(0)], last=True)

OPERATORS = {"SignedSquare": signed_square}
'''
PASS = '''
order, needs_shapes = 95, False

def apply(graph):
    return False
'''
COMMAND = '''
ORDER = 200

def command() -> None:
    """Say hello."""
    print("hello from outside")
'''
IMPORTER = '''
from pathweave.net.net import Layer, Model, Net, TensorSpec

EXPECTED = "a toy model"

def recognises(head, path=None):
    return head == b"toy"

def read(source):
    net = Net({"x": TensorSpec("f32", ("N", 3))}, ["y"], [Layer("l", "signed_square", ("x",), ("y",), {})], {})
    return Model({"main": net}, {"format": "toy"})
'''
#: A package whose folders are those of pathweave.
WHOLE = {"__init__.py": "", "layers/__init__.py": "", "layers/signed_square.py": KIND.format(name="signed_square"),
         "layers/_helper.py": "raise SystemError('names with an underscore are not looked at')",
         "cases/__init__.py": "",
         "cases/signed_square.py": "from pathweave.testing import case\nCASES = [case('signed_square', (3, 5))]",
         "onnx_operators/__init__.py": "", "onnx_operators/signed_square.py": OPERATORS,
         "regions/__init__.py": "", "regions/none.py": "def find(net):\n    return iter(())",
         "passes/__init__.py": "", "passes/nothing.py": PASS, "commands/__init__.py": "", "commands/hello.py": COMMAND,
         "importers/__init__.py": "", "importers/toy.py": IMPORTER, "importers/helper.py": "x = 1"}


def install(folder: Path, package: str, files: dict[str, str], target: str = "", name: str = "", version: str = "1.5") -> None:
    """A package as pip leaves it: its files, and a dist-info that names the entry point."""
    for path, text in files.items():
        (folder / package / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / package / path).write_text(text)
    info = folder / f"{package}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[pathweave.plugins]\n{name or package} = {target or package}\n")


def run(folder: Path, code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Python code in a process that finds the packages of a folder. What is cut off of a warning's place is the line below."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join([SOURCE, str(folder)]), **environment})


def answer(folder: Path, code: str, **environment: str):
    """What the code prints as JSON; it warns of nothing."""
    done = run(folder, f"import json, pathweave as pw\n{code}", **environment)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return json.loads(done.stdout)


def listed(folder: Path, **environment: str) -> tuple[list[dict], str]:
    """The plugins that `pathweave devices` lists, and what it says on stderr."""
    done = run(folder, "from pathweave.cli import main; main(['devices', '--json'])", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["plugins"], done.stderr


def test_every_part_of_a_package_is_found(tmp_path):
    install(tmp_path, "outside", WHOLE, name="squares")
    (plugin,), said = listed(tmp_path)
    assert plugin == {"name": "squares", "package": "outside", "version": "1.5", "target": "outside", "left_out": {}, "adds": {
        "layers": ["signed_square"], "importers": ["toy"], "onnx_operators": ["SignedSquare"], "regions": ["none"],
        "passes": ["nothing"], "commands": ["hello"]}}
    assert not said
    shown = run(tmp_path, "from pathweave.cli import main; main(['devices'])").stdout
    assert "squares  outside  1.5      layer kinds signed_square; importers toy" in shown
    assert run(tmp_path, "from pathweave.cli import main; main(['hello'])").stdout == "hello from outside\n"


def test_what_it_adds_works(tmp_path):
    """The importer's file is recognised, the kind is inferred, runs and is found by ONNX models; its case is a case."""
    install(tmp_path, "outside", WHOLE)
    found = answer(tmp_path, """
import numpy as np, onnx
from onnx import helper
from pathweave.testing import cases
from pathweave.testing.conformance import Subject
value = lambda name: helper.make_tensor_value_info(name, 1, [2, 3])
graph = helper.make_graph([helper.make_node("SignedSquare", ["x"], ["y"])], "g", [value("x")], [value("y")])
x = np.array([[-2, 0, 3]], np.float32)
model = pw.load(b"toy")
print(json.dumps([model(x)["y"].tolist() if isinstance(model(x), dict) else model(x).tolist(),
                  [str(s) for s in model.bind({"x": (4, 3)}).outputs.values()],
                  [layer.kind for layer in pw.load(helper.make_model(graph).SerializeToString()).main.layers],
                  [c.name for c in cases("signed_square")]]))
""")
    assert found == [[[-4, 0, 9]], ["f32[4,3]"], ["signed_square"], ["signed_square 3x5"]]


@pytest.mark.parametrize("files, target", [
    ({"__init__.py": "from . import kind\nlayers = [kind]", "kind.py": KIND.format(name="k")}, "outside"),
    ({"__init__.py": "from . import kind as layers", "kind.py": KIND.format(name="k")}, "outside"),
    ({"__init__.py": "layers = 'outside.kind'", "kind.py": KIND.format(name="k")}, "outside"),
    ({"__init__.py": "layers = ('outside.kind', 'outside.more')", "kind.py": KIND.format(name="k"), "more/__init__.py": ""},
     "outside"),
    ({"__init__.py": "", "plugin.py": "layers = 'outside.kind'", "kind.py": KIND.format(name="k")}, "outside.plugin"),
    ({"__init__.py": "class Root:\n    layers = ['outside.kind']", "kind.py": KIND.format(name="k")}, "outside:Root"),
])
def test_a_part_is_a_package_a_module_or_a_list_of_them_by_name_too(tmp_path, files, target):
    install(tmp_path, "outside", files, target)
    (plugin,), said = listed(tmp_path)
    assert plugin["adds"] == {"layers": ["k"]} and not plugin["left_out"] and not said


@pytest.mark.parametrize("files, part, reason", [
    ({"__init__.py": "import nothing_like_this"}, "everything", "ModuleNotFoundError: No module named 'nothing_like_this'"),
    ({"__init__.py": "raise SystemExit(3)"}, "everything", "SystemExit: 3"),
    ({"__init__.py": "layers = 3"}, "layers", "expected a package, a module or a list of modules as layers, got int"),
    ({"__init__.py": "layers = ['outside.gone']"}, "layers", "ModuleNotFoundError: No module named 'outside.gone'"),
    ({"__init__.py": "from pathweave import layers"}, "layers", "layers is pathweave.layers, which pathweave has already"),
    ({"__init__.py": "", "layers.py": KIND.format(name="relu")}, "layers",
     "layer kind 'relu' is defined by pathweave itself already"),
    ({"__init__.py": "", "layers.py": KIND.format(name="k") + "    def __init__(self):\n        raise OSError('no')"}, "layers",
     "OSError: no"),
    ({"__init__.py": "", "passes/__init__.py": "", "passes/p.py": "def apply(graph): return False"}, "passes",
     "AttributeError: module 'outside.passes.p' has no attribute 'order'"),
    ({"__init__.py": "", "importers/__init__.py": "", "importers/onnx.py": IMPORTER}, "importers",
     "importer 'onnx' is defined by pathweave itself already"),
    ({"__init__.py": "", "commands/__init__.py": "", "commands/run.py": COMMAND}, "commands",
     "command 'run' is defined by pathweave itself already"),
    ({"__init__.py": "", "onnx_operators.py": "OPERATORS = {'Relu': None}"}, "onnx_operators",
     "operator 'Relu' is defined by pathweave itself already"),
    ({"__init__.py": "devices = 'build/toy.so'"}, "devices", "outside/build/toy.so is no file; expected a device library"),
    ({"__init__.py": "devices = [3]"}, "devices", "expected paths of libraries as devices, got int"),
    ({"__init__.py": "def devices():\n    raise OSError('no driver')"}, "devices", "OSError: no driver"),
    ({"__init__.py": "devices = 'toy.so'", "toy.so": "no library"}, "devices", "outside/toy.so: it cannot be loaded: "),
])
def test_what_cannot_be_used_is_left_out_with_one_warning(tmp_path, files, part, reason):
    install(tmp_path, "outside", files)
    (plugin,), said = listed(tmp_path)
    assert plugin["adds"] == {} and list(plugin["left_out"]) == [part]
    told = plugin["left_out"][part]
    assert told.startswith("plugin 'outside' of the package outside 1.5: it") and reason in told
    assert told.endswith(" What to do: correct, update or uninstall outside; PATHWEAVE_NO_PLUGINS=1 turns plugins off")
    assert said == f"pathweave: warning: {told}\n"


def test_one_part_that_fails_leaves_the_others(tmp_path):
    install(tmp_path, "outside", {**WHOLE, "layers/signed_square.py": "import nothing_like_this"})
    (plugin,), said = listed(tmp_path)
    assert list(plugin["left_out"]) == ["layers"]
    assert plugin["adds"].keys() == {"importers", "onnx_operators", "regions", "passes", "commands"}
    assert said.count("pathweave: warning: ") == 1
    done = run(tmp_path, "import warnings; warnings.simplefilter('ignore'); import pathweave as pw; pw.load(b'toy')")
    assert "layer kind 'signed_square' is unknown" in done.stderr and "No module named 'nothing_like_this'" in done.stderr


def test_plugins_are_taken_by_name_and_a_later_one_with_the_same_thing_is_left_out(tmp_path):
    """In the order of entry points' names, then of packages' names, wherever they lie on the path."""
    kind = {"__init__.py": "", "layers.py": KIND.format(name="k")}
    install(tmp_path / "late", "one", kind, name="a")
    install(tmp_path / "early", "three", {**kind, "layers.py": KIND.format(name="other")}, name="c")
    install(tmp_path / "early", "two", kind, name="b")
    code = """
import warnings
from pathweave import layers, plugins
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    layers.kinds(), layers.kinds.cache_clear(), layers.kinds()
print(json.dumps([[str(p), p.added.get("layers"), "layers" in p.faults] for p in plugins.installed()]
                 + [str(w.message) for w in told] + [layers.kind_of("k").__module__, plugins.owner("layers", "other").name]))
"""
    path = os.pathsep.join([SOURCE, str(tmp_path / "early"), str(tmp_path / "late")])
    one, two, three, told, module, by = answer(tmp_path, code, PYTHONPATH=path)
    assert one == ["plugin 'a' of the package one 1.5", ["k"], False] and module == "one.layers"
    assert two == ["plugin 'b' of the package two 1.5", None, True]
    assert three == ["plugin 'c' of the package three 1.5", ["other"], False] and by == "c"
    assert "layer kind 'k' is defined by plugin 'a' of the package one 1.5 already" in told


def test_importing_pathweave_imports_no_plugin_and_each_when_it_is_needed(tmp_path):
    install(tmp_path, "outside", {**WHOLE, "__init__.py": "print('root')", "layers/__init__.py": "print('layers')",
                                  "importers/__init__.py": "print('importers')"})
    code = """
import sys
import pathweave
from pathweave import layers, importers
print("imported", "importlib.metadata" in sys.modules)
layers.kinds()
print("kinds")
importers.importers()
layers.kind_of("signed_square")
"""
    done = run(tmp_path, code)
    assert done.stdout.split() == ["imported", "False", "root", "layers", "kinds", "importers"], done.stderr


def test_without_plugins_the_slow_module_that_finds_them_is_not_imported(tmp_path):
    """A package that has other entry points, or none, is no reason."""
    install(tmp_path, "outside", WHOLE)
    info = tmp_path / "outside-1.5.dist-info"
    code = "import sys; from pathweave import plugins; print(plugins.installed(), 'importlib.metadata' in sys.modules)"
    assert run(tmp_path, code).stdout.endswith("True\n")
    (info / "entry_points.txt").write_text("[console_scripts]\noutside = outside:main\n")
    assert run(tmp_path, code, PYTHONPATH=os.pathsep.join([SOURCE, str(tmp_path)])).stdout == "() False\n"
    (info / "entry_points.txt").unlink()
    assert run(tmp_path, code).stdout == "() False\n"


def test_a_case_that_is_none_leaves_those_of_the_plugin_out(tmp_path):
    install(tmp_path, "outside", {"__init__.py": "", "cases.py": "CASES = [3]"})
    done = run(tmp_path, "from pathweave.testing import cases; print(len(cases('relu')) > 0)")
    assert done.stdout == "True\n"
    assert "its conformance cases are left out: AttributeError: 'int' object has no attribute 'name'" in done.stderr


@pytest.mark.parametrize("value, found", [("1", []), ("yes", []), ("0", ["outside"]), ("", ["outside"])])
def test_a_variable_turns_them_off(tmp_path, value, found):
    install(tmp_path, "outside", WHOLE)
    assert [p["name"] for p in listed(tmp_path, PATHWEAVE_NO_PLUGINS=value)[0]] == found
    done = run(tmp_path, "from pathweave.layers import kind_of; kind_of('signed_square')", PATHWEAVE_NO_PLUGINS=value)
    assert (done.returncode == 0) == bool(found)
    assert ("PATHWEAVE_NO_PLUGINS turns plugins off" in done.stderr) != bool(found)


def test_a_model_file_names_the_package_of_a_kind_that_is_not_there(tmp_path):
    install(tmp_path / "with", "outside", WHOLE)
    file = str(tmp_path / "toy.pw")
    code = f"""
import numpy as np
pw.load(b"toy").save({file!r})
again = pw.load({file!r})
print(json.dumps([again(np.array([[2, -3, 0.5]], np.float32)).tolist(), again.main.layers[0].kind]))
"""
    assert answer(tmp_path / "with", code) == [[[4, -9, 0.25]], "signed_square"]
    load = f"import pathweave as pw; pw.load({file!r})"
    done = run(tmp_path, load)
    assert "FileFormatError" in done.stderr
    assert "got 1 unknown: 'signed_square' of the package 'outside 1.5' (layer 'l'); install the package" in done.stderr
    done = run(tmp_path / "with", load, PATHWEAVE_NO_PLUGINS="1")
    assert done.stderr.strip().endswith("whose plugin defines them; PATHWEAVE_NO_PLUGINS turns plugins off")


def test_saving_is_enough_for_a_file_to_name_the_package(tmp_path):
    """Nothing else of the process has asked for a layer kind."""
    install(tmp_path, "outside", WHOLE)
    net = """pw.Net({"x": pw.TensorSpec("f32", (3,))}, ["y"], [pw.Layer("l", "signed_square", ("x",), ("y",), {})], {})"""
    code = "from pathweave.files.spec import encode\nfrom pathweave.net.net import Model\n"
    assert answer(tmp_path, f"{code}print(json.dumps(encode(Model({{'main': {net}}}))))")["plugins"] == \
        {"signed_square": "outside 1.5"}


def test_the_error_is_typed_and_the_header_is_where_it_says():
    assert issubclass(errors.PluginError, (errors.Error,)) and issubclass(errors.PluginError, ImportError)
    assert (Path(pathweave.include_folder()) / "pathweave" / "plugin.h").read_text().startswith("/* The device door")
    assert plugins.GROUP == "pathweave.plugins"
