"""A mean or maximum over height and width becomes a global pool, and so does a pool whose window is the image."""

from __future__ import annotations

from ..layers import kind_of
from ..net.net import Layer, TensorSpec
from ..net.roles import space_axes
from ._graph import Graph

order = 30
needs_shapes = True

_REDUCTIONS = {"mean": "global_average_pool", "max": "global_max_pool"}
_FLOATS = ("f16", "f32", "f64")


def apply(graph: Graph) -> bool:
    """Floating point only, of a rank that the pool takes."""
    changed = False
    for layer in graph.layers():
        spec = graph.specs.get(layer.inputs[0]) if layer.inputs else None
        if spec is None or spec.dtype not in _FLOATS or layer.epilogue or 0 in spec.shape:
            continue
        kind, keepdims = _global(layer, spec)
        if kind:
            graph.replace(layer, layer.with_(kind=kind, attrs={"keepdims": keepdims}))
            changed = True
    return changed


def _global(layer: Layer, spec: TensorSpec) -> tuple[str, int]:
    attrs = layer.attrs
    if layer.kind == "reduce":
        pool = _REDUCTIONS.get(attrs["op"], "")
        axes = attrs.get("axes", ()) if len(layer.inputs) == 1 else ()
        found = sorted(a % spec.rank for a in axes) if pool and spec.rank else []
        return (pool, attrs.get("keepdims", 1)) if found and found == _space(pool, spec) else ("", 0)
    whole = kind_of(layer.kind).whole_image
    if whole and tuple(attrs["kernel"]) == tuple(spec.shape[a] for a in _space(whole, spec)) \
            and not any(attrs.get("pad", (0,))) and set(attrs.get("dilation", (1, 1))) == {1} and not attrs.get("ceil", 0):
        return whole, 1
    return "", 0


def _space(pool: str, spec: TensorSpec) -> list[int]:
    """The axes over which a global pool goes; none of a rank that it does not take."""
    kind = kind_of(pool)
    before, _ = kind.roles(kind.complete({}), [spec])
    return list(space_axes(before[0])) if before and before[0] else []
