"""Routine descriptors: which candidates a user allows, SoftNeuro's `DEVICE[:DTYPE][:CH][/LEVEL][/AUX][@INDICES]`.

A descriptor is words joined by `:` and `/`; each narrows the choice:

    cpu  cuda0  python         device                f32  bf16  i8  qint8       element type
    nchw  nhwc  nchw16c        layout                chf (= nchw)  chl (= nhwc, of other ranks nlc, ndhwc)
    1thread                    run by one thread, the others go on to the next step (small layers)
    naive                      reference routines    fast       the others, at the accuracy class strict
    faster                     the others, below it  winograd4  an algorithm (a word that is none of the above)

or a routine id, whole (`conv2/winograd4:f32:nhwc:cpu`) or cut short (`conv2/winograd4`, `conv2`). `@2..5,9` confines it
to the layers at those positions (counted from 0, in the order of `pathweave show`).
Source: Hilaga et al. 2021, arXiv 2110.06037, and the manual of SoftNeuro's `--routine`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ..errors import NoneAllowedError, RestrictionError
from ..net.format import DTYPES, LAYOUTS, STORED
from ..net.layouts import alike
from ..net.net import Layer
from ..net.variant import ALONE_WORD
from ..words import counted, meant
from .catalogue import Candidate, Restrict
from .native import native

#: What "qint8" in an id stands for: products of bytes between values of f32.
_DTYPE_ALIASES = {"qint8": ("i8", "u8", "qint8"), "int8": ("i8", "u8"), "float": ("f32",), "float32": ("f32",),
                  "float16": ("f16",), "bfloat16": ("bf16",)}
#: Word -> layouts that it allows: the channels of values of other ranks lie alike, or the values lie in `plain`.
_LAYOUT_ALIASES = {word: alike(layout)
                   for word, layout in {"chf": "nchw", "chl": "nhwc", **{x: x for x in LAYOUTS}}.items()}
LEVELS = ("naive", "fast", "faster")
_DEVICE = re.compile(r"(cpu|python|null|cuda|opencl|vulkan|hexagon|hvx)\d*")
_WORD = re.compile(r"[A-Za-z0-9_+.-]+")
_RANGE = re.compile(r"(\d{1,9})(?:\.\.(\d{1,9}))?")

Test = Callable[[Candidate], bool]


@dataclass(frozen=True)
class Descriptor:
    """One parsed descriptor: tests that a candidate must all pass, and the positions that it is confined to."""

    text: str
    tests: tuple[Test, ...]
    ranges: tuple[tuple[int, int], ...] = ()

    def covers(self, index: int) -> bool:
        """True when it speaks about the layer at this position."""
        return not self.ranges or any(first <= index <= last for first, last in self.ranges)

    def matches(self, candidate: Candidate) -> bool:
        """True when it allows the candidate."""
        return all(test(candidate) for test in self.tests)


def parse(text: str, devices: Iterable[str] = ("cpu",)) -> Descriptor:
    """Read one descriptor. `devices`: names beyond the usual ones. Raises RestrictionError naming it and what is allowed."""
    body, at, indices = text.strip().partition("@")
    ranges = tuple(_range(text, part) for part in indices.split(",")) if at else ()
    if not body:
        if ranges:
            raise _bad(text, "nothing before @; name a device, an element type, a layout, an algorithm or a routine id")
        raise _bad(text, "it is empty")
    return Descriptor(text, _tests(text, body, set(devices)), ranges)


def _range(text: str, part: str) -> tuple[int, int]:
    m = _RANGE.fullmatch(part.strip())
    first, last = (int(m[1]), int(m[2] or m[1])) if m else (1, 0)
    if last < first:
        raise _bad(text, f"positions {part.strip()!r}; write them as @3, @2..5 or @1,4..6, the smaller one first")
    return first, last


def _tests(text: str, body: str, devices: set[str]) -> tuple[Test, ...]:
    head, slash, rest = body.partition("/")
    if head in _layer_kinds():
        algorithm, *words = rest.split(":") if slash else [""]
        if slash and not algorithm:
            raise _bad(text, f"no algorithm after {head}/")
        named = [lambda c: c.problem.kind == head]
        if algorithm:
            named.append(lambda c: c.algorithm == algorithm)
        return (*named, *(_word_test(text, w, devices) for w in words))
    return tuple(_word_test(text, w, devices) for w in re.split("[:/]", body))


def _word_test(text: str, word: str, devices: set[str]) -> Test:
    if not _WORD.fullmatch(word):
        raise _bad(text, f"the word {word!r}; words are joined by : and /, such as cpu:f32:nhwc or cpu/direct")
    if word in devices or _DEVICE.fullmatch(word):
        return lambda c: c.device == word
    if word in DTYPES or word in STORED or word in _DTYPE_ALIASES:
        dtypes = _DTYPE_ALIASES.get(word, (word,))
        return lambda c: _field(c, 1) in dtypes
    if word in _LAYOUT_ALIASES:
        layouts = _LAYOUT_ALIASES[word]
        return lambda c: _field(c, 2) in layouts
    if word == "naive":
        return lambda c: c.reference
    if word == "fast":
        return lambda c: not c.reference and c.accuracy == "strict"
    if word == "faster":
        return lambda c: not c.reference and c.accuracy != "strict"
    if word == ALONE_WORD:
        return lambda c: c.alone
    return lambda c: c.algorithm == word or c.variant == word


def _field(candidate: Candidate, index: int) -> str:
    """Field of KIND/ALGORITHM:DTYPE:LAYOUT:DEVICE; "" where an id of another shape has none."""
    fields = candidate.routine.split(":")
    return fields[index] if index < len(fields) else ""


def _layer_kinds() -> list[str]:
    from ..layers import kinds_of_nets
    return kinds_of_nets()


def _bad(text: str, got: str) -> RestrictionError:
    return RestrictionError(f"routine descriptor {text!r}: {got}; expected "
                      f"DEVICE[:DTYPE][:LAYOUT][/LEVEL][/ALGORITHM][@INDICES] "
                      f"(dtypes {', '.join([*DTYPES, *STORED, 'qint8'])}; "
                      f"layouts {', '.join([*LAYOUTS, 'chf', 'chl'])}; levels {', '.join(LEVELS)}), "
                      f"or a routine id such as conv2/winograd4:f32:nhwc:cpu")


class Restriction:
    """Several descriptors given together; what `restrict(layer_index, layer, candidate)` arguments are made of.

    For each layer the union of those that apply counts. A descriptor without positions applies to the layers for which
    it matches a candidate at all; one with positions applies to exactly those, and must match there. A layer to which
    none applies is unrestricted.
    """

    def __init__(self, descriptors: Iterable[str] | str, devices: Iterable[str] = ("cpu",)):
        texts = [descriptors] if isinstance(descriptors, str) else descriptors
        texts = list(texts) if isinstance(texts, Iterable) else [texts]
        for text in texts:
            if not isinstance(text, str):
                raise RestrictionError(f"routine descriptor: expected text such as cpu:f32:nhwc, or several, got {text!r}")
        devices = tuple(devices)
        self.descriptors = [parse(text, devices) for text in texts]

    def __bool__(self) -> bool:
        return bool(self.descriptors)

    def __call__(self, index: int, layer: Layer, candidate: Candidate) -> bool:
        return any(d.covers(index) and d.matches(candidate) for d in self.descriptors)

    def demands(self, index: int) -> list[Descriptor]:
        """The descriptors that name this position."""
        return [d for d in self.descriptors if d.ranges and d.covers(index)]

    def select(self, index: int, layer: Layer, found: list[Candidate]) -> list[Candidate]:
        """The candidates of one layer that are allowed; all of them where no descriptor applies.

        Raises NoneAllowedError when descriptors that name this layer leave nothing.
        """
        allowed = [c for c in found if self(index, layer, c)]
        if allowed:
            return allowed
        named = self.demands(index)
        if named:
            offered = sorted({str(c) for c in found})
            raise NoneAllowedError(f"layer {index} {layer.name!r} ({layer.kind}): the descriptor "
                                 f"{' and '.join(repr(d.text) for d in named)} leaves no routine; it can have "
                                 f"{', '.join(offered) or 'none'}")
        return found

    def check(self, layers: list[Layer], found: list[list[Candidate]]) -> None:
        """Raise RestrictionError for a descriptor that has no effect anywhere: a position or a word that does not exist."""
        for d in self.descriptors:
            for first, last in d.ranges:
                if last >= len(layers):
                    raise RestrictionError(f"routine descriptor {d.text!r}: position {max(first, len(layers))}; the net "
                                     f"has {counted(len(layers), 'layer')}, 0 to {len(layers) - 1}")
            if not any(d.covers(i) and any(d.matches(c) for c in cs) for i, cs in enumerate(found)):
                offered = sorted({c.routine for cs in found for c in cs})
                shown = ", ".join(offered[:40]) + (f", and {len(offered) - 40} more" if len(offered) > 40 else "")
                raise RestrictionError(f"routine descriptor {d.text!r}: it matches no candidate of this net, on this machine "
                                       f"and in the accuracy class that is allowed{_meant(d.text, found)}; there are {shown}")


def _meant(text: str, found: list[list[Candidate]]) -> str:
    """What may have been meant by the first word that is nothing that a descriptor can name in this net."""
    known = {word for cs in found for c in cs for word in (c.problem.kind, c.algorithm, c.variant, *c.routine.split(":")[1:])}
    known |= {*DTYPES, *STORED, *_DTYPE_ALIASES, *_LAYOUT_ALIASES, *LEVELS, ALONE_WORD, *_layer_kinds()}
    words = re.split("[:/]", text.partition("@")[0].strip())
    return next((hint for word in words if word not in known and (hint := meant(word, known))), "")


def restriction(value: Any) -> Restrict | None:
    """None, a callable, a descriptor, or several -> what `restrict` arguments are turned into."""
    if value is None or callable(value):
        return value
    found = Restriction(value, [d["name"] for d in native().devices()])
    return found or None
