"""The exporters that write a net of the suite: `l`, torch's older one, which traces; `d`, the one by torch.export."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from recipe import Recipe


def _older(module: Any, inputs: Mapping[str, Any], recipe: Recipe, path: Path) -> None:
    torch.backends.mha.set_fastpath_enabled(False)  # an operator of its own, which this exporter refuses
    torch.onnx.export(module, tuple(inputs.values()), str(path), dynamo=False, opset_version=17, input_names=list(inputs),
                      dynamic_axes={n: dict(a) for n, a in recipe.axes.items()}, do_constant_folding=True)


def _newer(module: Any, inputs: Mapping[str, Any], recipe: Recipe, path: Path) -> None:
    names = {n for axes in recipe.axes.values() for n in axes.values()}
    dims = {n: torch.export.Dim.DYNAMIC for n in names}
    given = [{a: dims[n] for a, n in recipe.axes.get(name, {}).items()} or None for name in inputs]
    parameters = list(inspect.signature(module.forward).parameters.values())
    if parameters[-1].kind is inspect.Parameter.VAR_POSITIONAL:
        named = len(parameters) - 1
        shapes: Any = {**{p.name: g for p, g in zip(parameters, given[:named])}, parameters[-1].name: tuple(given[named:])}
    else:
        shapes = tuple(given)
    program = torch.onnx.export(module, tuple(inputs.values()), dynamo=True, dynamic_shapes=shapes, input_names=list(inputs),
                                verbose=False)
    program.save(str(path), external_data=False)


EXPORTERS: dict[str, Callable[..., None]] = {"l": _older, "d": _newer}
