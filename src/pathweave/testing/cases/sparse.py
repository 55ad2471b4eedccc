"""Cases of layers whose weights hold many zeros."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import Case
from .conv import conv
from .dense import dense

#: Unstructured from one half to all, two of four, and whole blocks of 16 outputs.
WORDS = ("sparse:50", "sparse:70", "sparse:90", "sparse:100", "2of4", "blocks:50", "blocks:80", "blocks:100")


def _with(words: Sequence[str], make: Callable[..., Case], *arguments: Any, **rest: Any) -> list[Case]:
    return [make(*arguments, values=("", word), **rest) for word in words]


CASES = [
    # 1x1: channel and pixel counts around vectors, tiles and blocks, single pixels, batches, strides, padding
    *_with(WORDS, conv, (1, 64, 7, 9), 48, 1),
    *(c for i, o, h, w in ((3, 16, 5, 5), (17, 31, 3, 4), (33, 40, 1, 1), (24, 16, 2, 2), (40, 17, 1, 19),
                           (64, 96, 14, 14), (16, 80, 9, 29), (128, 64, 28, 28))
      for c in _with(("sparse:80", "blocks:60"), conv, (1, i, h, w), o, 1)),
    *_with(("sparse:80", "blocks:60"), conv, (3, 24, 7, 7), 32, 1, epilogue="add+relu"),
    *_with(("sparse:80", "blocks:60"), conv, (2, 24, 3, 2), 32, 1, bias=False),
    *_with(("sparse:80", "blocks:60"), conv, (2, 32, 9, 8), 32, 1, stride=(2, 3)),
    *_with(("sparse:80", "blocks:60"), conv, (1, 16, 6, 7), 32, 1, pad=(1, 0, 2, 1), groups=2),
    # larger kernels: borders, strides, dilations, groups, images smaller than a vector
    *_with(WORDS, conv, (1, 16, 10, 11), 32, 3, same=1),
    *(c for rest in (dict(stride=(2, 2), pad=(1, 1, 1, 1)), dict(dilation=(2, 3), pad=(2, 3, 2, 3)), dict(),
                     dict(stride=(3, 2), dilation=(2, 2), pad=(0, 2, 3, 1)), dict(groups=2, same=1),
                     dict(pad=(3, 4, 5, 3), bias=False), dict(same=1, epilogue="add+hard_swish"))
      for c in _with(("sparse:75", "blocks:60"), conv, (2, 16, 12, 21), 32, 3, **rest)),
    *_with(("sparse:80",), conv, (1, 3, 23, 20), 24, 7, stride=(2, 2), pad=(3, 3, 3, 3), epilogue="relu"),
    *_with(("sparse:80", "blocks:60"), conv, (1, 24, 4, 3), 40, 5, same=1, epilogue="clip:0.0:6.0"),
    *_with(("sparse:80", "blocks:60"), conv, (1, 8, 1, 40), 16, (1, 5), same=1, epilogue="silu"),
    # dense
    *_with(WORDS, dense, (1, 200), 96), *_with(WORDS, dense, (19, 72), 48),
    *(c for x, o in (((1, 1), 1), ((1, 7), 33), ((3, 1000), 40), ((2, 5, 24), 17), ((64, 96), 100), ((16,), 24))
      for c in _with(("sparse:80", "blocks:60"), dense, x, o)),
    *(c for e in ("relu", "add+relu", "gelu:0.0") for x in ((1, 130), (9, 40))
      for c in _with(("sparse:80", "blocks:60"), dense, x, 50, epilogue=e)),
    *_with(("sparse:80",), dense, (5, 24), 40, bias=False, epilogue="add"),
]
