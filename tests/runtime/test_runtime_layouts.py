"""Layouts with the channels last of values of rank 3 and 5, at the border and inside, against ONNX Runtime and NumPy."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import InputError
from pathweave.net.format import Format, fits
from pathweave.net.layouts import LAYOUTS, PASSED_LAYOUTS, UNIFORM_LAYOUTS, alike
from pathweave.net.net import Layer, Model, Net, TensorSpec
from pathweave.net.problem import adapt_problem
from pathweave.net.route import Choice
from pathweave.runtime import catalogue
from pathweave.runtime.conversions import conversions_for
from pathweave.runtime.defaults import default_choices, route_of
from pathweave.runtime.descriptor import Restriction
from pathweave.runtime.model import LoadedModel
from pathweave.runtime.native import native
from pathweave.testing.guard import guarded
from pathweave.testing.layouts import lay_out

LAST = {"nlc": (2, 6, 11), "ndhwc": (2, 6, 3, 4, 5)}
AXES = {"nlc": (0, 2, 1), "ndhwc": (0, 2, 3, 4, 1)}


def onnx_net(rank: int) -> bytes:
    """x [N,6,...] -> y, x times a number per channel, and r, its sums over the channels."""
    w = np.random.default_rng(rank).standard_normal((6, *[1] * (rank - 2))).astype(np.float32)
    nodes = [helper.make_node("Mul", ["x", "w"], ["y"]), helper.make_node("ReduceSum", ["y", "axes"], ["r"])]
    space = ["L"] if rank == 3 else ["D", "H", "W"]
    infos = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6, *space])], \
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ("y", "r")]
    weights = [numpy_helper.from_array(w, "w"), numpy_helper.from_array(np.array([1]), "axes")]
    graph = helper.make_graph(nodes, "g", *infos, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def model_of(spec: TensorSpec, *layers: Layer, threads: int = 1) -> LoadedModel:
    """x -> y."""
    return LoadedModel(Model({"main": Net({"x": spec}, ["y"], list(layers), {})}), threads)


RELU = Layer("a", "relu", ("x",), ("y",))


# ---- the table ------------------------------------------------------------------------------------------------------

def test_the_core_has_the_rows_of_the_table():
    """Every layout's order in memory, as the core moves values into it: elements are numbered, and read in order."""
    shape_of = {3: (2, 5, 3), 4: (2, 32, 3, 5), 5: (2, 5, 3, 2, 4)}
    for layout, facts in LAYOUTS.items():
        if facts.row_major:
            continue
        shape = shape_of[facts.rank]
        plain = "nchw" if facts.rank == 4 else "plain"
        x = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
        ends = Format("i64", plain), Format("i64", layout)
        c = catalogue.candidates(adapt_problem(TensorSpec("i64", shape), *ends, 1), accuracy="quantised")[0][0]
        assert c.device == "cpu"
        y = np.empty(x.size, np.int64)
        kernel = native().prepare(c.base.text, c.routine, c.own_variant, [(None, 0)])
        kernel.run([x], [y], guarded(np.empty(0, np.uint8), False).array, 1)
        assert np.array_equal(y, lay_out(x, layout).reshape(-1)), layout


def test_the_build_writes_a_row_per_layout(tmp_path):
    root = Path(__file__).resolve().parents[2]
    out = tmp_path / "types" / "layouts.inc"
    for _ in range(2):  # the second time nothing changes
        subprocess.run([sys.executable, root / "cmake/layouts.py", root / "src/pathweave/net/layouts.py", out], check=True)
        written = out.stat().st_mtime_ns
    assert out.stat().st_mtime_ns == written
    rows = [line for line in out.read_text().splitlines() if not line.startswith("//")]
    assert rows == ["PW_LAYOUT(plain, -1, 0)", "PW_LAYOUT(nchw, 4, 0, 0, 1, 2, 3)", "PW_LAYOUT(nhwc, 4, 0, 0, 2, 3, 1)",
                    "PW_LAYOUT(nchw16c, 4, 16, 0, 1, 2, 3)", "PW_LAYOUT(nlc, 3, 0, 0, 2, 1)",
                    "PW_LAYOUT(ndhwc, 5, 0, 0, 2, 3, 4, 1)"]


def test_layouts_that_are_alike():
    assert alike("nhwc") == ("nhwc", "nlc", "ndhwc", "plain")
    assert alike("ndhwc") == ("ndhwc", "nhwc", "nlc", "plain")
    assert alike("nchw") == ("nchw", "plain") and alike("nchw16c") == ("nchw16c", "plain")
    assert set(UNIFORM_LAYOUTS) <= set(PASSED_LAYOUTS) <= set(LAYOUTS)


# ---- the border -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("layout", LAST)
def test_arrays_of_a_call_with_the_channels_last(ort, tmp_path, layout, threads):
    shape, axes = LAST[layout], AXES[layout]
    data = onnx_net(len(shape))
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    wanted = ort(data, {"x": x})
    model = pw.load(data, threads=threads, layouts={"x": layout, "r": layout})
    model.save(tmp_path / "m.pw")
    for m in (model, pw.load(tmp_path / "m.pw", threads=threads)):
        got = m(np.ascontiguousarray(x.transpose(axes)))
        assert got["r"].shape == wanted["r"].transpose(axes).shape and got["y"].shape == wanted["y"].shape
        for name, array in (("r", got["r"].transpose(np.argsort(axes))), ("y", got["y"])):
            assert np.abs(array - wanted[name]).max() <= 1e-5 * np.abs(wanted[name]).max()
    with pytest.raises(InputError, match=f"declared.*transpose.*{re.escape(str(axes))}"):
        model(x)


@pytest.mark.parametrize("dtype", ["f32", "u8", "i16", "f16", "i32", "i64", "f64", "bool"])
@pytest.mark.parametrize("layout", LAST)
def test_values_of_every_size_are_moved_natively(layout, dtype):
    spec = TensorSpec(dtype, LAST[layout])
    numpy = {"f32": np.float32, "u8": np.uint8, "i16": np.int16, "f16": np.float16, "i32": np.int32, "i64": np.int64,
             "f64": np.float64, "bool": np.bool_}[dtype]
    model = model_of(spec, Layer("copy", "identity", ("x",), ("y",)), threads=2).with_layouts({"x": layout})
    x = np.random.default_rng(2).integers(0, 2 if dtype == "bool" else 100, spec.shape).astype(numpy)
    assert np.array_equal(model(np.ascontiguousarray(x.transpose(AXES[layout]))), x)
    moved = [s for s in model.plan().steps if s.layer == "adapt"]
    assert [s.routine for s in moved] == [f"adapt/transpose:any:{layout}-plain:cpu"]


@pytest.mark.parametrize("layout, shape", [("nlc", (1, 2, 3, 4)), ("nlc", (2, 3)), ("ndhwc", (1, 2, 3))])
def test_a_value_of_another_rank_cannot_lie_there(layout, shape):
    with pytest.raises(InputError, match=f"cannot lie in {layout}: it is for rank {LAYOUTS[layout].rank}"):
        model_of(TensorSpec("f32", shape), RELU).with_layouts({"x": layout})


# ---- the meaning in NumPy, where a route names it -------------------------------------------------------------------

@pytest.mark.parametrize("layout", LAST)
def test_the_meaning_runs_in_the_layout_that_a_route_names(layout):
    shape, axes = LAST[layout], AXES[layout]
    model = model_of(TensorSpec("f32", shape), Layer("a", "sigmoid", ("x",), ("h",)), Layer("b", "softmax", ("h",), ("y",)),
                     threads=2).with_layouts({"x": layout, "y": layout})
    bound = model.bind()
    form = Format("f32", layout)
    choices = default_choices(bound, 2)
    route = route_of(bound, choices, conversions_for(bound, choices, 2), 2, "f32")
    for name, kind in (("a", "sigmoid"), ("b", "softmax")):
        route.layers[name] = Choice(f"{kind}/numpy:f32:{layout}:python", 1, "", (form,), (form,))
    route.conversions.clear()
    x = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
    plan = model.plan(route)
    assert [s.routine for s in plan.steps] == [f"{kind}/numpy:f32:{layout}:python" for kind in ("sigmoid", "softmax")]
    got = plan.session().run({"x": np.ascontiguousarray(x.transpose(axes))})["y"]
    wanted = np.exp(1 / (1 + np.exp(-x.astype(np.float64))))
    wanted /= wanted.sum(axis=-1, keepdims=True)
    assert np.allclose(got.transpose(np.argsort(axes)), wanted, rtol=1e-6)


@pytest.mark.parametrize("routine", ["relu/numpy:f32:nchw16c:python", "relu/numpy:f32:nlc:python", "relu/numpy:f64:nhwc:python",
                                     "relu/numpy:f32:spiral:python", "relu/numpy:f32:nhwc:cpu"])
def test_a_meaning_in_a_layout_that_does_not_fit_is_refused(routine):
    bound = model_of(TensorSpec("f32", (1, 3, 4, 5)), RELU).bind()
    found = catalogue.find(bound.problems(1)[0], routine)
    assert isinstance(found, catalogue.Refusal)
    assert not isinstance(catalogue.find(bound.problems(1)[0], "relu/numpy:f32:nhwc:python"), catalogue.Refusal)


def test_a_meaning_is_replaced_at_sizes_that_do_not_fit_its_layout():
    model = model_of(TensorSpec("f32", ("N", "C", 4, 5)), RELU)
    bound = model.bind({"x": (1, 16, 4, 5)})
    form = Format("f32", "nchw16c")
    choices = {"a": catalogue.numpy_candidate(bound.problems(1)[0], "nchw16c")}
    route = route_of(bound, choices, conversions_for(bound, choices, 1), 1, "f32")
    assert route.layers["a"].ins == (form,)
    x = np.random.default_rng(4).standard_normal((1, 16, 4, 5)).astype(np.float32)
    assert np.array_equal(model.plan(route, {"x": x.shape}).session().run({"x": x})["y"], np.maximum(x, 0))
    other = np.random.default_rng(5).standard_normal((1, 3, 4, 5)).astype(np.float32)
    plan = model.plan(route, {"x": other.shape})  # its routine declines these sizes, and another takes its place
    assert "numpy" not in plan.steps[0].routine
    assert np.array_equal(plan.session().run({"x": other})["y"], np.maximum(other, 0))


CHANNELS_LAST = {"nhwc", "nlc", "ndhwc", "plain"}


@pytest.mark.parametrize("word, wanted", [("chl", CHANNELS_LAST), ("nlc", CHANNELS_LAST), ("nchw", {"nchw", "plain"})])
def test_descriptors_allow_layouts_that_are_alike(word, wanted):
    found = set()
    for layout in LAYOUTS:
        shape = {3: (1, 16, 4), 5: (1, 16, 2, 2, 2), 4: (1, 16, 2, 2)}.get(LAYOUTS[layout].rank, (2, 3))
        assert fits(layout, shape)
        problem = model_of(TensorSpec("f32", shape), RELU).bind().problems(1)[0]
        if Restriction(word)(0, RELU, catalogue.numpy_candidate(problem, layout)):
            found.add(layout)
    assert found == wanted
