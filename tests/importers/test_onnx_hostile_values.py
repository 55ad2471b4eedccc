"""Values that models compute or are given, and that no model should have: each ends in a result or in a typed error."""

import time
import tracemalloc

import numpy as np
import pytest
from onnx import ValueInfoProto, helper, numpy_helper

import pathweave
from pathweave.layers import infer_layer
from pathweave.meaning.partial import Follower
from pathweave.net.net import Layer, TensorSpec

OPSET = 20


def model_of(op, inputs, constant=(), **attrs):
    """A model of one node in ONNX. `constant`: indices of the inputs that are initializers."""
    names = ["" if a is None else f"i{i}" for i, a in enumerate(inputs)]
    given = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
             for i, (n, a) in enumerate(zip(names, inputs)) if n and i not in constant]
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attrs)], "g", given, [ValueInfoProto(name="y")],
                              [numpy_helper.from_array(inputs[i], names[i]) for i in constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def run(op, inputs, constant=(), **attrs):
    model = pathweave.load(model_of(op, inputs, constant, **attrs).SerializeToString())
    return model.run({f"i{i}": a for i, a in enumerate(inputs) if a is not None and i not in constant})["y"]


def whole(*numbers):
    return np.array(numbers, np.int64)


X, WAVE = np.ones((2, 3), np.float32), np.ones((1, 8, 1), np.float32)
BOXES, SCORES = np.ones((1, 2, 4), np.float32), np.ones((1, 1, 2), np.float32)
NO_NUMBER = {
    "length of a DFT": ("DFT", [WAVE, whole(*range(120))], {}),
    "no length": ("DFT", [WAVE, whole()], {}),
    "axis of a DFT": ("DFT", [WAVE, None, whole(1, 1)], {}),
    "step of an STFT": ("STFT", [WAVE, whole(1, 2), None, whole(4)], {}),
    "size of a window": ("HannWindow", [whole(3, 4)], {}),
    "axis of a CumSum": ("CumSum", [X, whole(0, 1)], {}),
    "no axis": ("CumSum", [X, whole()], {}),
    "diagonal": ("Trilu", [X, whole(0, 1)], {}),
    "depth": ("OneHot", [whole(0, 1), whole(3, 4), np.ones(2, np.float32)], {}),
    "depth that is no number": ("OneHot", [whole(0, 1), np.float32([np.nan]), np.ones(2, np.float32)], {}),
    "infinite depth": ("OneHot", [whole(0, 1), np.float32([np.inf]), np.ones(2, np.float32)], {}),
    "k": ("TopK", [X, whole(1, 1)], {}),
    "count of boxes": ("NonMaxSuppression", [BOXES, SCORES, whole(1, 2)], {}),
    "no count of boxes": ("NonMaxSuppression", [BOXES, SCORES, whole()], {}),
    "no threshold": ("NonMaxSuppression", [BOXES, SCORES, whole(1), np.float32([])], {}),
}


@pytest.mark.parametrize("known", (False, True), ids=("given", "constant"))
@pytest.mark.parametrize("what", NO_NUMBER)
def test_an_input_that_is_to_be_one_number_is_refused_where_it_is_another(what, known):
    op, inputs, attrs = NO_NUMBER[what]
    constant = [i for i, a in enumerate(inputs) if a is not None and (known and i or len(inputs) == 1 and known)]
    with pytest.raises(pathweave.Error) as caught:
        run(op, inputs, constant, **attrs)
    assert str(caught.value)


def test_a_large_identity_is_not_made_to_follow_its_contents():
    layer, x = Layer("eye", "eye_like", ("x",), ("y",)), TensorSpec("f32", (8192, 8192))
    tracemalloc.start()
    try:
        follower = Follower({"x": x})
        follower.step(layer)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert follower.specs["y"] == infer_layer(layer, [x])[0]
    assert peak < 8 << 20


@pytest.mark.parametrize("start, limit, delta", ((-2**63, -2**63 + 3, 1), (2**63 - 4, 2**63 - 1, 2), (-2**63 + 3, -2**63, -1),
                                                 (0, 2**62, 2**61), (-2**63, 2**63 - 1, 2**62)))
@pytest.mark.parametrize("constant", ((), (1, 2), (0, 2)), ids=("given", "start given", "limit given"))
def test_a_range_at_the_ends_of_the_integers_is_the_builtin_one(start, limit, delta, constant):
    try:
        y = run("Range", [np.int64(start), np.int64(limit), np.int64(delta)], constant)
    except pathweave.Error:  # a size beyond those that are followed may be refused, but is never another one
        assert constant
    else:
        assert y.tolist() == list(range(start, limit, delta))


BOXES_FAR = {"far larger than the image": (-3000, -2000, 3000, 2500), "begins inside": (1, 2, 3000, 2500),
             "upside down": (4, 5, 1, 1),
             "to the left": (-900, 0, -100, 4), "empty": (2, 2, 2, 2), "at the edge": (3.9, 4.9, 5.1, 6.1)}


@pytest.mark.parametrize("mode", ("avg", "max"))
@pytest.mark.parametrize("box", BOXES_FAR)
def test_regions_beyond_the_image_are_those_of_onnxruntime(box, mode):
    ort = pytest.importorskip("onnxruntime")
    x = np.random.default_rng(3).standard_normal((1, 2, 6, 5)).astype(np.float32) - 2  # the zeros outside are the largest
    for ratio in (0, 3):
        inputs = [x, np.float32([BOXES_FAR[box]]), whole(0)]
        attrs = {"mode": mode, "sampling_ratio": ratio, "output_height": 2, "output_width": 3}
        file = model_of("RoiAlign", inputs, **attrs).SerializeToString()
        session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
        expected = session.run(None, {f"i{i}": a for i, a in enumerate(inputs)})[0]
        np.testing.assert_allclose(run("RoiAlign", inputs, **attrs), expected, rtol=1e-4, atol=1e-6)


def test_a_region_of_a_billion_elements_costs_no_more_than_the_image():
    before = time.process_time()
    y = run("RoiAlign", [np.ones((1, 1, 6, 5), np.float32), np.float32([[-1e6, -1e6, 1e6, 1e6]]), whole(0)], sampling_ratio=0,
            output_height=2, output_width=2)
    assert time.process_time() - before < 20  # 10^12 samples would take an hour
    assert (y > 0).any() and (y < 1e-9).all()


@pytest.mark.parametrize("op, shape", [("Trilu", ()), ("Trilu", (3,)), ("CumSum", ())])
def test_a_value_of_too_few_axes_is_refused_where_the_number_is_there_in_the_run_alone(op, shape):
    arrays = [np.ones(shape, np.float32), np.array(0, np.int64)]
    with pytest.raises(pathweave.errors.ShapeError):  # when it is read, or when it runs
        pathweave.load(model_of(op, arrays).SerializeToString()).run({"i0": arrays[0], "i1": arrays[1]})
