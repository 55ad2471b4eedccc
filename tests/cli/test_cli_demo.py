"""The demo, with a short budget; and how quickly the command line answers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


#: Alone, as most will try it, and with more threads than some layers have pieces and most machines of CI have processors.
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_demo_runs(home, threads):
    done = subprocess.run([sys.executable, ROOT / "examples" / "demo.py", "--budget", "0.5", "--threads", str(threads)],
                          capture_output=True, text=True, env=dict(os.environ), timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert f"; {threads} thread{'s' * (threads > 1)}; " in done.stdout
    found = re.search(r"accuracy on 300 images: ([\d.]+) % tuned, ([\d.]+) % with 8-bit integers, ([\d.]+) % with the default",
                      done.stdout).groups()
    assert min(map(float, found)) > 98
    layers, all_layers = map(int, re.search(r"(\d+) of (\d+) layers in 8-bit integers", done.stdout).groups())
    assert 0 <= layers <= all_layers  # how many is decided by times
    for words in ("The route", "predicted", "measured", "conv2", "default route", "ONNX Runtime", "digit_8_7.png    digit 8"):
        assert words in done.stdout, words


def test_help_needs_no_heavy_module():
    code = ("import sys\nfrom pathweave.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
            "print('heavy:', sorted({'numpy', 'onnx', 'rich', 'sqlite3', 'highspy', 'PIL'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "heavy: []"
