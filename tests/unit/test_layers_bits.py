"""bit_cast against `struct`, element by element; halves against their definition."""

from __future__ import annotations

import struct

import ml_dtypes
import numpy as np
import pytest

from pathweave.errors import Error
from pathweave.layers import compute, infer_layer
from pathweave.net.format import dtype_of
from pathweave.net.net import Layer, TensorSpec
from pathweave.testing import cases

#: Element type -> code of `struct`.
CODES = {"f32": "f", "f64": "d", "f16": "e", "i8": "b", "u8": "B", "i16": "h", "u16": "H", "i32": "i", "u32": "I", "i64": "q",
         "u64": "Q", "bool": "?"}


def _bytes(number, dtype):
    if dtype == "bf16":
        return np.array(number, ml_dtypes.bfloat16).tobytes()
    if dtype == "f16":
        return np.array(number, np.float16).tobytes()
    return struct.pack("<" + CODES[dtype], number.item())


def _number(raw, dtype):
    if dtype == "bf16":
        return float(np.frombuffer(raw, ml_dtypes.bfloat16)[0])
    return struct.unpack("<" + CODES[dtype], raw)[0]


@pytest.mark.parametrize("case", cases("bit_cast"), ids=lambda c: c.name)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_bits_stay(case):
    (x,) = case.arrays()
    (y,) = compute(case.layer(), [x])
    wanted = [_number(_bytes(v, case.attrs["source"]), case.attrs["dtype"]) for v in x.reshape(-1)]
    assert dtype_of(y.dtype) == case.outputs()[0].dtype and y.shape == x.shape
    np.testing.assert_array_equal(y.reshape(-1), np.array(wanted, y.dtype))


@pytest.mark.parametrize("dtype, source, target", [("f32", "f32", "i16"), ("i32", "f32", "i32"), ("f32", "f32", "f8")])
def test_what_does_not_fit_is_refused(dtype, source, target):
    layer = Layer("l", "bit_cast", ("x",), ("y",), {"source": source, "dtype": target})
    with pytest.raises(Error, match="expected"):
        infer_layer(layer, [TensorSpec(dtype, (3,))])
