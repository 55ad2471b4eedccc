"""Preprocess and postprocess nets from JSON, against Pillow's own resampling and plain NumPy."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest
from PIL import Image

from pathweave.errors import InputError, ModelError
from pathweave.files.images import read_image
from pathweave.files.model import read, save
from pathweave.files.pipeline import (
    attach,
    labels_from_json,
    output_specs,
    postprocess_from_json,
    preprocess_from_json,
    read_json,
)
from pathweave.layers import compute
from pathweave.net.net import Layer, Model, Net, TensorSpec


def run(net: Net, *arrays) -> list:
    """Outputs of a net by its layers' NumPy meanings; inputs and outputs by position."""
    values = dict(zip(net.inputs, arrays, strict=True)) | net.constants
    for layer in net.layers:
        values.update(zip(layer.outputs, compute(layer, [values[v] if v else None for v in layer.inputs])))
    return [values[v] for v in net.outputs]


def main_net(shape=("N", 3, 8, 12), classes=6, dtype="f32") -> Net:
    """Global average over pixels, then a dense layer: [N,C,H,W] -> [N,classes]."""
    w = np.random.default_rng(3).standard_normal((classes, 3)).astype("f4")
    return Net({"x": TensorSpec(dtype, shape)}, ["y"],
               [Layer("pool", "global_average_pool", ("x",), ("p",), {"keepdims": 0}),
                Layer("fc", "dense", ("p", "w"), ("y",))], {"w": w})


def source(height=8, width=12, **fields) -> dict:
    return {"type": "source", "shape": [1, 3, height, width], "format": "rgb", "resize_mode": "bilinear",
            "keep_ar": False, "padding_color": [0, 0, 0], **fields}


def chain(*entries) -> dict:
    return {"preprocess": [*entries, {"type": "sink", "name": "x"}]}


def image(height: int, width: int, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def pillow(x: np.ndarray, height: int, width: int, mode) -> np.ndarray:
    """Pillow's resize of each channel as float, [H,W,C]."""
    planes = [Image.fromarray(x[..., c].astype("f4")).resize((width, height), mode) for c in range(x.shape[2])]
    return np.stack([np.asarray(p) for p in planes], -1)


# ---- meaning --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("h, w", [(8, 12), (4, 6), (5, 7), (16, 24), (1, 1)])
def test_bilinear_up_scaling_is_that_of_pillow(h, w):
    """Half-pixel centres with the edge repeated: equal where no axis shrinks.

    Where one shrinks Pillow widens the filter (antialiasing) and we do not, as ONNX Resize does not by default; there
    the reference is written out in test_bilinear_down_scaling.
    """
    height, width = max(8, h), max(12, w)
    net = preprocess_from_json(chain(source(height, width)), main_net(("N", 3, height, width)))
    (y,) = run(net, image(h, w))
    assert y.shape == (1, 3, height, width) and y.dtype == np.float32
    np.testing.assert_allclose(y[0].transpose(1, 2, 0), pillow(image(h, w), height, width, Image.Resampling.BILINEAR),
                               atol=1e-3)


def test_bilinear_down_scaling():
    """No antialiasing: the two pixels nearest to each half-pixel centre, in float64."""
    x = image(21, 31)
    net = preprocess_from_json(chain(source()), main_net())
    expected = x.astype(np.float64)
    for axis, n in ((0, 8), (1, 12)):
        at = np.clip((np.arange(n) + 0.5) * expected.shape[axis] / n - 0.5, 0, expected.shape[axis] - 1)
        low = np.minimum(np.floor(at).astype(int), expected.shape[axis] - 2)
        t = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        expected = np.take(expected, low, axis) * (1 - t) + np.take(expected, low + 1, axis) * t
    np.testing.assert_allclose(run(net, x)[0][0].transpose(1, 2, 0), expected, atol=1e-3)


@pytest.mark.parametrize("h, w", [(4, 6), (8, 12), (24, 36), (40, 60), (2, 36)])
def test_nearest_is_that_of_pillow(h, w):
    """Equal where each scale is a whole number of odd steps down or of steps up, so that no centre falls on a border.

    On a border (4 pixels to 2) Pillow takes the upper pixel; we take the lower one, as ONNX round_prefer_floor.
    """
    net = preprocess_from_json(chain(source(resize_mode="nearest")), main_net())
    (y,) = run(net, image(h, w))
    np.testing.assert_array_equal(y[0].transpose(1, 2, 0), pillow(image(h, w), 8, 12, Image.Resampling.NEAREST))


def test_keep_ar_pads_in_the_middle():
    net = preprocess_from_json(chain(source(12, 12, keep_ar=True, padding_color=[10, 20, 30])),
                               main_net(("N", 3, 12, 12)))
    x = image(3, 6)
    y = run(net, x)[0][0].transpose(1, 2, 0)
    np.testing.assert_allclose(y[3:9], pillow(x, 6, 12, Image.Resampling.BILINEAR), atol=1e-3)
    assert (y[:3] == [10, 20, 30]).all() and (y[9:] == [10, 20, 30]).all()


def test_madd_permute_and_format():
    scale, shift = [0.5, 2.0, 0.25], [-1.0, 0.0, 3.5]
    data = chain(source(format="bgr"), {"type": "madd", "scale": scale, "shift": shift},
                 {"type": "permute", "order": [0, 2, 3, 1]})
    net = preprocess_from_json(data, main_net((1, 8, 12, 3)))
    x = image(8, 12)
    np.testing.assert_allclose(run(net, x)[0], (x[..., ::-1] * np.array(scale) + shift)[None], rtol=1e-6, atol=1e-5)


def test_madd_with_one_number_and_defaults():
    net = preprocess_from_json(chain(source(), {"type": "madd", "scale": 0.5}), main_net())
    np.testing.assert_allclose(run(net, image(8, 12))[0][0].transpose(1, 2, 0), image(8, 12) * 0.5)


def test_several_inputs_come_in_the_main_nets_order():
    main = Net({"a": TensorSpec("f32", ("N", 3, 2, 2)), "b": TensorSpec("f32", ("N", 3, 2, 2))}, ["y"],
               [Layer("s", "sub", ("a", "b"), ("y",))], {})
    data = [source(2, 2), {"type": "sink", "name": "b"}, source(2, 2), {"type": "sink", "name": "a"}]
    net = preprocess_from_json(data, main)
    assert net.outputs == ["a", "b"]
    images = {"image_a": image(2, 2, 1), "image_b": image(2, 2, 2)}
    a, b = run(net, *(images[v] for v in net.inputs))
    np.testing.assert_array_equal(a[0].transpose(1, 2, 0), images["image_a"])
    np.testing.assert_array_equal(b[0].transpose(1, 2, 0), images["image_b"])


def test_softmax_and_topk():
    data = {"postprocess": [{"type": "softmax", "axis": -1}, {"type": "topk", "k": 3}]}
    net = postprocess_from_json(data, main_net())
    y = np.random.default_rng(0).standard_normal((2, 6))
    values, indices = run(net, y)
    p = np.exp(y) / np.exp(y).sum(-1, keepdims=True)
    order = np.argsort(-p, -1)[:, :3]
    assert net.outputs == ["values", "indices"]
    np.testing.assert_array_equal(indices, order)
    np.testing.assert_allclose(values, np.take_along_axis(p, order, -1), rtol=1e-12)


def test_postprocess_of_one_of_several_outputs():
    main = main_net()
    main.outputs = ["p", "y"]
    net = postprocess_from_json([{"type": "softmax", "input": "y"}, {"type": "sink", "name": "best"}], main)
    assert list(net.inputs) == ["p", "y"] and net.outputs == ["p", "best"]
    p, y = np.ones((1, 3)), np.zeros((1, 6))
    got = run(net, p, y)
    np.testing.assert_array_equal(got[0], p)
    np.testing.assert_allclose(got[1], np.full((1, 6), 1 / 6))


def test_output_specs_follow_symbols():
    net = Net({"x": TensorSpec("f32", ("N", 3, "H", "W"))}, ["x", "y", "z"],
              [Layer("p", "max_pool2", ("x",), ("y",), {"kernel": (2, 2), "stride": (2, 2)}),
               Layer("g", "global_average_pool", ("x",), ("z",), {"keepdims": 0})], {})
    specs = output_specs(net)
    assert specs["x"].shape == ("N", 3, "H", "W") and specs["z"].shape == ("N", 3)
    assert specs["y"].shape == ("N", 3, "y.2", "y.3")


def test_attach_and_save(tmp_path):
    labels = [f"class {i}" for i in range(6)]
    (tmp_path / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    data = {**chain(source(), {"type": "madd", "scale": [1 / 255] * 3}),
            "postprocess": [{"type": "softmax"}, {"type": "topk", "k": 2, "labels": "labels.txt"}]}
    (tmp_path / "p.json").write_text(json.dumps(data))
    model = attach(Model({"main": main_net()}), read_json(tmp_path / "p.json"), tmp_path)
    assert model.meta["labels"] == labels and labels_from_json(data, tmp_path) == labels
    save(model, tmp_path / "m.pw")
    again = read(tmp_path / "m.pw")
    assert list(again.nets) == ["preprocess", "main", "postprocess"]
    values = [image(20, 30)]
    for net in again.nets.values():
        values = run(net, *values)
    # the same by hand
    (x,) = run(preprocess_from_json(chain(source()), main_net()), image(20, 30))
    y = (x / 255).mean((2, 3)) @ main_net().constants["w"].T
    p = np.exp(y) / np.exp(y).sum()
    np.testing.assert_array_equal(values[1], np.argsort(-p)[:, :2])
    np.testing.assert_allclose(values[0], np.sort(p)[:, ::-1][:, :2], rtol=1e-5)


# ---- errors ---------------------------------------------------------------------------------------------------------

TWO = Net({"a": TensorSpec("f32", ("N", 3, "H", 2)), "b": TensorSpec("f32", ("N", 3, "H", 2))}, ["y"],
          [Layer("s", "sub", ("a", "b"), ("y",))], {})


@pytest.mark.parametrize("data, message", [
    ({"preprocess": 3}, "preprocess: expected a list"),
    ({"preproces": []}, "preproces"),
    ([3], r"preprocess\[0\], field type"),
    ([{"type": 3}], r"preprocess\[0\], field type"),
    ([], "a sink at the end"),
    ([source()], "expected a sink at the end, got source"),
    ([{"type": "madd"}], r"preprocess\[0\] \(madd\): expected a source"),
    ([source(), source()], r"preprocess\[1\] \(source\): expected a sink before"),
    ([source(), {"type": "sink", "name": "z"}], r"preprocess\[1\] \(sink\), field name: .*\(x\), got 'z'"),
    ([source(), {"type": "sink"}], "field name"),
    (chain(source(), {"type": "warp"}), r"preprocess\[1\] \(warp\), field type"),
    (chain(source(mode="x")), r"preprocess\[0\] \(source\), field mode: unknown; expected some of shape"),
    (chain(source(shape=[1, 3, 0, 4])), r"preprocess\[0\] \(source\)"),
    (chain(source(shape="big")), r"preprocess\[0\] \(source\): .*shape='big': expected 4 integers"),
    (chain(source(format="cmyk")), r"\(source\): .*cmyk"),
    (chain(source(format=4)), r"\(source\), field format: expected a word, got 4"),
    (chain(source(resize_mode="cubic")), r"\(source\): .*cubic"),
    (chain(source(padding_color=[1, 2])), r"\(source\): .*padding_color"),
    (chain(source(9, 12)), r"\(sink\), name: expected f32\[N,3,8,12\] .*'x', got f32\[1,3,9,12\]"),
    (chain({"type": "source"}), r"\(source\): .*shape.*required"),
    (chain(source(), {"type": "madd", "scale": [1, 2]}), r"preprocess\[1\] \(madd\), field scale: .* 3 of them"),
    (chain(source(), {"type": "madd", "scale": [1, 2, float("inf")]}), "field scale"),
    (chain(source(), {"type": "madd", "shift": "0"}), "field shift"),
    (chain(source(), {"type": "madd", "shift": 10**400}), "field shift"),
    (chain(source(padding_color=[10**400])), "field padding_color"),
    (chain(source(keep_ar=10**400)), "field keep_ar"),
    (chain(source(), {"type": "madd", "scal": 1}), "field scal: unknown"),
    (chain(source(), {"type": "permute", "order": [0, 1, 1, 2]}), r"preprocess\[1\] \(permute\)"),
    (chain(source(), {"type": "add"}), r"preprocess\[1\] \(add\)"),
    (chain(source(), {"type": "cast", "dtype": "u8"}), r"expected f32\[N,3,8,12\].*got u8"),
    (chain(source(), {"type": "topk", "k": 1}), r"preprocess\[1\] \(topk\): expected a layer with one result"),
])
def test_preprocess_errors_name_entry_and_field(data, message):
    with pytest.raises(ModelError, match=message) as e:
        preprocess_from_json(data, main_net())
    assert "damaged" not in str(e.value)


@pytest.mark.parametrize("data, message", [
    ([source(4, 2), {"type": "sink", "name": "a"}], "none for b"),
    ([source(4, 2), {"type": "sink", "name": "a"}] * 2, "each once"),
    ([source(4, 2), {"type": "sink", "name": "a"}, source(6, 2), {"type": "sink", "name": "b"}],
     "one value for the symbol H .* 4 for input 'a' and 6 for 'b'"),
])
def test_preprocess_errors_of_several_inputs(data, message):
    with pytest.raises(ModelError, match=message):
        preprocess_from_json(data, TWO)


@pytest.mark.parametrize("entries, message", [
    ([{"type": "topk", "k": 7}], r"postprocess\[0\] \(topk\): .*k=7"),
    ([{"type": "topk", "k": "all"}], r"postprocess\[0\] \(topk\), field k"),
    ([{"type": "softmax", "axis": 2}], r"postprocess\[0\] \(softmax\)"),
    ([{"type": "softmax", "labels": ["a"]}], r"postprocess\[0\] \(softmax\), field labels"),
    ([{"type": "topk", "k": 1}, {"type": "softmax"}], r"postprocess\[0\] \(topk\): expected as the last"),
    ([{"type": "softmax", "input": "z"}], r"postprocess\[0\] \(softmax\), field input: .*\(y\), got 'z'"),
    ([{"type": "topk", "k": 1, "labels": ["a", "b"]}], r"postprocess\[0\] \(topk\), field labels: expected 6 labels"),
    ([{"type": "topk", "k": 1, "labels": "missing.txt"}], r"field labels: .*missing.txt cannot be read"),
    ([{"type": "topk", "k": 1, "labels": [1]}], r"field labels: expected a list of words"),
])
def test_postprocess_errors_name_entry_and_field(entries, message, tmp_path):
    with pytest.raises(ModelError, match=message):
        attach(Model({"main": main_net()}), {"postprocess": entries}, tmp_path)


def test_several_outputs_need_a_name():
    main = main_net()
    main.outputs = ["p", "y"]
    with pytest.raises(ModelError, match="field input: .*p, y.*got None"):
        postprocess_from_json([{"type": "softmax"}], main)


def test_read_json_errors(tmp_path):
    for text, message in (("{", "JSON"), ('{"a":1,"a":2}', "twice"), ("\ud800", "UTF-8")):
        (tmp_path / "p.json").write_bytes(text.encode("utf-8", "surrogatepass"))
        with pytest.raises(ModelError, match=message):
            read_json(tmp_path / "p.json")
    with pytest.raises(InputError, match="check the path"):
        read_json(tmp_path / "none.json")


# ---- images ---------------------------------------------------------------------------------------------------------

def test_read_image(tmp_path):
    x = image(5, 7)
    Image.fromarray(x).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), x)
    Image.fromarray(x[..., 0]).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.repeat(x[..., :1], 3, -1))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned right: rows are columns
    Image.fromarray(x).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(x, -1))


def test_read_image_errors(tmp_path, monkeypatch):
    Image.fromarray(image(50, 70)).save(tmp_path / "a.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:3000])
    (tmp_path / "text.png").write_bytes(b"hello")
    for name, message in (("none.png", "no such file"), ("text.png", "cannot be decoded"),
                          ("cut.png", "cannot be decoded"), ("", "cannot be decoded")):
        with pytest.raises(InputError, match=message):
            read_image(tmp_path / name)
    real = builtins.__import__

    def without_pillow(name, *args, **kwargs):
        if name.split(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_pillow)
    with pytest.raises(InputError, match="pip install pillow"):
        read_image(tmp_path / "a.png")
