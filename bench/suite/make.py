#!/usr/bin/env python3
"""Write the nets of the suite as ONNX files, with inputs at several sizes beside them.

    python bench/suite/make.py FOLDER [NAME ...] [--list] [--forms]

Each NET becomes NET.EXPORTER.onnx by every exporter of its recipe (l: torch's older one, d: its newer one, k: Keras, t:
tf2onnx), and NET.0.npz, NET.1.npz, ... with inputs at the sizes of the recipe. With `--forms` quantised and float16 forms of
ten of them are made too, by ONNX Runtime's tools. A net is made in a process of its own; what is there already is left alone.
NAME may hold * and ?. Weights are random, from a fixed seed. Needs what `requirements.txt` beside this file lists; Keras and
TensorFlow an environment of their own (`requirements-keras.txt`).
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import pkgutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LIMIT_S = 900


def recipes() -> dict[str, Any]:
    """Every recipe by name, of those files whose frameworks are installed."""
    import nets
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(nets.__path__):
        try:
            found.update(importlib.import_module(f"nets.{module.name}").NETS)
        except ImportError as e:
            print(f"{module.name} is left out: {e}", file=sys.stderr)
    return found


def make_torch(name: str, recipe: Any, exporter: str, path: Path) -> None:
    """Write one net by one exporter."""
    import torch
    from exporters import EXPORTERS
    torch.manual_seed(0)
    module = recipe.build().eval()
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, torch.nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
                part.running_mean.normal_(0, 0.1)
                part.running_var.uniform_(0.5, 1.5)
        for parameter in module.parameters():
            if parameter.numel() > 1 and bool((parameter == parameter.flatten()[0]).all()):
                parameter.add_(torch.randn_like(parameter) * 0.05)  # initialised as a constant: it would hide what is lost
        if hasattr(module, "settle"):
            module.settle()
        inputs = {n: torch.from_numpy(a) for n, a in recipe.inputs(**recipe.sizes[0]).items()}
        EXPORTERS[exporter](module, inputs, recipe, path)


def make(name: str, exporter: str, folder: Path) -> None:
    """Write one net by one exporter, and its inputs. A file is there wholly or not at all."""
    import numpy as np
    recipe = recipes()[name]
    path, part = folder / f"{name}.{exporter}.onnx", folder / f"{name}.{exporter}.part"
    if hasattr(recipe, "write"):
        recipe.write(exporter, part)
    else:
        make_torch(name, recipe, exporter, part)
    for i, sizes in enumerate(recipe.sizes):
        np.savez(folder / f"{name}.{i}.npz", **recipe.inputs(**sizes))
    part.rename(path)


def _in_a_child(name: str, exporter: str, folder: Path) -> str:
    """"" where it went well, else the last line of what went wrong."""
    command = [sys.executable, __file__, str(folder), name, "--only", exporter]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return f"took longer than {LIMIT_S} s"
    lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
    return "" if done.returncode == 0 else (lines or ["no message"])[-1][:300]


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the nets of the suite as ONNX files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=["*"], help="names of nets, with * and ?")
    parser.add_argument("--list", action="store_true", help="only print names, exporters and families")
    parser.add_argument("--forms", action="store_true", help="also quantised and float16 forms of ten nets")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(HERE))
    if options.only:
        make(options.names[0], options.only, options.folder)
        return 0
    from families import family_of, is_named
    chosen = {n: r for n, r in recipes().items() if any(fnmatch.fnmatch(n, p) for p in options.names)}
    strangers = [n for n in chosen if not is_named(n)]
    if strangers:
        parser.error(f"no family has {', '.join(strangers)}; add them to bench/suite/families.py")
    if options.list:
        print("\n".join(f"{n}  {' '.join(r.exporters)}  {family_of(n)}" for n, r in chosen.items()))
        return 0
    options.folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, str] = {}
    jobs = [(n, e) for n, r in chosen.items() for e in r.exporters]
    for i, (name, exporter) in enumerate(jobs, 1):
        if (options.folder / f"{name}.{exporter}.onnx").exists():
            continue
        begin = time.time()
        reason = _in_a_child(name, exporter, options.folder)
        if reason:
            failed[f"{name}.{exporter}"] = reason
        print(f"[{i}/{len(jobs)}] {name}.{exporter}: {reason or 'written'} ({time.time() - begin:.0f} s)", flush=True)
    if options.forms:
        from forms import make_forms
        failed.update(make_forms(options.folder))
    (options.folder / "not_made.json").write_text(json.dumps(failed, indent=1) + "\n")
    print(f"{len(list(options.folder.glob('*.onnx')))} files in {options.folder}; {len(failed)} could not be made")
    return 0


if __name__ == "__main__":
    sys.exit(main())
