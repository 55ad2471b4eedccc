"""The border of a net: the layouts in which a caller's arrays of inputs and outputs lie, where they are not row-major.

A caller's array has the dimensions that its layout has in memory: an input that is declared (N, 3, H, W), and lies in nhwc, is
an array (N, H, W, 3). What is declared, and the shapes that users bind, do not change with the layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import InputError
from .format import LAYOUTS, fits, logical_shape, of_rank, physical_shape, plain_layout
from .net import Dim, TensorSpec


def checked_layouts(layouts: Any, inputs: Mapping[str, TensorSpec],
                    outputs: Mapping[str, TensorSpec | None]) -> dict[str, str]:
    """`layouts`, from name of an input or output to layout, as a dict. `outputs`: None where a spec is not known;
    sizes of an output that depend on the inputs are looked at when the net is bound.

    Raises InputError for an unknown name or layout, and for a layout that a value cannot lie in.
    """
    if not isinstance(layouts, Mapping):
        raise InputError(f"layouts: expected a dict from the name of an input or output to its layout, such as "
                         f"{{{next(iter(inputs), 'x')!r}: 'nhwc'}}, got {type(layouts).__name__}")
    for name, layout in layouts.items():
        if name not in inputs and name not in outputs:
            raise InputError(f"layouts: {name!r} is neither an input nor an output; the inputs are "
                             f"{', '.join(map(repr, inputs)) or 'none'}, the outputs {', '.join(map(repr, outputs)) or 'none'}")
        if not isinstance(layout, str) or layout not in LAYOUTS:
            raise InputError(f"layouts: {name!r} is to lie in {layout!r}; expected one of {', '.join(LAYOUTS)}")
        for what, specs in (("input", inputs), ("output", outputs)):
            spec = specs.get(name)
            open_channels = what == "output" and spec is not None and spec.rank > 1 and not isinstance(spec.shape[1], int)
            if spec is not None and not (open_channels and of_rank(layout, spec.rank)):
                _check_fits(what, name, spec, layout)
    return dict(layouts)


def _check_fits(what: str, name: str, spec: TensorSpec, layout: str) -> None:
    """Raise InputError where a value cannot lie in a layout. `what`: "input" or "output"."""
    if fits(layout, spec.shape):
        return
    facts, where = LAYOUTS[layout], f"layouts: {what} {name!r} ({spec}) cannot lie in {layout}"
    if of_rank(layout, spec.rank):
        raise InputError(f"{where}: expected a number of channels that {facts.block} divides and that is known before the "
                         f"call, got {spec.shape[1]}; leave {name!r} out, or choose nhwc or nchw")
    wanted = "any rank but 4, whose row-major layout is nchw" if facts.rank is None else f"rank {facts.rank}"
    raise InputError(f"{where}: it is for {wanted}, and the value has rank {spec.rank}; leave {name!r} out, which means "
                     f"{plain_layout(spec.rank)}")


def of_caller(spec: TensorSpec, layout: str | None) -> TensorSpec:
    """dtype and dimensions of a caller's array. `layout`: None for the row-major one."""
    return spec if layout is None else TensorSpec(spec.dtype, physical_shape(layout, spec.shape))


def in_layout(spec: TensorSpec | str, layout: str | None) -> str:
    """A spec in words, with the layout of the caller's array where one was chosen: `f32[N,3,8,8] in nhwc`."""
    return f"{spec}" if layout is None else f"{spec} in {layout}"


def logical_shapes(inputs: Mapping[str, TensorSpec], layouts: Mapping[str, str],
                   shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Shapes as the net declares them, from those of a caller's arrays; one of a wrong rank stays as it is."""
    found = dict(shapes)
    for name, shape in shapes.items() if layouts else ():
        layout = layouts.get(name)
        if layout is not None:
            rank = of_caller(inputs[name], layout).rank
            found[name] = logical_shape(layout, shape) if len(shape) == rank else shape
    return found


def advice(name: str, spec: TensorSpec, layout: str | None, shape: tuple[int, ...]) -> str:
    """What to do about an array of the wrong shape, where its layout may be the reason; begins with "; ", or is empty.

    `spec`: as it is declared. `layout`: the one that was chosen, None for the row-major one.
    """
    current = layout or plain_layout(spec.rank)
    if _like(of_caller(spec, layout).shape, shape):
        return ""
    other = next((x for x in LAYOUTS if x != current and fits(x, spec.shape) and
                  _like(of_caller(spec, x).shape, shape)), None)
    if layout is None:
        return "" if other is None else (f"; that is its shape in {other}: transpose the array, or load the model with "
                                         f"layouts={{{name!r}: {other!r}}}")
    declared = f"; the layout {layout} was chosen for {name!r}, which is declared {spec}: "
    if LAYOUTS[layout].block:
        return declared + f"give the array in that layout, or leave {name!r} out of layouts"
    order = LAYOUTS[layout].order
    return declared + (f"x.transpose{order} is that view of an array in the declared order, or leave {name!r} out of layouts"
                       if other == plain_layout(spec.rank) else f"give an array {list(of_caller(spec, layout).shape)}, or "
                       f"leave {name!r} out of layouts")


def _like(wanted: tuple[Dim, ...], shape: tuple[int, ...]) -> bool:
    """True where a shape may be one with these dimensions; an open size may be any."""
    return len(wanted) == len(shape) and all(not isinstance(w, int) or w == s for w, s in zip(wanted, shape))
