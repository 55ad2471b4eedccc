"""What the plugins of this process add, for `pathweave devices`."""

from __future__ import annotations

from typing import Any

from ..plugins import PARTS, SWITCH, are_on, installed


def listed() -> list[dict[str, Any]]:
    """One dict per plugin: `name`, `package`, `version`, `target`, `adds` (part -> names) and `left_out` (part -> reason)."""
    if not installed():
        return []
    _ask_for_everything()
    return [{"name": p.name, "package": p.package, "version": p.version, "target": p.target,
             "adds": {part: list(names) for part in PARTS if (names := p.added.get(part))},
             "left_out": {part or "everything": str(fault) for part, fault in p.faults.items()}} for p in installed()]


def table() -> Any:
    """The same as a table; a line of text where there are no plugins."""
    from ..report.tables import Column, Table
    rows = [{**p, "emphasis": None if p["adds"] else "dim",
             "adds": "; ".join(f"{PARTS[part]} {', '.join(names)}" for part, names in p["adds"].items()),
             "left_out": "; ".join(p["left_out"].values())} for p in listed()]
    if not rows:
        return "no plugins are installed" if are_on() else f"{SWITCH} turns plugins off"
    return Table([Column("name", "plugin"), Column("package", "package"), Column("version", "version"), Column("adds", "adds"),
                  Column("left_out", "left out")], rows)


def _ask_for_everything() -> None:
    """Ask every folder for what is in it, so that each plugin says what it adds, or why not. Cases are for who tests:
    `python -m pathweave.testing` asks for them."""
    from ..importers import importers
    from ..importers.onnx import operators
    from ..layers import kinds
    from ..passes import passes
    from ..regions import rules
    from ..runtime.native import native
    from . import commands
    for folder in (native, kinds, importers, operators, rules, passes, commands):
        folder()
