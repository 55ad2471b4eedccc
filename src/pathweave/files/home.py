"""The folder of everything that pathweave keeps."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """PATHWEAVE_HOME, else `pathweave` in the user's cache folder."""
    if own := os.environ.get("PATHWEAVE_HOME"):
        return Path(os.path.abspath(os.path.expanduser(own)))
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return Path(cache if os.path.isabs(cache) else os.path.expanduser("~/.cache")) / "pathweave"
