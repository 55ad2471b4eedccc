#!/usr/bin/env python3
"""Check the objects of a build. Micro-kernels: nothing compiled for wide vectors may leak into the rest of the program.

    python tools/isa_symbols.py BUILD [BUILD ...]

A weak symbol (an inline function or template from a header) may be kept by the linker for everybody, and a static
initialiser runs before the CPU check: both would execute instructions that the machine may lack. An object may define
one strong symbol only, its table. The rest of the core: nothing is destroyed when the process ends, for threads may be at
work then that use it; write `static const T& x = *new T(...)`. BUILD is a CMake build folder, or a folder above several.
Needs `nm` and `readelf`. Prints one line per finding; exit code 1 when there is any, 2 when no object is found.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_FOLDER = re.compile(r"pw_ukernels_\w+\.dir")
_TABLE = re.compile(r"\bpw_uk_\w+")
#: nm letters of weak symbols (object, function, unique global).
_WEAK = frozenset("WwVvu")
_STRONG = frozenset("TDRBCGS")
_INITIALISERS = re.compile(r"\s(\.(?:init_array|preinit_array|ctors|tbss|tdata)[.\w]*)\s")


def objects(build: Path) -> list[Path]:
    """Every micro-kernel object below a build folder."""
    return sorted(p for p in build.rglob("*.o") if any(_FOLDER.fullmatch(part) for part in p.parts))


def findings(path: Path) -> list[str]:
    """What is wrong with one object."""
    return [*symbol_findings(_output("nm", "-C", str(path))), *section_findings(_output("readelf", "-SW", str(path)))]


def symbol_findings(listing: str) -> list[str]:
    """Wrong symbols in the output of `nm -C`."""
    found = []
    for line in listing.splitlines():
        words = line.split(None, 2) if line[:1] not in (" ", "\t") else ["", *line.split(None, 1)]
        if len(words) != 3:
            continue
        _, kind, name = words
        if kind in _WEAK:
            found.append(f"weak symbol {name}")
        elif kind in _STRONG and not _TABLE.search(name):
            found.append(f"strong symbol {name} beside the table; put it into an anonymous namespace")
    return found


def section_findings(listing: str) -> list[str]:
    """Sections of static initialisers and thread-local data in the output of `readelf -SW`."""
    return [f"section {name}: a static initialiser or thread-local variable" for name in _INITIALISERS.findall(listing)]


def _output(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def core_objects(build: Path) -> list[Path]:
    """Every object of the core and the extension below a build folder, micro-kernels aside."""
    return sorted(p for p in build.rglob("*.o") if {"pw_core.dir", "_native.dir"} & set(p.parts)
                  and not any(_FOLDER.fullmatch(part) for part in p.parts))


def core_findings(path: Path) -> list[str]:
    """What is wrong with one object of the core."""
    undefined = _output("nm", "--undefined-only", str(path)).split()
    return ["an object with static storage has a destructor (__cxa_atexit)"] if "__cxa_atexit" in undefined else []


def main(arguments: list[str]) -> int:
    """Exit code."""
    if not arguments:
        print(__doc__)
        return 2
    paths = [p for a in arguments for p in objects(Path(a))]
    if not paths:
        print(f"isa_symbols: no micro-kernel object below {', '.join(arguments)}; build first")
        return 2
    core = [p for a in arguments for p in core_objects(Path(a))]
    count = 0
    for check, checked in ((findings, paths), (core_findings, core)):
        for path in checked:
            for line in check(path):
                count += 1
                print(f"{path}: {line}")
    print(f"isa_symbols: {len(paths)} objects of micro-kernels, {len(core)} of the core, {count} findings")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
