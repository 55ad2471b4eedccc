"""Run by test_sizes.py in a process of its own: models with hostile sizes that once crashed, hung or took all memory.

Prints for each `NAME ERROR` or `NAME fine`, then `done`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import Error
from pathweave.files import model as file
from pathweave.net.net import Layer, Model, Net, TensorSpec

W = np.ones((3, 3, 3, 3), np.float32)
X = (1, 3, 8, 8)


def ints(*values) -> np.ndarray:
    return np.array(values, np.int64)


def onnx_model(op: str, shape, operands: dict, **attributes) -> bytes:
    """`op` on x and constants, or on constants alone where there is no x in `operands`; "" for an absent one."""
    names = [n if a is not None else "" for n, a in operands.items()]
    names = [n for n in ["x", *names] if n != "alone"] if "alone" not in operands else [n for n in names if n]
    nodes = [helper.make_node(op, names, ["z"], **attributes), helper.make_node("Identity", ["z"], ["y"])]
    if "alone" in operands:
        nodes[1] = helper.make_node("Add", ["x", "z"], ["y"])
    tensors = [numpy_helper.from_array(a, n) for n, a in operands.items() if a is not None]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def pw_model(kind: str, shape, constants: dict, **attrs) -> Path:
    """The same as a `.pw` file."""
    layer = Layer("l", kind, ("x", *constants), ("y",), attrs)
    path = Path(tempfile.mkdtemp()) / "m.pw"
    file.save(Model({"main": Net({"x": TensorSpec("f32", shape)}, ["y"], [layer], constants)}), path)
    return path


def models():
    for power in (31, 40, 44, 59, 60, 61, 62):
        yield f"conv-pads-{power}", lambda p=power: onnx_model("Conv", X, {"w": W}, pads=[2**p] * 4)
        yield f"conv-pw-pads-{power}", lambda p=power: pw_model("conv2", X, {"w": W}, pad=(2**p,) * 4)
        yield f"conv-pads-strides-{power}", lambda p=power: pw_model("conv2", X, {"w": W}, pad=(2**p,) * 4, stride=(2**p,) * 2)
    for size in (2**31, 2**40, 2**62, 2**63 - 1):
        yield f"matmul-{size}", lambda s=size: onnx_model("MatMul", [s, 4], {"w": np.ones((4, 4), np.float32)})
    yield "transposed-20000", lambda: onnx_model("ConvTranspose", X, {"w": W}, strides=[20000, 20000])
    yield "transposed-2**30", lambda: onnx_model("ConvTranspose", [1, 3, 1, 1], {"w": W}, strides=[2**30, 2**30])
    yield "transposed-2**20", lambda: onnx_model("ConvTranspose", [1, 3, 1, 1], {"w": W}, strides=[2**20, 2**20])
    yield "pad-1e9", lambda: onnx_model("Pad", X, {"p": ints(*[10**9] * 8)})
    yield "pad-1e9-last", lambda: onnx_model("Pad", X, {"p": ints(0, 0, 0, 0, 0, 0, 0, 10**9)})
    yield "resize-1e6", lambda: onnx_model("Resize", X, {"r": None, "s": np.array([1, 1, 1e6, 1e6], np.float32)})
    yield "resize-1e4", lambda: onnx_model("Resize", X, {"r": None, "s": np.array([1, 1, 1e4, 1e4], np.float32)})
    yield "tile", lambda: onnx_model("Tile", [1, 3], {"r": ints(2**40, 2**40)})
    yield "expand", lambda: onnx_model("Expand", [1, 3], {"r": ints(2**61, 2**61, 3)})
    yield "constant-2**62", lambda: onnx_model("ConstantOfShape", [1], {"alone": ints(2**62, 2**62)})
    yield "constant-2**63-1", lambda: onnx_model("ConstantOfShape", [1], {"alone": ints(2**63 - 1)})
    yield "constant-2**35", lambda: onnx_model("ConstantOfShape", [1], {"alone": ints(2**35)})
    yield "range-1e10", lambda: onnx_model("Range", [1], {"alone": np.float32(0), "b": np.float32(1e10), "c": np.float32(1)})
    yield "range-1e33", lambda: onnx_model("Range", [1], {"alone": np.float32(0), "b": np.float32(1e30), "c": np.float32(1e-3)})


def main() -> None:
    from pathweave.net import memory
    memory.available = lambda: 1 << 29
    for name, make in models():
        print(name, end=" ", flush=True)
        try:
            pw.load(make(), threads=2).plan()
            print("fine", flush=True)
        except Error as e:
            print(type(e).__name__, flush=True)
        except Exception as e:
            print(f"untyped {type(e).__name__}: {e}", flush=True)
    print("done", flush=True)


if __name__ == "__main__":
    sys.exit(main())
