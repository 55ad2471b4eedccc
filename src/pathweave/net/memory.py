"""Memory that the machine has left, to be asked before a plan takes it: Linux ends a process that takes more."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import OutOfMemoryError
from .size import readable

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup")
#: Less than so many bytes are not asked for: reading /proc takes a tenth of a millisecond.
_UNASKED = 64 << 20


def available(proc: Path = _PROC, cgroup: Path = _CGROUP) -> int | None:
    """Bytes that a process may still take: of the machine, swap included, or of the container if that is less.

    None where the system does not say. Source: proc_meminfo(5); the kernel's cgroup-v1/memory and cgroup-v2 pages.
    """
    found = [n for n in (_of_machine(proc), *_of_groups(proc, cgroup)) if n is not None]
    return max(0, min(found)) if found else None


def _of_machine(proc: Path) -> int | None:
    kilobytes = {k: int(v) for k, v in re.findall(r"^(\w+):\s+(\d+) kB", _text(proc / "meminfo"), re.M)}
    if "MemAvailable" not in kilobytes:
        return None
    return (kilobytes["MemAvailable"] + kilobytes.get("SwapFree", 0)) * 1024


def _of_groups(proc: Path, cgroup: Path) -> list[int]:
    """What is left in each control group around this process; none where a group has no limit."""
    found = []
    for line in _text(proc / "self" / "cgroup").splitlines():
        number, controllers, path = (line.split(":", 2) + ["", ""])[:3]
        if number == "0" and not controllers:
            folder, limit, used = cgroup, "memory.max", "memory.current"
        elif "memory" in controllers.split(","):
            folder, limit, used = cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        parts = [p for p in path.split("/") if p and p != ".."]
        for depth in range(len(parts) + 1):
            left = _left(folder.joinpath(*parts[:depth]), limit, used)
            if left is not None:
                found.append(left)
    return found


def _left(group: Path, limit: str, used: str) -> int | None:
    """Limit minus what is in use and cannot be dropped; None without a limit."""
    most, now = _text(group / limit).strip(), _text(group / used).strip()
    if not (most.isdigit() and now.isdigit()) or int(most) >= 2**60:
        return None
    statistics = dict(re.findall(r"^(\w+) (\d+)$", _text(group / "memory.stat"), re.M))
    files = sum(int(statistics.get(k, 0)) for k in ("active_file", "inactive_file"))
    return int(most) - max(0, int(now) - files)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def require(bytes_: int, what: str, advice: str) -> None:
    """Raise OutOfMemoryError where more bytes are needed for `what` than are available."""
    left = available() if bytes_ > _UNASKED else None
    if left is not None and bytes_ > left:
        raise OutOfMemoryError(f"{what}: {readable(bytes_)} ({bytes_} bytes) are needed, {readable(left)} of memory are "
                               f"available; {advice}")

