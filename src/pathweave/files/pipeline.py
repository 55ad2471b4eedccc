"""Preprocess and postprocess nets from JSON: lists of layer objects, in the order in which they run.

    {"preprocess":  [{"type": "source", "shape": [1, 3, 224, 224], "format": "rgb", "resize_mode": "bilinear",
                      "keep_ar": true, "padding_color": [0, 0, 0]},
                     {"type": "madd", "scale": [0.017, 0.018, 0.017], "shift": [-2.1, -2.0, -1.8]},
                     {"type": "sink", "name": "x"}],
     "postprocess": [{"type": "softmax", "axis": -1}, {"type": "topk", "k": 5, "labels": "labels.txt"}]}

`type` is a layer kind with one input; the other fields are its attributes. `madd` takes `scale` and `shift` (one
number, or one per channel). Each `source` begins a chain that a `sink` ends, named after the main net's input that it
feeds. A postprocess entry may begin a chain with `"input": NAME`, an output of the main net; without it the only
output is meant. `labels` of a `topk` or `argmax` (a list, or a text file with one per line) go to `meta["labels"]`.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Mapping

from ..errors import Error, InputError, ModelError
from ..meaning.open_shapes import OpenShapes, named
from ..net.dim import as_dim
from ..net.floats import HALVES
from ..net.net import Layer, Model, Net, TensorSpec
from . import spec

_KEYS = ("preprocess", "postprocess")
_LABELLED = ("topk", "argmax")
_NAMED = {"topk": ("values", "indices")}


def attach(model: Model, data: Any, folder: str | os.PathLike = ".") -> Model:
    """A model with the nets of `data` (parsed JSON, see above) in front of and behind its main net.

    `folder`: where label files lie. Raises ModelError naming the entry and the field.
    """
    nets, meta = {**model.nets}, {**model.meta}
    inputs = None
    if _entries(data, "preprocess"):
        nets["preprocess"] = preprocess_from_json(data, model.main)
        inputs = _specs(nets["preprocess"], _image_inputs(nets["preprocess"]))
    if _entries(data, "postprocess"):
        outputs = output_specs(model.main, {v: inputs[v] for v in model.main.inputs} if inputs else None)
        nets["postprocess"] = postprocess_from_json(data, model.main, outputs)
        labels = labels_from_json(data, folder)
        if labels is not None:
            _check_labels(data, nets["postprocess"], outputs, labels)
            meta["labels"] = labels
    return Model(nets, meta, dict(model.routes), dict(model.quantisation), layouts=dict(model.layouts),
                 states=dict(model.states))


def read_json(path: str | os.PathLike) -> Any:
    """Parse a pipeline file. Raises ModelError for text that is not JSON, InputError when it cannot be read."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as e:
        raise ModelError(f"{path}: expected JSON in UTF-8, got {e}; save it as UTF-8") from None
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: cannot be read ({getattr(e, 'strerror', None) or e}); check the path") from e
    try:
        return spec.parse_json(text, str(path))
    except ModelError as e:
        raise ModelError(f"{_reason(e)}; correct the file") from None


def preprocess_from_json(data: Any, main_net: Net) -> Net:
    """The net that turns images into the main net's inputs, in their order.

    `data`: the whole JSON object, or its list. Inputs of the net: uint8 [H,W,3] per source, named `image` (or
    `image_NAME` for the sink NAME where there are several). Raises ModelError naming the entry and the field.
    """
    chains = _chains(_entries(data, "preprocess"), main_net)
    net = Net({}, [], [], {})
    for sink, chain in chains.items():
        suffix = f"_{sink}" if len(chains) > 1 else ""
        image = _free(f"image{suffix}", set(main_net.inputs))
        net.inputs[image] = TensorSpec("u8", (f"H{suffix}", f"W{suffix}", 3))
        value, at = image, TensorSpec("u8", (8, 8, 3))
        for i, entry in chain:
            where = f"preprocess[{i}] ({entry['type']})"
            outputs = (sink,) if entry["type"] == "sink" else (f"preprocess.{i}",)
            value, at = _append(net, where, f"preprocess.{entry['type']}.{i}", entry, value, at, outputs)
        _check_fit(f"preprocess[{chain[-1][0]}] (sink), name", sink, at, main_net.inputs[sink])
    missing = [v for v in main_net.inputs if v not in chains]
    if missing:
        raise ModelError(f"preprocess: expected a sink for each input of the main net, got none for "
                         f"{', '.join(missing)}; add one for each")
    _check_symbols(main_net, {v: s.shape for v, s in _specs(net, _image_inputs(net)).items()})
    net.outputs = list(main_net.inputs)
    net.check()
    return net


def postprocess_from_json(data: Any, main_net: Net, outputs: Mapping[str, TensorSpec] | None = None) -> Net:
    """The net that turns the main net's outputs into results; outputs that no chain begins with pass through.

    `data`: the whole JSON object, or its list. `outputs`: specs of the main net's outputs (default:
    `output_specs(main_net)`). Raises ModelError naming the entry and the field.
    """
    outputs = dict(outputs or output_specs(main_net))
    entries = _entries(data, "postprocess")
    net = Net({v: outputs[v] for v in main_net.outputs}, [], [], {})
    starts = [i for i, e in enumerate(entries) if "input" in e or i == 0]
    taken = {v: [v] for v in main_net.outputs}
    used: set[str] = set(main_net.outputs)
    for start, end in zip(starts, [*starts[1:], len(entries)]):
        begin = _chain_input(f"postprocess[{start}] ({entries[start]['type']})", entries[start], main_net)
        if taken[begin] != [begin]:
            raise ModelError(f"postprocess[{start}], field input: expected each output once, got {begin!r} twice; "
                             f"put its layers into one chain")
        value, at = begin, outputs[begin]
        if at.dtype in HALVES:  # the main net's border rounded it; results are computed in f32
            attrs = {"dtype": "f32", **({"source": "bf16"} if at.dtype == "bf16" else {})}
            value, at = _free(f"{begin}:f32", {*main_net.outputs}), TensorSpec("f32", at.shape)
            net.layers.append(Layer(f"{begin}:cast", "cast", (begin,), (value,), attrs))
        for i in range(start, end):
            entry = {k: v for k, v in entries[i].items() if k not in ("input", "labels")}
            where = f"postprocess[{i}] ({entry['type']})"
            if "labels" in entries[i] and entry["type"] not in _LABELLED:
                raise ModelError(f"{where}, field labels: expected only with {' or '.join(_LABELLED)}; move it there")
            if i + 1 < end and entry["type"] in _NAMED:
                raise ModelError(f"{where}: expected as the last of its chain, got {entries[i + 1]['type']} after it; "
                                 f"put that before it")
            names = _result_names(entry, i, i + 1 == end, begin if len(starts) > 1 else "", used)
            value, at = _append(net, where, f"postprocess.{entry['type']}.{i}", entry, value, at, names)
        taken[begin] = list(names)
    net.outputs = [v for begin in main_net.outputs for v in taken[begin]]
    net.check()
    return net


def labels_from_json(data: Any, folder: str | os.PathLike = ".") -> list[str] | None:
    """The labels that a postprocess list names, read from their file where they are one; None without any."""
    for i, entry in enumerate(_entries(data, "postprocess")):
        if "labels" not in entry:
            continue
        where = f"postprocess[{i}] ({entry['type']}), field labels"
        labels = entry["labels"]
        if isinstance(labels, str):
            path = Path(folder, labels)
            try:
                labels = path.read_text(encoding="utf-8").splitlines()
            except (OSError, ValueError) as e:
                raise ModelError(f"{where}: {path} cannot be read ({getattr(e, 'strerror', None) or e}); "
                                 f"expected a UTF-8 text file with one label per line") from e
        if not isinstance(labels, list) or not labels or not all(isinstance(x, str) for x in labels):
            raise ModelError(f"{where}: expected a list of words or the name of a text file, got {_cut(labels)}; "
                             f"give one label per class")
        return labels
    return None


def output_specs(main_net: Net, inputs: Mapping[str, TensorSpec] | None = None) -> dict[str, TensorSpec]:
    """Specs of a net's outputs, for given input specs where its own hold symbols.

    A dimension that follows a symbol of the inputs keeps its name, one that changes in another way gets a name of its own.
    Raises ModelError when shapes cannot be inferred.
    """
    inputs = dict(inputs or main_net.inputs)
    if all(s.bound for s in inputs.values()):
        found = _specs(main_net, inputs)
        return {v: found[v] for v in main_net.outputs}
    shapes = OpenShapes(inputs)
    for name, array in main_net.constants.items():
        shapes.constant(name, array)
    for layer in main_net.layers:
        shapes.step(layer)
    missing = [v for v in main_net.outputs if shapes.dtype(v) is None]
    if missing:
        raise ModelError(f"pipeline: the main net's shapes cannot be inferred: the rank of {missing[0]!r} depends on the sizes "
                         f"of its inputs; bind its input shapes first")
    return {v: TensorSpec(shapes.specs[v].dtype, shape) for v in main_net.outputs
            if (shape := shapes.named_shape(v)) is not None}


# ---- checks ---------------------------------------------------------------------------------------------------------

def _cut(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 80 else text[:77] + "..."


def _reason(e: Exception) -> str:
    """An error's message without the advice for damaged files."""
    return str(e).removesuffix("; " + spec.DAMAGED)


def _entries(data: Any, key: str) -> list[dict]:
    """The list under `key` after checking its form. Raises ModelError."""
    if isinstance(data, dict):
        unknown = sorted(set(map(str, data)) - set(_KEYS))
        if unknown:
            raise ModelError(f"pipeline: expected {' and '.join(_KEYS)}, got {', '.join(unknown[:4])}; remove it")
        data = data.get(key, [])
    if not isinstance(data, list):
        raise ModelError(f"{key}: expected a list of layer objects, got {_cut(data)}; "
                         f'write [{{"type": ...}}, ...]')
    for i, entry in enumerate(data):
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise ModelError(f"{key}[{i}], field type: expected an object whose type is a layer kind, got "
                             f'{_cut(entry)}; write {{"type": "madd", ...}}')
    return data


def _chains(entries: list[dict], main_net: Net) -> dict[str, list[tuple[int, dict]]]:
    """Sink name -> its (index, entry) list, from source to sink."""
    chains: dict[str, list[tuple[int, dict]]] = {}
    chain: list[tuple[int, dict]] = []
    for i, entry in enumerate(entries):
        where = f"preprocess[{i}] ({entry['type']})"
        if (entry["type"] == "source") != (not chain):
            raise ModelError(f"{where}: expected {'a sink before the next source' if chain else 'a source'}; each "
                             f"chain begins with a source and ends with a sink")
        chain.append((i, entry))
        if entry["type"] == "sink":
            name = entry.get("name")
            if not isinstance(name, str) or name not in main_net.inputs or name in chains:
                raise ModelError(f"{where}, field name: expected an input of the main net, each once "
                                 f"({', '.join(main_net.inputs)}), got {_cut(name)}; correct the name")
            chains[name] = chain
            chain = []
    if chain or not chains:
        raise ModelError(f"preprocess: expected a sink at the end, got "
                         f"{chain[-1][1]['type'] if chain else 'an empty list'}; each chain begins with a source and "
                         f"ends with a sink")
    return chains


def _chain_input(where: str, entry: dict, main_net: Net) -> str:
    """The main net's output with which a chain begins."""
    name = entry.get("input", main_net.outputs[0] if len(main_net.outputs) == 1 else None)
    if not isinstance(name, str) or name not in main_net.outputs:
        raise ModelError(f"{where}, field input: expected an output of the main net ({', '.join(main_net.outputs)}), "
                         f"got {_cut(name)}; name one")
    return name


def _result_names(entry: dict, i: int, last: bool, prefix: str, used: set[str]) -> tuple[str, ...]:
    """Names of a postprocess layer's outputs: a sink's own, `values` and `indices`, else the kind's."""
    if not last:
        names: tuple[str, ...] = (f"postprocess.{i}",)
    elif entry["type"] == "sink":
        names = (entry["name"] if isinstance(entry.get("name"), str) and entry["name"] else f"postprocess.{i}",)
    else:
        names = tuple(f"{prefix}.{n}" if prefix else n for n in _NAMED.get(entry["type"], (entry["type"],)))
    names = tuple(_free(n, used) for n in names)
    used.update(names)
    return names


def _free(name: str, used: set[str]) -> str:
    while name in used:
        name += "_"
    return name


def _append(net: Net, where: str, name: str, entry: dict, value: str, at: TensorSpec,
            outputs: tuple[str, ...]) -> tuple[str, TensorSpec]:
    """Add one layer to a chain; returns its first output and the spec of it. Raises ModelError."""
    from ..layers import kinds
    kind = kinds().get(entry["type"])
    if kind is None:
        raise ModelError(f"{where}, field type: expected a layer kind, got {_cut(entry['type'])}; "
                         f"use source, madd, permute, sink, softmax, topk, or another of `pathweave.layers.kinds()`")
    inputs, specs = [value], [at]
    fields = {k: v for k, v in entry.items() if k != "type"}
    if kind.name == "madd":
        for k, neutral in (("scale", 1.0), ("shift", 0.0)):
            array = _coefficients(f"{where}, field {k}", fields.pop(k, neutral), at)
            net.constants[f"{name}.{k}"] = array
            inputs.append(f"{name}.{k}")
            specs.append(TensorSpec("f32", array.shape))
    attrs = {k: _attribute(f"{where}, field {k}", kind, k, v) for k, v in fields.items()}
    layer = Layer(name, kind.name, tuple(inputs), outputs, attrs)
    results = _infer(where, layer, specs)
    if len(results) != len(outputs):
        raise ModelError(f"{where}: expected a layer with one result here, got {len(results)}; use another one")
    net.layers.append(layer)
    return outputs[0], results[0]


def _attribute(where: str, kind: Any, name: str, value: Any) -> Any:
    """A JSON field as an attribute of a kind. Raises ModelError."""
    if name not in kind.attributes:
        known = [*kind.attributes, *(("scale", "shift") if kind.name == "madd" else ())]
        raise ModelError(f"{where}: unknown; expected some of {', '.join(known) or 'no field'}; correct or remove it")
    if isinstance(value, list):
        value = tuple(int(v) if isinstance(v, bool) else v for v in value)
    elif isinstance(value, bool):
        value = int(value)
    try:
        spec.check_attr(value, kind.attributes[name], where)
    except ModelError as e:
        raise ModelError(f"{_reason(e)}; correct the field") from None
    return value


def _coefficients(where: str, value: Any, at: TensorSpec) -> Any:
    """`scale` or `shift` as a float32 array: one number, or one per channel (axis 1)."""
    import numpy as np
    channels = at.shape[1] if at.rank > 1 else None
    numbers = value if isinstance(value, list) else [value]
    if not all(spec.is_number(x) and math.isfinite(x) for x in numbers) \
            or isinstance(value, list) and len(value) != channels:
        raise ModelError(f"{where}: expected a finite number, or {channels if channels is not None else 'no'} of them "
                         f"(axis 1 of {at}), got {_cut(value)}; correct the field")
    return np.array(value, np.float32)


def _infer(where: str, layer: Layer, specs: list[TensorSpec]) -> list[TensorSpec]:
    """Output specs of one layer; a symbol is carried through as far as every size of it allows."""
    from ..layers import infer_layer
    opened = [TensorSpec(s.dtype, tuple(map(as_dim, s.shape))) for s in specs]
    try:
        results = infer_layer(layer, [*opened], limited=all(s.bound for s in opened))
    except Error as e:
        raise ModelError(f"{where}: {e}; correct its fields") from e
    names = {d for s in specs for d in s.shape if isinstance(d, str)}
    values = (*layer.outputs, *[layer.name] * len(results))
    return [TensorSpec(s.dtype, named(v, s.dims, names)) for v, s in zip(values, results)]


def _image_inputs(net: Net) -> dict[str, TensorSpec]:
    """Input specs of a preprocess net for some image."""
    return {v: TensorSpec("u8", (8, 8, 3)) for v in net.inputs}


def _specs(net: Net, inputs: Mapping[str, TensorSpec]) -> dict[str, TensorSpec]:
    """Every spec of a net whose inputs are bound to these. Raises ModelError."""
    from ..meaning.partial import Follower
    follower = Follower(inputs)
    try:
        for name, array in net.constants.items():
            follower.constant(name, array)
        for layer in net.layers:
            follower.step(layer)
    except ModelError as e:
        raise ModelError(f"pipeline: the main net's output shapes cannot be inferred ({e}); "
                         f"bind its input shapes first") from e
    return follower.specs


def _check_fit(where: str, name: str, got: TensorSpec, wanted: TensorSpec) -> None:
    same = len(got.shape) == len(wanted.shape) and all(
        isinstance(w, str) or g == w for g, w in zip(got.shape, wanted.shape))
    rounds = got.dtype == "f32" and wanted.dtype in HALVES  # which the main net's border does
    if (got.dtype != wanted.dtype and not rounds) or not same:
        raise ModelError(f"{where}: expected {wanted} for the main net's input {name!r}, got {got}; "
                         f"change the shape of the source, or permute or cast before the sink")


def _check_symbols(main_net: Net, shapes: Mapping[str, tuple]) -> None:
    """A symbol that several inputs share must get one value."""
    bound: dict[str, tuple[int, str]] = {}
    for v, wanted in main_net.inputs.items():
        for d, got in zip(wanted.shape, shapes[v]):
            if isinstance(d, str) and bound.setdefault(d, (got, v))[0] != got:
                raise ModelError(f"preprocess: expected one value for the symbol {d} of the main net, got "
                                 f"{bound[d][0]} for input {bound[d][1]!r} and {got} for {v!r}; make the sources agree")


def _check_labels(data: Any, net: Net, outputs: Mapping[str, TensorSpec], labels: list[str]) -> None:
    """As many labels as there are classes on the axis that topk or argmax looks along."""
    specs = dict(outputs)
    entries, i = _entries(data, "postprocess"), -1
    for layer in net.layers:
        constants = [TensorSpec("f32", net.constants[v].shape) if v in net.constants else specs[v]
                     for v in layer.inputs]
        i += layer.name.startswith("postprocess.")  # else it widens an output of the main net
        if i >= 0 and "labels" in entries[i] and layer.name.startswith("postprocess."):
            from ..layers import kind_of
            at, axis = specs[layer.inputs[0]], int(kind_of(layer.kind).complete(layer.attrs)["axis"])
            classes = at.shape[axis]
            if isinstance(classes, int) and classes != len(labels):
                raise ModelError(f"postprocess[{i}] ({layer.kind}), field labels: expected {classes} labels "
                                 f"(axis {axis} of {at}), got {len(labels)}; give one per class")
        specs.update(zip(layer.outputs, _infer(layer.name, layer, constants)))
