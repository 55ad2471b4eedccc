#!/usr/bin/env python3
"""Compare the tree that DESIGN.md draws with the folders that exist.

    python tools/tree.py [ROOT]

The tree is the first block of DESIGN.md with a line that begins with `├──`. A line of it names one entry, or several with
commas between them; what follows two spaces is a comment. A name that ends with `/` is a folder, every other name is a file.

Two things are errors: an entry that is drawn and does not exist, and a folder below one of `COVERED` that is not drawn. A
drawn folder below which no folder is drawn stands for everything that it holds. Prints one line per error and exits with 1
when there is any.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

DRAWING = "DESIGN.md"
#: Folders all of whose folders must be drawn, or lie in one that is.
COVERED = ("src/pathweave", "native", "include", "tests", "docs", "tools", "bench")
#: Folders that commands make, by path: no part of the repository.
MADE = {"bench/nets"}
#: Columns by which a level is indented.
INDENT = 4
_BRANCH = re.compile(r"^ *((?:│   |    )*)[├└]── (.*)$")


class Drawn(NamedTuple):
    """An entry of the tree: its path from the root, the line that draws it (from 1), and whether it is a folder."""

    path: PurePosixPath
    line: int
    folder: bool


def drawn(text: str) -> list[Drawn]:
    """The entries of the first tree in a Markdown text, in order."""
    found: list[Drawn] = []
    above: list[PurePosixPath] = []  # the folder that each level stands in
    for number, line in enumerate(text.splitlines(), 1):
        match = _BRANCH.match(line)
        if match is None:
            if found and not line.lstrip().startswith("│"):
                break
            continue
        level = len(match[1]) // INDENT
        if level > len(above):
            raise ValueError(f"{DRAWING}:{number}: expected an entry at most one level below the one before it")
        del above[level:]
        parent = above[-1] if above else PurePosixPath()
        names = re.split(r"\s{2,}", match[2].strip())[0].split(", ")
        for name in names:
            found.append(Drawn(parent / name.rstrip("/"), number, name.endswith("/")))
        above.append(found[-1].path)
    return found


def folders(root: Path, top: str) -> Iterator[PurePosixPath]:
    """The folders below a folder, itself included, that hold a file; hidden ones, caches and what commands make left out."""
    for folder in sorted({p.parent for p in (root / top).rglob("*") if p.is_file()}):
        path = PurePosixPath(folder.relative_to(root).as_posix())
        made = any(path == PurePosixPath(m) or PurePosixPath(m) in path.parents for m in MADE)
        if not made and not any(part.startswith(".") or part == "__pycache__" for part in path.parts):
            yield path


def errors(root: Path) -> list[str]:
    """One line per difference between the drawing and the folders."""
    entries = drawn((root / DRAWING).read_text(encoding="utf-8"))
    if not entries:
        return [f"{DRAWING}: expected a tree, a block with lines that begin with ├──, got none"]
    found = []
    for entry in entries:
        target = root / entry.path
        if not (target.is_dir() if entry.folder else target.is_file()):
            kind = "folder" if entry.folder else "file"
            found.append(f"{DRAWING}:{entry.line}: the {kind} {entry.path} is drawn and does not exist")
    known = {e.path for e in entries if e.folder}
    parted = {parent for path in known for parent in path.parents}
    for top in COVERED:
        missing: set[PurePosixPath] = set()
        for path in folders(root, top):
            line = [*reversed(path.parents), path]
            nearest = next((p for p in reversed(line) if p in known), None)
            if path in known or nearest is not None and nearest not in parted:
                continue
            # Of a folder that is missing as a whole only the uppermost one is told.
            missing.add(next(p for p in line if len(p.parts) >= len(PurePosixPath(top).parts) and p not in known))
        found += [f"{path}/: the folder exists and {DRAWING} does not draw it" for path in sorted(missing)]
    return found


def main(arguments: list[str]) -> int:
    """Exit code 1 when the drawing and the folders differ."""
    root = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    try:
        found = errors(root)
    except (OSError, ValueError) as e:
        found = [str(e)]
    for line in found:
        print(line)
    print(f"tree: {len(found)} differences" if found else "tree: DESIGN.md draws the folders that there are")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
