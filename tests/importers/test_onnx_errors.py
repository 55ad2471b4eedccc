"""What is wrong with a model is said: which, where, expected, got. Nothing outside the model's folder is read."""

from __future__ import annotations

import importlib
import os
import pkgutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_models import build, check, run_reference

import pathweave as pw
from pathweave.errors import (
    DTypeError,
    Error,
    FileFormatError,
    InputError,
    ModelError,
    NoRankError,
    ShapeError,
    SizeError,
    UnsupportedOperatorError,
)
from pathweave.importers import importers, load
from pathweave.importers.onnx import ops
from pathweave.importers.onnx.advice import ADVICE
from pathweave.meaning.evaluate import evaluate
from pathweave.passes import bind, optimise

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
RELU = helper.make_node("Relu", ["x"], ["y"], name="r")


def message(data: bytes):
    return onnx.ModelProto.FromString(data)


def test_importers_are_found_by_folder():
    assert "onnx" in importers()


def test_content_chooses_the_importer_not_the_name(tmp_path):
    path = tmp_path / "model.jpg"
    path.write_bytes(build([RELU], {"x": X}))
    assert load(path).main.layers[0].kind == "relu"
    assert load(str(path)).meta["format"] == "onnx"


@pytest.mark.parametrize(
    "data, says",
    [
        (b"", "empty"),
        (b"hello world", "'hello world'"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "an image (PNG)"),
        (b"\x00" * 64, "00 00 00"),
        (b"PK\x03\x04" + bytes(60), "a zip archive"),
    ],
)
def test_unknown_files_are_described(tmp_path, data, says):
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (path, data):
        with pytest.raises(FileFormatError, match="ONNX") as e:
            load(source)
        assert says in str(e.value) and f"{len(data)} bytes" in str(e.value)
    with pytest.raises(FileFormatError, match="model.onnx"):
        load(path)


def test_missing_file_folder_and_wrong_type(tmp_path):
    with pytest.raises(Error, match="No such file"):
        load(tmp_path / "absent.onnx")
    with pytest.raises(Error, match="this is a folder"):
        load(tmp_path)
    with pytest.raises(Error):
        load("nul\0name")
    with pytest.raises(FileFormatError, match="path or bytes, got int"):
        load(3)


def test_truncated_model():
    data = build([RELU], {"x": X}, {"w": np.zeros((100, 100), np.float32)})
    for end in (10, 50, len(data) // 2, len(data) - 1):
        with pytest.raises(FileFormatError):
            load(data[:end])


def test_all_unknown_operators_are_listed_at_once():
    nodes = [
        helper.make_node("RandomNormalLike", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Fancy", ["b"], ["c"], domain="org.example"),
        helper.make_node("LayerNormalization", ["x", "x"], ["d"], name="norm", other=1),
        helper.make_node("Softmax", ["a"], ["g"]),
        helper.make_node("StringSplit", ["d"], ["y", "z"], name="last"),
    ]
    with pytest.raises(UnsupportedOperatorError) as e:
        load(build(nodes, {"x": X}, opset=17))
    assert e.value.operators == [
        ("RandomNormalLike", "first"),
        ("org.example:Fancy", "Fancy_2"),
        ("LayerNormalization", "norm"),
        ("StringSplit", "last"),
    ]
    assert all(name in str(e.value) for name in ("first", "Fancy_2", "norm", "last", "other"))


MS = "com.microsoft"


def test_a_refusal_has_a_line_per_operator_and_advice():
    """As for a quantised MobileNet: many nodes, few operators."""
    nodes = []
    for i in range(180):
        nodes += [
            helper.make_node("QLinearRound", [f"v{i}" if i else "x", "s", "z"], [f"q{i}"], name=f"round_{i}", domain=MS),
            helper.make_node("QLinearFloor", [f"q{i}", "s", "z"], [f"v{i + 1}"], name=f"floor_{i}", domain=MS),
        ]
    nodes += [
        helper.make_node("StringNormalizer", ["v180"], ["h"], name="words"),
        helper.make_node("Dropout", ["x"], ["at"], name="pool_1", odd=2),
        helper.make_node("Dropout", ["x"], ["at2"], name="pool_2", odd=2),
        helper.make_node("Fancy", ["at", "at2", "h"], ["y"], domain="org.example", name="own"),
    ]
    with pytest.raises(UnsupportedOperatorError) as e:
        load(build(nodes, {"x": X}, {"s": np.float32(1), "z": np.uint8(0)}, opset=13))
    assert len(e.value.operators) == 364
    lines = str(e.value).splitlines()
    assert lines[0].endswith("364 nodes use 5 operators that are not supported, or not in this way:")
    assert "  com.microsoft:QLinearRound: 180 nodes, such as 'round_0': not supported" in lines
    assert any(line.startswith("  Dropout: 2 nodes, such as 'pool_1': its attributes 'odd' are unknown") for line in lines)
    assert any(line.startswith("  org.example:Fancy: node 'own'") for line in lines)
    assert len(lines) == 1 + 5 + 4
    for advice in ("load the float32 model", "Strings: tokenise", "Operators of other domains", "Attributes and inputs"):
        assert sum(advice in line for line in lines) == 1


@pytest.mark.parametrize(
    "nodes, says, lines",
    [
        ([helper.make_node("StringNormalizer", ["x"], ["y"], name="n")],
         "1 node uses an operator that is not supported:", ["  StringNormalizer: node 'n': not supported", "Strings"]),
        ([helper.make_node("GlobalLpPool", ["x", "x"], ["y"], name="n")],
         "1 node uses an operator in a way that is not supported:",
         ["  GlobalLpPool: node 'n': its inputs 1", "Attributes and inputs"]),
    ],
)
def test_a_refusal_says_whether_the_operator_or_its_use_is_not_supported(nodes, says, lines):
    with pytest.raises(UnsupportedOperatorError) as e:
        load(build(nodes, {"x": X}, {"s": np.float32(1)}, opset=13))
    first, *rest = str(e.value).splitlines()
    assert first.endswith(says) and len(rest) == len(lines), str(e.value)
    assert all(line.startswith(start) for line, start in zip(rest, lines, strict=True)), str(e.value)


def test_every_standard_operator_that_is_not_supported_has_one_line_of_advice():
    families = [importlib.import_module(f"{ops.__name__}.{m.name}") for m in pkgutil.iter_modules(ops.__path__)]
    known = set().union(*(getattr(family, "OPERATORS", {}) for family in families))
    missing = {s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated} - known
    assert {"RandomNormal", "StringSplit", "SequenceAt", "Optional"} <= missing
    for operator in missing:
        assert sum(applies(operator, "not supported") for applies in ADVICE.values()) == 1, operator
    assert {"LSTM", "NonMaxSuppression", "ScatterND", "Loop", "Scan"} <= known


def test_many_different_refusals_are_cut():
    nodes = [helper.make_node(f"Op{chr(65 + i % 26)}{chr(65 + i // 26)}", ["x"], [f"v{i}"]) for i in range(60)]
    with pytest.raises(UnsupportedOperatorError, match="and 30 more") as e:
        load(build([*nodes, helper.make_node("Relu", ["x"], ["y"])], {"x": X}))
    assert len(e.value.operators) == 60


@pytest.mark.parametrize(
    "value, says",
    [
        (helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [2]), "'x' is a sequence; expected a tensor"),
        (helper.make_tensor_value_info("x", TensorProto.STRING, [2]), r"element type 8 \(string\)"),
        (helper.make_tensor_value_info("x", TensorProto.INT4, [2]), r"\(int4\)"),
        (helper.make_tensor_value_info("x", TensorProto.FLOAT, None), r"no declared rank; give its shape.*shapes=\{'x'"),
    ],
)
def test_inputs_that_cannot_be_taken_say_why(value, says):
    model = message(build([RELU], {"x": X}))
    del model.graph.input[:]
    model.graph.input.append(value)
    with pytest.raises(ModelError, match=says):
        load(model.SerializeToString())
    if "rank" in says:
        net = load(model.SerializeToString(), shapes={"x": ("N", 3, 4)}).main
        assert net.inputs["x"].shape == ("N", 3, 4)


def test_all_inputs_without_a_rank_are_named():
    model = message(build([helper.make_node("Add", ["x", "z"], ["y"])], {"x": X, "z": X}))
    for value in model.graph.input:
        value.type.tensor_type.ClearField("shape")
    with pytest.raises(NoRankError, match="graph inputs 'x', 'z' have no declared rank; give their shapes") as e:
        load(model.SerializeToString())
    assert e.value.inputs == ["x", "z"]
    with pytest.raises(NoRankError, match="graph input 'z' has no declared rank") as e:
        load(model.SerializeToString(), shapes={"x": (2, 3)})


def test_a_scalar_can_be_given_another_rank():
    """Exporters write no dimensions where they know none."""
    model = message(build([RELU], {"x": np.float32(1)}))
    assert load(model.SerializeToString()).main.inputs["x"].shape == ()
    loaded = pw.load(model.SerializeToString(), shapes={"x": ("N", 2)})
    np.testing.assert_array_equal(loaded(np.float32([[-1, 2]])), [[0, 2]])


def with_external(location: str):
    model = message(build([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": X}, {"w": np.zeros((4, 8), np.float32)}))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model.SerializeToString()


def of_strings():
    model = message(build([RELU], {"x": X}))
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.STRING, [2]))
    return model.SerializeToString()


@pytest.mark.parametrize("data, options, says", [
    (build([helper.make_node("Relu", ["q"], ["y"], name="r")], {"x": X}), {}, "node 'r' (Relu): input 'q' is not made before"),
    (with_external("ext.bin"), {}, "initializer 'w': its data file {folder}/ext.bin does not exist; put it beside the model"),
    (with_external("../ext.bin"), {}, "initializer 'w': external data location '../ext.bin'"),
    (build([RELU], {"x": X}), {"shapes": {"q": (1,)}}, "shapes: input 'q' is unknown"),
    (build([RELU], {"x": X}), {"default_inputs": ["q"]}, "default_inputs: 'q' is no input with a default value"),
    (of_strings(), {}, "graph input 'x': ONNX element type 8 (string)"),
    (build([RELU], {"x": X})[:-3], {}, "not an ONNX model, or truncated"),
    (build([helper.make_node("Fancy", ["x"], ["y"])], {"x": X}), {}, "1 node uses an operator that is not supported")])
def test_every_error_begins_once_with_the_name_of_the_model(tmp_path, data, options, says):
    path = tmp_path / "bad.onnx"
    path.write_bytes(data)
    with pytest.raises(Error) as e:
        load(path, **options)
    text = str(e.value)
    assert text.startswith(f"{path}: {says.format(folder=tmp_path)}") and text.count(str(path)) == 1
    assert text.count("initializer 'w'") <= 1
    with pytest.raises(Error, match="^the given bytes: "):
        load(data, **options)


def test_an_operator_that_onnx_does_not_have_is_told_from_one_that_is_not_supported():
    with pytest.raises(UnsupportedOperatorError) as e:
        load(build([helper.make_node("Reluu", ["x"], ["y"], name="n")], {"x": X}))
    assert str(e.value).splitlines()[1:] == [
        "  Reluu: node 'n': not supported: ONNX has no operator Reluu; did you mean 'Relu'?"]
    with pytest.raises(UnsupportedOperatorError, match="Random numbers are out of scope") as e:
        load(build([helper.make_node("RandomNormalLike", ["x"], ["y"])], {"x": X}))
    assert "not supported yet" not in str(e.value)


def test_messages_say_what_is_true():
    """Texts that were wrong: a valid Resize as malformed, an input as unknown, an output as made by no node."""
    resize = helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="linear")
    flat = np.zeros((3, 4), np.float32)
    assert load(build([resize], {"x": flat}, {"sizes": np.array([6, 8])}, opset=19))
    model = message(build([helper.make_node("Add", ["x", "k"], ["y"])], {"x": X}, {"k": np.float32(1)}))
    model.graph.input.append(helper.make_tensor_value_info("k", TensorProto.FLOAT, []))
    with pytest.raises(InputError, match="'k' has a default value, which is taken; give default_inputs=\\['k'\\]"):
        load(model.SerializeToString(), shapes={"k": ()})
    for outputs in (("y", "y"), ("y", "x"), ("y", "k")):
        assert load(build([helper.make_node("Add", ["x", "k"], ["y"])], {"x": X}, {"k": np.float32(1)}, outputs=outputs))
    with pytest.raises(ModelError, match=r"\['nowhere'\] are neither made by a node nor inputs or initializers"):
        load(build([RELU], {"x": X}, outputs=("y", "nowhere")))


def test_layer_names_are_the_nodes_and_unique():
    nodes = [
        helper.make_node("Relu", ["x"], ["a"], name="same"),
        helper.make_node("Tanh", ["a"], ["b"], name="same"),
        helper.make_node("Abs", ["b"], ["c"]),
        helper.make_node("Neg", ["c"], ["y"], name="Abs_2"),
    ]
    names = [layer.name for layer in load(build(nodes, {"x": X})).main.layers]
    assert names == ["same", "same_1", "Abs_2_", "Abs_2"]


@pytest.mark.parametrize(
    "nodes, says",
    [
        ([helper.make_node("Relu", ["a"], ["b"]), helper.make_node("Relu", ["b"], ["a"])], "not made before it"),
        ([helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Tanh", ["x"], ["y"])], "defined twice"),
        ([helper.make_node("Relu", ["x"], ["x"])], "defined twice"),
        ([helper.make_node("Relu", [], ["y"], name="n")], "'n'.*at least 1 input,"),
        ([helper.make_node("Relu", ["x"], ["z"])], "graph outputs"),
        ([helper.make_node("Relu", ["x"], [], name="n")], "no output"),
        ([helper.make_node("Concat", ["x", "x"], ["y"], axis="1")], "attribute 'axis' is a word; expected a whole number"),
        ([helper.make_node("Concat", ["x", "x"], ["y"], axis=-9)], "out of range"),
        ([helper.make_node("Transpose", ["x"], ["y"], perm=[0, 0, 1])], "perm"),
    ],
)
def test_malformed_graphs(nodes, says):
    with pytest.raises(ModelError, match=says):
        net = load(build(nodes, {"x": X})).main
        bind(net)


def test_dims_that_do_not_fit_their_data():
    for dims in ([3, 4], [-2, -3], [2**62, 2**62], [2**63 - 1], [6, 0], [1] * 100):
        model = message(build([helper.make_node("Add", ["x", "w"], ["y"])], {"x": X}, {"w": np.ones(6, np.float32)}))
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        with pytest.raises(FileFormatError, match="'w'.*dims"):
            load(model.SerializeToString())


def test_float_data_of_another_length():
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [3], [1, 2, 3])
    tensor.float_data.append(4)
    with pytest.raises(FileFormatError, match="float_data has 4"):
        load(
            build(
                [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("Add", ["x", "w"], ["y"])],
                {"x": X},
            )
        )


@pytest.mark.parametrize("number", [TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.FLOAT8E4M3FN, 99, 0])
def test_element_types_that_no_value_can_have(number):
    model = message(build([RELU], {"x": X}))
    model.graph.input[0].type.tensor_type.elem_type = number
    with pytest.raises(ModelError, match=f"element type {number}"):
        load(model.SerializeToString())


@pytest.mark.parametrize("size", [-2, -5, -(2**63)])
def test_input_dimensions_below_zero(size):
    model = message(build([RELU], {"x": X}))
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = size
    with pytest.raises(ModelError, match=f"dimension 1 is {size}"):
        load(model.SerializeToString())


def test_unnamed_dimensions_become_symbols_of_their_own():
    model = message(build([RELU], {"x": (X, [None, "x_0", None])}))
    shape = load(model.SerializeToString()).main.inputs["x"].shape
    assert all(isinstance(d, str) for d in shape) and len(set(shape)) == 3 and shape[1] == "x_0"


def test_old_opsets_and_missing_graphs():
    with pytest.raises(ModelError, match="opset 0.*expected 1 or later"):
        load(build([RELU], {"x": X}, opset=0))
    with pytest.raises(FileFormatError, match="no graph"):
        load(onnx.ModelProto(ir_version=8, producer_name="x" * 20).SerializeToString())


@pytest.mark.parametrize(
    "op, operand",
    [
        ("ConstantOfShape", [10**6, 10**6]),
        ("ConstantOfShape", [2**62, 2**62]),
        ("Tile", [10**6] * 3),
        ("Expand", [10**6, 2, 3, 4]),
    ],
)
def test_absurd_sizes_are_not_folded(op, operand):
    inputs = ["big"] if op == "ConstantOfShape" else ["w", "big"]
    nodes = [
        helper.make_node(op, inputs, ["c"]),
        helper.make_node("ReduceSum", ["c"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    net = load(
        build(nodes, {"x": X}, {"big": np.array(operand, np.int64), "w": np.ones((2, 3, 4), np.float32)}, opset=12)
    ).main
    assert sum(a.nbytes for a in net.constants.values()) < 1 << 20
    if op == "Expand":  # 96 MB are no absurd size
        assert sum(a.nbytes for a in bind(net).constants.values()) < 1 << 20
        return
    for use in (lambda: bind(net), lambda: evaluate(net, {"x": X})):
        with pytest.raises(SizeError, match="'c'|attribute shape"):
            use()


def test_range_and_padding_of_absurd_size():
    nodes = [
        helper.make_node("Range", ["a", "b", "c"], ["r"]),
        helper.make_node("ReduceSum", ["r"], ["s"], keepdims=0),
        helper.make_node("Add", ["x", "s"], ["y"]),
    ]
    ends = {"a": np.float32(0), "b": np.float32(1e12), "c": np.float32(1)}
    net = optimise(load(build(nodes, {"x": X}, ends, opset=12)).main)
    assert sum(np.asarray(a).nbytes for a in net.constants.values()) < 1 << 20
    pool = helper.make_node(
        "MaxPool", ["w"], ["p"], kernel_shape=[2**40, 1], pads=[2**39, 0, 2**39, 0], strides=[2**40, 1]
    )
    net = load(
        build([pool, helper.make_node("Add", ["x", "p"], ["y"])], {"x": X}, {"w": np.ones((1, 1, 3, 4), np.float32)})
    ).main
    assert "max_pool2" in [layer.kind for layer in optimise(net).layers]


@pytest.mark.parametrize("name", ["INPUTNAME", "OUTPUTNAME", "NODENAME", "MIDDLENAME", "WEIGHTNAME", "SYMBOLNAME"])
def test_names_that_are_not_utf8(name):
    """protobuf hands them over as bytes; the error names them, and nothing later trips over them."""
    nodes = [
        helper.make_node("Add", ["INPUTNAME", "WEIGHTNAME"], ["MIDDLENAME"], name="NODENAME"),
        helper.make_node("Relu", ["MIDDLENAME"], ["OUTPUTNAME"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("INPUTNAME", TensorProto.FLOAT, ["SYMBOLNAME", 3])],
        [helper.make_tensor_value_info("OUTPUTNAME", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ones(3, np.float32), "WEIGHTNAME")],
    )
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    load(data)
    with pytest.raises(ModelError, match="name b'.*': expected text in UTF-8; rename it"):
        load(data.replace(name.encode(), b"\xff\xfe" * (len(name) // 2) + b"x" * (len(name) % 2)))


def test_rank_above_numpys():
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1] * 65)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    with pytest.raises(SizeError, match="rank 65: expected at most 64"):
        load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString())


# external weights


def _external(tmp_path, location="w.bin", offset=None, length=None, write=True):
    weights = np.arange(12, dtype=np.float32).reshape(3, 4)
    if write:
        (tmp_path / "w.bin").write_bytes(b"12345678" + weights.tobytes())
    model = message(build([helper.make_node("Add", ["x", "w"], ["y"])], {"x": X}, {"w": weights}))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (
        ("location", location),
        ("offset", 8 if offset is None else offset),
        ("length", 48 if length is None else length),
    ):
        tensor.external_data.add(key=key, value=str(value))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_external_weights(tmp_path):
    path = _external(tmp_path)
    expected = X + np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal(evaluate(load(path).main, {"x": X})["y"], expected)
    np.testing.assert_array_equal(evaluate(load(path.read_bytes(), folder=tmp_path).main, {"x": X})["y"], expected)
    with pytest.raises(FileFormatError, match="give the model's path"):
        load(path.read_bytes())


def test_external_weights_as_onnx_saves_them(tmp_path):
    weights = np.random.default_rng(0).standard_normal((64, 64)).astype(np.float32)
    model = message(build([helper.make_node("MatMul", ["x", "w"], ["y"])], {"x": weights}, {"w": weights}))
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="w.data", size_threshold=0)
    np.testing.assert_allclose(
        evaluate(load(tmp_path / "m.onnx").main, {"x": weights})["y"], weights @ weights, rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "a/../../w.bin", "", "C:\\w.bin", "..\\w.bin", "w\0.bin", "absent.bin", "."]
)
def test_external_weights_stay_in_the_folder(tmp_path, location):
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(bytes(56))
    with pytest.raises(FileFormatError, match="external data|its data file"):
        load(_external(folder, location))


@pytest.mark.parametrize("folder_link", [False, True])
def test_links_that_lead_out_are_refused(tmp_path, folder_link):
    folder = tmp_path / "inner"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(56))
    if folder_link:
        (folder / "sub").symlink_to(tmp_path)
        location = "sub/secret.bin"
    else:
        (folder / "w.bin").symlink_to(secret)
        location = "w.bin"
    with pytest.raises(FileFormatError, match="not a file inside"):
        load(_external(folder, location, write=False))


@pytest.mark.parametrize("offset, length", [(9, 48), (-8, 48), (8, 47), (8, 2**62), ("x", 48), (2**70, 48)])
def test_external_weights_outside_the_file(tmp_path, offset, length):
    with pytest.raises(FileFormatError, match="external data"):
        load(_external(tmp_path, offset=offset, length=length))


# element types


def test_half_precision_models_run_in_f32():
    w = np.linspace(-1, 1, 12).astype(np.float16).reshape(3, 4)
    nodes = [helper.make_node("Add", ["x", "w"], ["a"]), helper.make_node("Cast", ["a"], ["y"], to=TensorProto.FLOAT16)]
    model = load(build(nodes, {"x": X.astype(np.float16)}, {"w": w}))
    assert model.main.inputs["x"].dtype == "f16"
    assert model.meta["converted"] == {"f16 weights": 1}
    x = X.astype(np.float16)
    found = evaluate(model.main, {"x": x})["y"]
    assert found.dtype == np.float16
    np.testing.assert_array_equal(found, (x.astype(np.float32) + w.astype(np.float32)).astype(np.float16))


@pytest.mark.parametrize("raw", [True, False])
def test_bfloat16_weights(raw):
    numbers = [1.0, -2.5, 0.15625]  # exact in bfloat16
    bits = (np.array(numbers, np.float32).view(np.uint32) >> 16).astype(np.uint16)
    tensor = TensorProto(name="w", data_type=TensorProto.BFLOAT16, dims=[3])
    if raw:
        tensor.raw_data = bits.tobytes()
    else:
        tensor.int32_data.extend(int(b) for b in bits)
    nodes = [helper.make_node("Constant", [], ["w"], value=tensor), helper.make_node("Add", ["x", "w"], ["y"])]
    x = np.zeros(3, np.float32)
    np.testing.assert_array_equal(evaluate(load(build(nodes, {"x": x})).main, {"x": x})["y"], np.float32(numbers))


def test_float64_weights_as_float32_where_the_caller_asks():
    huge = np.array([1e300, -np.inf, 0.1])
    x = X[..., :3].astype(np.float64)
    loaded = load(build([helper.make_node("Min", ["x", "w"], ["y"])], {"x": x}, {"w": huge}), narrow_double=True)
    assert loaded.meta["converted"] == {"f64 weights": 1}
    w = loaded.main.constants["w"]
    assert w.dtype == np.float32 and np.array_equal(w, np.float32([np.finfo(np.float32).max, -np.inf, 0.1]))
    found = evaluate(loaded.main, {"x": x})["y"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, np.minimum(x.astype(np.float32), w).astype(np.float64))


def test_float64_weights_of_a_float32_operator_are_refused():
    """ONNX allows one type per operator, and ONNX Runtime refuses the same model."""
    with pytest.raises(ShapeError, match="element types differ"):
        load(build([helper.make_node("Min", ["x", "w"], ["y"])], {"x": X[..., :3]}, {"w": np.zeros(3)}))


def test_float64_graphs_stay_float64():
    x = X.astype(np.float64)
    check([helper.make_node("Add", ["x", "w"], ["y"])], {"x": x}, {"w": np.full(4, 1e300)}, tolerance=0)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int8", "int64", "bool"])
def test_integer_tensors_in_every_field(dtype):
    values = np.array([0, 1, 1, 0]) if dtype == "bool" else np.array([0, 1, 100, 127])
    for tensor in (
        numpy_helper.from_array(values.astype(dtype)),
        helper.make_tensor("w", helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [4], values),
    ):
        nodes = [
            helper.make_node("Constant", [], ["w"], value=tensor),
            helper.make_node("Cast", ["w"], ["f"], to=1),
            helper.make_node("Add", ["x", "f"], ["y"]),
        ]
        check(nodes, {"x": np.zeros(4, np.float32)}, opset=13)


# binding


def test_symbols_take_one_value():
    model = build(
        [helper.make_node("Concat", ["a", "b"], ["y"], axis=1)], {"a": (X, ["N", 3, "W"]), "b": (X, ["N", 3, "W"])}
    )
    net = load(model).main
    bound = bind(net, {"a": (5, 3, 7)})  # b's symbols are the same
    assert bound.inputs["b"].shape == (5, 3, 7) and bound.specs["y"].shape == (5, 6, 7)
    for shapes, says in (
        ({"a": (5, 3, 7), "b": (4, 3, 7)}, "symbol 'N' is 5 .* and 4"),
        ({"a": (5, 4, 7)}, "expected 3"),
        ({"a": (5, 3)}, "rank 3"),
        ({"z": (1,)}, "'z' is unknown"),
        ({}, "'N', 'W' of input 'a'"),
        ({"a": (-1, 3, 7)}, "0 or more"),
        ({"a": (2.5, 3, 7)}, "0 or more"),
    ):
        with pytest.raises(InputError, match=says):
            bind(net, shapes)


def test_fixed_sizes_can_be_freed():
    data = build([helper.make_node("Flatten", ["x"], ["y"])], {"x": X})
    net = load(data, shapes={"x": ("N", 3, 4)}).main
    assert bind(net, {"x": (7, 3, 4)}).specs["y"].shape == (7, 12)
    with pytest.raises(InputError, match="expected 2"):
        bind(load(data).main, {"x": (7, 3, 4)})
    for shapes in ({"z": (1,)}, {"x": ("N", 3)}, {"x": ("N", 3, -1)}, {"x": ("N", 3, None)}):
        with pytest.raises(InputError, match="shapes: input"):
            load(data, shapes=shapes)


def test_shapes_that_do_not_fit_name_the_layer():
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="stem")
    net = load(
        build(
            [conv],
            {"x": (np.zeros((1, 3, 8, 8), np.float32), ["N", 3, "H", "W"])},
            {"w": np.zeros((4, 3, 5, 5), np.float32)},
        )
    ).main
    with pytest.raises(ShapeError, match="'stem'"):
        bind(net, {"x": (1, 3, 4, 4)})


def test_evaluate_checks_its_inputs():
    net = load(build([RELU], {"x": (X, ["N", 3, 4])})).main
    with pytest.raises(InputError, match="'x' missing; expected exactly the inputs"):
        evaluate(net, {})
    with pytest.raises(DTypeError, match="expected element type float32 .*, got float64"):
        evaluate(net, {"x": X.astype(np.float64)})
    with pytest.raises(InputError, match="unknown"):
        evaluate(net, {"x": X, "z": X})
    assert evaluate(net, {"x": X.astype(np.float64)}, precision="f64")["y"].dtype == np.float64


def test_large_weights_are_taken_out_before_parsing():
    rows = np.random.default_rng(3).standard_normal((300, 200)).astype(np.float32)
    small = np.ones(300, np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], transB=1), helper.make_node("MatMul", ["h", "w"], ["y"])]
    data = build(nodes, {"x": rows[:4]}, {"b": small, "w": rows, "u": rows[::-1].copy()})
    from pathweave.importers.onnx.wire import detach

    parsed, large = detach(data)
    assert sorted(large) == [1, 2] and len(parsed) < 4096 and bytes(large[1]) == rows.tobytes()
    found = evaluate(load(data).main, {"x": rows[:4]})["y"]
    np.testing.assert_allclose(found, run_reference(data, {"x": rows[:4]})[0], rtol=1e-4, atol=1e-3)


def test_importing_the_importers_does_not_load_onnx():
    code = "import sys, pathweave.importers as i; i.importers(); print('onnx' in sys.modules)"
    root = os.path.join(os.path.dirname(__file__), "..", "..", "src")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.path.abspath(root), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def _open(nodes, shapes, constants):
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(a, n) for n, a in constants.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("node, says", [
    (helper.make_node("MatMul", ["x", "w"], ["y"], name="mm"), "'mm'.*1000.*expected the summed dimensions to be equal"),
    (helper.make_node("Softmax", ["x"], ["y"], name="s", axis=5), "'s'.*axis 5: expected one of -2 to 1"),
    (helper.make_node("Add", ["x", "w"], ["y"], name="a"), "'a'"),
    (helper.make_node("Transpose", ["x"], ["y"], name="t", perm=[0, 2, 1]), "'t'")])
def test_what_no_sizes_fit_is_refused_when_it_is_read(node, says):
    w = np.zeros((1024, 256), np.float32)
    with pytest.raises(ModelError, match=says):
        load(_open([node], {"x": ["N", 1000]}, {"w": w}))
    dead = helper.make_node("Relu", ["x"], ["y"])
    unread = onnx.NodeProto()
    unread.CopyFrom(node)
    unread.output[0] = "unread"
    assert load(_open([unread, dead], {"x": ["N", 1000]}, {"w": w})).main.outputs == ["y"]


def test_what_some_sizes_fit_is_read():
    """A batch of 1 spreads, a Squeeze may have one axis or two."""
    for nodes in ([helper.make_node("Add", ["x", "w"], ["y"])], [helper.make_node("Squeeze", ["x"], ["y"])],
                  [helper.make_node("Squeeze", ["x"], ["s"]), helper.make_node("MatMul", ["s", "w"], ["y"])]):
        load(_open(nodes, {"x": ["N", 4]}, {"w": np.zeros((4, 4), np.float32)}))


def test_an_opset_that_is_not_known_yet_and_a_wrong_declaration_are_said():
    model = message(build([RELU], {"x": X}))
    model.opset_import[0].version = 99
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.INT64
    notes = load(model.SerializeToString()).meta["notes"]
    assert any("opset 99 is newer than" in n for n in notes) and any("'y' is declared i64" in n and "f32" in n for n in notes)
