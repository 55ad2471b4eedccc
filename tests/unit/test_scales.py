"""Scales of values: what they are, how passes carry them, how an importer states them, how files hold them."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest

import pathweave as pw
from pathweave.errors import FileFormatError, ModelError
from pathweave.files.model import read, save
from pathweave.importers.builder import Builder, Node
from pathweave.importers.conversion import Conversion
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.net.scales import INTEGER_RANGE, LARGEST_SCALE, LEAST_SCALE, Scale, make_scale
from pathweave.passes import bind, optimise
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.model import LoadedModel

A, B, C = Scale(0.5, 7), Scale(0.25, -3, "i8"), Scale((0.5, 0.25, 2.0), (0, 1, 2), "i16", 1)


# ---- what a scale is ------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", INTEGER_RANGE)
def test_the_range_is_what_numpy_integers_of_the_type_stand_for(dtype):
    limits = np.iinfo({"u8": np.uint8, "i8": np.int8, "u16": np.uint16, "i16": np.int16, "i32": np.int32}[dtype])
    for zero in (limits.min, limits.max, 3):
        got = make_scale(0.125, zero, dtype).range
        assert got == (0.125 * (int(limits.min) - zero), 0.125 * (int(limits.max) - zero))
        with pytest.raises(ModelError, match=f"a zero point from {limits.min} to {limits.max}, got"):
            make_scale(0.125, int(limits.max) + 1, dtype)


def test_scales_along_an_axis():
    scale = make_scale(np.array([0.1, 0.2], np.float32), np.array([1, 2], np.int8), "i8", np.int64(1))
    assert scale.steps == (float(np.float32(0.1)), float(np.float32(0.2))) and scale.zero_points == (1, 2) and scale.axis == 1
    assert make_scale([0.5, 0.25], axis=0).zero_points == (0, 0)
    lows, highs = zip(*[((-128 - z) * s, (127 - z) * s) for s, z in zip(scale.steps, scale.zero_points)])
    assert scale.range == (min(lows), max(highs))
    assert not scale.simple and Scale(0.5, 3).simple and not Scale(0.5, 3, "i8").simple
    assert "2 scales along axis 1, i8" in str(scale) and str(Scale(0.5, 3)) == "-1.5 to 126, scale 0.5, zero point 3"


@pytest.mark.parametrize("given, said", [
    (dict(scale=0.0), "a scale from"), (dict(scale=float("nan")), "a scale from"), (dict(scale=float("inf")), "a scale from"),
    (dict(scale=True), "a scale from"), (dict(scale="1"), "a scale from"), (dict(scale=LEAST_SCALE / 2), "a scale from"),
    (dict(scale=LARGEST_SCALE * 2), "a scale from"), (dict(scale=1.0, zero_point=0.5), "a zero point from 0 to 255, got 0.5"),
    (dict(scale=1.0, zero_point=True), "a zero point"), (dict(scale=1.0, dtype="u4"), "integers of type u8, i8"),
    (dict(scale=1.0, dtype=["u8"]), "integers of type"), (dict(scale=[1.0]), "no axis"),
    (dict(scale=1.0, zero_point=[1]), "no axis"),
    (dict(scale=[1.0, 2.0], zero_point=[1], axis=-1), "an axis from 0"), (dict(scale=[1.0], axis=True), "an axis from 0"),
    (dict(scale=[1.0], axis=1.0), "an axis from 0"), (dict(scale=[1.0], axis=99), "an axis from 0"),
    (dict(scale=[], axis=0), "at least one"), (dict(scale=[1.0, 2.0, 3.0], zero_point=[1, 2], axis=0), "got 2 and 3"),
    (dict(scale=[1.0, 0.0], axis=0), "a scale from"), (dict(scale=[[1.0]], axis=0), "a scale from")])
def test_what_is_no_scale(given, said):
    with pytest.raises(ModelError, match=said):
        make_scale(**given)


# ---- passes carry scales along --------------------------------------------------------------------------------------

def net(layers: list[Layer], outputs: list[str], scales: dict[str, Scale], constants: dict | None = None) -> Net:
    return Net({"x": TensorSpec("f32", ("N", 3))}, outputs, layers, constants or {}, scales=scales)


def layer(name: str, kind: str, *inputs: str, **attrs) -> Layer:
    return Layer(name, kind, inputs, (name,), attrs)


def test_a_value_that_goes_hands_its_scale_to_the_equal_one():
    made = optimise(net([layer("same", "identity", "x"), layer("y", "relu", "same")], ["y"], {"same": A, "y": C}))
    assert [x.kind for x in made.layers] == ["relu"] and made.scales == {"x": A, "y": C}


def test_a_scale_of_its_own_is_kept():
    made = optimise(net([layer("same", "identity", "x"), layer("y", "relu", "same")], ["y"], {"x": B, "same": A}))
    assert made.scales == {"x": B}


def test_an_output_keeps_its_name_and_takes_the_scale():
    """The value before an identity gets the name of the output that the identity made."""
    made = optimise(net([layer("h", "relu", "x"), layer("y", "identity", "h")], ["y"], {"h": A}))
    assert [x.outputs for x in made.layers] == [("y",)] and made.scales == {"y": A}


def test_equal_layers_become_one_with_the_scale_of_either():
    made = optimise(net([layer("a", "relu", "x"), layer("b", "relu", "x"), layer("y", "add", "a", "b")], ["y"], {"b": A}))
    assert len(made.layers) == 2 and list(made.scales.values()) == [A] and set(made.scales) == {made.layers[0].outputs[0]}


def test_what_is_merged_into_another_layer_has_no_scale():
    """Between a layer and its epilogue lies no value."""
    w = np.ones((3, 3), np.float32)
    rows = Scale((1.0,) * 3, (0,) * 3, "i8", 0)
    made = optimise(net([layer("h", "dense", "x", "w"), layer("y", "relu", "h")], ["y"], {"h": A, "y": B, "w": rows}, {"w": w}))
    assert [str(x.epilogue) for x in made.layers] == ["relu"]
    assert made.scales == {"y": B, "w": rows}


def test_unused_values_lose_theirs_and_the_given_net_is_not_changed():
    given = net([layer("y", "relu", "x"), layer("gone", "sigmoid", "x")], ["y"], {"gone": A, "y": B})
    assert optimise(given).scales == {"y": B} and given.scales == {"gone": A, "y": B}


def test_bound_nets_have_the_scales_of_the_model_and_of_calibration():
    given = net([layer("same", "identity", "x"), layer("h", "sigmoid", "same"), layer("y", "relu", "h")], ["y"], {"same": A})
    bound = BoundNet.bind(given, {"x": (2, 3)}, {"h": B, "x": Scale(9.0, 9), "elsewhere": B})
    assert bound.scales == {"x": Scale(9.0, 9), "h": B}
    model = LoadedModel(Model({"main": given}), threads=1)
    model.calibrate(np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32))
    scales = model.bind({"x": (2, 3)}).scales
    assert scales["x"] == A and set(scales) == {"x", "h", "y"} and "x" not in model.quantisation["main"]


@pytest.mark.parametrize("scale, said", [(Scale((1.0, 1.0), (0, 0), "u8", 1), "2 numbers along axis 1, expected 3 of them"),
                                         (Scale((1.0,), (0,), "u8", 2), "expected an axis below 2")])
def test_an_axis_that_a_value_does_not_have(scale, said):
    with pytest.raises(ModelError, match=f"value 'y' .*{said}"):
        bind(net([layer("y", "relu", "x")], ["y"], {"y": scale}), {"x": (2, 3)})


def test_a_scale_of_nothing_is_refused():
    with pytest.raises(ModelError, match="a scale is stated for 'z'"):
        net([layer("y", "relu", "x")], ["y"], {"z": A}).check()


# ---- routines -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("scale, said", [(B, "value 'x' has a scale of i8, and the routine holds it as u8"),
                                         (Scale((1.0,) * 3, (0,) * 3, "u8", 1), "per position of axis 1, and the routine")])
def test_routines_of_one_u8_scale_are_not_offered(scale, said):
    bound = BoundNet.bind(net([layer("y", "relu", "x")], ["y"], {"x": scale, "y": A}), {"x": (2, 3)})
    found, refusals = bound.candidates(0, 1, accuracy="quantised")
    assert found and "u8" not in {f.dtype for c in found for f in (*c.ins, *c.outs)}
    assert any(said in r.reason for r in refusals)
    simple = BoundNet.bind(net([layer("y", "relu", "x")], ["y"], {"x": A, "y": A}), {"x": (2, 3)})
    assert any(f.dtype == "u8" for c in simple.candidates(0, 1, accuracy="quantised")[0] for f in c.ins)


def test_a_stated_scale_is_what_a_routine_computes_with():
    """relu of x held as u8: the integers that the stated scales stand for, by the definition."""
    x = np.linspace(-9, 9, 37, dtype=np.float32)[None]
    scales = {"x": Scale(0.0625, 128), "y": Scale(0.03125, 0)}
    given = Net({"x": TensorSpec("f32", (1, 37))}, ["y"], [layer("y", "relu", "x")], {}, scales=scales)
    model = LoadedModel(Model({"main": given}), threads=1)
    from pathweave.runtime.defaults import default_route
    from pathweave.runtime.descriptor import Restriction
    route = default_route(model.bind(), 1, "quantised", Restriction("qint8"))
    assert {f.dtype for c in route.layers.values() for f in c.ins} == {"u8"}
    held = np.clip(np.rint(x / 0.0625) + 128, 0, 255)
    y = np.maximum((held - 128) * 0.0625, 0)
    wanted = np.clip(np.rint(y / 0.03125), 0, 255) * 0.03125
    assert np.array_equal(model.plan(route).session().run({"x": x})["y"], wanted.astype(np.float32))


# ---- an importer states them ----------------------------------------------------------------------------------------

def _quantised(n: Node) -> None:
    """x, whose numbers the file holds as integers: with the scale that the node's attributes say."""
    n.alias(n.input(0))
    axis = n.int("axis") if n.has("axis") else None
    scales = [s / 16 for s in n.ints("sixteenths")]
    scale = make_scale(scales if axis is not None else scales[0], n.int("zero"), n.text("type", "u8"), axis)
    n.builder.scale(n.outputs[0], scale)


def _relu(n: Node) -> None:
    n.emit("relu", [n.input(0)], last=True)


def imported(nodes: list[tuple], outputs=("y",)) -> Model:
    """A toy importer: nodes (operator, inputs, outputs, attributes) over x [N,3]."""
    builder = Builder({"x": TensorSpec("f32", ("N", 3))}, read=[*outputs, *(v for _, ins, _, _ in nodes for v in ins)])
    conversion = Conversion(builder, {"q": _quantised, "relu": _relu})
    for i, (op, ins, outs, attributes) in enumerate(nodes):
        conversion.add(Node(op, f"n{i}", ins, outs, attributes, builder))
    conversion.finish("toy")
    return Model({"main": optimise(builder.to_net(outputs, "toy"))})


def test_an_importer_states_scales_of_values(tmp_path):
    nodes = [("q", ["x"], ["xq"], {"sixteenths": [8], "zero": 7}), ("relu", ["xq"], ["h"], {}),
             ("q", ["h"], ["y"], {"sixteenths": [1, 2, 4], "zero": -3, "type": "i16", "axis": 1})]
    model = imported(nodes)
    wanted = {"x": A, "y": Scale((0.0625, 0.125, 0.25), (-3, -3, -3), "i16", 1)}
    assert [x.kind for x in model.main.layers] == ["relu"] and model.main.scales == wanted
    save(model, tmp_path / "m.pw")
    again = pw.load(tmp_path / "m.pw")
    assert again.main.scales == wanted and not again.quantisation and again.bind({"x": (1, 3)}).scales == wanted


@pytest.mark.parametrize("attributes, said", [({"sixteenths": [1, 2], "axis": 1}, "2 numbers along axis 1, expected 3"),
                                              ({"sixteenths": [1], "axis": 2}, "an axis below 2"),
                                              ({"sixteenths": [0]}, "a scale from")])
def test_an_importer_is_told_what_is_wrong(attributes, said):
    with pytest.raises(ModelError, match=f"n0.*{said}"):
        imported([("q", ["x"], ["y"], {"zero": 0, **attributes})])


def test_a_value_has_one_scale():
    builder = Builder({"x": TensorSpec("f32", (3,))})
    builder.scale("x", A)
    builder.scale("x", A)
    with pytest.raises(ModelError, match="scale of 'x': expected one, got .*, then"):
        builder.scale("x", B)
    with pytest.raises(ModelError, match="'z': there is no such value"):
        builder.scale("z", A)
    assert builder.rename("x", "x:old") in builder.scales and "x" not in builder.scales


# ---- files ----------------------------------------------------------------------------------------------------------

def write(path, scales, quantisation=None) -> None:
    net_ = {"inputs": {"x": {"dtype": "f32", "shape": ["N", 3]}}, "outputs": ["y"], "constants": [],
            "layers": [{"name": "l", "kind": "relu", "inputs": ["x"], "outputs": ["y"]}]}
    if scales is not None:
        net_["scales"] = scales
    model = {"format": 1, "nets": {"main": net_}, "meta": {}, "routes": {}}
    if quantisation is not None:
        model["quantisation"] = quantisation
    header = json.dumps({"__metadata__": {"pathweave": json.dumps(model)}}, separators=(",", ":")).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def test_both_forms_are_read(tmp_path):
    along = {"scale": [0.5, 0.25, 2.0], "zero_point": [0, 1, 2], "dtype": "i16", "axis": 1}
    write(tmp_path / "m.pw", {"x": [0.5, 7], "y": along}, {"main": {"x": {"scale": 0.25, "zero_point": -3, "dtype": "i8"}}})
    model = read(tmp_path / "m.pw")
    assert model.main.scales == {"x": A, "y": C} and model.quantisation == {"main": {"x": B}}
    save(model, tmp_path / "n.pw")
    again = read(tmp_path / "n.pw")
    assert again.main.scales == model.main.scales and again.quantisation == model.quantisation


def test_a_file_without_stated_scales_is_as_before(tmp_path):
    write(tmp_path / "m.pw", None)
    model = read(tmp_path / "m.pw")
    assert model.main.scales == {} and model.quantisation == {}
    save(model, tmp_path / "n.pw")
    assert b"scales" not in (tmp_path / "n.pw").read_bytes()


ALONG = {"scale": [0.5, 0.25, 2.0], "zero_point": [0, 1, 2], "dtype": "i16", "axis": 1}


@pytest.mark.parametrize("scales, said", [
    ([], "scales: expected an object"), ({"x": 3}, "expected .scale, zero point., or an object"), ({"": [1.0, 0]}, "a name"),
    ({"x": [[1.0], [0]]}, "expected .scale, zero point."), ({"x": [1.0]}, "expected .scale"),
    ({"z": [1.0, 0]}, "stated for 'z'"),
    ({"x": {}}, "an object with scale, zero_point, dtype"), ({"x": {**ALONG, "more": 1}}, "an unknown key 'more'"),
    ({"x": {**ALONG, "dtype": "f32"}}, "integers of type"), ({"x": {**ALONG, "dtype": ["i8"]}}, "dtype, a word"),
    ({"x": {**ALONG, "dtype": None}}, "dtype, a word"), ({"x": {**ALONG, "axis": None}}, "lists where there is an axis"),
    ({"x": {**ALONG, "axis": True}}, "lists where there is an axis"), ({"x": {**ALONG, "axis": -1}}, "an axis from 0"),
    ({"x": {**ALONG, "axis": 10**30}}, "an axis from 0"), ({"x": {**ALONG, "axis": 1.0}}, "lists where there is an axis"),
    ({"x": {**ALONG, "scale": 0.5}}, "lists where"), ({"x": {**ALONG, "zero_point": 0}}, "lists where"),
    ({"x": {k: v for k, v in ALONG.items() if k != "axis"}}, "lists where"),
    ({"x": {**ALONG, "scale": [1.0, 1.0]}}, "got 3 and 2"),
    ({"x": {**ALONG, "scale": [], "zero_point": []}}, "at least one"),
    ({"x": {**ALONG, "scale": [1.0, 0, 1.0]}}, "a scale from"),
    ({"x": {**ALONG, "scale": [1.0, "1", 1.0]}}, "a scale from"),
    ({"x": {**ALONG, "scale": [1.0, [1.0], 1.0]}}, "a scale from"),
    ({"x": {**ALONG, "zero_point": [0, 1, 2**15]}}, "a zero point from -32768 to 32767"),
    ({"x": {**ALONG, "zero_point": [0, 1, None]}}, "a zero point"),
    ({"x": {**ALONG, "zero_point": [0, 1, 1.0]}}, "a zero point"),
    ({"x": {"scale": 0.5, "zero_point": 2**40, "dtype": "i32"}}, "a zero point"), ({"\ud800": [1.0, 0]}, "Unicode")])
def test_hostile_scales(tmp_path, scales, said):
    forms: list[tuple] = [(scales, None)]
    if said not in ("stated for 'z'", "scales: expected an object"):  # values of bound nets have names that nobody knows yet
        forms.append((None, {"main": scales}))
    for given in forms:
        write(tmp_path / "h.pw", *given)
        with pytest.raises(FileFormatError, match=said) as error:
            read(tmp_path / "h.pw")
        assert len(str(error.value)) < 1000


def test_an_axis_of_another_length_is_found_when_the_shape_is_known(tmp_path):
    write(tmp_path / "m.pw", {"x": {**ALONG, "scale": [1.0], "zero_point": [0]}})
    with pytest.raises(ModelError, match="value 'x' .*1 numbers along axis 1, expected 3 of them"):
        pw.load(tmp_path / "m.pw").bind({"x": (1, 3)})
