"""Fixtures of the runtime's tests: networks, and what ONNX Runtime computes with them."""

from __future__ import annotations

import numpy as np
import pytest
from runtime_nets import NETS, arithmetic, convolutions


@pytest.fixture(params=NETS)
def onnx_net(request) -> bytes:
    return NETS[request.param]()


@pytest.fixture
def classifier():
    """The convolutional network, loaded, with a symbolic batch."""
    import pathweave as pw
    return pw.load(convolutions())


@pytest.fixture
def adder():
    """The network with two inputs and two outputs, loaded."""
    import pathweave as pw
    return pw.load(arithmetic())


def onnxruntime_outputs(data: bytes, inputs: dict) -> dict:
    """What ONNX Runtime computes."""
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    names = [o.name for o in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs)))


@pytest.fixture
def ort():
    return onnxruntime_outputs


def image(batch: int = 1, seed: int = 7) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((batch, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def x() -> np.ndarray:
    return image()


@pytest.fixture
def batch_of():
    return image
