"""Layer kinds: attributes, shape rule, and the meaning as a NumPy function. One file per family.

A file of this folder that defines subclasses of LayerKind adds them to the catalogue by being there.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable, Mapping

from ..errors import ModelError, ShapeError, SizeError
from ..folder import instances_in
from ..net.conditions import at_least, equal
from ..net.net import Epilogue, Layer, Net, TensorSpec
from ..net.roles import Roles, image_roles
from ..net.size import check_value, check_windows, surely_fits
from ..plugins import collect, left_out
from ._linear import Affine, Linear

#: What a NumPy meaning may raise on operands that do not fit; anything else is a defect and passes through.
MEANING_ERRORS = (ValueError, TypeError, IndexError, KeyError, AttributeError, ArithmeticError)

#: A shape as far as it is known: None for a size that is not, None for all where not even the rank is.
Outline = tuple[int | None, ...] | None


class LayerKind:
    """What one kind of layer computes. Subclasses are stateless and have a no-argument constructor.

    `name`: the kind; "" for a common base of several.
    `attributes`: attribute name -> default (None = required).
    `exact`: True where nothing is rounded.
    `per_element`: operations per output element, 0 where elements are only moved; see `operations`.
    `moves`: the inputs of which the outputs hold elements, unchanged or mixed with their neighbours, and nothing else but
    a constant.
    `beside`: the inputs whose elements lie side by side in the outputs, where those are not just `moves`.
    `sums`: True where an output element is a sum or a difference of one element of each input.
    `weights`: the input [outputs, inputs, ...] whose zeros a problem tells, because routines skip them; None: no routine does.
    `epilogue`: parts of an epilogue that passes put on such a layer: "add", a residual, and "act", an activation.
    `elementwise`: True where an output element depends on nothing but the elements at its place in the inputs, which broadcast.
    `space`: how many axes of space the first input and the outputs have behind batch and channels, as images have two; -1 for
    any number; None where the kind does not say. See `roles`.
    `view`: True where the output is the first input, row-major, in another shape.
    `formula`: the output written with + - * / ** of the inputs, for passes that put more than numbers there; None: no formula.
    `linear`: how weights and a bias act on the first input; None: there are none, or not in this way.
    `padding`: the number that an attribute `pad` (top, left, bottom, right) stands for around the first input [N,C,H,W]; None:
    the kind has no such attribute.
    `zero_states`: positions of optional inputs whose absence means zeros.
    `whole_image`: the kind that computes the same where the window is the whole image; "" where there is none.
    `of_integers`: the kind that computes the same of integers of 8 bits, their zero points and a scale; "" where there is none.
    `implied`: attributes that say no more of a layer than the sizes of its outputs do.
    `late`: True where sizes of its outputs depend on contents.
    `finds_sizes`: True where native routines write sizes of outputs that depend on contents (`pw_context` of plugin.h).
    `reads_values`: True where native routines read the contents of inputs that stand for attributes (`value_inputs`), on
    which no size depends.
    `of_shapes`: True where `meaning` looks at nothing but the inputs' shapes, so that specs will do for arrays.
    `nested`: True where attributes are blocks (net/block.py); such a kind has `take_in`, see layers/control.py.
    `of_constants`: True where native routines take a layer whose inputs are all constants, as one is whose output's sizes are
    known when it runs.
    `refuses`: True where it never gives a result, but an error when it runs.
    `program`: how a plan runs its blocks: "branches", one of them; "trips", again and again as a `loop` does; "slices", once
    for each slice of some inputs, as a `scan` does; "" only by its meaning.
    """

    name: str = ""
    attributes: Mapping[str, Any] = {}
    exact: bool = False
    per_element: int = 1
    moves: slice = slice(0)
    beside: slice | None = None
    sums: bool = False
    weights: int | None = None
    epilogue: tuple[str, ...] = ()
    elementwise: bool = False
    space: int | None = None
    view: bool = False
    formula: Callable[..., Any] | None = None
    linear: Linear | None = None
    padding: float | None = None
    whole_image: str = ""
    zero_states: tuple[int, ...] = ()
    of_integers: str = ""
    of_shapes: bool = False
    implied: tuple[str, ...] = ()
    late: bool = False
    finds_sizes: bool = False
    reads_values: bool = False
    nested: bool = False
    of_constants: bool = False
    refuses: bool = False
    program: str = ""

    def complete(self, attrs: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes with defaults filled in, lists as tuples. Raises ModelError for a missing or unknown one."""
        full = {**self.attributes, **attrs}
        if len(full) != len(self.attributes):
            raise ModelError(f"layer kind {self.name}: unknown attributes {sorted(set(attrs) - set(self.attributes))}; "
                             f"expected some of {sorted(self.attributes)}")
        for k, v in full.items():
            if v is None:
                raise ModelError(f"layer kind {self.name}: attributes {[k for k, v in full.items() if v is None]} are required")
            if isinstance(v, list):
                full[k] = tuple(v)
        return full

    def infer(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None]) -> list[TensorSpec]:
        """Output specs from complete attributes and input specs. Raises ShapeError when they do not fit.

        A size may be an expression of open sizes (net/dim.py), in `inputs` and in an attribute that comes from an input. What
        depends on one is asked of net/conditions.py (`equal`, `at_least`, `divides`), which assumes what is open and
        records it; only the number 1 is broadcast, and a size that cannot be said is `dim.unknown`.
        """
        raise NotImplementedError

    def infer_open(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None]) -> list[TensorSpec]:
        """The same, where shapes may depend on contents of inputs that are not known: such sizes are unknown ones."""
        return self.infer(attrs, inputs)

    def outline(self, attrs: Mapping[str, Any], shapes: list[Outline]) -> Outline:
        """Shape of each output as far as it follows from shapes that are known in part; None: not even its rank.

        Asked where `infer` cannot be: the rank or the element type of an input is not known, or how many elements one has
        that holds a shape.

        `shapes`: per input its sizes, None for one that is not known; None for an input that is absent or of unknown
        rank. `attrs`: complete; one that comes from an input whose contents are not known is a tuple of None, or None.
        Here: the rank of the first input, as most kinds have it.
        """
        return (None,) * len(shapes[0]) if shapes and shapes[0] is not None else None

    def settle(self, layer: Layer, specs: list[TensorSpec | None]) -> Layer:
        """The layer in the form that it has at these bound input specs; a kind whose attributes depend on them says so."""
        return layer

    def roles(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None]) -> tuple[list[Roles | None], list[Roles | None]]:
        """What each axis of the inputs and of the outputs is for (net/roles.py), per value; None for a value of which the kind
        says nothing, as for all behind those of a list.

        `attrs`: complete. `inputs`: their specs, None where one is absent or not known. Here: as `space` says.
        """
        spec = inputs[0] if inputs else None
        rank = 2 + self.space if self.space is not None and self.space >= 0 else spec.rank if spec is not None else 0
        if self.space is None or rank < 2 or spec is not None and spec.rank != rank:
            return [], []
        return [image_roles(rank - 2)], [image_roles(rank - 2)]

    def meaning(self, attrs: Mapping[str, Any], inputs: list) -> list:
        """Outputs as NumPy arrays, from complete attributes and arrays (None = absent).

        Floating-point inputs are computed and returned in the precision in which they are given (float64 in,
        float64 out: the reference of every test); the epilogue is not part of it.
        """
        raise NotImplementedError

    def on_sizes(self, attrs: Mapping[str, Any], arrays: list, inputs: list[TensorSpec | None]) -> list | None:
        """Outputs of the meaning where inputs hold sizes that may be open: arrays of dtype object, of integers and expressions.

        `attrs`: complete. `arrays`: an array per input; not looked at by kinds that are `of_shapes`. `inputs`: their specs.
        Raises or gives None, also for single outputs, where the result is not known: what stands here.
        """
        return None

    def terms(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None]) -> int:
        """How many terms the longest sum of one output element has, from what `infer` takes; 1 where nothing is summed."""
        return 1

    def sensible(self, attrs: Mapping[str, Any], position: int, inputs: list[TensorSpec | None],
                 constants: list) -> tuple[int, int] | None:
        """The least and the largest integer that input `position` may usefully hold, None where the kind does not say.

        `attrs`: complete. `constants`: an array per input that is one, else None.
        """
        return None

    def hands_on(self, attrs: Mapping[str, Any], same: bool) -> bool:
        """True where the output equals the first input, of a layer that has no other.

        `attrs`: as the layer has them, defaults may be absent; so in the methods below. `same`: True where both are known to
        have the same element type and shape.
        """
        return same and self.view

    def clamp(self, attrs: Mapping[str, Any]) -> tuple[float, float] | None:
        """The range to whose ends the layer moves elements beyond it, leaving the others alone; None: it computes else."""
        return None

    def keeps_order(self, attrs: Mapping[str, Any]) -> bool:
        """True where an output element is one of the inputs' that `moves` names (of the first one where it names none), by its
        place, or the largest of some.

        The layer then gives f of its results where it is given f of those inputs, for any function that never falls.
        `attrs`: complete.
        """
        return False

    def affine(self, attrs: Mapping[str, Any], constants: list) -> Affine | None:
        """The affine map of one input that the layer computes; None where it is none, or not known to be one.

        `constants`: an array per input that is one, else None.
        """
        return None

    def before_transpose(self, attrs: Mapping[str, Any],
                         perm: tuple[int, ...]) -> tuple[dict[str, Any], tuple[int, ...]] | None:
        """(attributes, perm behind): the layer on transposed inputs is a transpose behind the layer with other attributes.

        `perm`: an order of the axes; all inputs of this rank are transposed by it, and operands that broadcast with them.
        None where there are no such attributes.
        """
        return (dict(attrs), perm) if self.elementwise else None

    def takes_padding(self, attrs: Mapping[str, Any], pad: tuple[int, ...]) -> bool:
        """True where the input with `padding` around it means the same as the attribute `pad` on the input alone."""
        return self.padding is not None

    def operations(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None], outputs: list[TensorSpec]) -> int:
        """Operations, from what `infer` takes and gives: two per multiply-add, one for a transcendental function."""
        return self.per_element * sum(y.elements for y in outputs)

    def effort(self, attrs: Mapping[str, Any], inputs: list[TensorSpec | None], outputs: list[TensorSpec]) -> int:
        """What the meaning costs at most, in operations and elements that it touches, its copies of padded inputs included.

        Folding is bounded by it; a kind whose meaning makes arrays larger than its inputs and outputs says so.
        """
        touched = sum(s.elements for s in (*inputs, *outputs) if s is not None)
        return touched + self.operations(attrs, inputs, outputs)


@lru_cache(maxsize=None)
def kinds() -> dict[str, LayerKind]:
    """Every layer kind by name, collected from the files of this folder and from plugins."""
    return collect(__name__, "layers", lambda module: instances_in(module, LayerKind), "layer kind")


def kinds_of_nets() -> list[str]:
    """The names of the kinds of which a net is made, sorted: those of `kinds` that give a result."""
    return sorted(name for name, kind in kinds().items() if not kind.refuses)


def kind_of(name: str) -> LayerKind:
    """The layer kind of a name. Raises ModelError when there is none."""
    try:
        return kinds()[name]
    except KeyError:
        raise ModelError(f"layer kind {name!r} is unknown; expected one of {', '.join(kinds_of_nets())}"
                         f"{left_out('layers')}") from None


def apply_epilogue(y: Any, epilogue: Epilogue, residual: Any = None) -> Any:
    """act(y + residual) in y's precision: the meaning of an epilogue."""
    if epilogue.add:
        y = y + residual
    if epilogue.act:
        kind = kind_of(epilogue.act)
        attrs = dict(zip(kind.attributes, epilogue.params))
        (y,) = kind.meaning(kind.complete(attrs), [y])
    return y


def compute(layer: Layer, inputs: list) -> list:
    """Outputs of a layer, epilogue included, by the NumPy meaning. `inputs`: one array (or None) per layer input."""
    kind = kind_of(layer.kind)
    body = inputs[:-1] if layer.epilogue.add else inputs
    outputs = kind.meaning(kind.complete(layer.attrs), body)
    if layer.epilogue:
        outputs = [apply_epilogue(outputs[0], layer.epilogue, inputs[-1] if layer.epilogue.add else None), *outputs[1:]]
    return outputs


def infer_layer(layer: Layer, specs: list[TensorSpec | None], limited: bool = True) -> list[TensorSpec]:
    """Output specs of a layer from input specs, whose sizes may be expressions. Raises ShapeError naming the layer.

    `limited`: held to the limits of net/size.py (SizeError); False for sizes that only stand for unknown ones.
    """
    kind = kind_of(layer.kind)
    body = specs[:-1] if layer.epilogue.add else specs
    try:
        attrs = kind.complete(layer.attrs)
        outputs = kind.infer_open(attrs, body)
        if limited:
            check_windows(attrs, body, outputs)
    except (ModelError, IndexError, ValueError, TypeError, AttributeError, ArithmeticError) as e:
        error = SizeError if isinstance(e, SizeError) else ShapeError
        raise error(f"layer {layer.name!r} ({layer.kind}) on {', '.join(map(str, specs)) or 'nothing'}: {e}") from e
    if len(layer.outputs) > len(outputs):
        raise ShapeError(f"layer {layer.name!r} ({layer.kind}): expected {len(outputs)} "
                         f"output{'s' * (len(outputs) != 1)}, got the names {', '.join(map(repr, layer.outputs))}")
    if _is_negative(outputs):
        raise ShapeError(f"layer {layer.name!r} ({layer.kind}) on {', '.join(map(str, specs))}: "
                         f"the output shape would be {', '.join(map(str, outputs))}")
    if layer.epilogue.add and not (specs and _fits(specs[-1], outputs[0])):
        raise ShapeError(f"layer {layer.name!r} ({layer.kind}) on {', '.join(map(str, specs)) or 'nothing'}: its epilogue adds "
                         f"the last input, expected {outputs[0]} as its output is")
    for name, spec in zip(layer.outputs, outputs) if limited else ():
        if not surely_fits(spec):
            check_value(f"layer {layer.name!r} ({layer.kind}): value {name!r}", spec)
    return outputs


def _is_negative(outputs: list[TensorSpec]) -> bool:
    try:
        return any(d < 0 for s in outputs for d in s.sizes)
    except TypeError:  # expressions have no order
        return not all(at_least(d, 0) for s in outputs for d in s.dims)


def _fits(residual: TensorSpec | None, output: TensorSpec) -> bool:
    return residual == output or isinstance(residual, TensorSpec) and residual.dtype == output.dtype \
        and residual.rank == output.rank and all(map(equal, residual.dims, output.dims))


def check_inputs(inputs: Mapping[str, TensorSpec]) -> None:
    """Raise SizeError where a bound input of a net is larger than the limit."""
    for name, spec in inputs.items():
        check_value(f"input {name!r}", spec)


def infer(net: Net) -> None:
    """Fill `net.specs` for every value and constant. The inputs must be bound. Raises ShapeError."""
    from ..net.format import dtype_of
    check_inputs(net.inputs)
    specs = dict(net.inputs)
    for name, array in net.constants.items():
        specs[name] = TensorSpec(dtype_of(array.dtype), tuple(array.shape))
    for layer in net.layers:
        outputs = infer_layer(layer, [specs[v] if v else None for v in layer.inputs])
        specs.update(zip(layer.outputs, outputs))
    net.specs = specs
