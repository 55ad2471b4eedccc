"""Session: one caller's state over a plan; the call that checks its inputs and runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy import ndarray
from numpy.typing import ArrayLike

from ..errors import (
    DeviceError,
    DTypeError,
    Error,
    InputError,
    OutOfMemoryError,
    ShapeError,
    SizeError,
    UnfitSizesError,
)
from ..layers import kind_of
from ..locks import lock
from ..net.arguments import as_array, by_name, check_on_host, check_unmasked, of_call
from ..net.border import advice
from ..net.floats import bits_of, host_dtype, taken
from ..net.format import Format, numpy_dtype, physical_shape
from ..net.net import TensorSpec
from ..net.size import VARIABLE
from .arguments import Inputs
from .native import native
from .open_call import OpenCall
from .open_call import Shapes as CallShapes
from .plan import Plan
from .rooms import Grown, Rooms, part

#: Sets of shapes of which a session remembers what goes with them.
KEPT_SHAPES = 64
#: The note of the native core on an error of a layer's NumPy meaning; the group is the name of the step.
_RAISED_IN = re.compile(r"raised in step \d+ \('(.*)'\) of a plan", re.DOTALL)


class Session:
    """Runs a plan: NumPy in, NumPy out. Calls from several threads take turns; give each thread its own session.

    `session(x)`: an array for a net with one input, else a dict by name; an array for one output, else a dict by name
    in the model's order. Contiguous arrays, and tensors that offer DLPack on the CPU, are read in place; other strides
    are copied. Shapes are those of the layouts that the bound net states (`BoundNet.array_shape`). Element types must be
    those of the model; float16 and bfloat16 inputs take float32 as well, rounded to the nearest. bfloat16 is that of
    ml_dtypes, or its bits as uint16. An input without dimensions may be a Python
    number. Raises InputError, DTypeError, InputDeviceError, OutOfMemoryError, DeviceError.
    """

    def __init__(self, plan: Plan):
        if not isinstance(plan, Plan):
            raise InputError(f"session: expected a Plan, as pathweave.plan gives, got {type(plan).__name__}")
        self.plan = plan
        shape = plan.bound.array_shape
        self._inputs = [(name, shape(name), np.dtype(numpy_dtype(s.dtype)), s) for name, s in plan.inputs.items()]
        self._outputs = [(name, shape(name), host_dtype(s.dtype)) for name, s in plan.outputs.items()]
        self._bfloat = any(s.dtype == "bf16" for s in plan.outputs.values())
        self._open = OpenCall(plan) if plan.bound.opened else None
        self._early = [entry for entry in self._outputs if entry[0] not in plan.late]
        self._names, self._dtypes = list(plan.inputs), [dtype for _, _, dtype, _ in self._inputs]
        #: Of calls that `again` makes: shapes of the inputs -> shape and element type of each output, and what the native call
        #: gets beside the arrays.
        self._usual: dict[tuple, tuple[list[tuple[tuple[int, ...], np.dtype]], tuple]] = {}
        self._has_usual = not (plan.late or self._bfloat)
        if self._has_usual and self._open is None:
            self._usual[tuple(s for _, s, _, _ in self._inputs)] = [(s, d) for _, s, d in self._outputs], ()
        ins, outs = list(plan.inputs), list(plan.outputs)
        #: (input, output, axis, whether positions of the axes in front may lie apart), as the native plan has them.
        self._growths = [(ins[i], outs[o], axis, apart) for i, o, axis, apart in plan.native.growths]
        self._lock = lock()
        try:
            self._handle = plan.native.session()
        except MemoryError as e:
            raise OutOfMemoryError(f"session: no memory for {plan.peak_bytes} bytes of values and "
                                   f"{plan.workspace_bytes} of scratch: {e}") from e
        except ValueError as e:
            raise DeviceError(f"session: {e}") from e

    def __reduce__(self) -> Any:
        raise InputError("a session holds memory of this process and is not pickled or copied: make another one of its plan, "
                         "session.plan.session(); for another process pickle the model")

    def __call__(self, inputs: Inputs = None, /, *more: ArrayLike, out: Inputs = None, **named: ArrayLike) -> Any:
        """Run once. `inputs`: array or dict; or arrays by keyword. `out`: array or dict of arrays to be written.

        Fresh arrays are returned unless `out` holds them; a dict may give some of the outputs. The interpreter's lock
        is released while the net runs.
        """
        if not more and not named:
            found = self.again(inputs, out)
            if found is not None:
                return found[0] if len(found) == 1 else {name: a for (name, *_), a in zip(self._outputs, found)}
        results = self.anew(of_call("session", inputs, more, named), out)
        return results[self._outputs[0][0]] if len(self._outputs) == 1 else results

    def again(self, inputs: Any, out: Any = None) -> list[np.ndarray] | None:
        """The outputs of a call on arrays of the usual kind: plain ones, of the shapes of the plan, or, where sizes are open,
        of a call before. None for everything else, errors among them: `anew` then says what it is.

        This is what small nets need: it looks at nothing twice.
        """
        if type(inputs) is dict:
            if len(inputs) != len(self._names):
                return None
            arrays: list[Any] = [inputs.get(name) for name in self._names]
        elif len(self._names) == 1:
            arrays = [inputs]
        else:
            return None
        for array, dtype in zip(arrays, self._dtypes):
            if type(array) is not ndarray or array.dtype is not dtype:
                return None
        usual = self._usual.get(tuple([array.shape for array in arrays]))
        if usual is None:
            return None
        outs, more = usual
        try:
            results = [np.empty(shape, dtype) for shape, dtype in outs] if out is None else self._usual_places(out, outs)
            if results is None:
                return None
            with self._lock:
                self._handle.run(arrays, results, *more)
        except Exception:
            return None
        return results

    def _usual_places(self, out: Any, outs: list[tuple[tuple[int, ...], np.dtype]]) -> list[np.ndarray] | None:
        """The caller's arrays for all outputs, in order; None where one is missing or cannot be written as it is."""
        if type(out) is dict:
            places: list[Any] = [out.get(name) for name, *_ in self._outputs] if len(out) == len(outs) else []
        else:
            places = [out]
        if len(places) != len(outs):
            return None
        for a, (shape, dtype) in zip(places, outs):
            if type(a) is not ndarray or a.dtype is not dtype or a.shape != shape or not a.flags.carray:
                return None
        return places

    def run(self, inputs: Inputs, out: Inputs = None, rooms: Rooms | None = None) -> dict[str, np.ndarray]:
        """Like a call, but always gives a dict by name. `rooms`: memory of states that may grow where they lie; outputs that
        do are views of it."""
        if rooms is None:
            found = self.again(inputs, out)
            if found is not None:
                return {name: a for (name, *_), a in zip(self._outputs, found)}
        return self.anew(inputs, out, rooms)

    def anew(self, inputs: Inputs, out: Inputs = None, rooms: Rooms | None = None) -> dict[str, np.ndarray]:
        """Like `run`, for calls that `again` does not make."""
        grown: dict[str, Grown] = {}
        arrays, results, sizes = self._bound(inputs, out, rooms, grown)
        with self._lock:
            if not grown:
                self._guarded(self._handle.run, arrays, results, sizes)
            else:
                room = [grown[i].memory.shape[axis] if i in grown else 0 for i, _, axis, _ in self._growths]
                self._guarded(partial(self._handle.run, rooms=room), arrays, results, sizes)
                results.update((g.output, part(g.memory, g.axis, g.size)) for g in grown.values())
            return self._with_late(results) if self.plan.late else results

    def run_timed(self, inputs: Inputs, out: Inputs = None) -> np.ndarray:
        """Run once with a timer per step: int64 nanoseconds, one per entry of `plan.steps`, of all its runs together."""
        arrays, results, sizes = self._bound(inputs, out)
        with self._lock:
            return np.asarray(self._guarded(self._handle.run_timed, arrays, results, sizes))

    def counts(self) -> list[int] | None:
        """How often each of `plan.steps` ran in the last run; None for a plan whose steps run once each."""
        with self._lock:
            return self._handle.counts()

    def sizes(self) -> dict[str, int]:
        """The sizes that are open in the plan, by symbol, as they were at the end of the last run."""
        with self._lock:
            return dict(zip(self.plan.symbols, self._handle.symbols()))

    def _guarded(self, run: Callable[..., Any], arrays: list[np.ndarray], results: dict[str, np.ndarray],
                 sizes: tuple[int, ...]) -> Any:
        try:
            return run(arrays, self._written(results), sizes) if self._open else run(arrays, self._written(results))
        except native().UnfitSizes as e:
            raise UnfitSizesError(f"session: the plan does not do for the sizes that were met: {e}; correct the contents of "
                                  "the inputs that they come from, or call the model, which looks for a plan that does",
                                  str(e)) from e
        except Error as e:  # of the NumPy meaning of a layer, which does not know whose it is
            notes = (_RAISED_IN.match(note) for note in getattr(e, "__notes__", ()))
            label = next((found[1] for found in notes if found), None)
            e.args = (f"session: {'' if label is None else self._named(label) + ': '}{e}", *e.args[1:])
            raise
        except MemoryError as e:
            if VARIABLE in str(e):
                raise SizeError(f"session: {e}; use smaller inputs, or raise that limit") from e
            why = f": {e}" if str(e) else ""
            raise OutOfMemoryError(f"session: no memory for values whose sizes were met in the run{why}") from e
        except OverflowError as e:
            raise ShapeError(f"session: {e}; correct the contents of the inputs that they come from") from e
        except ValueError as e:
            if "shares memory" in str(e):
                _check_apart(results, arrays)
            raise
        except IndexError as e:
            raise InputError(f"session: {e}; expected indices from -n to n - 1 on an axis of n elements: correct the input "
                             "that they come from") from e

    def _named(self, label: str) -> str:
        """A step as messages name it: its layer, or the branch that stands for one that does not fit."""
        place = self.plan.bound.flat.place.get(label)
        return f"branch {place.block!r}" if place and kind_of(place.layer.kind).refuses else f"layer {label!r}"

    def _with_late(self, results: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of the last run, those among them whose sizes were not known before."""
        found = {}
        for name, _, dtype in self._outputs:
            if name in results:
                found[name] = results[name]
                continue
            sizes, raw = self._handle.late(self.plan.late.index(name))
            shape = physical_shape(self.plan.bound.output_format(name).layout, tuple(sizes))
            found[name] = np.asarray(raw).view(dtype).reshape(shape)
        return found

    def run_timeline(self, inputs: Inputs, out: Inputs = None) -> tuple[np.ndarray, np.ndarray]:
        """Like `run_timed`, with a second array: ns from the begin of the run to that of each step, by its device's clock.

        Of a step that runs several times it is the begin of the first; 0 for one that does not run.
        """
        arrays, results, sizes = self._bound(inputs, out)
        with self._lock:
            times, starts = self._guarded(self._handle.run_timeline, arrays, results, sizes)
            return np.asarray(times), np.asarray(starts)

    def _written(self, results: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The outputs as the native core takes them, which knows no bfloat16 of NumPy."""
        return [bits_of(a) for a in results.values()] if self._bfloat else list(results.values())

    def _bound(self, inputs: Any, out: Any, rooms: Rooms | None = None, grown: dict[str, Grown] | None = None,
               ) -> tuple[list[np.ndarray], dict[str, np.ndarray], tuple[int, ...]]:
        """What the net reads and writes in one call, and the sizes that its plan is given. `grown`: gets the memory of inputs
        that grow where they lie."""
        try:
            given = by_name("session", self.plan.inputs, inputs)
            if self._open is None:
                arrays = [self._array(*entry, array) for entry, array in zip(self._inputs, given.values())]
                return arrays, self._places(out, arrays, self._early), ()
            plain = [v if type(v) is np.ndarray else as_array(n, v, self.plan.inputs[n]) for n, v in given.items()]
            now = self._open.at([a.shape for a in plain])
            if rooms is not None and grown is not None and self._growths:
                grown.update(self._grown(rooms, plain, now))
            arrays = [grown[name].memory if grown and name in grown else self._array(name, shape, dtype, spec, array)
                      for (name, _, dtype, spec), shape, array in zip(self._inputs, now.inputs, plain)]
            outputs = [(name, shape, dtype) for (name, _, dtype), shape in zip(self._early, now.outputs)]
            if self._has_usual and rooms is None:
                if len(self._usual) >= KEPT_SHAPES:
                    self._usual = {}
                self._usual[tuple(now.inputs)] = [(shape, dtype) for _, shape, dtype in outputs], (now.sizes,)
            kept = {g.output: g.memory for g in grown.values()} if grown else {}
            return arrays, self._places(out, arrays, outputs, kept), now.sizes
        except MemoryError as e:
            if isinstance(e, OutOfMemoryError):
                raise
            raise OutOfMemoryError(f"session: no memory for the outputs, or for copies of inputs that do not lie in one piece: "
                                   f"{e}") from e

    def _grown(self, rooms: Rooms, arrays: Sequence[np.ndarray], now: CallShapes) -> dict[str, Grown]:
        """The inputs that are states and grow where they lie in this call."""
        given = {name: (array, shape, dtype) for (name, _, dtype, _), array, shape in zip(self._inputs, arrays, now.inputs)}
        ends = {name: shape for (name, *_), shape in zip(self._early, now.outputs)}
        found: dict[str, Grown] = {}
        for i, o, axis, apart in self._growths:
            array, shape, dtype = given[i]
            if not rooms.follows(i, o) or array.shape != shape or array.dtype != dtype or not array.size:
                continue
            if apart or all(size == 1 for size in shape[:axis]):
                memory = rooms.memory(i, array, axis, ends[o][axis])
                if memory is not None:
                    found[i] = Grown(memory, o, axis, ends[o][axis])
        return found

    # ---- inputs ----

    def _array(self, name: str, shape: tuple[int, ...], dtype: np.dtype, spec: TensorSpec, value: Any) -> np.ndarray:
        array = value if type(value) is np.ndarray else as_array(name, value, spec)
        if array.dtype != dtype:
            array = taken(f"input {name!r}", spec, array)
        if array.shape != shape:
            more = advice(name, spec, self.plan.bound.layouts.get(name), array.shape)
            if not more and array.ndim == len(shape):
                more = "; this plan is for these shapes only, call the model or make a plan for yours"
            raise InputError(f"input {name!r}: expected shape {shape} ({spec}), got {array.shape}{more}")
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned):
            array = array.copy("C")
        return array

    # ---- outputs ----

    def _places(self, out: Any, arrays: list[np.ndarray],
                outputs: list[tuple[str, tuple[int, ...], np.dtype]],
                kept: Mapping[str, np.ndarray] = MappingProxyType({})) -> dict[str, np.ndarray]:
        """Where each output is written. `kept`: memory that some of them have."""
        if out is None:
            return {name: kept[name] if name in kept else np.empty(shape, dtype) for name, shape, dtype in outputs}
        if not isinstance(out, Mapping):
            if len(self._outputs) != 1:
                raise InputError(f"out: expected a dict with some of {', '.join(n for n, *_ in self._outputs)}, "
                                 f"got {type(out).__name__}")
            out = {self._outputs[0][0]: out}
        unknown = [n for n in out if n not in self.plan.outputs]
        if unknown:
            raise InputError(f"out: {', '.join(map(repr, unknown))} unknown; the outputs are "
                             f"{', '.join(repr(n) for n, *_ in self._outputs)}")
        late = [n for n in out if n in self.plan.late]
        if late:
            raise InputError(f"out: the size of {', '.join(map(repr, late))} is known after a run only; leave it out, and take "
                             f"the array that is returned")
        results = {}
        for name, shape, dtype in outputs:
            if name in out:
                a = out[name]
                if not (type(a) is ndarray and a.dtype is dtype and a.shape == shape and a.flags.carray):
                    _check_out(name, shape, dtype, a, self.plan.bound.output_format(name))
            results[name] = out[name] if name in out else kept[name] if name in kept else np.empty(shape, dtype)
        return results

    def __repr__(self) -> str:
        return f"<Session over {self.plan!r}>"


def _check_out(name: str, shape: tuple[int, ...], dtype: np.dtype, array: Any, form: Format) -> None:
    where = f"out {name!r}"
    if not isinstance(array, np.ndarray):
        check_on_host(where, array)
        raise InputError(f"{where}: expected a NumPy array of {dtype} {shape}, got {type(array).__name__}")
    if type(array) is not np.ndarray:
        check_unmasked(where, array)
    if array.dtype != dtype and not (dtype.name == "bfloat16" and array.dtype == np.uint16):
        raise DTypeError(f"{where}: expected element type {dtype}, got {array.dtype}")
    if array.shape != shape:
        raise InputError(f"{where}: expected shape {shape} in layout {form.layout}, got {array.shape}")
    if not (array.flags.c_contiguous and array.flags.aligned and array.flags.writeable):
        raise InputError(f"{where}: expected a contiguous, aligned, writeable array; "
                         f"numpy.empty({shape}, {str(dtype)!r}) is one")


def _check_apart(out: Mapping[str, np.ndarray], arrays: list[np.ndarray]) -> None:
    """Raise InputError where an output lies in an input or in another output; in the order of their addresses."""
    ranges = sorted((begin, begin + a.nbytes, name) for name, a in [*(("", a) for a in arrays), *out.items()] if a.size
                    for begin in (a.__array_interface__["data"][0],))
    end_of_any = end_of_output = 0
    last = ""  # the output that ends last
    for begin, end, name in ranges:
        if begin < (end_of_any if name else end_of_output):
            raise InputError(f"out {name or last!r}: it overlaps an input or another output; give memory of its own")
        end_of_any = max(end_of_any, end)
        if name and end > end_of_output:
            end_of_output, last = end, name
