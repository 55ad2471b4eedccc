"""One process that carries out cases, one after the other: a JSON line in, a JSON line out. See `driver`.

A case is written to a file before it is run, so that it is there when the process is not any more.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

#: Bytes that a case may take beyond what the process has.
MEMORY = 1 << 30
#: Pages that were there already and are touched for the first time count as well.
SLACK = 1.05
#: Characters that the text of an error may have: a person is to read it.
LONGEST_TEXT = 10_000
CASE, LOG, ROOM, BASES = "case", "log", "room", "bases"


def size_of_process() -> int:
    """Bytes of address space."""
    with open("/proc/self/statm", encoding="ascii") as f:
        return int(f.read().split()[0]) * resource.getpagesize()


def peak(reset: bool = False) -> int:
    """The most bytes that were resident since the last reset. Source: proc_pid_clear_refs(5), VmHWM in proc_pid_status(5)."""
    if reset:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
            f.write("5")
    with open("/proc/self/status", encoding="ascii") as f:
        return next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmHWM"))


def place_of(trace: traceback.StackSummary) -> str:
    """File and function of the innermost frame that is the package's own, the fuzzer's left out where there is another."""
    frames = [f for f in trace if "/pathweave/" in f.filename] or list(trace)
    frames = [f for f in frames if "/testing/fuzz/" not in f.filename] or frames
    return f"{frames[-1].filename.rpartition('/pathweave/')[2]}:{frames[-1].name}" if frames else ""


def attempt(target: Any, data: bytes, room: Path) -> dict[str, Any]:
    """What came of a case: `what` (accepted, refused, finding), and for the latter two `error`, `place`, `text`."""
    from ...errors import Error
    from .target import Wrong
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size_of_process() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard < 0 else min(limit, hard), hard))
    before, cpu = peak(reset=True), time.process_time()
    result: dict[str, Any] = {"what": "accepted"}
    try:
        target.run(data, room)
    except Error as e:
        result = {"what": "refused", "error": type(e).__name__}
        if not str(e) or len(str(e)) > LONGEST_TEXT:
            result |= {"what": "finding", "kind": "message", "place": place_of(traceback.extract_tb(e.__traceback__)),
                       "text": f"{type(e).__name__} with a text of {len(str(e))} characters: {str(e)[:400]}"}
    except (Exception, SystemExit) as e:
        kind = "wrong" if isinstance(e, Wrong) else "memory" if isinstance(e, MemoryError) else "exception"
        result = {"what": "finding", "kind": kind, "error": "MemoryError" if kind == "memory" else type(e).__name__,
                  "place": place_of(traceback.extract_tb(e.__traceback__)), "text": traceback.format_exc(limit=-12)[-6000:]}
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    result["cpu"], result["memory"] = time.process_time() - cpu, max(0, peak() - before)
    if result["memory"] > SLACK * MEMORY and result["what"] != "finding":
        result |= {"what": "finding", "kind": "memory", "error": "", "place": "",
                   "text": f"it took {result['memory']} bytes, more than {MEMORY}"}
    return result


def empty(room: Path) -> None:
    """Take everything out of a folder."""
    with os.scandir(room) as found:
        entries = list(found)
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)


def serve(folder: Path, names: list[str], corpus: Path | None, files: tuple[str, ...], answers: TextIO) -> None:
    """Carry out what standard input asks for, until it ends."""
    from .target import all_targets, corpus_files
    targets = {n: t for n, t in all_targets(files).items() if n in names}
    seeds = {n: [p.read_bytes() for p in found] for n, found in corpus_files(corpus, targets).items()}
    room = folder / ROOM
    room.mkdir(exist_ok=True)
    for name, target in targets.items():
        own = folder / BASES / name
        own.mkdir(parents=True, exist_ok=True)
        target.prepare(own)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        target = targets[asked["target"]]
        if "simpler" in asked:
            _offer(target, Path(asked["file"]).read_bytes(), Path(asked["simpler"]), asked["most"])
            print(json.dumps({"what": "offered"}), file=answers, flush=True)
            continue
        (folder / CASE).write_bytes(b"")
        try:
            data = Path(asked["file"]).read_bytes() if "file" in asked else \
                target.case(asked["seed"], asked["index"], seeds[asked["target"]])
        except Exception as e:  # a mistake of the target's own
            result = {"what": "finding", "kind": "fuzzer", "error": type(e).__name__, "cpu": 0.0, "memory": 0,
                      "place": f"the making of a case of {asked['target']}", "text": traceback.format_exc(limit=-12)}
        else:
            (folder / CASE).write_bytes(data)
            result = attempt(target, data, room)
            empty(room)
        print(json.dumps(result), file=answers, flush=True)


def _offer(target: Any, data: bytes, folder: Path, most: int) -> None:
    """Write simpler cases, at most so many, as files with numbers for names."""
    folder.mkdir(parents=True, exist_ok=True)
    empty(folder)
    for number, simpler in zip(range(most), target.simpler(data)):
        (folder / str(number)).write_bytes(simpler)


def main() -> None:
    """`worker FOLDER OPTIONS`: FOLDER is this process's own, OPTIONS a JSON text of `targets`, `corpus`, `files`."""
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    log = open(folder / LOG, "w", encoding="utf-8")  # noqa: SIM115  it is open as long as the process
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not to outlive the parent
    faulthandler.enable(log)
    faulthandler.register(signal.SIGUSR1, log)
    serve(folder, options["targets"], Path(options["corpus"]) if options["corpus"] else None, tuple(options["files"]), answers)


if __name__ == "__main__":
    main()
