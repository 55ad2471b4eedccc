"""What a target is: it makes hostile cases, and does with one what a user would do."""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...folder import instances
from . import mutate, targets

#: Of so many cases, one is a file of the corpus that is changed once more.
CORPUS_SHARE = 8


class Wrong(AssertionError):
    """What a case gave is not what it must give, such as other results after saving and loading."""


class Target:
    """One kind of input. A case is bytes: what is written to the corpus, and what `run` is handed.

    `name`; `weight`: its share of the cases; `suffix`: of its corpus files.
    """

    name = ""
    weight = 1.0
    suffix = ".bin"

    def prepare(self, folder: Path) -> None:
        """Make what all cases start from. `folder` stays as long as the process."""

    def make(self, rng: np.random.Generator) -> bytes:
        """A new case: a function of the generator alone."""
        raise NotImplementedError

    def run(self, data: bytes, folder: Path) -> None:
        """Do what a user would do. Returns where all is well, raises `pathweave.Error` for a refusal.

        `folder`: empty, and emptied afterwards. Anything else that is raised is a finding.
        """
        raise NotImplementedError

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        """A file of the corpus, changed."""
        return mutate.flip(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        """Smaller cases that may show the same; the first that does takes its place."""
        return mutate.shorter(data)

    def case(self, seed: int, index: int, corpus: Sequence[bytes] = ()) -> bytes:
        """The case of a number: the same for the same seed and corpus."""
        rng = np.random.default_rng([seed, index, zlib.crc32(self.name.encode())])
        if corpus and rng.integers(CORPUS_SHARE) == 0:
            return self.mutate(corpus[int(rng.integers(len(corpus)))], rng)
        return self.make(rng)


class JsonTarget(Target):
    """A target whose cases are JSON texts."""

    suffix = ".json"

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        return mutate.json_text(data, rng)

    def simpler(self, data: bytes) -> Iterator[bytes]:
        return mutate.simpler_json(data)


@cache
def all_targets(files: tuple[str, ...] = ()) -> dict[str, Target]:
    """Every target by name: those of the folder `targets/`, and those that the Python files `files` define."""
    found = instances(targets.__name__, Target, "fuzz target")
    for number, file in enumerate(files):
        spec = importlib.util.spec_from_file_location(f"fuzz_targets_{number}", file)
        if spec is None or spec.loader is None:
            raise InputError(f"{file}: expected a Python file that defines targets")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        found |= {item.name: item() for item in vars(module).values()
                  if isinstance(item, type) and issubclass(item, Target) and item.name
                  and item.__module__ == module.__name__}
    return dict(sorted(found.items()))


def corpus_files(folder: Path | None, names: Iterable[str]) -> dict[str, list[Path]]:
    """Files of a corpus by target, in the order of their names: `TARGET-WORDS.SUFFIX`."""
    found: dict[str, list[Path]] = {name: [] for name in names}
    for path in sorted(folder.iterdir()) if folder is not None and folder.is_dir() else ():
        if (target := target_of(path)) in found:
            found[target].append(path)
    return found


def target_of(path: Path) -> str:
    """The target that a corpus file is of."""
    return path.name.partition("-")[0]
