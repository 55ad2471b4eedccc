"""Calibration of models with blocks, and with sizes that depend on contents: scales outside of blocks, and 8 bits with them.

The reference is ONNX Runtime in float32.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.net.accuracy import LIMITS
from pathweave.net.compare import relative_error
from pathweave.runtime.defaults import default_route
from pathweave.runtime.descriptor import Restriction

F, B, I64 = TensorProto.FLOAT, TensorProto.BOOL, TensorProto.INT64
CHANNELS, SIDE = 16, 8


def info(name: str, dtype: int, *shape) -> object:
    return helper.make_tensor_value_info(name, dtype, shape)


class Net:
    """Two convolutions, of which `y` is the last; then what a test adds."""

    def __init__(self):
        self.rng = np.random.default_rng(3)
        self.weights, self.nodes = [], []
        self.y = self.conv(self.conv("x", 3))

    def weight(self, *shape: int) -> str:
        return self.constant((self.rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32))

    def constant(self, array) -> str:
        self.weights.append(numpy_helper.from_array(np.asarray(array), f"c{len(self.weights)}"))
        return self.weights[-1].name

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes) -> str:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, **attributes))
        return names[0]

    def conv(self, x: str, channels: int = CHANNELS) -> str:
        return self.node("Relu", self.node("Conv", x, self.weight(CHANNELS, channels, 3, 3), pads=[1] * 4))

    def data(self, *outputs: str) -> bytes:
        infos = []
        for i, name in enumerate(outputs):
            self.nodes.append(helper.make_node("Identity", [name], [f"out{i}"]))
            infos.append(helper.make_tensor_value_info(f"out{i}", F, None))
        graph = helper.make_graph(self.nodes, "net", [info("x", F, 1, 3, SIDE, SIDE)], infos, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def with_if(net: Net) -> list[str]:
    total = net.node("ReduceSum", "x", keepdims=0)
    truth = net.node("Greater", total, net.constant(np.float32(0)))
    shape = (1, CHANNELS, SIDE, SIDE)
    branches = [helper.make_graph([helper.make_node(op, [net.y], [op])], op, [], [info(op, F, *shape)])
                for op in ("Tanh", "Neg")]
    return [net.conv(net.node("If", truth, then_branch=branches[0], else_branch=branches[1]))]


def with_loop(net: Net) -> list[str]:
    shape = (1, CHANNELS, SIDE, SIDE)
    body = helper.make_graph(
        [helper.make_node("Tanh", ["state"], ["next"]), helper.make_node("Identity", ["going"], ["go"]),
         helper.make_node("ReduceMax", ["next"], ["part"], axes=[2, 3], keepdims=0)], "body",
        [info("at", I64), info("going", B), info("state", F, *shape)], [info("go", B), info("next", F, *shape),
                                                                    info("part", F, 1, CHANNELS)])
    state = net.node("Loop", net.constant(np.int64(3)), net.constant(np.array(True)), net.y, outputs=2, body=body)
    return [net.conv(state), state[:-1] + "1"]


def with_scan(net: Net) -> list[str]:
    body = helper.make_graph(
        [helper.make_node("Add", ["state", "row"], ["sum"]), helper.make_node("Tanh", ["sum"], ["next"]),
         helper.make_node("Identity", ["next"], ["part"])], "body",
        [info("state", F, 1, SIDE, SIDE), info("row", F, 1, SIDE, SIDE)],
        [info("next", F, 1, SIDE, SIDE), info("part", F, 1, SIDE, SIDE)])
    first = net.constant(np.zeros((1, SIDE, SIDE), np.float32))
    state = net.node("Scan", first, net.y, outputs=2, body=body, num_scan_inputs=1, scan_input_axes=[1], scan_output_axes=[1])
    return [net.conv(state[:-1] + "1")]


def with_compress(net: Net) -> list[str]:
    """Rows whose number a run finds out, through two products."""
    rows = net.node("Reshape", net.node("Transpose", net.y, perm=[0, 2, 3, 1]), net.constant(np.int64([-1, CHANNELS])))
    first = net.node("Reshape", net.node("ReduceMax", "x", axes=[1], keepdims=0), net.constant(np.int64([-1])))
    kept = net.node("Compress", rows, net.node("Greater", first, net.constant(np.float32(0.4))), axis=0)
    hidden = net.node("Relu", net.node("MatMul", kept, net.weight(CHANNELS, 32)))
    return [net.node("MatMul", hidden, net.weight(32, 24))]


def with_nonzero(net: Net) -> list[str]:
    """A value that is read for nothing but the sizes that NonZero finds out, and rows of as many."""
    found = net.node("NonZero", net.node("Greater", "x", net.constant(np.float32(1))))
    count = net.node("Slice", net.node("Shape", found), net.constant(np.int64([1])), net.constant(np.int64([2])))
    row = net.node("Reshape", net.node("ReduceMax", net.y, axes=[2, 3], keepdims=0), net.constant(np.int64([1, CHANNELS])))
    shape = net.node("Concat", count, net.constant(np.int64([CHANNELS])), axis=0)
    return [net.node("MatMul", net.node("Expand", row, shape), net.weight(CHANNELS, 24))]


NETS = [with_if, with_loop, with_scan, with_compress, with_nonzero]


def samples(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 3, SIDE, SIDE)).astype(np.float32)


@pytest.fixture(params=NETS, ids=lambda make: make.__name__)
def data(request) -> bytes:
    net = Net()
    return net.data(*request.param(net))


@pytest.fixture
def model(data):
    """The model, calibrated."""
    loaded = pw.load(data, threads=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pw.CalibrationWarning)
        return loaded.calibrate(samples(12, 0))


def in_integers(route) -> list[str]:
    """Layers that read or make 8-bit integers."""
    return [n for n, c in route.layers.items() if any(f.dtype == "u8" for f in (*c.ins, *c.outs))]


def check(run, data: bytes, ort) -> None:
    """A call with every layer in 8 bits that can be has the sizes of ONNX Runtime, and its numbers within the class."""
    for x in samples(3, 9):
        wanted = ort(data, {"x": x[None]})
        got = run({"x": x[None]})
        for name, array in wanted.items():
            assert got[name].shape == array.shape and relative_error(got[name], array) < LIMITS["quantised"], name


def test_values_outside_of_blocks_get_scales(model):
    bound, scales = model.bind(), model.quantisation["main"]
    values = [v for layer in bound.layers for v in layer.outputs if bound.spec(v).dtype == "f32"]
    assert bound.opened is not None and {*values, "x"} - scales.keys() <= {*bound.net.outputs} and "x" in scales
    late = [v for v in values if bound.opened.is_late(bound.opened.net.specs[v].dims)]
    assert set(late) - set(bound.net.outputs) <= scales.keys()


def test_ranges_are_those_of_the_samples(model, data):
    """Of what layers with blocks make, and of values of late sizes: their numbers as ONNX Runtime hands them out."""
    import onnx
    onnxruntime = pytest.importorskip("onnxruntime")
    proto = onnx.load_from_string(data)
    scales = model.quantisation["main"]
    kinds = ("If", "Loop", "Scan", "Compress", "Expand")
    names = [v for node in proto.graph.node for v in node.output if v in scales and node.op_type in kinds]
    assert names
    proto.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    found = [session.run(names, {"x": x[None]}) for x in samples(12, 0)]
    for i, name in enumerate(names):
        low = min(float(f[i].min(initial=0)) for f in found)
        high = max(float(f[i].max(initial=0)) for f in found)
        least, largest = scales[name].range
        step = scales[name].scale
        assert least <= low + step and largest >= high - step, name
        assert largest - least < 8 * (high - low), name  # values that a layer moves may share a scale


def test_layers_around_blocks_run_in_8_bits(model, data, ort):
    route = default_route(model.bind(), 1, "quantised", Restriction("qint8"))
    assert len(in_integers(route)) > 2
    check(model.plan(route, None, 1).session().run, data, ort)


def test_a_tuned_route_of_integers_runs(model, data, ort, tmp_path):
    tuned = pw.tune(model, accuracy="quantised", restrict="qint8", threads=1, budget_s=0.3, progress=False,
                    store=tmp_path / "store.sqlite")
    (route,) = tuned.routes.values()
    assert route.accuracy == "quantised" and len(in_integers(route)) > 2
    check(tuned.run, data, ort)
    tuned.save(tmp_path / "model.pw")
    check(pw.load(tmp_path / "model.pw", threads=1).run, data, ort)


def test_the_command_calibrates_them(data, tmp_path, capsys):
    import json

    from pathweave.cli import main
    source, target, arrays = (tmp_path / name for name in ("m.onnx", "m.pw", "x.npz"))
    source.write_bytes(data)
    np.savez(arrays, x=samples(6, 1))
    with pytest.raises(SystemExit) as end:
        main(["import", str(source), "-o", str(target), "--calibrate", str(arrays), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert not end.value.code and found["samples"] == 6 and "x" in found["quantisation"]["main"]
