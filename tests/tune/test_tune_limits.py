"""Budgets, interruptions, kills, and verification."""

from __future__ import annotations

import os
import signal
import textwrap
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scripted import Clock, run_python

import pathweave as pw
from pathweave.errors import Error, InputError, InterruptedTuning, ProfileError, RouteError, StoreError
from pathweave.net.objective import Aim
from pathweave.profiling import kernels, protocol, reader, slots
from pathweave.profiling.profile import Profile
from pathweave.profiling.spent import SPENT
from pathweave.profiling.store import Store
from pathweave.profiling.yardstick import CALL, YARDSTICK
from pathweave.runtime.defaults import default_route

THREADS = 2


def test_no_budget_still_gives_a_route(model, clock, store):
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=0, timer=clock)
    assert profile.notes["passes"] == 1 and profile.notes["unmeasured"] > 0
    route = pw.solve(model, profile)
    default = default_route(model.bind(), THREADS)
    assert {n: c.routine for n, c in route.layers.items()} == {n: c.routine for n, c in default.layers.items()}
    tuned = pw.tune(model, threads=THREADS, store=store, budget_s=0, progress=False, timer=clock)
    assert any("budget" in finding for finding in tuned.report["findings"])


@pytest.mark.parametrize("wrong, kind, said", [
    ({"budget_s": -1}, InputError, "budget_s: expected a number of seconds"),
    ({"budget_s": float("nan")}, InputError, "budget_s: expected a number of seconds"),
    ({"budget_s": "10"}, InputError, "budget_s: expected a number of seconds"),
    ({"budget_s": None}, InputError, "budget_s: expected a number of seconds"),
    ({"restrict": 5}, RouteError, "routine descriptor: expected text"),
    ({"restrict": ["naive", None]}, RouteError, "routine descriptor: expected text"),
    ({"store": 5}, StoreError, "store: expected a Store, the path of one"),
    ({"profile": "profile.jsonl"}, ProfileError, "expected a Profile"),
])
def test_arguments_of_another_type(model, store, wrong, kind, said):
    functions = [pw.tune, pw.profile, pw.solve]
    if "profile" in wrong:
        functions.remove(pw.profile)
    if "profile" not in wrong and "restrict" not in wrong:
        functions.remove(pw.solve)
    for function in functions:
        usual = {"profile": Profile("of nobody")} if function is pw.solve else {"store": store, "progress": False}
        with pytest.raises(kind, match=said):
            function(model, **({"threads": THREADS} | usual | wrong))
    with pytest.raises(InputError, match="time_limit_s"):
        pw.solve(model, Profile("of nobody"), time_limit_s=float("nan"))


def test_no_pass_starts_after_the_budget(model, store, monkeypatch):
    clock = Clock(beside=1.0)
    monkeypatch.setattr(reader, "SHORT", 0)  # what the timers cost is not measured
    profile = protocol.profile_bound(model.bind(), threads=THREADS, budget_s=12.0, store=store, timer=clock)
    longest_pass = 4 + 2 * 8  # the first readings; plans twice, each a first run and three timed ones, with readings
    assert 0 < len(clock.plans) <= 12 + longest_pass
    assert pw.solve(model, profile).certificate == "optimal"
    more = protocol.profile_bound(model.bind(), threads=THREADS, budget_s=1e6, store=store, timer=clock)
    assert more.notes["unmeasured"] == 0 < profile.notes["unmeasured"]


@pytest.mark.parametrize("call", ["profile", "tune"])
def test_interrupted_by_the_callback(model, clock, tmp_path, call):
    told = []

    def stop(fraction, text):
        told.append(fraction)
        if len(told) == 6:
            raise KeyboardInterrupt
    path = tmp_path / "store.sqlite"
    with pytest.raises(InterruptedTuning, match=r"interrupted.*store\.sqlite") as caught:
        getattr(pw, call)(model, threads=THREADS, store=path, budget_s=1e6, progress=stop, timer=clock)
    assert isinstance(caught.value, KeyboardInterrupt) and isinstance(caught.value, Error)
    kept = {m.key: m.samples for m in Store.open(path).lookup(protocol.this_host().id).values()}
    ran = {(p, r, v) for p, r, v in clock.log if not p.startswith("identity")}
    assert kept and {(p, r, v) for p, r, _, v in kept if r not in (CALL, YARDSTICK, SPENT)} <= ran
    assert told == sorted(told)
    profile = pw.profile(model, threads=THREADS, store=path, budget_s=1e6, timer=clock)
    for key, samples in kept.items():
        assert profile.get(*key).samples[:len(samples)] == samples
    assert profile.notes["unmeasured"] == 0


def test_interrupted_in_the_race(model, clock, store):
    def stop(fraction, text):
        if text.startswith("racing"):
            raise KeyboardInterrupt
    with pytest.raises(InterruptedTuning, match="race.*all measurements are in"):
        pw.tune(model, threads=THREADS, store=store, budget_s=1e6, progress=stop, timer=clock)
    assert pw.profile(model, threads=THREADS, store=store, timer=clock).notes["passes"] == 0 and model.routes == {}


def test_killed_while_profiling(net_bytes, tmp_path):
    """A kill leaves a store that opens and holds what was flushed."""
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    code = textwrap.dedent(f"""
        import os, signal
        import pathweave as pw
        from pathweave.profiling import samples
        samples.FLUSH_S = 0.0
        told = []
        def progress(fraction, text):
            told.append(text)
            if len(told) == 5:
                os.kill(os.getpid(), signal.SIGKILL)
        pw.profile("net.onnx", threads={THREADS}, store="store.sqlite", progress=progress)
    """)
    done = run_python(code, tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Store.open(tmp_path / "store.sqlite") as store:
        assert len(store.lookup(protocol.this_host().id)) >= len(pw.load(net_bytes).bind().layers)
        notes = pw.profile(net_bytes, threads=THREADS, store=store).notes
        assert notes["unmeasured"] == notes["hopeless"]


@pytest.mark.skipif(os.geteuid() == 0 and not os.path.exists("/proc/version"), reason="needs a folder that fails")
def test_unwritable_store(model, monkeypatch):
    monkeypatch.setenv("PATHWEAVE_HOME", "/proc/version/none")
    with pytest.raises(StoreError, match="PATHWEAVE_HOME"):
        pw.tune(model, progress=False)
    with pytest.raises(StoreError):
        pw.profile(model)


def test_first_run_of_a_hopeless_candidate_is_its_only_one(model, clock, store, monkeypatch):
    """A candidate that takes a second is run once, and the plan is made again without it."""
    slow = ("conv2/im2col:f32:nhwc:cpu", "conv2/winograd4:f32:nhwc:cpu")
    usual = clock.cost
    monkeypatch.setattr(clock, "cost", lambda p, r, v: 1_000_000_000 if r in slow else usual(p, r, v))
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=clock)
    found = [m for m in profile if m.routine in slow]
    assert found and all(m.count == 1 and m.median == 1e9 for m in found)


def test_packed_weights_stay_within_their_limit(model, clock, store, monkeypatch):
    """With almost no memory allowed, kernels are dropped and prepared again; the result is the same."""
    wanted = pw.solve(model, pw.profile(model, threads=THREADS, store=store, budget_s=1e6, timer=clock))
    monkeypatch.setattr(kernels, "PACKED", 20_000)
    monkeypatch.setattr(kernels, "HEAVY", 5_000)
    monkeypatch.setattr(protocol, "HEAVY", 5_000)
    largest = []
    trim = kernels.Kernels.trim

    def watched(own, chosen):
        trim(own, chosen)
        kept = {name for name, *_ in own.cache._kernels}
        largest.append((own.cache.packed_bytes, len(kept)))
    monkeypatch.setattr(kernels.Kernels, "trim", watched)
    profile = pw.profile(model, threads=THREADS, store=Store.memory(), budget_s=1e6, timer=clock)
    assert pw.solve(model, profile).to_json() == wanted.to_json()
    one_plan = max(p.packed_bytes for p in clock.plans)
    assert max(packed for packed, _ in largest) <= 20_000 + 2 * one_plan


# ---- verification ----------------------------------------------------------------------------------------------------

def test_verify_accepts_what_is_right(model, clock, store):
    assert pw.profile(model, threads=THREADS, store=store, budget_s=0, verify=True, timer=clock).notes["wrong"] == []


def test_verify_leaves_out_what_is_wrong(model, clock, store, monkeypatch):
    """A routine that answers with something else is never timed, never chosen."""
    from pathweave.profiling import verify
    build, sick = verify.build_plan, "conv2/direct:f32:"

    class Wrong:
        def __init__(self, plan):
            self.plan = plan

        def session(self):
            return self

        def run(self, given):
            return {n: a + np.float32(1e-3) for n, a in self.plan.session().run(given).items()}

    def sabotaged(bound, choices, *rest):
        plan = build(bound, choices, *rest)
        bad = any(c.routine.startswith(sick) for c in choices.values())
        return Wrong(plan) if bad else plan
    monkeypatch.setattr(verify, "build_plan", sabotaged)
    profile = pw.profile(model, threads=THREADS, store=store, budget_s=1e6, verify=True, timer=clock)
    wrong = profile.notes["wrong"]
    assert wrong and all(sick in w["candidate"] and "relative RMS error" in w["reason"] for w in wrong)
    assert not any(r.startswith(sick) for _, r, _ in clock.log)
    assert not any(c.routine.startswith(sick) for c in pw.solve(model, profile).layers.values())


# ---- small parts -----------------------------------------------------------------------------------------------------

def test_first_variants_come_before_second_ones(model):
    for i in range(len(model.bind().layers)):
        found, _ = model.bind().candidates(i, THREADS)
        ordered = slots.one_variant_each_first(found)
        assert sorted(c.key for c in ordered) == sorted(c.key for c in found)
        distinct = len({c.routine for c in found})
        assert len({c.routine for c in ordered[:distinct]}) == distinct


def test_classes_that_were_allowed_come_before_f32(model):
    seen = set()
    for i in range(len(model.bind().layers)):
        found, _ = model.bind().candidates(i, THREADS, accuracy="reduced")
        first = slots.one_variant_each_first(found)[:len({c.routine for c in found})]
        classes = ["reduced" if c.accuracy == "reduced" else "f32" for c in first]
        assert classes == sorted(classes, reverse=True)
        seen |= set(classes)
    assert seen == {"reduced", "f32"}


def test_inputs_are_those_of_the_net_and_tame(model):
    inputs = protocol.random_inputs(model.bind())
    assert inputs["x"].shape == (1, 3, 12, 12) and inputs["x"].dtype == np.float32
    assert abs(inputs["x"].std() - 1) < 0.2 and np.isfinite(model(inputs)).all()


def test_progress_bar_is_silent_without_a_terminal(capsys):
    from pathweave.progress import part, progress_bar
    seen = []
    with progress_bar(lambda f, t: seen.append((f, t))) as tell:
        part(tell, 0.5, 1.0)(0.5, "half of the second half")
    assert seen == [(0.75, "half of the second half")]
    for show in (True, False):
        with progress_bar(show) as tell:
            tell(0.5, "text")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("order", ["import pathweave.profiling.store as s, pathweave.tuning.api as t, pathweave as pw",
                                   "import pathweave as pw; pw.profile, pw.tune",
                                   "import pathweave as pw; pw.profile; from pathweave.solvers import solve",
                                   "from pathweave.profiling.profile import Profile; import pathweave as pw"])
def test_functions_can_be_called_whatever_was_imported_before(order, net_bytes, tmp_path):
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    code = (f"{order}\n"
            "p = pw.profile('net.onnx', threads=1, store='s.sqlite', budget_s=0)\n"
            "t = pw.tune('net.onnx', threads=1, store='s.sqlite', budget_s=0, progress=False)\n"
            "print(len(p) > 0, t.report['measured_ns'] > 0)")
    done = run_python(code, tmp_path)
    assert done.stdout.strip() == "True True", done.stderr


# ---- the real clock --------------------------------------------------------------------------------------------------

def test_tuned_model_agrees_with_onnxruntime(net_bytes, tmp_path):
    runtime = pytest.importorskip("onnxruntime")
    (tmp_path / "net.onnx").write_bytes(net_bytes)
    tuned = pw.tune(str(tmp_path / "net.onnx"), threads=THREADS, store=tmp_path / "s.sqlite", budget_s=3, progress=False)
    tuned.save(tmp_path / "net.pw")
    x = np.random.default_rng(5).standard_normal((1, 3, 12, 12)).astype(np.float32)
    (wanted,) = runtime.InferenceSession(net_bytes, providers=["CPUExecutionProvider"]).run(None, {"x": x})
    for model in (tuned, pw.load(tmp_path / "net.pw")):
        assert np.abs(model(x) - wanted).max() <= 1e-4 * np.abs(wanted).max()
    (route,) = tuned.routes.values()
    assert route.measured_ns > 0 and route.predicted_ns > 0 and route.host == protocol.this_host().id


def test_routes_race_that_there_is_time_for_the_yardstick_included(monkeypatch):
    """Ten seconds are left. Every route runs three times at least, for 3 s, and so does the yardstick, for 6 s."""
    from pathweave.tuning import race as racing
    from pathweave.tuning import tuner as module
    routes = {n: ([n], SimpleNamespace(predicted_ns=1e9)) for n in ("solved 1", "solved 2", "nhwc only", "default")}
    monkeypatch.setattr(module, "plan_route", lambda *_: SimpleNamespace(session=lambda: None))
    monkeypatch.setattr(racing, "race", lambda running, *_: (running[0], []))
    for reference, kept in ((None, ["solved 1", "solved 2", "nhwc only", "default"]), (2e9, ["solved 1", "default"])):
        tuner = SimpleNamespace(
            latest=10.0, timer=Clock(), left_out=[], racers={}, races=[], progress=lambda *_: None, bound=None, threads=1,
            cache=None, inputs=None, out=None, _race_s=lambda: 1.0, _compare=lambda: None, _yardstick_racer=lambda _: None,
            aim=Aim(), _beside=lambda: [],
            yardstick=SimpleNamespace(reference=reference) if reference else None)
        tuner._affordable = partial(module.Tuner._affordable, tuner)
        module.Tuner._race(tuner, routes)
        assert list(tuner.racers) == kept
        assert [x["name"] for x in tuner.left_out] == [n for n in routes if n not in kept]
