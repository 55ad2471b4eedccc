"""The parent: hands cases to worker processes, watches their time, and keeps what it finds."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .worker import CASE, LOG

#: Seconds of CPU time that a case may take, and of wall time, which ends a deadlock only: machines are busy.
CPU_SECONDS, WALL_SECONDS = 8.0, 30.0
#: Seconds that a worker has to get ready.
START_SECONDS = 120.0
#: A worker is replaced after so many cases: caches grow, and findings shall not depend on thousands of cases before.
CASES_PER_WORKER = 3000
#: Cases kept of one finding, cases tried to make one smaller, and seconds for that.
KEPT, TRIES, SECONDS_TO_SHRINK = 2, 80, 15.0
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Finding:
    """What must not be. `kind`: crash, hang, memory, exception, wrong or message; `place`: where in the package;
    `files`: cases that show it; `alone`: whether the first does in a process of its own."""

    target: str
    kind: str
    error: str
    place: str
    text: str
    first: str
    count: int = 1
    files: list[str] = field(default_factory=list)
    alone: bool | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.target, self.kind, self.error, self.place


@dataclass
class Tally:
    """What came of the cases of one target. Seconds and bytes are the most that one case took."""

    cases: int = 0
    accepted: int = 0
    refused: Counter = field(default_factory=Counter)
    findings: int = 0
    seconds: float = 0.0
    largest_cpu: float = 0.0
    largest_memory: int = 0


class Worker:
    """A process that carries out cases."""

    def __init__(self, folder: Path, options: dict[str, Any]):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        own = {"PATHWEAVE_HOME": str(folder / "home"), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
               "MALLOC_ARENA_MAX": "2", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pathweave.testing.fuzz.worker", str(folder), json.dumps(options)]
        # In a session of its own: Ctrl-C is for the parent, and would be a finding of the case that the worker is at.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **own},
                                         start_new_session=True)
        assert self._process.stdin is not None and self._process.stdout is not None  # both are pipes
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._rest = b""
        self.carried_out = 0
        self.asked: Any = None
        self._begin(START_SECONDS, START_SECONDS)

    def _begin(self, cpu: float, wall: float) -> None:
        self._cpu, self._wall = self.cpu_seconds() + cpu, time.monotonic() + wall
        self._started = time.monotonic()

    @property
    def output(self) -> IO[bytes]:
        return self._stdout

    def cpu_seconds(self) -> float:
        """Of the process so far. Source: proc_pid_stat(5)."""
        try:
            words = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        return (int(words[11]) + int(words[12])) / _TICK

    def ask(self, what: dict[str, Any]) -> None:
        """Begin with a case; the answer will be read from `output`."""
        self.asked = what
        self._begin(CPU_SECONDS, WALL_SECONDS)
        with contextlib.suppress(BrokenPipeError):  # that it has ended will be seen when its answer is read
            self._stdin.write(json.dumps(what).encode() + b"\n")
            self._stdin.flush()

    def answer(self) -> dict[str, Any] | None:
        """What it says, where it has said a line; {"what": "ended"} where it is no more."""
        data = os.read(self._stdout.fileno(), 1 << 16)
        if not data:
            return {"what": "ended"}
        self._rest += data
        line, end, rest = self._rest.partition(b"\n")
        if not end:
            return None
        self._rest = rest
        self.carried_out += 1
        return {**json.loads(line), "seconds": time.monotonic() - self._started}

    def is_late(self) -> bool:
        """True when its time is over."""
        return time.monotonic() > self._wall or self.cpu_seconds() > self._cpu

    def log(self) -> str:
        try:
            return (self.folder / LOG).read_text("utf-8", "replace")[-20_000:]
        except OSError:
            return ""

    def stop(self) -> int:
        """End the process; its exit code, negative for a signal."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._process.kill()
        self._process.wait()
        self._stdout.close()
        return self._process.returncode

    def ended(self) -> dict[str, Any]:
        """What a process that ended by itself leaves: a finding."""
        code = self._process.wait()
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {"what": "finding", "kind": "crash", "error": name, **self._where(), "cpu": 0.0, "memory": 0}

    def hung(self) -> dict[str, Any]:
        """What a process that takes too long does; it is stopped."""
        cpu = self.cpu_seconds() - self._cpu + CPU_SECONDS
        self._process.send_signal(signal.SIGUSR1)  # it writes down where it is
        time.sleep(0.3)
        told = self._where(outer=True)
        self.stop()
        return {"what": "finding", "kind": "hang", "error": "", **told, "cpu": cpu, "memory": 0}

    def _where(self, outer: bool = False) -> dict[str, str]:
        """Where the process was: the innermost of our functions, or with `outer` one that it was in for longer."""
        log = self.log()
        frames = re.findall(r'File "([^"]*/pathweave/[^"]*)", line \d+ in (\S+)', log)
        own = [(f, n) for f, n in frames if "/testing/fuzz/" not in f] or frames
        file, name = own[max(0, len(own) - 4) if outer else 0] if own else ("", "")
        place = f"{file.rpartition('/pathweave/')[2]}:{name}" if own else ""
        return {"place": place, "text": log[-4000:]}


class Driver:
    """Runs cases on `jobs` workers. `corpus`: folder that findings are written to, and that cases start from."""

    def __init__(self, targets: Iterable[str], jobs: int, corpus: Path | None, files: Iterable[str] = (), seed: int = 0):
        self.targets, self.jobs, self.corpus, self.seed = list(targets), jobs, corpus, seed
        self._files = tuple(files)
        self.options = {"targets": self.targets, "corpus": str(corpus) if corpus else None, "files": list(self._files)}
        self.tallies = {name: Tally() for name in self.targets}
        self.findings: dict[tuple, Finding] = {}
        self._workers: list[Worker] = []
        self._made = 0

    def __enter__(self) -> Driver:
        room = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # files are flushed to the disk when they are saved
        self._folder = Path(tempfile.mkdtemp(prefix="pathweave-fuzz-", dir=room))
        return self

    def __exit__(self, *_: Any) -> None:
        for worker in self._workers:
            worker.stop()
        self._workers.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ---- running ----------------------------------------------------------------------------------------------------

    def run(self, cases: Iterable[dict[str, Any]], told: Callable[[int], None] = lambda done: None) -> None:
        """Carry out cases: dicts of `target` and `index`, or `target` and `file`. `told`: called with how many are done."""
        waiting, done = iter(cases), 0
        with selectors.DefaultSelector() as selector:
            for _ in range(self.jobs):
                self._start(selector)
            while selector.get_map():
                for key, _ in selector.select(timeout=0.1):
                    worker = key.data
                    answer = worker.answer()
                    if answer is None:
                        continue
                    if answer.get("what") == "ended":
                        if worker.asked is None:
                            raise RuntimeError(f"fuzz: a worker could not start:\n{worker.log()}")
                        answer = worker.ended()
                    done += self._take(worker, answer)
                    told(done)
                    self._next(selector, worker, waiting, answer.get("kind") == "crash")
                for key in list(selector.get_map().values()):
                    worker = key.data
                    if worker.is_late():
                        if worker.asked is None:
                            raise RuntimeError(f"fuzz: a worker was not ready after {START_SECONDS:g} s:\n{worker.log()}")
                        done += self._take(worker, worker.hung())
                        self._next(selector, worker, waiting, True)

    def _start(self, selector: Any) -> Worker:
        self._made += 1
        worker = Worker(self._folder / f"worker{self._made}", self.options)
        self._workers.append(worker)
        if selector is not None:
            selector.register(worker.output, selectors.EVENT_READ, worker)
        return worker

    def _drop(self, selector: Any, worker: Worker) -> None:
        if selector is not None:
            selector.unregister(worker.output)
        worker.stop()
        self._workers.remove(worker)
        shutil.rmtree(worker.folder, ignore_errors=True)

    def _next(self, selector: Any, worker: Worker, waiting: Iterator[dict[str, Any]], gone: bool) -> None:
        """Give a worker its next case, or one in its place where it is gone or has done enough."""
        if gone or worker.carried_out > CASES_PER_WORKER:
            self._drop(selector, worker)
            self._start(selector)
            return
        case = next(waiting, None)
        if case is None:
            self._drop(selector, worker)
        else:
            worker.ask({"seed": self.seed, **case})

    def _take(self, worker: Worker, answer: dict[str, Any]) -> int:
        """Enter what came of a case; 0 for what is none, such as being ready."""
        asked = worker.asked
        if asked is None:
            return 0
        tally = self.tallies[asked["target"]]
        tally.cases += 1
        tally.seconds += answer.get("seconds", 0.0)
        tally.largest_cpu = max(tally.largest_cpu, answer["cpu"])
        tally.largest_memory = max(tally.largest_memory, answer["memory"])
        if answer["what"] == "accepted":
            tally.accepted += 1
        elif answer["what"] == "refused":
            tally.refused[answer["error"]] += 1
        else:
            tally.findings += 1
            self._keep(worker, asked, answer)
        return 1

    # ---- findings ---------------------------------------------------------------------------------------------------

    def _keep(self, worker: Worker, asked: dict[str, Any], answer: dict[str, Any]) -> None:
        first = f"--replay {asked['file']}" if "file" in asked else f"seed {asked['seed']}, case {asked['index']}"
        found = Finding(asked["target"], answer["kind"], answer.get("error", ""), answer.get("place", ""), answer["text"],
                        first)
        known = self.findings.setdefault(found.key, found)
        if known is not found:
            known.count += 1
        if len(known.files) >= KEPT or "file" in asked or known.kind == "fuzzer":
            return
        data = (worker.folder / CASE).read_bytes()
        known.files.append(str(self._write(found.target, data)))

    def _write(self, target: str, data: bytes) -> Path:
        from .target import all_targets
        folder = self.corpus or Path("fuzz-corpus")
        folder.mkdir(parents=True, exist_ok=True)
        suffix = all_targets(self._files)[target].suffix
        path = folder / f"{target}-{hashlib.blake2b(data, digest_size=5).hexdigest()}{suffix}"
        path.write_bytes(data)
        return path

    def shrink(self, told: Callable[[float, str], None] = lambda fraction, text: None) -> None:
        """Try every finding once more in a process of its own, and make its case smaller where that is cheap."""
        for number, found in enumerate(self.findings.values()):
            told(number / len(self.findings), f"finding {number + 1} of {len(self.findings)}")
            if found.files and found.alone is None:
                self._shrink(found)

    def _shrink(self, found: Finding) -> None:
        path, end = Path(found.files[0]), time.monotonic() + SECONDS_TO_SHRINK
        found.alone = self._shows(found, path)
        if not found.alone:
            return
        tries = TRIES if found.kind != "hang" else 4
        while tries > 0 and time.monotonic() < end:
            smaller = None
            for candidate in self._simpler(found.target, path, tries):
                tries -= 1
                if time.monotonic() > end:
                    break
                if self._shows(found, candidate):
                    smaller = candidate
                    break
            if smaller is None:
                break
            path = smaller.replace(self._folder / "smallest")
        before, found.files = found.files, [str(self._write(found.target, path.read_bytes()))]
        for file in set(before) - {f for other in self.findings.values() for f in other.files}:
            os.unlink(file)  # the smallest case says it all

    def _simpler(self, target: str, path: Path, most: int) -> list[Path]:
        """Files with simpler cases, at most so many."""
        folder, worker = self._folder / "simpler", self._ready()
        if self._wait(worker, {"target": target, "file": str(path), "simpler": str(folder), "most": most})["what"] != "offered":
            self._drop(None, worker)
            return []
        data = path.read_bytes()
        return [p for p in sorted(folder.iterdir(), key=lambda p: int(p.name)) if len(new := p.read_bytes()) <= len(data)
                and new != data]

    def _ready(self) -> Worker:
        """A worker that waits for a case."""
        for worker in self._workers:
            return worker
        worker = self._start(None)
        while worker.answer() is None:
            pass
        return worker

    def _shows(self, found: Finding, path: Path) -> bool:
        """Whether a case shows a finding."""
        worker = self._ready()
        answer = self._wait(worker, {"target": found.target, "file": str(path)})
        gone = answer.get("kind") in ("crash", "hang")
        if gone:
            self._drop(None, worker)
        return answer["what"] == "finding" and (answer["kind"], answer.get("error", "")) == (found.kind, found.error) \
            and (found.kind in ("hang", "memory") or answer.get("place", "") == found.place)

    def _wait(self, worker: Worker, what: dict[str, Any]) -> Any:
        """Carry out one thing; where the process ends or takes too long, the finding that this is."""
        worker.ask(what)
        with selectors.DefaultSelector() as selector:
            selector.register(worker.output, selectors.EVENT_READ)
            while True:
                if selector.select(timeout=0.1):
                    answer = worker.answer()
                    if answer is not None:
                        return worker.ended() if answer.get("what") == "ended" else answer
                if worker.is_late():
                    return worker.hung()
