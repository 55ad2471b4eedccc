"""pathweave devices: the processor with its instruction sets and caches, every device library and every installed plugin."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..words import counted
from ._options import Json
from ._output import print_json, print_tables, progress

ORDER = 90


def command(
    limits: Annotated[bool, typer.Option("--limits", help="Show the processor's limits instead: peak rates, read bandwidth, "
                                         "barriers. They are measured once, in about half a minute per "
                                         "number of threads, and kept.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Like --limits, but measure anew; keep the better figures.")] = False,
    json: Json = False,
) -> None:
    """Show devices: tiers found, compiled, used and capped; caches; device libraries, with the reason where one is absent; and
    installed plugins, with what they add."""
    if limits or again:
        _limits(again, json)
        return
    from ..report.tables import Column, Table, show_bytes
    from ..runtime.devices import cpu_info, devices
    from ..runtime.native import native
    from ._plugins import listed, table
    cpu, found = cpu_info(), devices()
    usable = native().usable_processors()
    counts: dict[str, int] = {}
    for card in native().routines():
        counts[card["device"]] = counts.get(card["device"], 0) + 1
    found = [{**d, "routines": counts.get(d["name"], 0)} for d in found]
    if json:
        print_json({"cpu": cpu, "usable_processors": usable, "devices": found, "plugins": listed()})
        return
    caches = ", ".join(f"{name.upper()} {show_bytes(cpu[name])}" for name in ("l1d", "l2", "l3") if cpu[name])
    # A twin that nobody asked for is not cut off by a cap.
    capped = [t for t in cpu["compiled"] if t in cpu["found"] and t not in cpu["used"] and not t.endswith("-emulated")]
    lines = [str(cpu["model"] or "unknown processor"),
             f"  processors   {usable} usable by this process",
             f"  caches       {caches or 'unknown'}",
             f"  found        {', '.join(cpu['found'])}",
             f"  compiled     {', '.join(cpu['compiled'])}",
             f"  used         {', '.join(cpu['used'])}",
             f"  cap          {cpu['cap'] or 'none (PATHWEAVE_ISA)'}",
             f"  capped       {', '.join(capped) or 'none'}",
             f"  features     {cpu['features']}"]
    if cpu["warning"]:
        lines.append(f"  warning      {cpu['warning']}")
    rows = [{**d, "state": "available" if d["available"] else "absent", "emulation": "emulated" if d["emulated"] else "",
             "emphasis": None if d["available"] else "dim"} for d in found]
    print_tables("\n".join(lines), "",
                 Table([Column("name", "device"), Column("state", "state"), Column("description", "description"),
                        Column("routines", "routines", right=True), Column("clock", "clock"),
                        Column("free_bytes", "free", lambda b: "" if b is None else show_bytes(b), True, fold=3),
                        Column("identity", "identity", fold=2),
                        Column("emulation", "emulation"), Column("path", "library"), Column("reason", "reason")], rows),
                 "", table())


def _limits(again: bool, json: bool) -> None:
    from ..runtime.limits import limits, thread_counts
    from ..runtime.native import native
    counts = thread_counts(native().usable_processors())
    with progress("measuring limits") as tell:
        found = limits(counts, again=again, tell=tell)
    if json:
        print_json(found.to_json())
        return
    print_tables(_limits_table(found, counts))


def _limits_table(found: Any, counts: list[int]) -> Any:
    from ..report.tables import Column, Table, show_bytes, show_count, show_time
    from ..runtime.limits import LEVELS

    def row(name: str, of: Any, show: Any, unit: str) -> dict[str, Any]:
        return {"limit": name, **{str(n): show(of(found.measured[n])) + unit for n in counts}}
    names = list(found.measured[counts[0]]["peaks"])
    rows = [row(name, lambda m, name=name: m["peaks"][name]["per_second"], show_count, "op/s") for name in names]
    for level in LEVELS:
        size = f", {show_bytes(found.caches[level])}" if level in found.caches else ""
        rows.append(row(f"read {level}{size}", lambda m, level=level: m["reads"][level], show_bytes, "/s"))
    rows.append(row("barrier", lambda m: m["barrier_ns"], show_time, ""))
    columns = [Column("limit", "limit"), *(Column(str(n), counted(n, 'thread'), right=True) for n in counts)]
    return Table(columns, rows, f"limits of host {found.host}", [
        "all threads together, the best of many short trials; peak_TYPE: operations of one unit, a multiply-add is two"])
