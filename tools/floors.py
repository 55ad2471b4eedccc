#!/usr/bin/env python3
"""Check that imports and includes point downwards only, and how large files and functions are: DESIGN sections 3 and 8.

    python tools/floors.py [ROOT]

Prints one line per finding and exits with 1 when there is any. An import inside a function counts like any other: it is
written there for speed, not to hide an arrow. Only a cycle of imports may be opened by one, since it runs later.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Python: a floor may import floors with a smaller number, and its own. What stands between an importer and the rest is the
#: model alone, and passes know nothing of formats of files: they share a number but not each other.
PYTHON = {"errors": 0, "folder": 0, "html": 0, "locks": 0, "options": 0, "plugins": 0, "progress": 0, "timer": 0, "words": 0,
          "net": 1, "solvers": 1, "layers": 2, "meaning": 3, "files": 4, "passes": 5, "importers": 5, "regions": 5,
          "_native": 5, "runtime": 6, "profiling": 7, "tuning": 8, "report": 9, "testing": 9, "onnxruntime": 9, "cli": 10}
#: Floors of equal number that may import each other.
TOGETHER = [{"errors", "folder", "locks", "plugins"}, {"errors", "options", "words"}, {"progress", "words"}]
#: The package's own __init__: it names everything lazily and imports nothing; from it comes `__version__`.
PACKAGE = "pathweave"
#: Lines of a Python file and of a function, and the folders that are held to them. Kernels in C++ are not, see DESIGN.
MOST_FILE_LINES = 600
MOST_FUNCTION_LINES = 60
SIZED = ("src", "tools", "bench", "examples")

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


# ---- cycles between modules ----------------------------------------------------------------------------------------

def module_arrows(root: Path) -> dict[str, set[str]]:
    """Module -> modules of the package that it imports while it is being imported itself.

    Imports inside functions run later, those under TYPE_CHECKING never; neither counts. A package that is imported only
    because a module lies in it does not count either.
    """
    source = root / "src"
    files = {_module_name(path.relative_to(source)): path for path in sorted((source / PACKAGE).rglob("*.py"))}
    arrows: dict[str, set[str]] = {}
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        found = {t for node in _run_at_import(ast.parse(path.read_text(encoding="utf-8"), str(path)))
                 for t in _modules_named(node, package, files)}
        arrows[name] = found - {name}
    return arrows


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The statements below a module that run when it is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from _run_at_import(other)
            continue
        yield child
        yield from _run_at_import(child)


def _modules_named(node: ast.AST, package: str, files: Mapping[str, Path]) -> Iterator[str]:
    """Modules of the package that an import statement runs."""
    if isinstance(node, ast.Import):
        yield from (a.name for a in node.names if a.name in files)
    elif isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        base = ".".join([*parts[:len(parts) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module
        inner = [f"{base}.{a.name}" for a in node.names]
        yield from (name for name in inner if name in files)
        if base in files and not all(name in files for name in inner):
            yield base


def cycle_errors(root: Path) -> list[str]:
    """One line per set of modules that import each other, with one way around."""
    arrows = module_arrows(root)
    reach = {name: _reached(arrows, name) for name in arrows}
    found, seen = [], set()
    for name in sorted(arrows):
        if name in reach[name] and name not in seen:
            seen |= {other for other in reach[name] if name in reach[other]}
            found.append(f"{' imports '.join(_way_around(arrows, name))}: a cycle; put what both need into a module of its "
                         f"own, or import inside the function that needs it")
    return found


def _reached(arrows: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = list(arrows[start])
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += arrows[name]
    return seen


def _way_around(arrows: Mapping[str, set[str]], start: str) -> list[str]:
    """The shortest way from a module back to itself."""
    before: dict[str, str] = {}
    todo = [start]
    while start not in before:
        todo = [other for name in todo for other in sorted(arrows[name])
                if other not in before and before.setdefault(other, name) == name]
    way = [before[start]]
    while way[-1] != start:
        way.append(before[way[-1]])
    return [*reversed(way), start]


# ---- sizes ----------------------------------------------------------------------------------------------------------

def size_errors(root: Path) -> list[str]:
    """One line per Python file above MOST_FILE_LINES and per function above MOST_FUNCTION_LINES, its decorators left out.

    A file without functions and classes is data and may be of any length.
    """
    found = []
    for path in sorted(p for folder in SIZED for p in (root / folder).rglob("*.py")):
        text, where = path.read_text(encoding="utf-8"), path.relative_to(root)
        functions = [n for n in ast.walk(ast.parse(text, str(path))) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
        lines = len(text.splitlines())
        if lines > MOST_FILE_LINES and (functions or "class " in text):
            found.append(f"{where}: {lines} lines; expected at most {MOST_FILE_LINES}: split it by what its parts are about")
        for f in functions:
            lines = f.end_lineno - f.lineno + 1
            if lines > MOST_FUNCTION_LINES:
                found.append(f"{where}:{f.lineno}: {f.name} has {lines} lines; expected at most {MOST_FUNCTION_LINES}: give "
                             f"its parts names")
    return found


def main(arguments: list[str]) -> int:
    """Exit code 1 when an arrow is wrong, or something too large."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    errors = [*python_errors(root), *native_errors(root), *cycle_errors(root), *size_errors(root)]
    for line in errors:
        print(line)
    print(f"floors: {len(errors)} findings" if errors else "floors: every arrow points down")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
