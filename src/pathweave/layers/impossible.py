"""What stands for a branch whose shapes do not fit at the sizes at hand: it is there, and must not be taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from ..errors import ModelError, ShapeError
from ..net.block import Block
from ..net.net import Layer, Net, TensorSpec
from ..net.size import MOST_RANK
from . import LayerKind
from ._common import take

#: More than any folding bears: the reason is told when the branch is taken, not while the model loads.
_EFFORT = 2**62


class Impossible(LayerKind):
    """Raises ShapeError when it runs, and reads no input.

    `reason`: what the error says, percent-encoded. `types`: the element type of each output. `shapes`: for each its rank and
    then its sizes, all in one row.
    """

    name = "impossible"
    per_element = 0
    refuses = True
    attributes = {"reason": None, "types": None, "shapes": None}

    def infer(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[TensorSpec]:
        take(inputs, 0)
        found, sizes = [], list(attrs["shapes"])
        for dtype in attrs["types"]:
            rank = sizes.pop(0) if sizes else -1
            if not 0 <= rank <= min(MOST_RANK, len(sizes)):
                raise ModelError(f"shapes={attrs['shapes']}: expected the rank and the sizes of {len(attrs['types'])} outputs")
            found.append(TensorSpec(dtype, tuple(sizes[:rank])))
            sizes = sizes[rank:]
        return found

    def meaning(self, attrs: Mapping[str, Any], inputs: list[Any]) -> list[Any]:
        raise ShapeError(f"a branch was taken that does not fit the shapes: {unquote(str(attrs['reason']))}")

    def effort(self, attrs: Mapping[str, Any], inputs: list[Any], outputs: list[TensorSpec]) -> int:
        return _EFFORT


def impossible(block: Block, outputs: list[TensorSpec], reason: str) -> Block:
    """A block with the inputs of another one that gives `outputs`, were it not to raise; open sizes are 1."""
    names = [f"impossible:{i}" for i in range(len(outputs))]
    while set(names) & set(block.net.inputs):
        names = [f"{name}:" for name in names]
    attrs = {"reason": quote(reason, ""), "types": tuple(s.dtype for s in outputs),
             "shapes": tuple(n for s in outputs for n in (s.rank, *(d if isinstance(d, int) else 1 for d in s.dims)))}
    return Block(Net(dict(block.net.inputs), names, [Layer("impossible", "impossible", (), tuple(names), attrs)], {}))
