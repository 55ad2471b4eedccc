"""Operators that are not in the table and that ONNX defines by a function of others: their nodes give way to its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .node import Node
from .tensors import ELEMENT_TYPES


def body_of(node: Node, proto: Any) -> Any:
    """The FunctionProto by which ONNX defines a node's operator at its opset, None where it has none.

    What the body looks like may depend on the node's attributes and on the types and ranks of its inputs.
    Source: ONNX operator schemas, function body and context-dependent function body.
    """
    import onnx
    try:
        schema = onnx.defs.get_schema(node.op, node.version, node.domain)
    except onnx.defs.SchemaError:
        return None
    if schema.has_function:
        versions = schema.function_opset_versions
        return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(_fitting(versions, node.version)))
    if not schema.has_context_dependent_function:
        return None
    types = [_type_of(node, v).SerializeToString() for v in node.given]
    plain = onnx.NodeProto()
    plain.CopyFrom(proto)
    version = _fitting(schema.context_dependent_function_opset_versions, node.version)
    try:
        found = schema.get_context_dependent_function_with_opset_version(version, plain.SerializeToString(), types)
    except Exception as e:  # the builders' own exceptions are of no one type
        node.unsupported(f"ONNX's function of it cannot be made from what is known of its inputs: {e}")
    return onnx.FunctionProto.FromString(found) if found else None


def has_body(op: str, version: int, domain: str) -> bool:
    """Whether ONNX defines an operator by a function of others."""
    import onnx
    try:
        schema = onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return False
    return schema.has_function or schema.has_context_dependent_function


def _fitting(versions: Any, version: int) -> int:
    """The newest version of a body that is not newer than an opset, else the oldest one."""
    return max((v for v in versions if v <= version), default=min(versions))


def _type_of(node: Node, value: str) -> Any:
    """What is known of a value's type, as a TypeProto."""
    import onnx
    made = onnx.TypeProto()
    if not value:
        return made
    dtype, shape = node.file_type(value), node.shape(value)
    numbers = {name: number for number, (name, _, _) in ELEMENT_TYPES.items()}
    made.tensor_type.elem_type = numbers.get(dtype or "", 0)
    if shape is not None:
        made.tensor_type.shape.SetInParent()
        for size in shape:
            dim = made.tensor_type.shape.dim.add()
            if size is not None:
                dim.dim_value = size
    return made


def with_attributes(body: Any, proto: Any, schema: Any) -> list:
    """The nodes of a function with a node's attributes, or their defaults, in place of references to them."""
    given = {a.name: a for a in proto.attribute}
    defaults = {name: a.default_value for name, a in schema.attributes.items() if a.default_value.name}
    defaults.update({a.name: a for a in body.attribute_proto})
    return [_resolved(inner, {**defaults, **given}) for inner in body.node]


def _resolved(proto: Any, attributes: Mapping[str, Any]) -> Any:
    made = type(proto)()
    made.CopyFrom(proto)
    del made.attribute[:]
    for attribute in proto.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in attributes:
                added = made.attribute.add()
                added.CopyFrom(attributes[attribute.ref_attr_name])
                added.name = attribute.name
            continue
        added = made.attribute.add()
        added.CopyFrom(attribute)
        for graph in ([added.g] if added.HasField("g") else []) + list(added.graphs):
            nodes = [_resolved(inner, attributes) for inner in graph.node]
            del graph.node[:]
            graph.node.extend(nodes)
    return made
