"""Fixtures of the tuner's tests; what they are made of is in scripted.py."""

from __future__ import annotations

import pytest
from scripted import Clock, residual

import pathweave as pw
from pathweave.profiling.store import Store


@pytest.fixture
def clock() -> Clock:
    """A scripted timer, for whatever measures to be handed."""
    return Clock()


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
