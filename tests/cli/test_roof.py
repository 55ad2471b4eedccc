"""bench --roof: arithmetic on networks computed by hand, under scripted limits and times."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pathweave.layers import infer
from pathweave.net.net import Epilogue, Layer, Net, TensorSpec
from pathweave.net.size import size_bytes
from pathweave.report import roof, timing
from pathweave.report.algorithms import own_operations, winograd
from pathweave.runtime.bound import BoundNet
from pathweave.runtime.defaults import default_choices
from pathweave.runtime.limits import LEVELS, Limits
from pathweave.runtime.plan import build_plan

#: Bytes per second of each level; the scripted machine makes one operation per nanosecond and meets in 5 ns.
READS = {"L1": 10e9, "L2": 4e9, "L3": 2e9, "memory": 1e9}


def scripted(l1: int, l2: int, l3: int, threads: int = 1) -> Limits:
    measured = {"peaks": {"f": {"dtype": "f32", "per_second": 1e9}, "b": {"dtype": "bf16", "per_second": 16e9}},
                "reads": READS, "barrier_ns": 5.0}
    return Limits("h", {"L1": l1, "L2": l2, "L3": l3}, {threads: measured})


def plan_of(layers: list[Layer], x: tuple, constants: dict, output: str, threads: int = 1):
    net = Net({"x": TensorSpec("f32", x)}, [output], layers,
              {k: np.ones(s, np.float32) for k, s in constants.items()})
    infer(net)
    bound = BoundNet(net)
    return build_plan(bound, default_choices(bound, threads), [], threads)


def times_of(plan, *steps: float) -> np.ndarray:
    """Two runs: the given times, and twice as long."""
    assert len(plan.steps) == len(steps)
    return np.array([steps, [2 * t for t in steps]])


@pytest.fixture
def chain():
    """y = softmax(x w^T) for x 3 x 10 and w 5 x 10."""
    return plan_of([Layer("d", "dense", ("x", "w"), ("h",)), Layer("s", "softmax", ("h",), ("y",), {"axis": -1})],
                   (3, 10), {"w": (5, 10)}, "y")


def test_roof_of_a_chain(chain):
    dense, softmax = roof.roof_rows(chain, times_of(chain, 652.0, 20.0), scripted(l1=64, l2=80, l3=100))
    # x was read a run ago, and the weights too: more than 100 bytes. h has 60 bytes.
    assert dense["operations"] == 2 * 3 * 5 * 10
    assert dense["bytes_by_level"] == {"L1": 60, "memory": 120 + 200} and dense["bytes"] == 380
    assert dense["roof_ns"] == pytest.approx(60 / 10 + 320) and dense["bound"] == "memory"
    assert (dense["minimum_ns"], dense["median_ns"]) == (652, 978)
    assert dense["share"] == pytest.approx(0.5) and dense["share_with_barrier"] == pytest.approx(331 / 652)
    assert softmax["bytes_by_level"] == {"L1": 120} and softmax["operations"] == 15
    assert softmax["roof_ns"] == pytest.approx(15) and softmax["bound"] == "compute" and softmax["own_share"] is None
    assert softmax["share"] == pytest.approx(0.75)


def test_weights_stay_where_all_fits(chain):
    dense, _ = roof.roof_rows(chain, times_of(chain, 1.0, 1.0), scripted(l1=64, l2=1 << 20, l3=1 << 21))
    assert dense["bytes_by_level"] == {"L1": 60, "L2": 320}
    # 300 operations at 1 per nanosecond; 320 bytes at 4
    assert dense["roof_ns"] == pytest.approx(300) and dense["bound"] == "compute"


def test_a_value_is_as_far_as_what_came_between():
    """y = relu(x) + dense(x): relu's result waits while the dense layer reads its weights."""
    layers = [Layer("r", "relu", ("x",), ("a",)), Layer("d", "dense", ("x", "w"), ("b",)),
              Layer("+", "add", ("a", "b"), ("y",))]
    plan = plan_of(layers, (1, 10), {"w": (10, 10)}, "y")
    *_, add = roof.roof_rows(plan, times_of(plan, 1.0, 1.0, 1.0), scripted(l1=40, l2=300, l3=1 << 20))
    # a: 40 + 400 of weights + 80 of x and b; b: 40, just made; y: 40
    assert add["bytes_by_level"] == {"L1": 80, "L3": 40}


def test_totals(chain):
    rows = roof.roof_rows(chain, times_of(chain, 652.0, 20.0), scripted(64, 80, 100))
    dense, softmax, net = roof.totals(rows)
    assert [dense["kind"], softmax["kind"], net["kind"]] == ["dense", "softmax", "whole net"]
    assert net["roof_ns"] == pytest.approx(341) and net["share"] == pytest.approx(341 / 672) and net["count"] == 2
    assert dense["of_net"] == pytest.approx(652 / 672) and net["own_share"] is None


@pytest.mark.parametrize("calls, busy", [((100.0, 101.0, 120.0), False), ((100.0, 200.0, 300.0), True)])
def test_a_busy_machine_is_named(chain, calls, busy):
    result = roof.report(chain, times_of(chain, 652.0, 20.0), scripted(64, 80, 100), timing.Times(calls), "m")
    notes = roof.total_table(result).notes
    assert any("the machine was busy: half of the calls took 2.0 times" in note for note in notes) == busy
    assert notes[0].startswith("whole net: roofs 341 ns / 100 ns measured end to end")
    assert notes[1] == "below 50 % of their roof: 0 of 2 steps, 0 % of the time"


# ---- algorithms' own arithmetic -------------------------------------------------------------------------------------

@pytest.mark.parametrize("m, tiles, lines, inputs_lines", [(2, 3 * 4, 4, 4), (4, 2 * 2, 16, 22), (6, 1 * 2, 35, 45)])
def test_operations_of_winograd(m, tiles, lines, inputs_lines):
    layer = Layer("c", "conv2", ("x", "w"), ("y",), {"pad": (1, 1, 1, 1)}, Epilogue(act="relu"))
    net = Net({"x": TensorSpec("f32", (1, 3, 5, 7))}, ["y"], [layer], {"w": np.zeros((4, 3, 3, 3), np.float32)})
    infer(net)
    alpha = m + 2
    # Lines of a tile are transformed down and across: alpha + alpha of the inputs, alpha + m of the products.
    tile = 2 * alpha * inputs_lines * 3 + 2 * alpha ** 2 * 3 * 4 + (alpha + m) * lines * 4
    assert own_operations(net, layer, f"winograd{m}") == tiles * tile + 4 * 5 * 7
    assert own_operations(net, layer, "direct") is None


def layer_with(kind: str, x: tuple, w: np.ndarray, **attrs) -> tuple[Net, Layer]:
    layer = Layer("l", kind, ("x", "w"), ("y",), attrs)
    net = Net({"x": TensorSpec("f32", x)}, ["y"], [layer], {"w": w})
    infer(net)
    return net, layer


def test_operations_of_sparse_products():
    """Of weights 20 x 6 the first column is kept in output 0, the second in outputs 16 to 19."""
    w = np.zeros((20, 6), np.float32)
    w[0, 0] = w[16:, 1] = 1
    net, layer = layer_with("dense", (3, 6), w)
    assert own_operations(net, layer, "sparse") == own_operations(net, layer, "sparse_batch") == 3 * 2 * 5
    # a whole block of 16 outputs, and the short one behind it
    assert own_operations(net, layer, "sparse_blocks") == 3 * 2 * (16 + 4)
    net, layer = layer_with("conv2", (2, 6, 5, 5), w.reshape(20, 6, 1, 1), stride=(2, 2))
    assert own_operations(net, layer, "sparse") == 2 * 9 * 2 * 5
    assert own_operations(net, layer, "im2col") is None


def test_operations_of_strassen():
    """Per level 7 products of halves, 4 sums of quadrants on the left, 7 of results; on the right where it is no constant."""
    net, layer = layer_with("dense", (128, 128), np.ones((128, 128), np.float32))
    one = 7 * 2 * 64 ** 3 + 11 * 64 ** 2
    two = 49 * 2 * 32 ** 3 + 11 * 64 ** 2 + 7 * 11 * 32 ** 2
    assert own_operations(net, layer, "strassen", "level1/gemm") == one
    assert own_operations(net, layer, "strassen", "level2/gemm") == two
    net, layer = layer_with("conv2", (2, 128, 8, 8), np.ones((128, 128, 1, 1), np.float32))
    assert own_operations(net, layer, "strassen", "level2/gemm") == two
    layer = Layer("m", "matmul", ("x", "w"), ("y",))
    net = Net({"x": TensorSpec("f32", (2, 64, 128)), "w": TensorSpec("f32", (128, 128))}, ["y"], [layer], {})
    infer(net)
    # products 4 to 7 have 3 + 1 + 2 + 1 quadrants more than one
    assert own_operations(net, layer, "strassen", "level1/gemm") == one + 7 * 64 ** 2


def test_strassen_of_odd_sizes():
    """66 x 65 x 70: halves 33, 33 and 33, 32; columns in tiles of 16: 48 and 22."""
    net, layer = layer_with("dense", (66, 65), np.ones((70, 65), np.float32))
    products = 33 * 33 * 48 * 3 + 33 * 32 * 48 * 2 + 33 * 32 * 22 + 33 * 33 * 22
    # S1 to S4 for 32 columns, S2 and S3 for the last; seven sums of results, of which three are 22 wide
    sums = 33 * (4 * 32 + 2) + 33 * (4 * 48 + 3 * 22)
    assert own_operations(net, layer, "strassen", "level1/gemm") == 2 * products + sums


def test_lines_of_winograd_are_those_of_the_matrices():
    """The counts cannot be below what the matrices' shape demands: an addition per line and result at least."""
    for m, (inputs, outputs) in winograd.LINES.items():
        assert inputs >= m + 2 and outputs >= m
        # and not above the dense products of an alpha x alpha and an m x alpha matrix
        assert inputs < (m + 2) * (2 * (m + 2) - 1) and outputs < m * (2 * (m + 2) - 1)


def test_winograd_is_shown_against_both():
    layer = Layer("c", "conv2", ("x", "w"), ("y",), {"pad": (1, 1, 1, 1)})
    plan = plan_of([layer], (1, 64, 28, 28), {"w": (64, 64, 3, 3)}, "y")
    found = roof.works(plan, scripted(1 << 20, 1 << 21, 1 << 22))
    (conv,) = (w for w in found if w.kind == "conv2")
    direct = 2 * 64 * 64 * 9 * 28 * 28
    assert conv.operations == direct
    if "winograd" in conv.routine:
        assert conv.own < direct
        samples = times_of(plan, *([direct / 2.0] * len(plan.steps)))
        row = next(r for r in roof.roof_rows(plan, samples, scripted(1 << 20, 1 << 21, 1 << 22)) if r["kind"] == "conv2")
        assert row["share"] == pytest.approx(2) and row["own_share"] == pytest.approx(2 * conv.own / direct)
    else:
        assert conv.own is None


# ---- units, bytes, orders -------------------------------------------------------------------------------------------

def test_units():
    limits = scripted(1, 2, 3)
    assert roof.compute_ns(1000, "f32", limits, 1) == 1000
    assert roof.compute_ns(1600, "bf16", limits, 1) == 100
    # hi and lo parts: three products where the layer has one
    assert roof.compute_ns(1600, "bf16x2", limits, 1) == 300 and roof.compute_ns(1600, "bf16x3", limits, 1) == 600
    assert roof.compute_ns(1000, "i8", limits, 1) == 1000  # no unit is measured: f32's


def test_size_bytes():
    spec = TensorSpec("f32", (2, 3))
    assert [size_bytes(spec, d) for d in (None, "f32", "bf16", "bf16x2", "bf16x3", "i8")] == [24, 24, 12, 24, 36, 6]


def test_orders():
    rows = [{"index": i, "minimum_ns": t, "roof_ns": r, "share": s}
            for i, (t, r, s) in enumerate([(10, 9, 0.9), (30, 29, 0.97), (20, 4, 0.2), (5, 0, None)])]
    assert [[r["index"] for r in roof.ordered(rows, how)] for how in roof.ORDERS] == [
        [0, 1, 2, 3], [1, 2, 0, 3], [2, 0, 1, 3], [2, 3, 0, 1]]


def test_step_samples_take_turns_with_calls():
    class Session:
        log = []

        def run_timed(self, inputs):
            self.log.append("timed")
            return np.array([len(self.log), 1])

        def run(self, inputs):
            self.log.append("call")
    session = Session()
    steps, calls = timing.step_samples(session, {}, seconds=0, at_least=3)
    assert session.log == ["timed", "call"] * 4 and steps.tolist() == [[3, 1], [5, 1], [7, 1]]
    assert len(calls.samples) == 3


# ---- command --------------------------------------------------------------------------------------------------------

@pytest.fixture
def quick(monkeypatch):
    """Scripted limits, and few runs."""
    import pathweave.runtime.limits as limits
    from pathweave.cli import bench
    monkeypatch.setattr(limits, "limits", lambda threads, **_: scripted(1 << 15, 1 << 19, 1 << 25, list(threads)[0]))
    monkeypatch.setattr(bench, "ROOF_SECONDS", 0.01)


def test_command(pw, digits, quick, tmp_path):
    out = tmp_path / "roof.json"
    result = pw("bench", "--roof", digits, "--threads", "1", "--json", "--out", out).json
    assert result["steps"] and result["route"] == "default" and result["threads"] == 1 and result["runs"] >= 10
    for row in result["steps"]:
        assert 0 < row["minimum_ns"] <= row["median_ns"] and set(row["bytes_by_level"]) <= set(LEVELS)
        if row["share"] is not None:
            assert row["share"] == pytest.approx(row["roof_ns"] / row["minimum_ns"])
    net = result["totals"][-1]
    assert net["roof_ns"] == pytest.approx(sum(r["roof_ns"] for r in result["steps"]))
    assert json.loads(out.read_text())["totals"] == result["totals"]


def test_command_as_text(pw, digits, quick):
    done = pw("bench", "--roof", digits, "--threads", "1", "--order", "share", "--routine", "cpu:f32:nhwc")
    assert done.code == 0 and "whole net: roofs" in done.out and "share: roof / minimum" in done.out
    assert "default route" in done.out


@pytest.mark.parametrize("arguments", [("--against", "onnxruntime"), ("--memory",), ("--default",), ("--order", "x")])
def test_bad_use(pw, digits, arguments):
    done = pw("bench", "--roof", digits, *arguments)
    assert done.code == 2 and ("--roof" in done.err or "--order" in done.err)


def test_an_order_without_rows_to_order(pw, digits):
    done = pw("bench", digits, "--order", "share")
    assert done.code == 2 and "give that too" in done.err and "--roof" in done.err
