"""The machine's limits: the probes of the native core, the arithmetic on a scripted machine, the file that keeps them."""

from __future__ import annotations

import json

import pytest

from pathweave import _native
from pathweave.errors import ProfileError
from pathweave.runtime import limits as module
from pathweave.runtime.limits import LEVELS, Limits, limits, thread_counts, working_sets

#: Of the scripted machine, per thread: operations and bytes per nanosecond, nanoseconds of a barrier.
PEAK, READ, BARRIER = {"peak_f32__x": 16.0, "peak_i8__x": 64.0}, {"L1": 64, "L2": 32, "L3": 16, "memory": 8}, 100


class Machine:
    """A clock that runs by arithmetic alone. `slow`: everything takes so many times longer."""

    def __init__(self, slow: float = 1.0):
        self.slow, self.calls = slow, 0

    def cpu_info(self):
        return {"l1d": 32 << 10, "l2": 512 << 10, "l3": 32 << 20}

    def limit_probes(self):
        return [{"kind": "peak", "name": "peak_f32__x", "dtype": "f32", "operations": 128},
                {"kind": "peak", "name": "peak_i8__x", "dtype": "i8", "operations": 512},
                {"kind": "read", "name": "read__x", "dtype": "", "operations": 0}]

    def time_peak(self, name, threads, rounds, trials):
        self.calls += 1
        return round({"peak_f32__x": 128, "peak_i8__x": 512}[name] * rounds / PEAK[name] * self.slow)

    def time_read(self, name, size, threads, times, trials):
        self.calls += 1
        sets = working_sets({"L1": 32 << 10, "L2": 512 << 10, "L3": 32 << 20}, threads)
        (level,) = (x for x, n in sets.items() if n == size)
        return round(size * times / READ[level] * self.slow)

    def time_barriers(self, threads, count, trials):
        self.calls += 1
        return round(BARRIER * count * self.slow)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "limits.json"


def test_rates_of_a_scripted_machine(file):
    found = limits([1, 2], path=file, machine=Machine())
    for n in (1, 2):
        assert found.peak("f32", n) == pytest.approx(16e9 * n, rel=1e-3)
        assert found.peak("i8", n) == pytest.approx(64e9 * n, rel=1e-3)
        assert [found.bandwidth(x, n) for x in LEVELS] == pytest.approx([READ[x] * 1e9 * n for x in LEVELS], rel=1e-3)
        assert found.barrier_ns(n) == BARRIER
    assert found.peak("bf16", 1) is None


def test_a_farther_level_is_never_faster(file, monkeypatch):
    monkeypatch.setitem(READ, "L2", 4)
    found = limits([1], path=file, machine=Machine())
    assert found.bandwidth("L2", 1) == found.bandwidth("L3", 1) == pytest.approx(16e9, rel=1e-3)


def test_measured_once_and_kept(file):
    first = limits([1], path=file, machine=Machine())
    silent = Machine()
    assert limits([1], path=file, machine=silent) == first and silent.calls == 0
    both = limits([1, 2], path=file, machine=silent)
    assert silent.calls > 0 and both.measured[1] == first.measured[1] and set(both.measured) == {1, 2}
    assert set(limits([1], path=file, machine=Machine()).measured) == {1, 2}


def test_a_unit_without_a_figure_is_measured(file):
    """As where the file was written by a version that had no probe for it."""
    first = limits([1], path=file, machine=Machine())
    data = json.loads(file.read_text())
    del data["threads"]["1"]["peaks"]["peak_i8__x"]
    file.write_text(json.dumps(data))
    assert limits([1], path=file, machine=Machine()) == first


def test_again_keeps_the_better_figures(file):
    fast = limits([1], path=file, machine=Machine())
    assert limits([1], path=file, machine=Machine(slow=3), again=True) == fast
    faster = limits([1], path=file, machine=Machine(slow=0.5), again=True)
    assert faster.peak("f32", 1) == pytest.approx(32e9, rel=1e-3) and faster.barrier_ns(1) == BARRIER / 2


def test_progress_tells_every_probe_and_never_goes_back(file):
    told: list[tuple[float, str]] = []
    limits([1, 2], path=file, machine=Machine(), tell=lambda share, text: told.append((share, text)))
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == pytest.approx(1)
    assert len(set(shares)) == 2 * module.THOROUGH.passes * (2 + len(LEVELS)) + 1  # two peaks, one reader
    assert {text for share, text in told if 0 < share < 0.5} == {"limits of 1 thread"}
    assert told[-1][1] == "limits of 2 threads"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 0}', '{"version": 1, "host": "h"}'])
def test_a_damaged_file_is_measured_anew(file, text):
    file.write_text(text)
    assert limits([1], path=file, machine=Machine()).peak("f32", 1) == pytest.approx(16e9, rel=1e-3)
    assert json.loads(file.read_text())["version"] == module.VERSION


def test_figures_of_another_host_are_not_used(file):
    limits([1], path=file, machine=Machine())
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, "host": "another"}))
    machine = Machine()
    limits([1], path=file, machine=machine)
    assert machine.calls > 0


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "plain").write_text("")
    found = limits([1], path=tmp_path / "plain" / "limits.json", machine=Machine())
    assert found.barrier_ns(1) == BARRIER


def test_json_there_and_back(file):
    found = limits([1, 2], path=file, machine=Machine())
    assert Limits.from_json(json.loads(json.dumps(found.to_json()))) == found
    for broken in (0, -1.0, float("nan"), float("inf")):
        data = json.loads(json.dumps(found.to_json()))
        data["threads"]["1"]["reads"]["L2"] = broken
        with pytest.raises(ProfileError, match="measure again"):
            Limits.from_json(data)


def test_unknown_threads_are_named(file):
    with pytest.raises(ProfileError, match="expected those of 3 threads, got 1"):
        limits([1], path=file, machine=Machine()).peak("f32", 3)


def test_levels_share_out_their_own_caches():
    found = Limits("h", {"L1": 100, "L2": 1000, "L3": 10_000})
    assert [found.level(n, 1) for n in (100, 101, 1000, 1001, 10_000, 10_001)] == ["L1", "L2", "L2", "L3", "L3", "memory"]
    assert [found.level(n, 2) for n in (200, 2000, 10_000, 10_001)] == ["L1", "L2", "L3", "memory"]


def test_thread_counts():
    assert [thread_counts(n) for n in (1, 2, 3, 6, 8)] == [[1], [1, 2], [1, 2, 3], [1, 2, 4, 6], [1, 2, 4, 8]]


# ---- native ---------------------------------------------------------------------------------------------------------

def test_every_tier_in_use_brings_its_probes():
    names = {(p["kind"], p["name"]) for p in _native.limit_probes()}
    of_units = {"avxvnni": ["peak_i8_dpbusd"], "vnni": ["peak_i8_dpbusd"], "bf16": ["peak_bf16_dpbf16"],
                "fp16": ["peak_f16"], "amx": ["peak_i8_tdpbusd", "peak_bf16_tdpbf16"]}
    for isa in (tier.removesuffix("-emulated") for tier in _native.cpu_info()["used"]):
        if isa in ("generic", "avx2", "avx512"):
            assert {("peak", f"peak_f32__{isa}"), ("peak", f"peak_i8_madd__{isa}"), ("read", f"read__{isa}")} <= names
        elif isa in of_units:
            assert {("peak", f"{name}__{isa}") for name in of_units[isa]} <= names
    assert all(p["operations"] > 0 and p["dtype"] for p in _native.limit_probes() if p["kind"] == "peak")


def test_nothing_is_optimised_away():
    """A round takes a cycle at least, of a clock that no processor has; another program can only make it longer."""
    for p in _native.limit_probes():
        if p["kind"] == "peak":
            assert _native.time_peak(p["name"], 1, 1_000_000, 3) > 1_000_000 / 10
        else:  # 128 bytes, two vectors of the widest kind, in such a cycle
            assert _native.time_read(p["name"], 16384, 1, 5000, 3) > 16384 * 5000 / 128 / 10


@pytest.mark.parametrize("call, message", [
    (lambda: _native.time_peak("nothing", 1, 1, 1), "no probe 'nothing'"),
    (lambda: _native.time_peak("read__generic", 1, 1, 1), "no probe 'read__generic' of kind peak"),
    (lambda: _native.time_peak("peak_f32__generic", 0, 1, 1), "must be positive"),
    (lambda: _native.time_read("read__generic", 1000, 1, 1, 1), "multiple of 4096"),
    (lambda: _native.time_read("read__generic", 4096, 1, 0, 1), "must be positive"),
    (lambda: _native.time_barriers(1, 0, 1), "must be positive")])
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_threads_meet():
    assert _native.time_barriers(2, 100, 3) > 0
    assert _native.time_peak("peak_f32__generic", 2, 1000, 3) > 0
    assert _native.time_read("read__generic", 8192, 2, 10, 3) > 0


# ---- command --------------------------------------------------------------------------------------------------------

def test_devices_shows_limits(pw, home, monkeypatch):
    monkeypatch.setattr(module, "measure", lambda machine, n, tell: {
        "peaks": {"peak_f32__x": {"dtype": "f32", "per_second": 16e9 * n}}, "reads": dict.fromkeys(LEVELS, 8e9),
        "barrier_ns": 120.0})
    shown = pw("devices", "--limits", "--json").json
    assert shown["threads"]["1"]["peaks"]["peak_f32__x"]["per_second"] == 16e9
    assert [f.name for f in home.iterdir()] == [f"limits-{shown['host']}.json"]
    text = pw("devices", "--limits")
    assert text.code == 0 and "16.0 Gop/s" in text.out and "8.00 GB/s" in text.out and "120 ns" in text.out
