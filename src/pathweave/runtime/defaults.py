"""The default route: a choice without any measurement, one layout for the whole net as far as that goes."""

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
    """A route that needs no profile: a single layout where routines allow it, the catalogue's order elsewhere.

    Raises NoRoutineError when a layer has no allowed routine.
    """
    choices = default_choices(bound, threads, accuracy, restrict)
    return route_of(bound, choices, conversions_for(bound, choices, threads), threads, accuracy)


def usual_route(bound: BoundNet, threads: int, accuracy: str = "f32") -> Route:
    """The route of a net that was not tuned: the default route, with the regions whose routines are usually faster.

    Raises NoRoutineError when a layer has no routine.
    """
    check_number_of_threads(threads)
    taken: dict[str, tuple[str, ...]] = {}
    inside: set[str] = set()
    for name, region in bound.regions.items():
        if region.usual and inside.isdisjoint(region.layers) and bound.region_candidates(region, threads, accuracy):
            taken[name] = region.layers
            inside.update(region.layers)
    route = default_route(bound.fused(taken), threads, accuracy)
    return replace(route, regions=taken) if taken else route


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
    check = getattr(restrict, "check", None)
    if check and not fixed:  # a word without effect was not meant; it may mean a region that a layer is in
        offered = [[*found, *(c for region in bound.regions.values() if layer.name in region.layers
                              for c in bound.region_candidates(region, threads, accuracy))]
                   for layer, found in zip(bound.layers, options)]
        for i, place in enumerate(bound.flat.places if bound.nested else ()):
            if place.block:
                offered[place.position] += bound.flat.candidates(i, threads, accuracy=accuracy, restrict=restrict)[0]
        check(bound.layers, offered)
    # A tie goes to the walk that comes first: bytes stay in the order of rows unless images of bytes are better off elsewhere.
    walks = [_walk(bound, options, layout, moves) for moves in (False, True) for layout in UNIFORM_LAYOUTS
             if not moves or _of_bytes(bound)]
    chosen = min(walks, key=lambda walk: walk[1])[0]
    for name, blocks in bound.nested.items():
        inside = None if restrict is None else Elsewhere(restrict, bound.index[name])
        for block in blocks.values():
            known = {n: c for n, c in fixed.items() if n not in chosen}
            chosen.update(default_choices(block, threads, accuracy, inside, known))
    return chosen


def _of_bytes(bound: BoundNet) -> bool:
    """Whether the net has convolutions of integers: it is then worth while to ask where images of bytes lie best."""
    return any(layer.kind == "conv_integer" for layer in bound.layers)


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
        best = min(found, key=lambda c: (c.reference, _moved(bound, (*names, *layer.outputs), c, bytes_move),
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
