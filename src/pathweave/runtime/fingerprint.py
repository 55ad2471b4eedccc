"""Host fingerprint: what decides how fast a kernel runs here. Equal ids mean that measurements may be shared."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping


@dataclass(frozen=True)
class HostFingerprint:
    """`id`: 12 hexadecimal digits, the key of the store. `facts`: what it was made of, for people to read."""

    id: str
    facts: Mapping[str, Any]

    def __str__(self) -> str:
        return self.id


def host(isa: Callable[[], Iterable[str]] | None = None, root: str | os.PathLike = "/") -> HostFingerprint:
    """Fingerprint of this machine; the same in every run, whatever else runs and whatever the clock speed.

    Made of the processor (name, family, model, stepping), instruction sets (`isa()`: the tiers that the native core
    found; without it the vector flags of /proc/cpuinfo), logical and physical cores, caches, the cap PATHWEAVE_ISA
    and the CPU quota of the container. The affinity of the calling process is left out: the thread count is part of
    every problem. Memory channels are not visible to a user process and are unknown. `root`: where /proc and /sys
    are. Elsewhere than on Linux, what the platform module knows.
    """
    root = Path(root)
    processors = _processors(_text(root / "proc/cpuinfo"))
    facts = {
        "cpu": _name(processors),
        "machine": platform.machine(),
        "parts": _parts(processors),
        "isa": list(isa()) if isa is not None else _flags(processors),
        "isa_cap": os.environ.get("PATHWEAVE_ISA", ""),
        "logical_cores": len(processors) or os.cpu_count(),
        "physical_cores": _physical(processors),
        "caches": _caches(root / "sys/devices/system/cpu/cpu0/cache"),
        "memory_channels": None,
        "cpu_quota": _quota(root),
    }
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return HostFingerprint(hashlib.sha256(canonical.encode()).hexdigest()[:12], facts)


def this_host() -> HostFingerprint:
    """Fingerprint of this machine under the instruction sets that the native core uses."""
    from .devices import cpu_info
    return host(lambda: cpu_info()["used"])


def _text(path: Path) -> str:
    """Contents of a file, "" when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _processors(cpuinfo: str) -> list[dict[str, str]]:
    """One dict per logical processor of /proc/cpuinfo."""
    blocks = []
    for block in re.split(r"\n\s*\n", cpuinfo):
        fields = dict(re.findall(r"^([^:\t]+?)\s*:[ \t]*(.*)$", block, re.MULTILINE))
        if "processor" in fields:
            blocks.append(fields)
    return blocks


def _name(processors: list[dict[str, str]]) -> str:
    names = dict.fromkeys(p[k] for p in processors for k in ("model name", "Model", "cpu") if p.get(k))
    return " + ".join(names) or platform.processor() or platform.machine() or "unknown"


def _parts(processors: list[dict[str, str]]) -> list[str]:
    """Identity of every kind of core: vendor, family, model, stepping (x86), or implementer, part, variant (ARM)."""
    keys = ("vendor_id", "cpu family", "model", "stepping", "CPU implementer", "CPU part", "CPU variant")
    return sorted({"/".join(p.get(k, "") for k in keys).strip("/") for p in processors} - {""})


def _flags(processors: list[dict[str, str]]) -> list[str]:
    """Vector and matrix instruction sets among the flags that every core has."""
    wanted = re.compile(r"^(sse4_[12]|avx.*|fma|f16c|amx.*|neon|asimd.*|sve.*|sme(2.*|[a-oq-z_].*)?|i8mm|bf16|fphp)$")
    sets = [set((p.get("flags") or p.get("Features") or "").split()) for p in processors]
    return sorted(f for f in set.intersection(*sets) if wanted.match(f)) if sets else []


def _physical(processors: list[dict[str, str]]) -> int | None:
    cores = {(p["physical id"], p["core id"]) for p in processors if "core id" in p and "physical id" in p}
    return len(cores) or None


def _caches(folder: Path) -> dict[str, str]:
    """`{"L1d": "32K", "L2": "2048K", "L3": "107520K"}` of the first core."""
    found = {}
    for index in sorted(folder.glob("index*")):
        level, kind, size = (_text(index / name) for name in ("level", "type", "size"))
        if level and size:
            found["L" + level + {"Data": "d", "Instruction": "i"}.get(kind, "")] = size
    return found


def _quota(root: Path) -> float | None:
    """Cores that the control group may use, over all its parents; None = no limit."""
    limits = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        names = controllers.split(",")
        if controllers and "cpu" not in names:
            continue
        base = root / "sys/fs/cgroup" if not controllers else root / "sys/fs/cgroup/cpu"
        parts = [p for p in path.split("/") if p and p != ".."]
        for depth in range(len(parts) + 1):
            limits.append(_limit(base.joinpath(*parts[:depth])))
    known = [x for x in limits if x is not None]
    return round(min(known), 2) if known else None


def _limit(group: Path) -> float | None:
    """Quota / period of one control group, version 2 or 1."""
    if limit := _text(group / "cpu.max"):
        quota, _, period = limit.partition(" ")
    else:
        quota, period = _text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")
    try:
        return float(quota) / float(period or 100000) if float(quota) > 0 else None
    except ValueError:  # "max", or nothing there
        return None
