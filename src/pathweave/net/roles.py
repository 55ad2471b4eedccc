"""Roles of axes: what each axis of a value is for. A layer kind states those of its inputs and outputs (`LayerKind.roles`)."""

from __future__ import annotations

BATCH, CHANNEL, SPACE, SEQUENCE = "batch", "channel", "space", "sequence"
#: Nothing is known of the axis.
UNKNOWN = ""
#: One word per axis.
Roles = tuple[str, ...]


def image_roles(space: int) -> Roles:
    """[N, C, ...] with so many axes of space: L of one, H and W of two, D, H and W of three."""
    return (BATCH, CHANNEL, *[SPACE] * space)


def usual_roles(rank: int) -> Roles:
    """Roles of a value of which no layer says anything: [N,C] of rank 2, an image of rank 4, of other ranks the batch alone.

    The axes behind that may be anything: [N,T,C] and [N,C,T] both occur.
    """
    if rank in (2, 4):
        return image_roles(rank - 2)
    return (BATCH, *[UNKNOWN] * (rank - 1)) if rank > 1 else (UNKNOWN,) * rank


def space_axes(roles: Roles) -> tuple[int, ...]:
    """The axes of height, width and their like."""
    return tuple(axis for axis, role in enumerate(roles) if role == SPACE)


def channel_axes(roles: Roles) -> tuple[int, ...]:
    """The axes along which numbers of different meaning, and so of different size, may lie side by side: of the second and the
    last those that hold channels, or of which nothing is known.

    [N,C]: 1; [N,T,C] and [N,C,T] of which nothing is known: 1 and 2; [N,C,H,W]: 1. None below two dimensions.
    """
    rank = len(roles)
    return tuple(axis for axis in dict.fromkeys((1, rank - 1)) if roles[axis] in (CHANNEL, UNKNOWN)) if rank > 1 else ()
