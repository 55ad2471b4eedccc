"""BoundNet: a net at concrete shapes, as routes, profiles and plans see it."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError, NoRoutineError, OpenSizesError, ShapeError
from ..layers import kind_of
from ..layers.problems import problem_of
from ..locks import cached_property
from ..meaning.opened import OpenNet
from ..net.border import checked_layouts
from ..net.conditions import facts
from ..net.dim import Expr
from ..net.format import LAYOUTS, Format, fits, physical_shape, plain_format, plain_layout
from ..net.net import Layer, Net, TensorSpec
from ..net.per_array import PerArray
from ..net.problem import Problem, tensor_text
from ..net.scales import UNKNOWN, Scale, needs_scale
from ..regions import Region
from ..words import counted
from . import catalogue
from .catalogue import Candidate, Refusal, Restrict

if TYPE_CHECKING:
    from .flat import Flat

_counter = itertools.count(1)

#: A number that stands for the contents of one array as long as the process lives; never given to another. Nets bound
#: to several shapes hold the same arrays, so that their packed copies are shared.
constant_id = PerArray(lambda array: next(_counter))


def resolve_shapes(net: Net, shapes: Any = None) -> dict[str, tuple[int, ...]]:
    """Concrete shapes of all inputs, in the net's order.

    `shapes`: input name or symbol -> shape or size; or one shape for a net with one input; or None. A symbol that is
    given nowhere is 1 where it is an input's first dimension (the batch). Raises InputError.
    """
    from ..meaning.evaluate import match_symbols
    if shapes is None:
        shapes = {}
    elif not isinstance(shapes, Mapping):
        if len(net.inputs) != 1:
            raise InputError(f"shapes: expected a dict from input name to shape ({', '.join(net.inputs)}), "
                             f"got {shapes!r}")
        shapes = {next(iter(net.inputs)): shapes}
    symbols = {d for spec in net.inputs.values() for d in spec.shape if isinstance(d, str)}
    for name in shapes:
        if name not in symbols and name not in net.inputs:
            listed = ", ".join(f"{n} {s}" for n, s in net.inputs.items())
            raise InputError(f"shapes: {name!r} is neither an input nor a symbol; the inputs are {listed}")
    given = {n: _sizes(n, s) for n, s in shapes.items() if not (n in symbols and n not in net.inputs)}
    sizes = match_symbols(net.inputs, given)
    for symbol, size in shapes.items():
        if symbol in given:
            continue
        if isinstance(size, bool) or not isinstance(size, int) or size < 0 or sizes.setdefault(symbol, size) != size:
            raise InputError(f"shapes: symbol {symbol!r} is {size!r}; expected a size of 0 or more"
                             + (f", equal to {sizes[symbol]} of the shapes" if symbol in sizes else ""))
    for spec in net.inputs.values():
        if spec.shape and isinstance(spec.shape[0], str):
            sizes.setdefault(spec.shape[0], 1)
    missing = {n: str(s) for n, s in net.inputs.items() if any(isinstance(d, str) and d not in sizes for d in s.shape)}
    if missing:
        listed = ", ".join(f"{n} is {s}" for n, s in missing.items())
        absent = list(dict.fromkeys(d for n in missing for d in net.inputs[n].shape if isinstance(d, str) and d not in sizes))
        raise OpenSizesError(f"shapes: the size of {', '.join(map(repr, absent))} is not known ({listed}); give sizes as "
                             f"shapes={{{', '.join(f'{s!r}: 16' for s in absent)}}}, or the shapes of the inputs",
                             absent, listed)
    return {n: tuple(d if isinstance(d, int) else sizes[str(d)] for d in s.shape) for n, s in net.inputs.items()}


def depends_on_contents(net: Net) -> bool:
    """True where a net has blocks, or sizes that are not known before it runs."""
    return any(kind_of(layer.kind).nested or kind_of(layer.kind).late for layer in net.layers)


def _sizes(name: str, shape: Any) -> tuple[int, ...]:
    try:
        return tuple(int(d) if not isinstance(d, bool) and d == int(d) else d for d in shape)
    except (TypeError, ValueError):
        raise InputError(f"shapes: {name!r} is {shape!r}; expected a tuple of sizes") from None


class BoundNet:
    """A net whose shapes are concrete: immutable; what depends on them is computed once.

    `net`: bound, with its specs. `layers`: in topological order. `signature`: a text that is equal for nets with equal
    problems, names and structure, whatever the constants hold besides zeros. `scales`: how integer formats of f32 values
    are read, for those that were calibrated. `base`: the net of which this one has regions fused. `layouts`: those of the
    inputs and outputs whose arrays do not lie row-major; `input_format` and `output_format` say what that means. `opened`: the
    same net with sizes that are known when a plan runs, for which those of `net` are examples: `sizes` says which, by symbol.
    """

    def __init__(self, net: Net, scales: Mapping[str, Scale] | None = None, base: BoundNet | None = None,
                 layouts: Mapping[str, str] | None = None, opened: OpenNet | None = None,
                 sizes: Mapping[str, int] | None = None):
        if not net.specs:
            from ..layers import infer
            infer(net)
        self.net = net
        self.base = base or self
        self.opened: OpenNet | None = base.opened if base else opened
        self.sizes: Mapping[str, int] = (base.sizes if base else sizes) or {}
        self.scales: dict[str, Scale] = {v: s for v, s in {**net.scales, **(scales or {})}.items() if v not in net.constants
                                          and v in net.specs and net.specs[v].dtype == "f32"}
        self.layouts: dict[str, str] = base.layouts if base else self._border(layouts or {})
        self.layers: list[Layer] = net.layers
        self.index: dict[str, int] = {layer.name: i for i, layer in enumerate(net.layers)}
        self._problems: dict[int, list[Problem]] = {}
        self._fused: dict[frozenset[str], BoundNet] = {}

    def _border(self, layouts: Mapping[str, str]) -> dict[str, str]:
        """The layouts that are not row-major, checked against the values of the net. Raises InputError."""
        if not layouts:
            return {}
        found = checked_layouts(layouts, self.inputs, self.outputs)
        return {v: layout for v, layout in found.items() if layout != plain_layout(self.net.specs[v].rank)}

    @staticmethod
    def bind(net: Net, shapes: Any = None, scales: Mapping[str, Scale] | None = None,
             layouts: Mapping[str, str] | None = None) -> BoundNet:
        """Bind a net to shapes (see `resolve_shapes`). `layouts`: of inputs and outputs. Raises InputError, ShapeError."""
        from .. import passes
        from ..meaning.evaluate import match_symbols
        found = resolve_shapes(net, shapes)
        if not depends_on_contents(net):
            try:
                bound = passes.bind(net, found, scales)
            except ShapeError as e:
                sizes = ", ".join(f"{name}={size}" for name, size in match_symbols(net.inputs, found).items())
                if type(e) is not ShapeError or not sizes:
                    raise
                raise ShapeError(f"{e}; that is at {sizes}") from e
            if all(s.bound for s in bound.specs.values()):
                return BoundNet(bound, layouts=layouts)
        inputs = {n: TensorSpec(s.dtype, found[n]) for n, s in net.inputs.items()}
        return BoundNet.bind_open(net, inputs, {}, scales, layouts)

    @staticmethod
    def bind_open(net: Net, inputs: Mapping[str, TensorSpec], example: Mapping[str, int],
                  scales: Mapping[str, Scale] | None = None, layouts: Mapping[str, str] | None = None) -> BoundNet:
        """Bind a net to inputs with sizes that are open: symbols with bounds, of which `example` names one size each.

        Raises ShapeError where it cannot be bound before these sizes are known.
        """
        from ..passes.opening import bind_open
        return BoundNet.of_opened(bind_open(net, inputs, scales), example, layouts)

    @staticmethod
    def of_opened(opened: OpenNet, example: Mapping[str, int], layouts: Mapping[str, str] | None = None) -> BoundNet:
        """A net with open sizes, with some that stand for all."""
        sizes = opened.example(example)
        return BoundNet(opened.at(sizes), layouts=layouts, opened=opened, sizes=sizes)

    @cached_property
    def signature(self) -> str:
        """64 hexadecimal digits; fused regions do not change it."""
        if self.base is not self:
            return self.base.signature
        digest = hashlib.sha256()
        def add(*words: str) -> None:
            digest.update("\0".join(words).encode() + b"\n")
        for name, spec in self.net.inputs.items():
            add("input", name, tensor_text(spec))
        for layer, problem in zip(self.layers, self.problems(1)):
            add("layer", layer.name, problem.text, *layer.inputs, "", *layer.outputs)
        add("outputs", *self.net.outputs)
        for name in sorted(self.layouts):
            add("layout", name, self.layouts[name])
        for name, (low, high) in self.opened.given.items() if self.opened else ():
            add("open", name, f"{low}..{high}")
        return digest.hexdigest()

    def problems(self, threads: int) -> list[Problem]:
        """The problem of every layer for a number of threads, in the order of `layers`."""
        if threads not in self._problems:
            self._problems[threads] = [problem_of(self.net, layer, threads) for layer in self.layers]
        return self._problems[threads]

    # ---- regions ----------------------------------------------------------------------------------------------------

    @cached_property
    def regions(self) -> dict[str, Region]:
        """Layers that one routine may compute together, by name; none where regions are fused already.

        Where sizes are open, those that are the same for the net with expressions: they hold at all sizes.
        """
        from .. import regions
        if self.base is not self:
            return {}
        found = regions.find(self.net)
        if self.opened is None or not found:
            return found
        with facts(self.opened.conditions):
            everywhere = regions.find(self.opened.net)
        return {name: r for name, r in found.items() if everywhere.get(name) == r}

    def fused(self, names: Iterable[str]) -> BoundNet:
        """This net with some of its regions as one layer each; itself without any."""
        from .. import regions
        key = frozenset(names)
        if not key:
            return self
        if key not in self._fused:
            self._fused[key] = BoundNet(regions.fuse(self.net, [r for n, r in self.regions.items() if n in key]),
                                        self.scales, self)
        return self._fused[key]

    # ---- blocks -----------------------------------------------------------------------------------------------------

    @property
    def of_bytes(self) -> bool:
        """Whether the net has convolutions of integers: it is then worth while to ask where images of bytes lie best."""
        return any(layer.kind == "conv_integer" for layer in self.layers)

    @cached_property
    def nested(self) -> dict[str, dict[str, BoundNet]]:
        """Layer -> attribute -> the block of a layer with blocks, bound to what it is given; names begin with the layer's."""
        from .nested import bound_blocks
        return {layer.name: bound_blocks(self, layer) for layer in self.layers if kind_of(layer.kind).nested}

    @cached_property
    def flat(self) -> Flat:
        """This net and all blocks in it as one list of layers."""
        from .flat import Flat
        return Flat(self)

    def at_sizes(self, sizes: Mapping[str, int]) -> BoundNet:
        """The same net, with the same signature, at other sizes of the symbols that layers find out; unknown ones are left
        out. Raises ShapeError where they do not fit."""
        if self.opened is None:
            return self
        if self.base is not self:
            return self.base.at_sizes(sizes).fused(n for n in self.base.regions if n in self.index)
        found = {**self.sizes, **{n: size for n, size in sizes.items() if n not in self.opened.given}}
        net = BoundNet(self.opened.at(self.opened.example(found)), self.scales, layouts=self.layouts, opened=self.opened,
                       sizes=found)
        net.__dict__["signature"] = self.signature
        return net

    def up_to(self, values: list[str]) -> BoundNet:
        """The layers that some values need, as a net whose outputs these values are."""
        if self.opened is not None:
            opened = self.opened.up_to(values)
            return BoundNet(opened.at(self.sizes), opened=opened, sizes=self.sizes)
        net, wanted, layers = self.net, set(values), []
        for layer in reversed(net.layers):
            if wanted.intersection(layer.outputs):
                wanted.update(v for v in layer.inputs if v)
                layers.append(layer)
        return BoundNet(Net(net.inputs, list(values), layers[::-1], net.constants, net.specs))

    def with_scales(self, scales: Mapping[str, Scale]) -> BoundNet:
        """The same net with these scales beside those that it states."""
        return BoundNet(self.net, scales, layouts=self.layouts, opened=self.opened, sizes=self.sizes)

    def everything(self) -> Iterator[BoundNet]:
        """This net, and all blocks in it, outermost first."""
        yield self
        for blocks in self.nested.values():
            for block in blocks.values():
                yield from block.everything()

    def all_layers(self) -> Iterator[Layer]:
        """The layers of this net, and of all blocks in it."""
        for net in self.everything():
            yield from net.layers

    def region_problem(self, region: Region, threads: int) -> Problem:
        """The problem of a region as one layer."""
        return problem_of(self.net, region.layer, threads)

    def region_candidates(self, region: Region, threads: int, accuracy: str = "f32") -> list[Candidate]:
        """Routines for a region as a whole; no reference ones, for those of its layers are there."""
        found, _ = catalogue.candidates(self.region_problem(region, threads), accuracy=accuracy)
        return [c for c in found if not c.reference]

    def spec(self, value: str) -> TensorSpec:
        """dtype and shape of a value or constant."""
        return self.net.specs[value]

    @cached_property
    def inputs(self) -> dict[str, TensorSpec]:
        """Inputs by name, in the model's order."""
        return dict(self.net.inputs)

    @cached_property
    def outputs(self) -> dict[str, TensorSpec]:
        """Outputs by name, in the model's order."""
        return {name: self.net.specs[name] for name in self.net.outputs}

    def input_format(self, name: str) -> Format:
        """Element type, layout and device in which the caller's array of an input lies."""
        return self._format(name)

    def output_format(self, name: str) -> Format:
        """Element type, layout and device in which the caller gets an output."""
        return self._format(name)

    def _format(self, name: str) -> Format:
        spec = self.net.specs[name]
        return Format(spec.dtype, self.layouts.get(name) or plain_layout(spec.rank), "cpu")

    def array_shape(self, name: str) -> tuple[int, ...]:
        """Shape of the caller's array of an input or output: the declared one, in the order of its layout."""
        return physical_shape(self._format(name).layout, self.net.specs[name].sizes)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the inputs as they are declared, whatever their layouts."""
        return {name: spec.sizes for name, spec in self.net.inputs.items()}

    def dynamic(self, layer: Layer) -> tuple[str, ...]:
        """Names of the inputs that are values, in order: one per input port of a candidate."""
        return tuple(v for _, v in self.net.dynamic_inputs(layer))

    def constants_of(self, layer: Layer, problem: Problem) -> list[tuple[Any, int]]:
        """(contents, id) per input of `problem`, a problem of that layer; (None, 0) for values and absent inputs."""
        constants = self.net.constants
        return [(constants[v], constant_id(constants[v])) if v in constants else (None, 0)
                for v in layer.inputs[:len(problem.inputs)]]

    def scales_of(self, layer: Layer, problem: Problem) -> list[Scale]:
        """A scale per input of `problem`, a problem of that layer, then per output; unknown ones among them."""
        values = *layer.inputs[:len(problem.inputs)], *layer.outputs
        return [self.scales.get(v, UNKNOWN) for v in values]

    def uncalibrated(self, layer: Layer, candidate: Candidate) -> str:
        """Why a layer cannot have a candidate as long as a value has no scale; "" when it can."""
        for value, form in zip((*self.dynamic(layer), *layer.outputs), (*candidate.ins, *candidate.outs)):
            if not needs_scale(self.spec(value).dtype, form.dtype):
                continue
            scale = self.scales.get(value)
            if scale is None:
                return (f"value {value!r} has no scale: calibrate the model first (model.calibrate(samples), or "
                        f"--calibrate)")
            if scale.dtype != form.dtype:
                return f"value {value!r} has a scale of {scale.dtype}, and the routine holds it as {form.dtype}"
            if scale.axis is not None and not candidate.axis_scales:
                return (f"value {value!r} has a scale per position of axis {scale.axis}, and the routine takes one for the "
                        f"whole value")
        return ""

    def members(self, layer: Layer) -> tuple[str, ...]:
        """What a layer makes; of a region, what all of its members do."""
        if layer.name in self.base.index or layer.name not in self.base.regions:
            return tuple(layer.outputs)
        base, region = self.base, self.base.regions[layer.name]
        return tuple(v for name in region.layers for v in base.layers[base.index[name]].outputs)

    def finds_sizes(self, layer: Layer) -> bool:
        """True where a layer finds out sizes of its outputs when it runs."""
        places = set(self.opened.late.values()) if self.opened else ()
        return any((v, axis) in places for v in layer.outputs for axis in range(self.spec(v).rank))

    def _fits_at_all_sizes(self, layer: Layer, candidate: Candidate) -> bool:
        """False where a port is in blocks of channels whose number is open: a size met in the run may be no multiple."""
        assert self.opened is not None
        specs = self.opened.net.specs
        ports = (*zip(self.dynamic(layer), candidate.ins), *zip(layer.outputs, candidate.outs))
        return all(fits(form.layout, specs[v].dims) for v, form in ports if v in specs and LAYOUTS[form.layout].block)

    def _needs_meaning(self, layer: Layer) -> bool:
        """True where only NumPy computes a layer: sizes of its outputs are found in the run, and no routine finds them."""
        assert self.opened is not None
        kind = kind_of(layer.kind)
        if kind.nested:
            return False
        sizes = getattr(kind, "value_inputs", ())
        given = any(i < len(layer.inputs) and layer.inputs[i] for i in sizes)
        if kind.finds_sizes:  # routines find sizes that inputs hold, not those that open attributes come to
            return bool(sizes) and not given and self.finds_sizes(layer) and self._has_open_attributes(layer)
        return not kind.reads_values and (given or self.finds_sizes(layer))

    def _has_open_attributes(self, layer: Layer) -> bool:
        """True where an attribute is a size that is open, or may be one."""
        assert self.opened is not None
        own = next((one for one in self.opened.net.layers if one.name == layer.name), None)
        if own is None:
            return True
        values = (v if isinstance(v, (tuple, list)) else (v,) for v in own.attrs.values())
        return any(isinstance(d, Expr) for v in values for d in v)

    def candidates(self, index: int, threads: int, *, accuracy: str = "f32", restrict: Restrict | None = None,
                   include_reference: bool = False) -> tuple[list[Candidate], list[Refusal]]:
        """All allowed ways to compute one layer, never empty, and the refusals; see `catalogue.candidates`.

        `restrict`: a `descriptor.Restriction`, or any restrict(layer_index, layer, candidate) -> bool. Raises
        NoRoutineError, with each refusal, when nothing is left.
        """
        layer, problem = self.layers[index], self.problems(threads)[index]
        found, refusals = catalogue.candidates(problem, accuracy=accuracy,
                                               include_reference=include_reference or restrict is not None)
        if self.opened is not None and self._needs_meaning(layer):
            found = [catalogue.numpy_candidate(problem)]
        if include_reference and self.finds_sizes(layer):  # NumPy's results lie as it makes them
            found = [c for c in found if not catalogue.is_python(c) or all(f == plain_format(f.dtype, s.rank) for f, s in
                                                                           zip(c.outs, problem.outputs))]
        if self.opened is not None:
            found = [c for c in found if self._fits_at_all_sizes(layer, c)]
        unscaled = {c.routine: reason for c in found if (reason := self.uncalibrated(layer, c))}
        if unscaled:
            found = [c for c in found if c.routine not in unscaled]
            refusals = refusals + [Refusal(*entry) for entry in unscaled.items()]
        if restrict is not None:
            select = getattr(restrict, "select", None)
            found = select(index, layer, found) if select else [c for c in found if restrict(index, layer, c)]
            if not include_reference:
                found = [c for c in found if not c.reference] or found
        if not found:
            reasons = "; ".join(f"{r}: {reason}" for r, reason in refusals)
            raise NoRoutineError(f"layer {index} {layer.name!r} ({layer.kind}): no routine is allowed that accepts "
                                 f"{problem.text!r}; {reasons or 'the restriction excludes all'}")
        return found, refusals

    def __repr__(self) -> str:
        shapes = ", ".join(f"{n}={s}" for n, s in self.inputs.items())
        return f"<BoundNet of {counted(len(self.layers), 'layer')}: {shapes}>"
