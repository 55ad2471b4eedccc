"""What a route is tuned for: the time of one call, or calls per second of several sessions that run at the same time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .size import MOST_THREADS

LATENCY, THROUGHPUT = "latency", "throughput"
OBJECTIVES = (LATENCY, THROUGHPUT)


def check_objective(word: Any) -> str:
    """`word`. Raises InputError for what is no objective."""
    if word not in OBJECTIVES:
        raise InputError(f"objective: expected one of {', '.join(OBJECTIVES)}, got {word!r}")
    return str(word)


def check_number_of_sessions(sessions: Any) -> int:
    """`sessions`. Raises InputError for what is no whole number from 1 to MOST_THREADS."""
    if isinstance(sessions, bool) or not isinstance(sessions, int) or not 1 <= sessions <= MOST_THREADS:
        raise InputError(f"sessions: expected a number from 1 to {MOST_THREADS}, got {sessions!r}")
    return sessions


@dataclass(frozen=True)
class Aim:
    """What is measured. `threads`: of a plan. `sessions`: how many run at the same time in use; `at_once`: as many of them as
    there are processors, for the others wait. `team`: threads of the one session that `sessions` are compared with."""

    objective: str = LATENCY
    threads: int = 1
    sessions: int = 1
    at_once: int = 1
    team: int = 1

    @staticmethod
    def of(objective: str, sessions: int | None, team: int, processors: int) -> "Aim":
        """For latency a plan of `team` threads; for throughput one of one thread for `sessions` (None: as many as `team`).

        Raises InputError for an unknown objective, and for several sessions where the time of one call is what counts.
        """
        if check_objective(objective) == LATENCY:
            if sessions is not None and check_number_of_sessions(sessions) != 1:
                raise InputError(f"sessions: {sessions} sessions at the same time are for the objective {THROUGHPUT!r}; that "
                                 f"of {LATENCY!r} is the time of one call: leave sessions out, or say objective={THROUGHPUT!r}")
            return Aim(LATENCY, team, 1, 1, team)
        number = team if sessions is None else check_number_of_sessions(sessions)
        return Aim(THROUGHPUT, 1, number, min(number, processors), team)

    @property
    def throughput(self) -> bool:
        """Whether calls per second count, and not the time of one."""
        return self.objective == THROUGHPUT
