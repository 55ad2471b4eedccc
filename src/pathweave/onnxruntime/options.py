"""Options of sessions and runs, with ONNX Runtime's names and defaults; docs/onnxruntime.md says which have an effect."""

from __future__ import annotations

import copy
import enum
import operator
import warnings
from typing import Any, NoReturn

from .statuses import InvalidArgument, RuntimeException
from .statuses import NotImplemented as NotCovered

#: Session config entry: path of a `.pw` file, or of a route as JSON, whose tuned routes the session takes.
ROUTE = "pathweave.route"
OWN_ENTRIES = (ROUTE,)
#: Characters of the key of an entry. Source: ONNX Runtime, config_options.h.
MOST_KEY = 1024


class _Numbered(enum.Enum):
    """Members that are equal to their numbers."""

    def __int__(self) -> int:
        return self.value

    __index__ = __int__

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, int) and other == self.value)

    def __hash__(self) -> int:
        return hash(self.value)


class GraphOptimizationLevel(_Numbered):
    """How much a graph is rewritten before it runs. No effect: pathweave's passes always run."""

    ORT_DISABLE_ALL = 0
    ORT_ENABLE_BASIC = 1
    ORT_ENABLE_EXTENDED = 2
    ORT_ENABLE_LAYOUT = 3
    ORT_ENABLE_ALL = 99


class ExecutionMode(_Numbered):
    """Whether nodes run one after another. No effect: threads share each layer."""

    ORT_SEQUENTIAL = 0
    ORT_PARALLEL = 1


class ExecutionOrder(_Numbered):
    """In which order nodes run. No effect."""

    DEFAULT = 0
    PRIORITY_BASED = 1
    MEMORY_EFFICIENT = 2


class _Option:
    """An attribute with a default, which takes values of its default's type."""

    def __init__(self, default: Any):
        self.default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, holder: Any, owner: type | None = None) -> Any:
        return self if holder is None else holder._values.get(self.name, self.default)

    def __set__(self, holder: Any, value: Any) -> None:
        kind = type(self.default)
        if kind is int and not isinstance(value, enum.Enum):
            try:
                value = operator.index(value)
            except TypeError:
                pass
        if kind is bool and hasattr(value, "__bool__"):
            value = bool(value)
        if kind is str and isinstance(value, bytes):
            value = value.decode()
        if not isinstance(value, kind):
            raise TypeError(f"{type(holder).__name__}.{self.name}: expected {kind.__name__}, got {value!r}")
        holder._values[self.name] = value


def _entry(where: str, key: Any, value: Any) -> tuple[str, str]:
    if not isinstance(key, str) or not isinstance(value, str):
        raise TypeError(f"{where}: expected two texts, got {key!r} and {value!r}")
    if not 0 < len(key) <= MOST_KEY:
        raise RuntimeException(f"{where}: Config key is empty or longer than maximum length {MOST_KEY}")
    return key, value


class SessionOptions:
    """Options of a session. `intra_op_num_threads`: threads of a call, 0 for all processors that the process may use."""

    __slots__ = ("_denotations", "_dimensions", "_entries", "_providers", "_values")

    enable_cpu_mem_arena = _Option(True)
    enable_mem_pattern = _Option(True)
    enable_mem_reuse = _Option(True)
    enable_profiling = _Option(False)
    execution_mode = _Option(ExecutionMode.ORT_SEQUENTIAL)
    execution_order = _Option(ExecutionOrder.DEFAULT)
    graph_optimization_level = _Option(GraphOptimizationLevel.ORT_ENABLE_ALL)
    inter_op_num_threads = _Option(0)
    intra_op_num_threads = _Option(0)
    log_severity_level = _Option(-1)
    log_verbosity_level = _Option(0)
    logid = _Option("")
    optimized_model_filepath = _Option("")
    profile_file_prefix = _Option("onnxruntime_profile_")
    use_deterministic_compute = _Option(False)
    use_per_session_threads = _Option(True)

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._entries: dict[str, str] = {}
        self._dimensions: dict[str, int] = {}
        self._denotations: dict[str, int] = {}
        self._providers: list[str] = []

    def add_session_config_entry(self, key: str, value: str) -> None:
        """Keep an entry. `pathweave.route` names a file with tuned routes; other entries have no effect. Raises
        InvalidArgument for another key that begins with `pathweave.`."""
        key, value = _entry("add_session_config_entry", key, value)
        if key.startswith("pathweave.") and key not in OWN_ENTRIES:
            raise InvalidArgument(f"session config entry {key!r} is unknown; expected {', '.join(map(repr, OWN_ENTRIES))}")
        self._entries[key] = value

    def get_session_config_entry(self, key: str) -> str:
        """An entry. Raises RuntimeException for a key that was not added."""
        if key not in self._entries:
            raise RuntimeException(f"SessionOptions does not have configuration with key: {key}")
        return self._entries[key]

    def add_free_dimension_override_by_name(self, name: str, size: int) -> None:
        """Fix the size of every input dimension with this symbol."""
        self._dimensions[str(name)] = operator.index(size)

    def add_free_dimension_override_by_denotation(self, denotation: str, size: int) -> None:
        """Fix the size of every input dimension with this denotation."""
        self._denotations[str(denotation)] = operator.index(size)

    def add_provider(self, name: str, options: Any = None) -> None:
        """Note a provider. No effect: models run on the CPU."""
        self._providers.append(str(name))

    def has_providers(self) -> bool:
        """Whether providers were noted."""
        return bool(self._providers)

    def register_custom_ops_library(self, path: str) -> NoReturn:
        """Raises NotImplemented."""
        raise NotCovered(f"register_custom_ops_library {path!r}: libraries of custom operators for ONNX Runtime cannot be "
                             "used; a plugin adds operators to pathweave (docs/plugins.md), and operators that the model "
                             "defines as ONNX functions are inlined")

    def add_initializer(self, name: str, value: Any) -> NoReturn:
        """Raises NotImplemented."""
        raise _initializers("add_initializer")

    def add_external_initializers(self, names: Any, values: Any) -> NoReturn:
        """Raises NotImplemented."""
        raise _initializers("add_external_initializers")

    def add_external_initializers_from_files_in_memory(self, names: Any, buffers: Any, sizes: Any) -> NoReturn:
        """Raises NotImplemented."""
        raise _initializers("add_external_initializers_from_files_in_memory")


def _initializers(method: str) -> NotCovered:
    return NotCovered(f"SessionOptions.{method}: weights cannot be handed over apart from the model; give a path, beside "
                          "which external weights lie, or a model that holds them")


class RunOptions:
    """Options of one run. `terminate`: the run fails at once; other attributes have no effect."""

    __slots__ = ("_entries", "_values")

    log_severity_level = _Option(-1)
    log_verbosity_level = _Option(0)
    logid = _Option("")
    only_execute_path_to_fetches = _Option(False)
    terminate = _Option(False)

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._entries: dict[str, str] = {}

    def add_run_config_entry(self, key: str, value: str) -> None:
        """Keep an entry; it has no effect."""
        key, value = _entry("add_run_config_entry", key, value)
        self._entries[key] = value

    def get_run_config_entry(self, key: str) -> str:
        """An entry. Raises RuntimeException for a key that was not added."""
        if key not in self._entries:
            raise RuntimeException(f"RunOptions does not have configuration with key: {key}")
        return self._entries[key]

    def add_active_adapter(self, adapter: Any) -> NoReturn:
        """Raises NotImplemented."""
        raise NotCovered("RunOptions.add_active_adapter: LoRA adapters are not supported; merge them into the model")


def checked(options: Any) -> SessionOptions:
    """A copy of the options of a session, with a warning for what was asked for and does not happen. Raises TypeError."""
    if not options:
        return SessionOptions()
    if not isinstance(options, SessionOptions):
        raise TypeError(f"sess_options: expected pathweave.onnxruntime.SessionOptions, got {type(options).__name__}")
    if options.optimized_model_filepath:
        warnings.warn(f"optimized_model_filepath {options.optimized_model_filepath!r}: no file is written; pathweave import "
                      "and pathweave tune write a model as pathweave runs it", stacklevel=4)
    return copy.deepcopy(options)
