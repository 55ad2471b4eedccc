"""What examples of onnx_history.py are made of: a node, and small numbers of any element type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

I64 = np.int64


class Example(NamedTuple):
    """A node of an operator at an opset. `inputs`: arrays, None for one that is absent. `constant`: which are initializers.
    `expected`: its results, None where another engine tells them."""

    inputs: list
    attributes: dict[str, Any] = {}
    outputs: int = 1
    constant: tuple[int, ...] = ()
    expected: Any = None


#: From an opset and an element type.
Maker: TypeAlias = Callable[[int, Any], Example]


def numbers(dtype: Any, shape: tuple[int, ...] = (2, 3, 4), low: float = 1, high: float = 5) -> np.ndarray:
    """Different small numbers, as every element type has them."""
    count = int(np.prod(shape))
    return (low + (np.arange(count) * 7 % 13) / 13 * (high - low)).reshape(shape).astype(dtype)


def signed(dtype: Any, shape: tuple[int, ...] = (2, 3, 4)) -> np.ndarray:
    """The same, on both sides of 0 where the type has that."""
    dtype = np.dtype(dtype)
    if dtype.kind in "ub":
        return numbers(dtype, shape, 0, 5)
    return numbers(dtype, shape, -4, 4)
