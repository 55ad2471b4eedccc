"""The trial of a calibration: what the outputs lose with every layer in 8 bits, measured on some of the samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import RouteError
from ..net.compare import Channel, Channels, compare, fits
from ..net.net import Layer
from ..net.scales import Scale
from .bound import BoundNet
from .catalogue import Candidate
from .defaults import default_route
from .descriptor import Restriction
from .routes import plan_route

#: Samples that the trial runs on.
SAMPLES = 4
#: Relative RMS errors of an output, and of one of its channels, above which a calibration is doubtful; as in `verify`.
DOUBTFUL, DOUBTFUL_CHANNEL = 0.1, 0.5


class _OfScales(Restriction):
    """Without the routines that find scales of their own."""

    def select(self, index: int, layer: Layer, found: list[Candidate]) -> list[Candidate]:
        return super().select(index, layer, [c for c in found if not c.finds_scales])


@dataclass(frozen=True)
class Loss:
    """What one output loses: the largest relative RMS error of a sample, and the channel that loses most."""

    output: str
    error: float
    channel: Channel | None

    def __str__(self) -> str:
        text = f"{self.output!r} {self.error:.2g}"
        return text if self.channel is None else \
            f"{text} (channel {self.channel.number} of axis {self.channel.axis}: {self.channel.agreement.rms:.2g})"


def trial(bound: BoundNet, scales: Mapping[str, Scale], samples: Sequence[Mapping[str, np.ndarray]],
          threads: int) -> list[Loss]:
    """Outputs that differ too much from f32 where all layers that can are computed in 8 bits.

    `samples`: inputs of the bound net. Empty where nothing would be computed in 8 bits.
    """
    with_scales = bound.with_scales(scales)
    try:
        route = default_route(with_scales, threads, "quantised", _OfScales("qint8"))
    except RouteError:  # no layer has a routine on integers
        return []
    if not any(f.dtype == "u8" for c in route.layers.values() for f in (*c.ins, *c.outs)):
        return []
    session = plan_route(route, with_scales, threads).session()
    exact = plan_route(default_route(bound, threads), bound, threads).session()
    errors, channels = dict.fromkeys(bound.net.outputs, 0.0), {v: Channels() for v in bound.net.outputs}
    for sample in samples:
        wanted = exact.run(sample)
        for name, got in session.run(sample).items():
            if wanted[name].dtype.kind == "f" and fits(got, wanted[name]):
                errors[name] = max(errors[name], compare(got, wanted[name]).rms)
                channels[name].add(got, wanted[name])
    worst = {v: c if c is not None and c.agreement.rms > DOUBTFUL_CHANNEL else None
             for v, c in ((v, found.worst("rms")) for v, found in channels.items())}
    return [Loss(v, errors[v], worst[v]) for v in errors if errors[v] > DOUBTFUL or worst[v] is not None]
