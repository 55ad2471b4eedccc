"""The If that exporters write for a squeeze of an axis whose size they do not know."""

from __future__ import annotations

import numpy as np

from ...net.dim import Expr
from .node import Node
from .tensors import to_array


def squeezed(n: Node) -> bool:
    """Make an If a squeeze, where it squeezes an axis of a value if the size of that is 1, and else hands the value on.

    The two have different ranks, so that nothing could be said of what follows. The size is assumed to be 1 where it is
    open: at another one the squeeze is an error that says so. Source: torch.onnx, `squeeze` with a dynamic axis.
    """
    branches = [n.graph(name) for name in ("then_branch", "else_branch")]
    if len(n.outputs) != 1 or any(len(graph.output) != 1 or graph.initializer for graph in branches):
        return False
    then, other = branches
    work = [node for node in then.node if node.op_type != "Constant"]
    if [node.op_type for node in work] != ["Squeeze"] or [node.op_type for node in other.node] != ["Identity"]:
        return False
    value, axes = work[0].input[0], _axes(n, then, work[0])
    if other.node[0].input[0] != value or len(axes) != 1 or n.builder.shape(_outer(n, value)) is None:
        return False
    rank = len(n.builder.shape(_outer(n, value)) or ())
    if not -rank <= axes[0] < rank or not _asks_for_one(n, n.input(0), _outer(n, value), axes[0] % rank):
        return False
    n.emit("squeeze", [_outer(n, value)], {"axes": (axes[0] % rank,)}, last=True)
    return True


def _outer(n: Node, name: str) -> str:
    outer = n.scope.get(name, name)
    return n.builder.types.inner.get(outer, outer)


def _axes(n: Node, graph, squeeze) -> list[int]:
    """The axes that a Squeeze names, by its attribute or by a Constant of its graph; none where it is neither."""
    named = [list(a.ints) for a in squeeze.attribute if a.name == "axes"]
    if named or len(squeeze.input) < 2:
        return named[0] if named else []
    for node in graph.node:
        if node.op_type == "Constant" and squeeze.input[1] in node.output:
            for a in node.attribute:
                if a.name == "value":
                    return [int(v) for v in to_array(a.t, n.builder.external, node.name)[0].ravel()]
    known = n.builder.content(_outer(n, squeeze.input[1]))
    return [] if known is None else [int(v) for v in known.ravel()]


def _asks_for_one(n: Node, condition: str, value: str, axis: int) -> bool:
    """Whether a condition is that the size of an axis is 1."""
    made = {v: layer for layer in n.builder.layers for v in layer.outputs}
    while condition in made and made[condition].kind in ("cast", "identity", "reshape", "squeeze"):
        condition = made[condition].inputs[0]
    if condition not in made or made[condition].kind != "equal":
        return False
    size = n.builder.shapes.dims(value)
    contents = [n.builder.shapes.contents.get(v) for v in made[condition].inputs]
    found = [c.ravel()[0] for c in contents if isinstance(c, np.ndarray) and c.size == 1]
    if size is None or len(found) != 2 or not isinstance(size[axis], Expr):
        return False
    return any(not isinstance(a, Expr) and a == 1 and isinstance(b, Expr) and b == size[axis]
               for a, b in (found, found[::-1]))
