"""The door `pathweave.onnxruntime` has every public name of the installed ONNX Runtime, or says why not."""

from __future__ import annotations

import enum
import inspect
import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper

import pathweave
import pathweave.onnxruntime as ours
from pathweave.onnxruntime.absent import ABSENT
from pathweave.onnxruntime.capi import onnxruntime_pybind11_state as states

theirs = pytest.importorskip("onnxruntime", reason="onnxruntime, whose names are compared, is not installed")

CLASSES = ("InferenceSession", "SessionOptions", "RunOptions", "OrtValue", "IOBinding", "NodeArg", "ModelMetadata", "OrtDevice",
           "GraphOptimizationLevel", "ExecutionMode", "ExecutionOrder")
#: Names of their module that are no part of its interface: modules, and what it needs while it is imported.
INTERNAL = ("capi", "contextlib", "import_capi_exception", "onnxruntime_validation", "package_name", "version")
#: Exceptions by which a run or a load fails.
EXCEPTIONS = sorted(n for n, v in vars(theirs.capi.onnxruntime_pybind11_state).items()
                    if inspect.isclass(v) and issubclass(v, Exception))


def _negation() -> bytes:
    """y = -x of two elements."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def _public(thing) -> list[str]:
    return [n for n in dir(thing) if not n.startswith("_")]


def test_every_name_is_there_or_refused_with_a_reason():
    missing = [n for n in _public(theirs) if n not in INTERNAL and not inspect.ismodule(getattr(theirs, n))
               and not hasattr(ours, n) and n not in ABSENT]
    assert missing == []


@pytest.mark.parametrize("name", CLASSES)
def test_every_attribute_of_a_class_is_there_or_refused_with_a_reason(name):
    own, other = getattr(ours, name), getattr(theirs, name)
    fields = {*getattr(own, "__dataclass_fields__", ()), *(("name", "value") if issubclass(own, enum.Enum) else ())}
    missing = [n for n in _public(other) if not hasattr(own, n) and n not in fields and f"{name}.{n}" not in ABSENT]
    assert missing == []


def test_nothing_is_said_to_be_absent_that_is_there():
    for name in ABSENT:
        holder, _, attribute = name.rpartition(".")
        found = getattr(ours, holder) if holder else ours
        assert attribute not in vars(found), name


def test_a_name_that_is_absent_says_why():
    with pytest.raises(AttributeError, match="LoRA adapters are not supported"):
        ours.LoraAdapter  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        ours.nope  # noqa: B018


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_is_there(name):
    own = getattr(states, name)
    assert issubclass(own, pathweave.Error) and own.__name__ == name


@pytest.mark.parametrize("name", ["SessionOptions", "RunOptions"])
def test_options_have_the_same_defaults(name):
    own, other = getattr(ours, name)(), getattr(theirs, name)()
    plain = [a for a in _public(other) if not callable(getattr(other, a))]
    assert plain
    for attribute in plain:
        value, expected = getattr(own, attribute), getattr(other, attribute)
        assert str(value) == str(expected), attribute
        setattr(own, attribute, value)
    with pytest.raises(AttributeError):
        own.no_such_option = 1


@pytest.mark.parametrize("engine", [ours, theirs])
def test_options_refuse_values_of_another_type(engine):
    options = engine.SessionOptions()
    options.intra_op_num_threads = 3
    assert options.intra_op_num_threads == 3
    for attribute, value in (("intra_op_num_threads", "3"), ("graph_optimization_level", 1), ("logid", 5)):
        with pytest.raises(TypeError):
            setattr(options, attribute, value)
    options.add_session_config_entry("session.some", "1")
    assert options.get_session_config_entry("session.some") == "1"
    with pytest.raises(RuntimeError, match="does not have configuration with key: other"):
        options.get_session_config_entry("other")
    with pytest.raises(RuntimeError, match="does not have configuration with key: other"):
        engine.RunOptions().get_run_config_entry("other")
    for key in ("", "k" * 1025):
        with pytest.raises(RuntimeError, match="Config key is empty or longer than maximum length 1024"):
            options.add_session_config_entry(key, "1")


@pytest.mark.parametrize("engine", [ours, theirs])
def test_options_convert_what_is_nearly_of_their_type(engine):
    options = engine.SessionOptions()
    for value in (1, np.bool_(True), True, 2.5):
        options.enable_profiling = False
        options.enable_profiling = value
        assert options.enable_profiling is True
    options.intra_op_num_threads = np.int64(2)
    options.logid = b"name"
    assert (options.intra_op_num_threads, options.logid) == (2, "name")


@pytest.mark.parametrize("engine", [ours, theirs])
def test_options_of_a_session_are_a_copy(engine):
    options = engine.SessionOptions()
    options.logid = "before"
    session = engine.InferenceSession(_negation(), options)
    options.logid = "after"
    assert session.get_session_options().logid == "before"
    assert engine.InferenceSession(_negation(), {}).get_session_options().logid == ""


@pytest.mark.parametrize("engine", [ours, theirs])
def test_members_of_enumerations_are_their_numbers(engine):
    level = engine.GraphOptimizationLevel
    assert level.ORT_ENABLE_ALL == 99 and level(1) == level.ORT_ENABLE_BASIC != level.ORT_ENABLE_ALL
    assert level.ORT_ENABLE_ALL != "99" and {level.ORT_ENABLE_ALL: 1}[level(99)] == 1


@pytest.mark.parametrize("engine", [ours, theirs])
def test_a_session_knows_the_path_of_its_model(engine, tmp_path):
    """No public name, but packages around ONNX Runtime read it."""
    (tmp_path / "m.onnx").write_bytes(_negation())
    assert engine.InferenceSession(str(tmp_path / "m.onnx"))._model_path == str(tmp_path / "m.onnx")
    assert engine.InferenceSession(_negation())._model_path is None


@pytest.mark.parametrize("engine", [ours, theirs])
def test_inputs_can_be_keys(engine):
    session = engine.InferenceSession(_negation())
    assert {a: a.name for a in session.get_inputs()}[session.get_inputs()[0]] == "x"


@pytest.mark.parametrize("engine", [ours, theirs])
def test_a_value_of_a_negative_size_is_a_runtime_error(engine):
    with pytest.raises(RuntimeError, match="shape"):
        engine.OrtValue.ortvalue_from_shape_and_type([-1, 2], np.float32)


@pytest.mark.parametrize("name", ["GraphOptimizationLevel", "ExecutionMode", "ExecutionOrder"])
def test_enumerations_have_the_same_members(name):
    own, other = getattr(ours, name).__members__, getattr(theirs, name).__members__
    assert {n: int(v) for n, v in own.items()} == {n: int(v) for n, v in other.items()}


@pytest.mark.parametrize("method", ["run", "run_with_iobinding", "run_with_ort_values", "run_async", "set_providers",
                                    "io_binding"])
def test_methods_take_the_same_arguments(method):
    own, other = (list(inspect.signature(getattr(e.InferenceSession, method)).parameters) for e in (ours, theirs))
    assert own == other


def test_what_is_asked_for_in_vain_is_a_warning():
    source = _negation()
    with pytest.warns(UserWarning, match="Specified provider 'CUDAExecutionProvider' is not in available provider names"):
        session = ours.InferenceSession(source, providers=["CUDAExecutionProvider", ("CPUExecutionProvider", {"a": 1})])
    assert session.get_providers() == ours.get_available_providers() == ["CPUExecutionProvider"]
    assert session.get_provider_options() == {"CPUExecutionProvider": {}}
    options = ours.SessionOptions()
    options.optimized_model_filepath = "there.onnx"
    with pytest.warns(UserWarning, match="no file is written"):
        ours.InferenceSession(source, options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours.InferenceSession(source, ours.SessionOptions(), providers=["CPUExecutionProvider"]).disable_fallback()


def test_what_cannot_be_done_is_refused_in_words():
    with pytest.raises(states.NotImplemented, match="custom operators"):
        ours.SessionOptions().register_custom_ops_library("x.so")
    with pytest.raises(states.NotImplemented, match="apart from the model"):
        ours.SessionOptions().add_initializer("w", None)
    with pytest.raises(RuntimeError, match="Invalid logging severity"):
        ours.set_default_logger_severity(9)
    ours.set_default_logger_severity(3)
    ours.set_seed(1)
    assert ours.get_device() == "CPU" and ours.__version__ == ours.get_version_string()
