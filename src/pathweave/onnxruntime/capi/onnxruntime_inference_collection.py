"""What applications import from this module of ONNX Runtime: sessions and values."""

from __future__ import annotations

from ..binding import IOBinding
from ..session import InferenceSession
from ..values import OrtDevice, OrtValue

__all__ = ["IOBinding", "InferenceSession", "OrtDevice", "OrtValue"]
