"""`pathweave` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys


def start(*arguments, **options) -> subprocess.Popen:
    """The running process, its output as text."""
    return subprocess.Popen([sys.executable, "-m", "pathweave.cli", *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, **options.pop("env", {})}, **options)
