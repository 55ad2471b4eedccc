"""A net whose sizes are known when it runs: optimised once, with expressions for sizes, and evaluated for each set of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import OpenSizesError, ShapeError
from ..net.conditions import Condition
from ..net.dim import MOST_SIZE, Expr, evaluate, highest, lowest, symbols_of
from ..net.net import Layer, Net, TensorSpec

#: What stands for a size that depends on contents and has no upper bound.
UNBOUNDED_EXAMPLE = 16


@dataclass
class OpenNet:
    """`net`: its specs, and attributes of its layers, hold expressions. `given`: symbols of the inputs, in order, each with
    its bounds. `late`: symbols that a layer finds out, by the value and the axis where it does. `conditions`: what all sizes
    must fulfil. `asked`: condition -> outputs of the layers that ask for it."""

    net: Net
    given: dict[str, tuple[int, int]]
    late: dict[str, tuple[str, int]] = field(default_factory=dict)
    conditions: list[Condition] = field(default_factory=list)
    asked: dict[Condition, list[str]] = field(default_factory=dict)

    def is_late(self, dims: tuple[int | Expr, ...]) -> bool:
        """True where a shape has a size that a layer finds out."""
        return bool(self.late) and any(s.name in self.late for d in dims for s in symbols_of(d))

    def is_given(self, condition: Condition) -> bool:
        """True where a condition depends on nothing but what is given: it can be checked before a run."""
        return condition.names() <= self.given.keys()

    def holds_at(self, given: Mapping[str, int]) -> bool:
        """Whether all conditions hold that depend on nothing but these sizes of what is given."""
        return all(c.holds(given) for c in self.conditions if self.is_given(c))

    def example(self, given: Mapping[str, int]) -> dict[str, int]:
        """A size for every symbol: the given ones; else the largest, or a small one where none is known."""
        sizes = dict(given)
        equal = {}
        for condition in self.conditions:
            if len(condition) == 1 and condition[0].word == "==":
                for one, other in ((condition[0].left, condition[0].right), (condition[0].right, condition[0].left)):
                    names = {s.name for s in symbols_of(one)}
                    if len(names) == 1 and str(one) in names | {f'"{n}"' for n in names}:
                        equal[next(iter(names))] = other
        for name, (value, axis) in self.late.items():
            if name in given:
                continue
            dim = self.net.specs[value].dims[axis]
            sizes[name] = highest(dim) if highest(dim) < MOST_SIZE else max(lowest(dim), UNBOUNDED_EXAMPLE)
            try:
                sizes[name] = evaluate(equal[name], sizes) if name in equal else sizes[name]
            except (OpenSizesError, ArithmeticError):
                pass
        return sizes

    def up_to(self, values: list[str]) -> OpenNet:
        """The layers that some values need, with those that find out sizes of theirs. The values are its outputs."""
        net, wanted, layers, known = self.net, set(values), [], set(self.given)
        for layer in reversed(net.layers):
            if wanted.isdisjoint(layer.outputs):
                continue
            layers.append(layer)
            wanted.update(v for v in layer.inputs if v)
            names = self._sizes_of(layer)
            known.update(names)
            wanted.update(self.late[n][0] for n in names if n in self.late)
        used = {*net.inputs, *net.constants, *(v for layer in layers for v in (*layer.inputs, *layer.outputs) if v)}
        part = Net(net.inputs, list(values), layers[::-1], net.constants, {v: net.specs[v] for v in used if v in net.specs},
                   scales=net.scales)
        conditions = [c for c in self.conditions if c.names() <= known]
        return OpenNet(part, self.given, {n: place for n, place in self.late.items() if n in known}, conditions,
                       {c: self.asked[c] for c in conditions if c in self.asked})

    def _sizes_of(self, layer: Layer) -> set[str]:
        """Names of the symbols in a layer: of its values, its attributes, and the conditions that it asks for."""
        sizes = [d for v in (*layer.inputs, *layer.outputs) if v for d in self.net.specs[v].dims]
        for value in layer.attrs.values():
            sizes += [d for d in (value if isinstance(value, tuple) else (value,)) if isinstance(d, Expr)]
        asked = (c.names() for c, values in self.asked.items() if not set(layer.outputs).isdisjoint(values))
        return {s.name for d in sizes for s in symbols_of(d)}.union(*asked)

    def at(self, sizes: Mapping[str, int]) -> Net:
        """The net at these sizes of all symbols. Raises ShapeError where a size divides by one that is 0."""
        known: dict[Expr, int] = {}

        def number(d: Any) -> Any:
            if not isinstance(d, Expr):
                return tuple(map(number, d)) if isinstance(d, tuple) else d
            if d not in known:
                try:
                    known[d] = evaluate(d, sizes)
                except ZeroDivisionError:
                    listed = ", ".join(f"{s.name}={sizes[s.name]}" for s in symbols_of(d) if s.name in sizes)
                    raise ShapeError(f"the size {d} divides by 0 at {listed}; give inputs that leave more values") from None
            return known[d]
        layers = [layer.with_(attrs={k: number(v) for k, v in layer.attrs.items()}) for layer in self.net.layers]
        specs = {v: TensorSpec(s.dtype, number(tuple(s.shape))) for v, s in self.net.specs.items()}
        inputs = {n: specs[n] for n in self.net.inputs}
        return Net(inputs, list(self.net.outputs), layers, dict(self.net.constants), specs, scales=dict(self.net.scales))
