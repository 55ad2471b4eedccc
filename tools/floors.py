#!/usr/bin/env python3
"""Check that imports and includes point downwards only: the floors of DESIGN section 3.

    python tools/floors.py [ROOT]

Prints one line per wrong arrow and exits with 1 when there is any. An import inside a function counts like any other:
it is written there for speed, not to hide an arrow.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

#: Python: a floor may import floors with a smaller number, and its own. What stands between an importer and the rest is the
#: model alone, and passes know nothing of formats of files: they share a number but not each other.
PYTHON = {"errors": 0, "folder": 0, "html": 0, "locks": 0, "progress": 0, "net": 1, "layers": 2, "meaning": 3, "files": 4,
          "passes": 5, "importers": 5, "regions": 5, "_native": 5, "runtime": 6, "profiling": 7, "tuning": 8, "report": 9,
          "testing": 9, "cli": 10}
#: Floors of equal number that may import each other.
TOGETHER = [{"errors", "folder"}]
#: The package's own __init__: it names everything lazily and imports nothing; from it comes `__version__`.
PACKAGE = "pathweave"

#: C++: folder -> folders that its includes may start with (beside its own). `ukernels/kinds` holds the contracts between
#: micro-kernels and routines: plain structs, on the floor of spi. `ukernels/body` is the kernels' own source, which includes
#: the list that is generated of `ukernels/activations`. `values` and `products` are the library under the routines.
NATIVE = {
    "base": {"pathweave"},
    "types": {"base", "pathweave"},
    "ukernels/kinds": set(),
    "spi": {"base", "types", "ukernels/kinds", "pathweave"},
    "ukernels/activations": set(),
    "ukernels/body": {"ukernels/kinds", "ukernels/activations"},
    "ukernels": {"spi", "ukernels/kinds", "ukernels/body"},
    "values": {"base", "types", "spi", "ukernels/kinds"},
    "products": {"base", "types", "spi", "ukernels/kinds", "values"},
    "routines": {"base", "types", "spi", "ukernels/kinds", "values", "products"},
    "runtime": {"base", "types", "spi", "ukernels/kinds", "pathweave"},
    "capi": {"base", "types", "spi", "runtime", "pathweave"},
    "python": {"base", "types", "spi", "runtime", "pathweave"},
    "pathweave": set(),  # include/pathweave: C headers that outsiders see
}
_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


# ---- Python ---------------------------------------------------------------------------------------------------------

def python_arrows(root: Path) -> Iterator[tuple[str, int, str, str]]:
    """(file, line, floor, imported floor) of every import between floors of the package."""
    source = root / "src" / PACKAGE
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        if len(parts) == 1 and parts[0] in ("__init__", "__main__"):
            continue
        module = (PACKAGE, *parts[:-1]) if parts[-1] == "__init__" else (PACKAGE, *parts)
        package = module if parts[-1] == "__init__" else module[:-1]
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        for node in ast.walk(tree):
            for target in _targets(node, package):
                if len(target) > 1 and target[0] == PACKAGE:
                    yield str(path.relative_to(root)), node.lineno, parts[0], target[1]


def _targets(node: ast.AST, package: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Absolute module paths that an import statement names."""
    if isinstance(node, ast.Import):
        return [tuple(a.name.split(".")) for a in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[:len(package) - node.level + 1] if node.level else ()
    base += tuple(node.module.split(".")) if node.module else ()
    # `from . import x`, `from .. import net`: the names may be modules.
    return [(*base, a.name) for a in node.names] if len(base) == 1 else [base]


def python_errors(root: Path) -> list[str]:
    """One line per Python import that points upwards or sideways."""
    found = []
    for file, line, floor, target in python_arrows(root):
        if target in ("__version__",) or floor == target:
            continue
        for name in (floor, target):
            if name not in PYTHON:
                found.append(f"{file}:{line}: {name} is on no floor; add it to tools/floors.py")
                break
        else:
            if not _allowed(floor, target):
                found.append(f"{file}:{line}: {floor} imports {target}, which is not below it")
    return found


def _allowed(floor: str, target: str) -> bool:
    if floor == "testing":
        return target != "cli"
    if target == "testing":
        return False
    return PYTHON[target] < PYTHON[floor] or any({floor, target} <= group for group in TOGETHER)


# ---- C++ ------------------------------------------------------------------------------------------------------------

def native_folder(path: str) -> str:
    """Floor of a file or include path: its first folder; `ukernels` is split into contracts, bodies and the rest."""
    parts = path.split("/")
    if parts[0] == "ukernels" and len(parts) > 2 and parts[1] in ("kinds", "body", "activations"):
        return f"ukernels/{parts[1]}"
    return parts[0]


def layer_folder(path: str) -> str:
    """`conv2` of `routines/conv2/x.h`; "" for a file that lies in `routines` itself, and for every other floor."""
    parts = path.split("/")
    return parts[1] if parts[0] == "routines" and len(parts) > 2 else ""


def native_errors(root: Path) -> list[str]:
    """One line per include that points upwards or sideways, or that does not start with its floor's name."""
    found = []
    for base in (root / "native", root / "include"):
        for path in sorted(p for p in base.rglob("*") if p.suffix in (".h", ".cpp", ".inc")):
            floor = native_folder(path.relative_to(base).as_posix())
            where = path.relative_to(root)
            if floor not in NATIVE:
                found.append(f"{where}: {floor} is on no floor; add it to tools/floors.py")
                continue
            layer = layer_folder(path.relative_to(base).as_posix())
            if floor == "routines" and not layer:
                found.append(f"{where}: routines holds folders of layers only; what they share belongs to values or products")
            text = path.read_text(encoding="utf-8")
            for match in _INCLUDE.finditer(text):
                line = text.count("\n", 0, match.start(1)) + 1
                target = native_folder(match[1])
                if "/" not in match[1] or target not in NATIVE:
                    found.append(f"{where}:{line}: includes \"{match[1]}\", which does not start with a floor's name")
                elif target != floor and target not in NATIVE[floor]:
                    found.append(f"{where}:{line}: {floor} includes \"{match[1]}\", and {target} is not below it")
                elif target == "routines" and layer_folder(match[1]) != layer:
                    found.append(f"{where}:{line}: routines/{layer} includes \"{match[1]}\" of another layer; what both need "
                                 "belongs to values or products")
    return found


def main(arguments: list[str]) -> int:
    """Exit code 1 when an arrow is wrong."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    errors = [*python_errors(root), *native_errors(root)]
    for line in errors:
        print(line)
    print(f"floors: {len(errors)} wrong arrows" if errors else "floors: every arrow points down")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
