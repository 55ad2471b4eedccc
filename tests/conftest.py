"""Long tests, marked `long`, run with `--long` alone."""

from __future__ import annotations


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
