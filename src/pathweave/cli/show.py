"""pathweave show: what is in a model: inputs, outputs, layers with shapes and work, what the passes did, the route."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import Any

from ..errors import OpenSizesError
from ._errors import BadUse
from ._options import (
    Json,
    Layouts,
    ModelPath,
    NarrowDouble,
    Shapes,
    States,
    Threads,
    bound_by_options,
    load_model,
    states_json,
)
from ._output import print_json, print_tables

ORDER = 20
#: Conditions that a table's note lists, and how much of each.
MOST_CONDITIONS = 16
CONDITION_LENGTH = 120


def command(model: ModelPath, shape: Shapes = None, layout: Layouts = None, state: States = None,
            threads: Threads = None, narrow_double: NarrowDouble = False, json: Json = False) -> None:
    """Show inputs, outputs and layers of a model, the effect of the passes, and the route when it is tuned."""
    from ..importers import is_own
    from ..report.inside import with_inner_rows
    from ..report.tables import Column, Table, count_column
    from ..runtime.interpreted import of_route
    from ..words import counted, printable, short_floats
    loaded = load_model(model, threads, narrow_double=narrow_double, layout=layout, state=state, shape=shape)
    try:
        bound = bound_by_options(loaded, shape)
    except BadUse as e:
        if shape or not isinstance(e.__cause__, OpenSizesError):
            raise
        _show_open(model, loaded, e.__cause__.symbols, json)
        return
    rows = _layers(bound)
    before = Counter(loaded.imported["main"])
    after = Counter(layer.kind for layer in bound.layers)
    total = sum(r["operations"] for r in rows)
    held = _held(bound)
    route = loaded.route(bound.shapes) if loaded.routes else None
    through = of_route(route or loaded.route(bound.shapes), bound)
    if json:
        print_json({
            "model": model, "meta": {k: v for k, v in loaded.meta.items() if k != "labels"},
            "nets": {name: len(n.layers) for name, n in loaded.nets.items()},
            "inputs": {n: {"declared": str(s), "bound": str(bound.inputs[n]), "format": str(bound.input_format(n))}
                       for n, s in loaded.main.inputs.items()},
            "outputs": {n: str(s) for n, s in bound.outputs.items()}, "layouts": bound.layouts,
            "states": states_json(loaded), "layers": rows, "parameters": held, "operations": total,
            "passes": {"before": dict(before), "after": dict(after)}, **_scales_json(loaded, bound),
            "notes": loaded.notes, "numpy": through.to_json(),
            "routes": {s: r.to_json() for s, r in loaded.routes.items()}})
        return
    lines = [f"{model}"]
    lines += [f"  input   {n}: {s}" + (f", shown for {bound.inputs[n]}" if not s.bound else "") + _arrays(bound, n)
              for n, s in loaded.main.inputs.items()]
    opened = {} if loaded.main.bound else _open_shapes(loaded.main).specs
    lines += [f"  output  {n}: " + (f"{opened[n]}, shown for {s}" if n in opened and not opened[n].bound else str(s))
              + _arrays(bound, n) for n, s in bound.outputs.items()]
    lines += _states(loaded)
    lines += [f"  {name:11s} {counted(len(n.layers), 'layer')}: {' '.join(x.kind for x in n.layers)}"
              for name, n in loaded.nets.items() if name != "main"]
    table = Table([Column("index", "#", right=True), Column("layer", "layer"), Column("kind", "kind"),
                   Column("inputs", "inputs", fold=2), Column("outputs", "outputs"),
                   Column("epilogue", "epilogue", short_floats, fold=1),
                   count_column("parameters", "parameters", fold=3), count_column("operations", "operations")],
                  list(with_inner_rows(rows)), notes=[_total(held, total), _passes(before, after, is_own(model))])
    parts: list[Any] = ["\n".join(map(printable, lines)), table, *_operators(loaded)]
    if bound.scales:
        parts += ["", _scales(bound, loaded.quantisation.get("main", {}))]
    if route is not None:
        from ..report.routes import origin_of, route_table
        plan = loaded.plan(shapes=bound.shapes, threads=threads or route.threads)
        parts.append(route_table(plan, end_to_end_ns=plan.route.measured_ns if plan.route else None,
                                 title=f"{origin_of(plan)}, {counted(plan.threads, 'thread')}"))
    else:
        parts += _not_tuned("", loaded.route(bound.shapes), bound)
    print_tables(*parts, *loaded.notes)


def _held(bound: Any) -> int:
    """Numbers in all constants, those of blocks included."""
    from ..report.work import inner_parameters
    constants = {v for layer in bound.layers for v in layer.inputs if v in bound.net.constants}
    return sum(int(bound.net.constants[v].size) for v in constants) + \
        sum(inner_parameters(b) for layer in bound.layers for b in layer.blocks.values())


def _arrays(bound: Any, name: str) -> str:
    """How the caller's array of an input or output lies, where it is not row-major."""
    layout = bound.layouts.get(name)
    return f", in {layout}: an array {list(bound.array_shape(name))}" if layout else ""


def _states(loaded: Any) -> list[str]:
    """A line per input that keeps a value from call to call."""
    return [f"  state   {n} {s.described(loaded.main.inputs[n])}" for n, s in loaded.states.items()]


def _layers(bound: Any) -> list[dict[str, Any]]:
    """A row per layer of a bound net: specs of what it reads and makes, and its work."""
    from ..report import inside, work
    net = bound.net
    rows = [{"index": i, "layer": layer.name, "kind": layer.kind,
             "inputs": [str(net.specs[v]) for _, v in net.dynamic_inputs(layer)],
             "outputs": [str(net.specs[v]) for v in layer.outputs], "epilogue": str(layer.epilogue),
             "parameters": work.parameters(net, layer), "operations": work.operations(net, layer)}
            for i, layer in enumerate(bound.layers)]
    for row, layer in zip(rows, bound.layers):
        if found := inside.blocks(layer, [net.specs[v] if v else None for v in layer.inputs]):
            row["blocks"] = found
    return rows


def _open_shapes(net: Any) -> Any:
    """Shapes of a copy of a net as expressions of its symbols."""
    from ..meaning import open_shapes
    return open_shapes.infer(net.copy())


def _show_open(model: str, loaded: Any, symbols: list[str], json: bool) -> None:
    """A net without the sizes of its symbols: shapes as expressions, work at sizes that stand for others."""
    from ..net.border import in_layout
    from ..net.conditions import strongest
    from ..report.inside import blocks, with_inner_rows
    from ..report.tables import Column, Table, count_column
    from ..words import printable, short_floats
    net = loaded.main
    shapes = _open_shapes(net)
    sizes = shapes.representative(net.inputs)
    sized = shapes.shapes_at(sizes) if sizes else {}
    at = _work(net, sized)

    def shown(value: str) -> str:
        dims = shapes.dims(value)
        return str(shapes.specs[value]) if value in shapes.specs else "?" if dims is None else f"[{','.join(map(str, dims))}]"
    rows = [{"index": i, "layer": layer.name, "kind": layer.kind,
             "inputs": [shown(v) for v in layer.inputs if v and v not in net.constants],
             "outputs": [shown(v) for v in layer.outputs], "epilogue": str(layer.epilogue), "operations": at.get(layer.name)}
            for i, layer in enumerate(net.layers)]
    for row, layer in zip(rows, net.layers):
        specs, there = ([d[v] if v else None for v in layer.inputs] if all(v in d for v in layer.inputs if v) else None
                        for d in (shapes.specs, sized))
        if found := blocks(layer, specs, there):
            row["blocks"] = found
    option = f"--shape {shlex.quote(symbols[0])}={2 * sizes[symbols[0]] if sizes else 16}"
    if sizes:
        stated = f"operations are those at {', '.join(f'{n}={d}' for n, d in sizes.items())}; {option} shows others"
    else:
        stated = f"sizes and work depend on {', '.join(symbols)}: {option} shows them"
    conditions = [str(c) for c in strongest(shapes.conditions)]
    if json:
        print_json({"model": model, "meta": {k: v for k, v in loaded.meta.items() if k != "labels"}, "open": symbols,
                    "nets": {name: len(n.layers) for name, n in loaded.nets.items()}, "representative": sizes,
                    "conditions": conditions, "inputs": {n: {"declared": str(s), "bound": None} for n, s in net.inputs.items()},
                    "outputs": {n: shown(n) for n in net.outputs}, "states": states_json(loaded), "layers": rows,
                    "notes": loaded.notes,
                    "routes": {s: r.to_json() for s, r in loaded.routes.items()}})
        return
    layouts = loaded.layouts
    lines = [model, *(f"  input   {n}: {in_layout(s, layouts.get(n))}" for n, s in net.inputs.items()),
             *(f"  output  {n}: {in_layout(shown(n), layouts.get(n))}" for n in net.outputs), *_states(loaded)]
    table = Table([Column("index", "#", right=True), Column("layer", "layer"), Column("kind", "kind"),
                   Column("inputs", "inputs", fold=1), Column("outputs", "outputs"),
                   Column("epilogue", "epilogue", short_floats, fold=2),
                   *([count_column("operations", "operations")] if sizes else [])], list(with_inner_rows(rows)),
                  notes=[stated, *([_must_fit(conditions)] if conditions else [])])
    told = _open_route(loaded, sizes) if not loaded.routes else []
    print_tables("\n".join(map(printable, lines)), table, *_operators(loaded), *told, *loaded.notes)


def _operators(loaded: Any) -> list[str]:
    """A line on operators of the file that became layers of another name, or of several kinds."""
    from ..words import printable
    found = loaded.meta.get("operators")
    if not isinstance(found, dict) or not all(isinstance(kinds, dict) for kinds in found.values()):
        return []
    told = []
    for name, kinds in found.items():
        made = {kind: n for kind, n in sorted(kinds.items()) if kind}
        if made and [name.rpartition(":")[2].lower()] != [kind.replace("_", "") for kind in made]:
            told.append(f"{name} {kinds.get('', '')} > {' + '.join(f'{kind} {n}' for kind, n in made.items())}")
    return [printable(f"operators whose layers have other names, as imported: {', '.join(told)}")] if told else []


def _not_tuned(where: str, route: Any, bound: Any) -> list[str]:
    """Lines on the default route: layers that run through NumPy and why, and those that are computed together."""
    from ..runtime.interpreted import of_route, reasons
    from ..words import counted, printable
    through = of_route(route, bound)
    lines = [f"{where}with the default route {through}"]
    lines += [f"  {reason}" for reason in reasons(through, bound, route.threads)]
    if route.regions:
        regions = [bound.regions[name] for name in route.regions]
        of = Counter(region.layer.kind for region in regions)
        lines.append("computed as one layer: " + ", ".join(
            f"{kind} {counted(n, 'time')} (of {counted(sum(len(r.layers) for r in regions if r.layer.kind == kind), 'layer')})"
            for kind, n in of.items()))
    return [printable("\n".join(lines), "\n")]


def _open_route(loaded: Any, sizes: Any) -> list[str]:
    """Lines on what runs while the sizes are open, where that is known before they are."""
    from ..errors import Error
    from ..words import counted
    if not sizes:
        return []
    net = loaded.runnable()
    try:
        bound = net.bind_open(sizes)
        route = net.route_of(bound)
    except Error as e:
        return [f"each set of sizes gets a plan of its own: {e}"]
    return _not_tuned(f"while sizes are open {counted(len(bound.flat.layers), 'layer runs', 'layers run')}; ", route, bound)


def _must_fit(conditions: list[str]) -> str:
    """A note of the first conditions, and how many more there are."""
    short = [c if len(c) <= CONDITION_LENGTH else c[:CONDITION_LENGTH - 3] + "..." for c in conditions[:MOST_CONDITIONS]]
    more = len(conditions) - len(short)
    return f"sizes must fit: {'; '.join(short)}" + (f"; and {more} more, which --json lists" if more else "")


def _work(net: Any, specs: Any) -> dict[str, int]:
    """Operations by layer at the sizes of these specs, of layers whose inputs and outputs are among them."""
    from ..report import work
    bound = net.copy()
    bound.specs = specs
    return {layer.name: work.operations(bound, layer) for layer in net.layers
            if all(v in specs for v in (*layer.inputs, *layer.outputs) if v)}


def _scales_json(loaded: Any, bound: Any) -> dict[str, Any]:
    """Scales that calibration found, by net, and those of the values that are shown, whoever states them."""
    from ..net.scales import plain_scales
    return {"quantisation": plain_scales(loaded.quantisation), "scales": plain_scales({"main": bound.scales})["main"]}


def _scales(bound: Any, calibrated: Any) -> Any:
    """Values with a scale, in the order in which they are made; the type and the axis where there is one that has others."""
    from ..report.tables import Column, Table
    from ..words import counted

    def short(x: float) -> str:
        return f"{x:.5g}"

    def ends(numbers: Any, text: Any = str) -> str:
        return text(numbers[0]) if min(numbers) == max(numbers) else f"{text(min(numbers))} to {text(max(numbers))}"
    made = [*bound.inputs, *(v for layer in bound.layers for v in layer.outputs)]
    found = {v: bound.scales[v] for v in made if v in bound.scales}
    rows = [{"value": v, "least": s.range[0], "largest": s.range[1], "scale": ends(s.steps, short),
             "zero_point": ends(s.zero_points), "type": s.dtype, "axis": "" if s.axis is None else f"{s.axis}"}
            for v, s in found.items()]
    columns = [Column("value", "value"), Column("least", "least", short, True), Column("largest", "largest", short, True),
               Column("scale", "scale", right=True), Column("zero_point", "zero point", right=True)]
    if not all(s.simple for s in found.values()):
        columns += [Column("type", "type"), Column("axis", "axis", right=True)]
    stated = len(found.keys() & bound.net.scales.keys() - calibrated.keys())
    title = f"calibrated: {len(rows) - stated}" + (f", stated by the model: {stated}," if stated else "")
    note = "as integers q of 8 bits: real = scale * (q - zero point)" if len(columns) == 5 else \
        "as integers q of the type: real = scale * (q - zero point); where there is an axis, each position of it has a scale"
    return Table(columns, rows, f"{title} of {counted(sum(bound.spec(v).dtype == 'f32' for v in made), 'value')}", [note])


def _total(parameters: int, operations: int) -> str:
    from ..report.tables import show_count
    from ..words import counted
    return f"{counted(show_count(parameters), 'parameter')}, {counted(show_count(operations), 'operation')} per call " \
           "(a multiply-add is two)"


def _passes(before: Counter, after: Counter, own: bool) -> str:
    """What the passes changed: from the layers of the file (`own`: a .pw file, that passes have seen already)."""
    from ..words import counted
    changes = [f"{kind} {before[kind]} > {after[kind]}" for kind in sorted({*before, *after})
               if before[kind] != after[kind]]
    return (f"passes: {counted(sum(before.values()), 'layer')} {'in the file' if own else 'as imported'} > "
            f"{sum(after.values())} that run at these sizes" + (f" ({', '.join(changes)})" if changes else ""))
