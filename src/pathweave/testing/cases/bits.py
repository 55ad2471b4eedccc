"""Cases of functions of the bits of elements."""

from __future__ import annotations

from ...net.net import TensorSpec
from .. import case
from .element_types import INTEGERS

_PAIRS = [((2, 5, 7), (5, 1)), ((2, 3, 4, 5), (3, 1, 1)), ((33,), ()), ((1,), (2, 3))]
#: Types of as many bits.
_ALIKE = (("i8", "u8", "bool"), ("i16", "u16", "f16", "bf16"), ("f32", "i32", "u32"), ("f64", "i64", "u64"))


def _net_type(dtype: str) -> str:
    return "f32" if dtype in ("f16", "bf16") else dtype


CASES = [
    *(case(kind, *(TensorSpec(dtype, s) for s in _PAIRS[0]), values=("integral", "integral"))
      for kind in ("bitwise_and", "bitwise_or", "bitwise_xor") for dtype in INTEGERS),
    *(case(kind, *(TensorSpec("i64", s) for s in pair), values=("integral", "integral"))
      for kind in ("bitwise_and", "bitwise_or", "bitwise_xor") for pair in _PAIRS[1:]),
    # shifts by few places, and by all of them and more
    *(case(kind, *(TensorSpec(dtype, s) for s in _PAIRS[0]), values=("integral", word))
      for kind in ("shift_left", "shift_right") for dtype in INTEGERS for word in ("ties", "ends:7,8,31,63,64")),
    *(case(kind, *(TensorSpec("i32", s) for s in pair), values=("integral", "integral"))
      for kind in ("shift_left", "shift_right") for pair in _PAIRS[1:]),
    *(case("bitwise_not", TensorSpec(dtype, shape), values=("integral",)) for dtype in INTEGERS
      for shape in ((3, 17), (2, 3, 4, 5))),
    *(case("bit_cast", TensorSpec(_net_type(a), shape), source=a, dtype=b, values=("normal" if a[0] in "fb" else "integral",))
      for types in _ALIKE for a in types for b in types for shape in ((3, 17), (1, 2, 3, 4))
      if _net_type(a) == a or shape == (3, 17)),
]
