"""Fixtures of the native tests."""

from __future__ import annotations

import pytest
from native_helpers import build_null_device


@pytest.fixture(scope="session")
def null_device(tmp_path_factory) -> str:
    """The null device's library, built once."""
    return build_null_device(tmp_path_factory.mktemp("null"))
