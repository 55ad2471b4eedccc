"""Keys of measurements on devices: identities, thread counts; and what overlaps in a run."""

from __future__ import annotations

import random

import pytest

from pathweave.net.net import TensorSpec
from pathweave.net.problem import Problem
from pathweave.profiling.about import About
from pathweave.profiling.devices import Devices, base, for_one_thread, tags, touched
from pathweave.profiling.measurement import Measurement, merge
from pathweave.profiling.profile import Profile
from pathweave.profiling.store import Store
from pathweave.runtime.catalogue import Candidate
from pathweave.runtime.overlap import Overlap, sentence


def described(name: str, identity: str, *, threads: bool = False, emulated: bool = False, available: bool = True) -> dict:
    return {"name": name, "identity": identity, "available": available, "emulated": emulated, "threads_matter": threads}


def devices(driver: str = "1") -> Devices:
    return Devices.of([described("cpu", "", threads=True), described("null0", f"null, driver {driver}"),
                       described("odd", "odd", threads=True, emulated=True), described("gone", "gone", available=False)])


def measure(host: str = "h", problem: str = "p threads=4", routine: str = "r", when: float = 1.0, samples=(1.0,),
            about: str = "") -> Measurement:
    return Measurement(host, problem, routine, 1, "", tuple(samples), when, about=about)


ANY_THREADS = About((), (), threads=False).text()


def candidate(routine: str, source: str = "cpu", target: str = "cpu", steps: tuple = ()) -> Candidate:
    from pathweave.net.format import Format
    spec = TensorSpec("f32", (1, 2))
    problem = Problem.make("relu", [spec], [False], [spec], {}, threads=2)
    ports = [(Format.parse(f"f32:plain:{d}"),) for d in (source, target)]
    return Candidate(routine, 1, "", problem, problem, *ports, steps=steps)


def test_the_host_of_a_measurement_names_the_devices_that_it_touches():
    known = devices()
    assert known.host("h", ["cpu"]) == known.host("h", ["python"]) == known.host("h", ["gone"]) == "h"
    both = known.host("h", ["odd", "cpu", "null0", "odd"])
    assert base(both) == "h" and tags(both) == {known.tags["null0"], known.tags["odd"]}
    assert both.index("null0") < both.index("odd")
    other = devices("2").host("h", ["null0"])
    assert other != known.host("h", ["null0"]) and other.startswith("h+null0=")
    assert devices("1").host("h", ["null0"]) == known.host("h", ["null0"])
    assert known.facts({"h", both}, {"cpu": "c"}) == {
        "h": {"cpu": "c"}, both: {"devices": {"null0": "null, driver 1", "odd": "odd"}}}


def test_what_a_candidate_touches_and_whether_threads_matter_to_it():
    known = devices()
    assert touched(candidate("relu/a:f32:plain:cpu")) == {"cpu"}
    assert touched(candidate("adapt/up:f32:null0", target="null0")) == {"cpu", "null0"}
    assert not known.threads_matter(candidate("adapt/up:f32:null0", target="null0"))
    assert known.threads_matter(candidate("relu/a:f32:plain:cpu")) and known.threads_matter(candidate("relu/a:f32:odd"))
    mixed = candidate("relu/a:f32:null0", steps=(candidate("relu/a:f32:plain:cpu"),))
    assert known.threads_matter(mixed)


def test_about_says_whether_threads_matter_and_older_texts_do_not():
    old = '{"ins":[],"outs":[],"accuracy":"strict","memory":0}'
    assert About((), ()).text() == old and About.parse(old).threads and About.goes_by_threads(old)
    assert About.goes_by_threads("")
    assert not About.parse(ANY_THREADS).threads and not About.goes_by_threads(ANY_THREADS)


def test_the_store_gives_what_was_measured_on_the_devices_that_are_there():
    old, new = devices("1"), devices("2")
    with Store.memory() as store:
        store.add([measure(samples=[1.0]), measure(old.host("h", ["null0"]), routine="n", samples=[2.0], when=5.0),
                   measure(new.host("h", ["null0"]), routine="n", samples=[3.0], when=4.0), measure("h2", samples=[9.0]),
                   measure("hh", samples=[8.0])])

        def found(current) -> dict[str, tuple[float, ...]]:
            return {m.routine: m.samples for m in store.lookup("h", ["p threads=4"], current).values()}
        assert found(old.current) == {"r": (1.0,), "n": (2.0,)} and found(new.current) == {"r": (1.0,), "n": (3.0,)}
        assert found(frozenset()) == {"r": (1.0,)}
        assert found(None) == {"r": (1.0,), "n": (2.0,)}  # the newest
        assert len(Profile.of_store(store, "h", devices=new.current)) == 2
        assert store.clear("h") == 3 and set(store.hosts()) == {"h2", "hh"}


def test_export_and_profile_take_all_devices_of_a_host(tmp_path):
    known = devices()
    here = known.host("h", ["null0"])
    with Store.memory() as store:
        store.add([measure(), measure(here, routine="n"), measure("h2")], known.facts({"h", here}, {"cpu": "c"}))
        assert store.export(tmp_path / "lines", "h") == 2
    profile = Profile.load(tmp_path / "lines")
    assert profile.host == "h" and {m.host for m in profile} == {"h", here} and profile.facts == {"cpu": "c"}
    profile.save(tmp_path / "again")
    assert {m.host for m in Profile.load(tmp_path / "again", "h")} == {"h", here}
    with Store.memory() as store:
        assert store.import_(tmp_path / "lines") == 2
        assert len(store.lookup("h", None, known.current)) == 2


def test_merged_are_samples_of_one_identity():
    a, b = devices("1").host("h", ["null0"]), devices("2").host("h", ["null0"])
    merged = merge([measure(host, when=when, samples=[ns]) for host, when, ns in
                    ((a, 1.0, 1.0), (b, 2.0, 2.0), (b, 3.0, 3.0), (a, 2.5, 4.0))])
    assert [m.samples for m in merged.values()] == [(2.0, 3.0)]


def test_a_device_without_threads_is_known_for_every_number_of_them():
    with Store.memory() as store:
        store.add([measure(problem="p x=1 threads=4", about=ANY_THREADS), measure(problem="p x=1 threads=4", routine="s"),
                   measure(problem="q threads=2", about=ANY_THREADS)])
        for threads in (1, 2, 4):
            found = store.lookup("h", [f"p x=1 threads={threads}"])
            assert {k[:2] for k in found} == {(f"p x=1 threads={threads}", r) for r in ("r", "s") if r == "r" or threads == 4}
        both = store.lookup("h", ["p x=1 threads=2", "p x=1 threads=3"])
        assert {k[0] for k in both} == {"p x=1 threads=2", "p x=1 threads=3"}
        assert {k[0] for k in store.lookup("h")} == {"p x=1 threads=1", "p x=1 threads=4", "q threads=1"}
    assert for_one_thread("p a=threads threads=12") == "p a=threads threads=1"


# ---- overlap -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(20))
def test_overlap_against_counting_nanoseconds(seed):
    rng = random.Random(seed)
    spans = [(rng.choice(("a", "b")), "wall", rng.randrange(60), rng.randrange(0, 25)) for _ in range(rng.randrange(1, 12))]
    found = Overlap.of(spans)
    at = [[first <= t < first + ns for t in range(100)] for _, _, first, ns in spans]
    covered = sum(any(row[t] for row in at) for t in range(100))
    assert found.overlapped_ns == sum(ns for *_, ns in spans) - covered
    assert sum(found.busy.values()) == sum(ns for *_, ns in spans)
    beside = sum(any(any(x and y for x, y in zip(a, b)) for j, b in enumerate(at) if i != j) for i, a in enumerate(at))
    assert found.steps == beside


def test_times_of_different_clocks_are_not_compared():
    apart = Overlap.of([("cpu", "wall", 0, 10), ("n", "scripted", 0, 10)])
    assert apart.overlapped_ns == 0 and apart.busy == {"cpu": 10, "n": 10}
    together = Overlap.of([("cpu", "wall", 0, 10), ("g", "event", 4, 10)])
    assert together.overlapped_ns == 6 and together.steps == 2


def test_the_sentence():
    def show(ns: float) -> str:
        return f"{ns:g} ns"
    found = Overlap.of([("cpu", "wall", 0, 10), ("g", "event", 4, 10)]).to_json()
    assert sentence(found, show) == "at work: cpu 10 ns, g 10 ns; 6 ns of it beside other steps (2 steps)"
    alone = Overlap.of([("cpu", "wall", 0, 10), ("g", "event", 10, 10)]).to_json()
    assert sentence(alone, show).endswith("; one step after another")
