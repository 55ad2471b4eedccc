"""Route: the chosen routine and variant of every layer, the formats on its ports, and where each price came from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .. import html
from ..errors import InputError, RouteError
from .format import Format
from .size import check_number_of_threads


@dataclass
class Choice:
    """How one layer is computed. `ins`/`outs`: formats of its dynamic inputs and of its outputs, in order.

    `predicted_ns` is None where nothing was measured; `source` says where the price came from ("profile",
    "default"). `runner_up`: {"routine", "variant", "cost_ns" (of the best whole route that uses it, or of the
    layer alone)} or None; `margin_ns`: how much slower the runner-up is.
    """

    routine: str
    version: int
    variant: str
    ins: tuple[Format, ...]
    outs: tuple[Format, ...]
    predicted_ns: float | None = None
    source: str = "default"
    runner_up: dict[str, Any] | None = None
    margin_ns: float | None = None


@dataclass
class Conversion:
    """One adapt: value from one format to another. A chain of adapts is several of these."""

    value: str
    source: Format
    target: Format
    routine: str
    version: int
    variant: str
    predicted_ns: float | None = None


@dataclass
class Route:
    """A complete choice for one net at one set of bound shapes; JSON on disk.

    `signature` identifies the net and its shapes; a route for another signature is carried over layer by layer by
    routine id where the routine accepts the new problem. Times are nanoseconds. `regions`: entries of `layers` that stand
    for several layers of the net -> the names of those.
    """

    signature: str
    threads: int
    accuracy: str
    layers: dict[str, Choice]
    conversions: list[Conversion] = field(default_factory=list)
    predicted_ns: float | None = None
    lower_bound_ns: float | None = None
    certificate: str = ""          # "optimal", "gap 1.3 %", "default"
    solver: str = ""
    host: str = ""
    measured_ns: float | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    regions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self):
        """Raises RouteError for a number of threads that no team has."""
        try:
            check_number_of_threads(self.threads)
        except InputError as e:
            raise RouteError(f"route: {e}; tune again") from None

    def __repr__(self) -> str:
        times = [f"{what} {html.milliseconds(ns)}" for what, ns in (("predicted", self.predicted_ns),
                                                                   ("measured", self.measured_ns)) if ns is not None]
        return (f"<Route {self.signature[:12]}: {len(self.layers)} layers, {len(self.conversions)} conversions, {self.threads} "
                f"threads, class {self.accuracy}, {', '.join([self.certificate or 'no certificate', *times])}>")

    def _repr_html_(self) -> str:
        """A row per layer, then the conversions, for notebooks."""
        rows = [(name, c.routine, c.variant, ", ".join(map(str, c.ins)), ", ".join(map(str, c.outs)),
                 html.milliseconds(c.predicted_ns)) for name, c in self.layers.items()]
        rows += [(c.value, c.routine, c.variant, c.source, c.target, html.milliseconds(c.predicted_ns))
                 for c in self.conversions]
        return html.table(repr(self)[1:-1], ("layer or value", "routine", "variant", "in", "out", "predicted"), rows)

    def covered(self) -> set[str]:
        """Names of the net's layers that it says how to compute, those inside regions too."""
        return {member for name in self.layers for member in self.regions.get(name, (name,))}

    def to_json(self) -> dict:
        """Plain JSON data, the inverse of `from_json`."""
        def plain(x):
            if isinstance(x, Format):
                return str(x)
            if isinstance(x, dict):
                return {k: plain(v) for k, v in x.items()}
            if isinstance(x, (list, tuple)):
                return [plain(v) for v in x]
            return x
        data = {k: v for k, v in self.__dict__.items() if k not in ("layers", "conversions")}
        return {**plain(data), "layers": {n: plain(dict(c.__dict__)) for n, c in self.layers.items()},
                "conversions": [plain(dict(c.__dict__)) for c in self.conversions]}

    @staticmethod
    def from_json(data: dict) -> "Route":
        """Read what `to_json` wrote. Raises RouteError on anything else."""
        try:
            layers = {}
            for name, c in data["layers"].items():
                c = dict(c)
                c["ins"] = tuple(Format.parse(f) for f in c["ins"])
                c["outs"] = tuple(Format.parse(f) for f in c["outs"])
                layers[str(name)] = Choice(**c)
            conversions = []
            for c in data.get("conversions", []):
                c = dict(c)
                conversions.append(Conversion(**{**c, "source": Format.parse(c["source"]),
                                                 "target": Format.parse(c["target"])}))
            regions = {str(name): tuple(map(str, members)) for name, members in data.get("regions", {}).items()}
            rest = {k: v for k, v in data.items() if k not in ("layers", "conversions", "regions")}
            route = Route(layers=layers, conversions=conversions, regions=regions, **rest)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            raise RouteError(f"route: not a route that this version can read ({e})") from e
        return route
