"""Einsum, taken apart: diagonals, sums over one operand, then operands are multiplied one after the other.

A product of two operands is `matmul` where an axis is summed, with the axes that both keep as its batch, and `mul` where
none is. Sizes may be open: what is merged into one axis is computed where it is not known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..node import Node

#: An axis: a letter, or ("...", k), the k-th from the right of those that an ellipsis stands for.
Label = object


@dataclass
class Operand:
    """A value with a label per axis."""

    value: str
    labels: list[Label]


def _split(equation: str, operands: int) -> tuple[list[str], str | None]:
    text = "".join(equation.split())
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    for term in (*terms, right):
        letters = term.replace("...", "", 1)
        if not all(c.isascii() and c.isalpha() for c in letters):
            raise ValueError(f"equation {equation!r}: the term {term!r} has more than letters and one ellipsis")
    if len(terms) != operands:
        raise ValueError(f"equation {equation!r} has {len(terms)} terms for {operands} inputs")
    return terms, right if arrow else None


def _labels(term: str, rank: int) -> list[Label]:
    before, dots, behind = term.partition("...")
    covered = rank - len(before) - len(behind)
    if covered < 0 or not dots and covered:
        raise ValueError(f"the term {term!r} stands for an input of rank {rank}")
    return [*before, *(("...", k) for k in reversed(range(covered))), *behind]


def _output(right: str | None, inputs: list[list[Label]]) -> list[Label]:
    dots = sorted({v for labels in inputs for v in labels if isinstance(v, tuple)}, key=lambda v: -v[1])
    counts = Counter(v for labels in inputs for v in labels if isinstance(v, str))
    if right is None:
        return [*dots, *sorted(v for v, times in counts.items() if times == 1)]
    before, ellipsis, behind = right.partition("...")
    if len(set(before + behind)) != len(before + behind) or not set(before + behind) <= counts.keys():
        raise ValueError(f"the output {right!r} repeats a letter, or has one that no input has")
    return [*before, *(dots if ellipsis else []), *behind]


class Contraction:
    """The layers of one node."""

    def __init__(self, n: Node):
        self.n = n

    def transposed(self, x: Operand, labels: Sequence[Label]) -> Operand:
        """The operand with its axes in this order."""
        perm = tuple(x.labels.index(v) for v in labels)
        value = x.value if perm == tuple(range(len(perm))) else self.n.emit("transpose", [x.value], {"perm": perm})
        return Operand(value, list(labels))

    def summed(self, x: Operand, labels: Sequence[Label]) -> Operand:
        """The operand summed over these axes."""
        if not labels:
            return x
        axes = tuple(x.labels.index(v) for v in labels)
        value = self.n.emit("reduce", [x.value], {"op": "sum", "axes": axes, "keepdims": 0})
        return Operand(value, [v for v in x.labels if v not in labels])

    def diagonal(self, x: Operand) -> Operand:
        """The operand with every label once: of axes that share one, the elements at equal places."""
        n = self.n
        while repeated := next((v for v, times in Counter(x.labels).items() if times > 1), None):
            first, second = [i for i, v in enumerate(x.labels) if v == repeated][:2]
            rest = [i for i in range(len(x.labels)) if i not in (first, second)]
            labels = [*(x.labels[i] for i in rest), repeated]
            value = n.emit("transpose", [x.value], {"perm": (*rest, first, second)})
            known = [d for d in ((n.shape(x.value) or [None] * len(x.labels))[i] for i in (first, second)) if d is not None]
            if len(set(known)) > 1:
                raise ValueError(f"an input has sizes {known} along the axes {repeated!r}")
            if known and known[0] > 0:
                value = n.emit("reshape", [value], {"shape": (*[0] * len(rest), known[0] ** 2)})
                value = n.emit("slice", [value], {"starts": (0,), "ends": (known[0] ** 2,), "axes": (len(rest),),
                                                  "steps": (known[0] + 1,)})
            else:
                value = self._masked(value, len(rest))
            x = Operand(value, labels)
        return x

    def _masked(self, value: str, rank: int) -> str:
        """The diagonal of the last two axes where their size is not known: all but it as zeros, summed."""
        n = self.n
        sizes = [n.emit("gather", [n.emit("shape", [value]), n.constant(rank + i)], {"axis": 0}) for i in (0, 1)]
        rows, columns = (n.emit("range", [n.constant(0), size, n.constant(1)]) for size in sizes)
        mask = n.emit("equal", [n.emit("unsqueeze", [rows], {"axes": (1,)}), columns])
        kept = n.emit("where", [mask, value, n.number(0, value)])
        return n.emit("reduce", [kept], {"op": "sum", "axes": (rank + 1,), "keepdims": 0})

    def sizes(self, x: Operand, labels: Sequence[Label]) -> list[int | None]:
        """Sizes of axes, None for those that are not known."""
        shape = self.n.shape(x.value) or (None,) * len(x.labels)
        return [shape[x.labels.index(v)] for v in labels]

    def merged(self, x: Operand, groups: Sequence[Sequence[Label]]) -> str:
        """The value with each group of neighbouring axes as one; the groups are all its axes, in order."""
        if all(len(g) == 1 for g in groups):
            return x.value
        return self._reshaped(x.value, [(x, g) for g in groups])

    def _reshaped(self, value: str, parts: Sequence[tuple[Operand, Sequence[Label]]]) -> str:
        """A value in the shape that has for each part the product of the sizes of an operand's axes."""
        n = self.n
        known = [self.sizes(x, labels) for x, labels in parts]
        numbers = [None if None in sizes else math.prod(d for d in sizes if d is not None) for sizes in known]
        if numbers.count(None) == 0:
            return n.emit("reshape", [value], {"shape": tuple(numbers), "allowzero": 1})
        pieces = []
        for (x, labels), number in zip(parts, numbers):
            if number is not None:
                pieces.append(n.constant([number]))
                continue
            axes = n.constant([x.labels.index(v) for v in labels])
            of = n.emit("gather", [n.emit("shape", [x.value]), axes], {"axis": 0})
            pieces.append(of if len(labels) == 1 else n.emit("reduce", [of], {"op": "prod", "axes": (0,), "keepdims": 1}))
        shape = n.emit("concat", pieces, {"axis": 0}) if len(pieces) > 1 else pieces[0]
        return n.emit("reshape", [value, shape], {"allowzero": 1})

    def product(self, a: Operand, b: Operand, needed: set[Label]) -> Operand:
        """Both multiplied, summed over what both have and nobody else needs."""
        both = [v for v in a.labels if v in b.labels]
        batch, inner = [v for v in both if v in needed], [v for v in both if v not in needed]
        left, right = ([v for v in x.labels if v not in both] for x in (a, b))
        if not inner:
            return self._scaled(a, b, batch, left, right)
        a, b = self.transposed(a, [*batch, *left, *inner]), self.transposed(b, [*batch, *inner, *right])
        if not batch:
            # The rows of b's product may be any number of axes.
            rows, columns = self.merged(a, [*([v] for v in left), inner]), self.merged(b, [inner, *([right] if right else [])])
            value = self.n.emit("matmul", [rows, columns])
            if len(right) > 1:
                value = self._reshaped(value, [*((a, [v]) for v in left), *((b, [v]) for v in right)])
            return Operand(value, [*left, *right])
        rows = self.merged(a, [*([v] for v in batch), left, inner])
        columns = self.merged(b, [*([v] for v in batch), inner, right])
        value = self.n.emit("matmul", [rows, columns])
        if len(left) != 1 or len(right) != 1:
            axes = len(batch)
            # A batch axis of one of the two may have length 1: that of the product is kept.
            product = Operand(value, [*batch, "rows", "columns"])
            value = self._reshaped(value, [*((product, [v]) for v in batch), *((a, [v]) for v in left),
                                           *((b, [v]) for v in right)]) if axes else value
        return Operand(value, [*batch, *left, *right])

    def _scaled(self, a: Operand, b: Operand, batch: list[Label], left: list[Label], right: list[Label]) -> Operand:
        a, b = self.transposed(a, [*batch, *left]), self.transposed(b, [*batch, *right])
        value = a.value
        if right and left:
            axes = tuple(range(len(batch) + len(left), len(batch) + len(left) + len(right)))
            value = self.n.emit("unsqueeze", [value], {"axes": axes})
        other = b.value
        if left and b.labels and batch:
            other = self.n.emit("unsqueeze", [other], {"axes": tuple(range(len(batch), len(batch) + len(left)))})
        if right and not left and batch:
            value = self.n.emit("unsqueeze", [value], {"axes": tuple(range(len(batch), len(batch) + len(right)))})
        return Operand(self.n.emit("mul", [value, other]), [*batch, *left, *right])


def einsum(n: Node) -> None:
    """Any equation: ellipses, repeated letters, with and without an output."""
    values = n.inputs
    n.required(max(1, len(values)))
    terms, right = _split(n.text("equation"), len(values))
    operands = [Operand(v, _labels(term, n.rank(v))) for v, term in zip(values, terms)]
    output = _output(right, [x.labels for x in operands])
    work = Contraction(n)
    operands = [work.diagonal(x) for x in operands]
    for i, x in enumerate(operands):
        elsewhere = {v for j, y in enumerate(operands) if j != i for v in y.labels} | set(output)
        operands[i] = work.summed(x, [v for v in x.labels if v not in elsewhere])
    while len(operands) > 1:
        a, b, *rest = operands
        operands = [work.product(a, b, {v for y in rest for v in y.labels} | set(output)), *rest]
    (result,) = operands
    perm = tuple(result.labels.index(v) for v in output)
    if perm == tuple(range(len(perm))):
        return n.alias(result.value)
    n.emit("transpose", [result.value], {"perm": perm}, last=True)


OPERATORS = {"Einsum": einsum}
