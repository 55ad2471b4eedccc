"""Operations of algorithms that make others than their layer has. One algorithm per file, found by being in this folder.

A file whose name does not start with an underscore defines `operations(net, layer, algorithm, variant) -> int | None`: how
many the algorithm makes for a layer of a bound net; None where the file does not know that algorithm of that layer.
"""

from __future__ import annotations

from ...folder import modules
from ...net.net import Layer, Net


def own_operations(net: Net, layer: Layer, algorithm: str, variant: str = "") -> int | None:
    """Operations that a routine makes where it makes others than `work.operations` counts; None where it does not.

    `algorithm`: `winograd4` of conv2/winograd4:f32:nhwc:cpu. `variant`: as the routine calls it.
    """
    answers = (module.operations(net, layer, algorithm, variant) for module in modules(__name__))
    return next((found for found in answers if found is not None), None)
