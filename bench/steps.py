"""What it costs to go from one step to the next: `python bench/steps.py [--threads 2] [--regions 1000] [--busy 0]`.

Compiles `steps.cpp` with the thread pool of the native core and runs it: nanoseconds per stage that does nothing, minimum
and median over the regions (of 50 stages each, the kinds interleaved) in which the threads shared the work evenly.
`--busy`: processes that compute beside it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCES = ("bench/steps.cpp", "native/base/threads.cpp", "native/base/cpu.cpp", "native/base/fork.cpp")


def main() -> int:
    """Build, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--regions", type=int, default=1000)
    parser.add_argument("--busy", type=int, default=0)
    args = parser.parse_args()
    compiler = os.environ.get("CXX") or shutil.which("c++")
    if not compiler:
        print("a C++20 compiler is needed: set CXX", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/steps"
        subprocess.run([compiler, "-std=c++20", "-O2", "-I", str(ROOT / "native"), "-I", str(ROOT / "include"), "-o", program,
                        *(str(ROOT / s) for s in SOURCES), "-pthread"], check=True)
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
        try:
            done = subprocess.run([program, str(args.threads), str(args.regions)], check=True, capture_output=True, text=True)
        finally:
            for process in busy:
                process.kill()
    print(f"nanoseconds per stage, threads: {args.threads}, busy processes beside: {args.busy}: minimum, median, regions")
    print(done.stdout, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
