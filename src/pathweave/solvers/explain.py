"""Why an instance has no solution: which layer or value, and which formats clash."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from math import isfinite

from .contract import Instance

_REMEDY = "measure the missing adapt or widen the candidates"


def why_infeasible(instance: Instance, feasible: Callable[[Instance], bool | None]) -> str:
    """A sentence that names the clash. `feasible`: exact test of a smaller instance, None where it cannot tell."""
    return _clash_of_two(instance) or _first_layer(instance, feasible)


def _reachable(table: Mapping[tuple[str, str], float], start: set[str]) -> set[str]:
    seen, queue = set(start), sorted(start)
    while queue:
        f = queue.pop()
        for (a, b), cost in table.items():
            if a == f and b not in seen and isfinite(cost):
                seen.add(b)
                queue.append(b)
    return seen


def _list(formats: Iterable[str]) -> str:
    return ", ".join(sorted(formats))


def _clash_of_two(instance: Instance) -> str | None:
    """A value that no candidate of its producer makes so that some consumer can have it, whatever else is chosen."""
    made = {value: ("is handed in", {fmt}) for value, fmt in instance.inputs.items()}
    for layer in instance.layers:
        for port, value in enumerate(layer.inputs):
            verb, formats = made[value]
            wanted = {c.ins[port] for c in layer.candidates}
            if not _reachable(instance.adapts.get(value, {}), formats) & wanted:
                return (f"layer {layer.name!r}: its input {value!r} {verb} as {_list(formats)}, its candidates need "
                        f"{_list(wanted)}, and no chain of conversions leads there; {_REMEDY}")
        for port, value in enumerate(layer.outputs):
            made[value] = f"is made by layer {layer.name!r}", {c.outs[port] for c in layer.candidates}
    for value, fmt in instance.outputs.items():
        verb, formats = made[value]
        if fmt not in _reachable(instance.adapts.get(value, {}), formats):
            return (f"output {value!r} {verb} as {_list(formats)} and is wanted as {fmt}, and no chain of conversions "
                    f"leads there; {_REMEDY}")
    return None


def _first_layer(instance: Instance, feasible: Callable[[Instance], bool | None]) -> str:
    """The first layer (or the outputs) that makes the instance infeasible, by bisection over the layers."""
    def test(count: int) -> bool | None:
        return feasible(replace(instance, layers=instance.layers[:count], outputs={}))

    low, high = 0, len(instance.layers)
    whole = test(high)
    if whole is None:
        return ("no combination of the layers' candidates fits together, and the graph is too wide to tell which layer "
                f"is to blame; {_REMEDY}")
    if whole:
        return (f"no route delivers the outputs {_list(f'{v} as {f}' for v, f in instance.outputs.items())} together; "
                f"{_REMEDY}")
    while high - low > 1:
        middle = (low + high) // 2
        if test(middle) is not False:
            low = middle
        else:
            high = middle
    layer = instance.layers[high - 1]
    ports = "; ".join(sorted({f"{'+'.join(c.ins)} -> {'+'.join(c.outs)}" for c in layer.candidates}))
    return (f"layer {layer.name!r}: none of its candidates ({ports}) fits any choice for the layers before it, which "
            f"its inputs {_list(layer.inputs)} tie together; {_REMEDY}")
