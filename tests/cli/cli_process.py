"""`pathweave` in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys


def start(*arguments, **options) -> subprocess.Popen:
    """The running process, its output as text. It hears Ctrl-C, also where the tests run in the background of a script,
    which ignores it for all that it starts."""
    return subprocess.Popen([sys.executable, "-m", "pathweave.cli", *map(str, arguments)], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, env={**os.environ, **options.pop("env", {})},
                            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options)
