#!/usr/bin/env python3
"""The speed report over the suite: time of the best peer / ours for every net, tuned and by default.

    python bench/suite/run.py FOLDER [NAME ...] [--class f32|reduced|quantised ...] [--threads N ...] [--batch N ...]
                              [--against ENGINE ...] [--rounds N | --seconds S] [--default-only] [--budget S] [--roof]
                              [--limit S] [--jobs N] [--json FILE | --resume FILE] [--write]

FOLDER is what make.py wrote; NAME names files without .onnx, with * and ?. Every net has one process for each setting. There
our outputs are compared with ONNX Runtime's, we are tuned, and our tuned and default routes and all installed engines of the
class take turns. A peer that ends the process, hangs or computes something else is left out of that net alone, with the
reason. Files that are quantised or float16 already are run in class f32 only.

After every net the result is written as a line of --json, with which --resume goes on; a line that is deleted there is run
again. At the end, and at Ctrl-C, come a table of the nets, one of the families (families.py) and, with --roof, the steps that
lose most time above the least that this machine allows, summed over all nets. --write also writes
results/DATE-CPU-TIER-suite-CLASS.json and .md. Exit code 1 where a net failed, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from check import form_of, inputs_of
from families import family_of

HERE = Path(__file__).resolve().parent
#: What a process says in the end.
LAST = ("result", "failed", "left_out")
#: Share of the limit of a process that one peer may take to load, or for a turn.
PEER_SHARE = 0.25


@dataclass(frozen=True)
class Cell:
    """One net in one setting. `batch`: 0 for the inputs as they are."""

    path: Path
    accuracy: str
    threads: int
    batch: int

    @property
    def key(self) -> tuple[str, str, int, int]:
        """As `pathweave.report.suite.key_of` of its result."""
        return self.path.stem, self.accuracy, self.threads, self.batch


# ---- processes ------------------------------------------------------------------------------------------------------

@dataclass
class Processes:
    """The processes that run. `stop` ends them all, with what they started; no other begins after it."""

    _running: set[int] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)
    stopped: bool = False

    @contextlib.contextmanager
    def started(self, command: Sequence[str], **options: Any) -> Iterator[subprocess.Popen]:
        """A process in a group of its own, which is gone afterwards."""
        with self._lock:
            if self.stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(command, start_new_session=True, **options)
            self._running.add(process.pid)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process.pid)
            _kill(process.pid)
            process.wait()

    def stop(self) -> None:
        """End all."""
        with self._lock:
            self.stopped = True
            for pid in self._running:
                _kill(pid)


def _kill(group: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def ask(processes: Processes, command: Sequence[str], environment: Mapping[str, str], limit: float) -> dict[str, Any]:
    """What a process says about a net, one of LAST. `command` is given the number of the pipe in the end.

    Where the process ends or is ended without a word: `ended` (why), `stage`, `engine` (whose turn it was, "" for ours), and
    `late` where it took too long.
    """
    read, write = os.pipe()
    with tempfile.TemporaryFile() as log, contextlib.ExitStack() as stack:
        stack.callback(os.close, read)
        try:
            process = stack.enter_context(processes.started([*command, str(write)], pass_fds=(write,), stdout=log, stderr=log,
                                                            env=environment))
        finally:
            os.close(write)
        said = _listen(read, limit)
        if any(word in said for word in LAST):
            return said
        where = {"stage": said.get("stage", ""), "engine": said.get("engine", "")}
        if said.get("late"):
            return {**where, "late": True, "ended": f"took longer than {said['late']:g} s ({_stage(said)})"}
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(10)
        code = process.poll()
        words = _last_words(log) if code is None or code >= 0 or code == -signal.SIGABRT else ""  # others say nothing
        how = "closed its pipe" if code is None else f"exit code {code}" if code >= 0 else \
            f"ended by {signal.Signals(-code).name}"
        return {**where, "ended": f"{how} ({_stage(said)}){f': {words}' if words else ''}"}


def _listen(pipe: int, limit: float) -> dict[str, Any]:
    """The last thing said before the pipe was closed; with `late`, the seconds, where a limit passed first."""
    said: dict[str, Any] = {}
    data, end, turn = b"", time.monotonic() + limit, float("inf")
    while True:
        now = time.monotonic()
        if now >= min(end, turn):
            return {**said, "late": limit if now >= end else PEER_SHARE * limit}
        if not select.select([pipe], [], [], min(end, turn) - now)[0]:
            continue
        block = os.read(pipe, 1 << 16)
        if not block:
            return said
        *lines, data = (data + block).split(b"\n")
        for line in lines:
            said = json.loads(line)
            if any(word in said for word in LAST):
                return said
            peer = said["engine"] and not said["engine"].startswith("pathweave")
            turn = time.monotonic() + PEER_SHARE * limit if peer else float("inf")


def _stage(said: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (said.get("stage", "starting"), said.get("engine", ""))))


def _last_words(log: Any) -> str:
    log.seek(max(0, log.seek(0, os.SEEK_END) - 4000))
    lines = [line for line in log.read().decode(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else ""


@dataclass
class Peers:
    """The engines of one net, and with whom its process ends. `order`: of loading. `out`: those left out, with the reason.

    The end of a process may be the fault of an engine that was loaded before, so that an engine is left out where it was the
    first to be loaded, or at the second time; after the first time it is loaded first.
    """

    order: list[str]
    out: dict[str, str] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)

    def blame(self, said: Mapping[str, Any]) -> bool:
        """Take in how a process ended; False where no engine can have a part in it, or none is left."""
        if "ended" not in said or not self.order:
            return False
        engine = said["engine"]
        if engine not in self.order:  # ours: theirs only if it goes well without all of them
            if said["stage"] != "timing" or said.get("late"):
                return False
            self.out |= dict.fromkeys(self.order, f"with the engines together, in our turn: {said['ended']}")
            self.order = []
            return True
        first = said["stage"] == "loading" and self.order[0] == engine
        self.order.remove(engine)
        if first or said.get("late") or engine in self.suspects:
            self.out[engine] = said["ended"]
        else:
            self.suspects.add(engine)
            self.order.insert(0, engine)
        return True


def run(cell: Cell, options: argparse.Namespace, engines: Sequence[str], host: Mapping[str, Any],
        processes: Processes) -> dict[str, Any]:
    """The result of a cell. Peers that end the process or hang are left out of a further one."""
    with tempfile.TemporaryDirectory(prefix="pathweave-suite-") as temporary:
        environment = {"PATHWEAVE_PEERS_CACHE": str(Path(temporary, "peers")),
                       "TORCHINDUCTOR_CACHE_DIR": str(Path(temporary, "inductor")), **os.environ,
                       # OpenMP, in PyTorch and ncnn, asks the environment before any option can be set.
                       "OMP_NUM_THREADS": str(cell.threads)}
        request: dict[str, Any] = {
            "file": str(cell.path), "inputs": str(inputs_of(cell.path)[0]), "accuracy": cell.accuracy, "threads": cell.threads,
            "batch": cell.batch, "rounds": options.rounds, "seconds": options.seconds,
            "budget": options.budget, "default_only": options.default_only, "roof": options.roof,
            "route": str(Path(temporary, "route.json"))}
        peers, said = Peers(list(engines)), {}
        while not said or peers.blame(said):
            request |= {"against": [*peers.order, *peers.out], "out": peers.out}
            said = ask(processes, [sys.executable, str(HERE / "one.py"), json.dumps(request)], environment, options.limit)
    known = {"net": cell.path.stem, "family": family_of(cell.path.stem), "asked_batch": cell.batch}
    if "result" in said:
        return {**known, **said["result"]}
    failed = "" if "left_out" in said else said.get("failed") or said["ended"]
    return {**known, "batch": cell.batch or 1, "failed": failed, "left_out": said.get("left_out", ""), "host": host,
            "engines": [], "run": {"model": cell.path.name, "accuracy": cell.accuracy, "threads": cell.threads}}


# ---- the file of results --------------------------------------------------------------------------------------------

def read(path: Path, host: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results of a file; a line that was cut off is left out. Raises SystemExit for those of another machine."""
    results = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            result = json.loads(line)
        except json.JSONDecodeError:
            print(f"{path}, line {number}: not whole; that net is run again", file=sys.stderr)
            continue
        theirs = result["host"]
        for fact in ("fingerprint", "tiers", "cap"):
            if theirs[fact] != host[fact]:
                raise SystemExit(f"--resume {path}, line {number}: {fact} is {theirs[fact]}, and here it is {host[fact]}; "
                                 "results of different machines do not belong into one table: name another file with --json")
        results.append(result)
    return results


class Kept:
    """The file of results, to which lines are added; a line that was cut off is ended first."""

    def __init__(self, path: Path):
        self.path, self._lock = path, threading.Lock()
        torn = path.exists() and path.stat().st_size and not path.read_bytes().endswith(b"\n")
        self._file = path.open("a", encoding="utf-8")
        self._file.write("\n" if torn else "")

    def add(self, result: Mapping[str, Any]) -> None:
        """Write one result; it is on disk afterwards."""
        with self._lock:
            self._file.write(json.dumps(result) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())


# ---- what is printed ------------------------------------------------------------------------------------------------

def clock(seconds: float) -> str:
    """Seconds as `3:05` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_line(result: Mapping[str, Any], done: int, of: int, seconds: float, elapsed: float, before: int = 0) -> str:
    """`done` of `of` nets, `before` of them before this run; `seconds`: of this one."""
    from pathweave.report.suite import rows_of, show_ratio
    from pathweave.report.tables import show_time
    (row,) = rows_of([result])
    ratios = [f"{column} {show_ratio(row[column])}" for column in ("tuned", "default") if row[column] is not None]
    words = [*ratios, f"best peer {row['best']} {show_time(row['times'][row['best']])}"] if ratios else [row["reason"]]
    left = elapsed / max(1, done - before) * (of - done)
    return (f"[{done}/{of}] {result['net']} {result['run']['accuracy']}: {', '.join(words)}   {seconds:.0f} s; "
            f"elapsed {clock(elapsed)}, remaining about {clock(left)}")


def show(results: Sequence[Mapping[str, Any]]) -> None:
    """Print the tables of every setting."""
    from pathweave.report.suite import by_setting, declined, setting_text, tables
    for setting, own in by_setting(results).items():
        print(f"\n{setting_text(setting)}\n")
        print("\n\n".join(table.text() for table in tables(own)))
        lines = declined(own)
        print("\n".join(["\nnot run:", *lines] if lines else []))


def write(results: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Keep the results of every class in a folder, what is only needed for sums left out; the files."""
    from pathweave.report.speed import keep
    from pathweave.report.suite import markdown
    files = []
    for accuracy in dict.fromkeys(r["run"]["accuracy"] for r in results):
        own = [r for r in results if r["run"]["accuracy"] == accuracy]
        text = markdown(own, own[0]["host"])
        stem = keep([{k: v for k, v in r.items() if k != "lost"} for r in own], text, ["suite", accuracy], folder, lines=True)
        files += [stem.with_suffix(".json"), stem.with_suffix(".md")]
    return files


# ---- the command ----------------------------------------------------------------------------------------------------

def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    from pathweave.net.accuracy import COMMON
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add, several = parser.add_argument, {"action": "extend", "nargs": "+", "default": []}
    add("folder", type=Path, help="what make.py wrote")
    add("names", nargs="*", default=["*"], help="names of files without .onnx, with * and ?; default: all")
    add("--class", dest="classes", choices=COMMON, help="accuracy classes; default: all", **several)
    add("--threads", type=_whole, metavar="N", help="threads of a call; default: 2", **several)
    add("--batch", type=_whole, metavar="N", help="batches of nets that leave theirs free; default: inputs as the suite has "
        "them", **several)
    add("--against", metavar="ENGINE", help="engines; default: every installed one of the class", **several)
    add("--rounds", type=_whole, metavar="N", default=15, help="rounds of two timed calls of every engine (15)")
    add("--seconds", type=_positive, metavar="S", help="begin no round later, in the place of --rounds; three at least")
    add("--default-only", action="store_true", help="do not tune; only the default route")
    add("--budget", type=_positive, metavar="S", default=30.0, help="seconds to tune a net (30)")
    add("--roof", action="store_true", help="also the ten steps of all nets that lose most time above their roof")
    add("--limit", type=_positive, metavar="S", default=1200.0, help="seconds for a process of a net, a quarter of it for "
        "one peer to load (1200)")
    add("--jobs", type=_whole, metavar="N", default=1, help="processes at a time; more than one disturb each other's times (1)")
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--json", type=Path, metavar="FILE", help="a new file for the results, one line each; default: a "
                       "temporary one")
    files.add_argument("--resume", type=Path, metavar="FILE", help="the file of a run that was interrupted: go on with it")
    add("--write", action="store_true", help="also write bench/results/DATE-CPU-TIER-suite-CLASS.json and .md")
    options = parser.parse_args(arguments)
    if options.json and options.json.exists():
        parser.error(f"--json {options.json}: it is there already; go on with --resume {options.json}, or name another file")
    if options.resume and not options.resume.exists():
        parser.error(f"--resume {options.resume}: no such file; begin one with --json {options.resume}")
    options.classes = list(dict.fromkeys(options.classes)) or list(COMMON)
    return options


def _whole(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text}")
    return int(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number of seconds above 0, got {text}")
    return number


def engines_of(names: Sequence[str], accuracy: str) -> tuple[list[str], list[str]]:
    """The installed engines of a class among those named (none: all), and a line for each that is not installed. Raises
    SystemExit for an unknown one."""
    from pathweave.report.bench import select
    try:
        found = [peer for peer in select(names or ["all"], accuracy) if peer.accuracy == accuracy]
    except KeyError as e:
        from pathweave.report.peers import peers
        raise SystemExit(f"--against {e.args[0]}: unknown; expected all, or some of {', '.join(peers())}") from None
    return ([peer.name for peer in found if not peer.missing()],
            [f"{peer.name}: {peer.missing()}" for peer in found if peer.missing()])


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """What is to be run: class by class, net by net. Raises SystemExit where there is nothing."""
    files = [f for f in sorted(options.folder.glob("*.onnx")) if any(fnmatch.fnmatch(f.stem, n) for n in options.names)]
    files = [f for f in files if inputs_of(f)]
    if not files:
        raise SystemExit(f"{options.folder}: no NET.EXPORTER.onnx with NET.0.npz beside it is named "
                         f"{' or '.join(options.names)}; bench/suite/make.py writes them")
    return [Cell(f, accuracy, threads, batch) for accuracy in options.classes for threads in options.threads or [2]
            for batch in options.batch or [0] for f in files if accuracy == "f32" or not form_of(f)]


def able(options: argparse.Namespace) -> dict[str, list[str]]:
    """Class -> its engines, for the classes that this build has for this machine; the others and their engines are told."""
    from pathweave.report.ours import missing_class
    found = {}
    for accuracy in options.classes:
        reason = missing_class(accuracy)
        engines, absent = engines_of(options.against, accuracy)
        for line in [f"class {accuracy} is left out: {reason}"] if reason else absent:
            print(line, file=sys.stderr)
        if not reason:
            found[accuracy] = engines
    return found


def run_all(cells: Sequence[Cell], options: argparse.Namespace, engines: Mapping[str, Sequence[str]], host: Mapping[str, Any],
            kept: Kept, before: int) -> Iterator[dict[str, Any]]:
    """Results as they come, each on disk and told before it is given. Ctrl-C ends all processes, and is handed on."""
    processes, start, done = Processes(), time.monotonic(), before

    def one(cell: Cell) -> tuple[dict[str, Any], float]:
        begin = time.monotonic()
        return run(cell, options, engines[cell.accuracy], host, processes), time.monotonic() - begin
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            for future in as_completed([pool.submit(one, cell) for cell in cells]):
                result, seconds = future.result()
                kept.add(result)
                done += 1
                print(progress_line(result, done, before + len(cells), seconds, time.monotonic() - start, before), flush=True)
                yield result
        except BaseException:
            processes.stop()
            pool.shutdown(cancel_futures=True)
            raise


def main() -> int:
    options = parsed()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from pathweave.report.bench import host_facts
    host, engines = host_facts(), able(options)
    cells = [cell for cell in cells_of(options) if cell.accuracy in engines]
    usual = Path(tempfile.gettempdir(), f"pathweave-suite-{time.strftime('%Y%m%d-%H%M%S')}.jsonl")
    path = options.resume or options.json or usual
    from pathweave.report.suite import key_of
    wanted = {cell.key for cell in cells}
    results = [r for r in read(path, host) if key_of(r) in wanted] if options.resume else []
    there = {key_of(r) for r in results}
    left = [cell for cell in cells if cell.key not in there]
    print(f"{len(left)} of {len(cells)} to run; results in {path}, go on with --resume {path}", flush=True)
    interrupted = False
    try:
        results.extend(run_all(left, options, engines, host, Kept(path), len(there)))
    except KeyboardInterrupt:
        interrupted = True
        results = [r for r in read(path, host) if key_of(r) in wanted]
    show(results)
    if interrupted:
        print(f"\ninterrupted: {len(results)} of {len(cells)} are there; go on with --resume {path}")
        return 130
    if options.write and results:
        files = write(results, HERE.parent / "results")
        print("written; look at them, then: git add " + " ".join(str(f.relative_to(HERE.parents[1])) for f in files))
    return int(not results or any(r["failed"] for r in results))


if __name__ == "__main__":
    sys.exit(main())
