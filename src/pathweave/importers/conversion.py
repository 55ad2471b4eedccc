"""Nodes of a foreign graph become layers, in order; all that is not covered becomes one error at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ModelError, UnsupportedOperatorError
from ..plugins import collect
from .builder import Builder, Node, convert
from .refusals import UNKNOWN, Refused, message


def operator_table(package: str) -> dict[str, Callable[[Any], None]]:
    """Every operator by name: the tables `OPERATORS` of all modules in a package's folder, such as `importers.onnx.ops`, and in
    the part `onnx_operators` of plugins. Raises ModelError for doubles."""
    importer = package.rpartition(".")[0].rpartition(".")[2]
    return collect(package, f"{importer}_operators", lambda module: getattr(module, "OPERATORS", {}), "operator")


class Conversion:
    """The state of one conversion: what is not covered, and the values that are missing because of it.

    `table`: operator -> function of a Node that emits its layers. `names`: of all nodes that have one in the file. `became`:
    operator -> how many nodes there are under "", and how many layers of which kind they became.
    """

    def __init__(self, builder: Builder, table: Mapping[str, Callable[[Any], None]], names: Iterable[str] = ()):
        self.builder, self.table, self.names = builder, table, set(names)
        self.refused: list[Refused] = []
        self.poisoned: set[str] = set()
        self.became: dict[str, Counter[str]] = {}
        self._inside = 0  # nodes that are being turned into layers, one inside of the other

    def name(self, given: str, op: str, index: int) -> str:
        """The name of a node: the given one, or for one without OP_INDEX, which no other node of the file has."""
        name = given or f"{op}_{index}"
        while not given and name in self.names:
            name += "_"
        return name

    def add(self, node: Node, key: str | None = None, work: Callable[[], None] | None = None,
            reads: Iterable[str] = ()) -> None:
        """Turn one node into layers, or note why it is not covered.

        `key`: of the table, and in the message; by default the operator. `work`: what is done in place of the table's
        function. `reads`: values that the node reads beside its inputs. What depends on a node that is not covered is
        not complained about, but for its own operator's being unknown. Raises ModelError for a malformed node.
        """
        before, self._inside = len(self.builder.layers), self._inside + 1
        try:
            self._add(node, key or node.op, work, reads)
        finally:
            self._inside -= 1
        if not self._inside:
            kinds = self.became.setdefault(key or node.op, Counter())
            kinds[""] += 1
            kinds.update(layer.kind for layer in self.builder.layers[before:])

    def _add(self, node: Node, key: str, work: Callable[[], None] | None, reads: Iterable[str]) -> None:
        broken = any(v in self.poisoned for v in (*node.given, *reads))
        covered = work is not None or key in self.table
        reason = None if covered else self._unknown(key)
        if covered:
            try:
                self._check_inputs(node)
                if work is not None:
                    work()
                else:
                    convert(node, self.table[key])
            except UnsupportedOperatorError as e:
                reason = str(e)
            except ModelError:
                if not broken:
                    raise
        if reason is not None and not (broken and covered):
            self.refused.append(Refused(key, node.name, reason))
        if reason is not None or broken:
            self.poisoned.update(v for v in node.outputs if v)

    def _unknown(self, key: str) -> str:
        """The reason of a node whose operator is covered in no way; it begins with UNKNOWN."""
        return UNKNOWN

    def finish(self, where: str, advice: Mapping[str, Callable[[str, str], bool]] | None = None) -> None:
        """Raise UnsupportedOperatorError with all that was not covered, if anything was; `advice` as in `refusals`."""
        if self.refused:
            raise UnsupportedOperatorError(message(where, self.refused, advice or {}),
                                           [(r.operator, r.node) for r in self.refused])

    def _check_inputs(self, node: Node) -> None:
        for v in node.given:
            if v and v not in self.builder.values and v not in self.builder.constants and v not in self.poisoned:
                raise ModelError(f"node {node.name!r} ({node.op}): input {v!r} is not made before it; "
                                 "the nodes must be in topological order and free of cycles")
        if not any(node.outputs):
            raise ModelError(f"node {node.name!r} ({node.op}): has no output")
