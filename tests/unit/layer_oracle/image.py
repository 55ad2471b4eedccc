"""Image pipelines."""

from __future__ import annotations

OPERATORS = {
    "permute": lambda g, case, a, names: g.node("Transpose", names, perm=a["order"] or a["perm"]),
    "sink": lambda g, case, a, names: g.node("Identity", names),
}
ELSEWHERE = {"source": "test_layers_image.py"}
