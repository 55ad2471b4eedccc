"""Limits of sizes: what a value may take, what the environment lowers, what windows may reach over."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import pathweave as pw
from pathweave.errors import InputError, ShapeError, SizeError
from pathweave.layers import infer_layer, kind_of, pooling
from pathweave.meaning.evaluate import evaluate
from pathweave.net import memory, size
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.passes import bind
from pathweave.profiling.store import Store

HEADER = Path(__file__).resolve().parents[2] / "native" / "base" / "size.h"


def infer(kind: str, *shapes, **attrs):
    specs = [s if s is None or isinstance(s, TensorSpec) else TensorSpec("f32", s) for s in shapes]
    return infer_layer(Layer("big one", kind, tuple("x" for _ in specs), ("y",), attrs), specs)


def test_both_languages_have_the_same_limits():
    found = {name: 1 << int(power) for name, power in
             re.findall(r"(kMost\w+) = int64_t\{1\} << (\d+);", HEADER.read_text())}
    rank = int(re.search(r"kMostRank = (\d+);", HEADER.read_text())[1])
    assert (found["kMostBytes"], found["kMostSize"], found["kMostSpan"], found["kMostVisits"], rank) == \
        (size.MOST_BYTES, size.MOST_SIZE, size.MOST_SPAN, size.MOST_VISITS, size.MOST_RANK)
    assert found["kMostNumber"] > found["kMostSpan"], "what is cut to it must be refused"


@pytest.mark.parametrize(("text", "limit"), [("", 2**40), (" 4096 ", 4096), ("1", 1), (str(2**40), 2**40), (str(2**41), 2**40)])
def test_the_environment_lowers_the_limit(monkeypatch, text, limit):
    monkeypatch.setenv(size.VARIABLE, text)
    assert size.max_bytes() == limit


@pytest.mark.parametrize("text", ["0", "-1", "1e9", "4k", "٣", "9" * 30, "0x10"])
def test_a_limit_that_is_no_number_is_refused(monkeypatch, text):
    monkeypatch.setenv(size.VARIABLE, text)
    with pytest.raises(InputError, match=f"{size.VARIABLE}=.*expected a number of bytes"):
        size.max_bytes()


def test_the_largest_value_is_allowed_and_one_element_more_is_not():
    assert infer("tile", (1, 1), repeats=(2**19, 2**19)) == [TensorSpec("f32", (2**19, 2**19))]
    with pytest.raises(SizeError) as e:
        infer("tile", (1, 1), repeats=(2**19, 2**19 + 1))
    for said in ("'big one'", "(tile)", "'y'", "f32[524288,524289]", "1.1 TB", str(2**40), "smaller shapes"):
        assert said in str(e.value)
    assert size.VARIABLE not in str(e.value), "it cannot be raised"


def test_an_empty_dimension_does_not_make_up_for_a_huge_one():
    assert infer("tile", (0, 1), repeats=(1, 2**30)) == [TensorSpec("f32", (0, 2**30))]
    with pytest.raises(SizeError):
        infer("tile", (0, 1, 1), repeats=(1, 2**30, 2**30))


@pytest.mark.parametrize(("kind", "shapes", "attrs"), [
    ("unsqueeze", [(1,)], {"axes": tuple(range(64))}),
    ("reshape", [(1,)], {"shape": (1,) * 65}),
    ("expand", [(1,)], {"shape": (1,) * 65}),
])
def test_rank_above_numpys(kind, shapes, attrs):
    with pytest.raises(SizeError, match="rank 65: expected at most 64"):
        infer(kind, *shapes, **attrs)


@pytest.mark.parametrize("power", [45, 59, 60, 61, 62, 63])
@pytest.mark.parametrize(("kind", "shapes", "name"), [
    ("conv2", [(1, 3, 8, 8), (3, 3, 3, 3)], "pad"), ("conv2", [(1, 3, 8, 8), (3, 3, 3, 3)], "stride"),
    ("conv2", [(1, 3, 8, 8), (3, 3, 1, 1)], "dilation"), ("depthwise_conv2", [(1, 3, 8, 8), (3, 1, 3, 3)], "pad"),
    ("conv_transpose2", [(1, 3, 1, 1), (3, 3, 3, 3)], "stride"), ("max_pool2", [(1, 3, 8, 8)], "stride"),
    ("average_pool2", [(1, 3, 8, 8)], "kernel"), ("lp_pool2", [(1, 3, 8, 8)], "kernel"),
    ("inverted_residual", [(1, 3, 8, 8), None, None, (3, 1, 3, 3), None, (3, 3, 1, 1), None], "stride"),
])
def test_windows_that_reach_too_far(kind, shapes, name, power):
    """Even where the output is small: the native core counts what lies between."""
    long = 2**power - (power == 63)
    attrs = {"kernel": (3, 3)} if "pool" in kind else {}
    if kind == "conv2" and name == "dilation":
        shapes = [(1, 3, 8, 8), (3, 3, 3, 3)]
        attrs["pad"] = (long, long, long, long)
    elif name == "pad":
        attrs["stride"] = (long, long)
    elif name == "kernel":
        attrs |= {"pad": (long // 2,) * 4, "stride": (long, long)}
    attrs[name] = (long,) * (4 if name == "pad" else 2)
    with pytest.raises(ShapeError) as e:
        infer(kind, *shapes, **attrs)
    assert isinstance(e.value, SizeError) or "does not fit" in str(e.value)


def small_net() -> Net:
    layers = [Layer("double", "add", ("x", "x"), ("sum",), {}), Layer("last", "relu", ("sum",), ("y",), {})]
    return Net({"x": TensorSpec("f32", ("N", 1000))}, ["y"], layers, {})


def test_a_lowered_limit_refuses_and_never_changes_a_result(monkeypatch):
    x = np.linspace(-1, 1, 2000, dtype=np.float32).reshape(2, 1000)
    monkeypatch.setenv(size.VARIABLE, "7999")
    with pytest.raises(SizeError, match=f"input 'x'.*8 kB.*{size.VARIABLE}"):
        pw.load(Model({"main": small_net()}))(x)
    monkeypatch.setenv(size.VARIABLE, "20000")
    np.testing.assert_array_equal(pw.load(Model({"main": small_net()}))(x), np.maximum(x + x, 0))


def test_all_values_of_a_plan_together_are_held_to_the_limit(monkeypatch):
    layers = [Layer(f"l{i}", "sigmoid" if i % 2 else "relu", ("x",), (f"v{i}",), {}) for i in range(8)]
    layers.append(Layer("join", "concat", tuple(f"v{i}" for i in range(8)), ("z",), {"axis": 0}))
    layers.append(Layer("mean", "reduce", ("z",), ("y",), {"op": "mean", "axes": (0,), "keepdims": 0}))
    net = Net({"x": TensorSpec("f32", (1, 1000))}, ["y"], layers, {})
    x = np.ones((1, 1000), np.float32)
    monkeypatch.setenv(size.VARIABLE, "33000")  # the largest value has 32,000 bytes, which is not all
    with pytest.raises(SizeError, match="one session takes .* of values, .* of scratch"):
        pw.load(Model({"main": net}), threads=1)(x)
    monkeypatch.delenv(size.VARIABLE)
    assert pw.load(Model({"main": net}), threads=1)(x).shape == (1000,)


def test_symbols_do_not_meet_the_limit_before_they_are_bound():
    """The importer follows a net with large sizes for its symbols; those are no sizes of the model."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("ReduceMean", ["a"], ["y"], axes=[-1, -2], keepdims=0)]
    shape = ["N", 2048, "H", "W"]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8).SerializeToString()
    assert onnx is not None
    x = np.ones((1, 2048, 2, 2), np.float32)
    np.testing.assert_array_equal(pw.load(data)(x), np.ones((1, 2048), np.float32))


def test_evaluate_asks_before_it_takes(monkeypatch):
    net = Net({"x": TensorSpec("f32", (1, 1))}, ["y"], [Layer("t", "tile", ("x",), ("y",), {"repeats": (2**15, 2**14)})], {})
    monkeypatch.setattr(memory, "available", lambda: 1 << 30)
    with pytest.raises(pw.errors.OutOfMemoryError, match=r"layer 't' \(tile\): 2.15 GB"):
        evaluate(net, {"x": np.ones((1, 1), np.float32)})
    monkeypatch.undo()
    net.layers[0] = Layer("t", "tile", ("x",), ("y",), {"repeats": (2**30, 2**30)})
    for use in (lambda: evaluate(net, {"x": np.ones((1, 1), np.float32)}), lambda: bind(net)):
        with pytest.raises(SizeError, match="'t'"):
            use()


def test_a_slice_to_the_end_of_all_integers():
    x = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    ends = {"starts": (1, -2**63), "ends": (2**63 - 1, 2**63 - 1), "axes": (0, 2), "steps": (1, 1)}
    net = Net({"x": TensorSpec("f32", x.shape)}, ["y"], [Layer("s", "slice", ("x",), ("y",), ends)], {})
    np.testing.assert_array_equal(pw.load(Model({"main": net}))(x), x[1:])


def test_lrn_over_more_channels_than_there_are():
    x = np.random.default_rng(0).standard_normal((1, 5, 2, 2))
    kind = kind_of("lrn")
    for over in (3, 4, 9, 10, 2**62):
        (y,) = kind.meaning(kind.complete({"size": over, "alpha": 0.5, "beta": 0.6, "bias": 2.0}), [x])
        before, behind = (over - 1) // 2, over // 2
        total = np.stack([(x[:, max(0, c - before):min(5, c + behind + 1)] ** 2).sum(1) for c in range(5)], 1)
        np.testing.assert_allclose(y, x / (2 + 0.5 / over * total) ** 0.6, rtol=1e-12)


@pytest.mark.parametrize("every", [0, 4096])
def test_pooling_skips_padding(monkeypatch, every):
    """Both ways to find a window's taps, against loops over all of them."""
    monkeypatch.setattr(pooling, "_EVERY_TAP", every)
    rng, seen = np.random.default_rng(0), 0
    for _ in range(300):
        length, kernel, stride, dilation = (rng.integers(1, most, 2) for most in (9, 7, 6, 4))
        attrs = {"kernel": tuple(map(int, kernel)), "stride": tuple(map(int, stride)), "dilation": tuple(map(int, dilation)),
                 "pad": tuple(map(int, rng.integers(0, 5, 4))), "ceil": int(rng.integers(2))}
        x = rng.standard_normal((1, 1, *length))
        for name in ("max_pool2", "average_pool2"):
            kind = kind_of(name)
            full = kind.complete({**attrs, **({"count_pad": int(rng.integers(2))} if name == "average_pool2" else {})})
            try:
                (spec,) = kind.infer(full, [TensorSpec("f64", x.shape)])
            except ShapeError:
                continue
            (y,) = kind.meaning(full, [x])
            wanted = np.array([[pooled(x[0, 0], full, oy, ox) for ox in range(spec.shape[3])] for oy in range(spec.shape[2])])
            np.testing.assert_allclose(y[0, 0], wanted, rtol=1e-12, atol=1e-15)
            seen += 1
    assert seen > 80


def pooled(x, attrs, oy, ox) -> float:
    inside, padded, pad = [], 0, attrs["pad"]
    for i in range(attrs["kernel"][0]):
        for j in range(attrs["kernel"][1]):
            iy = oy * attrs["stride"][0] - pad[0] + i * attrs["dilation"][0]
            ix = ox * attrs["stride"][1] - pad[1] + j * attrs["dilation"][1]
            padded += -pad[0] <= iy < x.shape[0] + pad[2] and -pad[1] <= ix < x.shape[1] + pad[3]
            if 0 <= iy < x.shape[0] and 0 <= ix < x.shape[1]:
                inside.append(x[iy, ix])
    if "count_pad" not in attrs:
        return max(inside, default=-np.inf)
    return sum(inside) / max(1, padded if attrs["count_pad"] else len(inside))


def test_a_huge_kernel_takes_no_time():
    kind = kind_of("max_pool2")
    attrs = kind.complete({"kernel": (2**40, 1), "pad": (2**39, 0, 2**39, 0), "stride": (2**40, 1)})
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    np.testing.assert_array_equal(kind.meaning(attrs, [x])[0], x.max(2, keepdims=True))


# memory of the machine

MEMINFO = "MemTotal: 1000 kB\nMemFree: 10 kB\nMemAvailable:   400 kB\nSwapFree:  100 kB\n"


def system(tmp_path, groups: str, files: dict[str, str]) -> tuple[Path, Path]:
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "self" / "cgroup").write_text(groups)
    for name, text in files.items():
        (cgroup / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroup / name).write_text(text)
    return proc, cgroup


@pytest.mark.parametrize(("groups", "files", "left"), [
    ("", {}, 500 << 10),
    ("0::/a/b\n", {"a/memory.max": "300000\n", "a/memory.current": "100000\n"}, 200000),
    ("0::/a/b\n", {"a/memory.max": "300000", "a/memory.current": "200000", "a/b/memory.max": "max",
                   "a/memory.stat": "anon 1\nactive_file 50000\ninactive_file 30000\n"}, 180000),
    ("4:memory:/a\n1:cpu:/\n", {"memory/a/memory.limit_in_bytes": "90000", "memory/a/memory.usage_in_bytes": "100000"}, 0),
    ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": str(2**63 - 4096), "memory/a/memory.usage_in_bytes": "1"}, 500 << 10),
])
def test_memory_of_machine_and_container(tmp_path, groups, files, left):
    assert memory.available(*system(tmp_path, groups, files)) == left


def test_a_system_that_does_not_say(tmp_path):
    assert memory.available(tmp_path, tmp_path) is None


def test_what_is_not_known_is_not_refused(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.require(1 << 62, "a value", "")


@pytest.mark.parametrize(("repeats", "reduced", "said"), [
    ((64, 1 << 20), False, "results of the model"),
    ((64, 1 << 20), True, "value 'big', f32"),
    ((24, 1 << 20), True, "values, scratch and results of one session"),
])
def test_a_plan_asks_for_memory_before_it_takes_any(monkeypatch, repeats, reduced, said):
    from pathweave.runtime import prepare
    prepared = []
    monkeypatch.setattr(memory, "available", lambda: 100 << 20)
    original = prepare.kernel_of
    monkeypatch.setattr(prepare, "kernel_of", lambda *a: prepared.append(a[1].routine) or original(*a))
    layers = [Layer("t", "tile", ("x",), ("big",), {"repeats": repeats})]
    if reduced:
        layers += [Layer("e", "exp", ("big",), ("other",), {}),
                   Layer("m", "mul", ("big", "other"), ("product",), {}),
                   Layer("r", "reduce", ("product",), ("y",), {"op": "sum", "axes": (0, 1)})]
    net = Net({"x": TensorSpec("f32", (1, 1))}, ["y" if reduced else "big"], layers, {})
    with pytest.raises(pw.errors.OutOfMemoryError, match=f"{said}.*available"):
        pw.load(Model({"main": net}), threads=1).plan()
    assert bool(prepared) == ("session" in said)


@pytest.mark.parametrize("big, what", [("x", "inputs"), ("y", "results")])
@pytest.mark.parametrize("use", [lambda m: pw.tune(m, budget_s=0, progress=False, store=Store.memory()),
                                 lambda m: pw.profile(m, budget_s=0, progress=False, store=Store.memory())],
                         ids=["tune", "profile"])
def test_arrays_that_are_made_for_measuring_are_asked_for_first(monkeypatch, big, what, use):
    taken = []
    monkeypatch.setattr(memory, "available", lambda: 100 << 20)
    for module, function in ((np, "zeros"), (np, "empty"), (np, "ascontiguousarray")):
        original = getattr(module, function)
        monkeypatch.setattr(module, function, lambda *a, f=original, **k: taken.append(r := f(*a, **k)) or r)
    shape = (1 << 25,) if big == "x" else (1,)
    layer = Layer("l", "reduce", ("x",), ("y",), {"op": "sum", "axes": (0,), "keepdims": 1}) if big == "x" else \
        Layer("l", "tile", ("x",), ("y",), {"repeats": (1 << 25,)})
    model = pw.load(Model({"main": Net({"x": TensorSpec("f32", shape)}, ["y"], [layer], {})}), threads=1)
    with pytest.raises(pw.errors.OutOfMemoryError, match=f"the {what} of the model: 134 MB .*available"):
        use(model)
    assert max((a.nbytes for a in taken), default=0) < 100 << 20


@pytest.mark.parametrize("name", ["\ud800", b"bytes", 3])
def test_names_that_are_no_text(name):
    with pytest.raises(pw.errors.ModelError, match="expected text in UTF-8"):
        Net({name: TensorSpec("f32", (1,))}, ["y"], [Layer("l", "relu", (name,), ("y",), {})], {}).check()
    with pytest.raises(pw.errors.ModelError, match="expected text in UTF-8"):
        Net({"x": TensorSpec("f32", (1,))}, ["y"], [Layer(name, "relu", ("x",), ("y",), {})], {}).check()
