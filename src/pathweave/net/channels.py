"""Channels of a value: the axes along which numbers of different meaning, and so of different size, lie side by side."""

from __future__ import annotations


def channel_axes(rank: int) -> tuple[int, ...]:
    """Axes of a value [N, ...] that may hold channels: the second one, and where the shape is not that of images the last.

    [N,C]: 1; [N,T,C] and [N,C,T]: 1 and 2; [N,C,H,W]: 1; [N,A,H,W,C]: 1 and 4. None below two dimensions.
    """
    if rank < 2:
        return ()
    return (1,) if rank in (2, 4) else (1, rank - 1)
