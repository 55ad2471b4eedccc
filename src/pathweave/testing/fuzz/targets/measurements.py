"""The store of measurements: its database, the JSON Lines that are exported and imported, and profiles."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from .. import mutate
from ..target import Target

HOST, PROBLEM = "cafe", "relu in=f32:1x3 out=f32:1x3 threads=1"


class Measurements(Target):
    """A case: a database, or a text of JSON Lines."""

    name = "measurements"
    weight = 2
    suffix = ".store"

    def prepare(self, folder: Path) -> None:
        from ....profiling.measurement import Measurement
        from ....profiling.profile import Profile
        from ....profiling.store import Store
        self.store, self.profile = Store, Profile
        path = folder / "profile.sqlite"
        with Store.open(path) as store:
            store.add([Measurement(HOST, PROBLEM, "relu/vector:f32:plain:cpu", 1, "v", (10.0 + i, 11.5), 1e9 + i, id=f"m{i}")
                       for i in range(3)], {HOST: {"cpu": "x", "threads": 2}})
            store.export(folder / "export.jsonl")
        self.lines = (folder / "export.jsonl").read_bytes()
        for name in ("profile.sqlite-wal", "profile.sqlite-shm"):
            if (folder / name).exists():
                os.unlink(folder / name)
        self.database = path.read_bytes()

    def make(self, rng: np.random.Generator) -> bytes:
        if not rng.integers(3):
            return mutate.flip(self.database, rng)
        lines = [json.loads(line) for line in self.lines.splitlines()]
        for _ in range(int(rng.integers(1, 3))):
            mutate.change(mutate.pick(rng, lines), rng, 1)
        text = b"\n".join(map(mutate.dump, lines))
        return mutate.flip(text, rng) if not rng.integers(4) else text

    def run(self, data: bytes, folder: Path) -> None:
        if data[:6] == b"SQLite":
            path = folder / "profile.sqlite"
            path.write_bytes(data)
            with self.store.open(path) as store:
                store.hosts()
                found = store.lookup(HOST)
                store.lookup(HOST, [PROBLEM])
                store.export(folder / "export.jsonl")
                store.add(list(found.values()))
                store.clear(HOST)
            return
        path = folder / "case.jsonl"
        path.write_bytes(data)
        with self.store.open(folder / "own.sqlite") as store:
            count = store.import_(path)
            store.export(folder / "again.jsonl")
            if store.import_(folder / "again.jsonl"):
                raise AssertionError(f"{count} measurements came twice")
            found = store.lookup(HOST)
        for m in found.values():
            (m.median, m.p10, m.spread)  # noqa: B018
        profile = self.profile.load(path)
        repr(profile)
        profile._repr_html_()
        profile.save(folder / "profile.jsonl")
        self.profile.load(folder / "profile.jsonl")

    def mutate(self, data: bytes, rng: np.random.Generator) -> bytes:
        return mutate.flip(data, rng)
