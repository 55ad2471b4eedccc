"""What a model uses that an importer does not cover, as a message: one line per operator, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

#: Lines of operators that a message has at most.
MOST_LINES = 30
#: The reason of a node whose operator is covered in no way, or its beginning.
UNKNOWN = "not supported"


class Refused(NamedTuple):
    """One node that is not covered: its operator, its name, and why."""

    operator: str
    node: str
    reason: str


def message(where: str, refused: list[Refused], advice: Mapping[str, Callable[[str, str], bool]]) -> str:
    """One line per operator and kind of reason, with the number of nodes and one of them, then the advice that applies.

    `advice`: a sentence -> whether it applies to (operator, reason).
    """
    groups: dict[tuple[str, str], list[Refused]] = {}
    for entry in refused:
        groups.setdefault((entry.operator, _kind(entry.reason)), []).append(entry)
    operators = len({entry.operator for entry in refused})
    unknown = {entry.reason.startswith(UNKNOWN) for entry in refused}
    how = "in a way that is not supported" if unknown == {False} else \
        f"that {'is' if operators == 1 else 'are'} not supported" + (", or not in this way" if len(unknown) > 1 else "")
    lines = [f"{where}: {len(refused)} {'node uses' if len(refused) == 1 else 'nodes use'} "
             f"{'an operator' if operators == 1 else f'{operators} operators'} {how}:"]
    for (operator, _), members in list(groups.items())[:MOST_LINES]:
        first = members[0]
        count = f"{len(members)} nodes, such as {first.node!r}" if len(members) > 1 else f"node {first.node!r}"
        lines.append(f"  {operator}: {count}: {first.reason}")
    if len(groups) > MOST_LINES:
        lines.append(f"  and {len(groups) - MOST_LINES} more; the error's `operators` lists all")
    lines += [sentence for sentence, applies in advice.items() if any(applies(e.operator, e.reason) for e in refused)]
    return "\n".join(lines)


def _kind(reason: str) -> str:
    """A reason without the names and numbers in it, so that nodes refused for one cause are one line."""
    words, quoted = [], False
    for part in reason.split("'"):
        if not quoted:
            words.append("".join(c for c in part if not c.isdigit()))
        quoted = not quoted
    return "".join(words)
