"""Winograd's F(m x m, 3 x 3): products of transformed tiles, and the transforms of inputs and products.

Those of the weights are made once. Source: Lavin and Gray 2015, arXiv 1509.09308.
"""

from __future__ import annotations

import re
from math import ceil, prod

from ...layers import kind_of
from ...net.net import Layer, Net
from .. import work

#: Additions and multiplications of the transforms of one line, by the outputs m of F(m, 3): of alpha = m + 2 inputs, and of
#: alpha products. Counted in the transforms of native/ukernels/body/winograd_f32.inc.
LINES = {2: (4, 4), 4: (22, 16), 6: (45, 35)}


def operations(net: Net, layer: Layer, algorithm: str, variant: str) -> int | None:
    found = re.fullmatch(r"winograd(\d+)", algorithm)
    m = int(found[1]) if found and layer.kind == "conv2" else 0
    if m not in LINES:
        return None
    kind = kind_of(layer.kind)
    rates = kind.complete(layer.attrs)["dilation"]
    (n, outputs, height, width), inputs = net.specs[layer.outputs[0]].sizes, net.specs[layer.inputs[0]].sizes[1]
    depth, alpha, (line_in, line_out) = net.specs[layer.inputs[1]].sizes[1], m + 2, LINES[m]
    tile = 2 * alpha * line_in * inputs + 2 * alpha * alpha * depth * outputs + (alpha + m) * line_out * outputs
    # Outputs that lie as far apart as the taps make an image of their own.
    tiles = prod(min(size, rate) * ceil(ceil(size / rate) / m) for size, rate in zip((height, width), rates))
    direct = 2 * n * outputs * height * width * prod(net.specs[layer.inputs[1]].sizes[1:])
    return n * tiles * tile + work.operations(net, layer) - direct
