"""Route: the chosen routine and variant of every layer, the formats on its ports, and where each price came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import html
from ..errors import InputError, ModelError, RouteError
from ..words import counted
from .accuracy import accuracy_rank
from .format import Format
from .objective import LATENCY, check_number_of_sessions, check_objective
from .size import check_number_of_threads


def noted(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The note of a route that says for which shapes of the inputs it was made."""
    return {"shapes": {name: list(shape) for name, shape in shapes.items()}}


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
    for several layers of the net -> the names of those. `notes`: facts of its making; `shapes` among them. `objective`: what
    it is fast at, the time of one call (`latency`) or calls per second (`throughput`) of so many `sessions` that run at the
    same time, each with `threads`; times are those of a call beside the others.
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
    objective: str = LATENCY
    sessions: int = 1

    def __post_init__(self) -> None:
        """Raises RouteError for a number of threads that no team has, and for a class or an objective that is none."""
        try:
            check_number_of_threads(self.threads)
            accuracy_rank(self.accuracy)
            check_objective(self.objective)
            check_number_of_sessions(self.sessions)
        except InputError as e:
            raise RouteError(f"route: {e}; tune again") from None

    def __repr__(self) -> str:
        times = [f"{what} {html.milliseconds(ns)}" for what, ns in (("predicted", self.predicted_ns),
                                                                   ("measured", self.measured_ns)) if ns is not None]
        return (f"<Route {self.signature[:12]}: {counted(len(self.layers), 'layer')}, "
                f"{counted(len(self.conversions), 'conversion')}, "
                f"{counted(self.threads, 'thread')}, class {self.accuracy}, {self._aim()}"
                f"{', '.join([self.certificate or 'no certificate', *times])}>")

    def _aim(self) -> str:
        """What it is for, where that is not the time of a call."""
        return "" if self.objective == LATENCY else f"for {counted(self.sessions, 'session')} at the same time, "

    def _repr_html_(self) -> str:
        """A row per layer, then the conversions, for notebooks."""
        rows = [(name, c.routine, c.variant, ", ".join(map(str, c.ins)), ", ".join(map(str, c.outs)),
                 html.milliseconds(c.predicted_ns)) for name, c in self.layers.items()]
        rows += [(c.value, c.routine, c.variant, str(c.source), str(c.target), html.milliseconds(c.predicted_ns))
                 for c in self.conversions]
        return html.table(repr(self)[1:-1], ("layer or value", "routine", "variant", "in", "out", "predicted"), rows)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]] | None:
        """Shapes of the inputs that it was made for; None where its notes do not say."""
        found = self.notes.get("shapes")
        if not isinstance(found, dict) or not all(isinstance(shape, (list, tuple)) for shape in found.values()):
            return None
        sizes = [d for shape in found.values() for d in shape]
        fine = all(isinstance(d, int) and not isinstance(d, bool) and d >= 0 for d in sizes)
        return {name: tuple(shape) for name, shape in found.items()} if fine else None

    def covered(self) -> set[str]:
        """Names of the net's layers that it says how to compute, those inside regions too."""
        return {member for name in self.layers for member in self.regions.get(name, (name,))}

    def to_json(self) -> dict:
        """Plain JSON data, the inverse of `from_json`."""
        def plain(x: Any) -> Any:
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
    def from_json(data: Any) -> "Route":
        """Read what `to_json` wrote, whoever wrote it. Raises RouteError on anything else, naming the field."""
        try:
            return _read(data)
        except (KeyError, TypeError, ValueError, AttributeError) as e:
            if isinstance(e, RouteError):
                raise
            raise RouteError(f"route: not a route that this version can read ({e})") from e


# ---- reading --------------------------------------------------------------------------------------------------------

_TIME = (int, float, type(None))
#: Types by field; `object` for numbers of threads and sessions, which a Route checks itself.
_CHOICE = {"routine": str, "version": int, "variant": str, "ins": (list, tuple), "outs": (list, tuple), "predicted_ns": _TIME,
           "source": str, "runner_up": (dict, type(None)), "margin_ns": _TIME}
_CONVERSION = {"value": str, "source": str, "target": str, "routine": str, "version": int, "variant": str,
               "predicted_ns": _TIME}
_ROUTE = {"signature": str, "threads": object, "accuracy": str, "layers": dict, "conversions": (list, tuple),
          "predicted_ns": _TIME, "lower_bound_ns": _TIME, "certificate": str, "solver": str, "host": str,
          "measured_ns": _TIME, "notes": dict, "regions": dict, "objective": str, "sessions": object}
_ADVICE = "tune again, or correct it"


def _read(data: Any) -> Route:
    fields = dict(_typed(data, _ROUTE, "route"))
    layers = {}
    for name, c in fields.pop("layers").items():
        where = f"route, layer {name!r:.80}"
        c = dict(_typed(c, _CHOICE, where))
        c["ins"], c["outs"] = _formats(c["ins"], where), _formats(c["outs"], where)
        layers[str(name)] = Choice(**c)
    conversions = []
    for i, c in enumerate(fields.pop("conversions", [])):
        where = f"route, conversions[{i}]"
        c = dict(_typed(c, _CONVERSION, where))
        c["source"], c["target"] = _formats((c["source"], c["target"]), where)
        conversions.append(Conversion(**c))
    regions = {}
    for name, members in fields.pop("regions", {}).items():
        if not isinstance(members, (list, tuple)) or not all(isinstance(m, str) for m in members):
            raise RouteError(f"route, region {name!r:.80}: expected names of layers, got {members!r:.80}; {_ADVICE}")
        regions[str(name)] = tuple(members)
    return Route(layers=layers, conversions=conversions, regions=regions, **fields)


def _typed(data: Any, fields: dict[str, Any], where: str) -> dict[str, Any]:
    """`data` if it is an object whose fields are some of these, of these types. Raises RouteError."""
    if not isinstance(data, dict):
        raise RouteError(f"{where}: expected an object, got {data!r:.80}; {_ADVICE}")
    for k, v in data.items():
        types = fields.get(k)
        if types is None:
            raise RouteError(f"{where}: expected some of {', '.join(fields)}, got an unknown key {k!r:.80}; {_ADVICE}")
        if not isinstance(v, types) or isinstance(v, bool) and types is not object:
            names = [t.__name__ for t in (types if isinstance(types, tuple) else (types,))]
            expected = " or ".join(names).replace("NoneType", "null")
            raise RouteError(f"{where}, {k}: expected {expected}, got {v!r:.80}; {_ADVICE}")
    return data


def _formats(texts: Any, where: str) -> tuple[Format, ...]:
    for text in texts:
        if not isinstance(text, str):
            raise RouteError(f"{where}: expected formats such as f32:nhwc:cpu, got {text!r:.80}; {_ADVICE}")
    try:
        return tuple(map(Format.parse, texts))
    except ModelError as e:
        raise RouteError(f"{where}: {e}; {_ADVICE}") from None
