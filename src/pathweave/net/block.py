"""Block: a net as an attribute of a layer, such as a branch of an `if` or the body of a `loop`."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ..errors import ModelError
from .net import Layer, Net

#: Blocks within blocks, the outermost one included.
MOST_DEPTH = 8


class Block:
    """A net inside a layer; it never changes, and neither may its `net`.

    Inputs and outputs are taken by position, so that names inside may equal those outside. A declared size that is a number
    must be that number at each run; a symbol stands for any size. Blocks are equal where they compute the same in the same
    way: names of values, layers and symbols do not count. `text`: `@` and 12 hexadecimal digits of the digest. `depth`: 1, and
    more where layers inside have blocks. `remembered`: what others know of this block, by a name of theirs; not part of it.
    Raises ModelError for a malformed net, and for blocks nested more than MOST_DEPTH deep.
    """

    __slots__ = ("net", "depth", "remembered", "_digest")

    def __init__(self, net: Net):
        if not isinstance(net, Net):
            raise ModelError(f"block: expected a Net, got {type(net).__name__}")
        net.check()
        self.net = Net(dict(net.inputs), list(net.outputs), list(net.layers), dict(net.constants))
        inner: list[int] = [b.depth for layer in self.net.layers for b in layer.blocks.values()]
        self.depth: int = 1 + max(inner, default=0)
        if self.depth > MOST_DEPTH:
            raise ModelError(f"block: nets nested {self.depth} deep: expected at most {MOST_DEPTH} (conditions and loops "
                             f"inside each other); flatten the model")
        self.remembered: dict[str, Any] = {}
        self._digest = ""

    @property
    def digest(self) -> str:
        """32 hexadecimal digits that stand for what the block computes, and how."""
        if not self._digest:
            self._digest = _digest(self.net)
        return self._digest

    @property
    def text(self) -> str:
        return f"@{self.digest[:12]}"

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Block {self.text}: {len(self.net.layers)} layers>"

    def __eq__(self, other: object) -> bool:
        return self is other or isinstance(other, Block) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        return Block, (self.net,)


class _Numbered:
    """Numbers in place of names, in the order in which they are first met."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, name: str) -> str:
        return str(self._numbers.setdefault(name, len(self._numbers)))


def _digest(net: Net) -> str:
    total = hashlib.blake2b(digest_size=16)

    def add(*words: str) -> None:
        total.update(("\x1f".join(words) + "\x1e").encode("utf-8", "surrogatepass"))
    symbols, values = _Numbered(), _Numbered()
    for name, spec in net.inputs.items():
        add("input", values(name), spec.dtype, *(str(d) if isinstance(d, int) else f"s{symbols(str(d))}" for d in spec.shape))
    seen: set[str] = set()

    def named(value: str) -> str:
        if value in net.constants and value not in seen:
            seen.add(value)
            array = np.asarray(net.constants[value], order="C")
            add("constant", values(value), array.dtype.str, *map(str, array.shape))
            if array.size:
                total.update(array.reshape(-1).view(np.uint8).data)
        return values(value) if value else "-"
    for layer in net.layers:
        inputs = [named(v) for v in layer.inputs]
        add("layer", layer.kind, str(layer.epilogue), *inputs, "=", *map(values, layer.outputs))
        add(*(f"{k}:{_attribute(v)}" for k, v in sorted(layer.attrs.items())))
    outputs = [named(v) for v in net.outputs]
    add("outputs", *outputs)
    return total.hexdigest()


def _attribute(value: Any) -> str:
    from .problem import attr_text
    return value.digest if isinstance(value, Block) else f"{type(value).__name__} {attr_text(value)}"


def blocks_of(layer: Layer) -> dict[str, Block]:
    """The attributes of a layer that are blocks, by name."""
    return {k: v for k, v in layer.attrs.items() if isinstance(v, Block)}
