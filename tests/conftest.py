"""Long tests, marked `long`, run with `--long` alone. Estimates go by the rates of a machine that is made up."""

from __future__ import annotations

import pytest
from made_up import made_up_limits


@pytest.fixture(autouse=True)
def fixed_rates():
    """Results do not depend on the machine, and nothing is measured."""
    from pathweave.runtime.rates import fixed
    with fixed(made_up_limits()):
        yield


def pytest_addoption(parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests that are marked long")


def pytest_collection_modifyitems(config, items) -> None:
    if config.getoption("--long"):
        return
    long = [item for item in items if item.get_closest_marker("long")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]


def pytest_report_header(config) -> list[str]:
    return [] if config.getoption("--long") else ["tests marked long are left out; --long runs them too"]
