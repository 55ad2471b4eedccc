"""What lies inside layers: the nets that are their attributes, as rows of a table and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import Error
from ..layers import MEANING_ERRORS, kind_of
from ..layers.blocks import closed, follow_block
from ..layers.contents import resolve_open
from ..net.block import Block
from ..net.net import Layer, TensorSpec
from .work import inner_parameters

#: How far the layers of a block stand to the right of the layer around them.
INDENT = "    "


_Specs = Sequence[TensorSpec | None] | None


def blocks(layer: Layer, specs: _Specs, sized: _Specs = None) -> dict[str, Any]:
    """The blocks of a layer as JSON: attribute -> digest, inputs, outputs and layers, each with its own blocks.

    `specs`: of the layer's inputs; None where they are not known, which leaves specs out. `sized`: the same at sizes for which
    operations are counted, by default those.
    """
    if not layer.blocks:
        return {}
    shown, counted = _given(layer, specs), _given(layer, sized if sized is not None else specs)
    return {name: _block(block, shown.get(name), counted.get(name)) for name, block in layer.blocks.items()}


def _given(layer: Layer, specs: _Specs) -> dict[str, list[TensorSpec]]:
    kind: Any = kind_of(layer.kind)
    try:
        return kind.inside(kind.complete(layer.attrs), list(specs)) if specs is not None else {}
    except (Error, *MEANING_ERRORS):
        return {}


def _followed(block: Block, given: Sequence[TensorSpec] | None) -> dict[str, TensorSpec]:
    try:
        return follow_block(block, given) if given is not None else {}
    except (Error, *MEANING_ERRORS):
        return {}


def _block(block: Block, given: Sequence[TensorSpec] | None, sized: Sequence[TensorSpec] | None) -> dict[str, Any]:
    found, at = _followed(block, given), _followed(block, sized)
    net = block.net

    def shown(value: str) -> str:
        return str(found[value]) if value in found else "?"
    rows = []
    for i, layer in enumerate(net.layers):
        specs, there = ([d.get(v) if v else None for v in layer.inputs] if d else None for d in (found, at))
        row = {"index": i, "layer": layer.name, "kind": layer.kind,
               "inputs": [shown(v) for _, v in net.dynamic_inputs(layer)], "outputs": [shown(v) for v in layer.outputs],
               "epilogue": str(layer.epilogue), "operations": _operations(block, layer, at)}
        inner = blocks(layer, specs, there)
        rows.append({**row, "blocks": inner} if inner else row)
    return {"digest": block.text, "inputs": {v: shown(v) for v in net.inputs}, "outputs": [shown(v) for v in net.outputs],
            "parameters": inner_parameters(block), "layers": rows}


def _operations(block: Block, layer: Layer, found: dict[str, TensorSpec]) -> int | None:
    """Operations of a layer in one run of its block, open sizes at the least that they may be; None where not known."""
    try:
        resolved = resolve_open(layer, found, block.net.constants)
        kind = kind_of(layer.kind)
        return int(kind.operations(kind.complete(resolved.attrs), [closed(found[v]) if v else None for v in resolved.inputs],
                                   [closed(found[v]) for v in layer.outputs]))
    except (Error, *MEANING_ERRORS):
        return None


def with_inner_rows(rows: Sequence[dict[str, Any]], indent: str = "") -> Iterator[dict[str, Any]]:
    """Rows of a table with those of the blocks below the layer that has them, indented."""
    for row in rows:
        yield {**row, "layer": indent + row["layer"], "index": row["index"] if not indent else ""}
        for name, block in row.get("blocks", {}).items():
            yield {"index": "", "layer": f"{indent}  {name}:", "kind": block["digest"],
                   "inputs": list(block["inputs"].values()), "outputs": block["outputs"], "epilogue": "",
                   "parameters": block["parameters"], "operations": None}
            yield from with_inner_rows([{"parameters": None, **r} for r in block["layers"]], indent + INDENT)
