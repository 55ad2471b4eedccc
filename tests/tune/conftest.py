"""Fixtures of the tuner's tests; what they are made of is in scripted.py."""

from __future__ import annotations

import pytest
from scripted import Clock, residual

import pathweave as pw
from pathweave.profiling import pace
from pathweave.profiling.store import Store
from pathweave.tuning import race, tuner


@pytest.fixture
def clock(monkeypatch) -> Clock:
    """The scripted clock in place of the real one."""
    scripted = Clock()
    for module in (pace, tuner, race):
        monkeypatch.setattr(module, "timed_run", scripted.timed_run)
        monkeypatch.setattr(module, "timed_call", scripted.timed_call)
    monkeypatch.setattr(tuner, "RACE_S", 0.0)
    monkeypatch.setattr(tuner, "RACE_SHARE", 0.0)
    return scripted


@pytest.fixture
def store() -> Store:
    return Store.memory()


@pytest.fixture
def model():
    return pw.load(residual())


@pytest.fixture
def larger():
    return pw.load(residual(extra=True))


@pytest.fixture
def net_bytes() -> bytes:
    return residual()
