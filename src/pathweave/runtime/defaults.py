"""The default route: a choice without any measurement.

`usual_route` is what a net runs on that was not tuned: the route of least estimated time (`estimated.py`). `default_route` is a
choice by rule that asks no estimate: one layout for the whole net as far as that goes, in the catalogue's order. Profiling and
tuning measure the machine's speed by it, since it is the same on every machine with the same units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..net.format import Format, itemsize, plain_layout
from ..net.layouts import UNIFORM_LAYOUTS, alike
from ..net.net import Layer
from ..net.route import Choice, Conversion, Route, noted
from ..net.size import check_number_of_threads
from .bound import BoundNet
from .catalogue import Candidate, Restrict
from .conversions import conversions_for
from .flat import Elsewhere

_REFERENCE = 1000


def default_route(bound: BoundNet, threads: int, accuracy: str = "f32", restrict: Restrict | None = None) -> Route:
    """A route by rule: a single layout where routines allow it, the catalogue's order elsewhere.

    Raises NoRoutineError when a layer has no allowed routine.
    """
    choices = default_choices(bound, threads, accuracy, restrict)
    return route_of(bound, choices, conversions_for(bound, choices, threads), threads, accuracy)


def usual_route(bound: BoundNet, threads: int, accuracy: str = "f32", restrict: Restrict | None = None) -> Route:
    """The route of a net that was not tuned: that of least estimated time, regions included; with a restriction without those.

    Its note `estimated_ns` says how long it should take, in nanoseconds. Where none is found, a net gets the
    route by rule, with the regions whose routines are usually faster. Raises NoRoutineError when a layer has no routine.
    """
    from .estimated import estimated
    check_number_of_threads(threads)
    if restrict is not None:
        _check_restriction(bound, restrict, threads, accuracy)
    found = estimated(bound, threads, accuracy, restrict)
    if found is not None:
        fused = bound.fused(found.regions)
        layers = {layer.name: choice_of(found.choices[layer.name]) for layer in fused.all_layers()}
        return Route(bound.signature, threads, accuracy, layers, found.conversions, certificate="default", solver="default",
                     notes={**noted(bound.shapes), "estimated_ns": found.ns}, regions=found.regions)
    if restrict is not None:
        return default_route(bound, threads, accuracy, restrict)
    taken: dict[str, tuple[str, ...]] = {}
    inside: set[str] = set()
    for name, region in bound.regions.items():
        if region.usual and inside.isdisjoint(region.layers) and bound.region_candidates(region, threads, accuracy):
            taken[name] = region.layers
            inside.update(region.layers)
    route = default_route(bound.fused(taken), threads, accuracy)
    return replace(route, regions=taken) if taken else route


def completed_choices(bound: BoundNet, threads: int, accuracy: str, restrict: Restrict | None,
                      fixed: Mapping[str, Candidate]) -> dict[str, Candidate]:
    """Those of `fixed`, and beside them what takes the least estimated time. Raises NoRoutineError."""
    from .estimated import estimated
    found = estimated(bound, threads, accuracy, restrict, fixed, regions=False)
    return default_choices(bound, threads, accuracy, restrict, fixed) if found is None else found.choices


def route_of(bound: BoundNet, choices: Mapping[str, Candidate], conversions: list[Conversion], threads: int,
             accuracy: str) -> Route:
    """A route with certificate "default" from candidates."""
    layers = {layer.name: choice_of(choices[layer.name]) for layer in bound.all_layers()}
    return Route(bound.signature, threads, accuracy, layers, conversions, certificate="default", solver="default",
                 notes=noted(bound.shapes))


def choice_of(candidate: Candidate) -> Choice:
    """The route's entry for a candidate."""
    return Choice(candidate.routine, candidate.version, candidate.variant, candidate.ins, candidate.outs)


def default_choices(bound: BoundNet, threads: int, accuracy: str = "f32", restrict: Restrict | None = None,
                    fixed: Mapping[str, Candidate] | None = None) -> dict[str, Candidate]:
    """A candidate per layer name, those of `fixed` as they are.

    Of one greedy walk per preferred layout the one with the fewest reference routines, conversions and layers outside
    the layout. Raises NoRoutineError, InputError.
    """
    check_number_of_threads(threads)
    fixed = fixed or {}
    options = [[fixed[layer.name]] if layer.name in fixed else
               bound.candidates(i, threads, accuracy=accuracy, restrict=None if layer.name in bound.nested else restrict)[0]
               for i, layer in enumerate(bound.layers)]
    if restrict is not None and not fixed:
        _check_restriction(bound, restrict, threads, accuracy)
    # A tie goes to the walk that comes first: bytes stay in the order of rows unless images of bytes are better off elsewhere.
    walks = [_walk(bound, options, layout, moves) for moves in (False, True) for layout in UNIFORM_LAYOUTS
             if not moves or bound.of_bytes]
    chosen = min(walks, key=lambda walk: walk[1])[0]
    for name, blocks in bound.nested.items():
        inside = None if restrict is None else Elsewhere(restrict, bound.index[name])
        for block in blocks.values():
            known = {n: c for n, c in fixed.items() if n not in chosen}
            chosen.update(default_choices(block, threads, accuracy, inside, known))
    return chosen


def _check_restriction(bound: BoundNet, restrict: Restrict, threads: int, accuracy: str) -> None:
    """Raise InputError for a word without effect: it was not meant. It may mean a region that a layer is in."""
    check = getattr(restrict, "check", None)
    if not check:
        return
    offered = [[*bound.candidates(i, threads, accuracy=accuracy, restrict=None if layer.name in bound.nested else restrict)[0],
                *(c for region in bound.regions.values() if layer.name in region.layers
                  for c in bound.region_candidates(region, threads, accuracy))] for i, layer in enumerate(bound.layers)]
    for i, place in enumerate(bound.flat.places if bound.nested else ()):
        if place.block:
            offered[place.position] += bound.flat.candidates(i, threads, accuracy=accuracy, restrict=restrict)[0]
    check(bound.layers, offered)


def _walk(bound: BoundNet, options: list[list[Candidate]], layout: str, bytes_move: bool) -> tuple[dict[str, Candidate], int]:
    """Layer by layer, the first candidate in the layout, else the one that needs the fewest conversions; its price.

    Images of bytes are free to lie in it with `bytes_move`."""
    have: dict[str, set[Format]] = {n: {bound.input_format(n)} for n in bound.inputs}
    chosen, price = {}, 0
    for layer, found in zip(bound.layers, options):
        names = bound.dynamic(layer)

        def key(c: Candidate, names: tuple[str, ...] = names) -> int:
            return _outside(c, layout) + _REFERENCE * c.reference + _conversions(c, names, have)
        # Reference candidates are listed only where there is nothing else; a layout decides before their price does.
        # What makes a value narrower takes it as it lies: less is converted behind it.
        weight = (1, 0) if bytes_move and _narrows(bound, layer) else (0, 1)
        # Where values have scales, what finds its own comes last: between such layers values would be floats.
        best = min(found, key=lambda c: (c.reference, c.finds_scales and bool(bound.scales),
                                         _moved(bound, (*names, *layer.outputs), c, bytes_move),
                                         weight[0] * _conversions(c, names, have), _outside(c, layout),
                                         weight[1] * _conversions(c, names, have)))
        chosen[layer.name] = best
        price += key(best) + _turns(layer, best)
        for value, form in zip(names, best.ins):
            have[value].add(form)
        for value, form in zip(layer.outputs, best.outs):
            have[value] = {form}
    for value in bound.net.outputs:
        price += value in have and bound.output_format(value) not in have[value]
    return chosen, price


def _narrows(bound: BoundNet, layer: Layer) -> bool:
    """Whether the elements of a layer's output are as many as its first input's, and smaller."""
    if not (layer.inputs and layer.inputs[0] and layer.outputs):
        return False
    x, y = bound.spec(layer.inputs[0]), bound.spec(layer.outputs[0])
    return y.elements == x.elements and itemsize(y.dtype) < itemsize(x.dtype)


def _turns(layer: Layer, c: Candidate) -> int:
    """1 for a convolution of integers on images with the channels first: it turns them itself, and that costs a conversion."""
    return int(layer.kind == "conv_integer" and "nhwc" not in {f.layout for f in c.ins})


def _outside(c: Candidate, layout: str) -> int:
    """1 when the channels of a value lie otherwise than in the layout."""
    return int(any(f.layout not in alike(layout) for f in (*c.ins, *c.outs)))


def _moved(bound: BoundNet, values: tuple[str, ...], c: Candidate, bytes_move: bool) -> int:
    """How many values of another type than f32 (and than bytes, with `bytes_move`) lie in another layout than the caller's
    (inside of the net: the row-major one): few routines take them there."""
    free = ("f32", "u8", "i8") if bytes_move else ("f32",)
    return sum(bound.spec(v).dtype not in free and form.layout != (bound.layouts.get(v) or plain_layout(bound.spec(v).rank))
               for v, form in zip(values, (*c.ins, *c.outs)))


def _conversions(c: Candidate, names: tuple[str, ...], have: Mapping[str, set[Format]]) -> int:
    return sum(form not in have[value] for value, form in zip(names, c.ins))
