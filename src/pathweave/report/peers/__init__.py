"""Other engines, to be timed beside ours in one process. One engine per file, found by being in this folder.

A file whose name does not start with an underscore and that defines `PEERS`, a list of `Peer`, adds them. A peer whose
packages are missing is listed with how to install it; one that cannot run a model raises `Declined` with the reason.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ...folder import modules


class Declined(Exception):
    """An engine cannot run this model; the message says why."""


@dataclass(frozen=True)
class Task:
    """What is to be run. `onnx`: path of the ONNX file. `inputs`: arrays by name, the same for all engines. `outputs`:
    names, in order. `threads`: per call."""

    onnx: str
    inputs: Mapping[str, Any]
    outputs: tuple[str, ...]
    threads: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(array.shape) for name, array in self.inputs.items()}

    def samples(self) -> list[dict[str, Any]]:
        """What quantised engines are calibrated with, ours too: see `samples`."""
        return samples(self.shapes, self.inputs)


#: Calibration of quantised engines: so many random normal images at least, from this seed.
SAMPLES, SAMPLES_SEED = 8, 20261


def samples(shapes: Mapping[str, tuple[int, ...]], given: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The calibration samples, the same in every run: arrays by name, float32, of the given shapes.

    `given`: arrays by name; those that are no float32, such as token ids, are the same in all samples.
    """
    import numpy as np
    rng = np.random.default_rng(SAMPLES_SEED)
    batch = max((shape[0] for shape in shapes.values() if shape), default=1)
    kept = {name: a for name, a in (given or {}).items() if a.dtype != np.float32}
    return [{name: kept[name] if name in kept else rng.standard_normal(shape).astype(np.float32)
             for name, shape in shapes.items()} for _ in range(max(1, -(-SAMPLES // batch)))]


#: A ready engine: runs once on the task's inputs, returns outputs in the task's order.
Engine = Callable[[], list]


@dataclass(frozen=True)
class Peer:
    """One engine at one precision. `modules`: what must be importable. `install`: packages that pip installs, its own first.

    `accuracy`: `f32`, `reduced` for bf16 and f16, `quantised` for int8; classes are never compared silently. `load` raises
    Declined. `load_many`: the same for so many callers that run it at the same time, with a thread each: an engine per caller.
    """

    name: str
    modules: tuple[str, ...]
    install: str
    load: Callable[[Task], Engine]
    accuracy: str = "f32"
    load_many: Callable[[Task, int], list[Engine]] | None = None

    def missing(self) -> str:
        """Why it cannot be used here, "" when it can."""
        absent = [m for m in self.modules if not _there(m)]
        return f"not installed: pip install {self.install}" if absent else ""

    def version(self) -> str:
        """Version of its own package, "" where that is unknown, or the engine cannot be used here."""
        from importlib import metadata
        try:
            return "" if self.missing() else metadata.version(self.install.split()[0])
        except metadata.PackageNotFoundError:
            return ""


def _there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


@lru_cache(maxsize=None)
def peers() -> dict[str, Peer]:
    """Every peer by name."""
    return {peer.name: peer for module in modules(__name__) for peer in module.PEERS}


def prepared(peer: Peer, task: Task) -> Engine:
    """A peer's engine after its first call, whatever it prints kept off stdout. Raises Declined whatever goes wrong."""
    return _called(lambda: [peer.load(task)])[0]


def prepared_many(peer: Peer, task: Task, callers: int) -> list[Engine]:
    """A peer's engines for callers that run it at the same time, after a call of each. Raises Declined whatever goes wrong."""
    load = peer.load_many
    if load is None:
        raise Declined("how several callers share this engine is not known here")
    return _called(lambda: load(task, callers))


def _called(load: Callable[[], list[Engine]]) -> list[Engine]:
    try:
        with quiet_stdout():
            engines = load()
            for engine in engines:
                engine()
    except Declined:
        raise
    except Exception as e:  # a peer's loader may raise anything
        raise Declined(f"{type(e).__name__}: {str(e)[:200]}") from e
    return engines


@contextlib.contextmanager
def quiet_stdout() -> Iterator[None]:
    """Send to stderr what libraries print on stdout while the block runs: stdout is the report's."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def converted(task: Task, engine: str) -> Path:
    """Folder for a peer's own form of the model, kept between runs; named by the file's contents and the input shapes."""
    import hashlib
    digest = hashlib.sha256()
    with open(task.onnx, "rb") as f:
        while block := f.read(1 << 20):
            digest.update(block)
    digest.update(repr(sorted(task.shapes.items())).encode())
    base = os.environ.get("PATHWEAVE_PEERS_CACHE") or os.path.join(tempfile.gettempdir(), f"pathweave-peers-{os.getuid()}")
    folder = Path(base, engine, digest.hexdigest()[:16])
    folder.mkdir(parents=True, exist_ok=True)
    return folder
