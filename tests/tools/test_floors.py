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
