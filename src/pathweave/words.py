"""Words of messages and tables."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

#: A number with a point or an exponent, not inside of a word.
_FLOAT = re.compile(r"(?<![\w.])-?\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.])")


def counted(n: int | str, noun: str, plural: str = "") -> str:
    """A count with its noun: `1 thread`, `2 threads`; `plural`: where it is not the noun with an s."""
    return f"{n} {noun}" if str(n) == "1" else f"{n} {plural or noun + 's'}"


def printable(text: str, kept: str = "") -> str:
    """A text for a terminal: characters that are not printable, such as those that move the cursor or turn the direction of
    writing, by their escapes (`\\x1b`). `kept`: characters that stay as they are. Names are out of files that anybody wrote."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else c.encode("unicode_escape").decode() for c in text)


def meant(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'conv2'?` for a word that is nearly one of the known ones; else ""."""
    import difflib
    near = difflib.get_close_matches(word, sorted(set(known) - {word}), 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def meant_file(path: str | os.PathLike) -> str:
    """`; did you mean 'model.onnx'?` for a path of which the folder holds a file of nearly that name, or that is in no
    folder; else ""."""
    folder, name = os.path.split(os.fspath(path))
    import difflib
    try:
        names = set(os.listdir(folder or ".")) - {name}
    except (OSError, ValueError):
        return f"; there is no folder {folder!r}" if folder and not os.path.isdir(folder) else ""
    # Endings are shared by files that have nothing else in common.
    stems: dict[str, list[str]] = {}
    for other in sorted(names):
        stems.setdefault(os.path.splitext(other)[0], []).append(other)
    near = difflib.get_close_matches(os.path.splitext(name)[0], stems, 1, 0.7)
    if not near:
        return ""
    best = max(stems[near[0]], key=lambda other: difflib.SequenceMatcher(None, other, name).ratio())
    return f"; did you mean {best!r}?"


def short_floats(text: str) -> str:
    """A text to look at: numbers that are f32 values by the fewest digits that tell them from other f32 values, such as 0.1
    for 0.10000000149011612. What is read again, as a problem's text, stays as it is."""
    import numpy as np

    def short(found: re.Match[str]) -> str:
        value = float(found[0])
        with np.errstate(over="ignore"):
            single = np.float32(value)
        return min(str(single), found[0], key=len) if float(single) == value else found[0]
    return _FLOAT.sub(short, text)
