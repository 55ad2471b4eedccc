"""Models with states, against whole sequences by NumPy in float64 and against ONNX Runtime with the states handed by hand."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import DTypeError, InputError, SizeError
from pathweave.testing.layouts import lay_out

HEADS, DEPTH = 2, 4
WIDTH = HEADS * DEPTH


def onnx_model(nodes, inputs: dict, outputs: list[str], weights: dict, dtype=TensorProto.FLOAT) -> bytes:
    """`inputs`: name -> shape."""
    infos = [helper.make_tensor_value_info(n, dtype, s) for n, s in inputs.items()]
    outs = [helper.make_tensor_value_info(n, dtype, None) for n in outputs]
    graph = helper.make_graph(nodes, "g", infos, outs, [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def node(op: str, inputs: str, outputs: str, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


def weights(rng, **shapes) -> dict:
    return {n: (rng.standard_normal(s) / np.sqrt(s[0])).astype(np.float32) for n, s in shapes.items()}


@pytest.fixture(scope="module")
def gru() -> tuple[bytes, dict]:
    """One step of a GRU of 3 inputs and 5 units, x [N,3], h [N,5] -> y [N,2], g [N,5]; and its weights."""
    w = weights(np.random.default_rng(3), wz=(3, 5), uz=(5, 5), wr=(3, 5), ur=(5, 5), wn=(3, 5), un=(5, 5), wo=(5, 2))
    nodes = [node("MatMul", "x wz", "xz"), node("MatMul", "h uz", "hz"), node("Add", "xz hz", "z0"), node("Sigmoid", "z0", "z"),
             node("MatMul", "x wr", "xr"), node("MatMul", "h ur", "hr"), node("Add", "xr hr", "r0"), node("Sigmoid", "r0", "r"),
             node("Mul", "r h", "rh"), node("MatMul", "x wn", "xn"), node("MatMul", "rh un", "hn"), node("Add", "xn hn", "n0"),
             node("Tanh", "n0", "n"), node("Sub", "n h", "d"), node("Mul", "z d", "zd"), node("Add", "h zd", "g"),
             node("MatMul", "g wo", "y")]
    return onnx_model(nodes, {"x": ["N", 3], "h": ["N", 5]}, ["y", "g"], w), w


def gru_sequence(w: dict, xs: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs [T,N,2] of a whole sequence [T,N,3], and the last state, in float64."""
    w, h, ys = {n: a.astype(np.float64) for n, a in w.items()}, h.astype(np.float64), []
    for x in xs.astype(np.float64):
        z, r = (1 / (1 + np.exp(-(x @ w[f"w{k}"] + h @ w[f"u{k}"]))) for k in "zr")
        h = h + z * (np.tanh(x @ w["wn"] + (r * h) @ w["un"]) - h)
        ys.append(h @ w["wo"])
    return np.array(ys), h


@pytest.fixture(scope="module")
def decoder() -> bytes:
    """Attention with a growing cache: x [B,T,8], past_k and past_v [B,2,P,4] -> y [B,T,8], present_k, present_v [B,2,P+T,4]."""
    w = weights(np.random.default_rng(4), wq=(WIDTH, WIDTH), wk=(WIDTH, WIDTH), wv=(WIDTH, WIDTH), wo=(WIDTH, WIDTH))
    nodes = []
    for k in "qkv":
        nodes += [node("MatMul", f"x w{k}", f"{k}0"), node("Reshape", f"{k}0 split", f"{k}1"),
                  node("Transpose", f"{k}1", f"{k}2", perm=[0, 2, 1, 3])]
    nodes += [node("Concat", f"past_{k} {k}2", f"present_{k}", axis=2) for k in "kv"]
    nodes += [node("Transpose", "present_k", "kt", perm=[0, 1, 3, 2]), node("MatMul", "q2 kt", "s"),
              node("Softmax", "s", "p", axis=-1), node("MatMul", "p present_v", "a"),
              node("Transpose", "a", "b", perm=[0, 2, 1, 3]), node("Reshape", "b join", "c"), node("MatMul", "c wo", "o"),
              node("Add", "o x", "y")]
    cache = ["B", HEADS, "P", DEPTH]
    return onnx_model(nodes, {"x": ["B", "T", WIDTH], "past_k": cache, "past_v": cache}, ["y", "present_k", "present_v"],
                      {**w, "split": np.array([0, 0, HEADS, DEPTH]), "join": np.array([0, 0, WIDTH])})


CACHES = {"past_k": "present_k", "past_v": "present_v"}
EMPTY = {n: np.zeros((1, HEADS, 0, DEPTH), np.float32) for n in CACHES}


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def close(got: np.ndarray, wanted: np.ndarray, limit: float = 1e-5) -> bool:
    return got.shape == wanted.shape and np.abs(got - wanted).max(initial=0) <= limit * np.abs(wanted).max(initial=0)


# ---- calls ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("batch", [1, 4])
def test_steps_of_a_gru_equal_the_whole_sequence(gru, batch):
    data, w = gru
    xs = values(12, batch, 3)
    session = pw.load(data, states={"h": "g"}).session({"N": batch})
    wanted, last = gru_sequence(w, xs, np.zeros((batch, 5)))
    for begin in range(2):  # and once more after a reset
        got = np.array([session(x) for x in xs])
        assert close(got, wanted) and close(session.state()["h"], last), begin
        assert not close(session(xs[0]), wanted[0])  # it goes on where it was
        session.reset()


def test_an_initial_value_is_what_the_first_call_reads(gru):
    data, w = gru
    h, xs = values(2, 5, seed=5), values(4, 2, 3)
    given = h.copy()
    model = pw.load(data).with_states({"h": "g"}, initial={"h": given})
    given[:] = 0  # the model has a copy
    session = model.session()
    assert close(np.array([session(x=x) for x in xs]), gru_sequence(w, xs, h)[0])
    session.reset()
    assert np.array_equal(session.state()["h"], h)


@pytest.mark.parametrize("initial", [True, False], ids=["initial array", "size of the symbol"])
def test_a_growing_cache_equals_onnxruntime_at_every_length(ort, decoder, initial):
    model = pw.load(decoder, states=CACHES)
    session = model.with_states(initial=EMPTY).session() if initial else model.session({"B": 1, "P": 0})
    by_hand = dict(EMPTY)
    for i, steps in enumerate([1, 3, *[1] * 20, 2]):
        x = values(1, steps, WIDTH, seed=i)
        wanted = ort(decoder, {"x": x, **by_hand})
        by_hand = {n: wanted[o] for n, o in CACHES.items()}
        assert close(session(x), wanted["y"]), (i, steps)
        assert all(close(a, by_hand[n]) for n, a in session.state().items())


def test_a_growing_cache_makes_no_plan_per_call(decoder):
    model = pw.load(decoder, states=CACHES)
    session = model.session({"B": 1, "P": 0})
    for i in range(3):
        session(values(1, 1, WIDTH, seed=i))
    before = len(session.model.runnable().kept_plans())
    for i in range(40):
        session(values(1, 1, WIDTH, seed=i))
    assert len(session.model.runnable().kept_plans()) == before <= 3


def test_what_a_call_makes_is_what_the_next_one_reads(gru, monkeypatch):
    """No copy in between: the same array."""
    from pathweave.runtime.runnable import Runnable
    seen, own = [], Runnable.run

    def run(self, inputs, out=None, rooms=None):
        results = own(self, inputs, out, rooms)
        seen.append((inputs["h"], results["g"]))
        return results
    monkeypatch.setattr(Runnable, "run", run)
    session = pw.load(gru[0], states={"h": "g"}).session({"N": 1})
    for _ in range(3):
        session(values(1, 3))
    assert seen[1][0] is seen[0][1] and seen[2][0] is seen[1][1]


def test_results_are_written_where_the_caller_says(gru):
    data, w = gru
    model, xs = pw.load(data, states={"h": "g"}), values(3, 1, 3)
    session, y = model.session({"N": 1}), np.empty((1, 2), np.float32)
    wanted = gru_sequence(w, xs, np.zeros((1, 5)))[0]
    assert session(xs[0], out=y) is y and close(y, wanted[0])
    assert session.run({"x": xs[1]}, {"y": y})["y"] is y and close(y, wanted[1])
    for wrong, says in (({"g": np.empty((1, 5), np.float32)}, "no state takes"), ({"z": y}, "unknown"),
                        (np.empty((2, 2), np.float32), "expected shape")):
        with pytest.raises(InputError, match=says):
            session(xs[2], out=wrong)
    assert close(session(xs[2]), wanted[2])


def test_several_results_come_as_a_dict(decoder):
    session = pw.load(decoder, states={"past_k": "present_k"}).session({"B": 1, "P": 0})
    found = session(x=values(1, 2, WIDTH), past_v=EMPTY["past_v"])
    assert list(found) == ["y", "present_v"] and found["present_v"].shape == (1, HEADS, 2, DEPTH)


def test_a_model_of_states_alone():
    """h -> 2 h + 1; nothing goes in, nothing comes out but by `state`."""
    data = onnx_model([node("Mul", "h two", "d"), node("Add", "d one", "g")], {"h": [2]}, ["g"],
                      {"two": np.float32(2), "one": np.float32(1)})
    session = pw.load(data, states={"h": "g"}).session()
    for i in range(1, 5):
        assert session() == {}
        assert session.state()["h"].tolist() == [2**i - 1] * 2


@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.BOOL])
def test_states_of_every_element_type(dtype, tmp_path):
    """Values that move through a line of two places: y is what x was two calls before."""
    data = onnx_model([node("Concat", "past x", "all", axis=0), node("Slice", "all one end", "present"),
                       node("Slice", "all zero one", "y")], {"x": [1], "past": [2]}, ["y", "present"], {}, dtype)
    import onnx
    model = onnx.load_from_string(data)
    for name, v in (("zero", 0), ("one", 1), ("end", 3)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([v]), name))
    path = tmp_path / "line.pw"
    spec_of = {TensorProto.INT64: "i8", TensorProto.FLOAT16: "f2", TensorProto.BFLOAT16: "f4", TensorProto.BOOL: "?"}
    first = np.array([1, 0], spec_of[dtype])
    pw.load(model.SerializeToString(), states={"past": "present"}).with_states(initial={"past": first}).save(path)
    session = pw.load(path).session()
    given = [np.array([i % 2], spec_of[dtype]) for i in range(6)]
    got = [session(x).astype(np.float32).tolist() for x in given]
    assert got == [[1.0], [0.0]] + [g.astype(np.float32).tolist() for g in given[:-2]]
    session.set_state(session.state())
    assert session.state()["past"].astype(np.float32).tolist() == [0.0, 1.0]


# ---- whose states -----------------------------------------------------------------------------------------------------

def test_a_model_is_not_called_without_a_session(gru):
    model = pw.load(gru[0], states={"h": "g"})
    x = {"x": values(1, 3), "h": np.zeros((1, 5), np.float32)}
    for call in (model, model.run, model.predict, lambda x: model(**x), lambda x: model(x["x"])):
        with pytest.raises(InputError, match=r"keeps the value of 'h' from call to call.*session = model.session\(\)"):
            call(x)


def test_plans_take_and_give_states_like_others(gru, ort):
    model = pw.load(gru[0], states={"h": "g"})
    x = {"x": values(2, 3), "h": values(2, 5)}
    wanted = ort(gru[0], x)
    for session in (model.plan(shapes={"N": 2}).session(), pw.plan(model, shapes={"N": 2}).session()):
        got = session(x)
        assert list(got) == ["y", "g"] and all(close(got[n], wanted[n]) for n in got)


def test_two_sessions_do_not_mix(gru):
    data, w = gru
    model = pw.load(data, states={"h": "g"})
    first, second = values(8, 1, 3, seed=1), values(8, 3, 3, seed=2)
    sessions = model.session({"N": 1}), model.session({"N": 3})
    got = [[session(x) for session, x in zip(sessions, pair)] for pair in zip(first, second)]
    for i, xs in enumerate((first, second)):
        assert close(np.array([g[i] for g in got]), gru_sequence(w, xs, np.zeros((xs.shape[1], 5)))[0])


def test_threads_take_turns(gru):
    """A counter that many threads raise: no step is lost."""
    data = onnx_model([node("Add", "n x", "m"), node("Identity", "m", "y")], {"n": [1], "x": [1]}, ["y", "m"], {})
    session = pw.load(data, states={"n": "m"}).session()
    one, seen = np.ones(1, np.float32), []

    def work():
        for _ in range(200):
            seen.append(float(session(one)[0]))
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert session.state()["n"].tolist() == [1200.0] and sorted(seen) == [float(i + 1) for i in range(1200)]


def test_a_session_is_not_copied(gru):
    session = pw.load(gru[0], states={"h": "g"}).session({"N": 1})
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(InputError, match="set_state"):
            attempt(session)
    for wrong in (pw.load(gru[0]), 5, None):
        with pytest.raises(InputError, match="expected a model with states"):
            pw.StatefulSession(wrong)


# ---- failures leave the states ------------------------------------------------------------------------------------------

def test_a_call_that_fails_leaves_the_states(gru, decoder, monkeypatch):
    data, w = gru
    session, xs = pw.load(data, states={"h": "g"}).session({"N": 1}), values(3, 1, 3)
    wanted = gru_sequence(w, xs, np.zeros((1, 5)))[0]
    assert close(session(xs[0]), wanted[0])
    before = session.state()["h"]
    for wrong in ({"x": values(2, 3)}, {"x": values(1, 4)}, {"x": values(1, 3).astype(np.float64)}, {"z": xs[1]}, {},
                  {"x": xs[1], "h": values(1, 5)}, None):
        with pytest.raises(InputError):
            session(wrong)
        assert np.array_equal(session.state()["h"], before)
    from pathweave.runtime.session import Session
    for error in (MemoryError, KeyboardInterrupt):
        with monkeypatch.context() as m:
            m.setattr(Session, "_with_late", lambda *_: None)
            m.setattr(Session, "_guarded", lambda *_, error=error: (_ for _ in ()).throw(error()))
            with pytest.raises(error):
                session(xs[1])
        assert np.array_equal(session.state()["h"], before)
    assert close(session(xs[1]), wanted[1])


def test_a_value_that_the_next_call_cannot_read_fails_this_one():
    """past [1,4] gets what has 4 + T columns: only T = 0 goes on."""
    data = onnx_model([node("Concat", "past x", "present", axis=1)], {"past": [1, 4], "x": [1, "T"]}, ["present"], {})
    session = pw.load(data, states={"past": "present"}).session()
    first = values(1, 4)
    session.set_state({"past": first})
    with pytest.raises(InputError, match=r"'present' \(1, 5\).*cannot be the states of the next one.*from before the call"):
        session(values(1, 1))
    assert np.array_equal(session.state()["past"], first)
    session(values(1, 0))
    assert np.array_equal(session.state()["past"], first)


# ---- set and get ------------------------------------------------------------------------------------------------------

def test_states_go_from_session_to_session(ort, decoder):
    model = pw.load(decoder, states=CACHES)
    one, other = model.session({"B": 1, "P": 0}), model.session({"B": 2, "P": 3})
    for i in range(5):
        one(values(1, 1, WIDTH, seed=i))
    kept = one.state()
    other.set_state(kept)
    x = values(1, 2, WIDTH, seed=9)
    wanted = ort(decoder, {"x": x, **kept})["y"]
    for a in one.state().values():
        a[:] = np.nan  # a copy: nobody minds
    for a in kept.values():
        a[:] = np.nan  # and what was given was copied
    assert close(other(x), wanted) and close(one(x), wanted)
    other.reset()
    assert {a.shape for a in other.state().values()} == {(2, HEADS, 3, DEPTH)}


def test_set_state_takes_all_or_nothing(decoder):
    session = pw.load(decoder, states=CACHES).session({"B": 1, "P": 2})
    session(values(1, 1, WIDTH))
    before, good = session.state(), np.ones((1, HEADS, 3, DEPTH), np.float32)
    wrong = [({"past_k": good, "past_v": good[:, :, :1]}, InputError, "symbol 'P' is 3"),
             ({"past_k": good[:, :, :2]}, InputError, "'P'"),
             ({"past_k": good, "past_v": good.astype(np.float64)}, DTypeError, "expected element type float32"),
             ({"past_k": good, "x": good}, InputError, "'x': no state"), ({"past_k": good[0]}, InputError, "rank 4"),
             ({"past_k": good[:, :1], "past_v": good}, InputError, "dimension 1"), (good, InputError, "expected a dict"),
             ({"past_k": [[1]]}, InputError, "NumPy array")]
    for arrays, error, says in wrong:
        with pytest.raises(error, match=says):
            session.set_state(arrays)
        assert all(np.array_equal(a, before[n]) for n, a in session.state().items())
    session.set_state({"past_v": good})
    assert np.array_equal(session.state()["past_v"], good) and np.array_equal(session.state()["past_k"], before["past_k"])


# ---- stating them -------------------------------------------------------------------------------------------------------

def pairs() -> bytes:
    nodes = [node("Identity", "a", "y"), node("Add", "a b", "z"), node("Transpose", "b", "t", perm=[1, 0]),
             node("Cast", "a", "i", to=TensorProto.INT64), node("ReduceSum", "a", "s", keepdims=0), node("Relu", "c", "d")]
    return onnx_model(nodes, {"a": [2, 3], "b": [2, 3], "c": ["N", 4]}, ["y", "z", "t", "i", "s", "d"], {})


@pytest.mark.parametrize("states, says", [
    ({"q": "y"}, "'q' is no input; the inputs are 'a', 'b', 'c'"), ({"a": "q"}, "is no output; the outputs are 'y', 'z'"),
    ({"a": "y", "b": "y"}, "'a' and 'b' both take the output 'y'"), ({"a": "t"}, "got 2 and 3 in dimension 0"),
    ({"a": "i"}, "equal element types, got f32 and i64"), ({"a": "s"}, "equal ranks, got 2 and 0"),
    ({"a": 5}, "the name of an output"), ({"a": pw.State(5)}, "the name of an output"),
    ({"a": None, "b": 7}, "the name of an output"), (["a"], "expected a dict"), ("a=y", "expected a dict")])
def test_what_cannot_be_a_state_is_refused(states, says):
    for make in (lambda: pw.load(pairs(), states=states), lambda: pw.load(pairs()).with_states(states)):
        with pytest.raises(InputError, match=says):
            make()


@pytest.mark.parametrize("more, says", [
    ({"initial": {"b": np.zeros((2, 3))}}, "'b' is no state; the states are 'a', 'c'"),
    ({"initial": 5}, "initial: expected a dict"), ({"initial": {"a": np.zeros((2, 3))}}, "expected element type float32"),
    ({"initial": {"a": values(2, 4)}}, "expected 3 in dimension 1"), ({"initial": {"a": values(6)}}, "expected rank 2"),
    ({"initial": {"a": [1]}}, "NumPy array"), ({"sizes": {"M": 1}}, "'M' is 1"), ({"sizes": 5}, "sizes: expected a dict"),
    ({"sizes": {"N": -1}}, "a size of 0 or more"), ({"sizes": {"N": True}}, "a size of 0 or more"),
    ({"sizes": {"N": 1.5}}, "a size of 0 or more"), ({"sizes": {"c": (1, 5)}}, "expected 4"),
    ({"sizes": {"c": (1,)}}, "expected rank 2"), ({"sizes": {"b": (2, 3)}}, "no state")])
def test_what_cannot_be_its_beginning_is_refused(more, says):
    with pytest.raises(InputError, match=says):
        pw.load(pairs()).with_states({"a": "z", "c": "d"}, **more)


def test_states_are_added_changed_and_dropped():
    model = pw.load(pairs(), states={"a": "z"})
    both = model.with_states({"c": "d"}, sizes={"N": 3})
    stated = {n: (s.output, s.initial, s.shape) for n, s in both.states.items()}
    assert stated == {"a": ("z", None, None), "c": ("d", None, (3, 4))}
    assert both.session().state()["c"].shape == (3, 4) and list(model.states) == ["a"]
    assert list(both.with_states({"a": None}).states) == ["c"] and both.with_states({"a": None, "c": None}).states == {}
    assert both.with_states({"a": None, "c": None}).session({"N": 1})(
        {"a": values(2, 3), "b": values(2, 3), "c": values(1, 4)})["d"].shape == (1, 4)
    assert pw.load(both, states={"a": "y"}).states["a"].output == "y"
    assert both.main.constants is model.main.constants  # weights are shared
    for text in (repr(both), both._repr_html_(), repr(both.session())):
        assert "c" in text and "f32[3,4]" in text
    assert "state a from 'z', at first zeros f32[2,3]" in repr(both)


@pytest.mark.parametrize("sizes, says", [
    (None, r"size of 'N' is not known.*model.session\(\{'N': 1\}\)"), ({"M": 1}, "'M' is 1; expected an input and its shape"),
    ({"N": -1}, "-1"),
    ({"N": 2, "c": (3, 4)}, "symbol 'N' is 2; expected 3"), ({"c": (3, 5)}, "expected 4"), ((1, 4), "expected 2 .the model"),
    (5, "5; expected"), ({"N": 1 << 60}, "initial value of .c.*expected at most")])
def test_sizes_that_a_session_needs(sizes, says):
    with pytest.raises((InputError, SizeError), match=says):
        pw.load(pairs(), states={"a": "z", "c": "d"}).session(sizes)


def test_the_advice_for_a_cache_is_that_it_begins_empty(decoder):
    """The size of its own is 0, the batch 1; what the message says is enough."""
    model = pw.load(decoder, states=CACHES)
    with pytest.raises(InputError, match=r"model\.session\(\{'B': 1, 'P': 0\}\)"):
        model.session()
    session = model.session({"B": 1, "P": 0})
    assert session.state()["past_k"].shape == (1, HEADS, 0, DEPTH) and session(values(1, 3, WIDTH)).shape == (1, 3, WIDTH)
    with pytest.raises(InputError, match=r"model\.session\(\{'P': 0\}\)"):
        model.session({"B": 1})


def test_sizes_against_an_initial_value(gru):
    model = pw.load(gru[0]).with_states({"h": "g"}, initial={"h": values(2, 5)})
    assert model.session({"x": (2, 3)}).state()["h"].shape == model.session((2, 3)).state()["h"].shape == (2, 5)
    with pytest.raises(InputError, match="'N' is 4; expected 2, as in the initial value"):
        model.session({"N": 4})


# ---- with other things ----------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def filtering() -> bytes:
    """Images: x [N,16,H,W] and s of the same shape -> t = s + conv(x), y = relu(t)."""
    w = (np.random.default_rng(8).standard_normal((16, 16, 3, 3)) / 12).astype(np.float32)
    nodes = [node("Conv", "x w", "c", pads=[1] * 4), node("Add", "s c", "t"), node("Relu", "t", "y")]
    return onnx_model(nodes, {"x": ["N", 16, "H", "W"], "s": ["N", 16, "H", "W"]}, ["y", "t"], {"w": w})


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nchw16c"])
def test_layouts_of_states(ort, filtering, tmp_path, layout):
    begin = values(1, 16, 4, 5, seed=3)
    model = pw.load(filtering, layouts={"s": layout, "t": layout, "y": "nhwc"}, states={"s": "t"})
    model = model.with_states(initial={"s": begin})
    model.save(tmp_path / "m.pw")
    for session in (model.session(), pw.load(tmp_path / "m.pw").session()):
        by_hand = begin
        for i in range(3):
            x = values(1, 16, 4, 5, seed=i)
            wanted = ort(filtering, {"x": x, "s": by_hand})
            by_hand = wanted["t"]
            assert close(session(x), lay_out(wanted["y"], "nhwc"))
            assert close(session.state()["s"], lay_out(by_hand, layout))
        session.set_state({"s": lay_out(begin, layout)})
        assert close(session(x), lay_out(ort(filtering, {"x": x, "s": begin})["y"], "nhwc"))
        assert "s f32[1,16,4,5]" in repr(session)


def test_a_state_lies_in_one_layout(filtering):
    with pytest.raises(InputError, match=r"'s' lies in nhwc.*'t'.*in nchw; give both the same"):
        pw.load(filtering, layouts={"s": "nhwc"}, states={"s": "t"})
    model = pw.load(filtering, states={"s": "t"})
    with pytest.raises(InputError, match=r"'s' lies in nchw, .*in nhwc"):
        model.with_layouts({"t": "nhwc"})
    assert model.with_layouts({"s": "nhwc", "t": "nhwc"}).states["s"].output == "t"


def test_saved_pickled_and_tuned_models_keep_their_states(gru, tmp_path):
    data, w = gru
    xs, h = values(4, 2, 3), values(2, 5, seed=6)
    models = [pw.load(data).with_states({"h": "g"}, initial={"h": h}),
              pw.load(data, states={"h": "g"}).with_states(sizes={"N": 2})]
    for model, first in zip(models, (h, np.zeros((2, 5)))):
        model.save(tmp_path / "m.pw")
        again = pw.load(tmp_path / "m.pw")
        tuned = pw.tune(again, budget_s=0, progress=False, store=tmp_path / "store", threads=1)
        for other in (again, pickle.loads(pickle.dumps(model)), copy.deepcopy(model), tuned):
            session = other.session()
            assert close(np.array([session(x) for x in xs]), gru_sequence(w, xs, first)[0])
    assert again.with_states({"h": None}).run({"x": xs[0], "h": h})["g"].shape == (2, 5)


def test_a_preprocess_net_leaves_no_input_to_a_state(tmp_path):
    data = onnx_model([node("Add", "x s", "y")], {"x": [1, 3, 8, 8], "s": [1, 3, 8, 8]}, ["y"], {})
    chain = [{"type": "source", "shape": [1, 3, 8, 8], "format": "rgb", "resize_mode": "bilinear"}]
    net = [*chain, {"type": "sink", "name": "x"}, *chain, {"type": "sink", "name": "s"}]
    with pytest.raises(InputError, match="'s': expected a model without a preprocess net"):
        pw.load(data, preprocess=net, states={"s": "y"})


def test_a_postprocess_net_has_no_states(gru):
    model = pw.load(gru[0], postprocess=[{"type": "softmax", "axis": -1, "input": "y"}], states={"h": "g"})
    assert model.session({"N": 1})(values(1, 3)).shape == (1, 2) and "postprocess" in model.nets


def test_inputs_with_default_values_may_be_given_to_a_session():
    """y = h + x * k; h becomes y. k is 2 unless a call gives it."""
    infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "h", "k")]
    graph = helper.make_graph([node("Mul", "x k", "p"), node("Add", "h p", "y")], "g", infos,
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              [numpy_helper.from_array(np.full(2, 2, np.float32), "k")])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    session, one = pw.load(data, states={"h": "y"}).session(), np.ones(2, np.float32)
    session(one)
    assert session.state()["h"].tolist() == [2, 2]
    session({"x": one, "k": 5 * one})
    assert session.state()["h"].tolist() == [7, 7]
    with pytest.raises(InputError, match="'z' unknown"):
        session({"x": one, "z": one})
    assert session.state()["h"].tolist() == [7, 7]


def test_a_route_that_is_added_is_taken_by_sessions_that_are_there(gru):
    data, w = gru
    model, xs = pw.load(data, states={"h": "g"}, threads=1), values(4, 1, 3)
    session = model.session({"N": 1})
    got = [session(x) for x in xs[:2]]
    model.add_route(pw.default_route(model, 1, shapes={"N": 1}, restrict="naive"))
    got += [session(x) for x in xs[2:]]
    assert close(np.array(got), gru_sequence(w, xs, np.zeros((1, 5)))[0])
    routines = {s.routine for s in model.runnable().kept_plans()[0].steps}
    assert any("naive" in r for r in routines), routines
