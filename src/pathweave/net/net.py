"""Net and Model: a DAG of layers with constants; an ordered set of named nets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING, Any, Mapping, cast

from ..errors import ModelError
from .dim import Expr, highest, quoted
from .scales import Scale

if TYPE_CHECKING:
    from .block import Block
    from .state import State

#: A word names a symbol, such as "N", in the shape of a net's input; elsewhere symbols and what is made of them are Expr.
Dim = int | str | Expr


@dataclass(frozen=True)
class TensorSpec:
    """dtype and logical shape of one value (rank 4 means N, C, H, W whatever the layout in memory)."""

    dtype: str
    shape: tuple[Dim, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.dtype, str) or not isinstance(self.shape, (tuple, list)):
            raise ModelError(f"tensor: expected an element type such as 'f32' and a tuple of sizes and symbols, got "
                             f"{self.dtype!r} and {self.shape!r}")

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def dims(self) -> tuple[int | Expr, ...]:
        """The shape of a value inside a net, where no size is a word."""
        return cast("tuple[int | Expr, ...]", self.shape)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape of a bound value, which is of integers alone."""
        return cast("tuple[int, ...]", self.shape)

    @property
    def elements(self) -> int:
        """How many elements a bound value has."""
        return prod(self.sizes)

    @property
    def bound(self) -> bool:
        """True when no dimension depends on a symbol."""
        return all(isinstance(d, int) for d in self.shape)

    @property
    def upper(self) -> "TensorSpec":
        """The largest that a value inside a net may be: open sizes at their upper bound."""
        return self if self.bound else TensorSpec(self.dtype, tuple(map(highest, self.dims)))

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(quoted(d) if isinstance(d, str) else str(d) for d in self.shape)}]"


@dataclass(frozen=True)
class Epilogue:
    """What a layer does to its output before it is stored: y = act(y + residual).

    `add`: the layer's last input is the residual, of the output's shape. `act`: name of a layer kind that is an
    Activation ("" = none) and `params`: its parameters in the order of that kind's attributes.
    """

    add: bool = False
    act: str = ""
    params: tuple[float, ...] = ()

    def __bool__(self) -> bool:
        return self.add or bool(self.act)

    def __str__(self) -> str:
        parts = ["add"] if self.add else []
        if self.act:
            parts.append(":".join([self.act, *(repr(float(p)) for p in self.params)]))
        return "+".join(parts)

    @staticmethod
    def parse(text: str) -> "Epilogue":
        """Read `add+leaky_relu:0.1`. Raises ModelError for anything that is no epilogue."""
        if not isinstance(text, str):
            raise ModelError(f"epilogue: expected text such as add+relu, got {type(text).__name__}")
        parts = [p for p in text.replace("e+", "e").split("+") if p]
        add = bool(parts) and parts[0] == "add"
        rest = parts[1:] if add else parts
        if len(rest) > 1:
            raise ModelError(f"epilogue {text!r}: expected [add+][ACTIVATION[:PARAM...]]")
        act, *params = rest[0].split(":") if rest else [""]
        try:
            return Epilogue(add, act, tuple(float(p) for p in params))
        except ValueError:
            raise ModelError(f"epilogue {text!r}: expected numbers after {act!r}, got {', '.join(params)}") from None


@dataclass(frozen=True)
class Layer:
    """What is computed: kind, attributes, names of inputs and outputs. Knows no routine and no device.

    An input names a value, or a constant of the net (weights, bias), or is "" where an optional one is absent.
    `attrs` holds numbers, words, tuples of numbers, and blocks (net/block.py); absent attributes have the kind's defaults.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attrs: Mapping[str, Any] = field(default_factory=dict)
    epilogue: Epilogue = Epilogue()

    def __post_init__(self) -> None:
        if not (isinstance(self.inputs, (tuple, list)) and isinstance(self.outputs, (tuple, list))
                and isinstance(self.attrs, Mapping) and isinstance(self.epilogue, Epilogue)):
            kinds = [type(x).__name__ for x in (self.inputs, self.outputs, self.attrs, self.epilogue)]
            raise ModelError(f"layer {self.name!r}: expected inputs and outputs as tuples of names, attrs as a mapping, the "
                             f"epilogue as an Epilogue, got {', '.join(kinds)}")

    @property
    def blocks(self) -> "dict[str, Block]":
        """The nets that are attributes of the layer: attribute -> Block."""
        from .block import blocks_of
        return blocks_of(self)

    def with_(self, **changes: Any) -> "Layer":
        """Copy with some fields changed."""
        return replace(self, **changes)


def check_name(where: str, name: Any) -> None:
    """Raise ModelError for a name that is no text, or none that can be printed and written: lone surrogates."""
    if isinstance(name, str):
        if name.isascii():
            return
        try:
            name.encode()
            return
        except UnicodeEncodeError:
            pass
    shown = repr(name)
    raise ModelError(f"{where}: name {shown if len(shown) <= 80 else shown[:77] + '...'}: expected text in UTF-8; rename it in "
                     f"the model")


@dataclass
class Net:
    """A DAG of layers in topological order.

    `inputs`: name -> TensorSpec, shapes may hold symbols. `outputs`: value names, in the model's order.
    `constants`: name -> numpy array. `specs`: name -> TensorSpec of every value, filled by `layers.infer(net)`
    for a net whose inputs are bound, by `meaning.open_shapes.infer(net)` for one with open sizes. `scales`: value or
    constant -> Scale that the model states; passes carry them along.
    """

    inputs: dict[str, TensorSpec]
    outputs: list[str]
    layers: list[Layer]
    constants: dict[str, Any]
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    opened: Any = field(default=None, repr=False, compare=False)  # what meaning.open_shapes remembers of it
    scales: dict[str, Scale] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (all(isinstance(x, Mapping) for x in (self.inputs, self.constants, self.specs))
                and all(isinstance(x, (list, tuple)) for x in (self.outputs, self.layers))):
            kinds = [type(x).__name__ for x in (self.inputs, self.outputs, self.layers, self.constants, self.specs)]
            raise ModelError("net: expected inputs as a dict, outputs and layers as lists, constants and specs as dicts, got "
                             f"{', '.join(kinds)}")

    def producer(self) -> dict[str, Layer]:
        """Value name -> the layer that makes it."""
        return {v: layer for layer in self.layers for v in layer.outputs}

    def consumers(self) -> dict[str, list[tuple[Layer, int]]]:
        """Value or constant name -> [(layer, input index)], in topological order."""
        out: dict[str, list[tuple[Layer, int]]] = {}
        for layer in self.layers:
            for i, v in enumerate(layer.inputs):
                if v:
                    out.setdefault(v, []).append((layer, i))
        return out

    def all_layers(self) -> Iterator[Layer]:
        """The layers, and those of the nets inside them."""
        for layer in self.layers:
            yield layer
            for block in layer.blocks.values():
                yield from block.net.all_layers()

    def dynamic_inputs(self, layer: Layer) -> list[tuple[int, str]]:
        """(index, name) of the inputs that are values, not constants and not absent."""
        return [(i, v) for i, v in enumerate(layer.inputs) if v and v not in self.constants]

    @property
    def bound(self) -> bool:
        return all(s.bound for s in self.inputs.values())

    def copy(self) -> "Net":
        """A net that shares constants' arrays but no container with this one."""
        return Net(dict(self.inputs), list(self.outputs), list(self.layers), dict(self.constants), dict(self.specs),
                   scales=dict(self.scales))

    def check(self) -> None:
        """Raise ModelError unless names are text and unique, every input is defined before its use, and outputs exist."""
        for name in (*self.inputs, *self.constants, *self.outputs):
            check_name("net", name)
        known = set(self.inputs) | set(self.constants)
        if len(known) != len(self.inputs) + len(self.constants):
            raise ModelError("net: a name is both an input and a constant")
        names: set[str] = set()
        for layer in self.layers:
            if layer.name in names:
                raise ModelError(f"net: two layers are named {layer.name!r}")
            names.add(layer.name)
            for name in (layer.name, *layer.outputs):
                check_name("net", name)
            for v in layer.inputs:
                if v and v not in known:
                    raise ModelError(f"layer {layer.name!r} ({layer.kind}): input {v!r} is not defined before it")
            for v in layer.outputs:
                if v in known:
                    raise ModelError(f"layer {layer.name!r} ({layer.kind}): {v!r} is defined twice")
                known.add(v)
        for v in self.outputs:
            if v not in known:
                raise ModelError(f"net: output {v!r} is made by no layer")
        for v in self.scales:
            if v not in known:
                raise ModelError(f"net: a scale is stated for {v!r}, which is neither a value nor a constant")


#: Order in which the nets of a model run; each feeds the next by position.
NET_ORDER = ("preprocess", "main", "postprocess")


@dataclass
class Model:
    """Named nets, run in NET_ORDER; `main` is always there. `meta` holds JSON-able facts (origin, labels, ...).

    `routes`: net signature text -> Route, for a tuned model; see pathweave.net.route. `quantisation`: net -> value of
    that net, bound -> Scale, for a calibrated model; see pathweave.net.scales; what a net states itself (`Net.scales`)
    counts more. `packed`: packed weights that the
    file holds or shall hold; see pathweave.files.packed. `layouts`: input or output of the main net -> layout of the
    caller's array, where that is not row-major; see pathweave.net.border. `states`: input of the main net that keeps a value
    from call to call -> State; see pathweave.net.state.
    """

    nets: dict[str, Net]
    meta: dict[str, Any] = field(default_factory=dict)
    routes: dict[str, Any] = field(default_factory=dict)
    quantisation: dict[str, dict[str, Scale]] = field(default_factory=dict)
    packed: Any = None
    layouts: dict[str, str] = field(default_factory=dict)
    states: dict[str, State] = field(default_factory=dict)

    @property
    def main(self) -> Net:
        return self.nets["main"]
