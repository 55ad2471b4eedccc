"""The nets inside layers are optimised like the net around them."""

from __future__ import annotations

from ..meaning.partial import Folding
from ..net.block import Block
from ._graph import Graph

order = 8
needs_shapes = False

#: Under what a block remembers its optimised self.
_KEY = "optimised"


def apply(graph: Graph) -> bool:
    """Replace every block that the passes change."""
    changed = False
    for layer in graph.layers():
        new = {name: optimised(block, graph.folding) for name, block in layer.blocks.items()}
        if any(new[name] is not block for name, block in layer.blocks.items()):
            graph.replace(layer, layer.with_(attrs={**layer.attrs, **new}))
            changed = True
    return changed


def optimised(block: Block, folding: Folding | None = None) -> Block:
    """A block after all passes that need no shapes; the very same one where they change nothing."""
    from . import optimise
    if _KEY not in block.remembered:
        result = Block(optimise(block.net, folding))
        result = block if result == block else result
        result.remembered[_KEY] = block.remembered[_KEY] = result
    return block.remembered[_KEY]
