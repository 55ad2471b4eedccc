"""InferenceSession: a model that is called as ONNX Runtime's are."""

from __future__ import annotations

import json
import os
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import numpy as np

from ..errors import Error, FileFormatError
from ..net.format import numpy_dtype
from ..words import meant_file
from . import described
from .binding import IOBinding
from .described import TYPES, Description, ModelMetadata, NodeArg, number_of, text_of
from .options import ROUTE, RunOptions, SessionOptions, checked
from .process import PROVIDERS, get_available_providers
from .statuses import (
    LOADING,
    RUNNING,
    Fail,
    InvalidArgument,
    InvalidProtobuf,
    NoSuchFile,
    RuntimeException,
    Status,
    status_of,
)
from .statuses import NotImplemented as NotCovered
from .values import OrtValue
from .variants import Need, Variants

_NUMBERS = {number: dtype for dtype, (_, number) in TYPES.items()}


class InferenceSession:
    """A model that can be called. Any number of threads may call it.

    `path_or_bytes`: an ONNX model, or the path of a `.pw` file. `sess_options`: see `SessionOptions`. `providers`: names, or
    pairs of a name and options; there is the CPU alone, and a warning for others. Raises NoSuchFile, InvalidProtobuf,
    InvalidGraph, NotImplemented (operators that are not covered, all of them), InvalidArgument.
    """

    def __init__(self, path_or_bytes: str | bytes | os.PathLike, sess_options: SessionOptions | None = None,
                 providers: Sequence[Any] | None = None, provider_options: Sequence[Mapping] | None = None, **kwargs: Any):
        self._options = checked(sess_options)
        self._trace = _Trace() if self._options.enable_profiling else None
        _check_providers(providers, provider_options)
        begin = time.perf_counter_ns()
        source = _source_of(path_or_bytes)
        #: Path of the model as text, None for bytes; applications read it from ONNX Runtime's sessions.
        self._model_path = source if isinstance(source, str) else None
        try:
            self._load(source)
        except Status:
            raise
        except Error as e:
            raise status_of(e, LOADING) from e
        if self._trace:
            self._trace.add("session_initialization", begin)

    def _load(self, source: Any) -> None:
        found = described.of_onnx(source)
        overrides = _dimensions(found, self._options) if found else {}
        inputs = _overridden(found.inputs, overrides) if found else []
        path = self._options._entries.get(ROUTE)
        take = partial(_take_routes, path=path) if path is not None else None
        self._variants = Variants(source, inputs, self._options, overrides, take)
        #: The model as its file declares it; None where the file leaves a rank open, before a call gives one.
        self._model: Any = self._variants.read() if all(a._ranked for a in inputs) else None
        if self._model is None:
            self._variants.check_operators()
        self._open = tuple(a for a in inputs if not a.shape)
        self._description = found = found or described.of_model(self._model)
        found.inputs = inputs or found.inputs
        found.outputs = _renamed(found.outputs, self._options._dimensions if overrides else {})
        if self._model:
            found.inputs = [a for a in found.inputs if a.name in self._model.inputs]
        self._inputs = {a.name: _Argument(a, a in self._open) for a in found.inputs}
        self._overridable = {a.name: _Argument(a, not a.shape) for a in found.overridable}
        self._open += tuple(a for a in found.overridable if not (a.shape and a._ranked))
        self._outputs = [a.name for a in found.outputs]
        self._told_outputs: list[NodeArg] | None = None
        symbols = Counter(d for a in found.inputs for d in a.shape if isinstance(d, str))
        self._repeated = {symbol for symbol, n in symbols.items() if n > 1}
        if isinstance(source, bytes) and not (found.overridable or self._repeated or self._open):
            self._variants.source = b""  # nothing will read it again

    # ---- what the model says of itself ----

    def get_inputs(self) -> list[NodeArg]:
        """Inputs that a call must give, in the model's order."""
        return list(self._description.inputs)

    def get_outputs(self) -> list[NodeArg]:
        """Outputs, in the model's order; sizes that the file leaves open are those that are found out."""
        if self._told_outputs is None:
            self._told_outputs = described.with_outputs(self._description, self._model)
        return list(self._told_outputs)

    def get_overridable_initializers(self) -> list[NodeArg]:
        """Initializers that a call may give: those that are inputs too, from IR version 4."""
        return list(self._description.overridable)

    def get_modelmeta(self) -> ModelMetadata:
        """What the file says of the model."""
        return self._description.meta

    def get_session_options(self) -> SessionOptions:
        """The options of this session."""
        return self._options

    def get_providers(self) -> list[str]:
        """`["CPUExecutionProvider"]`."""
        return list(PROVIDERS)

    def get_provider_options(self) -> dict[str, dict]:
        """No options: `{"CPUExecutionProvider": {}}`."""
        return {name: {} for name in PROVIDERS}

    def set_providers(self, providers: Sequence[Any] | None = None, provider_options: Sequence[Mapping] | None = None) -> None:
        """Check the names; there is the CPU alone, and a warning for others."""
        _check_providers(providers, provider_options)

    def enable_fallback(self) -> None:
        """No effect: there is nothing to fall back to."""

    def disable_fallback(self) -> None:
        """No effect: there is nothing to fall back to."""

    # ---- calls ----

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any],
            run_options: RunOptions | None = None) -> list[np.ndarray]:
        """Results in the order of `output_names`; None or nothing: all, in the model's order.

        `input_feed`: name -> array, list of numbers or OrtValue; an input that has an initializer may be left out. Raises
        InvalidArgument (also a ValueError where required inputs are missing), RuntimeException, Fail.
        """
        return self._results("run", output_names, input_feed, run_options)

    def run_with_ort_values(self, output_names: Sequence[str] | None, input_dict_ort_values: Mapping[str, OrtValue],
                            run_options: RunOptions | None = None) -> list[OrtValue]:
        """Like `run`, with values in and out."""
        found = self._results("run_with_ort_values", output_names, input_dict_ort_values, run_options)
        return [OrtValue(a) for a in found]

    def run_async(self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any],
                  callback: Callable[[list, Any, str], None], user_data: Any, run_options: RunOptions | None = None) -> None:
        """Like `run`, in a thread of its own; then `callback(results, user_data, error)`, whose error is "" if all is well.
        Raises TypeError for the options, and ValueError for missing inputs, at once."""
        _check_run_options("run_async", run_options)
        self._check_given(input_feed)

        def called() -> None:
            try:
                found, error = self._results("run_async", output_names, input_feed, run_options), ""
            except Exception as e:  # noqa: BLE001  (nobody else would hear of it)
                found, error = [], str(e)
            callback(found, user_data, error)
        threading.Thread(target=called, name="pathweave run_async", daemon=True).start()

    def io_binding(self) -> IOBinding:
        """Memory for inputs and outputs that stays bound from run to run."""
        return IOBinding(self)

    def run_with_iobinding(self, iobinding: IOBinding, run_options: RunOptions | None = None) -> None:
        """Run on what is bound. Raises RuntimeException; ValueError for a binding of another session."""
        if iobinding._session is not self:
            raise ValueError("IOBinding must be used with the session that created it.")
        iobinding.run(run_options)

    def create_ortvalue_from_shape_and_type(self, shape: Sequence[int], element_type: Any, device_type: str, device_id: int = 0,
                                            vendor_id: int = -1) -> OrtValue:
        """A value of zeros; see `OrtValue.ortvalue_from_shape_and_type`."""
        return OrtValue.ortvalue_from_shape_and_type(shape, element_type, device_type, device_id, vendor_id)

    def _results(self, where: str, names: Any, feed: Mapping[str, Any], options: RunOptions | None) -> list[np.ndarray]:
        _check_run_options(where, options)
        if options is not None and options.terminate:
            raise Fail("Exiting due to terminate flag being set to true.")
        wanted = self._wanted(names)
        arrays, given = self._arrays(feed)
        loose = bool(self._repeated) and self._inconsistent(arrays)
        ranks = self._ranks(arrays) if self._open else ()
        model = self._model if not (ranks or given or loose) else self._variants.get(Need(ranks, given, loose))
        begin = time.perf_counter_ns() if self._trace else 0
        try:
            results = model.run(arrays)
        except Error as e:
            raise status_of(e, RUNNING) from e
        if self._trace:
            self._trace.add("model_run", begin)
        return [results[name] for name in wanted]

    def _wanted(self, names: Any) -> Sequence[str]:
        if names is None:
            return self._outputs
        if isinstance(names, (str, bytes, Mapping)) or not isinstance(names, Iterable):
            raise TypeError(f"output_names: expected a list of names, got {names!r}")
        names = list(names) or self._outputs
        for name in names:
            if name not in self._outputs:
                if not isinstance(name, str):
                    raise TypeError(f"output_names: expected a list of names, got {name!r} among them")
                raise InvalidArgument(f"Invalid output name:{name}; expected some of {', '.join(self._outputs)}")
        return names

    def _check_given(self, feed: Mapping[str, Any]) -> None:
        """Raise InvalidFeed where a call leaves out an input that it must give."""
        if self._inputs.keys() - feed.keys():
            missing = [n for n in self._inputs if n not in feed]
            raise InvalidFeed(f"Required inputs ({missing}) are missing from input feed ({list(feed)}).")

    def _arrays(self, feed: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], frozenset[str]]:
        """Arrays by name, and which of them take the place of an initializer."""
        self._check_given(feed)
        found: dict[str, np.ndarray] = {}
        given = []
        for name, value in feed.items():
            argument = self._inputs.get(name)
            if argument is None:
                argument = self._overridable.get(name)
                if argument is None:
                    if not isinstance(name, str):
                        raise TypeError(f"input_feed: expected names of inputs, got {name!r} as one")
                    known = ", ".join((*self._inputs, *self._overridable))
                    raise InvalidArgument(f"Invalid input name: {name}; expected some of {known}")
                if value is None:
                    continue
                given.append(name)
            found[name] = argument.array(value)
        return found, frozenset(given)

    def _inconsistent(self, arrays: Mapping[str, np.ndarray]) -> bool:
        """Whether dimensions with the same symbol have different sizes, which ONNX Runtime takes."""
        sizes: dict[str, int] = {}
        for argument in self._inputs.values():
            for symbol, size in zip(argument.shape, arrays[argument.name].shape):
                if symbol in self._repeated and sizes.setdefault(symbol, size) != size:
                    return True
        return False

    def _ranks(self, arrays: Mapping[str, np.ndarray]) -> tuple[tuple[str, int], ...]:
        """Ranks of the arrays for inputs of which the file states none, or rank 0, which ONNX Runtime does not check."""
        return tuple((a.name, arrays[a.name].ndim) for a in self._open
                     if a.name in arrays and (arrays[a.name].ndim or not a._ranked))

    # ---- profile ----

    def end_profiling(self) -> str:
        """Write the profile of a session with `enable_profiling`: a trace of loading and runs. The file's name, "" where
        profiling was not enabled. `pathweave tune` and `pathweave explain` tell of single layers."""
        if self._trace is None:
            return ""
        trace, self._trace = self._trace, None
        return trace.write(self._options.profile_file_prefix)

    def get_profiling_start_time_ns(self) -> int:
        """When profiling began, in nanoseconds since 1970; 0 where it was not enabled."""
        return self._trace.start if self._trace else 0

    # ---- what there is not ----

    def run_with_ortvaluevector(self, *arguments: Any) -> NoReturn:
        """Raises NotImplemented."""
        raise NotCovered("run_with_ortvaluevector: there are no vectors of values; call run_with_ort_values")

    def get_tuning_results(self) -> list:
        """No results: pathweave keeps what it measured elsewhere (`pathweave tune`)."""
        return []

    def set_tuning_results(self, results: Any, *, error_on_invalid: bool = False) -> NoReturn:
        """Raises NotImplemented."""
        raise NotCovered("set_tuning_results: results of ONNX Runtime are of no use here; tune the model with pathweave tune, "
                         f"and name the file in the session config entry {ROUTE!r}")


class InvalidFeed(InvalidArgument, ValueError):
    """Inputs that a call must give are missing; also a ValueError."""

    def __init__(self, message: str):
        Error.__init__(self, message)


class _Argument:
    """One input: what calls must give for it."""

    def __init__(self, argument: NodeArg, any_shape: bool = False):
        self.name, self.shape, self.type, self.any_shape = argument.name, argument.shape, argument.type, any_shape
        self.number = argument._number
        self.dtype = np.dtype(numpy_dtype(_NUMBERS[argument._number])) if argument._number in _NUMBERS else None
        self.fixed = [(i, d) for i, d in enumerate(argument.shape) if isinstance(d, int)]

    def array(self, value: Any) -> np.ndarray:
        """A value that was given, as an array of the right type and rank."""
        array, number = self._read(value)
        if array.dtype != self.dtype or (number is not None and number != self.number):
            actual = number_of(array.dtype) if number is None else number
            if not actual:
                raise RuntimeException(f"NumPy type {array.dtype} can't be converted to an element type of ONNX: input "
                                       f"{self.name}: expected {self.type}")
            if actual != self.number:
                raise InvalidArgument(f"Unexpected input data type. Actual: ({text_of(actual)}) , expected: ({self.type}), for "
                                      f"input: {self.name}")
        if self.any_shape:
            return array
        if not self.shape and array.size == 1:
            return array.reshape(())
        shape = array.shape
        if len(shape) != len(self.shape):
            raise InvalidArgument(f"Invalid rank for input: {self.name} Got: {len(shape)} Expected: {len(self.shape)} "
                                  "Please fix either the inputs/outputs or the model.")
        wrong = [(i, d) for i, d in self.fixed if shape[i] != d]
        if wrong:
            listed = "\n ".join(f"index: {i} Got: {shape[i]} Expected: {d}" for i, d in wrong)
            raise InvalidArgument(f"Got invalid dimensions for input: {self.name} for the following indices\n {listed}\n "
                                  "Please fix either the inputs/outputs or the model.")
        return array

    def _read(self, value: Any) -> tuple[np.ndarray, int | None]:
        """(array, number of its type where a value states it)."""
        if isinstance(value, np.ndarray):
            value = np.asarray(value)  # of a masked array what lies under the mask, as ONNX Runtime takes it
            return (value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))), None
        if isinstance(value, OrtValue):
            return value._array, value._number
        if isinstance(value, list):
            try:
                return np.array(value, self.dtype), None
            except (ValueError, TypeError, OverflowError) as e:
                raise RuntimeException(f"Could not create tensor from given input list: input {self.name}: {e}") from e
        if value is None:
            raise Fail(f"Missing Input: {self.name}")
        if hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
            return np.from_dlpack(value), None
        raise RuntimeException(f"Unable to handle object of type {type(value)}: input {self.name}: give a NumPy array")


class _Trace:
    """Events of a session, in the format of Chrome's traces. Source: Trace Event Format, `ph` X."""

    def __init__(self) -> None:
        self.start, self._zero = time.time_ns(), time.perf_counter_ns()
        self._events: list[dict[str, Any]] = []

    def add(self, name: str, begin: int) -> None:
        """An event that is over now."""
        self._events.append({"cat": "Session", "pid": os.getpid(), "tid": threading.get_native_id(), "ph": "X", "name": name,
                             "ts": (begin - self._zero) // 1000, "dur": (time.perf_counter_ns() - begin) // 1000, "args": {}})

    def write(self, prefix: str) -> str:
        """Write the file, named after the time; its name."""
        seconds, rest = divmod(self.start, 1_000_000_000)
        name = f"{prefix}_{time.strftime('%Y-%m-%d_%H-%M-%S', time.localtime(seconds))}_{rest // 1_000_000:03d}.json"
        with open(name, "w", encoding="utf-8") as f:
            json.dump(self._events, f)
        return name


def _source_of(given: Any) -> Any:
    """A path that is there, or bytes."""
    if isinstance(given, (bytes, bytearray, memoryview)):
        return bytes(given)
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(f"Unable to load from type '{type(given)}'; expected a path or bytes")
    if os.path.isdir(given):
        raise InvalidProtobuf(f"Load model from {os.fspath(given)} failed: it is a folder; expected a file") \
            from FileFormatError(f"{os.fspath(given)}: is a folder")
    if not os.path.isfile(given):
        raise NoSuchFile(f"Load model from {os.fspath(given)} failed: File doesn't exist{meant_file(given)}") \
            from FileFormatError(f"{os.fspath(given)}: no such file")
    return os.fspath(given)


def _check_run_options(where: str, options: Any) -> None:
    if options is not None and not isinstance(options, RunOptions):
        raise TypeError(f"{where}(): run_options: expected pathweave.onnxruntime.RunOptions, got {type(options).__name__}")


def _check_providers(providers: Sequence[Any] | None, options: Sequence[Mapping] | None) -> None:
    if options is not None and providers is not None and len(options) != len(providers):
        warnings.warn("'providers' and 'provider_options' should be the same length if both are given; they are left alone",
                      stacklevel=3)
    for provider in providers or ():
        name = provider[0] if isinstance(provider, (tuple, list)) and provider else provider
        if name not in PROVIDERS:
            warnings.warn(f"Specified provider {name!r} is not in available provider names. Available providers: "
                          f"{', '.join(map(repr, get_available_providers()))}; the model runs on the CPU", stacklevel=3)


def _dimensions(found: Description, options: SessionOptions) -> dict[str, list[int | str]]:
    """Shapes of the inputs some of whose dimensions the options fix; unknown sizes get symbols."""
    shapes = {}
    for a in found.inputs:
        names = found.denotations.get(a.name, [])
        wanted = [options._dimensions.get(str(d)) if isinstance(d, str) else None for d in a.shape]
        wanted = [options._denotations.get(n) if w is None and n and not isinstance(d, int) else w
                  for w, n, d in zip(wanted, names, a.shape)]
        if any(w is not None for w in wanted):
            shapes[a.name] = [w if w is not None else d if d is not None else f"{a.name}_{i}"
                              for i, (w, d) in enumerate(zip(wanted, a.shape))]
    return shapes


def _overridden(inputs: list[NodeArg], overrides: Mapping[str, list[int | str]]) -> list[NodeArg]:
    """The inputs with the sizes that options fix; unknown sizes stay unknown."""
    return [replace(a, shape=[None if d is None else e for d, e in zip(a.shape, overrides[a.name])])
            if a.name in overrides else a for a in inputs]


def _renamed(outputs: list[NodeArg], sizes: Mapping[str, int]) -> list[NodeArg]:
    """The outputs with the sizes that options give to symbols."""
    return [replace(a, shape=[sizes.get(d, d) if isinstance(d, str) else d for d in a.shape]) for a in outputs]


def _take_routes(model: Any, path: str) -> None:
    """Use the tuned routes of a file: a `.pw` model with the same net, or a route as JSON."""
    import pathweave

    from ..importers import is_own
    where = f"session config entry {ROUTE!r}: {path}"
    if not os.path.isfile(path):
        raise NoSuchFile(f"{where}: File doesn't exist") from FileFormatError(f"{path}: no such file")
    if not is_own(path):
        try:
            with open(path, encoding="utf-8") as f:
                routes = [pathweave.Route.from_json(json.load(f))]
        except ValueError as e:
            raise InvalidArgument(f"{where}: expected a .pw file, or a route as JSON: {e}") from e
    else:
        tuned = pathweave.load(path)
        routes = list(tuned.routes.values())
        if tuned.quantisation.get("main"):
            model.quantisation["main"] = tuned.quantisation["main"]
            model.runnable().set_scales(tuned.quantisation["main"])
    if not routes:
        raise InvalidArgument(f"{where} has no tuned route; pathweave tune {path} makes one")
    for route in routes:
        model.add_route(route)
