"""Every native routine in every variant on every case, at every tier that this machine can run.

One process per tier (a tier is fixed when a process starts). A kernel that leaves its memory ends its process: that is
the failure of the check it was at, and the next process goes on behind it.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
from mmap import PAGESIZE
from tempfile import TemporaryFile

import numpy as np
import pytest
from native_helpers import side_by_side

from pathweave.net.format import Format
from pathweave.testing import conformance
from pathweave.testing.guard import Guarded
from pathweave.testing.layouts import lay_out, logical

UNITS = ("avxvnni", "vnni", "bf16", "fp16", "amx")
TIERS = ("generic", "avx2", "avx512", *UNITS, "avx512-emulated", *(f"{unit}-emulated" for unit in UNITS))
MAX_CRASHES = 20
HANG = 120  # seconds; a check takes a few at most


def found_tiers() -> list[str]:
    from pathweave.runtime.devices import cpu_info
    info = cpu_info()
    return [t for t in info["compiled"] if t in info["found"]]


def every(tier: str) -> int:
    """Of how many checks one is made without --long: of three at the machine's own best tier and at its units, of seven at
    the others. Both meet all numbers of threads."""
    own = [t for t in found_tiers() if not t.endswith("-emulated")]
    best = [t for t in own if not conformance.unit_of(t)][-1]
    return 3 if tier == best or tier in own and conformance.unit_of(tier) else 7


def printed(command: list[str], environment: dict[str, str]) -> tuple[list[str], int, str]:
    """Lines that a process prints, its exit code and the end of its errors. It is killed when it prints nothing for HANG
    seconds: as many lines as there are take as long as this machine needs."""
    with TemporaryFile("w+") as output, TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        code, size, said = None, -1, ""
        while code is None:
            try:
                code = process.wait(HANG)
            except subprocess.TimeoutExpired:
                if (grown := os.fstat(output.fileno()).st_size) == size:
                    process.kill()
                    said = f"nothing was printed for {HANG} s"
                size = grown
        for file in (output, errors):
            file.seek(0)
        return output.read().splitlines(), code, said or errors.read()[-2000:]


def run_tier(tier: str, every: int) -> tuple[list[dict], list[str]]:
    """Results of the checks at a tier, and the commands that repeat those that ended their process."""
    results, crashes, start = [], [], 0
    # Fresh memory, packed constants and arenas among it, holds huge numbers, not zeros, whatever its size.
    environment = {**os.environ, "PATHWEAVE_ISA": tier, "MALLOC_PERTURB_": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}
    while len(crashes) < MAX_CRASHES:
        text, code, said = printed([sys.executable, "-m", "pathweave.testing", "--json", "--isa", tier,
                                    "--start", str(start), "--every", str(every)], environment)
        lines = [json.loads(line) for line in text if line.endswith("}")]
        results += [line for line in lines if "failure" in line]
        if code in (0, 1, 2):
            break
        begun = [line for line in lines if "start" in line]
        if not begun:
            pytest.fail(f"no check could be begun at {tier}: {said}")
        crashes.append(f"{begun[-1]['repeat']}\n    the process ended with {code}: {said[-300:]}")
        start = begun[-1]["start"]
    return results, crashes


@pytest.fixture(scope="module")
def run_of(request):
    yield from side_by_side(request, lambda tier: run_tier(tier, 1 if request.config.getoption("--long") else every(tier))
                            if tier in found_tiers() else None)


@pytest.mark.parametrize("tier", TIERS)
def test_every_routine(tier, run_of, capsys):
    found = run_of(tier=tier)
    if found is None:
        pytest.skip(f"this machine or build has no {tier}")
    everything, crashes = found
    results = [r for r in everything if not r["left_out"]]
    worst: dict[str, tuple[float, str]] = {}
    for r in results:
        worst[r["routine"]] = max(worst.get(r["routine"], (0.0, "")), (r["error"], r["case"]))
    with capsys.disabled():
        print(f"\n{tier}: {len(results)} checks of {len(worst)} routines; worst relative errors")
        if len(results) < len(everything):
            print(f"  ({len(everything) - len(results)} left out: they run on no micro-kernel of {conformance.unit_of(tier)}, "
                  "but on those of avx512 and below, whose tiers they are checked at)")
        for routine, (error, case) in sorted(worst.items()):
            if error:
                print(f"  {routine:44s} {error:9.3g}  {case[:60]}")
    failures = crashes + [f"{r['repeat']}\n    {r['failure']}" for r in results if r["failure"]]
    assert not failures, f"{len(failures)} checks failed at {tier}:\n" + "\n".join(failures[:40])
    assert len(results) > (500 if conformance.unit_of(tier) else 1000)
    assert {r["threads"] for r in results} == {1, 2, 3, 5, 16}


def test_a_unit_leaves_out_what_does_not_run_on_it():
    assert [conformance.unit_of(t) for t in ("", "generic", "avx2", "avx512", "avx512-emulated", "vnni", "amx-emulated")] == \
        ["", "", "", "", "", "vnni", "amx"]
    from pathweave.runtime.native import native
    subject = subject_of("dense 4x128,1000x128,1000")
    checks = [(check, card) for check, card in conformance.checks_of(subject, threads=(1,))
              if check.routine in ("dense/gemm:f32:plain:cpu", "dense/gemm:u8:plain:cpu")]
    assert len({check.routine for check, _ in checks}) == 2
    for check, card in checks:
        tier = check.variant.split("__")[1].split("+")[0]
        assert not conformance.perform(subject, check, card, tier).left_out
        left = conformance.perform(subject, check, card, "another")
        assert left.left_out and not left.failure
        problem = subject.problem(1)
        constants = [(a if c else None, 0) for a, c in zip(subject.arrays, problem.constant)]
        scales = subject.scales if ":u8:" in check.routine else []
        assert check.variant.split("+")[0] in native().prepare(problem.text, check.routine, check.variant, constants,
                                                               scales).ukernels


def test_every_routine_has_a_case():
    """A routine that no case reaches is not tested: each must accept at least one."""
    from pathweave.runtime.native import native
    reached = {check.routine for subject in conformance.subjects() for check, _ in
               conformance.checks_of(subject, threads=(1,))}
    missing = [card["id"] for card in native().routines() if card["device"] == "cpu" and not card["unavailable"]
               and card["id"] not in reached]
    assert not missing, f"no case is accepted by {', '.join(missing)}; add one to testing/cases"


def test_a_check_that_hangs_is_ended(monkeypatch):
    monkeypatch.setitem(globals(), "HANG", 2)
    slow = "import time; [(print(i, flush=True), time.sleep(.5)) for i in range(8)]"
    assert printed([sys.executable, "-c", slow], dict(os.environ)) == ([str(i) for i in range(8)], 0, "")
    hangs = "import time; print('begun', flush=True); time.sleep(600)"
    assert printed([sys.executable, "-c", hangs], dict(os.environ)) == (["begun"], -9, "nothing was printed for 2 s")


# ---- the suite itself must notice ----

def subject_of(name: str) -> conformance.Subject:
    return next(conformance.subjects(name))


class WithWorkspace:
    """A kernel that does `body(ins, outs, workspace)`; `beyond` reaches the bytes behind the workspace."""

    host_memory = True

    def __init__(self, body, size: int):
        self.body, self.workspace_bytes = body, size

    def run(self, ins, outs, workspace, threads, apart=False):
        assert workspace.ctypes.data % 64 == 0 and workspace.size == self.workspace_bytes
        self.body(ins, outs, workspace)


def wrong(body, workspace: int = 0):
    """What the suite says about a kernel that does `body` for relu, with a workspace of that many bytes or without."""
    from pathweave.runtime.native import native
    case = next(c for c in conformance.cases("relu") if len(c.inputs[0].shape) == 2 and not c.values)
    subject = subject_of(case.name)
    spec = case.inputs[0]
    port = [("f32", spec.shape)]
    card = {"share": [], "reuse": [], "accuracy": "strict"}
    form = [Format("f32", "plain")]
    kernel = WithWorkspace(body, workspace) if workspace else native().python_kernel(body, port, port)
    wiring = conformance._Wiring(subject.problem(1), [spec], form, form, kernel, card, 1)
    results, failure = conformance._runs(wiring, [lay_out(subject.arrays[0], "plain")])
    return failure or conformance.relative_error(results[0], subject.wanted[0])


def relu(ins, outs):
    np.maximum(ins[0], 0, out=outs[0])


def forgets_one(ins, outs):
    relu(ins, outs)
    outs[0].reshape(-1)[-1] = np.nan


def test_it_accepts_what_is_right():
    assert wrong(relu) == 0


def test_it_notices_what_is_not_written():
    assert wrong(lambda ins, outs: None) == np.inf
    assert wrong(forgets_one) == np.inf


def test_it_notices_a_second_run_that_differs():
    calls = []

    def drifts(ins, outs):
        calls.append(1)
        outs[0][...] = np.maximum(ins[0], 0) + np.float32(len(calls) * 1e-3)
    assert wrong(drifts) == "a second run gave another result"


def test_it_notices_a_workspace_that_is_read_before_it_is_written():
    def adds_old(ins, outs, workspace):
        relu(ins, outs)
        outs[0].reshape(-1)[0] += workspace[:4].view(np.float32)[0]

    def writes_first(ins, outs, workspace):
        workspace[:4].view(np.float32)[0] = 0
        adds_old(ins, outs, workspace)
    assert wrong(adds_old, 64) == np.inf
    assert wrong(writes_first, 64) == 0


@pytest.mark.parametrize("size", [64, 60])
@pytest.mark.parametrize("at", [-1, 0, 1])
def test_it_notices_a_write_beside_the_workspace(size, at):
    def writes(ins, outs, workspace):
        relu(ins, outs)
        first = workspace.ctypes.data
        target = {-1: first - 1, 0: first, 1: first + size}[at]
        # Not into the forbidden page: it would end this process.
        if not (at == -1 and first % PAGESIZE == 0) and not (at == 1 and target % PAGESIZE == 0):
            ctypes.c_uint8.from_address(target).value = 0
    assert wrong(writes, size) == (0 if at == 0 else f"writes beside its workspace of {size} bytes")


def small_check(threads: int, routine: str = "dense/gemm:f32:plain:cpu"):
    subject = subject_of("dense 4x128,1000x128,1000")
    return subject, *next(found for found in conformance.checks_of(subject, routine, threads=(threads,)))


@pytest.mark.parametrize("threads", [2, 3, 16])
def test_it_notices_results_that_depend_on_the_number_of_threads(threads):
    subject, check, card = small_check(threads)
    assert conformance.perform(subject, check, card).failure == ""
    key = check.routine, check.variant
    subject.first[key] = [np.nextafter(r, np.float32(np.inf)) for r in subject.first[key]]
    assert conformance.perform(subject, check, card).failure == \
        ("the result depends on the number of threads" if threads == 2 else "the result in a session is another")


@pytest.mark.parametrize("threads", [3, 16])
def test_a_check_with_many_threads_alone_is_compared_with_one_thread(threads):
    subject, check, card = small_check(threads)
    assert conformance.perform(subject, check, card).failure == ""
    assert conformance.relative_error(subject.first[check.routine, check.variant][0].reshape(4, 1000),
                                      subject.wanted[0]) < 1e-5


@pytest.mark.parametrize("at_end", [True, False])
def test_constants_touch_a_forbidden_page(at_end):
    subject = subject_of("dense 4x128,1000x128,1000")
    assert [g is not None for g in subject.constants(at_end)] == [False, True, True]
    for g, array in zip(subject.constants(at_end)[1:], subject.arrays[1:]):
        start = g.array.ctypes.data
        assert (start + g.array.nbytes if at_end else start) % PAGESIZE == 0 and np.array_equal(g.array, array)


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
def test_a_page_behind_what_the_library_packs_is_forbidden():
    code = """if True:
        import ctypes, numpy as np
        from pathweave.runtime.native import native
        from pathweave.testing.guard import fence
        text = "dense in=f32:4x128,const:f32:1000x128 out=f32:4x1000 threads=1"
        card = next(c for c in native().candidates(text) if c["id"] == "dense/gemm:f32:plain:cpu")
        with fence():
            kernel = native().prepare(text, card["id"], card["variants"][0], [(None, 0), (np.ones((1000, 128), "f4"), 7)])
        packed = kernel.packings[0][2]
        end = packed.ctypes.data + -(-packed.nbytes // 64) * 64
        print(ctypes.c_char.from_address(end - 1).value, flush=True)
        ctypes.c_char.from_address(end).value"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode < 0 and done.stdout, done.stderr


def test_a_kernel_runs_on_a_workspace_that_is_handed_over():
    from pathweave.runtime.native import native
    subject = next(s for s in conformance.subjects() for _, card in conformance.checks_of(s, threads=(1,))
                   if card["id"] == "dense/gemm:f32:plain:cpu")
    problem = subject.problem(1)
    constants = [(a if c else None, 0) for a, c in zip(subject.arrays, problem.constant)]
    card = next(c for c in native().candidates(problem.text) if c["id"] == "dense/gemm:f32:plain:cpu")
    kernel = native().prepare(problem.text, card["id"], card["variants"][0], constants)
    ins = [a for a, c in zip(subject.arrays, problem.constant) if a is not None and not c]
    outs = [np.full(s.shape, np.nan, np.float32) for s in problem.outputs]
    room = Guarded((kernel.workspace_bytes,), np.uint8, True, align=64).array
    assert kernel.host_memory and kernel.workspace_bytes > 0
    kernel.run(ins, outs, room, 1)
    assert conformance.relative_error(outs[0], subject.wanted[0]) < 1e-5
    for arguments, message in [((ins, outs, room[:-1], 1), "workspace: expected"), ((ins, outs, room[1:], 1), "workspace"),
                               (([], outs, room, 1), "expected 1 input arrays"), ((ins, outs, room, 0), "threads"),
                               ((ins, [outs[0][:0]], room, 1), "output 0: expected")]:
        with pytest.raises(ValueError, match=message):
            kernel.run(*arguments)


@pytest.mark.parametrize("at_end", [True, False])
@pytest.mark.parametrize("shape, dtype", [((3, 5), "float32"), ((), "float32"), ((7,), "int8"), ((1024,), "float32")])
def test_guards(at_end, shape, dtype):
    g = Guarded(shape, dtype, at_end)
    assert g.array.shape == shape and g.intact()
    assert g.array.tobytes() == b"\xff" * g.array.nbytes
    g.array[...] = 1
    assert g.intact()
    if g.array.nbytes % 4096:  # a byte beside the array, on the side without the forbidden page
        ctypes.memset(g.array.ctypes.data + (-1 if at_end else g.array.nbytes), 0, 1)
        assert not g.intact()


@pytest.mark.skipif(os.name != "posix", reason="needs mprotect")
@pytest.mark.parametrize("at_end", [True, False])
def test_the_forbidden_page_is_forbidden(at_end):
    code = f"""if True:
        import ctypes
        from pathweave.testing.guard import Guarded
        g = Guarded((5,), "float32", {at_end})
        address = g.array.ctypes.data
        print(ctypes.c_char.from_address(address + ({at_end} and 19)).value)
        ctypes.c_char.from_address(address + (20 if {at_end} else -1)).value"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode < 0 and done.stdout, done.stderr


@pytest.mark.parametrize("layout", ["nchw", "nhwc", "nchw16c"])
def test_layouts_by_their_definition(layout):
    """Element (n, c, h, w) lies where DESIGN says."""
    n, c, h, w = shape = (2, 32, 3, 5)
    value = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    flat = lay_out(value, layout).reshape(-1)
    for i, j, k, m in [(0, 0, 0, 0), (1, 17, 2, 4), (0, 31, 1, 3), (1, 15, 0, 1), (0, 16, 2, 0)]:
        at = {"nchw": ((i * c + j) * h + k) * w + m, "nhwc": ((i * h + k) * w + m) * c + j,
              "nchw16c": (((i * (c // 16) + j // 16) * h + k) * w + m) * 16 + j % 16}[layout]
        assert flat[at] == value[i, j, k, m]
    assert np.array_equal(logical(flat, layout, shape), value)


def test_a_failure_can_be_repeated():
    """The printed command carries out that one check."""
    subject = subject_of(conformance.cases("relu")[0].name)
    check, _ = next(conformance.checks_of(subject, threads=(2,)))
    import shlex
    words = shlex.split(check.repeat("generic"))
    assert words[:3] == ["python", "-m", "pathweave.testing"]
    # the variant of another tier does not exist under a cap: repeat it as this process sees it
    done = subprocess.run([sys.executable, *shlex.split(check.repeat(""))[1:]], capture_output=True, text=True)
    assert done.returncode == 0 and "1 check, 0 failed" in done.stdout, done.stdout + done.stderr
    nothing = subprocess.run([sys.executable, "-m", "pathweave.testing", "--case", "no such case"], capture_output=True)
    assert nothing.returncode == 2


@pytest.mark.parametrize("at_end", [False, True])
def test_guarded_memory_is_used_again_only_when_no_view_is_left(at_end):
    def address(array) -> int:
        return array.__array_interface__["data"][0] // 4096
    view = Guarded((7, 900), np.float32, at_end).array[3:5, 1:]
    view[...] = 5.0
    others = [Guarded((7, 900), np.float32, at_end) for _ in range(3)]
    assert (view == 5.0).all() and all(np.isnan(g.array).all() and g.intact() for g in others)
    before = {address(g.array) for g in others}
    assert len(before) == 3
    del others, view
    again = [Guarded((7, 900), np.float32, at_end) for _ in range(4)]
    assert before <= {address(g.array) for g in again} and all(np.isnan(g.array).all() and g.intact() for g in again)
