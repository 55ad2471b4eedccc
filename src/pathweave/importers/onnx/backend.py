"""ONNX's standard interface of backends, so that tools written for it, its conformance tests among them, run on pathweave.

    import pathweave.importers.onnx.backend as backend
    outputs = backend.prepare(model).run(inputs)

It is a door from outside: it uses the package's public names as any caller does. Source: onnx.backend.base.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep, namedtupledict

from ...errors import Error, InputError
from ...words import counted

DEVICE = "CPU"


class PathweaveRep(BackendRep):
    """A model that is ready to run. `model`: a `pathweave.Model`."""

    def __init__(self, model: Any):
        self.model = model

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Outputs in the model's order, as a named tuple.

        `inputs`: arrays in the order of the model's inputs, or by name; an array for a model with one input. Raises
        InputError, DTypeError where they do not fit.
        """
        specs = self.model.inputs
        if isinstance(inputs, np.ndarray):
            inputs = [inputs]
        if not isinstance(inputs, Mapping):
            inputs = list(inputs)
            if len(inputs) != len(specs):
                raise InputError(f"run: got {counted(len(inputs), 'input')}, expected {len(specs)}: {', '.join(specs)}; give "
                                 "an array for each")
            inputs = dict(zip(specs, inputs))
        results = self.model.run(inputs)
        return namedtupledict("Outputs", list(results))(*results.values())


class PathweaveBackend(Backend):
    """Runs ONNX models on the CPU through pathweave, by default routes of accuracy class f32."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = DEVICE, **kwargs: Any) -> bool:
        """Whether a model can be imported and runs on a device."""
        try:
            return cls.supports_device(device) and cls.prepare(model, device, **kwargs) is not None
        except Error:
            return False

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = DEVICE, **kwargs: Any) -> PathweaveRep:
        """A model that is ready to run. `kwargs`: options of `pathweave.load`. Raises what that raises, and InputError for a
        device that there is not."""
        import pathweave
        if not cls.supports_device(device):
            raise InputError(f"prepare: device {device!r}; expected {DEVICE!r}")
        return PathweaveRep(pathweave.load(model.SerializeToString(), **kwargs))

    @classmethod
    def run_node(cls, node: onnx.NodeProto, inputs: Any, device: str = DEVICE, outputs_info: Any = None,
                 **kwargs: Any) -> tuple[Any, ...]:
        """Outputs of one node. `inputs`: an array for each input that has a name. `kwargs`: `opset_version`, by default the
        newest one."""
        arrays = [np.asarray(a) for a in ([inputs] if isinstance(inputs, np.ndarray) else inputs)]
        return cls.prepare(_model_of(node, arrays, kwargs.get("opset_version")), device).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """Whether models run on a device, by the name that ONNX gives it."""
        return device.partition(":")[0] == DEVICE


def _model_of(node: onnx.NodeProto, arrays: list[np.ndarray], opset: int | None) -> onnx.ModelProto:
    """A model of one node, whose inputs are of the types and shapes of arrays; types of outputs are inferred."""
    names = [name for name in node.input if name]
    if len(names) != len(arrays):
        raise InputError(f"run_node: {node.op_type} has {counted(len(names), 'input')}, got {counted(len(arrays), 'array')}")
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
              for name, a in zip(names, arrays)]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output if name]
    graph = helper.make_graph([node], "node", inputs, outputs)
    opsets = [helper.make_opsetid("", opset or onnx.defs.onnx_opset_version())]
    if node.domain:
        opsets.append(helper.make_opsetid(node.domain, 1))
    return onnx.shape_inference.infer_shapes(helper.make_model(graph, opset_imports=opsets))


is_compatible = PathweaveBackend.is_compatible
prepare = PathweaveBackend.prepare
run_model = PathweaveBackend.run_model
run_node = PathweaveBackend.run_node
supports_device = PathweaveBackend.supports_device
