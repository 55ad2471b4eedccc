"""Image files of every kind: within a limit of pixels, in bounded memory, upright, with typed errors."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image

from pathweave.errors import Error, InputError, ModelError
from pathweave.files import images
from pathweave.files.images import read_image, wanted_size
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.runtime.model import LoadedModel


def pixels(height: int, width: int, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    """An image whose reduced copies look like itself."""
    y, x = np.mgrid[0:1:height * 1j, 0:1:width * 1j]
    return (np.stack([y, x, (x + y) / 2], -1) * 255).astype(np.uint8)


def thumbnail(size: int = 32) -> LoadedModel:
    """A preprocess net that resamples an image to [1,3,size,size], and a main net that hands it on."""
    main = Net({"x": TensorSpec("f32", (1, 3, size, size))}, ["y"], [Layer("same", "identity", ("x",), ("y",))], {})
    front = Net({"image": TensorSpec("u8", ("H", "W", 3))}, ["x"],
                [Layer("source", "source", ("image",), ("x",), {"shape": (1, 3, size, size)})], {})
    return LoadedModel(Model({"preprocess": front, "main": main}, {}), threads=1)


# ---- size -----------------------------------------------------------------------------------------------------------

def zeros_png(side: int) -> bytes:
    """A grey PNG of zeros, as small as a bomb is, without Pillow."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)) + \
        chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_an_image_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """Finding 8: 13,000 x 13,000."""
    path = tmp_path / "zeros.png"
    path.write_bytes(zeros_png(13_000))
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(InputError, match="at most 100000000 pixels, got 13000 x 13000 = 169000000.*max_pixels"):
        thumbnail().predict(path)
    with Image.open(path) as opened, pytest.raises(InputError, match="at most 100000000 pixels"):
        thumbnail().predict(opened)


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_pillows_own_guard_follows_the_limit_that_is_given(tmp_path, monkeypatch):
    """Pillow refuses images above twice its guard, and warns of those above it."""
    path = tmp_path / "a.png"
    Image.fromarray(pixels(40, 50)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    with pytest.raises(InputError, match="Pillow's guard.*--max-pixels"):
        thumbnail().predict(path)
    opened = images.read_image(path, limit=2000)
    assert opened.shape == (40, 50, 3) and Image.MAX_IMAGE_PIXELS == 900
    with pytest.raises(InputError):
        images.read_image(path, limit=1999)
    assert Image.MAX_IMAGE_PIXELS == 900
    with images._guarded(5000), images._guarded(3000):  # as two threads do
        assert Image.MAX_IMAGE_PIXELS == 5000
    assert Image.MAX_IMAGE_PIXELS == 900
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with images._guarded(5000):
        assert Image.MAX_IMAGE_PIXELS is None


def test_the_limit_can_be_raised_and_lowered(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.fromarray(pixels(40, 50)).save(path)
    model = thumbnail()
    model.predict(path, max_pixels=2000)
    with pytest.raises(InputError, match="at most 1999 pixels"):
        model.predict(path, max_pixels=1999)
    monkeypatch.setenv("PATHWEAVE_MAX_PIXELS", "1000")
    for given in (None, 10 ** 9):
        with pytest.raises(InputError, match="at most 1000 pixels"):
            model.predict(path, max_pixels=given)
    monkeypatch.setenv("PATHWEAVE_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="PATHWEAVE_MAX_PIXELS: expected a number"):
        model.predict(path)
    for wrong in (0, -1, 2.0, True):
        with pytest.raises(InputError, match="max_pixels"):
            images.max_pixels(wrong)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp"])
def test_a_large_file_is_read_at_a_reduced_size(tmp_path, suffix, monkeypatch):
    """The result is that of Pillow's box filter within a step or two; arrays take a fraction of the image."""
    monkeypatch.setattr(images, "REDUCE_ABOVE", 1_000_000)
    whole, path = smooth(1500, 2000), tmp_path / f"a.{suffix}"
    Image.fromarray(whole).save(path)
    tracemalloc.start()
    got = thumbnail().predict(path)["y"]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    wanted = np.asarray(Image.fromarray(whole).resize((32, 32), Image.Resampling.BOX), np.float32).transpose(2, 0, 1)[None]
    assert np.abs(got - wanted).max() < 4 and peak < whole.nbytes / 2


def test_everyday_images_are_read_as_they_are(tmp_path):
    x = pixels(300, 400)
    Image.fromarray(x).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png", (4, 4)), x)


def test_a_large_array_is_not_turned_into_floats():
    image = np.zeros((4000, 5000, 3), np.uint8)
    source = thumbnail().nets["preprocess"].layers[0]
    from pathweave.layers import compute
    tracemalloc.start()
    compute(source, [image])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_the_size_that_a_net_wants():
    net = thumbnail(48).nets["preprocess"]
    assert wanted_size(net, "image") == (48, 48)
    net.layers.append(Layer("all", "cast", ("image",), ("z",), {"dtype": "f32"}))
    assert wanted_size(net, "image") is None


@pytest.mark.parametrize("attrs", [{"shape": (8,)}, {"shape": (1, 3, 8)}, {"shape": (1, 3, 8, 0)}, {"shape": "1388"},
                                   {"shape": None}, {}, {"shape": (1, 1, 8, 8)}, {"shape": (1, 3, 8, 8), "format": 7}])
def test_a_source_with_attributes_that_it_cannot_have_is_a_typed_error(attrs):
    """A file is read without them being looked at: nets before the main one are not bound until an image comes."""
    model = thumbnail()
    net = model.nets["preprocess"]
    net.layers[0] = replace(net.layers[0], attrs=attrs)
    with pytest.raises(ModelError, match="shape|format"):
        model.predict(np.zeros((9, 9, 3), np.uint8))


# ---- modes, orientation ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_gives_its_colours(tmp_path, mode):
    """Against the colours that were put in; alpha is dropped."""
    grey = np.repeat(np.linspace(0, 255, 16).astype(np.uint8)[None], 16, 0)
    rgb = np.stack([grey, grey.T, 255 - grey], -1)
    wanted, slack, suffix = np.repeat(grey[..., None], 3, -1), 0, "png"
    if mode == "1":
        image, wanted = Image.fromarray(grey > 127), np.where(wanted > 127, 255, 0)
    elif mode == "I;16":
        image = Image.fromarray(grey.astype(np.uint16) * 257)
    elif mode in ("L", "LA"):
        image = Image.fromarray(grey).convert(mode)
    else:
        image, wanted = Image.fromarray(rgb), rgb
        if mode == "P":
            image, slack = image.quantize(256), 24
        elif mode in ("CMYK", "YCbCr"):
            image, slack, suffix = image.convert(mode), 3, "tif"
        else:
            image = image.convert(mode)
    path = tmp_path / f"a.{suffix}"
    image.save(path)
    got = read_image(path)
    assert got.dtype == np.uint8 and got.shape == (16, 16, 3)
    assert np.abs(got.astype(int) - wanted).max() <= slack
    with Image.open(path) as opened:
        assert np.array_equal(images.pixels(opened, "image"), got)


def test_floating_point_images_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(InputError, match="8 or 16 bits"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation, upright", [
    (1, lambda x: x), (2, lambda x: x[:, ::-1]), (3, lambda x: x[::-1, ::-1]), (4, lambda x: x[::-1]),
    (5, lambda x: x.transpose(1, 0, 2)), (6, lambda x: np.rot90(x, -1)), (7, lambda x: np.rot90(x, 2).transpose(1, 0, 2)),
    (8, lambda x: np.rot90(x)), (9, lambda x: x)])
@pytest.mark.parametrize("opened", [False, True])
def test_orientation(tmp_path, orientation, upright, opened):
    """Of files, and of Pillow images that the caller opened."""
    exif, x = Image.Exif(), pixels(5, 7)
    exif[0x0112] = orientation
    Image.fromarray(x).save(tmp_path / "a.png", exif=exif)
    if opened:
        with Image.open(tmp_path / "a.png") as image:
            got = images.pixels(image, "image")
            assert image.size == (7, 5)
    else:
        got = read_image(tmp_path / "a.png")
    assert np.array_equal(got, upright(x))


def test_of_an_animation_the_first_image_counts(tmp_path):
    frames = [Image.fromarray(np.full((8, 8), v, np.uint8)) for v in (10, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert np.array_equal(read_image(tmp_path / "a.gif"), np.full((8, 8, 3), 10))


# ---- damage ---------------------------------------------------------------------------------------------------------

@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_damaged_files_give_typed_errors_or_an_image(tmp_path, form):
    buffer, rng = io.BytesIO(), np.random.default_rng(0)
    try:
        Image.fromarray(pixels(24, 24)).save(buffer, form)
    except KeyError:
        pytest.skip(f"this Pillow cannot write {form}")
    whole, path = buffer.getvalue(), tmp_path / "a.img"
    failed = 0
    for i in range(60):
        data = bytearray(whole)
        if i % 2:
            del data[int(rng.integers(0, len(data))):]
        for at in rng.integers(0, max(1, len(data)), 4) if data else ():
            data[at] = int(rng.integers(0, 256))
        path.write_bytes(data)
        try:
            assert read_image(path, (8, 8), 10_000).ndim == 3
        except Error as e:
            failed += 1
            assert str(path) in str(e)
    assert failed


def test_a_truncated_image_of_the_callers_gives_a_typed_error(tmp_path):
    Image.fromarray(pixels(64, 64)).save(tmp_path / "a.png")
    path = tmp_path / "cut.png"
    path.write_bytes((tmp_path / "a.png").read_bytes()[:3000])
    with Image.open(path) as opened, pytest.raises(InputError, match="image 'image': .*cannot be decoded"):
        thumbnail().predict(opened)
