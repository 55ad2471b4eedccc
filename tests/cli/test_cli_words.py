"""What a new user meets: words that are nearly right, counts of one, names that are no text, more threads than processors."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from pathweave import _native


def write(path, *nodes, inputs, outputs, constants=()):
    value = lambda name, dims: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)  # noqa: E731
    graph = helper.make_graph(list(nodes), "g", [value(*i) for i in inputs], [value(*o) for o in outputs],
                              [numpy_helper.from_array(a, n) for n, a in constants])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.mark.parametrize("words, hint", [
    (("routines", "conv"), "'conv' is no layer kind; did you mean 'conv3'?"),
    (("routines", "--layer", "max_pool"), "--layer 'max_pool' is no layer kind; did you mean 'max_pool3'?"),
    (("run", "DIGITS", "--random", "--routine", "conv4/direct"), "; did you mean 'conv3'?"),
    (("run", "DIGITS", "--random", "--routine", "cpu:f23:nhwc"), "; did you mean 'f32'?"),
    (("run", "DIGITS", "--random", "--routine", "conv2/pointwis"), "; did you mean "),
])
def test_the_nearest_name_is_suggested(pw, digits, words, hint):
    done = pw(*(digits if w == "DIGITS" else w for w in words))
    assert done.code == 2 and hint in done.err


@pytest.mark.parametrize("words", [("routines", "zzzz"), ("run", "DIGITS", "--random", "--routine", "zzzz")])
def test_nothing_is_suggested_where_nothing_is_near(pw, digits, words):
    done = pw(*(digits if w == "DIGITS" else w for w in words))
    assert done.code == 2 and "did you mean" not in done.err


def test_one_parameter_is_one_parameter(pw, tmp_path):
    path = write(tmp_path / "one.onnx", helper.make_node("Mul", ["x", "w"], ["y"]), inputs=[("x", [1])], outputs=[("y", [1])],
                 constants=[("w", np.float32([2.5]))])
    shown = pw("show", path).out
    assert "1 parameter, 1 operation per call" in shown


def test_names_out_of_a_file_are_escaped(pw, tmp_path):
    """A layer, an input, an output and a symbol that would clear a terminal."""
    bad = "a\x1b[2J\nb"
    path = write(tmp_path / "bad.onnx", helper.make_node("Relu", [bad], [bad + "y"], bad), inputs=[(bad, [bad + "N", 3])],
                 outputs=[(bad + "y", [bad + "N", 3])])
    seen = [pw("show", path), pw("show", path, "--shape", f"{bad}=2x3"), pw("import", path, "-o", tmp_path / "bad.pw"),
            pw("run", path, "--random", "--shape", f"{bad}N=2"), pw("explain", path, "--all", "--shape", f"{bad}N=2"),
            pw("show", path, "--shape", f"{bad}=2x4"), pw("show", path, "--shape", "x=2x4")]
    assert [s.code for s in seen] == [0, 0, 0, 0, 0, 2, 2]  # sizes and a name that do not fit
    assert all(r"a\x1b[2J\nb" in done.out for done in seen[:4])
    for done in seen:
        assert "\x1b" not in done.out + done.err and r"a\x1b[2J" in done.out + done.err


def test_more_threads_than_processors_are_warned_of_once(pw, digits):
    usable = _native.usable_processors()
    done = pw("run", digits, "--random", "--batch", 1, "--threads", usable + 1)
    assert done.code == 0 and done.err.count("warning") == 1
    assert done.err.startswith(f"pathweave: warning: --threads {usable + 1}: this process may use {usable} processor")
    assert "warning" not in pw("run", digits, "--random", "--batch", 1, "--threads", usable).err
