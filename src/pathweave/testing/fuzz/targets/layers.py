"""Layers of every kind with hostile sizes and attributes: shape inference, candidates, a plan, a run; and texts of problems."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import ModelError
from ....files import spec
from ....layers import infer_layer, kind_of, kinds
from ....net.format import itemsize, numpy_dtype
from ....net.net import Epilogue, Layer, Model, Net, TensorSpec
from ....net.problem import Problem
from ....net.size import product
from ....runtime import catalogue
from ....runtime.model import LoadedModel
from ....runtime.native import native
from ... import Case, cases, fill
from ...edges import hostile, hostile_text
from .. import mutate, use
from ..target import JsonTarget

#: Bytes that the constants of a case may have.
MOST_BYTES = 16 << 20


class Layers(JsonTarget):
    """A case: `kind`, `attrs`, `inputs` ([dtype, dimensions] or null), `constant`, `epilogue`, `values`; or `problem`."""

    name = "layers"
    weight = 4

    def prepare(self, folder: Path) -> None:
        # layers with nets inside are drawn by `operators`, and lie in files of `pw_spec`
        self.kinds = [k for k in sorted(kinds()) if cases(k) and not kind_of(k).nested]

    def make(self, rng: np.random.Generator) -> bytes:
        known = cases(mutate.pick(rng, self.kinds))
        case = mutate.pick(rng, known)
        if not rng.integers(6):
            return mutate.dump({"problem": hostile_text(case.problem().text, rng)})
        if rng.integers(4):
            case = hostile(case, rng)
        if not rng.integers(4):
            dtype = mutate.pick(rng, ("f64", "f16", "i64", "u8", "bool", "i8"))
            case = replace(case, inputs=tuple(s and TensorSpec(dtype, s.shape) for s in case.inputs))
        return written(case)

    def run(self, data: bytes, folder: Path) -> None:
        read = spec.from_plain(spec.parse_json(data.decode("utf-8", "replace"), "case"), "case")
        if not isinstance(read, dict):
            raise ModelError("no case")
        if "problem" in read:
            if not isinstance(read["problem"], str):
                raise ModelError("no text of a problem")
            try:
                native().candidates(read["problem"])
            except ValueError as e:  # the native core's own; the catalogue, which users reach, has typed ones
                raise ModelError(str(e)) from e
            return
        layer, inputs, constant = _layer(read)
        outputs = infer_layer(layer, inputs)
        attrs = kind_of(layer.kind).complete(layer.attrs)
        for threads in (1, 3):
            problem = Problem.make(layer.kind, inputs, constant, outputs, attrs, layer.epilogue, threads)
            catalogue.candidates(problem, accuracy="reduced", include_reference=True)
        if sum(product(s.sizes) * itemsize(s.dtype) for s, c in zip(inputs, constant) if s is not None and c) > MOST_BYTES:
            return
        net = _net(layer, inputs, constant, len(outputs), [*(read.get("values") or ()), *[""] * len(inputs)])
        use.use(LoadedModel(Model({"main": net}), threads=use.number_of_threads(data)), folder)


def written(case: Case) -> bytes:
    """A case as JSON."""
    return mutate.dump({"kind": case.kind, "attrs": spec.to_plain(dict(case.attrs), "attrs"),
                        "inputs": [s and [s.dtype, list(s.shape)] for s in case.inputs], "constant": list(case.constant),
                        "epilogue": str(case.epilogue), "values": list(case.values)})


def _layer(read: dict[str, Any]) -> tuple[Layer, list[TensorSpec | None], list[bool]]:
    """The layer of a case, its inputs and which of them are constants. Raises ModelError where there is none in it."""
    try:
        inputs = [s and TensorSpec(s[0], tuple(s[1])) for s in read["inputs"]]
        if any(s and (not all(type(d) is int for d in s.shape) or numpy_dtype(s.dtype) == "") for s in inputs):
            raise ValueError("dimensions")
        attrs = {k: tuple(v) if isinstance(v, list) else v for k, v in read["attrs"].items()}
        names = tuple(f"in{i}" if s else "" for i, s in enumerate(inputs))
        kind_of(read["kind"])
        for k, v in attrs.items():
            spec.check_attr(v, kind_of(read["kind"]).complete(attrs)[k], k)
        return Layer("layer", read["kind"], names, (), attrs, Epilogue.parse(read["epilogue"])), inputs, \
            [bool(c) for c in read["constant"]] + [False] * (len(inputs) - len(read["constant"]))
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        raise ModelError(f"no layer: {e}") from e


def _net(layer: Layer, inputs: list, constant: list[bool], outputs: int, values: list[str]) -> Net:
    layer = layer.with_(outputs=tuple(f"out{i}" for i in range(outputs)))
    rng = np.random.default_rng(0)
    constants = {n: fill(s, values[i], rng) if values[i] else np.zeros(s.shape, numpy_dtype(s.dtype))
                 for i, (n, s, c) in enumerate(zip(layer.inputs, inputs, constant)) if n and c}
    given = {n: s for n, s in zip(layer.inputs, inputs) if n and n not in constants}
    return Net(given, list(layer.outputs), [layer], constants)
