"""Devices and routines of this process, as lists for people and tools."""

from __future__ import annotations

import os
from typing import Any

from ..errors import InputError
from . import catalogue
from .native import native


def devices() -> list[dict[str, Any]]:
    """The CPU and every plugin that was opened, absent ones with their reason; one dict each."""
    return native().devices()


def cpu_info() -> dict[str, Any]:
    """Instruction sets found, compiled and used (`PATHWEAVE_ISA` caps them), caches and model of the processor."""
    return native().cpu_info()


def open_plugin(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Open a device library and describe its devices, with the reason where one is absent; at least one entry.

    Their routines are candidates from then on. Raises InputError for what is no path.
    """
    try:
        name = os.fspath(path)
        name = name if isinstance(name, str) else os.fsdecode(name)
        name.encode()
    except (TypeError, UnicodeError) as e:
        raise InputError(f"plugin {path!r}: expected the path of a library, as text in UTF-8 ({e})") from e
    try:
        return native().open_plugin(name)
    finally:
        catalogue.forget()


def routines(layer: str | None = None) -> list[dict[str, Any]]:
    """Every native routine, or those of one layer kind ("adapt" for conversions), in the catalogue's order.

    Keys: id, version, layer, accuracy, reference, takes_epilogue, axis_scales, device, requires, unavailable (why it
    cannot be used here, "" when it can).
    """
    return [card for card in native().routines() if layer is None or card["layer"] == layer]
