"""Passes, and all above the layers, ask a layer's kind for what they must know: no lists, and a new kind needs no edit."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
from pass_sketch import Sketch, norm

import pathweave
from pathweave.layers import kinds
from pathweave.layers.activation import Clip, Unary
from pathweave.layers.conv import Conv2, ConvTranspose2
from pathweave.layers.dense import Dense
from pathweave.layers.elementwise import Add, Mul
from pathweave.layers.norm import Madd
from pathweave.layers.pooling import AveragePool2, MaxPool2
from pathweave.layers.shaping import Reshape, Slice
from pathweave.layers.softmax import Softmax

PACKAGE = Path(pathweave.__file__).parent
FLOORS = ("passes", "regions", "meaning", "runtime", "profiling", "tuning", "report")
SOURCES = [path for floor in FLOORS for path in sorted((PACKAGE / floor).rglob("*.py"))]
#: Names of kinds that one collection in a pass may hold: those of one pattern that the pass is about.
MOST_NAMES = 2


def collections_of_kinds(text: str) -> list[tuple[int, list[str]]]:
    """(line, names) of every display, call or chain of comparisons that names more than MOST_NAMES kinds of layers."""
    def names(nodes) -> list[str]:
        return [n.value for n in nodes if isinstance(n, ast.Constant) and n.value in kinds()]
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Tuple, ast.List, ast.Set)):
            parts = names(node.elts)
        elif isinstance(node, ast.Dict):
            parts = max(names(node.keys), names(node.values), key=len)
        elif isinstance(node, ast.Call):
            parts = names(node.args)
        elif isinstance(node, ast.BoolOp):
            parts = names(c for v in node.values if isinstance(v, ast.Compare) for c in v.comparators)
        else:
            continue
        if len(parts) > MOST_NAMES:
            found.append((node.lineno, parts))
    return found


def test_all_passes_are_looked_at():
    assert {"identity.py", "no_effect.py", "transpose_sink.py", "_algebra.py"} <= {p.name for p in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nobody_lists_kinds(path):
    assert collections_of_kinds(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("text, names", [
    ('K = ("add", "sub", "mul")', 3), ('K = {"add": 1, "conv2": 2, "dense": 3}', 3), ('K = {"add", "sub", "mul", "x"}', 3),
    ('graph.made_by(v, "add", "sub", "mul")', 3), ('x = k == "add" or k == "sub" or k == "mul"', 3),
    ('K = {1: "add", 2: "sub", 3: "mul"}', 3), ('K = ("add", "sub")', 0), ('K = ("stride", "pad", "dilation")', 0)])
def test_a_list_of_kinds_is_found(text, names):
    found = collections_of_kinds(text)
    assert [len(parts) for _, parts in found] == [names][:bool(names)]


@pytest.fixture
def twin():
    """Registers kinds of another name that compute what a kind of the package does, as a file in `layers/` would."""
    added = []

    def register(base) -> str:
        name = f"{base.name}_twin"
        kinds()[name] = type(f"{base.__name__}Twin", (base,), {"name": name})()
        added.append(name)
        return name
    yield register
    for name in added:
        del kinds()[name]


@pytest.mark.parametrize("base", [Conv2, ConvTranspose2, Dense])
def test_batch_norm_goes_into_the_weights_of_a_new_kind(twin, base):
    s = Sketch(3, 4) if base is Dense else Sketch()
    shape = {Conv2: (6, 4, 3, 3), ConvTranspose2: (4, 6, 3, 3), Dense: (6, 4)}[base]
    y = norm(s, s.op(twin(base), "x", s.weights(*shape)), 6)
    assert s.check(y) == [f"{base.name}_twin"]


@pytest.mark.parametrize("base", [Conv2, Dense])
def test_an_affine_map_goes_into_the_next_layer_of_a_new_kind(twin, base):
    s = Sketch(3, 4) if base is Dense else Sketch()
    x = s.op(twin(Mul), "x", s.weights(*((4,) if base is Dense else (4, 1, 1)), low=0.5))
    y = s.op(twin(base), x, s.weights(*((6, 4) if base is Dense else (6, 4, 3, 3))))
    assert s.check(y) == [f"{base.name}_twin"]


def test_affine_maps_of_new_kinds_become_one(twin):
    s = Sketch()
    y = s.op(twin(Madd), s.op(twin(Add), "x", s.weights(4, 1, 1)), s.weights(4), s.weights(4))
    assert s.check(y) == ["madd"]


@pytest.mark.parametrize("base, neutral", [(Conv2, 0.0), (MaxPool2, -np.inf)])
def test_a_pad_goes_into_a_window_of_a_new_kind(twin, base, neutral):
    s = Sketch()
    x = s.op("pad", "x", pads=(0, 0, 1, 1, 0, 0, 1, 1), value=neutral)
    operands, attrs = ([s.weights(6, 4, 3, 3)], {}) if base is Conv2 else ([], {"kernel": (3, 3)})
    assert s.check(s.op(twin(base), x, *operands, **attrs)) == [f"{base.name}_twin"]


def test_a_window_as_large_as_the_image_becomes_a_global_pool(twin):
    s = Sketch()
    assert s.check(s.op(twin(AveragePool2), "x", kernel=(6, 5))) == ["global_average_pool"]


class _Cube(Unary):
    """x * x * x."""

    name = "cube"

    @staticmethod
    def function(x):
        return x * x * x


@pytest.mark.parametrize("base, attrs", [(_Cube, {}), (Clip, {"min": -0.5, "max": 0.5}), (Softmax, {"axis": 1}),
                                         (Slice, {"starts": (1,), "ends": (3,), "axes": (1,)})])
def test_transposes_around_a_new_kind_cancel(twin, base, attrs):
    s = Sketch()
    x = s.op("transpose", "x", perm=(0, 2, 3, 1))
    y = s.op("transpose", s.op(twin(base), x, **attrs), perm=(0, 3, 1, 2))
    assert s.check(y) == [f"{base.name}_twin"]


def test_what_a_new_kind_hands_on_unchanged_goes(twin):
    s = Sketch()
    x = s.op(twin(Reshape), s.op(twin(Clip), "x"), shape=(2, 4, 6, 5))
    assert s.check(s.op("relu", s.op(twin(Mul), x, s.const(1.0)))) == ["relu"]


def test_formulas_of_new_kinds_are_seen_through(twin):
    """x * sigmoid(x) is silu, whatever kind multiplies."""
    s = Sketch()
    assert s.check(s.op(twin(Mul), "x", s.op("sigmoid", "x"))) == ["silu"]
