"""Files of other formats are named by their content, and what to do with them is said."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx_models import build

from pathweave.errors import FileFormatError
from pathweave.importers import HEAD_BYTES, load
from pathweave.importers.foreign import Peek, identify


def _zip(*names: str, size: int = 3) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"x" * size)
    return out.getvalue()


def _field(number: int, payload: bytes | int) -> bytes:
    """One protobuf field, written by hand."""
    def varint(n):
        out = b""
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])
    if isinstance(payload, int):
        return varint(number << 3) + varint(payload)
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def _npy() -> bytes:
    out = io.BytesIO()
    np.save(out, np.zeros(3))
    return out.getvalue()


def _npz() -> bytes:
    out = io.BytesIO()
    np.savez(out, a=np.zeros(3), b=np.ones(2))
    return out.getvalue()


_OLD_TORCH = pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
_NODE = _field(1, b"input") + _field(2, b"Placeholder") + _field(5, _field(1, b"dtype"))
_SAFETENSORS = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
SAMPLES = {
    "PyTorch checkpoint (zip)": (_zip("archive/data.pkl", "archive/byteorder", "archive/data/0", "archive/version"), "export("),
    "TorchScript": (_zip("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl", "m/version", size=9000), "export("),
    "exported program": (_zip("p/archive_format", "p/models/model.json", "p/data/weights/w"), "torch.export.load"),
    "checkpoint of before version 1.6": (_OLD_TORCH, "export("),
    "Python pickle": (pickle.dumps({"a": 1}), "may run any code"),
    "Keras 3": (_zip("metadata.json", "config.json", "model.weights.h5"), "format='onnx'"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(80), "Keras"),
    "TFLite": (struct.pack("<I", 28) + b"TFL3" + bytes(60), "tf2onnx"),
    "saved_model.pb": (_field(1, 1) + _field(2, _field(1, _field(2, b"x" * 40)) + _field(2, _NODE * 20)), "--saved-model"),
    "frozen GraphDef": (_field(1, _NODE) * 9, "--graphdef"),
    "TensorFlow.js": (b'{"format": "graph-model", "modelTopology": {"node": []}}', "tf2onnx"),
    "Core ML": (_field(1, 4) + _field(2, _field(1, _field(1, b"image"))) + _field(500, b"x" * 200), "ONNX"),
    "Caffe (prototxt)": (b'# a net\nname: "LeNet"\nlayer {\n  name: "data"\n  type: "Input"\n}\n', "caffe2onnx"),
    "caffemodel": (_field(1, b"LeNet") + _field(100, _field(1, b"conv1") + b"\0" * 50), "prototxt"),
    "PaddlePaddle": (_field(1, _field(1, 0) + _field(2, 0) + b"x" * 30), "paddle2onnx"),
    "OpenVINO": (b'<?xml version="1.0"?>\n<net name="m" version="11">\n<layers>', "converted from"),
    "ncnn": (b"7767517\n75 83\nInput data 0 1 data\n", "converted from"),
    "safetensors": (struct.pack("<Q", len(_SAFETENSORS)) + _SAFETENSORS + bytes(4), "optimum-cli"),
    "GGUF": (b"GGUF" + struct.pack("<I", 3) + bytes(40), "optimum-cli"),
    "NumPy arrays": (_npy(), "pathweave run"),
    "file of NumPy": (_npz(), "pathweave run"),
    "image (PNG)": (b"\x89PNG\r\n\x1a\n" + bytes(40), "predict"),
    "image (JPEG)": (b"\xff\xd8\xff\xe0" + bytes(40), "predict"),
    "image (WebP)": (b"RIFF\x20\0\0\0WEBPVP8 " + bytes(40), "predict"),
    "ONNX Runtime's own format": (struct.pack("<I", 24) + b"ORTM" + bytes(40), "made from"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
    "web page": (b"<!DOCTYPE html><html><body>404</body></html>", "raw"),
    "zip archive": (_zip("notes.txt"), "unpack"),
    "gzip archive": (b"\x1f\x8b\x08" + bytes(30), "unpack"),
    "tar archive": (b"m.onnx" + bytes(251) + b"ustar\0" + bytes(200), "unpack"),
    "empty file": (b"", "download"),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_a_file_is_named_with_what_to_do(name, tmp_path):
    data, advice = SAMPLES[name]
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(FileFormatError, match="What to do: ") as e:
            load(source)
        assert name in str(e.value) and advice in str(e.value), str(e.value)


@pytest.mark.parametrize(("files", "name", "advice"), [
    (("saved_model.pb", "variables"), "SavedModel folder", "--saved-model"),
    (("Manifest.json", "Data"), "package of Core ML", "ONNX"),
    (("config.json", "model.safetensors"), "Hugging Face transformers", "optimum-cli"),
    (("a.onnx", "b.pw", "notes.txt"), "a folder", "a.onnx, b.pw"),
    ((), "a folder", "give the path of a model file"),
])
def test_folders(tmp_path, files, name, advice):
    for file in files:
        (tmp_path / file).touch()
    with pytest.raises(FileFormatError) as e:
        load(tmp_path)
    assert name in str(e.value) and advice in str(e.value)


def test_models_and_what_is_cut_short_are_not_mistaken():
    x = np.zeros((2, 3), np.float32)
    plain = onnx.ModelProto.FromString(build([helper.make_node("Relu", ["x"], ["y"])], {"x": x}))
    for version in range(1, 12):
        for producer in ("", "pytorch", "tf2onnx", "\n", "TFL3", "keras2onnx", "x" * 200):
            plain.ir_version, plain.producer_name = version, producer
            data = plain.SerializeToString()
            if producer != "\n":
                assert identify(Peek(data[:HEAD_BYTES], None, len(data), data)) is None, (version, producer)
    for data, _ in SAMPLES.values():
        for end in (1, 5, 9, 31, len(data) // 2, len(data) - 1):
            cut = data[:end]
            identify(Peek(cut[:HEAD_BYTES], None, len(cut), cut))


def test_random_bytes_end_in_an_error_of_our_tree():
    random = np.random.default_rng(0)
    starts = [data[:8] for data, _ in SAMPLES.values()]
    for i in range(2000):
        data = starts[i % len(starts)] + random.bytes(int(random.integers(0, 300)))
        with pytest.raises(FileFormatError):
            load(data)
