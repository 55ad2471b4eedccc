"""The image kinds against ONNX Runtime's Resize and Pillow."""

from __future__ import annotations

import numpy as np
import pytest
from layer_oracle import oracle
from PIL import Image

from pathweave.errors import InputError, ShapeError
from pathweave.layers import infer_layer, kind_of
from pathweave.net.net import Layer, TensorSpec
from pathweave.testing import case, cases


def _source(image, shape, **attrs):
    kind = kind_of("source")
    return kind.meaning(kind.complete({"shape": shape, **attrs}), [image])[0]


def _by_onnx(image, h, w, mode):
    """[H,W,C] float32 resized by ONNX Runtime with half-pixel centres, [C,h,w]."""
    x = np.ascontiguousarray(image.astype(np.float32).transpose(2, 0, 1)[None])
    return oracle(case("resize2", x.shape, mode=mode, size=(h, w)), [x])[0][0]


def _colours(image, form):
    image = image[:, :, None] if image.ndim == 2 else image[:, :, :3]
    if form == "gray":
        return image if image.shape[2] == 1 else (image * np.array([0.299, 0.587, 0.114])).sum(2, keepdims=True)
    rgb = np.concatenate([image] * 3, 2) if image.shape[2] == 1 else image
    return rgb[:, :, [2, 1, 0]] if form == "bgr" else rgb


@pytest.mark.parametrize("one", cases("source"), ids=str)
def test_source_equals_onnx_resize(one):
    (image,) = one.arrays()
    a = kind_of("source").complete(one.attrs)
    (got,) = one.reference([image])
    _, c, height, width = a["shape"]
    h, w = height, width
    if a["keep_ar"]:
        scale = min(height / image.shape[0], width / image.shape[1])
        h, w = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    wanted = np.empty((c, height, width))
    wanted[:] = np.broadcast_to(np.array(a["padding_color"], float), (c,))[:, None, None]
    top, left = (height - h) // 2, (width - w) // 2
    wanted[:, top:top + h, left:left + w] = _by_onnx(_colours(image, a["format"]), h, w, a["resize_mode"])
    assert got.dtype == np.float32 and got.shape == a["shape"]
    assert np.abs(got[0] - wanted).max() < 1e-3
    assert got.min() >= 0 and got.max() <= 255


def test_upsampling_and_gray_equal_pillow_up_to_rounding():
    image = np.random.default_rng(3).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    wanted = np.asarray(Image.fromarray(image).resize((20, 30), Image.Resampling.BILINEAR), np.float32)
    assert np.abs(_source(image, (1, 3, 30, 20))[0].transpose(1, 2, 0) - wanted).max() <= 1.01
    gray = np.asarray(Image.fromarray(image).convert("L"), np.float32)
    assert np.abs(_source(image, (1, 1, 9, 7), format="gray")[0, 0] - gray).max() <= 0.51


def test_same_size_is_exact_and_alpha_is_dropped():
    image = np.random.default_rng(4).integers(0, 256, (5, 6, 4), dtype=np.uint8)
    assert np.array_equal(_source(image, (1, 3, 5, 6))[0], image[:, :, :3].transpose(2, 0, 1))
    assert np.array_equal(_source(image, (1, 3, 5, 6), format="bgr")[0], image[:, :, 2::-1].transpose(2, 0, 1))


def test_letterbox_is_centred_on_its_colour():
    y = _source(np.full((2, 8, 3), 200, np.uint8), (1, 3, 8, 8), keep_ar=1, padding_color=(1, 2, 3))
    assert (y[0, :, 3:5] == 200).all()
    for c in range(3):
        assert (y[0, c, :3] == c + 1).all() and (y[0, c, 5:] == c + 1).all()


def _infer(spec, **attrs):
    return infer_layer(Layer("image", "source", ("x",), ("y",), {"shape": (1, 3, 8, 8), **attrs}), [spec])


@pytest.mark.parametrize(("spec", "attrs", "message"), [
    (TensorSpec("f32", (8, 8, 3)), {}, "element type"), (TensorSpec("u8", (8, 8, 2)), {}, "an image of shape"),
    (TensorSpec("u8", (8,)), {}, "an image of shape"), (TensorSpec("u8", (0, 8, 3)), {}, "an image of shape"),
    (TensorSpec("u8", (8, 8, 3)), {"format": "yuv"}, "format"),
    (TensorSpec("u8", (8, 8)), {"format": "gray"}, "shape="),
    (TensorSpec("u8", (8, 8)), {"shape": (2, 3, 8, 8)}, "shape="),
    (TensorSpec("u8", (8, 8)), {"shape": (3, 8, 8)}, "shape"),
    (TensorSpec("u8", (8, 8)), {"resize_mode": "area"}, "resize_mode"),
    (TensorSpec("u8", (8, 8)), {"padding_color": (1, 2)}, "padding_color"),
])
def test_source_refuses(spec, attrs, message):
    with pytest.raises(ShapeError, match=message):
        _infer(spec, **attrs)


def test_source_refuses_another_array():
    with pytest.raises(InputError, match="uint8"):
        _source(np.zeros((4, 4, 3), np.float32), (1, 3, 8, 8))


def test_permute_refuses_two_orders():
    with pytest.raises(ShapeError, match="expected one of them"):
        infer_layer(Layer("p", "permute", ("x",), ("y",), {"order": (0, 1), "perm": (1, 0)}),
            [TensorSpec("f32", (2, 3))])
