"""Throughput: candidates are measured beside other sessions, kept apart from those of single calls, and raced by calls per
second."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from scripted import Clock, Net

import pathweave as pw
from pathweave.errors import InputError, RouteError
from pathweave.net.objective import Aim
from pathweave.net.route import Route
from pathweave.profiling.devices import Devices, base, fits, sessions_of
from pathweave.profiling.load import Counted, Crew, LoadTimer, ns_of_turn
from pathweave.profiling.profile import Profile
from pathweave.profiling.protocol import of_store
from pathweave.profiling.store import Store
from pathweave.profiling.timed import MACHINE
from pathweave.tuning.crowd import finding


class LoadClock(Clock):
    """A clock whose costs change with the sessions that run at the same time. `entered`: numbers of sessions asked for."""

    def __init__(self, sessions: int = 1, team: float = 1.0):
        super().__init__()
        self.sessions, self.team, self.entered = sessions, team, []

    def cost(self, problem: str, routine: str, variant: str) -> int:
        return loaded_cost(problem, routine, variant, self.sessions)

    def under_load(self, sessions: int):
        self.entered.append(sessions)
        other = LoadClock(sessions, self.team)
        other.windows, other.entered = self.windows, self.entered
        return contextlib.nullcontext(other if sessions > 1 else self)


def loaded_cost(problem: str, routine: str, variant: str, sessions: int) -> int:
    """Nanoseconds of a candidate beside others: arbitrary, fixed, and of another order for every number of sessions."""
    digest = hashlib.sha256(f"{sessions}|{problem}|{routine}|{variant}".encode()).digest()
    number = int.from_bytes(digest[:4], "little")
    if problem.startswith("adapt "):
        return 500 + number % 5_000
    # Values of 16 bits would tie the choices of neighbours: routines that take them, of tiers with such units, are dear.
    return 10_000 + number % 40_000 + (0 if ":f32:" in routine else 1_000_000)


def chain(layers: int = 3) -> bytes:
    """Dense layers one after the other: all values lie in one layout, so that layers are chosen one by one."""
    n = Net()
    x = "x"
    for i in range(layers):
        x = n.add("Gemm", x, n.weight(24 + 8 * i + 8, 24 + 8 * i), transB=1, out="y" if i == layers - 1 else None)
    return n.model([2, 24], ["y"])


@pytest.fixture
def two(monkeypatch) -> None:
    """A process that may use two processors, whatever the machine has."""
    from pathweave.runtime import runnable
    known = runnable.check_threads
    monkeypatch.setattr(runnable, "check_threads", lambda n: 2 if n is None else known(n))
    from pathweave.runtime import model, pool
    monkeypatch.setattr(model, "check_threads", runnable.check_threads)
    monkeypatch.setattr(pool, "check_threads", runnable.check_threads)


# ---- aims -----------------------------------------------------------------------------------------------------------

def test_aims():
    assert Aim.of("latency", None, 4, 8) == Aim("latency", 4, 1, 1, 4)
    assert Aim.of("throughput", None, 4, 8) == Aim("throughput", 1, 4, 4, 4)
    assert Aim.of("throughput", 7, 2, 2) == Aim("throughput", 1, 7, 2, 2)
    assert Aim.of("throughput", 1, 2, 2).at_once == 1


@pytest.mark.parametrize("objective, sessions", [("speed", None), ("latency", 2), ("throughput", 0), ("throughput", 2000),
                                                 ("throughput", True), (None, None)])
def test_wrong_aims(model, store, objective, sessions):
    with pytest.raises(InputError, match="objective|sessions"):
        pw.tune(model, objective=objective, sessions=sessions, store=store, budget_s=0.1, progress=False)


# ---- choosing -------------------------------------------------------------------------------------------------------

def cheapest(bound, sessions: int, threads: int = 1) -> list[tuple[str, str]]:
    """The routine of every layer that is cheapest beside so many sessions, straight from the catalogue and the script."""
    found = []
    for i, problem in enumerate(bound.problems(threads)):
        candidates, _ = bound.candidates(i, threads)
        best = min(candidates, key=lambda c: loaded_cost(problem.text, c.routine, c.variant, sessions))
        found.append((best.routine, best.variant))
    return found


@pytest.mark.usefixtures("two")
def test_the_load_decides(store):
    model, clock = pw.load(chain()), LoadClock()
    tuned = pw.tune(model, objective="throughput", store=store, budget_s=1e6, timer=clock, progress=False)
    route = tuned.route()
    assert clock.entered == [2] and (route.objective, route.sessions, route.threads) == ("throughput", 2, 1)
    assert [(c.routine, c.variant) for c in route.layers.values()] == cheapest(model.bind(), 2)
    assert cheapest(model.bind(), 2) != cheapest(model.bind(), 1)  # else the test shows nothing
    assert tuned.threads == 1


@pytest.mark.usefixtures("two")
def test_measurements_of_loads_are_kept_apart(store):
    model = pw.load(chain())
    many = pw.tune(model, objective="throughput", store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    one = pw.tune(model, threads=1, store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    assert many.report["profile"]["measured"] and one.report["profile"]["measured"]
    assert [(c.routine, c.variant) for c in one.route().layers.values()] == cheapest(model.bind(), 1)
    again = pw.tune(model, objective="throughput", store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    assert [(c.routine, c.variant) for c in again.route().layers.values()] == cheapest(model.bind(), 2)
    bound = model.bind()
    for sessions in (1, 2):
        found = of_store(store, bound, 1, sessions)
        assert found.sessions == sessions and {sessions_of(m.host) for m in found} == {sessions}
        assert {base(m.host) for m in found} == {found.host}
    assert not len(of_store(store, bound, 1, 3))


@pytest.mark.usefixtures("two")
def test_a_profile_knows_its_load(store, tmp_path):
    model = pw.load(chain())
    many = pw.profile(model, objective="throughput", store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    one = pw.profile(model, threads=1, store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    assert (many.sessions, one.sessions) == (2, 1) and "2 sessions" in repr(many)
    route = pw.solve(model, many)
    assert (route.objective, route.sessions) == ("throughput", 2)
    assert [(c.routine, c.variant) for c in route.layers.values()] == cheapest(model.bind(), 2)
    assert pw.solve(model, one).objective == "latency"
    many.save(tmp_path / "many.jsonl")
    assert pw.solve(model, Profile.load(tmp_path / "many.jsonl")).to_json() == route.to_json()
    both = one.merge(many)
    assert pw.solve(model, both).objective == "latency"
    assert pw.solve(model, both.under(2)).sessions == 2
    with Store.memory() as other:
        store.export(tmp_path / "all.jsonl")
        other.import_(tmp_path / "all.jsonl")
        found = of_store(other, model.bind(), 1, 2)
        assert pw.solve(model, found).predicted_ns == route.predicted_ns


def test_keys():
    here = Devices(tags={"gpu": "gpu=12"}, sessions=4)
    assert here.host("abc", ["gpu"]) == "abc+gpu=12+sessions:4" and base("abc+gpu=12+sessions:4") == "abc"
    assert sessions_of(here.host("abc", [])) == 4 and sessions_of("abc+gpu=12") == 1
    assert fits("abc+sessions:4", here.current) and fits("abc+gpu=12+sessions:4", here.current)
    assert not fits("abc", here.current) and not fits("abc+gpu=13+sessions:4", here.current)
    assert not fits("abc+sessions:4", frozenset()) and not fits("abc+sessions:4", None) and fits("abc+gpu=12", None)


# ---- the race -------------------------------------------------------------------------------------------------------

@pytest.mark.usefixtures("two")
def test_the_race_holds_one_session_with_all_threads(store):
    clock = LoadClock()
    tuned = pw.tune(pw.load(chain()), objective="throughput", sessions=5, threads=2, store=store, budget_s=1e6, timer=clock,
                    progress=False)
    assert set(clock.windows) == {(1, 5), (2, 1)}
    facts = tuned.report["throughput"]
    assert facts["sessions"] == 5 and facts == tuned.route().notes["throughput"]
    (beside,) = facts["beside"]
    assert (beside["sessions"], beside["threads"]) == (1, 2)
    rows = tuned.report["race"]
    assert [r["names"] for r in rows if r.get("beside")] == [["1 session of 2 threads, default"]]
    kept = next(r for r in rows if r["kept"])
    # Five sessions that make a call in the time of the scripted steps each.
    assert kept["calls_per_second"] == pytest.approx(5e9 / kept["latency_ns"], rel=1e-3)
    assert kept["calls_per_second"] == facts["calls_per_second"]
    # On two processors: a call of a processor.
    assert tuned.route().measured_ns == pytest.approx(2e9 / facts["calls_per_second"], rel=1e-3)


@pytest.mark.usefixtures("two")
def test_what_is_known_of_one_session_races(store):
    model = pw.load(chain())
    pw.tune(model, threads=2, store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    tuned = pw.tune(model, objective="throughput", store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    (beside,) = tuned.report["throughput"]["beside"]
    assert beside["name"] == "1 session of 2 threads, solved"
    best = sum(min(loaded_cost(p.text, c.routine, c.variant, 1) for c in model.bind().candidates(i, 2)[0])
               for i, p in enumerate(model.bind().problems(2)))
    assert beside["latency_ns"] >= best


def test_finding_of_one_session():
    facts = {"sessions": 2, "calls_per_second": 100.0, "beside": [{"threads": 2, "calls_per_second": 101.0}]}
    assert finding(facts) == []
    facts["beside"][0]["calls_per_second"] = 120.0
    assert "one session with 2 threads makes 120.0" in finding(facts)[0]


# ---- the route ------------------------------------------------------------------------------------------------------

@pytest.mark.usefixtures("two")
def test_a_file_keeps_the_objective(store, tmp_path):
    tuned = pw.tune(pw.load(chain()), objective="throughput", sessions=3, store=store, budget_s=1e6, timer=LoadClock(),
                    progress=False)
    tuned.save(tmp_path / "many.pw")
    loaded = pw.load(tmp_path / "many.pw")
    route = loaded.route()
    assert (route.objective, route.sessions, route.threads, loaded.threads) == ("throughput", 3, 1, 1)
    assert route.certificate != "carried over" and "for 3 sessions" in repr(route)
    assert pw.load(tmp_path / "many.pw", threads=2).threads == 2
    with loaded.pool() as pool:
        assert (pool.sessions, pool.threads) == (3, 1) and pool.model is loaded
    back = pw.tune(loaded, store=store, budget_s=1e6, timer=LoadClock(), progress=False)
    assert (back.route().objective, back.route().threads, back.threads) == ("latency", 2, 2)


def test_routes_without_an_objective_are_for_latency():
    data = pw.default_route(pw.load(chain()), 1).to_json()
    assert (data.pop("objective"), data.pop("sessions")) == ("latency", 1)
    assert Route.from_json(json.loads(json.dumps(data))).objective == "latency"


@pytest.mark.parametrize("field, value", [("objective", "speed"), ("objective", 1), ("sessions", 0), ("sessions", "2"),
                                          ("sessions", True), ("sessions", None)])
def test_wrong_routes(field, value):
    data = pw.default_route(pw.load(chain()), 1).to_json()
    with pytest.raises(RouteError, match=field):
        Route.from_json({**data, field: value})


# ---- real runs ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("sessions", [1, 2, 7])
def test_tuned_for_real(store, net_bytes, sessions):
    tuned = pw.tune(pw.load(net_bytes), objective="throughput", sessions=sessions, threads=2, store=store, budget_s=1.5,
                    progress=False)
    facts = tuned.report["throughput"]
    assert facts["sessions"] == tuned.route().sessions == sessions and facts["calls_per_second"] > 0
    x = np.random.default_rng(3).standard_normal((1, 3, 12, 12)).astype(np.float32)
    (wanted,) = ReferenceEvaluator(onnx.load_from_string(net_bytes)).run(None, {"x": x})
    np.testing.assert_allclose(tuned(x), wanted, rtol=1e-4, atol=1e-5)
    assert not [t for t in threading.enumerate() if t.name.startswith("pathweave-load")]


def test_a_net_of_open_sizes(store):
    n = Net()
    n.add("Relu", n.add("Gemm", "x", n.weight(8, 24), transB=1), out="y")
    tuned = pw.tune(pw.load(n.model(["N", 24], ["y"])), objective="throughput", sessions=2, shapes={"N": 4}, store=store,
                    budget_s=0.5, progress=False)
    assert tuned.route({"N": 4}).objective == "throughput" and tuned.threads == 1


# ---- threads beside -------------------------------------------------------------------------------------------------

def test_all_calls_of_a_window_run_at_the_same_time():
    inside, most, lock = [0], [0], threading.Lock()

    def call() -> None:
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.005)
        with lock:
            inside[0] -= 1
    with Crew() as crew:
        window = Counted([call] * 3, 4, 0.0).run(crew)
    assert most[0] == 3 and len(window.latencies) == 12
    assert 3 / 0.005 >= window.per_second > 0


def test_rates_add_up():
    """Calls of 2 ms and of 4 ms."""
    with Crew() as crew:
        window = Counted([lambda: time.sleep(0.002), lambda: time.sleep(0.004)], 20, 0.0).run(crew)
    assert window.per_second < 1 / 0.002 + 1 / 0.004
    assert sum(ns >= 2e6 for ns in window.latencies) == 40 and sum(ns >= 4e6 for ns in window.latencies) >= 20


def test_more_threads_than_processors_count_what_all_of_them_make():
    """Eight threads in turn on one processor, 10 ms each, with calls of 1 ms: in its turn a thread makes 1,000 per second, and
    all of them together make no more."""
    def call(index: int) -> None:
        while int(time.monotonic() * 100) % 8 != index:
            time.sleep(0.0005)
        time.sleep(0.001)
    with Crew() as crew:
        window = Counted([partial(call, i) for i in range(8)], 5, 0.0).run(crew)
    assert 0 < window.per_second < 1500
    assert ns_of_turn(window, 8) > 5e6


def test_an_error_beside_is_raised():
    def fails() -> None:
        raise ValueError("beside")
    with Crew() as crew:
        with pytest.raises(ValueError, match="beside"):
            Counted([lambda: None, fails], 3, 0.0).run(crew)
        with pytest.raises(ValueError, match="beside"):
            Counted([fails, lambda: None], 3, 0.0).run(crew)
        assert Counted([lambda: None] * 2, 3, 0.0).run(crew).per_second > 0  # the crew goes on


def test_runs_beside_others_compute_the_same(model):
    plan, x = model.plan(threads=1), np.random.default_rng(5).standard_normal((1, 3, 12, 12)).astype(np.float32)
    alone = {n: a.copy() for n, a in plan.session().run({"x": x}).items()}
    session, out = plan.session(), {n: np.empty_like(a) for n, a in alone.items()}
    with LoadTimer(MACHINE, 4) as timer:
        for _ in range(10):
            steps, total = timer.steps(session, {"x": x}, out)
            assert len(steps) == len(plan.steps) and 0 < sum(steps) <= total
            assert timer.call(session, {"x": x}, out) > 0
            np.testing.assert_array_equal(out["y"], alone["y"])
        window = timer.window([plan.session() for _ in range(3)], {"x": x}, out)
        assert window.per_second > 0 and min(window.latencies) > 0
    np.testing.assert_array_equal(out["y"], alone["y"])


def endless() -> bytes:
    """A loop of 2^40 trips."""
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["again"]), helper.make_node("Sin", ["v"], ["next"])], "body",
                             [helper.make_tensor_value_info("i", TensorProto.INT64, []),
                              helper.make_tensor_value_info("c", TensorProto.BOOL, []),
                              helper.make_tensor_value_info("v", TensorProto.FLOAT, [4])],
                             [helper.make_tensor_value_info("again", TensorProto.BOOL, []),
                              helper.make_tensor_value_info("next", TensorProto.FLOAT, [4])])
    graph = helper.make_graph([helper.make_node("Loop", ["trips", "", "x"], ["y"], "loop", body=body)], "net",
                              [helper.make_tensor_value_info("x", TensorProto.FLOAT, [4])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4])],
                              [numpy_helper.from_array(np.array(2**40, np.int64), "trips")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def test_a_limit_ends_those_beside_too():
    plan = pw.load(endless()).plan(threads=1)
    with LoadTimer(MACHINE, 3) as timer, pytest.raises(TimeoutError), timer.limit(0.2):
        timer.steps(plan.session(), {"x": np.ones(4, np.float32)}, {"y": np.empty(4, np.float32)})
    assert not [t for t in threading.enumerate() if t.name.startswith("pathweave-load")]
