"""The machine's clocks, handed to whatever measures or waits, so that a test can hand in clocks of its own."""

from __future__ import annotations

import time
from typing import Protocol


class Timer(Protocol):
    """What tells the time. Differences of `now` and of `ns` mean something, their values do not."""

    def now(self) -> float:
        """Seconds; never runs back."""
        ...

    def ns(self) -> int:
        """Nanoseconds, with the finest steps that the machine has; never runs back."""
        ...

    def cpu(self) -> float:
        """Seconds that all threads of this process computed."""
        ...

    def date(self) -> float:
        """Seconds since 1970 (UTC)."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemTimer:
    """The clocks of the operating system."""

    def __repr__(self) -> str:
        return "SYSTEM"  # as signatures show it

    def now(self) -> float:
        """Seconds; never runs back."""
        return time.perf_counter()

    def ns(self) -> int:
        """Nanoseconds; never runs back."""
        return time.perf_counter_ns()

    def cpu(self) -> float:
        """Seconds that all threads of this process computed."""
        return time.process_time()

    def date(self) -> float:
        """Seconds since 1970 (UTC)."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)


#: The clocks of this machine.
SYSTEM: Timer = SystemTimer()
