"""Format: element type, layout and device of one value. Equality is the only thing the solver asks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeVar

from ..errors import ModelError
from .dim import Expr
from .layouts import LAYOUTS, ROW_MAJOR

D = TypeVar("D", int, int | str | Expr)

#: dtype name -> (NumPy name, bytes per element). bf16 has no NumPy type: it travels as uint16.
DTYPES = {
    "f32": ("float32", 4), "f64": ("float64", 8), "f16": ("float16", 2), "bf16": ("uint16", 2),
    "i8": ("int8", 1), "u8": ("uint8", 1), "i16": ("int16", 2), "u16": ("uint16", 2), "i32": ("int32", 4),
    "u32": ("uint32", 4), "i64": ("int64", 8), "u64": ("uint64", 8), "bool": ("bool", 1),
}
#: Forms in which an f32 value may lie between two routines, never the element type of a value of a net: name -> as above.
#: bf16x2: hi + lo, both bf16. Each row of the innermost dimension holds its hi parts, then its lo parts; such a row of C
#: elements travels as C uint32, or 2 C uint16. lo is 0 where hi is infinite or NaN.
STORED = {"bf16x2": ("uint32", 4)}
_ALL = {**DTYPES, **STORED}
#: All forms of an f32 value beside f32 itself; bf16 and f16 are element types too.
FORMS = ("bf16", "f16", *STORED)
_FROM_NUMPY = {numpy_name: name for name, (numpy_name, _) in DTYPES.items() if name != "bf16"}


class Format(NamedTuple):
    """dtype + layout + device of one value; prints as `f32:nhwc:cpu`."""

    dtype: str
    layout: str
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.dtype}:{self.layout}:{self.device}"

    @staticmethod
    def parse(text: str) -> "Format":
        """Read `f32:nhwc:cpu`. Raises ModelError on anything else."""
        if not isinstance(text, str):
            raise ModelError(f"format: expected text such as f32:nhwc:cpu, got {type(text).__name__}")
        return _parsed(text)


@lru_cache(maxsize=None)
def _parsed(text: str) -> Format:
    parts = text.split(":")
    if len(parts) != 3 or parts[0] not in _ALL or parts[1] not in LAYOUTS or not parts[2]:
        raise ModelError(f"format {text!r}: expected DTYPE:LAYOUT:DEVICE such as f32:nhwc:cpu "
                         f"(dtypes {', '.join(_ALL)}; layouts {', '.join(LAYOUTS)})")
    return Format(*parts)


def plain_layout(rank: int) -> str:
    """Name of the row-major layout in the logical order: `nchw` for rank 4, else `plain`."""
    return ROW_MAJOR.get(rank, ROW_MAJOR[None])


def plain_format(dtype: str, rank: int) -> Format:
    """The row-major format on the CPU: what all conversions meet in. A caller's format is asked of the bound net."""
    return Format(dtype, plain_layout(rank), "cpu")


def of_rank(layout: str, rank: int) -> bool:
    """True when a layout is for values of this rank."""
    wanted = LAYOUTS[layout].rank
    return rank not in ROW_MAJOR if wanted is None else rank == wanted


def fits(layout: str, shape: Sequence[int | str | Expr]) -> bool:
    """True when a value of this shape can lie in this layout. Open sizes are not known: no block divides them."""
    block = LAYOUTS[layout].block
    return of_rank(layout, len(shape)) and (not block or isinstance(shape[1], int) and shape[1] % block == 0)


def physical_shape(layout: str, shape: Sequence[D]) -> tuple[D, ...]:
    """Dimensions as they lie in memory, outermost first, of a logical shape that fits.

    Raises ModelError for blocks of an open number of channels.
    """
    facts = LAYOUTS[layout]
    if facts.row_major:
        return tuple(shape)
    sizes = [shape[axis] for axis in facts.order]
    if facts.block:
        channels = shape[1]
        if not isinstance(channels, int):
            raise ModelError(f"layout {layout}: expected a known number of channels, got {channels}; bind the shapes first")
        sizes[facts.order.index(1)] = channels // facts.block
        sizes.append(facts.block)
    return tuple(sizes)


def logical_shape(layout: str, physical: Sequence[int]) -> tuple[int, ...]:
    """The inverse of `physical_shape`."""
    facts = LAYOUTS[layout]
    if facts.row_major:
        return tuple(physical)
    found = [physical[dimension] for dimension in facts.back]
    if facts.block:
        found[1] *= facts.block
    return tuple(found)


def dtype_of(numpy_dtype: object) -> str:
    """pathweave's name of a NumPy dtype. Raises ModelError for types that no value can have."""
    name = str(numpy_dtype)
    if name not in _FROM_NUMPY:
        raise ModelError(f"element type {name}: expected one of {', '.join(_FROM_NUMPY)}")
    return _FROM_NUMPY[name]


def numpy_dtype(dtype: str) -> str:
    """NumPy's name of a dtype (`f32` -> `float32`). Raises ModelError for an unknown one."""
    return _facts(dtype)[0]


def itemsize(dtype: str) -> int:
    """Bytes of one element. Raises ModelError for an unknown dtype."""
    return _facts(dtype)[1]


def _facts(dtype: str) -> tuple[str, int]:
    try:
        return _ALL[dtype]
    except (KeyError, TypeError):  # what cannot be a key is none
        raise ModelError(f"element type: expected one of {', '.join(_ALL)}, got {dtype!r}") from None
