"""Sizes: the one place where shapes, bytes and the numbers that enter them are held to limits.

No value may take more than `max_bytes()`: 2^40 bytes, or less where the environment says so. What surrounds a value, its
padding, and what windows and their steps reach over, is held to a wider limit, so that the native core, which counts in
64 bits, never counts past them. native/base/size.h has the same limits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from ..errors import InputError, SizeError
from ..words import counted
from .dim import MOST_SIZE as MOST_SIZE
from .dim import Expr, lowest
from .format import DTYPES, itemsize
from .net import TensorSpec

#: Bytes of one value; VARIABLE lowers it.
MOST_BYTES = 2**40
#: Dimensions of a value: what NumPy can hold.
MOST_RANK = 64
#: Elements of a value with its padding, or of what its windows and their steps reach over.
MOST_SPAN = 2**45
#: Elements that all windows of a layer look at together.
MOST_VISITS = 2**56
#: Threads of one call.
MOST_THREADS = 1024
#: Environment variable with a lower limit of bytes for one value, and for all values of a plan together.
VARIABLE = "PATHWEAVE_MAX_BYTES"


def max_bytes() -> int:
    """The limit in force. Raises InputError where PATHWEAVE_MAX_BYTES is no positive whole number."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return MOST_BYTES
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 20 and int(text)):
        raise InputError(f"environment variable {VARIABLE}={text[:80]!r}: expected a number of bytes from 1 to "
                         f"{MOST_BYTES}; correct or unset it")
    return min(int(text), MOST_BYTES)


def check_number_of_threads(threads: Any) -> int:
    """`threads`. Raises InputError for what is no whole number from 1 to MOST_THREADS."""
    if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= MOST_THREADS:
        raise InputError(f"threads: expected a number from 1 to {MOST_THREADS}, got {threads!r}")
    return threads


def check_seconds(seconds: Any, what: str) -> float:
    """`seconds`. Raises InputError for what is no number from 0 to infinity."""
    if isinstance(seconds, bool) or not isinstance(seconds, Real) or not float(seconds) >= 0:  # NaN is not
        raise InputError(f"{what}: expected a number of seconds, 0 or more, got {seconds!r}")
    return float(seconds)


def product(sizes: Sequence[int]) -> int:
    """The product of sizes, those of 0 left out: an empty dimension does not make up for others that are too large."""
    result = 1
    for d in sizes:
        result *= d or 1
    return result


def size_bytes(spec: TensorSpec, dtype: str | None = None) -> int:
    """Bytes of a bound value in its element type or in another form; the same in every layout, for nothing is ever padded.

    Forms such as bf16x2 are planes of a known type; what has an unknown name counts as the element type.
    """
    word, planes = dtype or spec.dtype, 1
    if word not in DTYPES and (found := re.fullmatch(r"(\w+?)x(\d)", word)):
        word, planes = found[1], int(found[2])
    return spec.elements * itemsize(word if word in DTYPES else spec.dtype) * planes


def readable(count: int) -> str:
    """Bytes as text: `1.5 GB`."""
    number, unit = float(count), 0
    while number >= 1000 and unit < 8:
        number, unit = number / 1000, unit + 1
    return counted(count, "byte") if unit == 0 else f"{number:.3g} {' kMGTPEZY'[unit]}B"


def advice(limit: int) -> str:
    """What to do about a value beyond a limit."""
    lowered = f", or raise {VARIABLE}" if limit < MOST_BYTES else ""
    return f"give smaller shapes, or correct the attribute or the shape that makes it so large{lowered}"


def surely_fits(spec: TensorSpec) -> bool:
    """True where `check_value` takes a value, found without making an error's text; False: ask it."""
    size = itemsize(spec.dtype)
    for d in spec.shape:
        if type(d) is not int or d < 0:
            return False
        size *= d or 1
    return len(spec.shape) <= MOST_RANK and size <= max_bytes()


def check_value(name: str, spec: TensorSpec) -> None:
    """Raise SizeError unless a value is of at most MOST_RANK dimensions and `max_bytes()` bytes.

    `name`: as the error shows it. A size that is open counts as the least that it may be.
    """
    if len(spec.shape) > MOST_RANK:
        raise SizeError(f"{name} has rank {len(spec.shape)}: expected at most {MOST_RANK} dimensions; merge some of them")
    sizes = spec.sizes
    if any(not isinstance(d, int) or d < 0 for d in sizes):
        if not all(isinstance(d, Expr) or isinstance(d, int) and d >= 0 for d in spec.dims):
            raise SizeError(f"{name} is {spec}: expected sizes of at least 0")
        sizes = tuple(max(0, lowest(d)) for d in spec.dims)
    size = product(sizes) * itemsize(spec.dtype)
    limit = max_bytes()
    if size > limit:
        raise SizeError(f"{name}, {spec}, would take {readable(size)}: expected at most {readable(limit)} for one value "
                        f"({limit} bytes); {advice(limit)}")


def _comparable(*shapes: Sequence[Any]) -> bool:
    return Expr not in [type(d) for shape in shapes for d in shape]


def check_windows(attrs: Mapping[str, Any], inputs: Sequence[TensorSpec | None], outputs: Sequence[TensorSpec]) -> None:
    """Hold a layer whose attributes speak of windows over images (stride, pad, dilation) to the limits, where its sizes are
    known.

    Raises SizeError where padding, windows and steps reach over more than MOST_SPAN elements, or look at more than
    MOST_VISITS.
    """
    if not {"stride", "pad", "dilation"} <= attrs.keys() or not inputs or inputs[0] is None:
        return
    x, y = inputs[0].sizes, outputs[0].sizes
    space = len(x) - 2  # axes behind batch and channels
    if space < 1 or len(y) != len(x) or not _comparable(x, y, *(s.shape for s in inputs[1:] if s is not None)):
        return
    stride, pad, dilation = attrs["stride"], attrs["pad"], attrs["dilation"]
    weights = [s.sizes for s in inputs[1:] if s is not None and s.rank == len(x)]
    planes = product((x[0], max(1, x[1], y[1])))
    span, visits = planes, planes
    for i in range(space):
        kernel = attrs["kernel"][i] if "kernel" in attrs else max((w[2 + i] for w in weights), default=1)
        padded = max(x[2 + i], y[2 + i]) + pad[i] + pad[i + space]
        span *= max(1, padded, (kernel - 1) * dilation[i] + 1, stride[i])
        visits *= max(1, y[2 + i]) * kernel
    for what, found, most in (("reach over", span, MOST_SPAN), ("look at", visits, MOST_VISITS)):
        if found > most:
            raise SizeError(f"stride={stride} pad={pad} dilation={dilation}: the windows, with padding and steps, {what} "
                            f"{found:.3g} elements, expected at most {most:.3g}; correct these attributes")
