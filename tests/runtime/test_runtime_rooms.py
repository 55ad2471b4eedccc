"""States that grow where they lie: the rows of a key-value cache are written behind the old ones, which stay."""

import os

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import pathweave as pw
from pathweave.errors import InputError

HEADS, DEPTH, WIDTH = 2, 4, 8
CACHES = {"past_k": "present_k", "past_v": "present_v"}


def node(op: str, inputs: str, outputs: str, **attrs):
    return helper.make_node(op, inputs.split(), outputs.split(), **attrs)


def made(nodes, inputs: dict, outputs: list, weights: dict) -> bytes:
    """`inputs`: name -> shape, or (element type, shape)."""
    specs = {n: s if isinstance(s, tuple) else (TensorProto.FLOAT, s) for n, s in inputs.items()}
    infos = [helper.make_tensor_value_info(n, *s) for n, s in specs.items()]
    outs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph(nodes, "g", infos, outs, [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def decoder(inside: bool = False, more: tuple = (), wanted: tuple = (), batch="B", given: dict | None = None) -> bytes:
    """x [B,T,8] -> y, with caches [B,2,P,4], or [B,P,2,4]. `more`: nodes that read other values; `wanted`: their outputs."""
    rng = np.random.default_rng(7)
    w = {f"w{n}": (rng.standard_normal((WIDTH, WIDTH)) / 3).astype(np.float32) for n in "qkvo"}
    nodes, axis = [], 1 if inside else 2
    for n in "qkv":
        nodes += [node("MatMul", f"x w{n}", f"{n}0"), node("Reshape", f"{n}0 split", f"{n}1"),
                  node("Transpose", f"{n}1", f"{n}2", perm=[0, 2, 1, 3])]
    nodes += [node("Concat", f"past_{n} {n}{1 if inside else 2}", f"present_{n}", axis=axis) for n in "kv"]
    if inside:
        nodes.append(node("Transpose", "present_v", "v3", perm=[0, 2, 1, 3]))
    nodes += [node("Transpose", "present_k", "kt", perm=[0, 2, 3, 1] if inside else [0, 1, 3, 2]),
              node("MatMul", "q2 kt", "s0"), node("Mul", "s0 half", "s"), node("Softmax", "s", "p", axis=-1),
              node("MatMul", "p v3" if inside else "p present_v", "a"), node("Transpose", "a", "b", perm=[0, 2, 1, 3]),
              node("Reshape", "b join", "c"), node("MatMul", "c wo", "o"), node("Add", "o x", "y"), *more]
    cache = [batch, "P", HEADS, DEPTH] if inside else [batch, HEADS, "P", DEPTH]
    return made(nodes, {"x": [batch, "T", WIDTH], "past_k": cache, "past_v": cache, **(given or {})},
                ["y", "present_k", "present_v", *wanted],
                {**w, "split": np.array([0, 0, HEADS, DEPTH]), "join": np.array([0, 0, WIDTH]), "half": np.float32(0.5)})


def values(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def empty(batch: int, inside: bool = False) -> dict:
    return {n: np.zeros((batch, 0, HEADS, DEPTH) if inside else (batch, HEADS, 0, DEPTH), np.float32) for n in CACHES}


class Copying:
    """The same steps by hand: the caller keeps the caches, and each call makes them anew."""

    def __init__(self, data: bytes, states: dict, threads: int = 1):
        self.model, self.states = pw.load(data, threads=threads), dict(states)

    def __call__(self, **inputs: np.ndarray) -> np.ndarray:
        found = self.model.run({**inputs, **self.states})
        self.states = {n: found[o] for n, o in CACHES.items()}
        return found["y"]


def session_of(data: bytes, batch: int, threads: int = 1):
    return pw.load(data, states=CACHES, threads=threads).session({"B": batch, "P": 0})


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


def memory_of(session) -> list[int]:
    return [a.__array_interface__["data"][0] for a in session._now.values()]


def lies_with_room(session) -> bool:
    return all(not a.flags.c_contiguous or a.base is not None and a.base.shape != a.shape for a in session._now.values())


LENGTHS = [3, *[1] * 30, 2, *[1] * 33, 7, 1, 70, 1, 1]


@pytest.mark.parametrize("inside", [False, True], ids=["heads outside", "heads inside"])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("threads", [1, 2])
def test_bit_equal_with_copies_at_every_length(inside, batch, threads):
    data = decoder(inside)
    session, by_hand = session_of(data, batch, threads), Copying(data, empty(batch, inside), threads)
    places, calls_in_place = [], 0
    for i, steps in enumerate(LENGTHS):
        x = values(batch, steps, WIDTH, seed=i)
        assert np.array_equal(session(x=x), by_hand(x=x)), i
        assert same(session.state(), by_hand.states), i
        places.append(memory_of(session)[0])
        calls_in_place += lies_with_room(session)
    moves = sum(a != b for a, b in zip(places, places[1:]))
    assert calls_in_place > 60 and moves <= 8, (calls_in_place, moves)  # to larger memory: 16, 32, 64, 128, 256


def test_the_answer_is_that_of_the_whole_sequence_in_float64():
    data = decoder()
    w = {i.name: numpy_helper.to_array(i).astype(np.float64) for i in onnx.load_from_string(data).graph.initializer}
    session, x = session_of(data, 2), values(2, 20, WIDTH)
    got = np.concatenate([session(x=x[:, i:i + 1]) for i in range(20)], 1)
    for t in range(20):
        q, k, v = ((x[:, :t + 1].astype(np.float64) @ w[f"w{n}"]).reshape(2, t + 1, HEADS, DEPTH).swapaxes(1, 2) for n in "qkv")
        e = np.exp(0.5 * q[:, :, -1:] @ k.swapaxes(2, 3))
        a = (e / e.sum(-1, keepdims=True)) @ v
        wanted = a.swapaxes(1, 2).reshape(2, 1, WIDTH) @ w["wo"] + x[:, t:t + 1]
        assert np.abs(got[:, t:t + 1] - wanted).max() < 1e-5, t


def test_reset_set_state_and_two_sessions():
    data = decoder()
    model = pw.load(data, states=CACHES, threads=1)
    a, b = model.session({"B": 1, "P": 0}), model.session({"B": 1, "P": 0})
    hand_a, hand_b = Copying(data, empty(1)), Copying(data, empty(1))
    for i in range(25):
        x, z = values(1, 1, WIDTH, seed=i), values(1, 1 + i % 3, WIDTH, seed=100 + i)
        assert np.array_equal(a(x=x), hand_a(x=x)) and np.array_equal(b(x=z), hand_b(x=z)), i
        if i == 10:
            kept = a.state()
        if i == 15:
            a.reset()
            hand_a = Copying(data, empty(1))
        if i == 20:
            a.set_state(kept)
            hand_a.states = {n: v.copy() for n, v in kept.items()}
            c = model.session({"B": 1, "P": 0})  # both go on from one state, each for itself
            c.set_state(a.state())
            assert np.array_equal(c(x=z), Copying(data, kept)(x=z))
    assert same(a.state(), hand_a.states) and same(b.state(), hand_b.states)


def test_what_state_gives_is_a_copy():
    session = session_of(decoder(), 2)
    for i in range(5):
        session(x=values(2, 1, WIDTH, seed=i))
    kept = session.state()
    before = {n: a.copy() for n, a in kept.items()}
    session(x=values(2, 1, WIDTH, seed=9))
    assert same(kept, before) and all(a.flags.c_contiguous for a in kept.values())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_goes_on_by_itself():
    data = decoder()
    session, by_hand = session_of(data, 1), Copying(data, empty(1))
    for i in range(6):
        session(x=values(1, 1, WIDTH, seed=i)), by_hand(x=values(1, 1, WIDTH, seed=i))
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        good = all(np.array_equal(session(x=z), by_hand(x=z)) for z in [values(1, 1, WIDTH, seed=50 + i) for i in range(20)])
        os.write(write, b"1" if good else b"0")
        os._exit(0)
    for i in range(20):
        x = values(1, 1, WIDTH, seed=20 + i)
        assert np.array_equal(session(x=x), by_hand(x=x)), i
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"


@pytest.mark.parametrize("batch", [1, 2])
def test_a_call_that_fails_in_the_middle_leaves_the_states(batch):
    """An index outside of the cache is found behind the steps that wrote the new rows."""
    more = (node("Add", "y x", "y2"), node("Gather", "y2 at", "z", axis=0))
    data = decoder(more=more, wanted=("z",), given={"at": (TensorProto.INT64, [1])})
    model = pw.load(data, states=CACHES, threads=1)
    session, by_hand = model.session({"B": batch, "P": 0}), Copying(data, empty(batch))
    good, bad = np.array([0]), np.array([7])
    for i in range(40):
        x = values(batch, 1 + i % 2, WIDTH, seed=i)
        before = session.state()
        if i % 3 == 2:
            wrong = {"x": values(batch, 1 + i % 3, WIDTH, seed=1000 + i), "at": bad}
            for call in (session.run, lambda given: by_hand(**given)):  # both meet the same sizes in the same order
                with pytest.raises(InputError):
                    call(wrong)
            assert same(session.state(), before), i
        assert np.array_equal(session.run({"x": x, "at": good})["y"], by_hand(x=x, at=good)), i
        assert same(session.state(), by_hand.states), i
    assert lies_with_room(session)


@pytest.mark.parametrize("batch", [1, 2])
def test_other_readers_of_a_cache_get_it_densely(batch):
    """A sum reads the present, a maximum the past: neither goes by the distance between heads."""
    more = (node("ReduceSum", "present_k axes", "total", keepdims=1), node("ReduceMax", "past_v axes", "most", keepdims=1))
    data = decoder(more=more, wanted=("total", "most"))
    data = made_with(data, "axes", np.array([2]))
    session, by_hand = session_of(data, batch), Copying(data, empty(batch))
    start = values(batch, HEADS, 3, DEPTH, seed=3)
    session.set_state({n: start for n in CACHES})
    by_hand.states = {n: start for n in CACHES}
    for i in range(40):
        x = values(batch, 1, WIDTH, seed=i)
        found, past = session.run({"x": x}), by_hand.states["past_v"]
        assert np.array_equal(found["y"], by_hand(x=x))
        assert np.allclose(found["total"], by_hand.states["past_k"].sum(2, keepdims=True), atol=1e-5)
        assert np.array_equal(found["most"], past.max(2, keepdims=True))
        assert same(session.state(), by_hand.states), i


def made_with(data: bytes, name: str, array: np.ndarray) -> bytes:
    model = onnx.load_from_string(data)
    model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model.SerializeToString()


def test_an_axis_with_nothing_in_front_of_it_grows_whoever_reads():
    """[P,3]: new rows lie behind the old ones for readers that know nothing of room."""
    nodes = [node("Concat", "past x", "present", axis=0), node("ReduceMax", "present axes", "y", keepdims=0)]
    data = made_with(made(nodes, {"x": ["T", 3], "past": ["P", 3]}, ["y", "present"], {}), "axes", np.array([0]))
    session = pw.load(data, states={"past": "present"}, threads=1).session({"P": 0})
    rows, in_place = np.zeros((0, 3), np.float32), 0
    for i in range(50):
        x = values(1 + i % 2, 3, seed=i)
        rows = np.concatenate([rows, x])
        assert np.array_equal(session(x=x), rows.max(0)), i
        assert np.array_equal(session.state()["past"], rows), i
        in_place += session._now["past"].base is not None and session._now["past"].base.shape != rows.shape
    assert in_place > 40


def test_outputs_that_no_state_takes_are_written_where_the_caller_says():
    data = decoder()
    session, by_hand, out = session_of(data, 2), Copying(data, empty(2)), np.empty((2, 1, WIDTH), np.float32)
    for i in range(10):
        x = values(2, 1, WIDTH, seed=i)
        assert session(x=x, out=out) is out and np.array_equal(out, by_hand(x=x))


def test_the_core_refuses_rooms_that_do_not_do():
    data = decoder()
    session = session_of(data, 2)
    for i in range(4):
        session(x=values(2, 1, WIDTH, seed=i))
    plan = next(p for p in session.model.runnable().kept_plans() if p.native.growths)
    growths, handle = plan.native.growths, plan.native.session()
    assert sorted(growths) == [(1, 1, 2, True), (2, 2, 2, True)]
    names = list(plan.inputs)
    sizes = tuple({"P": 4, "T": 1, "B": 2}[s] for s in plan.symbols)
    x, y = values(2, 1, WIDTH), np.empty((2, 1, WIDTH), np.float32)
    k, v = (values(2, HEADS, 8, DEPTH, seed=n) for n in (1, 2))
    assert names == ["x", "past_k", "past_v"]
    rooms = [8, 8]
    handle.run([x, k, v], [y, k, v], sizes, rooms)
    for arrays, results, wrong, why in [([x, k, v], [y, k, v], [8], "rooms"),
                                        ([x, k, v], [y, k.copy(), v], rooms, "same memory"),
                                        ([x, k, v], [y, k, v], [4, 8], "does not do"), ([x, k, v], [y, k, v], [16, 8], "bytes"),
                                        ([x, k, v], [y, k, v], [0, 8], "bytes"), ([x, k, k], [y, k, k], rooms, "shares memory"),
                                        ([x, k, v], [k, k, v], rooms, "bytes")]:
        with pytest.raises((ValueError, RuntimeError), match=why):
            handle.run(arrays, results, sizes, wrong)
