"""The door `pathweave.onnxruntime`: sessions do what those of ONNX Runtime do, call by call."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

import pathweave
import pathweave.onnxruntime as ours
from pathweave.onnxruntime.capi import onnxruntime_pybind11_state as states

theirs = pytest.importorskip("onnxruntime", reason="onnxruntime, which the calls are compared with, is not installed")


def _bytes(nodes, inputs, outputs, initializers=(), **more) -> bytes:
    def infos(values):
        return [helper.make_tensor_value_info(*v) for v in values]
    graph = helper.make_graph(nodes, "some graph", infos(inputs), infos(outputs), list(initializers), doc_string="of the graph")
    options = {"opset_imports": [helper.make_opsetid("", 17)], "ir_version": 8, "producer_name": "maker", **more}
    model = helper.make_model(graph, **options)
    helper.set_model_props(model, {"key": "value"})
    return model.SerializeToString()


@pytest.fixture(scope="module")
def model() -> bytes:
    """y = x + w, where a call may give w; z = n as float."""
    return _bytes([helper.make_node("Add", ["x", "w"], ["y"]), helper.make_node("Cast", ["n"], ["z"], to=T.FLOAT)],
                  [("x", T.FLOAT, ["N", None, 3]), ("n", T.INT64, [2]), ("w", T.FLOAT, [3])],
                  [("y", T.FLOAT, ["N", None, 3]), ("z", T.FLOAT, None)],
                  [helper.make_tensor("w", T.FLOAT, [3], [1, 2, 3])], domain="dom", doc_string="of the model", model_version=5)


@pytest.fixture(scope="module")
def both(model):
    return [(engine, engine.InferenceSession(model, providers=["CPUExecutionProvider"])) for engine in (ours, theirs)]


X, N = np.ones((1, 2, 3), np.float32), np.array([4, 5])


@pytest.mark.parametrize("what", ["get_inputs", "get_outputs", "get_overridable_initializers"])
def test_inputs_and_outputs_are_described_alike(both, what):
    own, other = ([(a.name, a.shape, a.type, str(a)) for a in getattr(session, what)()] for _, session in both)
    assert own == other and own


def test_meta_data_are_told_alike(both):
    own, other = (session.get_modelmeta() for _, session in both)
    fields = [f for f in dir(other) if not f.startswith("_")]
    assert {f: getattr(own, f) for f in fields} == {f: getattr(other, f) for f in fields}
    assert own.custom_metadata_map == {"key": "value"} and own.version == 5


@pytest.mark.parametrize("names", [None, [], ["z"], ["z", "y", "z"]])
@pytest.mark.parametrize("feed", [
    {"x": X, "n": N}, {"n": N, "x": X}, {"x": X.tolist(), "n": [4, 5]}, {"x": np.zeros((0, 2, 3), np.float32), "n": N},
    {"x": X, "n": N, "w": np.full(3, 9, np.float32)},
    {"x": np.asfortranarray(np.arange(12.).reshape(2, 2, 3)).astype("f4"), "n": N},
], ids=["arrays", "order", "lists", "empty", "initializer", "fortran"])
def test_results_are_equal(both, names, feed):
    own, other = (session.run(names, feed) for _, session in both)
    assert isinstance(own, list) and len(own) == len(other)
    for a, b in zip(own, other):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("names", "feed", "words"), [
    (["nope"], {"x": X, "n": N}, "Invalid output name:nope"),
    (None, {"x": X, "n": N, "q": N}, "Invalid input name: q"),
    (None, {"x": X.astype("f8"), "n": N}, "Unexpected input data type. Actual: (tensor(double)) , expected: (tensor(float))"),
    (None, {"x": X, "n": N.astype("i4")}, "Unexpected input data type. Actual: (tensor(int32)) , expected: (tensor(int64))"),
    (None, {"x": X[0], "n": N}, "Invalid rank for input: x Got: 2 Expected: 3"),
    (None, {"x": X[..., :2], "n": N}, "index: 2 Got: 2 Expected: 3"),
    (None, {"x": X, "n": N[:1]}, "Got invalid dimensions for input: n"),
    (None, {"x": X}, "Required inputs (['n']) are missing from input feed (['x'])"),
    (None, {"x": X, "n": 3}, "Unable to handle object of type <class 'int'>"),
    (None, {"x": X, "n": np.int64(3)}, "Unable to handle object of type <class 'numpy.int64'>"),
    (None, {"x": [[[1, 2, 3], [1, 2]]], "n": N}, "Could not create tensor from given input list"),
])
def test_what_is_wrong_with_a_call_is_said_in_the_same_words(both, names, feed, words):
    found = []
    for _, session in both:
        with pytest.raises(Exception) as e:  # noqa: PT011  (which one is compared below)
            session.run(names, feed)
        assert words in str(e.value)
        found.append(e.value)
    own, other = found
    assert isinstance(own, pathweave.Error)
    if type(other).__module__ == "builtins":
        assert isinstance(own, type(other))
    else:
        assert type(own).__name__ == type(other).__name__
        assert " : {1} : {2} : ".format(*str(other).split(" : ")) in str(own)


@pytest.mark.parametrize(("source", "own", "cause"), [
    ("/no/such.onnx", states.NoSuchFile, pathweave.errors.FileFormatError),
    (b"\xff\xff\xff", states.InvalidProtobuf, pathweave.errors.FileFormatError),
    (_bytes([helper.make_node("Nope", ["x"], ["y"])], [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])]), states.NotImplemented,
     pathweave.errors.UnsupportedOperatorError),
    (_bytes([helper.make_node("Relu", ["q"], ["y"])], [("x", T.FLOAT, [1])], [("y", T.FLOAT, [1])]), states.InvalidGraph,
     pathweave.errors.ModelError),
    (b"", states.InvalidArgument, pathweave.errors.FileFormatError),
    (onnx.ModelProto(ir_version=8).SerializeToString(), states.InvalidArgument, pathweave.errors.FileFormatError),
    (os.curdir, states.InvalidProtobuf, pathweave.errors.FileFormatError),
])
def test_a_model_that_cannot_be_loaded_is_an_exception_of_the_same_family(source, own, cause):
    with pytest.raises(own) as e:
        ours.InferenceSession(source)
    assert isinstance(e.value.__cause__, cause)
    copy = pickle.loads(pickle.dumps(e.value))
    assert type(copy) is own and str(copy) == str(e.value)


def test_a_file_that_is_none_or_empty_is_the_same_exception(tmp_path):
    (tmp_path / "empty.onnx").touch()
    for engine in (ours, theirs):
        kinds = engine.capi.onnxruntime_pybind11_state
        with pytest.raises(kinds.InvalidArgument, match=r"empty.onnx failed: ?No graph was found"):
            engine.InferenceSession(tmp_path / "empty.onnx")
        for source in (b"", onnx.ModelProto(ir_version=8).SerializeToString()):
            with pytest.raises(kinds.InvalidArgument, match="No graph was found"):
                engine.InferenceSession(source)
        with pytest.raises(kinds.InvalidProtobuf):
            engine.InferenceSession(tmp_path)
        with pytest.raises(kinds.NoSuchFile):
            engine.InferenceSession(tmp_path / "none.onnx")


@pytest.mark.parametrize("engine", [ours, theirs])
def test_another_source_is_a_type_error(engine):
    with pytest.raises(TypeError, match="Unable to load from type '<class 'int'>'"):
        engine.InferenceSession(5)


def test_an_initializer_that_is_an_input_is_a_constant_before_ir_version_4(model):
    proto = onnx.load_from_string(model)
    proto.ir_version = 3
    for engine in (ours, theirs):
        session = engine.InferenceSession(proto.SerializeToString())
        assert session.get_overridable_initializers() == []
        with pytest.raises(Exception, match="Invalid input name: w"):
            session.run(None, {"x": X, "n": N, "w": np.zeros(3, np.float32)})


def test_dimensions_with_one_symbol_may_differ():
    source = _bytes([helper.make_node("Add", ["x", "z"], ["y"])], [("x", T.FLOAT, ["N", 2]), ("z", T.FLOAT, ["N", 2])],
                    [("y", T.FLOAT, ["N", 2])])
    x, z = np.ones((1, 2), np.float32), np.arange(6, dtype=np.float32).reshape(3, 2)
    for engine in (ours, theirs):
        session = engine.InferenceSession(source)
        np.testing.assert_array_equal(session.run(None, {"x": x, "z": z})[0], x + z)
        np.testing.assert_array_equal(session.run(None, {"x": z, "z": z})[0], z + z)
        with pytest.raises(Exception, match="Add"):
            session.run(None, {"x": np.ones((2, 2), np.float32), "z": z})


def test_free_dimensions_are_fixed_by_options(model):
    shapes = []
    for engine in (ours, theirs):
        options = engine.SessionOptions()
        options.add_free_dimension_override_by_name("N", 4)
        session = engine.InferenceSession(model, options)
        shapes.append([a.shape for a in session.get_inputs() + session.get_outputs()])
        with pytest.raises(Exception, match="Got invalid dimensions for input: x"):
            session.run(None, {"x": X, "n": N})
        assert session.run(["y"], {"x": np.ones((4, 1, 3), np.float32), "n": N})[0].shape == (4, 1, 3)
    assert shapes[0] == shapes[1]


def test_bound_memory_is_read_and_written(both):
    for engine, session in both:
        binding = session.io_binding()
        binding.bind_cpu_input("x", X)
        n = N.copy()
        binding.bind_input("n", "cpu", 0, np.int64, [2], n.ctypes.data)
        binding.bind_output("z")
        y = engine.OrtValue.ortvalue_from_shape_and_type([1, 2, 3], np.float32)
        binding.bind_ortvalue_output("y", y)
        for number in (4, 40):  # what is bound is read when the session runs
            n[0] = number
            session.run_with_iobinding(binding)
            z, copied = binding.copy_outputs_to_cpu()
            np.testing.assert_array_equal(z, [number, 5])
            np.testing.assert_array_equal(copied, X + [1, 2, 3])
            np.testing.assert_array_equal(y.numpy(), copied)
            assert [v.shape() for v in binding.get_outputs()] == [[2], [1, 2, 3]]
        place = np.zeros((1, 2, 3), np.float32)
        binding.clear_binding_outputs()
        binding.bind_output("y", "cpu", 0, np.float32, [1, 2, 3], place.ctypes.data)
        session.run_with_iobinding(binding)
        np.testing.assert_array_equal(place, X + [1, 2, 3])
        with pytest.raises(RuntimeError, match="Failed to find NodeArg with name: zz"):
            binding.bind_cpu_input("zz", X)
        binding.clear_binding_outputs()
        with pytest.raises(RuntimeError, match="At least one output should be requested"):
            session.run_with_iobinding(binding)


def test_values_tell_the_same(both):
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    told = []
    for engine, session in both:
        value = engine.OrtValue.ortvalue_from_numpy(array.copy())
        told.append((value.shape(), value.data_type(), value.element_type(), value.device_name(), value.is_tensor(),
                     value.has_value(), value.is_sparse_tensor(), value.is_tensor_sequence(), value.tensor_size_in_bytes(),
                     value.__dlpack_device__(), value.numpy().tolist()))
        value.update_inplace(array * 2)
        np.testing.assert_array_equal(value.numpy(), array * 2)
        x, n = engine.OrtValue.ortvalue_from_numpy(X), engine.OrtValue.ortvalue_from_numpy(N)
        found = session.run_with_ort_values(["z", "y"], {"x": x, "n": n})
        assert [v.data_type() for v in found] == ["tensor(float)"] * 2
        np.testing.assert_array_equal(found[1].numpy(), X + [1, 2, 3])
        assert engine.OrtValue.ortvalue_from_shape_and_type([2], T.BFLOAT16).data_type() == "tensor(bfloat16)"
        with pytest.raises(RuntimeError):
            engine.OrtValue.ortvalue_from_numpy(array, "cuda", 0)
    assert told[0] == told[1]


def test_calls_from_threads_and_with_a_callback(both):
    for _, session in both:
        found, done = [], threading.Event()

        def take(results, data, error, found=found, done=done):
            found.append((results, data, error))
            done.set()
        session.run_async(["z"], {"x": X, "n": N}, take, "data")
        assert done.wait(30)
        (results, data, error), = found
        np.testing.assert_array_equal(results[0], [4, 5])
        assert (data, error) == ("data", "")


def test_a_run_that_is_to_end_fails(both):
    for engine, session in both:
        options = engine.RunOptions()
        options.terminate = True
        with pytest.raises(Exception, match="terminate flag") as e:
            session.run(None, {"x": X, "n": N}, options)
        assert type(e.value).__name__ == "Fail"


def test_a_profile_is_a_trace(model, tmp_path):
    options = ours.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(tmp_path / "trace")
    session = ours.InferenceSession(model, options)
    assert session.get_profiling_start_time_ns() > 0
    session.run(None, {"x": X, "n": N})
    session.run(None, {"x": X, "n": N})
    with open(session.end_profiling(), encoding="utf-8") as f:
        assert [e["name"] for e in json.load(f)] == ["session_initialization", "model_run", "model_run"]
    assert session.end_profiling() == ""


def test_threads_are_those_of_the_options(model):
    options = ours.SessionOptions()
    options.intra_op_num_threads = 1
    assert ours.InferenceSession(model, options)._model.threads == 1
    assert ours.InferenceSession(model)._model.threads == pathweave.load(model).threads


@pytest.fixture
def files(tmp_path):
    """A model, a second file of the same net with a tuned route, and the route as JSON."""
    weight = helper.make_tensor("w", T.FLOAT, [8, 3, 3, 3], np.random.default_rng(0).standard_normal(8 * 27).astype("f4"))
    source = _bytes([helper.make_node("Conv", ["x", "w"], ["y"])], [("x", T.FLOAT, [1, 3, 9, 9])],
                    [("y", T.FLOAT, [1, 8, 7, 7])], [weight])
    (tmp_path / "m.onnx").write_bytes(source)
    loaded = pathweave.load(source, threads=1)
    route = pathweave.default_route(loaded, 1, restrict="conv2/im2col")
    loaded.add_route(route)
    loaded.save(tmp_path / "tuned.pw")
    (tmp_path / "route.json").write_text(json.dumps(route.to_json()))
    return tmp_path, route


@pytest.mark.parametrize("name", ["tuned.pw", "route.json"])
def test_a_tuned_route_is_taken_from_the_file_that_an_option_names(files, name):
    folder, route = files
    options = ours.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("pathweave.route", str(folder / name))
    session = ours.InferenceSession(folder / "m.onnx", options)
    assert session._model.route().to_json() == route.to_json()
    plain = ours.InferenceSession(folder / "m.onnx")
    assert plain._model.routes == {}
    x = np.random.default_rng(1).standard_normal((1, 3, 9, 9)).astype("f4")
    expected, = theirs.InferenceSession(folder / "m.onnx").run(None, {"x": x})
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-5)


def test_a_file_of_the_own_format_runs_too(files):
    folder, _ = files
    session = ours.InferenceSession(str(folder / "tuned.pw"))
    assert [str(a) for a in session.get_inputs() + session.get_outputs()] == [
        "NodeArg(name='x', type='tensor(float)', shape=[1, 3, 9, 9])",
        "NodeArg(name='y', type='tensor(float)', shape=[1, 8, 7, 7])"]
    assert session.run(["y"], {"x": np.zeros((1, 3, 9, 9), np.float32)})[0].shape == (1, 8, 7, 7)


def test_a_route_that_is_not_there_or_of_another_net_is_refused(files, model):
    folder, _ = files
    options = ours.SessionOptions()
    options.add_session_config_entry("pathweave.route", str(folder / "nope.pw"))
    with pytest.raises(states.NoSuchFile, match="nope.pw"):
        ours.InferenceSession(folder / "m.onnx", options)
    options.add_session_config_entry("pathweave.route", str(folder / "tuned.pw"))
    with pytest.raises(states.InvalidArgument):
        ours.InferenceSession(model, options)
    with pytest.raises(states.InvalidArgument, match="pathweave.rote"):
        options.add_session_config_entry("pathweave.rote", "x")


def test_an_application_that_imports_the_other_name_gets_this_one(tmp_path, model):
    """In a process of its own: `install()` before the application's imports, and nothing of it changed."""
    (tmp_path / "m.onnx").write_bytes(model)
    code = """
import pathweave.onnxruntime
pathweave.onnxruntime.install()
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from onnxruntime.capi import _pybind_state as C
from onnxruntime.capi.onnxruntime_inference_collection import InferenceSession
assert InferenceSession is ort.InferenceSession and C.InvalidArgument is InvalidArgument
try:
    ort.InferenceSession("m.onnx").run(None, {"x": [1], "n": [1, 2]})
except ort.capi.onnxruntime_pybind11_state.InvalidArgument as e:
    print("refused", ort.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.split() == ["refused", "pathweave.onnxruntime"], done.stderr
    plain = "import pathweave.onnxruntime as o; print(o.capi.onnxruntime_pybind11_state.Fail.__name__)"
    done = subprocess.run([sys.executable, "-c", plain], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["Fail"], done.stderr
    late = subprocess.run([sys.executable, "-c", "import onnxruntime, pathweave.onnxruntime as o; o.install()"],
                          capture_output=True, text=True, check=False)
    assert "onnxruntime was imported already" in late.stderr
