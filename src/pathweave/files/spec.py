"""The spec check: JSON text <-> Model without its constants' contents. Nothing in the JSON is trusted.

Layout (format 1), every key required unless marked `?`, unknown keys refused:

    {"format": 1,
     "nets": {"main": {"inputs": {"x": {"dtype": "f32", "shape": ["N", 3, 224, 224]}},
                       "outputs": ["y"],
                       "constants": ["w"],
                       "layers": [{"name": "c", "kind": "conv2", "inputs": ["x", "w"], "outputs": ["y"],
                                   "attrs"?: {"stride": [2, 2]},
                                   "epilogue"?: {"add": true, "act": "clip", "params": [0, 6]}}],
                       "scales"?: {"x": [0.0078125, 128],     what the model states itself, alike
                                   "w": {"scale": [0.5, 0.25], "zero_point": [0, 0], "dtype": "i8", "axis"?: 0}}}},
     "meta": {...}, "routes": {SIGNATURE: route},
     "quantisation"?: {"main": {"x": [0.0078125, 128]}},      scale and zero point of calibrated values, see scales.py
     "layouts"?: {"x": "nhwc"},                               of a call's arrays, see border.py
     "states"?: {"past": {"output": "present",               input that keeps a value -> its output, see state.py;
                          "initial"?: "state/past",          tensor of its first value, or
                          "shape"?: [1, 8, 0, "D"]}},        shape of the zeros that it begins with
     "plugins"?: {"swish2": "swish 1.0"}}                     layer kind -> package and version of the plugin that defines it

An attribute may be a net inside the layer: see blocks.py.

JSON has no infinities and no NaN: such a float is written as `{"$float": "inf"}`, `"-inf"` or `"nan"`.
"""

from __future__ import annotations

import json
import math
import numbers
from collections import Counter
from collections.abc import Callable
from typing import Any, Mapping, NoReturn

from ..errors import Error, FileFormatError, InputError, ModelError
from ..net.block import MOST_DEPTH, Block
from ..net.border import checked_layouts
from ..net.format import DTYPES
from ..net.net import NET_ORDER, Epilogue, Layer, Model, Net, TensorSpec
from ..net.route import Route
from ..net.scales import Scale, make_scale
from ..net.size import MOST_RANK, MOST_SIZE
from ..net.state import State, checked_states
from ..plugins import left_out, owner
from . import blocks

#: Format written, and the formats that can be read.
FORMAT = 1
READABLE = (1,)

#: Limits of what is read. They bound the memory that parsing may take, far above any real network.
MAX_TEXT = 32 << 20          # bytes of JSON
MAX_VALUES = 2_000_000       # commas and opening brackets: at least the number of JSON values
MAX_DEPTH = 32               # nesting
MAX_RANK = MOST_RANK
MAX_DIM = MOST_SIZE + 1

#: What names of tensors with initial values of states start with; no net has this name.
STATE = "state/"
_TAG = "$float"
_TAGGED = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
#: Advice for a file whose contents are not what this package writes.
DAMAGED = "the file is damaged or was not written by pathweave: save the model again from its source"


def bad(where: str, expected: str, got: Any, advice: str = DAMAGED) -> FileFormatError:
    """The error of a value that is not what it should be."""
    text = got if isinstance(got, _Word) else repr(got)
    if len(text) > 80:
        text = text[:77] + "..."
    return FileFormatError(f"{where}: expected {expected}, got {text}; {advice}")


class _Word(str):
    """Text that an error shows without quotes."""


# ---- JSON text ------------------------------------------------------------------------------------------------------

def parse_json(text: str, where: str) -> Any:
    """JSON text -> data, with limits; duplicate keys and non-finite numbers are refused. Raises FileFormatError."""
    values = text.count(",") + text.count("[") + text.count("{")
    if values > MAX_VALUES:
        raise bad(where, f"at most {MAX_VALUES} JSON values", _Word(f"about {values}"))

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        data = dict(pairs)
        if len(data) != len(pairs):
            twice = next(k for k, count in Counter(k for k, _ in pairs).items() if count > 1)
            raise bad(where, "unique keys", _Word(f"{shown(twice)} twice in one object"))
        return data

    def refuse(word: str) -> NoReturn:
        raise bad(where, "finite numbers", _Word(word))

    try:
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except RecursionError:
        raise bad(where, f"nesting of at most {MAX_DEPTH} levels", _Word("deeper nesting")) from None
    except FileFormatError:
        raise
    except ValueError as e:
        raise bad(where, "JSON", _Word(f"text that is not ({e})")) from None


def shown(name: str) -> str:
    """A name as an error shows it: quoted, cut to a readable length."""
    return repr(name) if len(name) <= 80 else repr(name[:77]) + "..."


def to_plain(x: Any, where: str, depth: int = 0) -> Any:
    """Python and NumPy numbers, words, lists, dicts -> data that JSON can hold. Raises ModelError on anything else."""
    if depth > MAX_DEPTH:
        raise ModelError(f"{where}: nested deeper than {MAX_DEPTH} levels; flatten it before saving")
    if x is None or isinstance(x, bool):
        return x
    if isinstance(x, str):
        _check_text(x, where, ModelError)
        return str(x)
    if isinstance(x, numbers.Integral):
        return int(x)
    if isinstance(x, numbers.Real):
        return float(x) if math.isfinite(x) else {_TAG: str(float(x))}
    if isinstance(x, Mapping):
        for k in x:
            if not isinstance(k, str) or k == _TAG:
                raise ModelError(f"{where}: key {k!r}: expected a word other than {_TAG}; rename it before saving")
            _check_text(k, where, ModelError)
        return {str(k): to_plain(v, f"{where}.{k}", depth + 1) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [to_plain(v, where, depth + 1) for v in x]
    if type(x).__module__ == "numpy" and getattr(x, "shape", None) == ():  # numpy.bool, rank-0 arrays
        return to_plain(x.item(), where, depth)
    raise ModelError(f"{where}: {type(x).__name__} cannot be written; "
                     f"expected numbers, words, lists and dicts of them: convert it before saving")


def from_plain(x: Any, where: str, depth: int = 0) -> Any:
    """The inverse of `to_plain` (tuples come back as lists). Raises FileFormatError."""
    if depth > MAX_DEPTH:
        raise bad(where, f"nesting of at most {MAX_DEPTH} levels", _Word("deeper nesting"))
    if isinstance(x, dict):
        if _TAG in x:
            if len(x) != 1 or not isinstance(x[_TAG], str) or x[_TAG] not in _TAGGED:
                raise bad(where, f'{{"{_TAG}": "inf", "-inf" or "nan"}}', x)
            return _TAGGED[x[_TAG]]
        for k in x:
            _check_text(k, where)
        return {k: from_plain(v, where, depth + 1) for k, v in x.items()}
    if isinstance(x, list):
        return [from_plain(v, where, depth + 1) for v in x]
    if isinstance(x, str):
        _check_text(x, where)
    elif isinstance(x, float) and not math.isfinite(x):  # 1e999 overflows in the parser
        raise bad(where, "finite numbers", x)
    elif isinstance(x, int) and not -2**63 <= x < 2**64:
        raise bad(where, "integers of at most 64 bits", _Word("a longer one"))
    return x


def _check_text(text: str, where: str, error: Callable[[str], Exception] | None = None) -> None:
    """Refuse lone surrogates: such text can be neither printed nor written."""
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError:
        if error is not None:
            raise error(f"{where}: {shown(text)} is not valid Unicode; rename it before saving") from None
        raise bad(where, "valid Unicode", text) from None


# ---- Model -> data --------------------------------------------------------------------------------------------------

def encode(model: Model) -> dict:
    """Everything of a model but its constants' contents, as JSON data. Raises ModelError for what JSON cannot hold."""
    from ..layers import kinds
    nets = {}
    _, tensors = blocks.tensors_of(model)
    for name in sorted(model.nets, key=lambda n: NET_ORDER.index(n) if n in NET_ORDER else len(NET_ORDER)):
        net = model.nets[name]
        nets[name] = {**_encode_net(net, f"net {name}", tensors), "constants": list(net.constants)}
        if net.scales:
            nets[name]["scales"] = {value: scale.to_plain() for value, scale in net.scales.items()}
    routes = {signature: to_plain(route.to_json(), f"route {signature!r}")
              for signature, route in model.routes.items()}
    data = {"format": FORMAT, "nets": nets, "meta": to_plain(model.meta, "meta"), "routes": routes}
    if any(model.quantisation.values()):
        data["quantisation"] = {net: {value: s.to_plain() for value, s in scales.items()}
                                for net, scales in model.quantisation.items()}
    if model.layouts:
        data["layouts"] = {str(value): str(layout) for value, layout in model.layouts.items()}
    if model.states:
        data["states"] = {str(value): _encode_state(value, state) for value, state in model.states.items()}
    kinds()  # so that plugins have said what they add
    added = {kind: plugin for kind in sorted(_kinds_used(model)) if (plugin := owner("layers", kind)) is not None}
    if added:
        data["plugins"] = {kind: f"{plugin.package} {plugin.version}" for kind, plugin in added.items()}
    return data


def _encode_net(net: Net, where: str, tensors: Mapping[int, str]) -> dict:
    """A net without its constants. `tensors`: identity of an array -> name of its tensor."""
    return {
        "inputs": {v: {"dtype": s.dtype, "shape": to_plain(s.shape, f"{where}, input {v!r}")} for v, s in net.inputs.items()},
        "outputs": list(net.outputs),
        "layers": [_encode_layer(layer, f"{where}, layer {layer.name!r}", tensors) for layer in net.layers],
    }


def _encode_attr(value: Any, where: str, tensors: Mapping[int, str]) -> Any:
    if isinstance(value, Block):
        return {blocks.TAG: {**_encode_net(value.net, where, tensors),
                             "constants": {name: tensors[id(array)] for name, array in value.net.constants.items()}}}
    return to_plain(int(value) if isinstance(value, bool) else value, where)


def _encode_state(value: str, state: State) -> dict:
    data: dict[str, Any] = {"output": state.output}
    if state.initial is not None:
        data["initial"] = f"{STATE}{value}"
    elif state.shape is not None:
        data["shape"] = to_plain(state.shape, f"states, {value!r}")
    return data


def _kinds_used(model: Model) -> set[str]:
    layers = [layer for net in model.nets.values() for layer in net.all_layers()]
    return {layer.kind for layer in layers} | {layer.epilogue.act for layer in layers if layer.epilogue.act}


def _encode_layer(layer: Layer, where: str, tensors: Mapping[int, str]) -> dict:
    data: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "inputs": list(layer.inputs),
                            "outputs": list(layer.outputs)}
    if layer.attrs:
        data["attrs"] = {k: _encode_attr(v, f"{where}, attribute {k}", tensors) for k, v in layer.attrs.items()}
    if layer.epilogue:
        e = layer.epilogue
        data["epilogue"] = {"add": bool(e.add), "act": e.act, "params": to_plain(e.params, f"{where}, epilogue")}
    return data


# ---- data -> Model --------------------------------------------------------------------------------------------------

def decode(data: Any, constants: Mapping[str, Any]) -> Model:
    """Checked JSON data and tensors named `<net>/<constant>` -> Model.

    Raises FileFormatError (what, where, expected, got, what to do) for anything that `encode` would not write,
    a format that cannot be read, unknown layer kinds, references to nothing, and tensors that no net names.
    """
    data = _object(data, "model", None, ())
    version = data.get("format")
    if type(version) is not int or version not in READABLE:
        raise bad("model format", " or ".join(map(str, READABLE)), version,
                  "update pathweave to read it, or save the model again with this version")
    _object(data, "model", ("format", "nets", "meta", "routes"), ("quantisation", "layouts", "states", "plugins"))
    nets = _object(data["nets"], "nets", None, ())
    if "main" not in nets or not set(nets) <= set(NET_ORDER):
        raise bad("nets", f"main, and some of {', '.join(NET_ORDER)}", sorted(nets))
    _check_kinds(nets, _object(data.get("plugins", {}), "plugins", None, ()))
    claimed: set[str] = set()
    decoded = {name: _net(nets[name], f"net {name}", _Tensors(name, constants, claimed)) for name in NET_ORDER if name in nets}
    states = _states(data.get("states", {}), decoded["main"], constants, claimed)
    stray = sorted(set(constants) - claimed)
    if stray:
        raise bad("tensors", "only constants that a net names", stray[:4])
    routes = _object(data["routes"], "routes", None, ())
    return Model(decoded, _meta(data["meta"]), {s: _route(r, f"route {shown(s)}") for s, r in routes.items()},
                 _quantisation(data.get("quantisation", {}), decoded),
                 layouts=_layouts(data.get("layouts", {}), decoded["main"]), states=states)


def _meta(data: Any) -> dict[str, Any]:
    """Meta data; what the package itself reads of them is of the type that it expects."""
    meta = _object(from_plain(data, "meta"), "meta", None, ())
    for key in ("labels", "default_inputs"):
        if not isinstance(meta.get(key, []), list):
            raise bad(f"meta, {key}", "a list", meta[key])
    _names(meta.get("default_inputs", []), "meta, default_inputs")
    return meta


def _layouts(data: Any, main: Net) -> dict[str, str]:
    """Layouts of inputs and outputs; whether an output can lie in its one is seen when its shape is known."""
    found = _object(data, "layouts", None, ())
    try:
        return checked_layouts(found, main.inputs, dict.fromkeys(main.outputs))
    except InputError as e:
        raise FileFormatError(f"{e}; {DAMAGED}") from None


def _states(data: Any, main: Net, constants: Mapping[str, Any], claimed: set[str]) -> dict[str, State]:
    """States; whether an input can take what an output is, is seen when the output's shape is known."""
    found: dict[str, State] = {}
    for value, state in _object(data, "states", None, ()).items():
        where = f"states, {shown(value)}"
        state = _object(state, where, ("output",), ("initial", "shape"))
        output, tensor, shape = _names([state["output"]], where)[0], state.get("initial"), state.get("shape")
        if "initial" in state:
            if tensor != f"{STATE}{value}" or tensor not in constants:
                raise bad(f"{where}, initial", f"a tensor named {shown(STATE + value)}", tensor)
            claimed.add(tensor)
        if "shape" in state:
            if "initial" in state:
                raise bad(where, "an initial tensor or a shape", _Word("both"))
            shape = _spec({"dtype": "f32", "shape": shape}, where).shape
        found[value] = State(output, None if tensor is None else constants[tensor], shape)
    try:
        return checked_states(found, main.inputs, dict.fromkeys(main.outputs))
    except InputError as e:
        raise FileFormatError(f"{e}; {DAMAGED}") from None


def _quantisation(data: Any, nets: Mapping[str, Net]) -> dict[str, dict[str, Scale]]:
    """Scales by net and value. The values are those of bound nets, so that their names are not checked here."""
    found: dict[str, dict[str, Scale]] = {}
    for net, values in _object(data, "quantisation", None, ()).items():
        if net not in nets:
            raise bad("quantisation", f"some of the nets {', '.join(nets)}", net)
        found[net] = _scales(values, f"quantisation of {net}")
    return found


def _scales(data: Any, where: str) -> dict[str, Scale]:
    """Scales by value, in either of their forms."""
    found: dict[str, Scale] = {}
    for value, entry in _object(data, where, None, ()).items():
        at = f"{where}, value {shown(value)}"
        if not value:
            raise bad(at, "a name", value)
        if isinstance(entry, dict):
            fields = _object(entry, at, ("scale", "zero_point", "dtype"), ("axis",))
            several = "axis" in fields
            if not isinstance(fields["dtype"], str) or several and type(fields["axis"]) is not int or \
                    any(isinstance(fields[k], list) != several for k in ("scale", "zero_point")):
                raise bad(at, "scale and zero_point, lists where there is an axis, and dtype, a word", entry)
        elif isinstance(entry, list) and len(entry) == 2 and not any(isinstance(x, list) for x in entry):
            fields = {"scale": entry[0], "zero_point": entry[1]}
        else:
            raise bad(at, "[scale, zero point], or an object of scale, zero_point, dtype and axis", entry)
        try:
            found[value] = make_scale(**fields)
        except ModelError as e:
            raise FileFormatError(f"{at}: {e}; {DAMAGED}") from None
    return found


def _object(x: Any, where: str, required: tuple[str, ...] | None, optional: tuple[str, ...]) -> dict:
    """`x` if it is an object with all of `required` and nothing but `optional` besides (None = any keys)."""
    if not isinstance(x, dict):
        raise bad(where, "an object", x)
    if required is not None:
        missing = [k for k in required if k not in x]
        unknown = [k for k in x if k not in required and k not in optional]
        if missing or unknown:
            got = [*(f"no {k}" for k in missing), *(f"an unknown key {shown(k)}" for k in unknown[:4])]
            raise bad(where, f"an object with {', '.join(required)}", _Word(" and ".join(got)))
    for k in x:
        _check_text(k, where)
    return x


def _names(x: Any, where: str, empty: bool = False) -> list[str]:
    """`x` if it is a list of names; "" only where `empty`."""
    if not isinstance(x, list):
        raise bad(where, "a list of names", x)
    for v in x:
        if not isinstance(v, str) or not (v or empty):
            raise bad(where, "names", v)
        _check_text(v, where)
    return x


def _check_kinds(nets: dict[str, Any], packages: dict[str, Any]) -> None:
    """Refuse unknown layer kinds, all at once. Malformed layers are left to `_layer`. `packages`: kind -> who defines it."""
    from ..layers import kinds
    unknown: dict[str, str] = {}
    pending = list(reversed(nets.values()))
    while pending:
        net = pending.pop()
        layers = net.get("layers") if isinstance(net, dict) else None
        for layer in layers if isinstance(layers, list) else ():
            if not isinstance(layer, dict):
                continue
            attrs, epilogue = layer.get("attrs"), layer.get("epilogue")
            act = epilogue.get("act") if isinstance(epilogue, dict) else None
            for kind in (layer.get("kind"), act):
                if isinstance(kind, str) and kind and kind not in kinds():
                    unknown.setdefault(kind, str(layer.get("name")))
            pending += [v[blocks.TAG] for v in (attrs.values() if isinstance(attrs, dict) else ())
                        if isinstance(v, dict) and blocks.TAG in v]
    if unknown:
        by = {kind: f" of the package {shown(packages[kind])}" for kind in unknown if isinstance(packages.get(kind), str)}
        listed = ", ".join(f"{shown(k)}{by.get(k, '')} (layer {shown(n)})" for k, n in list(unknown.items())[:20])
        advice = "install the package, whose plugin defines them" if len(by) == len(unknown) else \
            "update pathweave, or install the plugin that defines them"
        raise FileFormatError(f"model: expected layer kinds that this version knows, got {len(unknown)} unknown: "
                              f"{listed}; {advice}{left_out('layers')}")


class _Tensors:
    """The tensors of a file, as a net or a block of it finds them. `net`: name of the net; "" within a block. `depth`: of
    blocks around."""

    def __init__(self, net: str, constants: Mapping[str, Any], claimed: set[str], depth: int = 0):
        self.net, self.constants, self.claimed, self.depth = net, constants, claimed, depth

    def inside(self) -> "_Tensors":
        return _Tensors("", self.constants, self.claimed, self.depth + 1)

    def named(self, data: Any, where: str) -> dict[str, Any]:
        """Constants by name: a net lists its own, a block says which tensor each one is. Raises FileFormatError."""
        if self.net:
            wanted = {v: f"{self.net}/{v}" for v in _names(data, where)}
            twice = [v for v, count in Counter(data).items() if count > 1]
            if twice:
                raise bad(where, "unique names", _Word(f"{shown(twice[0])} twice"))
        else:
            wanted = _object(data, where, None, ())
            _names(list(wanted), where)
            _names(list(wanted.values()), where)
        for tensor in wanted.values():
            if tensor not in self.constants:
                raise bad(where, f"a tensor named {shown(tensor)}", _Word("none"))
        self.claimed.update(wanted.values())
        return {v: self.constants[tensor] for v, tensor in wanted.items()}


def _net(data: Any, where: str, tensors: _Tensors) -> Net:
    data = _object(data, where, ("inputs", "outputs", "constants", "layers"), ("scales",))
    inputs = {v: _spec(s, f"{where}, input {shown(v)}")
              for v, s in _object(data["inputs"], f"{where}, inputs", None, ()).items()}
    if "" in inputs:
        raise bad(f"{where}, inputs", "names", "")
    held = tensors.named(data["constants"], f"{where}, constants")
    if not isinstance(data["layers"], list):
        raise bad(f"{where}, layers", "a list", data["layers"])
    layers = [_layer(x, where, i, tensors) for i, x in enumerate(data["layers"])]
    net = Net(inputs, _names(data["outputs"], f"{where}, outputs"), layers, held,
              scales=_scales(data.get("scales", {}), f"{where}, scales"))
    try:
        net.check()
    except ModelError as e:
        raise FileFormatError(f"{where}: {e}; {DAMAGED}") from None
    return net


def _block(data: Any, where: str, tensors: _Tensors) -> Block:
    """The block of an attribute. Raises FileFormatError."""
    if len(data) != 1:
        raise bad(where, f"nothing but {blocks.TAG}", sorted(data))
    if tensors.depth >= MOST_DEPTH:
        raise bad(where, f"blocks nested at most {MOST_DEPTH} deep", _Word("deeper nesting"))
    net = _net(data[blocks.TAG], f"{where}, block", tensors.inside())
    if not net.outputs:
        raise bad(f"{where}, block, outputs", "at least one name", net.outputs)
    try:
        return Block(net)
    except ModelError as e:
        raise FileFormatError(f"{where}: {e}; {DAMAGED}") from None


def _spec(data: Any, where: str) -> TensorSpec:
    data = _object(data, where, ("dtype", "shape"), ())
    if not isinstance(data["dtype"], str) or data["dtype"] not in DTYPES:
        raise bad(f"{where}, dtype", f"one of {', '.join(DTYPES)}", data["dtype"])
    shape = data["shape"]
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise bad(f"{where}, shape", f"a list of at most {MAX_RANK} dimensions", shape)
    for d in shape:
        if not (type(d) is int and 0 <= d < MAX_DIM or isinstance(d, str) and d):
            raise bad(f"{where}, shape", "dimensions: numbers from 0, or symbols", d)
        if isinstance(d, str):
            _check_text(d, where)
    return TensorSpec(data["dtype"], tuple(shape))


def _layer(data: Any, net: str, index: int, tensors: _Tensors) -> Layer:
    where = f"{net}, layers[{index}]"
    data = _object(data, where, ("name", "kind", "inputs", "outputs"), ("attrs", "epilogue"))
    name, kind = data["name"], data["kind"]
    if not isinstance(name, str) or not name:
        raise bad(f"{where}, name", "a name", name)
    _check_text(name, where)
    where = f"{net}, layer {shown(name)}"
    if not isinstance(kind, str):
        raise bad(f"{where}, kind", "a word", kind)
    where = f"{where} ({kind})"
    attrs = _attrs(kind, data.get("attrs", {}), where, tensors)
    inputs = tuple(_names(data["inputs"], f"{where}, inputs", empty=True))
    outputs = tuple(_names(data["outputs"], f"{where}, outputs"))
    epilogue = _epilogue(data["epilogue"], where) if "epilogue" in data else Epilogue()
    if epilogue.add and not (inputs and inputs[-1]):
        raise bad(f"{where}, inputs", "the residual as the last input, as its epilogue adds one", list(inputs))
    return Layer(name, kind, inputs, outputs, attrs, epilogue)


def _attrs(kind: str, data: Any, where: str, tensors: _Tensors) -> dict[str, Any]:
    """Attributes in the types that the kind's defaults have; tuples as tuples, nets inside as blocks."""
    from ..layers import kind_of
    owner = kind_of(kind)
    attrs: dict[str, Any] = {}
    for k, v in _object(data, f"{where}, attributes", None, ()).items():
        if isinstance(v, dict) and blocks.TAG in v:
            attrs[k] = _block(v, f"{where}, attribute {shown(k)}", tensors)
            continue
        v = from_plain(v, f"{where}, attribute {shown(k)}")
        attrs[k] = tuple(v) if isinstance(v, list) else v
    try:
        owner.complete(attrs)
    except Error as e:
        raise FileFormatError(f"{where}: {e}; {DAMAGED}") from None
    for k, v in attrs.items():
        if isinstance(v, Block) and (not owner.nested or owner.attributes[k] is not None):
            raise bad(f"{where}, attribute {k}", _kind_of_value(owner.attributes[k]), _Word("a net"))
        if isinstance(v, Block):
            continue
        check_attr(v, owner.attributes[k], f"{where}, attribute {k}")
    return attrs


def is_number(x: Any) -> bool:
    """A float, or an integer of at most 64 bits; not a truth value."""
    return isinstance(x, float) or isinstance(x, int) and not isinstance(x, bool) and -2**63 <= x < 2**64


def check_attr(value: Any, default: Any, where: str) -> None:
    """Refuse an attribute of another type than its default's; infinities only where the default is a float.

    A number may stand for a tuple of one. Raises FileFormatError.
    """
    if isinstance(value, tuple):
        fits = default is None or isinstance(default, (tuple, list))
        if not fits or not all(isinstance(x, str) or is_number(x) and math.isfinite(x) for x in value):
            raise bad(where, f"{_kind_of_value(default)}", list(value))
    elif isinstance(value, str):
        if not (default is None or isinstance(default, str)):
            raise bad(where, _kind_of_value(default), value)
    elif not is_number(value) or isinstance(default, str):
        raise bad(where, _kind_of_value(default), value)
    elif not math.isfinite(value) and not isinstance(default, float):
        raise bad(where, "a finite number", value)


def _kind_of_value(default: Any) -> str:
    if isinstance(default, (tuple, list)):
        return "a number or a tuple of finite numbers"
    if isinstance(default, str):
        return "a word"
    return "a number, a word or a tuple of finite numbers" if default is None else "a number"


def _epilogue(data: Any, where: str) -> Epilogue:
    from ..layers import kinds
    from ..layers.activation import Activation
    where = f"{where}, epilogue"
    data = _object(data, where, ("add", "act", "params"), ())
    add, act = data["add"], data["act"]
    params = from_plain(data["params"], where)
    if not isinstance(add, bool):
        raise bad(f"{where}, add", "true or false", add)
    if not isinstance(act, str) or act and act not in kinds():
        raise bad(f"{where}, act", 'an activation that this version knows, or ""', act)
    allowed = len(kinds()[act].attributes) if act else 0
    if not isinstance(params, list) or len(params) > allowed or not all(map(is_number, params)):
        raise bad(f"{where}, params", f"a list of at most {allowed} numbers", params)
    # Parameters that a file leaves out have the kind's defaults: whoever computes an epilogue is given all of them.
    rest = list(kinds()[act].attributes.values())[len(params):] if act and isinstance(kinds()[act], Activation) else []
    return Epilogue(add, act, (*params, *rest))


# ---- routes ---------------------------------------------------------------------------------------------------------

def _route(data: Any, where: str) -> Route:
    data = from_plain(data, where)
    try:
        return Route.from_json(data)
    except Error as e:
        raise FileFormatError(f"{where}: {e}; {DAMAGED}") from None
