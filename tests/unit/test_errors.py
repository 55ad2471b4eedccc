"""Messages of errors: of a length that can be read, whatever stands in the file that they speak of."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from pathweave import errors


@pytest.mark.parametrize("kind", [c for c in vars(errors).values() if inspect.isclass(c)])
def test_the_middle_of_a_long_message_is_left_out(kind):
    text = str(kind("begin" + "x" * 3_000_000 + "end"))
    assert len(text) <= errors.LONGEST_MESSAGE
    assert text.startswith("begin") and text.endswith("end") and "characters left out" in text
    assert str(kind("short")) == "short" and repr(kind("short")) == f"{kind.__name__}('short')"
    assert str(pickle.loads(pickle.dumps(kind("short")))) == "short"


def test_a_message_begins_once_with_a_name():
    error = errors.FileFormatError("cannot be read")
    for _ in range(2):
        error.begin_with("net.onnx")
    assert str(error) == "net.onnx: cannot be read"
    error = errors.UnsupportedOperatorError("x" * 3_000_000, [("LSTM", "node")])
    error.begin_with("net.onnx")
    assert str(error).startswith("net.onnx: x") and len(str(error)) <= errors.LONGEST_MESSAGE
    assert error.operators == [("LSTM", "node")]


def test_errors_of_the_system_keep_what_they_say():
    error = errors.StoreError("the store cannot be opened")
    assert isinstance(error, OSError) and error.errno is None and str(error) == "the store cannot be opened"


@pytest.mark.parametrize("error", [errors.OpenSizesError("open", ["N", "H"], "x is f32[N,3,H,W]"),
                                   errors.NoRankError("no rank", ["x"]),
                                   errors.UnsupportedOperatorError("unknown", [("LSTM", "node")])])
def test_what_an_error_says_beside_its_message_survives_pickling(error):
    """As between the processes of a pool, which hangs on an error that it cannot read."""
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
