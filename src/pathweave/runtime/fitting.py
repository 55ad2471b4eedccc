"""Whether shapes that a caller states for the inputs of a model fit its layers."""

from __future__ import annotations

from ..errors import Error, ShapeError
from ..meaning.open_shapes import OpenShapes, trials
from ..net.net import Net
from .bound import BoundNet


def check_fit(net: Net, where: str) -> None:
    """Raise ShapeError, which names the layer, where the shapes of a net's inputs do not fit: as far as they are known.

    Sizes that are known all are bound. Where some are open, a layer must refuse them both open and at every set of sizes that
    is tried: what a net assumes of open sizes need not hold at those that it will be called with.
    """
    reason = _misfit(net) if net.bound else _open_misfit(net)
    if reason is not None:
        given = ", ".join(f"{n} {s}" for n, s in net.inputs.items())
        raise ShapeError(f"{where}: the shapes do not fit ({given}): {reason}; give others") from reason


def _misfit(net: Net, sizes: dict[str, int] | None = None) -> ShapeError | None:
    try:
        BoundNet.bind(net, sizes)
    except ShapeError as e:
        return e
    except Error:  # of something else than shapes
        pass
    return None


def _open_misfit(net: Net) -> ShapeError | None:
    shapes = OpenShapes(net.inputs)
    for name, array in net.constants.items():
        shapes.constant(name, array)
    for layer in net.layers:
        shapes.step(layer)
        if layer.name in shapes.refusals:
            found = [_misfit(net, sizes) for sizes in trials(net.inputs)]
            named = all(e is not None and repr(layer.name) in str(e) for e in found)
            return shapes.refusals[layer.name] if named else None
    return None
