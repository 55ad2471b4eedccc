"""The error tree: every class also derives from the builtin that a user would expect."""


#: Characters of a message: a name or a number out of a file may have millions.
LONGEST_MESSAGE = 8000


def _shortened(message: str) -> str:
    """A message without its middle, where it is longer than LONGEST_MESSAGE."""
    if len(message) <= LONGEST_MESSAGE:
        return message
    part = LONGEST_MESSAGE // 2 - 30
    return f"{message[:part]} ... ({len(message) - 2 * part} characters left out) ... {message[-part:]}"


class Error(Exception):
    """Root of everything pathweave raises on purpose.

    The message says what, where, expected, got, and what to do. The middle of one with more than LONGEST_MESSAGE characters
    is left out.
    """

    def __init__(self, message: str = "", *rest: object):
        super().__init__(_shortened(message) if isinstance(message, str) else message, *rest)

    def begin_with(self, name: str) -> None:
        """Let the message begin with the name of what it speaks of, unless it does."""
        message, *rest = self.args or ("",)
        if isinstance(message, str) and not message.startswith(name):
            self.args = (_shortened(f"{name}: {message}"), *rest)


class ModelError(Error, ValueError):
    """A model, net or layer is malformed, or a file that should hold one is."""


class FileFormatError(ModelError):
    """A file is truncated, corrupted, or not of the kind that was expected."""


class ModelFileError(ModelError, OSError):
    """The system refuses to open, read or write a model file."""


class UnsupportedOperatorError(ModelError):
    """A model uses operators that no importer line covers; `operators` lists (operator, node name) for all of them."""

    def __init__(self, message: str, operators: list[tuple[str, str]] | None = None):
        super().__init__(message)
        self.operators = operators or []


class ShapeError(ModelError):
    """Shapes of a layer or of a call do not fit together."""


class NoRankError(ModelError):
    """Inputs of a model have no declared rank, and their shapes were not given; `inputs` names them."""

    def __init__(self, message: str = "", inputs: list[str] | None = None):
        super().__init__(message)
        self.inputs = inputs or []


class SizeError(ShapeError):
    """A value would be larger than the limit allows, or a number that sizes are made from is; see net/size.py."""


class InputError(Error, ValueError):
    """A call's inputs are wrong: a name, a shape, a count."""


class OpenSizesError(InputError):
    """Sizes of symbols are needed and were not given; `symbols` names them, `inputs` is a text of the inputs' shapes."""

    def __init__(self, message: str, symbols: list[str] | None = None, inputs: str = ""):
        super().__init__(message)  # pickling gives the message alone, and the attributes afterwards
        self.symbols, self.inputs = symbols or [], inputs


class UnfitSizesError(InputError):
    """A plan does not do for the sizes that a call has, or that were met while it ran; `needs` says what a step of it needs
    of those."""

    def __init__(self, message: str = "", needs: str = ""):
        super().__init__(message)
        self.needs = needs


class DTypeError(InputError, TypeError):
    """A call's input has another element type than the model declares."""


class OptionError(InputError, TypeError):
    """A function has no option of that name, or a kind of model takes none of it."""


class InputDeviceError(InputError):
    """A call's array lies on a device that is not the CPU."""


class RouteError(Error, ValueError):
    """A route does not fit the model, or names a routine that is not in the catalogue."""


class NoRoutineError(RouteError):
    """No routine accepts a layer under the given restrictions; the message lists each refusal."""


class RestrictionError(RouteError, InputError):
    """What restricts the choice of routines (`restrict=`, `--routine`) cannot be read, or matches nothing in the net."""


class NoneAllowedError(NoRoutineError, RestrictionError):
    """What restricts the choice of routines leaves a layer that it names without any."""


class SolverError(Error, RuntimeError):
    """The solver cannot give an answer: no feasible route, or a limit that cannot be met."""


class ProfileError(Error, ValueError):
    """A profile cannot be used: it is from another machine, incomplete, or malformed."""


class StoreError(Error, OSError):
    """The profile store cannot be opened, read or written."""


class PluginError(Error, ImportError):
    """An installed package that adds to pathweave cannot be used, or a part of it; see plugins.py."""


class DeviceError(Error, RuntimeError):
    """A device is absent or failed; the message gives its reason."""


class OutOfMemoryError(Error, MemoryError):
    """Memory for a plan or a session could not be had."""


class InterruptedTuning(Error, KeyboardInterrupt):
    """Tuning was interrupted; what was measured so far is in the store."""
