"""tools/floors.py: the house keeps its floors, and a wrong arrow is found wherever it hides."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import floors  # noqa: E402


def test_this_repository_keeps_them(capsys):
    assert floors.main([str(ROOT)]) == 0, capsys.readouterr().out


@pytest.fixture
def house(tmp_path):
    """Writes one file into an empty house; gives its findings."""
    def write(path: str, text: str) -> list[str]:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        return [*floors.python_errors(tmp_path), *floors.native_errors(tmp_path)]
    return write


@pytest.mark.parametrize("text", [
    "from ..tuning import api", "from ..tuning.api import solve", "import pathweave.tuning.api",
    "from pathweave.tuning import x", "def f():\n    from ..tuning.api import solve", "from .. import tuning",
    "if True:\n    from ..cli import main"])
def test_runtime_may_not_look_up(house, text):
    (finding,) = house("src/pathweave/runtime/x.py", text)
    assert finding.startswith("src/pathweave/runtime/x.py:") and "which is not below it" in finding


@pytest.mark.parametrize("path, text", [
    ("src/pathweave/runtime/x.py", "from ..net.net import Net\nfrom .plan import Plan\nimport numpy"),
    ("src/pathweave/layers/x.py", "def f():\n    from ..net.size import check_value"),
    ("src/pathweave/cli/x.py", "from ..tuning.api import tune\nfrom ..report.tables import Table"),
    ("src/pathweave/report/peers/x.py", "from ...net.net import Net\nfrom . import Peer"),
    ("src/pathweave/testing/x.py", "from ..tuning.api import tune"), ("src/pathweave/cli/x.py", "from .. import __version__")])
def test_downwards_is_fine(house, path, text):
    assert house(path, text) == []


def test_a_net_does_not_know_its_layers(house):
    assert house("src/pathweave/net/x.py", "def f():\n    from ..layers import kinds")


def test_sideways_and_testing(house):
    assert house("src/pathweave/passes/x.py", "from ..importers import load")
    assert house("src/pathweave/testing/x.py", "from ..cli import main")
    assert house("src/pathweave/tuning/x.py", "from ..testing import Case")
    assert any("attic is on no floor" in f for f in house("src/pathweave/attic/x.py", "from ..net.net import Net"))


@pytest.mark.parametrize("path, include, good", [
    ("native/base/x.h", "types/format.h", False), ("native/types/x.h", "base/error.h", True),
    ("native/spi/x.h", "ukernels/kinds/activation.h", True), ("native/spi/x.h", "runtime/plan.h", False),
    ("native/routines/a/x.cpp", "runtime/plan.h", False), ("native/routines/a/x.cpp", "products/matrix.h", True),
    ("native/routines/a/x.cpp", "values/vector.h", True), ("native/products/x.h", "values/vector.h", True),
    ("native/products/x.h", "routines/a/y.h", False), ("native/values/x.h", "products/matrix.h", False),
    ("native/routines/a/x.cpp", "routines/a/y.h", True), ("native/routines/a/x.cpp", "routines/b/y.h", False),
    ("native/routines/a/x.cpp", "routines/y.h", False), ("native/routines/x.h", "base/error.h", False),
    ("native/ukernels/avx2/x.cpp", "base/cpu.h", False), ("native/ukernels/avx2/x.cpp", "ukernels/body/vec.inc", True),
    ("native/ukernels/activations/x.inc", "spi/ukernel.h", False),
    ("native/ukernels/body/x.inc", "ukernels/activations/collected.inc", True),
    ("native/runtime/x.cpp", "products/matrix.h", False), ("native/python/x.cpp", "runtime/plan.h", True),
    ("native/python/x.cpp", "plan.h", False), ("include/pathweave/x.h", "base/cpu.h", False)])
def test_includes(house, path, include, good):
    found = house(path, f'#include <vector>\n#include "{include}"\n')
    assert (found == []) == good, found


def written(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        target = root / "src/pathweave" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    return root


@pytest.mark.parametrize("a, b", [
    ("from .b import x", "from .a import y"), ("from . import b", "from . import a"),
    ("import pathweave.net.b", "from pathweave.net.a import y"),
    ("from .b import x", "try:\n    from . import a\nexcept E:\n    pass"),
    ("from .b import x", "class A:\n    from .a import y"), ("from ..net.b import x", "from ..net import a, c"),
    ("from .b import x", "if TYPE_CHECKING:\n    pass\nelse:\n    from . import a")])
def test_modules_that_import_each_other(tmp_path, a, b):
    root = written(tmp_path, {"net/__init__.py": "", "net/a.py": a, "net/b.py": b, "net/c.py": "import numpy"})
    (finding,) = floors.cycle_errors(root)
    assert finding.startswith("pathweave.net.a imports pathweave.net.b imports pathweave.net.a: a cycle")


def test_a_longer_cycle_is_one_finding_with_its_shortest_way(tmp_path):
    root = written(tmp_path, {"net/a.py": "from . import b", "net/b.py": "from . import c\nfrom . import d", "net/c.py":
                              "from . import a", "net/d.py": "from . import c", "net/e.py": "from . import a",
                              "net/__init__.py": ""})
    (finding,) = floors.cycle_errors(root)
    assert finding.startswith("pathweave.net.a imports pathweave.net.b imports pathweave.net.c imports pathweave.net.a:")


def test_a_package_and_its_module(tmp_path):
    files = {"layers/__init__.py": "from .x import f", "layers/x.py": "from . import LayerKind"}
    (finding,) = floors.cycle_errors(written(tmp_path, files))
    assert finding.startswith("pathweave.layers imports pathweave.layers.x imports pathweave.layers:")


@pytest.mark.parametrize("b", ["def f():\n    from .a import y", "f = lambda: __import__('a')", "import a",
                               "if TYPE_CHECKING:\n    from .a import y", "if typing.TYPE_CHECKING:\n    from . import a",
                               "class A:\n    def f(self):\n        from . import a", "from .c import a"])
def test_what_does_not_run_at_import_makes_no_cycle(tmp_path, b):
    root = written(tmp_path, {"net/__init__.py": "", "net/a.py": "from .b import x", "net/b.py": b, "net/c.py": "a = 1"})
    assert floors.cycle_errors(root) == []


@pytest.mark.parametrize("text, findings", [
    ("def f():\n" + "    x = 1\n" * 59, 0), ("def f():\n" + "    x = 1\n" * 60, 1), ("@a\n@b\ndef f():\n" + "    x\n" * 59, 0),
    ("class A:\n    async def f(self):\n" + "        x = 1\n" * 60, 1), ("class A:\n" + "    x = 1\n" * 599, 0),
    ("class A:\n" + "    x = 1\n" * 600, 1), ("TABLE = (\n" + "    1,\n" * 700 + ")\n", 0)])
def test_large_functions_and_files(tmp_path, text, findings):
    found = floors.size_errors(written(tmp_path, {"net/x.py": text}))
    assert len(found) == findings and all(f.startswith("src/pathweave/net/x.py") and "expected at most" in f for f in found)
