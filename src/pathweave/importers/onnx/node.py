"""One ONNX node as an operator function of ops/ sees it, and the builder that takes tensors of ONNX."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, overload

import numpy as np

from ...errors import ModelError
from ...net.net import TensorSpec
from .. import builder as common
from ..types import narrow
from .external import External
from .tensors import dense, element_type, to_array

#: AttributeProto.type -> the field that holds the value
_ATTRIBUTE_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 6: "floats", 7: "ints", 8: "strings", 11: "sparse_tensor"}
#: Opset from which no operator has an attribute `consumed_inputs`
NONE_CONSUMED = 6
_TYPE_NAMES = {1: "a number", 2: "a whole number", 3: "a word", 4: "a tensor", 5: "a graph", 6: "a list of numbers",
               7: "a list of whole numbers", 8: "a list of words", 9: "a list of tensors", 10: "a list of graphs",
               11: "a sparse tensor", 12: "a list of sparse tensors", 13: "a type", 14: "a list of types"}


class Builder(common.Builder):
    """The net under construction, with constants from TensorProtos. `external`: where external data may lie."""

    def __init__(self, inputs: Mapping[str, TensorSpec], names: Iterable[str], read: Iterable[str],
                 declared_ranks: Mapping[str, int], narrow_double: bool, external: External):
        super().__init__(inputs, names, read, declared_ranks, narrow_double)
        self.external = external

    def inside(self, inputs: Mapping[str, TensorSpec], names: Iterable[str], read: Iterable[str],
               declared_ranks: Mapping[str, int]) -> "Builder":
        """A builder for a graph inside this one."""
        inner = Builder(inputs, names, read, declared_ranks, "f64" in self.types.computed, self.external)
        inner.shares(self)
        return inner

    def add_tensor(self, name: str, tensor, where: str, raw: memoryview | None = None) -> str:
        """Make a TensorProto a constant of the net; `raw`: its raw bytes, where they were taken out of it."""
        return self.add_stored(name, *to_array(tensor, self.external, where, raw))

    def add_sparse(self, name: str, sparse, where: str) -> str:
        """Make a SparseTensorProto a constant of the net, dense."""
        return self.add_stored(name, *dense(sparse, self.external, where))


class Node(common.Node):
    """One ONNX node.

    `version`: opset of the operator's domain. `name`: the node's name, or `OpType_index`. `scope`: other names of values,
    within the branch of an If. `conversion`: of the graph that the node is part of.
    """

    builder: Builder
    conversion: Any = None
    defect = "if onnx.checker takes the model, this is a defect of the importer"

    def __init__(self, proto, name: str, domain: str, version: int, builder: Builder, scope: Mapping[str, str]):
        super().__init__(proto.op_type, name, [scope.get(v, v) for v in proto.input],
                         [scope.get(v, v) for v in proto.output], {a.name: a for a in proto.attribute}, builder)
        self.domain, self.version, self.scope = domain, version, scope
        if not domain and version < NONE_CONSUMED:
            self.ignore("consumed_inputs")  # an optimisation of memory that says nothing of results

    @property
    def where(self) -> str:
        """The node, as messages name it."""
        return f"node {self.name!r} ({self.op}, opset {self.version})"

    def _typed(self, name: str, types: tuple[int, ...], default: Any) -> Any:
        self._seen.add(name)
        if name not in self._attributes:
            return default
        attribute = self._attributes[name]
        if attribute.type not in types:
            raise ModelError(f"attribute {name!r} is {_TYPE_NAMES.get(attribute.type, f'of type {attribute.type}')}; "
                             f"expected {' or '.join(_TYPE_NAMES[t] for t in types)}")
        return getattr(attribute, _ATTRIBUTE_FIELDS[attribute.type])

    @overload
    def ints(self, name: str, default: Sequence[int] = ()) -> tuple[int, ...]: ...
    @overload
    def ints(self, name: str, default: None) -> tuple[int, ...] | None: ...

    def ints(self, name: str, default: Sequence[int] | None = ()) -> tuple[int, ...] | None:
        """Attribute that is a list of whole numbers; the default, which may be None, when it is absent."""
        value = self._typed(name, (7,), default)
        return None if value is None else tuple(int(v) for v in value)

    def text(self, name: str, default: str = "") -> str:
        """Attribute that is a word."""
        value = self._typed(name, (3,), default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def attribute(self, name: str) -> tuple[int, Any]:
        """(AttributeProto type, value) of an attribute of any type with a value. Raises ModelError when absent."""
        self._seen.add(name)
        if name not in self._attributes:
            raise ModelError(f"attribute {name!r} is missing")
        kind = self._attributes[name].type
        if kind not in _ATTRIBUTE_FIELDS:
            self.unsupported(f"attribute {name!r} is {_TYPE_NAMES.get(kind, f'of type {kind}')}")
        return kind, getattr(self._attributes[name], _ATTRIBUTE_FIELDS[kind])

    def graph(self, name: str) -> Any:
        """Attribute that is a graph."""
        self._seen.add(name)
        if name not in self._attributes:
            raise ModelError(f"attribute {name!r} is missing; expected a graph")
        if self._attributes[name].type != 5:
            raise ModelError(f"attribute {name!r} is {_TYPE_NAMES.get(self._attributes[name].type, 'of another type')}; "
                             f"expected a graph")
        return self._attributes[name].g

    def element_type(self, number: int) -> str:
        """pathweave dtype of an ONNX element type."""
        return element_type(number, "element type")

    def tensor(self, proto, where: str) -> tuple[np.ndarray, str]:
        """Content of a TensorProto attribute as the net computes with it, and its ONNX element type."""
        array, dtype = to_array(proto, self.builder.external, where)
        return narrow(array) if array.dtype == np.float64 and "f64" in self.builder.types.computed else array, dtype

    # attributes again: behind these two methods, a type checker takes `int` and `float` in the class for them

    def int(self, name: str, default: int = 0) -> int:
        """Attribute that is a whole number."""
        return int(self._typed(name, (2,), default))

    def float(self, name: str, default: float = 0.0) -> float:
        """Attribute that is a number: exactly the float32 that ONNX stores, which 0.1 is not; defaults are float32 too."""
        return float(np.float32(self._typed(name, (1, 2), default)))
