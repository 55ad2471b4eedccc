"""External data through links: the cache of Hugging Face, a folder that the user names, and nothing else."""

from __future__ import annotations

import os

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx_models import build
from test_onnx_errors import message

import pathweave
from pathweave.errors import FileFormatError
from pathweave.importers import load
from pathweave.importers.onnx import external

X = np.ones((3, 4), np.float32)
WEIGHTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def _model(location: str) -> bytes:
    model = message(build([helper.make_node("Add", ["x", "w"], ["y"])], {"x": X}, {"w": WEIGHTS}))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model.SerializeToString()


def _cache(root, location="model.onnx_data"):
    """A model as the cache of Hugging Face has it; returns its path."""
    blobs, snapshot = root / "blobs", root / "snapshots" / "R"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    (blobs / "aaa").write_bytes(_model(location))
    (blobs / "bbb").write_bytes(WEIGHTS.tobytes())
    (snapshot / "model.onnx").symlink_to("../../blobs/aaa")
    (snapshot / location).parent.mkdir(exist_ok=True)
    (snapshot / location).symlink_to(os.path.relpath(blobs / "bbb", (snapshot / location).parent))
    return snapshot / "model.onnx"


def _right(model) -> bool:
    return np.array_equal(model.main.constants["w"], WEIGHTS)


@pytest.mark.parametrize("location", ["model.onnx_data", "onnx/weights"])
def test_links_of_one_cache(tmp_path, location, monkeypatch):
    path = _cache(tmp_path, location)
    assert _right(load(path)) and _right(load(os.fspath(path)))
    monkeypatch.chdir(path.parent)
    assert _right(load("model.onnx"))


def test_a_link_that_leads_elsewhere_than_the_model_s_own(tmp_path):
    path = _cache(tmp_path)
    elsewhere = tmp_path / "secret" / "w"
    elsewhere.parent.mkdir()
    elsewhere.write_bytes(WEIGHTS.tobytes())
    below = tmp_path / "blobs" / "below" / "w"
    below.parent.mkdir()
    below.write_bytes(WEIGHTS.tobytes())
    for target in (elsewhere, below):
        (path.parent / "model.onnx_data").unlink()
        (path.parent / "model.onnx_data").symlink_to(target)
        with pytest.raises(FileFormatError, match="not a file inside.*external_root=FOLDER"):
            load(path)
        assert _right(load(path, external_root=target.parent)) and _right(load(path, external_root=tmp_path))
        assert _right(pathweave.load(path, external_root=os.fspath(target.parent)))
        with pytest.raises(FileFormatError, match="not a file inside"):
            load(path, external_root=path.parent)


def test_a_folder_s_link_does_not_open_the_shared_folder(tmp_path):
    """A link in the middle of the location leads out of the model's folder."""
    path = _cache(tmp_path)
    (path.parent / "sub").symlink_to(tmp_path / "blobs")
    (tmp_path / "blobs" / "aaa").write_bytes(_model("sub/bbb"))
    with pytest.raises(FileFormatError, match="not a file inside"):
        load(path)


def test_the_model_itself_must_be_a_link(tmp_path):
    path = _cache(tmp_path)
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    with pytest.raises(FileFormatError, match="not a file inside"):
        load(path)
    with pytest.raises(FileFormatError, match="not a file inside"):
        load(data, folder=path.parent)
    with pytest.raises(FileFormatError, match="does not exist; put it beside the model"):
        load(path, external_root=tmp_path / "absent")


def test_what_is_put_in_the_file_s_place_after_the_check_is_not_read(tmp_path, monkeypatch):
    path = _cache(tmp_path)
    (tmp_path / "secret").write_bytes(WEIGHTS.tobytes())
    blob = tmp_path / "blobs" / "bbb"
    real = external._open_below

    def swapped(base, name):
        blob.unlink()
        blob.symlink_to(tmp_path / "secret")
        return real(base, name)
    monkeypatch.setattr(external, "_open_below", swapped)
    with pytest.raises(FileFormatError, match="cannot be read"):
        load(path)

    blob.unlink()
    blob.write_bytes(WEIGHTS.tobytes())

    def fifo(base, name):
        blob.unlink()
        os.mkfifo(blob)
        return real(base, name)
    monkeypatch.setattr(external, "_open_below", fifo)
    with pytest.raises(FileFormatError, match="not a regular file"):
        load(path)


def _large(folder, offset: int, rows: int):
    """A model whose weights of `rows` x 1024 floats lie at an offset of a sparse file; element (r, 0) is r."""
    model = message(_model("w.data"))
    tensor = model.graph.initializer[0]
    del tensor.dims[:]
    tensor.dims.extend((rows, 1024))
    tensor.external_data.add(key="offset", value=str(offset))
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value, value.type.tensor_type.shape.dim[1].dim_value = 1, 1024
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    with open(folder / "w.data", "wb") as f:
        f.truncate(offset + rows * 4096)
        for r in (0, 1, rows - 1):
            f.seek(offset + r * 4096)
            f.write(np.float32(r).tobytes())
    return folder / "m.onnx"


@pytest.mark.parametrize("offset, mapped", [(0, True), (4096, True), (4, True), (2, False)])
def test_large_weights_are_mapped_and_not_copied(tmp_path, offset, mapped):
    weights = load(_large(tmp_path, offset, 64)).main.constants["w"]
    assert weights[63, 0] == 63 and weights[1, 0] == 1
    assert (not weights.flags.writeable) == mapped
    copy = load(tmp_path / "m.onnx", mapped=False).main.constants["w"]
    assert copy[63, 0] == 63 and copy.flags.writeable


def test_weights_above_2_gb_load_without_their_memory(tmp_path):
    import resource
    path = _large(tmp_path, 1 << 20, 600_000)  # 2.4 GB, of which three pages are there
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    weights = load(path).main.constants["w"]
    assert weights.nbytes > 2**31 and weights[-1, 0] == 599_999
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB
