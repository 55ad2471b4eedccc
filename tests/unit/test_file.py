"""The .pw file: round trip, the safetensors library as the independent reader, damage, interruption."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
import struct
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from pathweave.errors import Error, FileFormatError, ModelError, ModelFileError
from pathweave.files import model as pw_file
from pathweave.files import spec
from pathweave.files.model import atomic_writer, damage, read, recognises, save
from pathweave.net.format import Format
from pathweave.net.net import Epilogue, Layer, Model, Net, TensorSpec
from pathweave.net.route import Choice, Conversion, Route
from pathweave.net.scales import Scale
from pathweave.net.state import State

NHWC, NCHW = Format("f32", "nhwc"), Format("f32", "nchw")


def make_model() -> Model:
    """A small model that uses every field of the contract, and constants of every type."""
    rng = np.random.default_rng(1)
    conv = Layer("conv/1", "conv2", ("x", "w", "b", "x"), ("c",), {"stride": (1, 1), "pad": (1, 1, 1, 1)},
                 Epilogue(True, "clip", (0.0, float("inf"))))
    layers = [conv, Layer("a", "clip", ("c",), ("d",), {"min": -float("inf"), "max": 6.0}),
              Layer("pool", "max_pool2", ("d",), ("e",), {"kernel": (2, 2), "stride": (2, 2)}),
              Layer("size", "resize2", ("e",), ("y",), {"mode": "nearest", "scale": (2.0, 2.0)})]
    constants = {"w": rng.standard_normal((3, 3, 3, 3)).astype("f4"), "b": rng.standard_normal(3).astype("f4")}
    for dtype in ("f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?"):
        constants[f"spare/{dtype}"] = rng.integers(0, 2, (3, 1)).astype(dtype)
    constants |= {"scalar": np.float32(3.5).reshape(()), "empty": np.zeros((0, 4), "f4"), "naïve": np.arange(16.0)}
    main = Net({"x": TensorSpec("f32", ("N", 3, "H", 8))}, ["y", "d"], layers, constants)
    before = Net({"i": TensorSpec("f32", (1, 3, 4, 4))}, ["s"], [Layer("m", "madd", ("i", "k", "k"), ("s",))],
                 {"k": np.ones(3, "f4")})
    after = Net({"y": TensorSpec("f32", ("N", 5))}, ["p"], [Layer("p", "softmax", ("y",), ("p",), {"axis": -1})], {})
    choice = Choice("conv2/direct:f32:nhwc:cpu", 3, "gemm_f32_14x32__avx512", (NHWC, NHWC), (NHWC,), 1234.5,
                    "profile", {"routine": "conv2/naive:f32:nchw:cpu", "variant": "", "cost_ns": 9e4}, 77.5)
    route = Route("sig", 2, "f32", {"conv/1": choice},
                  [Conversion("x", NCHW, NHWC, "adapt/nchw_nhwc:f32:cpu", 1, "", 55.0)], 2000.0, 1999.0, "optimal",
                  "elimination", "cafe", 2100.0, {"race": [1, 2.5, None]})
    return Model({"main": main, "postprocess": after, "preprocess": before},
                 {"labels": ["zero", "één", "😀"], "origin": {"file": "a.onnx", "opset": 17, "worst": float("inf")}},
                 {"sig": route})


def same_net(a: Net, b: Net) -> None:
    assert (a.inputs, a.outputs, a.layers) == (b.inputs, b.outputs, b.layers)
    assert list(a.constants) == list(b.constants)
    for name, array in a.constants.items():
        got = b.constants[name]
        assert got.dtype == array.dtype and got.shape == array.shape, name
        np.testing.assert_array_equal(got, array)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "m.pw"
    save(make_model(), path)
    return path


def test_round_trip(saved):
    model, again = make_model(), read(saved)
    assert list(again.nets) == ["preprocess", "main", "postprocess"]
    for name in model.nets:
        same_net(model.nets[name], again.nets[name])
    assert again.meta == model.meta
    assert again.routes == model.routes
    assert isinstance(again.main.layers[0].attrs["stride"], tuple)


def test_same_model_same_bytes(saved, tmp_path):
    save(read(saved), tmp_path / "again.pw")
    assert (tmp_path / "again.pw").read_bytes() == saved.read_bytes()


def test_the_safetensors_library_reads_it(saved):
    model = make_model()
    tensors = load_file(saved)
    expected = {f"{n}/{c}": a for n, net in model.nets.items() for c, a in net.constants.items()}
    assert set(tensors) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(tensors[name], array)
        assert tensors[name].dtype == array.dtype


def test_mapped_aligned_read_only(saved):
    for net in read(saved).nets.values():
        for name, array in net.constants.items():
            assert not array.flags.writeable and array.flags.aligned, name
            if array.nbytes and array.nbytes % 64 == 0:
                assert array.ctypes.data % 64 == 0, name
    with pytest.raises(ValueError):
        read(saved).main.constants["w"][:] = 0


def test_constants_are_not_copied(tmp_path):
    big = np.zeros((64, 1024, 1024 // 4), "f4")  # 64 MB
    save(Model({"main": Net({}, ["w"], [], {"w": big})}), tmp_path / "big.pw")
    tracemalloc.start()
    model = read(tmp_path / "big.pw")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 << 20
    assert model.main.constants["w"].nbytes == 64 << 20


def test_a_loaded_model_survives_saving_over_it(saved):
    model = read(saved)
    other = make_model()
    other.main.constants["w"] = np.zeros((3, 3, 3, 3), "f4")
    save(other, saved)
    np.testing.assert_array_equal(model.main.constants["w"], make_model().main.constants["w"])
    save(model, saved)
    same_net(read(saved).main, make_model().main)


def test_recognises(saved):
    data = saved.read_bytes()
    assert recognises(data[:64]) and recognises(data)
    assert not any(map(recognises, (b"", data[:8], b"\x08\x01\x12\x07pytorch" * 9, data[1:65])))


def test_non_contiguous_and_big_endian_constants(tmp_path):
    a = np.arange(24, dtype=">f4").reshape(4, 6)
    save(Model({"main": Net({}, ["a", "t"], [], {"a": a, "t": a.T[::2]})}), tmp_path / "m.pw")
    got = read(tmp_path / "m.pw").main.constants
    np.testing.assert_array_equal(got["a"], a)
    np.testing.assert_array_equal(got["t"], a.T[::2])


# ---- permissions and the atomic writer ------------------------------------------------------------------------------

def test_permissions(tmp_path):
    old = os.umask(0o027)
    try:
        save(make_model(), tmp_path / "m.pw")
        assert stat.S_IMODE(os.stat(tmp_path / "m.pw").st_mode) == 0o640
        os.chmod(tmp_path / "m.pw", 0o604)
        save(make_model(), tmp_path / "m.pw")
        assert stat.S_IMODE(os.stat(tmp_path / "m.pw").st_mode) == 0o604
    finally:
        os.umask(old)


def test_a_link_keeps_its_target(tmp_path):
    (tmp_path / "link.pw").symlink_to("real.pw")
    save(make_model(), tmp_path / "link.pw")
    assert (tmp_path / "link.pw").is_symlink() and read(tmp_path / "real.pw")


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device"), ValueError])
def test_nothing_is_left_after_an_interruption(tmp_path, error):
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(error if isinstance(error, type) else OSError):
        with atomic_writer(tmp_path / "f") as f:
            f.write(b"new")
            raise error
    assert os.listdir(tmp_path) == ["f"] and (tmp_path / "f").read_bytes() == b"old"


def test_ctrl_c_and_full_disk_while_saving(saved, monkeypatch):
    before = saved.read_bytes()
    for error, raised in ((KeyboardInterrupt(), KeyboardInterrupt), (OSError(28, "No space left"), ModelFileError)):
        def interrupted(fd, error=error):
            raise error
        with monkeypatch.context() as m:
            m.setattr(os, "fsync", interrupted)
            with pytest.raises(raised):
                save(make_model(), saved)
        assert os.listdir(saved.parent) == ["m.pw"] and saved.read_bytes() == before


def test_kill_while_saving_leaves_the_old_file(saved, tmp_path):
    before = saved.read_bytes()
    script = textwrap.dedent("""
        import os, sys, time
        import numpy as np
        from pathweave.files import model as file
        from pathweave.net.net import Model, Net
        def stuck(fd):
            print("inside", flush=True)
            time.sleep(60)
        os.fsync = stuck
        file.save(Model({"main": Net({}, ["w"], [], {"w": np.zeros(99999)})}), sys.argv[1])
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    child = subprocess.Popen([sys.executable, "-c", script, str(saved)], stdout=subprocess.PIPE, text=True, env=env)
    assert child.stdout.readline() == "inside\n"
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert saved.read_bytes() == before
    same_net(read(saved).main, make_model().main)


@pytest.mark.parametrize("where", ["missing/m.pw", "plain/m.pw", ""])
def test_unwritable_place(tmp_path, where):
    (tmp_path / "plain").write_bytes(b"a file where a folder should be")
    with pytest.raises(ModelFileError, match="cannot be written .*check that its folder") as e:
        save(make_model(), tmp_path / where)
    assert isinstance(e.value, OSError) and isinstance(e.value, ModelError)
    assert os.listdir(tmp_path) == ["plain"]


@pytest.mark.parametrize("name", ["nul\0.pw", "no text \ud800.pw"])
def test_what_is_no_name_of_a_file(tmp_path, name):
    with pytest.raises(ModelFileError, match="cannot be the name of a file"):
        save(make_model(), str(tmp_path / name))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("where, advice", [("missing.pw", "check the path"), ("", "may read"),
                                           ("f/x", "check the path"), ("fifo", "may read"), ("nul\0", "may read")])
def test_unreadable(tmp_path, where, advice):
    (tmp_path / "f").write_bytes(b"")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ModelFileError, match=advice):
        read(str(tmp_path) + "/" + where)


# ---- what is refused when saving ------------------------------------------------------------------------------------

def broken(change) -> Model:
    model = make_model()
    change(model)
    return model


@pytest.mark.parametrize("change, message", [
    (lambda m: m.nets.pop("main"), "expected main"),
    (lambda m: m.nets.update(extra=m.main), "expected main"),
    (lambda m: m.main.layers.append(Layer("q", "warp_drive", ("y",), ("q",))), "warp_drive"),
    (lambda m: m.main.layers.append(Layer("q", "relu", ("nowhere",), ("q",))), "nowhere"),
    (lambda m: m.main.constants.update(z=np.zeros(2, "c8")), "complex64"),
    (lambda m: m.meta.update(f=print), "cannot be written"),
    (lambda m: m.meta.update({"k": {1: 2}}), "expected a word"),
    (lambda m: m.meta.update(k="\ud800"), "Unicode"),
    (lambda m: m.main.layers.append(Layer("q", "softmax", ("y",), ("q",), {"axis": "two"})), "axis"),
    (lambda m: m.main.layers.append(Layer("q", "softmax", ("y",), ("q",), {"axes": 2})), "unknown attributes"),
    (lambda m: m.main.inputs.update(z=TensorSpec("f31", (1,))), "f31"),
])
def test_malformed_models_are_not_written(saved, change, message):
    before = saved.read_bytes()
    with pytest.raises(ModelError, match=message) as e:
        save(broken(change), saved)
    assert "the file is damaged" not in str(e.value)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == ["m.pw"]


# ---- hostile input --------------------------------------------------------------------------------------------------

def assemble(header: bytes | dict, data: bytes = b"", length: int | None = None) -> bytes:
    if isinstance(header, dict):
        header = json.dumps(header, separators=(",", ":")).encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def small(**changes) -> dict:
    """JSON of a minimal model; `changes` go to its main net, those named in capitals to the model."""
    net = {"inputs": {"x": {"dtype": "f32", "shape": ["N", 4]}}, "outputs": ["y"], "constants": [],
           "layers": [{"name": "l", "kind": "relu", "inputs": ["x"], "outputs": ["y"]}]}
    model = {"format": 1, "nets": {"main": net}, "meta": {}, "routes": {}}
    for k, v in changes.items():
        if k.isupper():
            model[k.lower()] = v
        else:
            net[k] = v
    return model


def hostile(tmp_path, data: bytes, match: str) -> None:
    (tmp_path / "h.pw").write_bytes(data)
    with pytest.raises(FileFormatError, match=match) as e:
        read(tmp_path / "h.pw")
    assert str(e.value).startswith(str(tmp_path / "h.pw")) and len(str(e.value)) < 3000


def with_model(model: dict | str, tensors: dict | None = None) -> dict:
    text = model if isinstance(model, str) else json.dumps(model)
    return {"__metadata__": {"pathweave": text}, **(tensors or {})}


def test_small_is_valid(tmp_path):
    (tmp_path / "h.pw").write_bytes(assemble(with_model(small())))
    assert read(tmp_path / "h.pw").main.layers[0].kind == "relu"
    short = layer(epilogue={"add": False, "act": "hard_sigmoid", "params": [0.25]})  # the rest are the kind's defaults
    (tmp_path / "h.pw").write_bytes(assemble(with_model(small(layers=short))))
    assert read(tmp_path / "h.pw").main.layers[0].epilogue == Epilogue(False, "hard_sigmoid", (0.25, 0.5))


def layer(**changes) -> list:
    return [{"name": "l", "kind": "relu", "inputs": ["x"], "outputs": ["y"], **changes}]


def nested(depth: int):
    x: list = []
    for _ in range(depth):
        x = [x]
    return x


MODELS = [
    (small(FORMAT=7), "expected 1, got 7; update pathweave"),
    (small(FORMAT=True), "got True"),
    (small(EXTRA=1), "unknown key 'extra'"),
    ({"format": 1, "nets": {}}, "no meta and no routes"),
    (small(NETS={}), "expected main"),
    (small(NETS={"main": 3}), "net main: expected an object"),
    (small(META=[]), "meta: expected an object"),
    (small(META={"a": nested(40)}), "nesting"),
    (json.dumps(small())[:-1] + ',"meta":{"a":' + "[" * 5000 + "]" * 5000 + "}}", "nesting|twice"),
    (small(META={"a": 2**80}), "64 bits"),
    ('{"format":1,"format":1}', "'format' twice"),
    ('{"format":1,"nets":NaN}', "finite"),
    (json.dumps(small(META={"a": 5})).replace("5", "1e999"), "finite"),
    (json.dumps(small(META={"a": 5})).replace("5", "1" * 5000), "JSON|64 bits"),
    (small(META={"a": {"$float": "1.5"}}), r"\$float"),
    (small(META={"a": "\ud800"}), "Unicode"),
    (small(inputs={"x": {"dtype": "f33", "shape": []}}), "f33"),
    (small(inputs={"x": {"dtype": ["f32"], "shape": []}}), "dtype"),
    (small(inputs={"x": {"dtype": "f32", "shape": [-1]}}), "dimensions"),
    (small(inputs={"x": {"dtype": "f32", "shape": [1.5]}}), "dimensions"),
    (small(inputs={"x": {"dtype": "f32", "shape": [True]}}), "dimensions"),
    (small(inputs={"x": {"dtype": "f32", "shape": [1] * 99}}), "at most 64"),
    (small(inputs={"": {"dtype": "f32", "shape": [1]}}), "names"),
    (small(outputs=["z"]), "'z'"),
    (small(outputs=[["y"]]), "names"),
    (small(outputs="y"), "list"),
    (small(constants=["w"]), "a tensor named 'main/w'"),
    (small(constants=[{}]), "names"),
    (small(layers={}), "list"),
    (small(layers=[3]), "layers.0.: expected an object"),
    (small(layers=layer(kind=["relu"])), "kind"),
    (small(layers=layer(kind="a") + layer(kind="b")), "2 unknown: 'a' .*'b'"),
    (small(layers=layer(name="")), "name"),
    (small(layers=layer() * 2), "'l'"),
    (small(layers=layer(inputs=["y"])), "not defined before"),
    (small(layers=layer(inputs=[3])), "names"),
    (small(layers=layer(outputs=[""])), "names"),
    (small(layers=layer(outputs=["x"])), "defined twice"),
    (small(layers=layer(attrs={"alpha": 1})), "unknown attributes"),
    (small(layers=layer(attrs=[])), "attributes"),
    (small(layers=layer(kind="softmax", attrs={"axis": "x"})), "axis"),
    (small(layers=layer(kind="softmax", attrs={"axis": None})), "axis|required"),
    (small(layers=layer(kind="softmax", attrs={"axis": {"$float": "inf"}})), "finite"),
    (small(layers=layer(kind="max_pool2", attrs={})), "kernel"),
    (small(layers=layer(kind="max_pool2", attrs={"kernel": [[2], 2]})), "kernel"),
    (small(layers=layer(kind="max_pool2", attrs={"kernel": [2, {"$float": "nan"}]})), "kernel"),
    (small(layers=layer(epilogue={"add": 1, "act": "", "params": []})), "true or false"),
    (small(layers=layer(epilogue={"add": False, "act": "conv9", "params": []})), "conv9"),
    (small(layers=layer(epilogue={"add": False, "act": "relu", "params": [1]})), "at most 0"),
    (small(layers=layer(epilogue={"add": True, "act": "relu", "params": []}, inputs=[""])), "residual"),
    (small(layers=layer(extra=1)), "extra"),
    (small(ROUTES={"s": {}}), "route 's'"),
    (small(ROUTES={"s": {"signature": 3}}), "signature"),
    (small(ROUTES={"s": {"signature": "s", "threads": 1, "accuracy": "f32", "layers": {"l": 3}}}), "object"),
    (small(ROUTES={"s": {"signature": "s", "threads": 1, "accuracy": "f32", "layers": {"l": {
        "routine": "r", "version": 1, "variant": "", "ins": ["f32:spiral:cpu"], "outs": []}}}}), "spiral"),
    (small(QUANTISATION=[]), "quantisation: expected an object"),
    (small(QUANTISATION={"other": {}}), "some of the nets main, got 'other'"),
    (small(QUANTISATION={"main": []}), "quantisation of main: expected an object"),
    (small(QUANTISATION={"main": {"": [1.0, 0]}}), "names?"),
    (small(QUANTISATION={"main": {"x": 0.5}}), r"\[scale, zero point\]"),
    (small(QUANTISATION={"main": {"x": [0.5, 1, 2]}}), r"\[scale, zero point\]"),
    (small(QUANTISATION={"main": {"x": [0, 0]}}), "a scale from"),
    (small(QUANTISATION={"main": {"x": [-1.5, 0]}}), "a scale from"),
    (small(QUANTISATION={"main": {"x": [True, 0]}}), "a scale from"),
    (small(QUANTISATION={"main": {"x": ["1", 0]}}), "a scale from"),
    (small(QUANTISATION={"main": {"x": [10**400, 0]}}), "a scale from"),
    (json.dumps(small(QUANTISATION={"main": {"x": [5, 0]}})).replace("5,", "1e999,"), "a scale from"),
    (small(QUANTISATION={"main": {"x": [1e-40, 0]}}), "a scale from"),
    (small(QUANTISATION={"main": {"x": [1.0, 256]}}), "a zero point from 0 to 255"),
    (small(QUANTISATION={"main": {"x": [1.0, -1]}}), "a zero point from 0 to 255"),
    (small(QUANTISATION={"main": {"x": [1.0, 1.0]}}), "a zero point from 0 to 255"),
    (small(QUANTISATION={"main": {"\ud800": [1.0, 1]}}), "Unicode"),
    (small(LAYOUTS=["x"]), "layouts: expected an object"),
    (small(LAYOUTS={"z": "nhwc"}), "'z' is neither an input nor an output"),
    (small(LAYOUTS={"y": "spiral"}), "'y' is to lie in 'spiral'"),
    (small(LAYOUTS={"y": 3}), "'y' is to lie in 3"),
    (small(LAYOUTS={"x": "nhwc"}), "it is for rank 4, and the value has rank 2"),
    (small(LAYOUTS={"x": "nchw16c"}, inputs={"x": {"dtype": "f32", "shape": ["N", "C", 4, 4]}}), "16 divides"),
    (small(STATES=["x"]), "states: expected an object"),
    (small(STATES={"x": "y"}), "states, 'x': expected an object"),
    (small(STATES={"x": {}}), "no output"),
    (small(STATES={"x": {"output": "y", "more": 1}}), "unknown key 'more'"),
    (small(STATES={"x": {"output": 5}}), "states, 'x': expected names, got 5"),
    (small(STATES={"x": {"output": ""}}), "states, 'x': expected names"),
    (small(STATES={"z": {"output": "y"}}), "'z' is no input"),
    (small(STATES={"x": {"output": "z"}}), "'z', which the input 'x' is to take, is no output"),
    (small(STATES={"x": {"output": "\ud800"}}), "Unicode"),
    (small(STATES={"x": {"output": "y", "initial": "state/x"}}), "a tensor named 'state/x'"),
    (small(STATES={"x": {"output": "y", "initial": None}}), "a tensor named 'state/x'"),
    (small(STATES={"x": {"output": "y", "initial": ["state/x"]}}), "a tensor named 'state/x'"),
    (small(STATES={"x": {"output": "y", "shape": 4}}), "a list of at most 64 dimensions"),
    (small(STATES={"x": {"output": "y", "shape": None}}), "a list of at most 64 dimensions"),
    (small(STATES={"x": {"output": "y", "shape": [4]}}), "expected rank 2"),
    (small(STATES={"x": {"output": "y", "shape": [-1, 4]}}), "numbers from 0, or symbols"),
    (small(STATES={"x": {"output": "y", "shape": [True, 4]}}), "numbers from 0, or symbols"),
    (small(STATES={"x": {"output": "y", "shape": ["M", 4]}}), "expected a size of 0 or more, or 'N'"),
    (small(STATES={"x": {"output": "y", "shape": [1, 5]}}), "expected 4 in dimension 1"),
    (small(STATES={"x": {"output": "y", "shape": [1, "\ud800"]}}), "Unicode"),
    (small(STATES={"x": {"output": "y"}, "v": {"output": "y"}}, inputs=dict.fromkeys("xv", {"dtype": "f32", "shape": [4]})),
     "both take the output 'y'"),
    ("[]", "object"), ("", "JSON"), ("{", "JSON"),
]


def test_layouts_are_read(tmp_path):
    """Also of an output, whose rank is not known before its net is bound."""
    image = small(LAYOUTS={"x": "nhwc", "y": "nhwc"}, inputs={"x": {"dtype": "f32", "shape": ["N", 3, 4, "W"]}})
    (tmp_path / "h.pw").write_bytes(assemble(with_model(image)))
    assert read(tmp_path / "h.pw").layouts == {"x": "nhwc", "y": "nhwc"}
    assert read_back(tmp_path, make_model()).layouts == {}
    model = make_model()
    model.layouts = {"x": "nhwc", "y": "nchw"}
    assert read_back(tmp_path, model).layouts == model.layouts


def aligned(header: dict) -> dict:
    """The header with spaces in its description, so that data begin at a multiple of 8 bytes."""
    header["__metadata__"]["pathweave"] += " " * (-len(json.dumps(header, separators=(",", ":"))) % 8)
    return header


STATED = {"x": {"output": "y", "initial": "state/x"}}


def test_states_are_read(tmp_path):
    header = aligned(with_model(small(STATES=STATED), {"state/x": tensor(shape=(1, 4), offsets=(0, 16))}))
    (tmp_path / "h.pw").write_bytes(assemble(header, np.arange(4, dtype="<f4").tobytes()))
    state = read(tmp_path / "h.pw").states["x"]
    assert (state.output, state.initial.tolist(), state.shape) == ("y", [[0, 1, 2, 3]], None)
    assert read_back(tmp_path, make_model()).states == {}
    for shape in ((2, 4), ("N", 4), None):
        model = Model(read(tmp_path / "h.pw").nets, states={"x": State("y", None, shape)})
        state = read_back(tmp_path, model).states["x"]
        assert (state.output, state.initial, state.shape) == ("y", None, shape)
        assert damage(tmp_path / "again.pw") == []


def test_initial_values_lie_in_the_file(tmp_path):
    """Read by the safetensors library, mapped, and missed when they are damaged."""
    first = np.random.default_rng(0).standard_normal((1, 3, 0, 8)).astype("f4"), np.arange(48, dtype="f4").reshape(2, 3, 1, 8)
    for array in first:
        model = make_model()
        model.states = {"x": State("y", array.transpose(0, 1, 2, 3))}
        save(model, tmp_path / "s.pw")
        assert np.array_equal(load_file(tmp_path / "s.pw")["state/x"], array)
        found = read(tmp_path / "s.pw").states["x"].initial
        assert np.array_equal(found, array) and not found.flags.writeable and (array.size == 0 or not found.flags.owndata)
        save(read(tmp_path / "s.pw"), tmp_path / "again.pw")
        assert (tmp_path / "again.pw").read_bytes() == (tmp_path / "s.pw").read_bytes()
    data = bytearray((tmp_path / "s.pw").read_bytes())
    at = bytes(data).index(array.tobytes())
    data[at] ^= 1
    (tmp_path / "s.pw").write_bytes(data)
    assert damage(tmp_path / "s.pw") == ["state/x"]
    model.states = {"x": State("y", np.zeros((1, 3, 1, 8), "c8"))}
    with pytest.raises(ModelError, match="initial value of a state: element type complex64"):
        save(model, tmp_path / "s.pw")


@pytest.mark.parametrize("states, name, dtype, shape, match", [
    (STATED, "state/x", "F64", (1, 4), "expected element type float32"),
    (STATED, "state/x", "F32", (1, 5), "expected 4 in dimension 1"),
    (STATED, "state/x", "F32", (4,), "expected rank 2"), (STATED, "state/y", "F32", (1, 4), "a tensor named 'state/x'"),
    ({"x": {"output": "y"}}, "state/x", "F32", (1, 4), "only constants that a net names"),
    ({"x": {**STATED["x"], "shape": [1, 4]}}, "state/x", "F32", (1, 4), "an initial tensor or a shape, got both")])
def test_hostile_initial_values(tmp_path, states, name, dtype, shape, match):
    size = int(np.prod(shape)) * (8 if dtype == "F64" else 4)
    header = with_model(small(STATES=states), {name: tensor(dtype, shape, (0, size))})
    hostile(tmp_path, assemble(aligned(header), bytes(size)), match)


def read_back(folder, model: Model) -> Model:
    save(model, folder / "again.pw")
    return read(folder / "again.pw")


def test_scales_are_read(tmp_path):
    (tmp_path / "h.pw").write_bytes(assemble(with_model(small(QUANTISATION={"main": {"x": [0.1, 7], "y": [1, 255]}}))))
    found = read(tmp_path / "h.pw").quantisation["main"]
    assert found == {"x": Scale(float(np.float32(0.1)), 7), "y": Scale(1.0, 255)}


@pytest.mark.parametrize("model, match", MODELS, ids=range(len(MODELS)))
def test_hostile_descriptions(tmp_path, model, match):
    hostile(tmp_path, assemble(with_model(model)), match)


def tensor(dtype="F32", shape=(2,), offsets=(0, 8)) -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


TENSORS = [
    ({"main/w": tensor(offsets=(0, 16))}, 8, "within 0 to 8"),
    ({"main/w": tensor(offsets=(-8, 0))}, 8, "within"),
    ({"main/w": tensor(offsets=(8, 0))}, 8, "within"),
    ({"main/w": tensor(offsets=(0.0, 8))}, 8, "within"),
    ({"main/w": tensor(offsets=(0, 8, 8))}, 8, "within"),
    ({"main/w": tensor(offsets=(4, 12))}, 12, "from byte 0"),
    ({"main/w": tensor(), "main/v": tensor()}, 8, "from byte 8"),
    ({"main/w": tensor(), "main/v": tensor(offsets=(4, 12))}, 12, "from byte 8"),
    ({"main/w": tensor()}, 9, "8 bytes of data"),
    ({"main/w": tensor(shape=(3,))}, 8, "12 bytes for F32"),
    ({"main/w": tensor(shape=(2**33, 2**33))}, 8, "bytes for F32"),
    ({"main/w": tensor(shape=(2**62, 4))}, 8, "numbers from 0"),
    ({"main/w": tensor(shape=(0, 2**40, 2**40), offsets=(0, 0))}, 0, "size that memory can hold"),
    ({"main/w": tensor(shape=(-2,))}, 8, "numbers from 0"),
    ({"main/w": tensor(shape=(True, 2))}, 8, "numbers from 0"),
    ({"main/w": tensor(shape=[1] * 65 + [2])}, 8, "at most 64"),
    ({"main/w": tensor("BF16", (4,))}, 8, "one of F64"),
    ({"main/w": tensor(["F32"])}, 8, "one of F64"),
    ({"main/w": tensor("BOOL", (8,))}, b"\0\1\2\0\0\0\0\0", "bytes 0 and 1"),
    ({"main/v": tensor("U8", (1,), (0, 1)), "main/w": tensor(offsets=(1, 9))}, 9, "multiple of 4|multiple"),
    ({"main/w": [1]}, 8, "dtype, shape and data_offsets"),
    ({"main/w": {**tensor(), "more": 1}}, 8, "dtype, shape and data_offsets"),
    ({"stray": tensor()}, 8, "constants that a net names"),
]


@pytest.mark.parametrize("tensors, data, match", TENSORS, ids=range(len(TENSORS)))
def test_hostile_tensors(tmp_path, tensors, data, match):
    names = [n.split("/")[1] for n in tensors if "/" in n]
    header = json.dumps(with_model(small(constants=names), tensors), separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    hostile(tmp_path, assemble(header, data if isinstance(data, bytes) else bytes(data)), match)


def test_hostile_envelopes(tmp_path):
    good = assemble(with_model(small()))
    hostile(tmp_path, b"", "0 bytes")
    hostile(tmp_path, b"PK\3\4 not a model at all", "a pathweave model")
    for length in (2**64 - 1, 2**63, len(good) - 7, 0, 3):
        hostile(tmp_path, struct.pack("<Q", length) + good[8:], "header length")
    hostile(tmp_path, good[:60] + b"\xff" + good[61:], "UTF-8")
    hostile(tmp_path, assemble({"__metadata__": {"pathweave": "{}", "more": 3}}), "__metadata__")
    hostile(tmp_path, assemble(b'{"__metadata__":{"pathweave":"{}"},"__metadata__":{}}'), "twice")
    hostile(tmp_path, assemble(b'{"__metadata__":{"pathweave":"{}"}}]'), "JSON")
    save_file({"w": np.zeros(3)}, tmp_path / "plain.safetensors")
    hostile(tmp_path, (tmp_path / "plain.safetensors").read_bytes(), "weights alone")


def test_no_memory_blow_up(tmp_path, monkeypatch):
    monkeypatch.setattr(spec, "MAX_VALUES", 10_000)
    hostile(tmp_path, assemble(with_model('{"a":[' + "[]," * 100_000 + "[]]}")), "at most 10000 JSON values")
    monkeypatch.setattr(spec, "MAX_TEXT", 1000)
    hostile(tmp_path, assemble(b'{"__metadata__":{"pathweave":"{}"}}' + b" " * 2000), "header length")
    with pytest.raises(ModelError, match="description takes"):
        save(make_model(), tmp_path / "m.pw")


def read_or_error(path, data: bytes) -> bool:
    """True when the bytes are read, False for an error of ours; anything else fails the test."""
    path.write_bytes(data)
    try:
        model = read(path)
    except Error as e:
        assert isinstance(e, ModelError) and len(str(e)) < 3000
        return False
    for net in model.nets.values():  # every view can be touched
        for array in net.constants.values():
            array.tobytes()
    return True


def test_truncated_anywhere(saved, tmp_path):
    data = saved.read_bytes()
    for n in range(0, len(data), 97):
        assert not read_or_error(tmp_path / "t.pw", data[:n]), n
    assert read_or_error(tmp_path / "t.pw", data)


def test_random_damage(saved, tmp_path):
    """2,000 flips, cuts, insertions and swaps of a valid file, in the header and in the tensors."""
    data, rng, outcomes = saved.read_bytes(), random.Random(20240607), []
    header = 8 + struct.unpack_from("<Q", data)[0]
    for _ in range(2000):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            if not damaged:
                break
            # half of the places in the tensors, which are few bytes here
            tensors = rng.random() < 0.5 and len(damaged) > header
            at = rng.randrange(header, len(damaged)) if tensors else rng.randrange(len(damaged))
            kind = rng.randrange(5)
            if kind == 0:
                damaged[at] ^= 1 << rng.randrange(8)
            elif kind == 1:
                damaged[at] = rng.choice(b'0123456789-.eE[]{},:"\\ nu')
            elif kind == 2:
                del damaged[at:at + rng.choice((1, 4, 64, len(data)))]
            elif kind == 3:
                damaged[at:at] = bytes(rng.choice(b'0129[]{}",\\') for _ in range(rng.randrange(1, 5)))
            else:
                other = rng.randrange(len(damaged))
                damaged[at:at + 8], damaged[other:other + 8] = damaged[other:other + 8], damaged[at:at + 8]
        outcomes.append(read_or_error(tmp_path / "d.pw", bytes(damaged)))
    assert 100 < sum(outcomes) < 1900  # the damage is neither void nor always fatal


def test_random_damage_of_the_description(tmp_path):
    """1,000 random replacements of values inside otherwise valid JSON: reaches behind the parser."""
    base, rng = spec.encode(make_model()), random.Random(7)
    values = [None, True, -1, 0, 2**63, 1.5, "", "x", "\ud800", [], {}, [[]], {"$float": "nan"}, ["x"] * 3, {"a": 1}]
    tensors = {f"{n}/{c}": a for n, net in make_model().nets.items() for c, a in net.constants.items()}
    refused = 0

    def places(x):
        items = list(x.items()) if isinstance(x, dict) else list(enumerate(x)) if isinstance(x, list) else []
        return [(x, k) for k, _ in items] + [p for _, v in items for p in places(v)]

    for _ in range(1000):
        data = json.loads(json.dumps(base))
        container, key = rng.choice(places(data))
        container[key] = rng.choice(values)
        try:
            spec.decode(data, tensors)
        except Error as e:
            assert isinstance(e, ModelError)
            refused += 1
    assert 500 < refused < 1000


def test_the_writer_is_in_the_module_that_profiles_use():
    assert pw_file.atomic_writer is atomic_writer


# ---- digests --------------------------------------------------------------------------------------------------------

def test_every_flipped_byte_of_the_weights_is_found(saved, tmp_path):
    """Finding 44: each byte after the header, and the text of the model; against the bytes themselves."""
    data = saved.read_bytes()
    assert damage(saved) == []
    start = 8 + int.from_bytes(data[:8], "little")
    text = data.index(b"nets")
    victim = tmp_path / "victim.pw"
    missed = []
    for at in [*range(start, len(data), max(1, (len(data) - start) // 200)), len(data) - 1]:
        changed = bytearray(data)
        changed[at] ^= 1
        victim.write_bytes(changed)
        try:
            found = damage(victim)
        except FileFormatError:  # a truth value that is none
            continue
        if len(found) != 1:
            missed.append(at)
    assert not missed
    changed = bytearray(data)
    changed[text] = ord("N")
    victim.write_bytes(changed)
    assert damage(victim) == ["pathweave"]


def test_a_file_of_before_has_no_digests_and_is_read(saved, tmp_path):
    data = saved.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    del header["__metadata__"]["digests"]
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    old = tmp_path / "old.pw"
    old.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length:])
    assert damage(old) is None
    before, again = read(saved), read(old)
    for name, net in before.nets.items():
        assert all(np.array_equal(again.nets[name].constants[c], a) for c, a in net.constants.items())


def test_digests_of_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ModelFileError):
        damage(tmp_path / "none.pw")
    (tmp_path / "text.pw").write_text("x" * 100)
    with pytest.raises(FileFormatError):
        damage(tmp_path / "text.pw")


@pytest.mark.parametrize("meta", [
    {"$float": "nan"}, [], 1, None, {"labels": 5}, {"labels": {"a": 1}}, {"labels": "text"}, {"default_inputs": 3},
    {"default_inputs": [1]}, {"default_inputs": {"x": 1}}, {"default_inputs": {"$float": "inf"}}])
def test_meta_data_that_the_package_reads_are_of_their_types(meta):
    data = spec.encode(make_model())
    arrays = {f"{n}/{c}": a for n, net in make_model().nets.items() for c, a in net.constants.items()}
    spec.decode(json.loads(json.dumps(data)), arrays)
    with pytest.raises(FileFormatError, match="meta"):
        spec.decode({**data, "meta": meta}, arrays)
