"""Exceptions with the names that ONNX Runtime gives its status codes; each is a `pathweave.Error`.

Where pathweave found the reason, its own error is the `__cause__`. Source: onnxruntime/core/common/status.h (names, numbers).
"""

from __future__ import annotations

from typing import ClassVar

from ..errors import (
    Error,
    FileFormatError,
    InputError,
    ModelError,
    OutOfMemoryError,
    RouteError,
    ShapeError,
    UnsupportedOperatorError,
)


class Status(Error):
    """Root of these exceptions. The text begins with the number and the name of the status, as applications look for it."""

    code: ClassVar[int] = 1
    label: ClassVar[str] = "FAIL"

    def __init__(self, message: str = ""):
        super().__init__(f"[pathweave] : {self.code} : {self.label} : {message}")

    @property
    def words(self) -> str:
        """The text without number and name."""
        return str(self).removeprefix(f"[pathweave] : {self.code} : {self.label} : ")

    def __reduce__(self) -> tuple:
        return _rebuilt, (type(self), *self.args)


def _rebuilt(kind: type[Status], text: str) -> Status:
    """A pickled exception; its text has the beginning already."""
    found = kind.__new__(kind, text)
    found.args = (text,)
    return found


class Fail(Status):
    """What has no status of its own."""


class InvalidArgument(Status):
    """A name, an element type, a rank, a size or an option is not what it should be."""

    code, label = 2, "INVALID_ARGUMENT"


class NoSuchFile(Status):
    """The file is not there."""

    code, label = 3, "NO_SUCHFILE"


class NoModel(Status):
    """There is no model."""

    code, label = 4, "NO_MODEL"


class EngineError(Status):
    """The engine is at fault."""

    code, label = 5, "ENGINE_ERROR"


class RuntimeException(Status, RuntimeError):
    """A run failed, for sizes or contents that do not fit together; also a RuntimeError."""

    code, label = 6, "RUNTIME_EXCEPTION"


class InvalidProtobuf(Status):
    """The file, or the bytes, is no protobuf message."""

    code, label = 7, "INVALID_PROTOBUF"


class ModelLoaded(Status):
    """A model was loaded already."""

    code, label = 8, "MODEL_LOADED"


class NotImplemented(Status):  # noqa: A001  (the name that applications catch)
    """An operator, or a part of ONNX Runtime's interface, is not covered."""

    code, label = 9, "NOT_IMPLEMENTED"


class InvalidGraph(Status):
    """The model's graph is malformed."""

    code, label = 10, "INVALID_GRAPH"


class EPFail(Status):
    """An execution provider failed."""

    code, label = 11, "EP_FAIL"


class ModelLoadCanceled(Status):
    """Loading was cancelled."""

    code, label = 12, "MODEL_LOAD_CANCELED"


class ModelRequiresCompilation(Status):
    """The model must be compiled before."""

    code, label = 13, "MODEL_REQUIRES_COMPILATION"


class NotFound(Status):
    """A thing that was asked for is not there."""

    code, label = 14, "NOT_FOUND"


class DeviceReset(Status):
    """A device was reset."""

    code, label = 15, "DEVICE_RESET"


class LayerRefusal(RuntimeException, Fail, InvalidArgument):
    """A layer cannot compute what a run gives it. ONNX Runtime raises one of the three, depending on the operator."""


#: Errors of pathweave while a model is read, and the exceptions that callers get; the first that fits.
LOADING: tuple[tuple[type[Exception], type[Status]], ...] = (
    (UnsupportedOperatorError, NotImplemented), (FileFormatError, InvalidProtobuf), (RouteError, InvalidArgument),
    (InputError, InvalidArgument), (ModelError, InvalidGraph), (Error, Fail))
#: The same while a run reads the model once more, with other inputs.
READING_AGAIN: tuple[tuple[type[Exception], type[Status]], ...] = (
    (UnsupportedOperatorError, NotImplemented), (FileFormatError, InvalidProtobuf), (InputError, InvalidArgument),
    (ModelError, LayerRefusal), (Error, Fail))
#: The same of a run.
RUNNING: tuple[tuple[type[Exception], type[Status]], ...] = (
    (InputError, InvalidArgument), (ShapeError, LayerRefusal), (OutOfMemoryError, RuntimeException), (Error, Fail))


def status_of(error: Error, table: tuple[tuple[type[Exception], type[Status]], ...]) -> Status:
    """The exception that stands for an error of pathweave; the caller raises it from that."""
    return error if isinstance(error, Status) else next(s for e, s in table if isinstance(error, e))(str(error))
