"""Winograd's variant of Strassen's product, as native/products/strassen.h has it: seven products of halves per level.

Sums of the second operand are made once where it is constant.
"""

from __future__ import annotations

from ...layers import kind_of
from ...net.net import Layer, Net
from ...net.variant import Variant
from .. import work

#: Columns are halved in whole tiles.
TILE = 16
#: Quadrants of the second operand that each of the seven products adds up.
QUADRANTS = (1, 1, 1, 4, 2, 3, 2)


def operations(net: Net, layer: Layer, algorithm: str, variant: str) -> int | None:
    level = Variant.parse(variant).level if algorithm == "strassen" else None
    if level is None:
        return None
    kind, y = kind_of(layer.kind), net.specs[layer.outputs[0]]
    columns = y.sizes[1 if layer.kind == "conv2" else -1]
    rows, depth = y.elements // columns, kind.terms(kind.complete(layer.attrs), [net.specs[v] for v in layer.inputs[:2]])
    own = _product(rows, depth, columns, level, 0 if layer.inputs[1] in net.constants else 1)
    return work.operations(net, layer) - 2 * rows * depth * columns + own


def _product(rows: int, depth: int, columns: int, level: int, terms: int) -> int:
    """Operations of a product whose second operand is the sum of `terms` parts; 0 terms: it was added up before."""
    if level == 0:
        return 2 * rows * depth * columns + max(0, terms - 1) * depth * columns
    m1, k1, n1 = -(-rows // 2), -(-depth // 2), min(columns, -(-columns // (2 * TILE)) * TILE)
    m2, k2, n2 = rows - m1, depth - k1, columns - n1
    parts = ((m1, k1, n1), (m1, k2, n1), (m1, k2, n2), (m2, k2, n1), (m2, k1, n2), (m1, k1, n1), (m2, k1, n1))
    left = m1 * (4 * k2 + 2 * (k1 - k2))  # S1 to S4; where a half of the depth is shorter two of them are copies
    results = 2 * m1 * n1 + 2 * m2 * n1 + m1 * n2 + 2 * m2 * n2
    return left + results + sum(_product(*part, level - 1, terms * q) for part, q in zip(parts, QUADRANTS))
