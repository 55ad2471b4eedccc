"""State: an input of the main net that gets, in every call, the value that an output had in the call before.

The plan knows nothing of it: for a plan such an input and such an output are like all others.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from .arguments import as_array
from .floats import taken
from .format import plain_layout
from .net import Dim, TensorSpec


@dataclass(frozen=True, eq=False)
class State:
    """Where the value of an input comes from.

    `output`: the output of the call before. `initial`: array of the first call, its dimensions in the declared order, bfloat16
    as bits; None: zeros. `shape`: of these zeros, a size or the declared symbol per dimension; None: the declared shape.
    """

    output: str
    initial: np.ndarray | None = None
    shape: tuple[Dim, ...] | None = None

    def begins(self, spec: TensorSpec) -> TensorSpec:
        """Element type and shape of the first call's value; what is not known of it is a symbol. `spec`: of the input."""
        shape: tuple[Dim, ...] | None = self.shape if self.initial is None else self.initial.shape
        return spec if shape is None else TensorSpec(spec.dtype, shape)

    def described(self, spec: TensorSpec) -> str:
        """In words: `from 'present', at first zeros f32[1,8,0,64]`."""
        return f"from {self.output!r}, at first {'zeros' if self.initial is None else 'given numbers'} {self.begins(spec)}"

    def to_json(self, spec: TensorSpec) -> dict[str, Any]:
        """What `show --json` prints."""
        return {"output": self.output, "initial": "zeros" if self.initial is None else "given",
                "first": str(self.begins(spec))}


def checked_states(states: Any, inputs: Mapping[str, TensorSpec],
                   outputs: Mapping[str, TensorSpec | None]) -> dict[str, State]:
    """`states`, from input to the name of an output or to a State, as a dict in the order of the inputs.

    `outputs`: None where a spec is not known. Raises InputError for an unknown name, an output that two inputs take, element
    types, ranks or sizes that differ, an initial array that is none of the input; DTypeError for one of another type.
    """
    if not isinstance(states, Mapping):
        raise InputError(f"states: expected a dict from the name of an input to that of an output, such as "
                         f"{{{next(iter(inputs), 'past')!r}: {next(iter(outputs), 'present')!r}}}, got {type(states).__name__}")
    found: dict[str, State] = {}
    for name, state in states.items():
        if name not in inputs:
            raise InputError(f"states: {name!r} is no input; the inputs are {', '.join(map(repr, inputs)) or 'none'}")
        if isinstance(state, str):
            state = State(state)
        if not isinstance(state, State) or not isinstance(state.output, str):
            raise InputError(f"states: input {name!r}: expected the name of an output, or a State of one, got {state!r}")
        if state.output not in outputs:
            raise InputError(f"states: {state.output!r}, which the input {name!r} is to take, is no output; the outputs are "
                             f"{', '.join(map(repr, outputs)) or 'none'}")
        other = next((n for n, s in found.items() if s.output == state.output), None)
        if other is not None:
            raise InputError(f"states: the inputs {other!r} and {name!r} both take the output {state.output!r}; expected an "
                             f"output of its own for each")
        _check_pair(name, inputs[name], state.output, outputs[state.output])
        found[name] = _checked(name, inputs[name], state)
    return {name: found[name] for name in inputs if name in found}


def _check_pair(name: str, spec: TensorSpec, output: str, made: TensorSpec | None) -> None:
    """Raise InputError where an input can never take an output's value."""
    if made is None:
        return
    where = f"states: the input {name!r} ({spec}) cannot take the output {output!r} ({made})"
    if spec.dtype != made.dtype:
        raise InputError(f"{where}: expected equal element types, got {spec.dtype} and {made.dtype}")
    if spec.rank != made.rank:
        raise InputError(f"{where}: expected equal ranks, got {spec.rank} and {made.rank}")
    for axis, (wanted, got) in enumerate(zip(spec.shape, made.shape)):
        if isinstance(wanted, int) and isinstance(got, int) and wanted != got:
            raise InputError(f"{where}: expected equal sizes, got {wanted} and {got} in dimension {axis}; an input whose size "
                             f"changes from call to call is declared with a symbol there")


def _checked(name: str, spec: TensorSpec, state: State) -> State:
    """A state with an initial value that is one of its input. Raises InputError, DTypeError."""
    where = f"states: the initial value of {name!r}"
    if state.initial is not None:
        array = taken(where, spec, as_array(name, state.initial, spec))
        _check_shape(where, spec, array.shape)
        if array.flags.writeable or not array.flags.c_contiguous:
            array = array.copy("C")
            array.flags.writeable = False
        return replace(state, initial=array, shape=None)
    if state.shape is not None:
        if not isinstance(state.shape, (tuple, list)):
            raise InputError(f"{where}: expected a shape, a tuple of sizes, got {state.shape!r}")
        shape = tuple(int(d) if isinstance(d, np.integer) else d for d in state.shape)
        _check_shape(where, spec, shape)
        return replace(state, shape=shape)
    return state


def _check_shape(where: str, spec: TensorSpec, shape: Any) -> None:
    """Raise InputError unless a shape is one that an input may have; it may keep the input's symbols."""
    if len(shape) != spec.rank:
        raise InputError(f"{where}: expected rank {spec.rank} ({spec}), got shape {tuple(shape)}")
    for axis, (wanted, got) in enumerate(zip(spec.shape, shape)):
        if wanted == got and not isinstance(got, bool):
            continue
        if isinstance(wanted, int) or isinstance(got, bool) or not isinstance(got, int) or got < 0:
            expected = wanted if isinstance(wanted, int) else f"a size of 0 or more, or {str(wanted)!r}, which a session sizes,"
            raise InputError(f"{where}: expected {expected} in dimension {axis} ({spec}), got {got!r}")


def changed_states(states: Mapping[str, State], inputs: Mapping[str, TensorSpec], changes: Any, initial: Any = None,
                   sizes: Any = None) -> dict[str, Any]:
    """States with some of them changed: what `with_states` means. The result is to be checked by `checked_states`.

    `changes`: input -> output, State or None for an input that is no state any more. `initial`: input -> array. `sizes`: symbol
    -> size, or input -> shape, of states that begin as zeros. Raises InputError.
    """
    if not isinstance(changes, Mapping):
        return changes  # `checked_states` says what is expected
    found: dict[str, Any] = {n: s for n, s in {**states, **changes}.items() if s is not None}
    for what, given in (("initial", initial), ("sizes", sizes)):
        if given is not None and not isinstance(given, Mapping):
            raise InputError(f"states: {what}: expected a dict, got {type(given).__name__}")
    for name, array in (initial or {}).items():
        found[name] = replace(_statement(found, name, "initial"), initial=array)
    for name, size in (sizes or {}).items():
        if isinstance(size, (tuple, list)):
            found[name] = replace(_statement(found, name, "sizes"), initial=None, shape=tuple(size))
            continue
        having = [n for n in found if n in inputs and name in inputs[n].shape]
        if not having:
            raise InputError(f"states: sizes: {name!r} is {size!r}; expected a symbol of a state and its size, or a state and "
                             f"its shape; {_listed(found, inputs)}")
        for n in having:
            state = _statement(found, n, "sizes")
            if state.initial is None:
                shape = inputs[n].shape if state.shape is None else state.shape
                found[n] = replace(state, shape=tuple(size if d == name else d for d in shape))
    return found


def _statement(states: Mapping[str, Any], name: str, what: str) -> State:
    """The State of an input. Raises InputError for an input that is none."""
    state = states.get(name)
    if isinstance(state, (str, State)):
        return State(state) if isinstance(state, str) else state
    raise InputError(f"states: {what}: {name!r} is no state; the states are {', '.join(map(repr, states)) or 'none'}")


def _listed(states: Mapping[str, Any], inputs: Mapping[str, TensorSpec]) -> str:
    named = ", ".join(f"{n!r} {inputs[n]}" for n in states if n in inputs)
    return f"the states are {named or 'none'}"


def first_sizes(symbols: Iterable[str], inputs: Mapping[str, TensorSpec], states: Container[str]) -> dict[str, int]:
    """Sizes with which states may well begin, by symbol, as an example: a cache begins empty.

    A symbol has size 0 where it is in states alone and is no first dimension, which is the batch; else 1.
    """
    beside = {d for n, spec in inputs.items() if n not in states for d in spec.shape}
    beside |= {spec.shape[0] for spec in inputs.values() if spec.shape}
    return {s: 1 if s in beside else 0 for s in symbols}


def check_layouts(states: Mapping[str, State], layouts: Mapping[str, str], inputs: Mapping[str, TensorSpec]) -> None:
    """Raise InputError where an input and the output that it takes would lie in different layouts: nothing converts a state."""
    for name, state in states.items():
        plain = plain_layout(inputs[name].rank)
        own, other = (layouts.get(n, plain) for n in (name, state.output))
        if own != other:
            raise InputError(f"layouts: the input {name!r} lies in {own}, and the output {state.output!r}, whose value it "
                             f"takes in the next call, in {other}; give both the same layout, such as "
                             f"layouts={{{name!r}: {own!r}, {state.output!r}: {own!r}}}")
