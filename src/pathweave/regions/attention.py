"""Attention written out: a product of queries and keys, scaled and masked, its softmax, and the product with the values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from ..layers import kind_of
from ..net.conditions import one_or_equal, surely_equal
from ..net.dim import Expr
from ..net.net import Layer, Net
from . import Region, region_name

Shape: TypeAlias = "tuple[int | Expr, ...]"
#: How an operand [batch, heads, rows, columns] of the two products lies over its source, and whether heads lie inside there.
_ROWS: dict[tuple[int, ...], int] = {(0, 1, 2, 3): 0, (0, 2, 1, 3): 1}
_TRANSPOSED: dict[tuple[int, ...], int] = {(0, 1, 3, 2): 0, (0, 2, 3, 1): 1}
#: Masks are numbers down to this, or minus infinity, where they take keys out for sure.
_NEVER = -1e30


@dataclass(frozen=True)
class _Operand:
    """A value times `scale`, its axes in the order `perm`, each head `repeats` times; `members`: the layers that do it."""

    value: str
    perm: tuple[int, ...] = (0, 1, 2, 3)
    scale: float = 1.0
    repeats: int | Expr = 1
    members: tuple[Layer, ...] = ()


class _Walk:
    """What stands around a value of a net."""

    def __init__(self, net: Net):
        self.net, self.makers, self.users, self.outputs = net, net.producer(), net.consumers(), set(net.outputs)

    def shape(self, value: str) -> Shape:
        """Sizes of a value or constant, as expressions where they are open; () where they are not known."""
        if value in self.net.constants:
            return tuple(self.net.constants[value].shape)
        spec = self.net.specs.get(value)
        return spec.dims if spec is not None else ()

    def only_user(self, value: str) -> Layer | None:
        """The layer that alone reads a value, once."""
        found = self.users.get(value, [])
        return found[0][0] if len(found) == 1 and value not in self.outputs else None

    def inner(self, value: str, kind: str = "") -> Layer | None:
        """The layer that makes a value for one other, without an epilogue."""
        layer = self.makers.get(value)
        inside = layer is not None and not layer.epilogue and len(layer.outputs) == 1 and self.only_user(value) is not None
        return layer if inside and layer is not None and kind in ("", layer.kind) else None

    def number(self, value: str) -> float | None:
        """A constant of one number."""
        array = self.net.constants.get(value)
        return float(array.reshape(())) if array is not None and array.size == 1 and array.dtype == np.float32 else None

    def scaled(self, layer: Layer) -> tuple[str, float] | None:
        """(value, factor) of a layer that multiplies or divides by one number, in the value's shape."""
        if layer.kind not in ("mul", "div"):
            return None
        for x, c in (layer.inputs[:2], layer.inputs[1::-1] if layer.kind == "mul" else layer.inputs[:2]):
            factor = self.number(c)
            if factor is not None and _same(self.shape(x), self.shape(layer.outputs[0])):
                factor = factor if layer.kind == "mul" else 1 / factor if factor else np.inf
                return (x, factor) if np.isfinite(factor) and factor else None
        return None

    def operand(self, value: str, allowed: dict[tuple[int, ...], int], scales: bool, repeats: bool) -> _Operand | None:
        """The value behind an operand as far back as it lies in one of the orders `allowed`; None where in none."""
        now = _Operand(value)
        found: _Operand | None = None
        while True:
            if now.perm in allowed and len(self.shape(now.value)) == 4:
                found = now
            layer = self.inner(now.value)
            step = self._back(layer, now, scales, repeats) if layer is not None else None
            if step is None:
                return found
            now = step

    def _back(self, layer: Layer, now: _Operand, scales: bool, repeats: bool) -> _Operand | None:
        """One step back through a layer; None where it does something else."""
        more = (layer, *now.members)
        if layer.kind == "transpose" and len(layer.attrs["perm"]) == 4:
            perm = tuple(layer.attrs["perm"])
            return replace(now, value=layer.inputs[0], perm=tuple(perm[a] for a in now.perm), members=more)
        by = self.scaled(layer) if scales else None
        if by is not None:
            return replace(now, value=by[0], scale=now.scale * by[1], members=more)
        if layer.kind != "reshape":
            return None
        new, before = self.shape(layer.outputs[0]), self.inner(layer.inputs[0])
        first = self.inner(before.inputs[0]) if before is not None else None
        if before is None or first is None or len(new) != 4:
            return None
        old, flat, wide = (self.shape(v) for v in (first.inputs[0], first.outputs[0], before.outputs[0]))
        if len(old) != 4:
            return None
        batch, heads, rows, columns = old
        if before.kind == "transpose" and tuple(before.attrs["perm"]) == (0, 2, 1) and first.kind == "reshape" and \
                _same(flat, (batch * heads, rows, columns)) and _same(new, (batch, heads, columns, rows)):
            perm = tuple((0, 1, 3, 2)[a] for a in now.perm)
            return replace(now, value=first.inputs[0], perm=perm, members=(first, before, *more))
        if repeats and now.repeats == 1 and before.kind == "expand" and first.kind in ("unsqueeze", "reshape") and \
                len(wide) == 5 and isinstance(wide[2], int) and _same(flat, (batch, heads, 1, rows, columns)) and \
                _same(wide, (batch, heads, wide[2], rows, columns)) and _same(new, (batch, heads * wide[2], rows, columns)):
            return replace(now, value=first.inputs[0], repeats=wide[2], members=(first, before, *more))
        return None


def find(net: Net) -> Iterator[Region]:
    """Every softmax of rows between two products, with the transposes, factors and the mask that belong to it."""
    walk = _Walk(net)
    for softmax in net.layers:
        if softmax.kind == "softmax" and not softmax.epilogue:
            region = _region(walk, softmax)
            if region is not None:
                yield region


def _region(walk: _Walk, softmax: Layer) -> Region | None:
    scores = walk.shape(softmax.inputs[0])
    if len(scores) != 4 or kind_of("softmax").complete(softmax.attrs)["axis"] not in (-1, 3):
        return None
    spec = walk.net.specs.get(softmax.inputs[0])
    guarded = _guarded(walk, softmax)
    last = walk.only_user(guarded[-1].outputs[0] if guarded else softmax.outputs[0])
    if spec is None or spec.dtype != "f32" or last is None or last.kind != "matmul" or last.epilogue or \
            last.inputs[0] != (guarded[-1] if guarded else softmax).outputs[0]:
        return None
    before = _scores(walk, softmax.inputs[0])
    if before is None:
        return None
    product, between, scale, mask = before
    operands = _operands(walk, product, last, scores)
    if operands is None:
        return None
    q, k, v = operands
    y = walk.shape(last.outputs[0])
    if not _same(y, (*scores[:3], walk.shape(last.inputs[1])[3])):
        return None
    behind = walk.only_user(last.outputs[0])
    swap = behind is not None and behind.kind == "transpose" and not behind.epilogue and \
        tuple(behind.attrs["perm"]) == (0, 2, 1, 3)
    members = [*q.members, *k.members, *v.members, product, *between, softmax, *guarded, last]
    if swap and behind is not None:
        members.append(behind)
    place = {layer.name: i for i, layer in enumerate(walk.net.layers)}
    members.sort(key=lambda layer: place[layer.name])
    attrs: dict[str, Any] = {"scale": scale * q.scale * k.scale, "guard": "nan" if guarded else "none", "padded": 0,
             "inside": (_ROWS[q.perm], _TRANSPOSED[k.perm], _ROWS[v.perm], int(swap))}
    if mask and _is_causal(walk, mask, scores):
        mask, attrs["causal"] = "", 1
    inputs = (q.value, k.value, v.value, *([mask] if mask else []))
    return Region(tuple(m.name for m in members),
                  Layer(region_name(members), "attention", inputs, members[-1].outputs, attrs), usual=True)


def _guarded(walk: _Walk, softmax: Layer) -> tuple[Layer, ...]:
    """The layers that put 0 in the place of NaN behind a softmax."""
    value = softmax.outputs[0]
    users = [layer for layer, _ in walk.users.get(value, [])]
    tests = [layer for layer in users if layer.kind == "is_nan"]
    chosen = [layer for layer in users if layer.kind == "where" and not layer.epilogue]
    if len(users) == 2 and len(tests) == len(chosen) == 1 and value not in walk.outputs:
        test, where = tests[0], chosen[0]
        if walk.only_user(test.outputs[0]) is where and where.inputs[0] == test.outputs[0] and where.inputs[2] == value and \
                walk.number(where.inputs[1]) == 0:
            return test, where
    return ()


def _scores(walk: _Walk, value: str) -> tuple[Layer, list[Layer], float, str] | None:
    """(product, layers behind it, factor, mask) of scores: a product, times a number, plus a mask."""
    scores, mask = walk.shape(value), ""
    between: list[Layer] = []
    layer = walk.makers.get(value)
    if layer is None or walk.only_user(value) is None:
        return None
    if layer.kind == "add" and not layer.epilogue:
        for x, m in (layer.inputs[:2], layer.inputs[1::-1]):
            shape = walk.shape(m)
            if _same(walk.shape(x), scores) and shape and one_or_equal(shape[-1], scores[3]) and walk.inner(x) and \
                    _is_f32(walk, m) and _leads_to_product(walk, x):
                value, mask = x, m
                between.append(layer)
                break
        else:
            return None
    elif layer.kind == "where" and not layer.epilogue and walk.number(layer.inputs[2]) == -np.inf:
        shape = walk.shape(layer.inputs[0])
        if not _same(walk.shape(layer.inputs[1]), scores) or not shape or not one_or_equal(shape[-1], scores[3]) or \
                layer.inputs[0] in walk.net.constants or walk.net.specs[layer.inputs[0]].dtype != "bool":
            return None
        value, mask = layer.inputs[1], layer.inputs[0]
        between.append(layer)
    layer, scale = walk.makers.get(value), 1.0
    while layer is not None and walk.only_user(value) is not None and not layer.epilogue:
        by = walk.scaled(layer)
        if by is None:
            break
        between.append(layer)
        value, scale = by[0], scale * by[1]
        layer = walk.makers.get(value)
    if layer is None or layer.kind != "matmul" or walk.only_user(value) is None or layer.epilogue.act:
        return None
    if layer.epilogue.add:
        if mask or scale != 1 or not _same(walk.shape(layer.inputs[-1]), scores):
            return None
        mask = layer.inputs[-1]
    return layer, between, scale, mask


def _same(a: Shape, b: Shape) -> bool:
    """Whether two shapes are known to be equal."""
    return len(a) == len(b) and all(map(surely_equal, a, b))


def _leads_to_product(walk: _Walk, value: str) -> bool:
    layer = walk.makers.get(value)
    while layer is not None and (by := walk.scaled(layer)) is not None:
        layer = walk.makers.get(by[0])
    return layer is not None and layer.kind == "matmul"


def _is_f32(walk: _Walk, value: str) -> bool:
    if value in walk.net.constants:
        return walk.net.constants[value].dtype == np.float32
    return value in walk.net.specs and walk.net.specs[value].dtype == "f32"


def _operands(walk: _Walk, product: Layer, last: Layer, scores: Shape) -> tuple[_Operand, _Operand, _Operand] | None:
    """Queries, keys and values in orders that the layer takes; keys and values have as many heads as each other."""
    if product.inputs[0] == product.inputs[1] or any(len(walk.shape(x)) != 4 for x in (*product.inputs[:2], last.inputs[1])):
        return None
    if not all(_same(walk.shape(x)[:2], scores[:2]) for x in (*product.inputs[:2], last.inputs[1])):
        return None
    q = walk.operand(product.inputs[0], _ROWS, True, False)
    for repeats in (True, False):
        k = walk.operand(product.inputs[1], _TRANSPOSED, True, repeats)
        v = walk.operand(last.inputs[1], _ROWS, False, repeats)
        if q is None or k is None or v is None:
            return None
        if k.repeats == v.repeats and not any(x.value in walk.net.constants for x in (q, k, v)):
            return q, k, v
    return None


def _is_causal(walk: _Walk, mask: str, scores: Shape) -> bool:
    """Whether a constant mask takes out the keys behind each query, and changes nothing else."""
    array, (queries, keys) = walk.net.constants.get(mask), scores[2:]
    if array is None or not (isinstance(queries, int) and isinstance(keys, int)) or array.size != queries * keys or \
            array.dtype != np.float32:
        return False
    seen = np.tri(queries, keys, dtype=bool)
    square = array.reshape(queries, keys)
    return bool((square[seen] == 0).all() and (square[~seen] <= _NEVER).all())
