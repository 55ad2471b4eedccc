"""The profile store under competition, kills and damage; profiles as files; host fingerprints."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from pathweave.errors import Error, ProfileError, StoreError
from pathweave.profiling import store as store_module
from pathweave.profiling.measurement import Measurement, merge
from pathweave.profiling.profile import Profile
from pathweave.profiling.store import Store, default_path, home
from pathweave.runtime.fingerprint import host


def measure(problem="p", routine="r", version=1, variant="v", samples=(1.0, 2.0, 3.0), when=1.7e9, host="h", **other):
    return Measurement(host, problem, routine, version, variant, tuple(samples), when, **other)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "profile.sqlite"


def content(store: Store, host="h") -> dict:
    return {k: sorted(m.samples) for k, m in store.lookup(host).items()}


# ---- measurements ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("count", [1, 2, 3, 10, 101])
def test_statistics_are_those_of_numpy(count):
    samples = np.random.default_rng(count).exponential(1e5, count) + 1
    m = measure(samples=samples.tolist())
    assert m.median == pytest.approx(np.median(samples))
    assert m.p10 == pytest.approx(np.quantile(samples, 0.1))
    assert m.spread == pytest.approx(np.subtract(*np.quantile(samples, [0.75, 0.25])))
    assert m.count == count


def test_merge_keeps_the_newest_protocol_in_order_of_time():
    runs = [measure(samples=[3.0], when=30), measure(samples=[9.0], when=50, protocol=0),
            measure(samples=[1.0], when=10), measure(variant="w", samples=[5.0], protocol=0)]
    merged = merge(runs)
    assert merged["p", "r", 1, "v"].samples == (1.0, 3.0) and merged["p", "r", 1, "v"].when == 30
    assert merged["p", "r", 1, "w"].samples == (5.0,)


# ---- the store ------------------------------------------------------------------------------------------------------

def test_add_and_lookup(path):
    with Store.open(path) as store:
        assert store.add([measure(), measure(samples=[0.5], when=1.8e9), measure(problem="q", samples=[7.25])]) == 3
        store.add([measure(host="other", samples=[99.0]), measure(version=2, samples=[8.0])])
    with Store.open(path) as store:
        got = store.lookup("h", ["p", "absent"])
        assert set(got) == {("p", "r", 1, "v"), ("p", "r", 2, "v")}
        m = got["p", "r", 1, "v"]
        assert m.samples == (1.0, 2.0, 3.0, 0.5) and m.count == 4 and m.median == 1.5 and m.when == 1.8e9
        assert content(store, "other") == {("p", "r", 1, "v"): [99.0]}
        assert store.lookup("nobody", ["p"]) == {} and store.lookup("h", []) == {}


def test_many_problems_at_once(path):
    store = Store.open(path)
    store.add([measure(problem=f"p{i}", samples=[i + 1.0]) for i in range(2500)])
    got = store.lookup("h", [f"p{i}" for i in range(0, 2500, 2)])
    assert {k[0]: m.samples[0] for k, m in got.items()} == {f"p{i}": i + 1.0 for i in range(0, 2500, 2)}


def test_adding_the_same_record_twice_adds_nothing(path):
    store, m = Store.open(path), measure()
    assert (store.add([m]), store.add([m, m]), store.add([measure()])) == (1, 0, 1)
    assert store.lookup("h")["p", "r", 1, "v"].count == 6


def test_add_is_all_or_nothing(path):
    store = Store.open(path)
    with pytest.raises(ProfileError, match="samples"):
        store.add([measure(), measure(samples=[])])
    assert store.lookup("h") == {}


@pytest.mark.parametrize("change", [dict(samples=[0.0]), dict(samples=[-1.0]), dict(samples=[float("nan")]),
                                    dict(samples=[float("inf")]), dict(samples=["1"]), dict(version="1"),
                                    dict(version=-1), dict(version=True), dict(problem=""), dict(host=3),
                                    dict(variant=None), dict(when=float("nan")), dict(when=-5), dict(problem="\ud800")])
def test_malformed_measurements_are_refused(change):
    with pytest.raises(ProfileError, match="expected .* got"):
        Store.memory().add([measure(**change)])


def test_hosts_and_clear(path):
    store = Store.open(path)
    store.add([measure(), measure(problem="q"), measure(host="o")], {"h": {"cpu": "X"}, "fresh": {"cpu": "Y"}})
    assert store.hosts() == {"fresh": {"facts": {"cpu": "Y"}, "measurements": 0},
                             "h": {"facts": {"cpu": "X"}, "measurements": 2}, "o": {"facts": {}, "measurements": 1}}
    assert store.clear("h", ["q", "absent"]) == 1
    assert set(store.lookup("h")) == {("p", "r", 1, "v")}
    assert store.clear("h") == 1 and set(store.hosts()) == {"fresh", "o"}
    store.add([measure()])
    assert store.clear() == 2 and store.hosts() == {}


def test_location(monkeypatch, tmp_path):
    monkeypatch.setenv("PATHWEAVE_HOME", str(tmp_path / "own"))
    assert home() == tmp_path / "own" and default_path() == tmp_path / "own" / "profile.sqlite"
    with Store.open() as store:
        assert store.path == default_path() and default_path().exists()
    monkeypatch.delenv("PATHWEAVE_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert home() == tmp_path / "xdg" / "pathweave"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the XDG specification
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    assert home() == tmp_path / "me" / ".cache" / "pathweave"


# ---- several at once, and kills -------------------------------------------------------------------------------------

def _writer(path, number, start):
    start.wait()
    for i in range(20):
        with Store.open(path) as store:  # opening competes too, the first time for the schema
            store.add([measure(problem=f"{number}", variant=f"{i}.{k}", samples=[k + 1.0]) for k in range(5)]
                      + [measure(problem="shared", samples=[float(number * 1000 + i + 1)])])


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_several_processes_write_at_once(path, method):
    context = multiprocessing.get_context(method)
    start = context.Event()
    children = [context.Process(target=_writer, args=(path, n, start)) for n in range(4)]
    for c in children:
        c.start()
    start.set()
    for c in children:
        c.join(120)
        assert c.exitcode == 0
    got = content(Store.open(path))
    for n in range(4):
        for i in range(20):
            for k in range(5):
                assert got.pop((f"{n}", "r", 1, f"{i}.{k}")) == [k + 1.0]
    assert got == {("shared", "r", 1, "v"): sorted(float(n * 1000 + i + 1) for n in range(4) for i in range(20))}


def _inherit(store, number):
    store.add([measure(problem=f"child {number}")])


def test_a_store_may_be_carried_over_a_fork(path):
    store = Store.open(path)
    store.add([measure()])
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_inherit, args=(store, n)) for n in range(3)]
    for c in children:
        c.start()
    store.add([measure(problem="parent")])
    for c in children:
        c.join(60)
        assert c.exitcode == 0
    assert {k[0] for k in store.lookup("h")} == {"p", "parent", "child 0", "child 1", "child 2"}


def test_threads_share_a_store(path):
    store = Store.open(path)
    threads = [threading.Thread(target=lambda n=n: [store.add([measure(problem=f"{n}")]) for _ in range(10)])
               for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {k[0]: m.count for k, m in store.lookup("h").items()} == {f"{n}": 30 for n in range(4)}


def test_kill_while_writing_loses_nothing_that_was_added(path):
    """Four children are killed at random moments; what they reported as added is there, whole batches only."""
    script = textwrap.dedent("""
        import sys
        from pathweave.profiling.measurement import Measurement
        from pathweave.profiling.store import Store
        store = Store.open(sys.argv[1])
        for i in range(10**6):
            store.add([Measurement("h", sys.argv[2], "r", i, str(k), (k + 1.0,) * 500, 1e9) for k in range(20)])
            print(i, flush=True)
    """)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    rng = random.Random(5)
    for number in range(4):
        child = subprocess.Popen([sys.executable, "-c", script, str(path), f"child {number}"],
                                 stdout=subprocess.PIPE, text=True, env=env)
        assert child.stdout.readline() == "0\n"
        time.sleep(rng.uniform(0, 0.15))
        child.send_signal(signal.SIGKILL)
        reported = 1 + len([line for line in child.stdout.read().splitlines() if line])
        child.wait()
        with Store.open(path) as store:
            got = store.lookup("h", [f"child {number}"])
        versions = {k[2] for k in got}
        assert len(got) == 20 * len(versions) and set(range(reported)) <= versions
        assert len(versions) <= reported + 1  # one batch may have been committed but not yet reported
        assert all(m.samples == (int(m.variant) + 1.0,) * 500 for m in got.values())
    assert sqlite3.connect(path).execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_run_replaces_its_own_rows(path):
    """With `replace` an equal id takes the place of what was there; without it, it does not."""
    first = measure(samples=(1.0, 2.0))
    better = replace(first, samples=(3.0, 4.0, 5.0), when=1.8e9)
    store = Store.open(path)
    assert store.add([first]) == 1 and store.add([better]) == 0
    assert store.lookup("h")[first.key].samples == (1.0, 2.0)
    assert store.add([better], replace=True) == 1
    assert store.lookup("h")[first.key].samples == (3.0, 4.0, 5.0)
    assert store.hosts()["h"]["measurements"] == 1


def test_ctrl_c_inside_a_transaction_rolls_back(path, monkeypatch):
    store, insert, calls = Store.open(path), store_module._insert, []

    def interrupted(db, m, replace):
        calls.append(m)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return insert(db, m, replace)

    with monkeypatch.context() as patch:
        patch.setattr(store_module, "_insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.add([measure(variant=f"{i}") for i in range(5)])
    assert store.lookup("h") == {}
    assert store.add([measure()]) == 1


# ---- damage and refusals --------------------------------------------------------------------------------------------

def test_no_folder_can_be_made(tmp_path, monkeypatch):
    (tmp_path / "plain").write_bytes(b"")
    for place in (tmp_path / "plain" / "profile.sqlite", tmp_path / "plain" / "deep" / "profile.sqlite"):
        with pytest.raises(StoreError, match="set PATHWEAVE_HOME to a folder that you may write") as e:
            Store.open(place)
        assert isinstance(e.value, OSError)
    monkeypatch.setenv("PATHWEAVE_HOME", str(tmp_path / "plain"))
    with pytest.raises(StoreError, match="PATHWEAVE_HOME"):
        Store.open()


def test_a_folder_in_place_of_the_file(path):
    path.mkdir(parents=True)
    with pytest.raises(StoreError, match="PATHWEAVE_HOME"):
        Store.open(path)


def test_memory_only_when_asked(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    store = Store.open(tmp_path / "plain" / "s", memory_if_unwritable=True)
    assert store.path is None and "not kept" in store.warning and "PATHWEAVE_HOME" in store.warning
    store.add([measure()])
    assert content(store) == {("p", "r", 1, "v"): [1.0, 2.0, 3.0]}
    good = Store.open(tmp_path / "good" / "s", memory_if_unwritable=True)
    assert good.path and good.warning == ""


def test_read_only_database(path, monkeypatch):
    """Root may write everything, so the connection itself is made read-only."""
    Store.open(path).close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda p, **k: connect(f"file:{p}?mode=ro", uri=True, **k))
    with pytest.raises(StoreError, match="readonly.* set PATHWEAVE_HOME"):
        Store.open(path).add([measure()])


def test_full_disk(path):
    store = Store.open(path)
    store.add([measure()])
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match="full.*free some disk space"):
        store.add([measure(samples=[1.0] * 100_000)])
    assert store.lookup("h")["p", "r", 1, "v"].count == 3


def test_locked_by_another_process(path, monkeypatch):
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.2)
    store = Store.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for use in (lambda: store.add([measure()]), lambda: Store.open(path)):
        with pytest.raises(StoreError, match="another process has held it"):
            use()
    assert store.lookup("h") == {}  # reading goes on
    other.execute("ROLLBACK")
    assert store.add([measure()]) == 1


@pytest.mark.parametrize("text", [b"", b"x", b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 5000,
                                  b"hello " * 999])
def test_not_a_database(path, text):
    path.parent.mkdir()
    path.write_bytes(text)
    if text == b"":  # an empty file is an empty database
        assert Store.open(path).add([measure()]) == 1
        return
    with pytest.raises(StoreError, match="cannot be opened .*PATHWEAVE_HOME"):
        Store.open(path)
    assert path.read_bytes() == text


def test_damaged_database_ends_in_our_error_only(path, tmp_path):
    """300 random damages of the file: every verb works or says StoreError."""
    with Store.open(path) as store:
        store.add([measure(problem=f"p{i}", samples=range(1, 200)) for i in range(50)], {"h": {"cpu": "X"}})
    data, rng, failures = path.read_bytes(), random.Random(3), 0
    assert len(data) > 50 * 200 * 8  # the write-ahead log is in the file
    for i in range(300):
        damaged = bytearray(data)
        for _ in range(rng.choice((1, 5, 50))):
            damaged[rng.randrange(rng.choice((100, 4096, len(data))))] = rng.randrange(256)
        victim = tmp_path / f"d{i}.sqlite"
        victim.write_bytes(damaged[:rng.choice((len(data), len(data), rng.randrange(len(data))))])
        try:
            with Store.open(victim) as store:
                store.lookup("h")
                store.lookup("h", ["p1", "p2"])
                store.hosts()
                store.add([measure(problem="p1")])
                store.export(tmp_path / "out.jsonl")
                store.clear("h", ["p3"])
        except StoreError as e:
            failures += 1
            assert "PATHWEAVE_HOME" in str(e)
        for suffix in ("", "-wal", "-shm"):
            (tmp_path / f"d{i}.sqlite{suffix}").unlink(missing_ok=True)
    assert 50 < failures < 300


def test_other_schemas_and_programs(path):
    Store.open(path).close()
    for version, advice in ((store_module.SCHEMA + 1, "update pathweave"), (0, "delete the file")):
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA user_version = {version}")
        db.close()
        with pytest.raises(StoreError, match=f"expected schema {store_module.SCHEMA}, got schema {version}; {advice}"):
            Store.open(path)
    path.unlink()
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE bookmarks (url TEXT)")
    db.close()
    with pytest.raises(StoreError, match="another program"):
        Store.open(path)


# ---- JSON Lines -----------------------------------------------------------------------------------------------------

def test_export_and_import(path, tmp_path):
    store = Store.open(path)
    store.add([measure(samples=[1.5, 1e9, 3.0]), measure(samples=[4.0]), measure(host="o", variant="ü")],
              {"h": {"a": 1}})
    assert store.export(tmp_path / "all.jsonl") == 3 and store.export(tmp_path / "h.jsonl", "h") == 2
    for line in (tmp_path / "all.jsonl").read_text().splitlines():
        assert isinstance(json.loads(line), dict)
    other = Store.open(tmp_path / "other.sqlite")
    other.add([measure(samples=[2.0])])
    assert (other.import_(tmp_path / "all.jsonl"), other.import_(tmp_path / "all.jsonl")) == (3, 0)
    assert other.import_(tmp_path / "h.jsonl") == 0
    assert content(other) == {("p", "r", 1, "v"): [1.5, 2.0, 3.0, 4.0, 1e9]}
    assert content(other, "o") == content(store, "o") and other.hosts()["h"]["facts"] == {"a": 1}


GOOD = measure(id="1").to_json()
LINES = [
    b"{", b"[]", b"3", b"\xff", b'{"host": "h"}', b'{"host": 3, "facts": {}}', b"[" * 5000,
    *(json.dumps({**GOOD, **change}).encode() for change in (
        {"samples": []}, {"samples": [0]}, {"samples": "1"}, {"samples": [1, None]}, {"samples": [float("nan")]},
        {"version": "1"}, {"version": 1.5}, {"when": None}, {"problem": ""}, {"id": 3}, {"more": 1},
        {"protocol": 2**40}, {"samples": [10**400]})),
    json.dumps({k: v for k, v in GOOD.items() if k != "when"}).encode(),
]


@pytest.mark.parametrize("line", LINES, ids=range(len(LINES)))
def test_import_is_validated_and_atomic(tmp_path, line):
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(json.dumps(GOOD).encode() + b"\n\n" + line + b"\n")
    store = Store.memory()
    with pytest.raises(ProfileError, match="bad.jsonl, line 3.*expected.*got"):
        store.import_(bad)
    assert store.lookup("h") == {}
    with pytest.raises(ProfileError, match="line 3"):
        Profile.load(bad)


def test_import_and_export_places(tmp_path):
    store = Store.memory()
    with pytest.raises(StoreError, match="cannot be read.*check the path"):
        store.import_(tmp_path / "none.jsonl")
    with pytest.raises(StoreError, match="cannot be written"):
        store.export(tmp_path / "none" / "x.jsonl")
    with pytest.raises(ProfileError, match="cannot be read"):
        Profile.load(tmp_path / "none.jsonl")
    with pytest.raises(ProfileError, match="cannot be written"):
        Profile("h").save(tmp_path / "none" / "x.jsonl")


# ---- Profile --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["nul\0", "no text \ud800", "missing"])
def test_a_profile_of_no_file(tmp_path, name):
    with pytest.raises(ProfileError, match="cannot be read"):
        Profile.load(tmp_path / name)
    with pytest.raises(StoreError, match="cannot be read"):
        Store.memory().import_(tmp_path / name)


def test_profile_round_trip(tmp_path):
    profile = Profile("h", [measure(), measure(samples=[9.0], when=2e9), measure(problem="q")], {"cpu": "X"})
    profile.save(tmp_path / "p.jsonl")
    again = Profile.load(tmp_path / "p.jsonl")
    assert again.host == "h" and again.facts == {"cpu": "X"} and len(again) == 2 and again.problems() == {"p", "q"}
    assert again.get("p", "r", 1, "v").samples == (1.0, 2.0, 3.0, 9.0)
    assert again.get("p", "r", 2, "v") is None
    assert {m.key: m.samples for m in again} == {m.key: m.samples for m in profile}
    Profile("h").save(tmp_path / "empty.jsonl")
    assert len(Profile.load(tmp_path / "empty.jsonl")) == 0


def test_profile_of_a_store_and_back(tmp_path):
    store = Store.memory()
    store.add([measure(), measure(problem="q"), measure(host="o")], {"h": {"cpu": "X"}})
    profile = Profile.of_store(store, "h", ["p"])
    assert profile.problems() == {"p"} and profile.facts == {"cpu": "X"}
    profile.save(tmp_path / "p.jsonl")
    assert store.import_(tmp_path / "p.jsonl") == 0  # the same records
    store.export(tmp_path / "all.jsonl")
    with pytest.raises(ProfileError, match="one host, got h, o"):
        Profile.load(tmp_path / "all.jsonl")
    assert Profile.load(tmp_path / "all.jsonl", "o").host == "o"
    with pytest.raises(ProfileError, match="expected measurements of host z"):
        Profile.load(tmp_path / "all.jsonl", "z")


def test_profile_merge_and_host_check():
    m = measure()
    a, b = Profile("h", [m]), Profile("h", [m, measure(samples=[8.0], when=2e9), measure(problem="q")])
    both = a.merge(b)
    assert both.get("p", "r", 1, "v").samples == (1.0, 2.0, 3.0, 8.0) and both.problems() == {"p", "q"}
    assert len(a) == 1
    a.check_host("h")
    with pytest.raises(ProfileError, match="expected measurements of host elsewhere, got those of h"):
        a.check_host("elsewhere")
    a.check_host("elsewhere", allow_other=True)
    with pytest.raises(ProfileError):
        a.merge(Profile("o"))
    with pytest.raises(ProfileError, match="got some of o"):
        a.add([measure(host="o")])
    assert issubclass(ProfileError, Error)


# ---- fingerprint ----------------------------------------------------------------------------------------------------

CPUINFO = "\n\n".join(f"processor\t: {n}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\n"
                      f"model name\t: Test CPU\nstepping\t: 8\ncpu MHz\t\t: {{mhz}}\nphysical id\t: 0\n"
                      f"core id\t\t: {n // 2}\nflags\t\t: fpu smep sse4_2 avx2 fma {{flag}}" for n in range(4)) + "\n"


def machine(root, mhz="2000.1", flag="avx512f", l3="32768K", quota="max 100000", cpuinfo=CPUINFO):
    """A tree with the files of /proc and /sys that decide."""
    files = {"proc/cpuinfo": cpuinfo.format(mhz=mhz, flag=flag), "proc/self/cgroup": "0::/slice/box\n",
             "sys/fs/cgroup/slice/cpu.max": quota, "sys/fs/cgroup/slice/box/cpu.max": "400000 100000"}
    for i, (level, kind, size) in enumerate(((1, "Data", "48K"), (1, "Instruction", "32K"), (2, "Unified", "2048K"),
                                             (3, "Unified", l3))):
        files |= {f"sys/devices/system/cpu/cpu0/cache/index{i}/{k}": str(v)
                  for k, v in (("level", level), ("type", kind), ("size", size))}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture
def uncapped(monkeypatch):
    monkeypatch.delenv("PATHWEAVE_ISA", raising=False)


def test_fingerprint_is_stable_between_runs():
    code = "from pathweave.runtime.fingerprint import host; print(host().id)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    ids = {subprocess.run([sys.executable, "-c", code], env={**env, "PYTHONHASHSEED": seed}, check=True,
                          capture_output=True, text=True).stdout.strip() for seed in "123"}
    assert ids == {host().id} and len(host().id) == 12


def test_fingerprint_facts(tmp_path, uncapped):
    facts = host(lambda: ["generic", "avx2"], machine(tmp_path)).facts
    assert facts["cpu"] == "Test CPU" and facts["parts"] == ["GenuineIntel/6/143/8"]
    assert facts["logical_cores"] == 4 and facts["physical_cores"] == 2 and facts["isa"] == ["generic", "avx2"]
    assert facts["caches"] == {"L1d": "48K", "L1i": "32K", "L2": "2048K", "L3": "32768K"}
    assert facts["cpu_quota"] == 4.0 and facts["isa_cap"] == "" and facts["memory_channels"] is None
    assert host(None, tmp_path).facts["isa"] == ["avx2", "avx512f", "fma", "sse4_2"]
    json.dumps(facts)


def test_fingerprint_differs_where_it_must(tmp_path, monkeypatch, uncapped):
    base = host(None, machine(tmp_path / "a")).id
    assert host(None, machine(tmp_path / "b", mhz="3411.7")).id == base  # clock speed is not identity
    others = {"flag": dict(flag="amx_tile"), "l3": dict(l3="16384K"), "quota": dict(quota="150000 100000"),
              "cores": dict(cpuinfo=CPUINFO[:CPUINFO.index("processor\t: 3")])}
    ids = {base, host(lambda: ["avx2"], tmp_path / "a").id}
    ids |= {host(None, machine(tmp_path / name, **change)).id for name, change in others.items()}
    monkeypatch.setenv("PATHWEAVE_ISA", "avx2")
    ids.add(host(None, tmp_path / "a").id)
    assert len(ids) == 7


def test_fingerprint_without_proc_and_sys(tmp_path, uncapped):
    bare = host(None, tmp_path)
    assert bare.facts["logical_cores"] and bare.facts["cpu"] and bare.facts["caches"] == {}
    assert bare.facts["cpu_quota"] is None and bare == host(None, tmp_path)


def test_fingerprint_quota_of_version_1(tmp_path, uncapped):
    root = machine(tmp_path)
    (root / "proc/self/cgroup").write_text("4:cpu,cpuacct:/box\n2:memory:/box\n")
    folder = root / "sys/fs/cgroup/cpu/box"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("250000")
    (folder / "cpu.cfs_period_us").write_text("100000")
    assert host(None, root).facts["cpu_quota"] == 2.5
    (folder / "cpu.cfs_quota_us").write_text("-1")
    assert host(None, root).facts["cpu_quota"] is None


@pytest.mark.parametrize("memory", ["1e999", "-1e999", "NaN", "null", "[]", "\"x\"", "{}"])
def test_what_a_record_says_of_its_routine_may_be_anything(memory):
    from pathweave.profiling.about import About
    text = '{"ins": ["f32:nchw:cpu"], "outs": ["f32:nchw:cpu"], "accuracy": "f32", "memory": 7}'
    assert About.parse(text).memory == 7
    with pytest.raises(ProfileError, match="a description of a routine's ports"):
        About.parse(text.replace("7", memory))
