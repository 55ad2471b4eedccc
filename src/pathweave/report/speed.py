"""The speed report: from results of `pathweave bench`, per class and network, the time of the best peer over ours."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..words import counted
from .tables import show_time

OURS = "pathweave"


def row_of(result: Mapping[str, Any], name: str = OURS) -> dict[str, Any]:
    """What one result says: our times, the best peer's by minimum, and the ratios best peer / ours.

    `name`: which of our entries is meant. `reason`: why there is no ratio, else "". `peers`: how many ran. Another engine of
    the same class only is a peer.
    """
    accuracy = result["run"]["accuracy"]
    engines = {e["engine"]: e for e in result["engines"]}
    ours = engines.get(name, {"reason": "it was not asked"})
    ran = [e for n, e in engines.items() if not n.startswith(OURS) and e["accuracy"] == accuracy and "minimum_ns" in e]
    best = min(ran, key=lambda e: e["minimum_ns"], default=None)
    row = {"net": result["net"], "accuracy": accuracy, "batch": result["batch"], "threads": result["run"]["threads"],
           "peers": len(ran), "best": None if best is None else best["engine"], "reason": "",
           "ours_minimum_ns": ours.get("minimum_ns"), "ours_median_ns": ours.get("median_ns"),
           "best_minimum_ns": None if best is None else best["minimum_ns"],
           "best_median_ns": None if best is None else best["median_ns"], "ratio_minimum": None, "ratio_median": None}
    if "minimum_ns" not in ours:
        row["reason"] = f"{name}: {ours['reason']}"
    elif best is None:
        peers = any(not n.startswith(OURS) for n in engines)
        row["reason"] = "no peer of this class runs here" if peers else "no peer was asked"
    else:
        row["ratio_minimum"] = best["minimum_ns"] / ours["minimum_ns"]
        row["ratio_median"] = best["median_ns"] / ours["median_ns"]
    return row


def declined(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """`class, engine: reason (networks)` for every engine that did not run, in order, equal ones together."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for result in results:
        for e in result["engines"]:
            if e["reason"]:
                nets = found.setdefault((result["run"]["accuracy"], e["engine"], e["reason"]), [])
                name = result["net"] + (f" batch {result['batch']}" if result["batch"] != 1 else "")
                nets += [] if name in nets else [name]
    return [f"{accuracy}, {engine}: {reason} ({', '.join(nets)})" for (accuracy, engine, reason), nets in found.items()]


def markdown(results: Sequence[Mapping[str, Any]], host: Mapping[str, Any]) -> str:
    """The whole report as Markdown: ratios, then every engine's times, then who did not run and why."""
    rows = [row_of(r) for r in results]
    return "\n\n".join([
        "# Time of the best peer / ours",
        f"{host['cpu']}, {counted(host['usable_processors'], 'processor')}, tiers {' '.join(host['tiers'])}"
        + (f", cap {host['cap']}" if host.get("cap") else "") + f", host {host['fingerprint']}, {host['system']} "
        f"{host['kernel']}. Minimum (median) of calls interleaved in one process per cell; above 1 ours is faster.",
        _ratios(rows), "## Times, milliseconds: minimum (median)", *[_times(r) for r in results],
        *_roofs(results),
        "## Not run", "\n".join(f"- {line}" for line in declined(results)) or "Every engine ran."]) + "\n"


def _ratios(rows: Sequence[Mapping[str, Any]]) -> str:
    nets = list(dict.fromkeys(r["net"] for r in rows))
    lines = [["class", *nets], ["---"] * (len(nets) + 1)]
    settings = dict.fromkeys((r["accuracy"], r["batch"], r["threads"]) for r in rows)
    for accuracy, batch, threads in settings:
        cells = [f"{accuracy}, batch {batch}, {counted(threads, 'thread')}"]
        for net in nets:
            found = [r for r in rows if (r["net"], r["accuracy"], r["batch"], r["threads"]) ==
                     (net, accuracy, batch, threads)]
            cells.append(_cell(found[0]) if found else "")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cell(row: Mapping[str, Any]) -> str:
    if row["reason"]:
        best = f"; best peer {row['best']} {show_time(row['best_minimum_ns'])}" if row["best"] else ""
        return f"none: {row['reason']}{best}"
    return f"{row['ratio_minimum']:.2f} ({row['ratio_median']:.2f}) {row['best']}"


def _times(result: Mapping[str, Any]) -> str:
    run = result["run"]
    title = f"### {result['net']}, {run['accuracy']}, batch {result['batch']}, {counted(run['threads'], 'thread')}"
    ran = sorted((e for e in result["engines"] if "minimum_ns" in e), key=lambda e: e["minimum_ns"])
    lines = ["| engine | version | time | spread | difference |", "|---|---|---|---|---|"]
    for e in ran:
        difference = f"{e['difference']:.1e}" if e.get("difference") is not None else ""
        lines.append(f"| {e['engine']} | {e['version']} | {e['minimum_ns'] / 1e6:.2f} ({e['median_ns'] / 1e6:.2f}) | "
                     f"{100 * e['spread']:.0f} % | {difference} |")
    return f"{title}\n\n" + "\n".join(lines)


def _roofs(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The steps against the machine's limits, where they were measured: a summary per net, then the steps that lose most."""
    found = [r for r in results if r.get("roof")]
    if not found:
        return []
    lines = ["| net | end to end | sum of the roofs | share | own | below half | their time |", "|---|---|---|---|---|---|---|"]
    worst = ["| net | step | routine | time | roof | lost |", "|---|---|---|---|---|---|"]
    rows = []
    for r in found:
        roof, name = r["roof"], f"{r['net']}, {r['run']['accuracy']}"
        own = "" if roof["own_share"] is None else f"{roof['own_share']:.2f}"
        cells = [name, show_time(roof["minimum_ns"]), show_time(roof["roof_ns"]), f"{roof['share']:.2f}", own,
                 f"{roof['low']} of {roof['judged']}", f"{100 * roof['low_time']:.0f} %"]
        lines.append(f"| {' | '.join(cells)} |")
        rows += [(name, step) for step in roof["worst"]]
    for name, step in sorted(rows, key=lambda row: -row[1]["lost_ns"])[:3 * len(found)]:
        worst.append(f"| {name} | {step['layer']} ({step['kind']}) | {step['routine']} {step['variant']} | "
                     f"{show_time(step['minimum_ns'])} | {show_time(step['roof_ns'])} | {show_time(step['lost_ns'])} |")
    return ["## Roofs: the least time that the machine's limits allow", "\n".join(lines),
            "Steps that lose most time above their roof:", "\n".join(worst)]


# ---- files ----------------------------------------------------------------------------------------------------------

def slug(cpu: str) -> list[str]:
    """At most three words of a processor's name for the name of a file: `Intel(R) Xeon(R) Processor` is intel, xeon."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"\([a-z]+\)|@.*", " ", cpu.lower()))
    return [w for w in words if w not in ("processor", "cpu", "core", "with")][:3] or ["cpu"]


def keep(results: Sequence[Mapping[str, Any]], text: str, words: Sequence[str], folder: Path, lines: bool = False) -> Path:
    """Write results as FOLDER/DATE-CPU-TIER-WORDS.json and `text` beside it as .md, under a name that is free; the path
    without its ending. `lines`: each result on one line."""
    host = results[0]["host"]
    parts = [time.strftime("%Y-%m-%d"), *slug(host["cpu"]), host["tiers"][-1], *words]
    folder.mkdir(exist_ok=True)
    stem, i = folder / "-".join(parts), 1
    while stem.with_suffix(".json").exists():
        stem, i = folder / "-".join([*parts, str(i + 1)]), i + 1
    data = "[\n" + ",\n".join(map(json.dumps, results)) + "\n]" if lines else json.dumps(results, indent=1)
    stem.with_suffix(".json").write_text(data + "\n", encoding="utf-8")
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    return stem
