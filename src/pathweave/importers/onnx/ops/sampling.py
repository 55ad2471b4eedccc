"""GridSample, AffineGrid, RoiAlign, MaxRoiPool and Col2Im."""

from __future__ import annotations

from ..node import Node


def grid_sample(n: Node) -> None:
    """GridSample; the names of its modes changed with opset 20."""
    n.required(2)
    mode = n.text("mode", "bilinear" if n.version < 20 else "linear")
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    n.emit("grid_sample", [n.input(0), n.input(1)],
           {"mode": mode, "padding": n.text("padding_mode", "zeros"), "align_corners": n.int("align_corners")}, last=True)


def affine_grid(n: Node) -> None:
    """AffineGrid: a product of the places between -1 and 1, with a 1 behind each, and the matrices."""
    n.required(2)
    theta, size = n.input(0), n.input(1)
    sizes = n.const(1)
    counted = len(sizes.reshape(-1)) if sizes is not None else n.size(size, 0)
    space = counted - 2 if counted is not None else n.size(theta, 1)
    if space not in (2, 3):
        if space is None:
            n.unsupported("the number of axes is known neither from theta nor from the sizes (input 1)")
        raise ValueError(f"size names {space} axes of space, expected 2 or 3")
    lengths = n.emit("slice", [size], {"starts": (2,), "ends": (2 + space,), "axes": (0,), "steps": (1,)})
    ones = n.emit("expand", [n.number(1, theta), lengths])  # first, so that sizes beyond the memory are refused at once
    columns = []
    for axis in reversed(range(space)):  # x, the last axis, comes first
        length = n.emit("gather", [lengths, n.constant(axis)], {"axis": 0})
        place = _places(n, length, theta, bool(n.int("align_corners")))
        along = n.emit("unsqueeze", [place], {"axes": tuple(range(1, space - axis))}) if axis < space - 1 else place
        columns.append(n.emit("expand", [along, lengths]))
    columns = [n.emit("reshape", [c], {"shape": (-1, 1)}) for c in (*columns, ones)]
    places = n.emit("concat", columns, {"axis": 1})
    product = n.emit("matmul", [places, n.emit("transpose", [theta], {"perm": (0, 2, 1)})])
    target = n.emit("concat", [n.constant([0]), lengths, n.constant([space])], {"axis": 0})
    n.emit("reshape", [product, target], last=True)


def _places(n: Node, length: str, like: str, align: bool) -> str:
    """Where the elements of an axis lie between -1 and 1."""
    dtype = n.dtype(like) or "f32"
    steps = n.emit("cast", [n.emit("range", [n.constant(0), length, n.constant(1)])], {"dtype": dtype})
    one, two = n.number(1, like), n.number(2, like)
    wide = n.emit("cast", [length], {"dtype": dtype})
    if align:  # a single element lies at -1
        gaps = n.emit("maximum", [n.emit("sub", [wide, one]), one])
        return n.emit("sub", [n.emit("div", [n.emit("mul", [steps, two]), gaps]), one])
    centres = n.emit("add", [n.emit("mul", [steps, two]), one])
    return n.emit("sub", [n.emit("div", [centres, wide]), one])


def roi_align(n: Node) -> None:
    """RoiAlign; before opset 16 places are not shifted by half an element."""
    n.required(3)
    coordinates = n.text("coordinate_transformation_mode", "half_pixel" if n.version >= 16 else "output_half_pixel")
    if coordinates not in ("half_pixel", "output_half_pixel"):
        raise ValueError(f"coordinate_transformation_mode is {coordinates!r}, expected half_pixel or output_half_pixel")
    attrs = {"size": (n.int("output_height", 1), n.int("output_width", 1)), "mode": n.text("mode", "avg").lower(),
             "ratio": n.int("sampling_ratio"), "scale": n.float("spatial_scale", 1.0),
             "half_pixel": int(coordinates == "half_pixel")}
    n.emit("roi_align", [n.input(i) for i in range(3)], attrs, last=True)


def max_roi_pool(n: Node) -> None:
    """MaxRoiPool."""
    n.required(2)
    attrs = {"size": n.ints("pooled_shape", ()), "scale": n.float("spatial_scale", 1.0)}
    n.emit("max_roi_pool", [n.input(0), n.input(1)], attrs, last=True)


def col2im(n: Node) -> None:
    """Col2Im with sizes that are constant or computed."""
    n.required(3)
    attrs = {name: n.ints(name) for name in ("strides", "pads", "dilations")}
    n.emit("col2im", [n.input(i) for i in range(3)], attrs, last=True)


OPERATORS = {"GridSample": grid_sample, "AffineGrid": affine_grid, "RoiAlign": roi_align, "MaxRoiPool": max_roi_pool,
             "Col2Im": col2im}
