"""Targets whose cases crash, hang, take too much memory, or raise what they must not: given to the fuzzer as --plugin."""

from __future__ import annotations

import ctypes
import time

import numpy as np

from pathweave.errors import ModelError
from pathweave.testing.fuzz.target import Target, Wrong


class Planted(Target):
    suffix = ".txt"

    def make(self, rng: np.random.Generator) -> bytes:
        """Ten harmless letters, and in a tenth of the cases one that is not."""
        return b"a" * 10 + (b"!" if rng.integers(10) == 0 else b"")

    def run(self, data, folder):
        if b"r" in data:
            raise ModelError("refused")
        if b"!" in data:
            self.fail()

    def fail(self) -> None:
        raise NotImplementedError


class Crash(Planted):
    name = "crash"

    def fail(self):
        ctypes.string_at(1)


class Hang(Planted):
    name = "hang"

    def fail(self):
        while True:
            pass


class Deadlock(Planted):
    name = "deadlock"

    def fail(self):
        time.sleep(600)


class Memory(Planted):
    name = "memory"

    def fail(self):
        np.ones(1 << 28)


class Untyped(Planted):
    name = "untyped"

    def fail(self):
        {}["key"]


class Exit(Planted):
    name = "exit"

    def fail(self):
        raise SystemExit(0)


class Unequal(Planted):
    name = "unequal"

    def fail(self):
        raise Wrong("other numbers")


class Silent(Planted):
    name = "silent"

    def fail(self):
        raise ModelError()


class Healthy(Planted):
    name = "healthy"

    def fail(self):
        raise ModelError("refused")
