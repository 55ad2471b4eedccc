"""StatefulSession: one caller's calls of a model with states, which go from one call to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import InputError, OpenSizesError, OutOfMemoryError
from ..locks import lock
from ..meaning.evaluate import match_arrays, match_symbols
from ..net import memory
from ..net.arguments import as_array, by_name, of_call
from ..net.border import logical_shapes
from ..net.floats import host_dtype, taken
from ..net.format import numpy_dtype
from ..net.net import TensorSpec
from ..net.size import check_value, size_bytes
from ..net.state import first_sizes
from .arguments import Inputs, Shapes
from .layouts import laid_out
from .rooms import Rooms

if TYPE_CHECKING:
    from .model import LoadedModel

_ADVICE = "begin with smaller states, or take a machine with more memory"


class StatefulSession:
    """Runs a model with states: each call reads the values that the call before left. Calls from several threads take turns.

    `session(x)`: the inputs that are no states, an array where there is one of them, else a dict by name, of any shapes that
    the model takes; gives the outputs that no state takes, an array where there is one, else a dict by name. Arrays are
    taken and written as by `Session`. A call that fails leaves the states as they were. Raises InputError, DTypeError,
    InputDeviceError, OutOfMemoryError.
    """

    def __init__(self, model: LoadedModel, shapes: Shapes = None):
        if not getattr(model, "states", None):
            raise InputError(f"stateful session: expected a model with states, got {model!r}; model.session() makes the "
                             f"session that a model needs")
        self.model = model
        self._states = model.states
        self._specs = {name: model.main.inputs[name] for name in self._states}
        self._outputs = {state.output: name for name, state in self._states.items()}
        self._free = self._free_of(model)
        self._results = [v for v in model.main.outputs if v not in self._outputs]
        self._lock = lock()
        self._rooms = Rooms({name: state.output for name, state in self._states.items()})
        self._initial = self._first(_sizes(model, shapes))
        self._now = self._initial

    def __reduce__(self) -> Any:
        raise InputError("a session keeps the states of one caller and is not pickled or copied: make another one of its "
                         "model, session.model.session(), and hand it the states, other.set_state(session.state())")

    # ---- calls ------------------------------------------------------------------------------------------------------

    def __call__(self, inputs: Inputs = None, /, *more: ArrayLike, out: Inputs = None, **named: ArrayLike) -> Any:
        """Run once and keep the states. `inputs`: array or dict; or arrays by keyword. `out`: array or dict of arrays to be
        written, of outputs that no state takes."""
        results = self.run(of_call("session", inputs, more, named), out)
        return results[self._results[0]] if len(self._results) == 1 else results

    def run(self, inputs: Inputs = None, out: Inputs = None) -> dict[str, np.ndarray]:
        """Like a call, but always gives a dict by name."""
        target = self.model.for_inputs(inputs)
        free = self._free if target is self.model else self._free_of(target)
        given = by_name("session", free, {} if inputs is None and not free else inputs)
        places = self._places(out)
        with self._lock:
            results = target.runnable().run({**given, **self._now}, places, self._rooms)
            # What this call has made is what the next one reads: nobody else has it. One that grows is a view of its memory.
            following = {name: results.pop(state.output) for name, state in self._states.items()}
            if any(array.shape != self._now[name].shape for name, array in following.items()):
                self._check_following(following)
            self._now = following
        return results

    def _free_of(self, model: LoadedModel) -> dict[str, TensorSpec]:
        """The inputs that are no states."""
        return {n: s for n, s in model.main.inputs.items() if n not in self._states}

    def _places(self, out: Any) -> dict[str, Any] | None:
        """Where outputs are written, by name. Raises InputError for one that a state takes."""
        if out is None:
            return None
        if not isinstance(out, Mapping):
            if len(self._results) != 1:
                raise InputError(f"out: expected a dict with some of {', '.join(self._results) or 'no outputs'}, got "
                                 f"{type(out).__name__}")
            return {self._results[0]: out}
        taken_by = [n for n in out if n in self._outputs]
        if taken_by:
            raise InputError(f"out: {', '.join(map(repr, taken_by))}: expected outputs that no state takes; session.state() "
                             f"gives what {', '.join(repr(self._outputs[n]) for n in taken_by)} will read")
        return dict(out)

    def _check_following(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Raise InputError where the next call could not read what this one has made."""
        try:
            match_arrays(self._specs, self.model.layouts, {n: a.shape for n, a in arrays.items()})
        except InputError as e:
            made = ", ".join(f"{self._states[n].output!r} {a.shape}" for n, a in arrays.items())
            raise InputError(f"session: the outputs {made} of this call cannot be the states of the next one: {e}; the states "
                             f"are those from before the call") from e

    # ---- states -----------------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Begin anew: the next call reads the initial values."""
        with self._lock:
            self._now = self._initial
            self._rooms.forget()

    def state(self) -> dict[str, np.ndarray]:
        """What the next call will read, by input: copies, in the layouts of a call's arrays."""
        with self._lock:
            now = self._now
        try:
            return {n: a.copy().view(host_dtype(self._specs[n].dtype)) for n, a in now.items()}
        except MemoryError as e:
            raise OutOfMemoryError(f"session: no memory for a copy of the states: {e}") from e

    def set_state(self, arrays: Mapping[str, ArrayLike]) -> None:
        """Let the next call read other values, by input; states that are not given stay as they are. The arrays are copied.

        All of them are taken, or none: raises InputError, DTypeError, OutOfMemoryError.
        """
        if not isinstance(arrays, Mapping):
            raise InputError(f"set_state: expected a dict by input, such as session.state() gives, got {type(arrays).__name__}")
        unknown = [n for n in arrays if n not in self._states]
        if unknown:
            raise InputError(f"set_state: {', '.join(map(repr, unknown))}: no state; the states are "
                             f"{', '.join(f'{n!r} {s}' for n, s in self._specs.items())}")
        try:
            copies = {n: np.array(taken(f"set_state: {n!r}", self._specs[n], as_array(n, a, self._specs[n])), order="C")
                      for n, a in arrays.items()}
        except MemoryError as e:
            raise OutOfMemoryError(f"set_state: no memory for copies of the arrays: {e}") from e
        with self._lock:
            following = {**self._now, **copies}
            try:
                match_arrays(self._specs, self.model.layouts, {n: a.shape for n, a in following.items()})
            except InputError as e:
                raise InputError(f"set_state: {e}; the states are as before") from e
            self._now = following

    def _first(self, sizes: Mapping[str, int]) -> dict[str, np.ndarray]:
        """The initial values in the layouts of a call's arrays. Raises InputError for a size that nobody has said."""
        specs: dict[str, TensorSpec] = {}
        missing: dict[str, str] = {}
        for name, state in self._states.items():
            begin = state.begins(self._specs[name])
            specs[name] = TensorSpec(begin.dtype, tuple(sizes.get(d, d) if isinstance(d, str) else d for d in begin.shape))
            missing = {**{d: name for d in specs[name].shape if isinstance(d, str)}, **missing}
        if missing:
            listed = ", ".join(f"{n!r} is {self._specs[n]}" for n in dict.fromkeys(missing.values()))
            likely = first_sizes(missing, self.model.main.inputs, self._states)
            example = ", ".join(f"{d!r}: {size}" for d, size in likely.items())
            raise OpenSizesError(f"session: the size of {', '.join(map(repr, missing))} is not known, with which states begin "
                                 f"({listed}); give it, such as model.session({{{example}}}), or an initial value, such as "
                                 f"model.with_states(initial={{{next(iter(missing.values()))!r}: array}}).session()",
                                 list(missing), listed)
        found = match_symbols(self._specs, {n: s.sizes for n, s in specs.items()})
        wrong = [d for d, size in sizes.items() if found.get(d, size) != size]
        if wrong:
            raise InputError(f"session: {wrong[0]!r} is {sizes[wrong[0]]}; expected {found[wrong[0]]}, as in the initial value "
                             f"of a state; set_state gives states of other sizes")
        for name, spec in specs.items():
            check_value(f"session: the initial value of {name!r}", spec)
        memory.require(sum(map(size_bytes, specs.values())), "session: the initial values of its states", _ADVICE)
        try:
            given = {n: np.zeros(specs[n].sizes, numpy_dtype(specs[n].dtype)) if state.initial is None else state.initial
                     for n, state in self._states.items()}
            return {n: self._laid_out(n, array) for n, array in given.items()}
        except MemoryError as e:
            raise OutOfMemoryError(f"session: no memory for the initial values of its states: {e}") from e

    def _laid_out(self, name: str, array: np.ndarray) -> np.ndarray:
        layout = self.model.layouts.get(name)
        return array if layout is None else np.ascontiguousarray(laid_out(array, layout))

    def __repr__(self) -> str:
        now = self._now
        shapes = logical_shapes(self._specs, self.model.layouts, {n: a.shape for n, a in now.items()})
        listed = ", ".join(f"{n} {TensorSpec(s.dtype, shapes[n])}" for n, s in self._specs.items())
        return f"<StatefulSession over {self.model!r}, now with {listed}>"


def _sizes(model: LoadedModel, shapes: Shapes) -> dict[str, int]:
    """Sizes of symbols, from shapes of inputs and sizes of symbols. Raises InputError for what is neither."""
    inputs = model.main.inputs
    if shapes is None:
        return {}
    if not isinstance(shapes, Mapping):
        free = [n for n in inputs if n not in model.states]
        if len(free) != 1:
            raise InputError(f"session: expected a dict of shapes by input ({', '.join(inputs)}) and of sizes by symbol, got "
                             f"{shapes!r}")
        shapes = {free[0]: shapes}
    symbols = {d for spec in inputs.values() for d in spec.shape if isinstance(d, str)}
    given: dict[str, tuple[int, ...]] = {}
    sizes: dict[str, int] = {}
    for name, size in shapes.items():
        if name in inputs and isinstance(size, (tuple, list)):
            given[name] = tuple(size)
        elif name in symbols and isinstance(size, (int, np.integer)) and not isinstance(size, bool) and size >= 0:
            sizes[name] = int(size)
        else:
            listed = ", ".join(f"{n} {s}" for n, s in inputs.items())
            raise InputError(f"session: {name!r} is {size!r}; expected an input and its shape, or a symbol and its size, "
                             f"of {listed}")
    found = match_symbols(inputs, given)
    for name, size in sizes.items():
        if found.setdefault(name, size) != size:
            raise InputError(f"session: symbol {name!r} is {size}; expected {found[name]}, as in the shapes")
    return found
