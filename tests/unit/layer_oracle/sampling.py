"""Layers that read between the elements of an image, and col2im."""

from __future__ import annotations


def _grid_sample(g, case, a, names):
    return g.node("GridSample", names, mode=a["mode"], padding_mode=a["padding"], align_corners=a["align_corners"])


def _roi_align(g, case, a, names):
    coordinates = "half_pixel" if a["half_pixel"] else "output_half_pixel"
    return g.node("RoiAlign", names, output_height=a["size"][0], output_width=a["size"][1], mode=a["mode"],
                  sampling_ratio=a["ratio"], spatial_scale=a["scale"], coordinate_transformation_mode=coordinates)


def _max_roi_pool(g, case, a, names):
    return g.node("MaxRoiPool", names, pooled_shape=a["size"], spatial_scale=a["scale"])


def _deform_conv(g, case, a, names):
    return g.node("DeformConv", names, group=a["groups"], offset_group=a["offset_groups"], strides=a["stride"], pads=a["pad"],
                  dilations=a["dilation"])


def _col2im(g, case, a, names):
    given = {name: a[name] for name in ("strides", "pads", "dilations") if a[name]}
    return g.node("Col2Im", [*names, g.array(a["image"]), g.array(a["block"])], **given)


OPERATORS = {"grid_sample": _grid_sample, "roi_align": _roi_align, "max_roi_pool": _max_roi_pool, "deform_conv2": _deform_conv,
             "col2im": _col2im}
