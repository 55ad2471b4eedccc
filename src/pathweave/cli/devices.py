"""pathweave devices: the processor with its instruction sets and caches, and every plugin with its reason."""

from __future__ import annotations

from ._options import Json
from ._output import print_json, print_tables

ORDER = 90


def command(json: Json = False) -> None:
    """Show devices: tiers found, compiled, used and capped; caches; plugins, with the reason where one is absent."""
    from ..report.tables import Column, Table, show_bytes
    from ..runtime.devices import cpu_info, devices
    from ..runtime.native import native
    cpu, found = cpu_info(), devices()
    usable = native().usable_processors()
    counts: dict[str, int] = {}
    for card in native().routines():
        counts[card["device"]] = counts.get(card["device"], 0) + 1
    found = [{**d, "routines": counts.get(d["name"], 0)} for d in found]
    if json:
        print_json({"cpu": cpu, "usable_processors": usable, "devices": found})
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
                        Column("emulation", "emulation"), Column("path", "library"), Column("reason", "reason")], rows))
