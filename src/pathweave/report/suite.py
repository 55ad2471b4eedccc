"""The speed report over a suite of nets: a row per net, a summary per family, and the steps that lose most time.

A result is what `bench.report` gives, with more: `net` (name of the file), `family`, `layers`, `batch`, `asked_batch` (0 for
the inputs as they are), `failed` (why the net counts as failed, else ""), `left_out` (why the setting does not fit the net,
else ""), `predicted` (predicted time of our tuned route over the measured one, at equal speed), and `lost` (what
`lost_by_shape` gives).
Ratios are times of the best peer / ours, from one run each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..net.problem import tensor_text
from ..words import counted
from .speed import OURS, row_of
from .tables import Column, Table, show_error, show_percent, time_column

if TYPE_CHECKING:
    from ..net.net import TensorSpec
    from ..runtime.plan import Plan

#: Our entry on the default route.
DEFAULT = f"{OURS}-default"
#: Steps that the report lists, networks that a line names, and letters of a reason.
WORST, NAMED, REASON = 10, 3, 140
ALL = "all"


def key_of(result: Mapping[str, Any]) -> tuple[str, str, int, int]:
    """What is measured once: net, class, threads, and the batch that was asked for, 0 for the inputs as they are."""
    return result["net"], result["run"]["accuracy"], result["run"]["threads"], result["asked_batch"]


def setting_of(result: Mapping[str, Any]) -> tuple[str, int, int]:
    """Class, threads and asked batch: what shares a table."""
    return key_of(result)[1:]


def setting_text(setting: tuple[str, int, int]) -> str:
    """A setting in words."""
    accuracy, threads, batch = setting
    return f"class {accuracy}, {counted(threads, 'thread')}, {f'batch {batch}' if batch else 'inputs as the suite has them'}"


# ---- rows of nets ---------------------------------------------------------------------------------------------------

def rows_of(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per result: `tuned` and `default`, the ratios by minimum, `tuned_median` and `default_median`, None where there is
    none (`reason`); `times`: engine -> minimum, ns."""
    rows = []
    for r in results:
        row: dict[str, Any] = {"net": r["net"], "family": r["family"], "layers": r.get("layers"), "failed": r["failed"],
                               "predicted": r.get("predicted"), "tuned": None, "default": None, "best": None,
                               "difference": max((e["difference"] for e in r["engines"] if e["engine"].startswith(OURS)
                                                  and e.get("difference") is not None), default=None),
                               "times": {e["engine"]: e["minimum_ns"] for e in r["engines"] if "minimum_ns" in e},
                               "reason": f"FAILED: {_line(r['failed'])}" if r["failed"] else _line(r.get("left_out", ""))}
        asked = {e["engine"] for e in r["engines"]}
        for column, engine in (("tuned", OURS), ("default", DEFAULT)):
            if engine in asked and not r["failed"]:
                found = row_of(r, engine)
                row |= {column: found["ratio_minimum"], f"{column}_median": found["ratio_median"], "best": found["best"]}
                row["reason"] = row["reason"] or _line(found["reason"])
        rows.append(row)
    return rows


def net_table(results: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """A row per net, the smallest ratio first; nets without one at the end."""
    def first(row: Mapping[str, Any]) -> float:
        ratio = row["tuned"] if row["tuned"] is not None else row["default"]
        return float("inf") if ratio is None else ratio
    rows = sorted(rows_of(results), key=first)
    engines = dict.fromkeys(name for row in rows for name in row["times"])
    peers = [name for name in engines if not name.startswith(OURS)]
    columns = [Column("net", "net", whole=True), Column("layers", "layers", right=True, fold=2),
               Column("family", "family", fold=1), Column("tuned_text", "tuned", right=True),
               Column("default_text", "default", right=True), Column("best", "best peer"),
               time_column(OURS, "ours tuned"), time_column(DEFAULT, "ours default"),
               *(time_column(name, name, fold=3) for name in peers),
               Column("predicted", "predicted/measured", show_ratio, True, fold=4),
               Column("difference", "difference", show_error, True, fold=5), Column("reason", "no ratio because")]
    shown = [{**row, **row["times"], "tuned_text": _both(row, "tuned"), "default_text": _both(row, "default"),
              "emphasis": "bold" if row["failed"] else None} for row in rows]
    return Table(columns, shown, title, [
        "tuned, default: time of the best peer / ours by the minimum, in brackets by the median; above 1 ours is faster",
        "times are minima; difference: of our outputs from ONNX Runtime's, over the largest number", *_loads(results)])


def _both(row: Mapping[str, Any], column: str) -> str:
    return "" if row[column] is None else f"{row[column]:.2f} ({row[f'{column}_median']:.2f})"


def _loads(results: Iterable[Mapping[str, Any]]) -> list[str]:
    found = [r["host"]["load_before"] for r in results if r["host"].get("load_before") is not None]
    return [f"load average before a net was timed: {min(found)} to {max(found)}"] if found else []


def _line(reason: str) -> str:
    """A reason on one line, its beginning where it is long."""
    text = " ".join(reason.split())
    return text if len(text) <= REASON else f"{text[:REASON - 3]}..."


def show_ratio(ratio: Any) -> str:
    """A ratio with two digits behind the point; "" for None."""
    return "" if ratio is None else f"{ratio:.2f}"


# ---- families -------------------------------------------------------------------------------------------------------

def summary(results: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A row per family in the order of names, and one of all nets in the last place.

    `nets`: with a result. `failed`: those of them that failed. For `tuned` and `default`: the geometric mean of the ratios,
    the smallest (`_worst`) with its net (`_worst_net`), the share of the nets below 1 (`_below`), and of how many nets
    (`_count`); None where there are none.
    """
    rows = rows_of(results)
    families = sorted({row["family"] for row in rows})
    return [_family(name, [row for row in rows if row["family"] == name]) for name in families] + [_family(ALL, rows)]


def _family(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"family": name, "nets": len(rows), "failed": sum(bool(row["failed"]) for row in rows)}
    for column in ("tuned", "default"):
        ratios = {row["net"]: row[column] for row in rows if row[column] is not None}
        worst = min(ratios, key=lambda net: ratios[net], default=None)
        found |= {f"{column}_count": len(ratios), f"{column}_mean": geometric_mean(ratios.values()),
                  f"{column}_worst": None if worst is None else ratios[worst], f"{column}_worst_net": worst,
                  f"{column}_below": sum(x < 1 for x in ratios.values()) / len(ratios) if ratios else None}
    return found


def geometric_mean(ratios: Iterable[float]) -> float | None:
    """The geometric mean of positive numbers, None for none."""
    logarithms = [math.log(x) for x in ratios]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None


def family_table(results: Iterable[Mapping[str, Any]], title: str = "") -> Table:
    """The summary as a table."""
    rows = [{**row, "tuned_worst_text": _worst(row, "tuned"), "default_worst_text": _worst(row, "default"),
             "failed": row["failed"] or None, "emphasis": "bold" if row["family"] == ALL else None} for row in summary(results)]

    def share(x: Any) -> str:
        return show_percent(x).lstrip("+").replace(".0 ", " ")
    columns = [Column("family", "family"), Column("nets", "nets", right=True), Column("failed", "failed", right=True),
               Column("tuned_mean", "tuned", show_ratio, True), Column("tuned_worst_text", "worst"),
               Column("tuned_below", "below 1", share, True), Column("default_mean", "default", show_ratio, True),
               Column("default_worst_text", "worst"), Column("default_below", "below 1", share, True)]
    return Table(columns, rows, title, ["tuned, default: geometric mean of the time of the best peer / ours; below 1: share of "
                                        "the nets with a ratio where a peer is faster"])


def _worst(row: Mapping[str, Any], column: str) -> str:
    return "" if row[f"{column}_worst"] is None else f"{row[f'{column}_worst']:.2f} {row[f'{column}_worst_net']}"


# ---- who did not run ------------------------------------------------------------------------------------------------

def declined(results: Iterable[Mapping[str, Any]]) -> list[str]:
    """Lines per engine: its most frequent reasons with the first nets of each, and how many more there are."""
    found: dict[str, dict[str, list[str]]] = {}
    for result in results:
        for e in result["engines"]:
            if e["reason"]:
                found.setdefault(e["engine"], {}).setdefault(_line(e["reason"]), []).append(result["net"])
    lines = []
    for engine, reasons in sorted(found.items()):
        often = sorted(reasons.items(), key=lambda item: -len(item[1]))
        lines += [f"{engine}: {reason} ({_named(nets)})" for reason, nets in often[:NAMED]]
        rest = [net for _, nets in often[NAMED:] for net in nets]
        lines += [f"{engine}: {counted(len(often) - NAMED, 'other reason')} ({_named(rest)})"] if rest else []
    return lines


def _named(nets: Sequence[str]) -> str:
    names = list(dict.fromkeys(nets))
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


# ---- steps that lose most -------------------------------------------------------------------------------------------

def lost_by_shape(plan: Plan, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `roof.roof_rows` of a plan, summed by kind and shape, most time above the roof first.

    kind, shape, count, `minimum_ns`, `roof_ns`, `lost_ns` (no less than 0 for a row), `routine` (of the row that loses most).
    """
    problems = {layer.name: problem for layer, problem in zip(plan.bound.flat.layers, plan.bound.flat.problems(plan.threads))}

    def shape(row: Mapping[str, Any]) -> str:
        if row["layer"] in problems and problems[row["layer"]].kind == row["kind"]:
            p = problems[row["layer"]]
            return shape_text(zip(p.inputs, p.constant), p.outputs)
        value = plan.bound.flat.origin(row["layer"])
        return tensor_text(plan.bound.flat.spec(value)).removeprefix("f32:") if plan.bound.flat.knows(value) else ""
    return summed([{"kind": r["kind"], "shape": shape(r), "count": 1, "minimum_ns": r["minimum_ns"], "roof_ns": r["roof_ns"],
                    "lost_ns": max(0.0, r["minimum_ns"] - r["roof_ns"]), "routine": f"{r['routine']} {r['variant']}".strip()}
                   for r in rows])


def shape_text(inputs: Iterable[tuple[TensorSpec | None, bool]], outputs: Iterable[TensorSpec]) -> str:
    """`1x64x56x56 * 64x64x3x3 -> 1x64x56x56`: values, constants of rank 2 and more behind `*`, results; types but f32."""
    given = list(inputs)
    values = ", ".join(tensor_text(s).removeprefix("f32:") for s, constant in given if s is not None and not constant)
    weights = "".join(f" * {tensor_text(s).removeprefix('f32:')}" for s, constant in given
                      if s is not None and constant and len(s.shape) > 1)
    return f"{values}{weights} -> {', '.join(tensor_text(s).removeprefix('f32:') for s in outputs)}"


def summed(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of equal kind and shape as one, most lost time first. What else a row has is that of the one that loses most."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["kind"], row["shape"]), []).append(row)
    found = [{**max(group, key=lambda r: r["lost_ns"]),
              **{k: sum(r[k] for r in group) for k in ("count", "minimum_ns", "roof_ns", "lost_ns")}}
             for group in groups.values()]
    return sorted(found, key=lambda r: -r["lost_ns"])


def worst_steps(results: Iterable[Mapping[str, Any]], most: int = WORST) -> list[dict[str, Any]]:
    """The kinds and shapes that lose most time over all nets, with `nets`: where they are, those that lose most first."""
    rows = [{**row, "net": r["net"]} for r in results for row in r.get("lost") or ()]
    found = summed(rows)[:most]
    for row in found:
        own = sorted((r for r in rows if (r["kind"], r["shape"]) == (row["kind"], row["shape"])), key=lambda r: -r["lost_ns"])
        row["nets"] = list(dict.fromkeys(r["net"] for r in own))
    return found


def worst_table(results: Sequence[Mapping[str, Any]], title: str = "") -> Table:
    """The ten kinds and shapes of steps that lose most time above their roof, summed over all nets."""
    total = sum(row["lost_ns"] for r in results for row in r.get("lost") or ())
    rows = [{**row, "of_all": row["lost_ns"] / total if total else None, "share": row["roof_ns"] / max(1.0, row["minimum_ns"]),
             "nets": _named(row["nets"])} for row in worst_steps(results)]

    def percent(x: Any) -> str:
        return "" if x is None else f"{100 * x:.0f} %"
    columns = [Column("kind", "kind"), Column("shape", "shape", whole=True), Column("count", "steps", right=True),
               time_column("lost_ns", "lost"), Column("of_all", "of all", percent, True), time_column("minimum_ns", "time"),
               time_column("roof_ns", "roof"), Column("share", "share", percent, True), Column("routine", "routine", fold=1),
               Column("nets", "nets", fold=2)]
    return Table(columns, rows, title, ["lost: time minus roof, summed over the steps of this kind and shape in all nets; "
                                        "share: roof / time; routine: of the net that loses most"])


# ---- the whole report -----------------------------------------------------------------------------------------------

def by_setting(results: Iterable[Mapping[str, Any]]) -> dict[tuple[str, int, int], list[Mapping[str, Any]]]:
    """Results by class, threads and batch, in the order in which they first come."""
    found: dict[tuple[str, int, int], list[Mapping[str, Any]]] = {}
    for result in results:
        found.setdefault(setting_of(result), []).append(result)
    return found


def tables(results: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The report of one setting: nets, families, and the worst steps where they were measured."""
    found = [net_table(results), family_table(results)]
    return found + ([worst_table(results)] if any(r.get("lost") for r in results) else [])


def markdown(results: Sequence[Mapping[str, Any]], host: Mapping[str, Any]) -> str:
    """The report of one class as Markdown: families first, then the steps that lose most, nets, and who did not run."""
    parts = ["# The suite: time of the best peer / ours",
             f"{host['cpu']}, {counted(host['usable_processors'], 'processor')}, tiers {' '.join(host['tiers'])}"
             + (f", cap {host['cap']}" if host.get("cap") else "") + f", host {host['fingerprint']}, {host['system']} "
             f"{host['kernel']}. Calls are interleaved in one process per net; above 1 ours is faster."]
    for setting, own in by_setting(results).items():
        nets, families, *worst = tables(own)
        parts += [f"## {setting_text(setting).capitalize()}", families.markdown()]
        parts += ["### Steps that lose most time above their roof", worst[0].markdown()] if worst else []
        parts += ["### Nets", nets.markdown(), "### Not run",
                  "\n".join(f"- {line}" for line in declined(own)) or "Every engine ran."]
    return "\n\n".join(parts) + "\n"
