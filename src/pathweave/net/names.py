"""Names that are taken, and new ones."""

from __future__ import annotations

from collections.abc import Iterable


class Names:
    """A growing set of names. A search for a new one goes on where the last one for the same base ended, so that many
    names of one base take linear time."""

    def __init__(self, taken: Iterable[str] = ()):
        self._taken = set(taken)
        self._tried: dict[str, int] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._taken

    def add(self, name: str) -> None:
        """Take a name."""
        self._taken.add(name)

    def unused(self, base: str) -> str:
        """`base`, or the first of `base_1`, `base_2` ... that nobody has; never ""."""
        name, i = base, self._tried.get(base, 1)
        while not name or name in self._taken:
            name, i = f"{base}_{i}", i + 1
        self._tried[base] = max(1, i - 1)
        return name

    def fresh(self, base: str) -> str:
        """The same, taken."""
        name = self.unused(base)
        self.add(name)
        return name
