"""Passes: rewrites of a net that keep its meaning to rounding. One rewrite per file.

A module of this folder with `order` (a number), `needs_shapes` (True where it may look at `graph.specs`) and
`apply(graph) -> bool` (True where it changed something) is a pass by being there. With `last = True` it waits until the
others have come to an end; then all run again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import ModuleType

import numpy as np

from ..errors import InputError, ModelError
from ..layers import check_inputs
from ..meaning import open_shapes
from ..meaning.evaluate import MEANING_ERRORS, match_symbols
from ..meaning.partial import FREE_BYTES_BOUND, Folding, Follower, Known
from ..net.net import Net, TensorSpec
from ..net.scales import Scale, check_axis
from ..plugins import collect
from ._graph import Graph

#: Rounds of all passes after which rewriting stops; the net is right after every single rewrite.
MAX_ROUNDS = 100


@cache
def passes() -> tuple[ModuleType, ...]:
    """Every pass, in order, those of plugins among them."""
    return tuple(sorted(collect(__name__, "passes", _pass_in, "pass").values(), key=lambda m: (m.order, m.__name__)))


def _pass_in(module: ModuleType) -> dict[str, ModuleType]:
    """A module that is a pass, by its name. Raises AttributeError where it does not say all that a pass says."""
    if not hasattr(module, "apply"):
        return {}
    float(module.order), bool(module.needs_shapes)
    return {module.__name__.rpartition(".")[2]: module}


def optimise(net: Net, folding: Folding | None = None) -> Net:
    """The net after all passes that need no shapes, to a fixed point. The given net is not changed.

    `folding`: what may still be folded; by default, as much as in a net of its own.
    Raises ModelError for a malformed net.
    """
    net.check()
    graph = Graph(net, folding)
    run_passes(graph, [m for m in passes() if not m.needs_shapes])
    return graph.to_net()


def bind(net: Net, shapes: Mapping[str, tuple[int, ...]] | None = None, scales: Mapping[str, Scale] | None = None) -> Net:
    """The net for concrete input shapes, optimised, with `specs` of every value. The given net is not changed.

    `shapes`: input name -> shape; inputs that are left out take theirs from the symbols of the others. What depends
    on shapes alone is folded. The first binding of a net infers its shapes; the second one infers them with open sizes, and
    evaluates, as all further ones do; the result's own shapes are always inferred. `scales`: of values, beside those that the
    net states, which count more; names that no value has, or will have, are left out. Raises InputError where a symbol gets
    two values or none or a fixed dimension differs, ShapeError where shapes do not fit, ModelError for scales along an axis
    that a value does not have.
    """
    from ..layers import infer
    net.check()
    inputs = _bound_inputs(net, shapes or {})
    known = Known(_evaluated(net, inputs))
    bound = _fold_shapes(net, inputs, known)
    known.forget_evaluated()
    graph = Graph(bound, Folding(FREE_BYTES_BOUND))
    graph.known = known
    graph.scales = {**(scales or {}), **net.scales}
    run_passes(graph, list(passes()))
    result = graph.to_net()
    infer(result)
    for value, scale in result.scales.items():
        check_axis(value, scale, result.specs[value].shape)
    return result


def _bound_inputs(net: Net, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, TensorSpec]:
    sizes = match_symbols(net.inputs, shapes)
    free = {name: [d for d in s.shape if isinstance(d, str) and d not in sizes] for name, s in net.inputs.items()}
    if any(free.values()):
        raise InputError("the sizes of " + ", ".join(f"{', '.join(map(repr, d))} of input {n!r} ({net.inputs[n]})"
                                                     for n, d in free.items() if d) + " are not known; give its shape")
    bound = {n: TensorSpec(s.dtype, tuple(sizes[d] if isinstance(d, str) else d for d in s.shape))
             for n, s in net.inputs.items()}
    check_inputs(bound)
    return bound


def _evaluated(net: Net, inputs: dict[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Specs of the values of a net that has been bound before; empty for one that has not, or that has no open sizes."""
    shapes = None if net.bound else open_shapes.of_bound_again(net)
    return {} if shapes is None else shapes.shapes_at(match_symbols(net.inputs, {n: s.sizes for n, s in inputs.items()}))


def _fold_shapes(net: Net, inputs: dict[str, TensorSpec], known: Known) -> Net:
    """Follow the net with its shapes: values that depend on them alone become constants, shape inputs attributes."""
    follower = Follower(inputs, known=known)
    for name, array in net.constants.items():
        follower.constant(name, array)
    layers, constants = [], dict(net.constants)
    names = {*inputs, *constants, *(v for layer in net.layers for v in layer.outputs)}
    empty: dict[str, str] = {}
    for layer in net.layers:
        resolved = follower.step(layer)
        if all(v in follower.contents for v in resolved.outputs):
            constants.update((v, follower.contents[v]) for v in resolved.outputs)
            continue
        for v in resolved.inputs:  # what has no elements is a constant for those who read it, wherever it comes from
            if v in follower.contents and v not in constants and v not in empty:
                empty[v] = _free(f"{v}:empty", names)
                constants[empty[v]] = follower.contents[v]
        if empty:
            resolved = resolved.with_(inputs=tuple(empty.get(v, v) for v in resolved.inputs))
        layers.append(resolved)
    return Net(inputs, list(net.outputs), layers, constants)


def _free(name: str, names: set[str]) -> str:
    while name in names:
        name += "_"
    names.add(name)
    return name


def run_passes(graph: Graph, modules: list[ModuleType], lenient: bool = False) -> None:
    """Run passes to a fixed point. `lenient`: a pass that open sizes are too little for is left out, and does not fail."""
    early = [m for m in modules if not getattr(m, "last", False)]
    _run_to_end(graph, early, lenient)
    if len(early) < len(modules):
        _run_to_end(graph, modules, lenient)


def _run_to_end(graph: Graph, modules: list[ModuleType], lenient: bool) -> None:
    stale = True
    for _ in range(MAX_ROUNDS):
        changed = False
        for module in modules:
            if module.needs_shapes and stale:
                graph.specs = graph.follow() if graph.follow else _specs(graph)
                stale = False
            if _applied(module, graph, lenient):
                changed = stale = True
        if not changed:
            return


def _applied(module: ModuleType, graph: Graph, lenient: bool) -> bool:
    """Run one pass. Attributes that make no sense are found by shape inference, which an unbound net has not had."""
    try:
        with np.errstate(all="ignore"):  # weights may hold infinities, and keep them
            return module.apply(graph)
    except MEANING_ERRORS as e:
        if lenient:
            return False
        name = module.__name__.rpartition(".")[2]
        raise ModelError(f"pass {name}: a layer's attributes or constants do not fit together "
                         f"({type(e).__name__}: {e}); bind the net to find out which") from e


def _specs(graph: Graph) -> dict[str, TensorSpec]:
    """Specs of the values whose sizes are all known; passes leave those alone whose sizes depend on contents."""
    follower = Follower(graph.inputs, known=graph.known)
    for name, array in graph.constants.items():
        follower.constant(name, array)
    for layer in graph.layers():
        follower.step(layer)
    return {v: s for v, s in follower.specs.items() if s.bound}
