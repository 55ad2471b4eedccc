#!/usr/bin/env python3
"""Build the core with sanitizers and run with them what reads and writes memory: one line per stage, then every report.

    python tools/sanitize.py [--part ci] [--only address|thread] [--match WORDS] [--jobs N] [--seconds N] [--list]

address: AddressSanitizer with UndefinedBehaviorSanitizer, over the conformance suite at generic and avx2, and the tests of
runtime, tuner, importers and plugins. thread: ThreadSanitizer, over sessions, runtime, store and plugins. What is
instrumented, and what is left out, stands in cmake/sanitize.cmake and tests/sanitizers/. Builds and reports lie in
build-sanitize/. Needs what the extra `sanitize` installs, and GCC's sanitizers.

Tests that fail run once more alone, and are named. With --seconds everything ends after that time: what was cut off or not
begun is named, and what it reported until then counts. Exit code 0: no report and no stage failed; 1: some did; 2: nothing
could be run.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILDS = ROOT / "build-sanitize"
LISTS = ROOT / "tests" / "sanitizers"

#: Leaks are not looked for: the interpreter itself frees little of what it has when it ends.
COMMON = "symbolize=1:handle_abort=0:exitcode=66:allocator_may_return_null=1"
OPTIONS = {
    "address": {"ASAN_OPTIONS": f"{COMMON}:detect_leaks=0:max_malloc_fill_size=4096:"
                                "malloc_fill_byte=254",
                "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=0"},
    "thread": {"TSAN_OPTIONS": f"{COMMON}:die_after_fork=0:ignore_noninstrumented_modules=1:report_signal_unsafe=0"},
}
#: Checks of undefined behaviour that the short run leaves out. With them the build takes twice as long; what they find crashes
#: under AddressSanitizer too, or is a load that this processor takes.
FEWER_CHECKS = "null,alignment,object-size,vptr"
#: To be there from the start; the sanitizers look for what throws when they are loaded.
LIBRARIES = {"address": ["libasan.so", "libstdc++.so.6"], "thread": ["libtsan.so", "libstdc++.so.6"]}
REPORT = re.compile(r"(ERROR: AddressSanitizer:? .*|\w+Sanitizer: CHECK failed.*|.*: runtime error: .*|"
                    r"WARNING: ThreadSanitizer: .*|FATAL: ThreadSanitizer.*|ERROR: ThreadSanitizer:? .*)")
OURS = re.compile(r"(?:native|tests)/[\w/.-]+:\d+")

#: What each must report, as a library that Python loads: (flags, source, words of the reports).
PROOFS = {
    "address": (["-fsanitize=address,undefined", "-static-libubsan", "-Wl,--exclude-libs,libubsan.a"],
                'extern "C" int wrong(int n) {\n  int* a = new int[4];\n  volatile int shift = 1 << (n + 31);\n'
                "  int read = a[3 + n];\n  delete[] a;\n  return shift ^ read;\n}\n",
                ["heap-buffer-overflow", "shift exponent 32"]),
    "thread": (["-fsanitize=thread"],
               "#include <thread>\nint shared;\nextern \"C\" int wrong(int n) {\n"
               "  std::thread a([=] { shared += n; }), b([=] { shared -= n; });\n  a.join(), b.join();\n  return shared;\n}\n",
               ["data race"]),
}


class OutOfTime(Exception):
    """What ran was ended, or did not begin, since the time was up."""


def carry_out(command: list[str], until: float, **options: Any) -> int:
    """The exit code of a command. Ends it and its children, and raises OutOfTime, when `time.monotonic()` reaches `until`."""
    if time.monotonic() >= until:
        raise OutOfTime
    process = subprocess.Popen(command, stderr=subprocess.STDOUT, start_new_session=True, **options)
    try:
        return process.wait(None if until == math.inf else until - time.monotonic())
    except subprocess.TimeoutExpired:
        raise OutOfTime from None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@dataclass
class Stage:
    """A command under a sanitizer. `part`: "ci" where the short run has it too; `short`: its arguments there."""

    sanitizer: str
    name: str
    command: list[str]
    tier: str = "avx2"
    part: str = ""
    short: list[str] = field(default_factory=list)
    seconds: float = 0.0
    reports: Counter = field(default_factory=Counter)
    failed: str = ""
    cut: bool = False

    @property
    def slug(self) -> str:
        return re.sub(r"\W+", "-", f"{self.sanitizer} {self.name}")


def tests(sanitizer: str, *paths: str, part: str = "", tier: str = "avx2", name: str = "") -> Stage:
    return Stage(sanitizer, name or " ".join(p.removeprefix("tests/") for p in paths), ["-m", "pytest", "-q",
                 *deselected(sanitizer), *paths], tier, part)


def conformance(tier: str) -> Stage:
    return Stage("address", f"conformance, {tier}", ["-m", "pathweave.testing"], tier, "ci", ["--every", "7"])


def stages() -> list[Stage]:
    """Everything, the longest first."""
    return [
        conformance("generic"), conformance("avx2"),
        tests("address", "tests/tune"),
        tests("address", "tests/runtime", part="ci"),
        tests("address", *(f"tests/native/test_{n}.py" for n in ("runtime", "plugin", "queues", "place", "reads_first", "sizes",
                                                                  "flow", "flow_devices")), part="ci"),
        tests("address", *(f"tests/native/test_{n}.py" for n in ("quantised_oracle", "vector_routines"))),
        tests("address", "tests/importers/test_fuzz.py"),
        tests("thread", "tests/runtime", part="ci"),
        tests("thread", *(f"tests/native/test_{n}.py" for n in ("runtime", "plugin", "queues", "flow", "flow_devices")),
              part="ci"),
        tests("thread", "tests/unit/test_store.py"),
    ]


def left_out() -> list[tuple[str, str, str]]:
    """(sanitizer, test, reason) of every line of tests/sanitizers/left_out.txt."""
    lines = [line.split("|") for line in (LISTS / "left_out.txt").read_text().splitlines() if line and line[0] != "#"]
    return [(a.strip(), b.strip(), c.strip()) for a, b, c in lines]


def deselected(sanitizer: str) -> list[str]:
    return [f"--deselect={test}" for own, test, _ in left_out() if own == sanitizer]


# ---- building -------------------------------------------------------------------------------------------------------

def tool(name: str) -> str:
    """A program of this Python's environment, else of the system."""
    own = Path(sys.executable).parent / name
    found = str(own) if own.exists() else shutil.which(name)
    if not found:
        sys.exit(f"sanitize: there is no {name}; install it: {sys.executable} -m pip install '.[sanitize]'")
    return found


def build(sanitizer: str, short: bool, until: float) -> Path:
    """The folder to be put in front of PYTHONPATH: the package with an instrumented core. `short`: without FEWER_CHECKS.
    Raises OutOfTime at `until`."""
    folder = BUILDS / sanitizer
    folder.mkdir(parents=True, exist_ok=True)
    ninja = tool("ninja")
    commands = [[tool("cmake"), "-S", str(ROOT), "-B", str(folder), "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}",
                 "-DCMAKE_BUILD_TYPE=Debug", f"-DPATHWEAVE_SANITIZE={sanitizer}", "-DPATHWEAVE_EMULATED_TIERS=OFF",
                 "-DPATHWEAVE_TIERS=avx2", f"-DPATHWEAVE_SANITIZE_WITHOUT={FEWER_CHECKS if short else ''}",
                 f"-DPython_EXECUTABLE={sys.executable}",
                 *shlex.split(os.environ.get("CMAKE_ARGS", ""))], [ninja, "-C", str(folder)]]
    log = folder / "build.log"
    for command in commands:
        with open(log, "w") as file:
            code = carry_out(command, until, stdout=file)
        if code != 0:
            sys.exit(f"sanitize: {' '.join(command)} failed:\n{log.read_text(errors='replace')[-4000:]}")
    package = folder / "package" / "pathweave"
    shutil.rmtree(package, ignore_errors=True)
    package.mkdir(parents=True)
    for path in [*(p for p in (ROOT / "src" / "pathweave").iterdir() if p.suffix != ".so"), *folder.glob("_native*.so")]:
        (package / path.name).symlink_to(path)
    return package.parent


def environment(sanitizer: str, package: Path) -> dict[str, str]:
    """Variables of a process with an instrumented core. One thread for the libraries that are not ours."""
    asked = [[os.environ.get("CXX") or "g++", f"-print-file-name={library}"] for library in LIBRARIES[sanitizer]]
    paths = [subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() for words in asked]
    return {**os.environ, "LD_PRELOAD": " ".join(paths), "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **OPTIONS[sanitizer]}


def starter(sanitizer: str, variables: dict[str, str], code: str = "import pathweave._native") -> list[str] | str:
    """What a command is begun with; or why the sanitizer does not run on this system."""
    said = ""
    for words in ([], ["setarch", "-R"]):  # address space layouts of newer kernels are none that older libraries know
        try:
            done = subprocess.run([*words, sys.executable, "-c", code], capture_output=True, text=True, env=variables,
                                  timeout=120)
        except OSError as e:
            said = str(e)
            continue
        if done.returncode == 0:
            return words
        said = (done.stderr.strip().splitlines() or [f"code {done.returncode}"])[-1]
    return said


def unproved(sanitizer: str, words: list[str], variables: dict[str, str]) -> list[str]:
    """Which of its proofs a sanitizer does not report here: faults in a library of a few lines, loaded as the core is."""
    flags, source, expected = PROOFS[sanitizer]
    folder = BUILDS / "reports" / f"{sanitizer}-proof"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "wrong.cpp").write_text(source)
    made = subprocess.run([os.environ.get("CXX") or "g++", "-g", "-shared", "-fPIC", *flags, "-o", folder / "wrong.so",
                           folder / "wrong.cpp"], capture_output=True, text=True)
    if made.returncode != 0:
        return [made.stderr[-500:]]
    logged = {name: f"{value}:log_path={folder / name}" for name, value in OPTIONS[sanitizer].items()}
    code = f"import ctypes; ctypes.CDLL({str(folder / 'wrong.so')!r}).wrong(1)"
    subprocess.run([*words, sys.executable, "-c", code], env={**variables, **logged}, capture_output=True, timeout=120)
    said = "".join(path.read_text(errors="replace") for path in folder.glob("*SAN_OPTIONS.*"))
    return [report for report in expected if not any(report in found for found in found_in(said))]


# ---- running --------------------------------------------------------------------------------------------------------

def run(stage: Stage, words: list[str], variables: dict[str, str], short: bool, until: float) -> None:
    """Runs a stage, until a time at most, and collects what it and its children reported."""
    folder = BUILDS / "reports" / stage.slug
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    variables = {**variables, "PATHWEAVE_ISA": stage.tier, "PATHWEAVE_HOME": str(folder / "home")}
    for name in OPTIONS[stage.sanitizer]:
        kind = name.split("_")[0].lower()
        variables[name] += f":log_path={folder / kind}"
        listed = LISTS / f"{kind}.supp"
        if listed.exists():
            variables[name] += f":suppressions={listed}"
    begin, output = time.monotonic(), folder / "output"

    def once(*more: str) -> int:
        with open(output, "a") as file:
            return carry_out([*words, sys.executable, *stage.command, *more], until, stdout=file, cwd=ROOT,
                             env={**variables, "PYTEST_ADDOPTS": f"-o cache_dir={folder / 'cache'}"})
    code, text, again = 0, "", []
    try:
        code = once(*(stage.short if short else []))
        text = output.read_text(errors="replace")
        again = failed_tests(folder / "cache") if code == 1 else []
        if again:
            code = once("--last-failed")
    except OutOfTime:
        stage.cut = True
        text = output.read_text(errors="replace") if output.exists() else "not begun"
    stage.seconds = time.monotonic() - begin
    for path in folder.glob("*san.*"):
        stage.reports += found_in(path.read_text(errors="replace"))
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    stage.failed = "" if code == 0 or stage.cut else f"exit code {code}"
    result = stage.failed or ("cut off" if stage.cut else "passed")
    alone = "not run again alone" if stage.cut else "passed alone"
    print(f"{stage.sanitizer:8s} {stage.name:60s} {stage.seconds:6.0f} s  {stage.reports.total()} reports  {result}: "
          f"{lines[-1].strip('= ')}{''.join(f'; {alone}: {test}' for test in again if not stage.failed)}", flush=True)


def failed_tests(cache: Path) -> list[str]:
    """The tests that failed in pytest's last run. They run once more alone: instrumented code is several times as slow, and
    beside another stage a test may miss a time that it allows itself. Reports count whenever they come."""
    path = cache / "v" / "cache" / "lastfailed"
    return sorted(json.loads(path.read_text())) if path.exists() else []


def found_in(text: str) -> Counter:
    """Reports of a log: the first line of each with the first place of ours below it."""
    reports: Counter = Counter()
    starts = [m.start() for m in REPORT.finditer(text)]
    for begin, end in zip(starts, [*starts[1:], len(text)]):
        part = text[begin:end]
        place = OURS.search(part)
        head = re.sub(r"==\d+==|0x[0-9a-f]+|\(pid=\d+\)|pc .*", "", part.splitlines()[0]).strip()
        reports[f"{head}{f'  at {place[0]}' if place and place[0] not in head else ''}"] += 1
    return reports


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["all", "ci"], default="all", help="ci: what ten minutes on two cores allow")
    parser.add_argument("--only", choices=list(OPTIONS), help="one of the sanitizers")
    parser.add_argument("--match", default="", help="only stages whose name has this pattern")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="stages at a time")
    parser.add_argument("--list", action="store_true", help="print the stages and what is left out, run nothing")
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after that time")
    arguments = parser.parse_args()
    chosen = [s for s in stages() if (arguments.part == "all" or s.part == arguments.part) and
              arguments.only in (None, s.sanitizer) and re.search(arguments.match, s.name)]
    if arguments.list:
        for s in chosen:
            print(f"{s.sanitizer:8s} {s.name}: {' '.join(s.command + (s.short if arguments.part == 'ci' else []))}")
    for sanitizer, test, reason in left_out():
        print(f"left out of {sanitizer}: {test}: {reason}")
    if arguments.list:
        return 0
    begin = time.monotonic()
    until, short = begin + arguments.seconds, arguments.part == "ci"
    ready: list[tuple[Stage, list[str], dict[str, str]]] = []
    late: list[str] = []
    for sanitizer in dict.fromkeys(s.sanitizer for s in chosen):
        start = time.monotonic()
        try:
            variables = environment(sanitizer, build(sanitizer, short, until))
        except OutOfTime:
            late.append(sanitizer)
            print(f"{sanitizer:8s} {'build':60s} {time.monotonic() - start:6.0f} s  cut off", flush=True)
            continue
        words = starter(sanitizer, variables)
        print(f"{sanitizer:8s} {'build':60s} {time.monotonic() - start:6.0f} s", flush=True)
        if isinstance(words, str):
            print(f"{sanitizer}: does not run on this system: {words}")
            continue
        if missing := unproved(sanitizer, words, variables):
            print(f"sanitize: {sanitizer} does not report what it must: {', '.join(missing)}")
            return 1
        jobs = [(s, words, variables) for s in chosen if s.sanitizer == sanitizer]
        with ThreadPoolExecutor(max(1, arguments.jobs)) as pool:
            list(pool.map(lambda job: run(*job, short=short, until=until), jobs))
        ready += jobs
    if not ready:
        print("sanitize: nothing could be run" + (f" in {arguments.seconds:.0f} s" if late else ""))
        return 0 if late else 2
    everything = sum((s.reports for s, *_ in ready), Counter())
    failed = [s for s, *_ in ready if s.failed]
    for report, times in everything.most_common():
        print(f"{times:5d} x {report}")
    for s in failed:
        output = BUILDS / "reports" / s.slug / "output"
        print(f"failed: {s.sanitizer} {s.name}: the end of {output.relative_to(ROOT)}:")
        print("\n".join(f"    {line}" for line in output.read_text(errors="replace").splitlines()[-60:]))
    cut = [*late, *(f"{s.sanitizer} {s.name}" for s, *_ in ready if s.cut)]
    print(f"sanitize: {len(ready)} stages in {time.monotonic() - begin:.0f} s, {everything.total()} reports, "
          f"{len(failed)} stages failed" + (f"; the time was up for: {', '.join(cut)}" if cut else ""))
    return 1 if failed or everything else 0


if __name__ == "__main__":
    sys.exit(main())
