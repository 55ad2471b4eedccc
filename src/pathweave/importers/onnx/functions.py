"""Functions that a model defines are put in the place of the nodes that call them."""

from __future__ import annotations

from ...errors import ModelError
from ...words import counted

#: Nodes that a model may have after inlining ...
MOST_NODES = 1_000_000
#: ... and how many times those of the file, in one that becomes larger than so many: small files may ask for little work.
MOST_GROWTH, FREE_NODES = 50, 2_000


def inlined(proto, where: str):
    """The model without local functions. Raises ModelError for one that calls itself, or too many nodes."""
    import onnx.inliner
    nodes, own = _inlined_nodes(proto, where), len(proto.graph.node) + sum(len(f.node) for f in proto.functions)
    most = min(MOST_NODES, max(FREE_NODES, MOST_GROWTH * own))
    if nodes > most:
        raise ModelError(f"{where}: the {counted(own, 'node')} of its graph and functions would become {nodes} after "
                         f"inlining, more than {most}; inline its functions with onnx.inliner, or split the model")
    try:
        return onnx.inliner.inline_local_functions(proto)
    except Exception as e:  # the inliner's own exceptions are of no one type
        raise ModelError(f"{where}: its functions cannot be inlined: {e}") from e


def _inlined_nodes(proto, where: str) -> int:
    """Nodes of the graph after inlining. Raises ModelError where a function calls itself."""
    functions = {(f.domain, f.name, getattr(f, "overload", "")): f for f in proto.functions}
    sizes: dict[tuple, int] = {}

    def count(nodes, calling: tuple) -> int:
        total = 0
        for node in nodes:
            key = (node.domain, node.op_type, getattr(node, "overload", ""))
            total += size(key, calling) if key in functions else 1
            for attribute in node.attribute:
                for graph in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                    total += count(graph.node, calling)
        return total

    def size(key: tuple, calling: tuple) -> int:
        if key in calling or len(calling) > 200:
            raise ModelError(f"{where}: function {key[1]!r} of domain {key[0]!r} "
                             f"{'calls itself' if key in calling else 'is nested too deeply'}")
        if key not in sizes:
            sizes[key] = count(functions[key].node, (*calling, key))
        return sizes[key]

    return count(proto.graph.node, ())
