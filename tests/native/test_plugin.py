"""The device door: the null device as a real plugin library, opened, absent, failing, crossed; each in its own process."""

from __future__ import annotations

import ctypes
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from native_helpers import (
    ROOT,
    accepted,
    adapt,
    build_null_device,
    bytes_of,
    compiler,
    failures,
    isolated,
    native_step,
    null_library,
    problem,
)

import pathweave as pw
from pathweave import _native, errors
from pathweave.net.scales import UNKNOWN, Scale

SHAPE = (1, 16, 6, 5)
BYTES = 4 * 16 * 6 * 5
HOST, DEVICE = "f32:nchw:cpu", "f32:nchw:null0"


def open_null(path: str) -> ctypes.CDLL:
    """Opens the device; gives the library with the functions that script it."""
    devices = _native.open_plugin(path)
    assert all(d["available"] for d in devices), devices
    return null_library(path)


def crossing(threads: int = 2):
    """relu on the CPU, up, relu and add on the device, down, relu on the CPU: gives 0.5 where add wrote."""
    relu, add = problem("relu", [SHAPE], [SHAPE], threads), problem("add", [SHAPE, SHAPE], [SHAPE], threads)
    steps = [native_step(relu, [0], [1], "relu/vector:f32:nchw:cpu"),
             native_step(adapt(SHAPE, HOST, DEVICE), [1], [2], "adapt/upload"),
             native_step(relu, [2], [3], "relu/null:f32:nchw"),
             native_step(add, [3, 2], [4], "add/null:f32:nchw"),
             native_step(adapt(SHAPE, DEVICE, HOST), [4], [5], "adapt/download"),
             native_step(adapt(SHAPE, DEVICE, HOST), [3], [6], "adapt/download"),
             native_step(relu, [6], [7], "relu/vector:f32:nchw:cpu")]
    values = [(BYTES, "null0" if v in (2, 3, 4) else "cpu") for v in range(8)]
    return _native.Plan(values, steps, [0], [5, 7], threads)


def described(path: str, mode: str = "", count: int = 1) -> tuple[list[dict], list[dict]]:
    os.environ |= {"PW_NULL_MODE": mode, "PW_NULL_DEVICES": str(count), "PW_NULL_MEMORY": "1000000"}
    return _native.open_plugin(path), _native.devices()


def test_the_device_is_listed_with_all_that_it_says(null_device):
    (opened,), devices = isolated(described, null_device)
    assert [d["name"] for d in devices] == ["cpu", "null0"] and devices[1] == opened
    assert opened == {"name": "null0", "description": "no arithmetic, scripted clock", "available": True, "score": 10,
                      "reason": "", "clock": "scripted", "emulated": False, "host_memory": False, "threads_matter": False,
                      "identity": "null model 0, driver 1.0", "free_bytes": 1000000, "total_bytes": 1000000,
                      "capabilities": "scripted memory52", "path": null_device}
    assert devices[0]["identity"] == "" and devices[0]["threads_matter"] and devices[0]["free_bytes"] is None


def test_one_library_offers_several_devices(null_device):
    opened, devices = isolated(described, null_device, "", 3)
    assert [d["name"] for d in opened] == ["null0", "null1", "hosted"] and devices[1:] == opened
    assert all(d["available"] and d["path"] == null_device for d in opened)
    assert [d["host_memory"] for d in opened] == [False, False, True]
    assert [d["identity"] for d in opened] == ["null model 0, driver 1.0", "null model 1, driver 1.0", "team"]


def _one_absent(path):
    first, _ = described(path, "absent1", 2)
    again, devices = described(path, "", 2)
    return first, again, devices, described(path, "absent", 2)[0]


def test_one_device_of_a_library_may_be_absent_and_come_later(null_device):
    first, again, devices, last = isolated(_one_absent, null_device)
    assert [(d["name"], d["available"], d["reason"]) for d in first] == [
        ("null0", True, ""), ("null1", False, "no null hardware in this machine")]
    assert all(d["available"] for d in again) and again == last
    assert [d["name"] for d in devices] == ["cpu", "null0", "null1"]


@pytest.mark.parametrize("mode, reason", [
    ("absent", "no null hardware in this machine"),
    ("open", "it cannot be opened: the null driver is too old"),
    ("abi", "it was built for ABI 3, this build speaks 2"),
    ("size", "its table has 16 bytes, expected at least"),
    ("refuse", "it refuses ABI 2"),
])
def test_an_absent_or_failing_device_is_listed_with_its_reason(null_device, mode, reason):
    (opened,), devices = isolated(described, null_device, mode)
    assert not opened["available"] and opened["reason"].startswith(reason) and opened["path"] == null_device
    assert devices[1:] == [opened]


def _opened_later(path):
    os.environ["PW_NULL_MODE"] = "absent"
    (first,) = _native.open_plugin(path)
    before = [c["device"] for c in _native.candidates(problem("relu", [SHAPE], [SHAPE]))]
    os.environ["PW_NULL_MODE"] = ""
    (second,), (third,) = _native.open_plugin(path), _native.open_plugin(path)
    after = [c["device"] for c in _native.candidates(problem("relu", [SHAPE], [SHAPE]))]
    return first, before, second, third, after, _native.devices()


def test_a_device_that_was_absent_is_tried_anew_and_an_open_one_is_handed_back(null_device):
    first, before, second, third, after, devices = isolated(_opened_later, null_device)
    assert not first["available"] and "null0" not in before
    assert second["available"] and second == third and "null0" in after
    assert len(devices) == 2


def _open_all(paths):
    return [d for p in paths for d in _native.open_plugin(p)], _native.devices()


@pytest.mark.parametrize("path", [5, None, "no text \ud800", b"no text \xff"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(errors.InputError, match="expected the path of a library"):
        pw.open_plugin(path)


def test_files_that_are_no_device_are_listed_with_their_reason(null_device, tmp_path):
    text = tmp_path / "text.so"
    text.write_text("not a library")
    empty = tmp_path / "empty.so"
    (tmp_path / "empty.c").write_text("int nothing_here;\n")
    subprocess.run([compiler("c"), "-shared", "-fPIC", "-o", str(empty), str(tmp_path / "empty.c")], check=True)
    old = tmp_path / "old.so"
    (tmp_path / "old.c").write_text("const void *pathweave_device(unsigned abi) { return (void *)(long)(abi == 1); }\n")
    subprocess.run([compiler("c"), "-shared", "-fPIC", "-o", str(old), str(tmp_path / "old.c")], check=True)
    other = tmp_path / "again"
    other.mkdir()
    paths = [str(tmp_path / "missing.so"), str(text), str(empty), str(tmp_path), null_device, build_null_device(other),
             str(old)]
    opened, devices = isolated(_open_all, paths)
    reasons = [d["reason"] for d in opened]
    assert reasons[0] == "there is no such file"
    assert reasons[1].startswith("it cannot be loaded: ") and reasons[3].startswith("it cannot be loaded: ")
    assert reasons[2] == "it exports no function pathweave_devices"
    assert reasons[4] == "" and reasons[5].startswith("a device named null0 is open already (from ")
    assert reasons[6] == "it was built for ABI 1, this build speaks 2"
    assert [d["available"] for d in devices] == [True, False, False, False, False, True, False, False]


def test_the_plugin_links_nothing_of_ours(null_device):
    symbols = subprocess.run(["nm", "-D", "--undefined-only", null_device], capture_output=True, text=True, check=True)
    assert "pw" not in symbols.stdout.lower() and "_Z" not in symbols.stdout


def test_the_header_is_plain_c_and_cpp(tmp_path):
    for language, standard in (("c", "-std=c11"), ("c++", "-std=c++11")):
        source = tmp_path / ("use.c" if language == "c" else "use.cpp")
        source.write_text('#include "pathweave/plugin.h"\nint main(void) { return sizeof(pw_device_table) == 0; }\n')
        subprocess.run([compiler(language), standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I",
                        str(ROOT / "include"), str(source)], check=True)


def _routines(path):
    open_null(path)
    return _native.routines(), _native.candidates(problem("sigmoid", [SHAPE], [SHAPE])), \
        _native.candidates(adapt(SHAPE, HOST, DEVICE)), _native.candidates(problem("relu", [SHAPE], [SHAPE])), \
        _native.candidates(problem("conv2", ["i8:1x1x1x1"], ["i8:1x1x1x1"]))


def test_its_routines_are_candidates_beside_ours(null_device):
    routines, sigmoid, up, relu, conv = isolated(_routines, null_device)
    cards = {r["id"]: r for r in routines}
    card = cards["sigmoid/null:f32:nchw:null0"]
    assert card["requires"] == "scripted+warp9" and card["device"] == "null0"
    assert card["unavailable"] == "requires warp9, which the device does not have"
    assert cards["relu/null:f32:nchw:null0"]["unavailable"] == ""
    declined = next(c for c in sigmoid if c["device"] == "null0")
    assert not declined["ok"] and declined["reason"] == card["unavailable"]
    chosen = [c for c in up if c["ok"]]
    assert [(c["id"], c["ins"], c["outs"]) for c in chosen] == [("adapt/upload:any:null0", [HOST], [DEVICE])]
    null = [c for c in relu if c["ok"] and c["device"] == "null0"]
    assert [(c["ins"], c["outs"], c["reuse"]) for c in null] == [
        ([f"f32:{layout}:null0"], [f"f32:{layout}:null0"], [(0, 0)]) for layout in ("nchw", "nhwc")]
    assert all(c["ok"] for c in relu if c["id"] == "relu/vector:f32:nchw:cpu")
    assert {c["reason"] for c in conv if c["device"] == "null0"} == {"only f32 values are held"}


def _cross(path):
    library = open_null(path)
    plan = crossing()
    session = plan.session()
    live = library.null_device_live_bytes()
    for seed in range(5):
        x = np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)
        filled, copied = (np.full(SHAPE, np.nan, np.float32) for _ in range(2))
        session.run([x], [filled, copied])
        assert (filled == 0.5).all()
        assert np.array_equal(copied, np.maximum(x, 0))
    placement = plan.placement
    del session, plan
    return live, library.null_device_live_bytes(), library.null_device_alive(), placement


def test_a_plan_crosses_devices(null_device):
    live, left, alive, placement = isolated(_cross, null_device)
    assert live >= 2 * BYTES and left == 0  # the session's memory on the device, and its return
    assert alive == 0  # no queue and no event is left
    assert placement[5] == (0, 0, "output") and {where for _, _, where in placement[2:5]} == {"arena"}


def _cross_in_threads(path):
    open_null(path)
    plan, wrong = crossing(), []

    def work(seed):
        session, rng = plan.session(), np.random.default_rng(seed)
        for _ in range(100):
            x = rng.standard_normal(SHAPE).astype(np.float32)
            filled, copied = (np.full(SHAPE, np.nan, np.float32) for _ in range(2))
            session.run([x], [filled, copied])
            if not ((filled == 0.5).all() and np.array_equal(copied, np.maximum(x, 0))):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return wrong


def test_sessions_cross_devices_from_several_threads(null_device):
    assert isolated(_cross_in_threads, null_device) == []


def _scripted(path, times):
    os.environ["PW_NULL_TIMES"] = times
    library = open_null(path)
    plan = crossing()
    x, y = np.zeros(SHAPE, np.float32), [np.zeros(SHAPE, np.float32) for _ in range(2)]
    session = plan.session()
    first = [session.run_timed([x], y).tolist() for _ in range(3)]
    library.null_device_set_time(b"add/null:f32:nchw:null0", b"1x16x6x5", 77)
    library.null_device_set_time(b"add/null:f32:nchw:null0", b"1x17x6x5", 99)
    return first, crossing().session().run_timed([x], y).tolist()


def test_run_timed_sees_the_scripted_clock_to_the_nanosecond(null_device, tmp_path):
    times = tmp_path / "times.txt"
    times.write_text("5000 relu/null:f32:nchw:null0\n123456789 add/null:f32:nchw:null0\n"
                     "250 adapt/upload:any:null0\n40 adapt/download:any:null0 1920\n")
    first, later = isolated(_scripted, null_device, str(times))
    for run in first:
        assert run[1:6] == [250, 5000, 123456789, 40, 40]
        assert 0 <= run[0] < 10**9 and 0 <= run[6] < 10**9  # the CPU's steps, by the wall
    assert later[1:6] == [250, 5000, 77, 40, 40]


def _failing(path):
    library = open_null(path)
    library.null_device_set_code(b"add/null:f32:nchw:null0", b"", 42)
    x = np.zeros(SHAPE, np.float32)
    messages = failures(crossing().session(), x, 2)
    library.null_device_clear()
    crossing().session().run([x], [np.zeros(SHAPE, np.float32) for _ in range(2)])
    return messages


def test_a_failing_kernel_stops_the_run_with_its_code(null_device):
    messages = isolated(_failing, null_device)
    assert messages == ["step 3 ('add/null:f32:nchw:null0') failed with code 42"] * 3


def _wrong_plans(path):
    open_null(path)
    up = adapt(SHAPE, HOST, DEVICE)
    step = native_step(up, [0], [1], "adapt/upload")
    messages = []
    for values, steps, outputs in (
            ([(BYTES, "cpu"), (BYTES, "cpu")], [step], [1]),  # the upload writes to the device
            ([(BYTES, "cpu"), (BYTES, "null0")], [step], [1])):  # a device's value is no output
        try:
            _native.Plan(values, steps, [0], outputs, 1)
        except ValueError as e:
            messages.append(str(e))
    try:
        _native.prepare(problem("relu", [SHAPE], [SHAPE]), "relu/null:f32:nchw:null0", "fast", [(None, 0)])
    except ValueError as e:
        messages.append(str(e))
    return messages


def _told(path):
    library = open_null(path)
    library.null_device_scale.restype, library.null_device_scales.restype = ctypes.c_double, ctypes.c_char_p
    text = problem("conv2", [SHAPE, f"const:f32:4x{SHAPE[1]}x1x1"], [(SHAPE[0], 4, *SHAPE[2:])], dilation="1,1", groups=1,
                   pad="0,0,0,0", stride="1,1")
    weights = np.ones((4, SHAPE[1], 1, 1), np.float32)
    found = []
    along = ((0.5, 0.25), (-3, 4), "i8", 1)
    for scales in ([(0.5, 7), (9.0, 9), (0.25, 255)], [], [along, (0, 0), (2.0, -7, "i32", None)],
                   [tuple(UNKNOWN), (0, 0), tuple(Scale(0.125, 9))]):
        _native.prepare(text, "conv2/null:f32:nchw:null0", "", [(None, 0), (weights, 1 << 40)], scales)
        found.append([(library.null_device_scale(i), library.null_device_zero_point(i), library.null_device_scales(i).decode())
                      for i in range(library.null_device_told())])
    return found


def test_scales_of_values_reach_a_plugin(null_device):
    """An entry per input, then per output; the scale of a constant is nothing."""
    (x, w, y), without, others, objects = isolated(_told, null_device)
    assert x == (0.5, 7, "u8 axis -1: 0.5 7") and y == (0.25, 255, "u8 axis -1: 0.25 255")
    assert np.isnan(w[0]) and w[1:] == (0, "")
    assert without[0] == without[2] == (0, 0, "")
    # Who knows one scale in u8 alone is told that there is none.
    assert others[0] == (0, 0, "i8 axis 1: 0.5 -3, 0.25 4") and others[2] == (0, 0, "i32 axis -1: 2 -7")
    assert objects[0] == (0, 0, "") and objects[2] == (0.125, 9, "u8 axis -1: 0.125 9")


@pytest.mark.parametrize("scale, said", [
    ((0.5,), "expected 2 or 4 entries, got 1"), ((0.5, 1, "u9", None), "element type 'u9'"),
    (((0.5, 0.5), (1,), "u8", 0), "as many zero points as scales, got axis 0, 2 and 1"),
    (((), (), "u8", 0), "got axis 0, 0 and 0"), (((0.5,), (1,), "u8", -1), "got axis -1")])
def test_scales_that_are_none_are_refused(scale, said):
    text = problem("relu", [SHAPE], [SHAPE])
    with pytest.raises(ValueError, match=said):
        _native.prepare(text, "relu/table:u8:nhwc:cpu", "", [(None, 0)], [scale, (0, 0)])


def test_routines_of_one_scale_say_so():
    text = problem("relu", [SHAPE], [SHAPE])
    for scale, said in ((((0.5, 0.25), (3, 4), "u8", 1), "of input 0: expected one for the whole value, got 2 along axis 1"),
                        ((0.5, 3, "i8", None), "scale of input 0: expected integers of type u8, got i8"),
                        ((0, 0), "scale of input 0 is not known; calibrate the model")):
        with pytest.raises(ValueError, match=said):
            _native.prepare(text, "relu/table:u8:nhwc:cpu", "", [(None, 0)], [scale, (1.0, 0)])


def test_values_and_kernels_of_different_devices_do_not_mix(null_device):
    messages = isolated(_wrong_plans, null_device)
    assert "bytes on null0, got value 1" in messages[0]
    assert "lies on null0; expected cpu" in messages[1]
    assert "variant 'fast': there is one variant, without a name" in messages[2]


def _waits(path):
    library = open_null(path)
    steps = [native_step(adapt(SHAPE, HOST, DEVICE), [0], [1], "adapt/upload"),
             native_step(adapt(SHAPE, DEVICE, "f32:nhwc:null0"), [1], [2], "adapt/relayout"),
             native_step(adapt(SHAPE, "f32:nhwc:null0", "f32:nhwc:cpu"), [2], [3], "adapt/download")]
    plan = _native.Plan([(BYTES, "cpu"), (BYTES, "null0"), (BYTES, "null0"), (BYTES, "cpu")], steps, [0], [3], 2)
    session, x, y = plan.session(), np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.float32)
    before = library.null_device_event_waits(), library.null_device_queue_waits()
    session.run([x], [y])
    right = bool((y == 1).all())
    after = library.null_device_event_waits(), library.null_device_queue_waits()
    return [a - b for a, b in zip(after, before)], right


def test_the_host_waits_at_the_end_of_a_run_alone_where_it_needs_nothing_before(null_device):
    waits, right = isolated(_waits, null_device)
    assert right
    assert waits == [0, 3]  # for no event; for the queues of copies, of work and of copies back


def test_the_header_is_part_of_the_package():
    installed = Path(_native.__file__).parent / "include" / "pathweave" / "plugin.h"
    cmake = (ROOT / "CMakeLists.txt").read_text()
    assert "install(FILES include/pathweave/plugin.h DESTINATION pathweave/include/pathweave)" in cmake
    assert not installed.exists() or installed.read_bytes() == (ROOT / "include/pathweave/plugin.h").read_bytes()


def test_the_cpu_comes_through_the_same_table():
    """Its routines answer by the same verbs; the class of a device is nothing that candidates() can see."""
    candidate = accepted(problem("relu", [SHAPE], [SHAPE]), "relu/vector:f32:nchw:cpu")
    assert candidate["device"] == "cpu" and candidate["ins"] == [HOST]
    steps = [native_step(problem("relu", [SHAPE], [SHAPE]), [0], [1], "relu/vector:f32:nchw:cpu")]
    plan = _native.Plan(bytes_of(SHAPE, SHAPE), steps, [0], [1], 1)
    x, y = np.full(SHAPE, -1, np.float32), np.full(SHAPE, np.nan, np.float32)
    plan.session().run([x], [y])
    assert (y == 0).all()
