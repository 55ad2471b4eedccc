"""What `pathweave.load` returns: a model that can be called, with its plans per shape."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..errors import Error, InputError, ModelError, OpenSizesError, RouteError, ShapeError
from ..locks import lock
from ..net.arguments import as_array
from ..net.border import checked_layouts, in_layout
from ..net.net import NET_ORDER, Model, TensorSpec
from ..net.objective import LATENCY, Aim
from ..net.route import Route
from ..net.state import State, changed_states, check_layouts, checked_states
from ..options import check_options, options_checked
from ..words import counted
from . import defaults
from .arguments import AnyModel, AnyRestrict, Image, Inputs, Path, Pipeline, Shapes
from .bound import BoundNet
from .fitting import check_fit
from .plan import Plan
from .routes import check_of_net
from .runnable import Runnable, check_threads, threads_of
from .session import Session
from .state import StatefulSession

if TYPE_CHECKING:
    from .pool import Pool

#: Bytes of a model given as bytes that are kept to read it once more; see `LoadedModel.for_inputs`.
KEPT_SOURCE_BYTES = 64 << 20


class LoadedModel(Model):
    """A model that can be called: its main net by `model(x)`, all its nets by `model.predict(image)`.

    `nets`, `main`, `meta`, `routes`, `layouts`, `states` as in `Model`; `inputs` and `outputs` are the main net's. `threads`
    None: the processors that the process may use. Any number of threads may call it; one with states is called through
    `session()`.
    """

    __eq__ = object.__eq__  # a model is itself; comparing weights is not what == should do
    __hash__ = object.__hash__

    def __init__(self, model: Model, threads: int | None = None):
        if not isinstance(model, Model):
            raise ModelError(f"model: expected a Model, as pathweave.load gives for a path, got {type(model).__name__}")
        nets = {n: model.nets[n] for n in (*NET_ORDER, *model.nets) if n in model.nets}
        super().__init__(nets, dict(model.meta), dict(model.routes), dict(model.quantisation))
        if "main" not in self.nets:
            raise ModelError(f"model: it has no main net, only {', '.join(self.nets) or 'nothing'}")
        self.layouts = self._checked(model.layouts)
        self.states = self._checked_states(model.states)
        if threads is not None:
            check_threads(threads)
        #: Kinds of layers of each net as it was read, before the passes, with their counts; empty for one not from `load`.
        self.imported: dict[str, dict[str, int]] = {}
        self._threads = threads
        self._runnables: dict[str, Runnable] = {}
        self._reopen: Callable[[list[str]], LoadedModel] | None = None
        self._with_given: dict[frozenset[str], LoadedModel] = {}
        self._lock = lock()
        self._calibration: list[str] = []
        self._written: list[str] = []
        self._offer = None
        self._source: LoadedModel | None = None
        if model.packed is not None:
            from .packed import Offer
            self._offer = Offer(self, self.nets, model.packed)
            self.packed = model.packed

    @property
    def notes(self) -> list[str]:
        """What a user should know, as sentences: of element types, what 8 bits lose on the samples of `calibrate`, which packed
        weights `save` wrote last, and what came of those in the file."""
        found = self.meta.get("notes")
        return [*(map(str, found) if isinstance(found, list) else ()), *self._calibration, *self._written,
                *(self._offer.notes if self._offer else ())]

    def take_calibration_notes(self, other: LoadedModel) -> None:
        """Take over what the calibration of another model with the same scales found."""
        self._calibration = list(other._calibration)

    def runnable(self, name: str = "main") -> Runnable:
        """One of the nets with its plans. Raises ModelError for a net that is not there."""
        found = self._runnables.get(name)
        if found is not None:
            return found
        with self._lock:
            if name not in self._runnables:
                if name not in self.nets:
                    raise ModelError(f"model: it has no net {name!r}, only {', '.join(self.nets)}")
                # Image pipelines run in NumPy for the most part; only the main net is ever tuned.
                routes = self.routes if name == "main" else {}
                self._runnables[name] = Runnable(self.nets[name], routes, self._threads,
                                                 scales=self.quantisation.get(name), layouts=self._layouts_of(name))
            return self._runnables[name]

    def _layouts_of(self, name: str) -> dict[str, str]:
        """The layouts at the border of a net: what the main net reads and makes lies alike in the nets beside it."""
        if name == "main" or not self.layouts:
            return self.layouts
        net = self.nets[name]
        before = name == "preprocess"
        pairs = zip(net.outputs, self.main.inputs) if before else zip(net.inputs, self.main.outputs)
        return {own: self.layouts[value] for own, value in pairs if value in self.layouts}

    def _checked(self, layouts: Any) -> dict[str, str]:
        """Layouts of the main net's inputs and outputs. Raises InputError."""
        if isinstance(layouts, Mapping) and not layouts:
            return {}
        return checked_layouts(layouts, self.main.inputs, self._known_outputs())

    def _known_outputs(self) -> dict[str, TensorSpec | None]:
        """The main net's outputs; None for those of which nothing is known before it is bound."""
        try:
            return {**dict.fromkeys(self.main.outputs), **self.outputs}
        except Error:  # it takes certain sizes only: `bind` looks at them
            return dict.fromkeys(self.main.outputs)

    def _checked_states(self, states: Any) -> dict[str, State]:
        """States of the main net's inputs. Raises InputError, DTypeError."""
        if isinstance(states, Mapping) and not states:
            return {}
        found = checked_states(states, self.main.inputs, self._known_outputs())
        check_layouts(found, self.layouts, self.main.inputs)
        if "preprocess" in self.nets:
            raise InputError(f"states: {', '.join(map(repr, found))}: expected a model without a preprocess net, which gives "
                             f"a value to every input; load it without one, and give the session arrays")
        return found

    def with_layouts(self, layouts: Mapping[str, str]) -> LoadedModel:
        """This model with other layouts of a call's arrays; weights are shared, tuned routes are carried over.

        `layouts`: name of an input or output -> "nhwc", "nchw16c", or "nchw" for the row-major order; of other ranks "nlc",
        "ndhwc" or "plain"; others keep theirs.

        An array has the dimensions that its layout has in memory: an input (N, 3, H, W) in nhwc is an array (N, H, W, 3), which
        is read in place. Raises InputError.
        """
        found = self._checked({**self.layouts, **layouts} if isinstance(layouts, Mapping) else layouts)
        return self if found == self.layouts else self._altered(found, self.states, self._threads)

    def with_states(self, states: Mapping[str, str | State | None] | None = None, *,
                    initial: Mapping[str, ArrayLike] | None = None,
                    sizes: Mapping[str, int | tuple[int, ...]] | None = None) -> LoadedModel:
        """This model with other states from call to call; weights are shared, tuned routes are carried over.

        `states`: input -> the output whose value it gets in the next call, or None for an input that callers give again; others
        stay as they are. `initial`: input -> value in the first call, with its dimensions in the declared order; zeros where
        none is given. `sizes`: symbol -> size, or input -> shape, of these zeros, where the declared shape has symbols that
        `session` is not to be told. See docs/state.md. Raises InputError, DTypeError.
        """
        changed = changed_states(self.states, self.main.inputs, {} if states is None else states, initial, sizes)
        return self._altered(self.layouts, changed, self._threads)

    def _altered(self, layouts: dict[str, str], states: dict[str, State], threads: int | None) -> LoadedModel:
        """This model with another border, or with another number of threads."""
        other = LoadedModel(Model(self.nets, self.meta, self.routes, self.quantisation, layouts=layouts, states=states),
                            threads)
        other.imported, other._reopen = dict(self.imported), self._reopen
        other.take_calibration_notes(self)
        # Packed weights of the file are offered as long as the model that it was read into lives.
        other.packed, other._offer, other._source = self.packed, self._offer, self
        return other

    @property
    def threads(self) -> int:
        """Threads per call."""
        return threads_of(self._threads, self.routes)

    def with_threads(self, threads: int | None) -> LoadedModel:
        """This model with another number of threads per call; weights are shared, tuned routes are carried over. None: the
        processors that the process may use, or those of a route that was tuned for throughput."""
        return self if threads == self._threads else self._altered(self.layouts, self.states, threads)

    def aim(self, objective: str = LATENCY, sessions: int | None = None, threads: int | None = None) -> Aim:
        """What `tune` and `profile` measure with these arguments. Raises InputError."""
        team = check_threads(self._threads if threads is None else threads)
        return Aim.of(objective, sessions, team, check_threads(None))

    def pool(self, sessions: int | None = None, threads: int = 1) -> Pool:
        """Sessions that run calls at the same time, for servers: `pool.submit(x)` gives a Future, `pool.map(inputs)` results in
        order; see `Pool`.

        `sessions`: how many calls run at the same time; None: as many as the model was tuned for, else as the processors have
        room for. `threads`: of each. Weights and plans are shared. Raises InputError for a model with states, each of whose
        sessions is one caller's.
        """
        from .pool import Pool
        return Pool(self, sessions, threads)

    @property
    def inputs(self) -> dict[str, TensorSpec]:
        """Inputs of the main net: dtype and shape by name, shapes may hold symbols."""
        return dict(self.main.inputs)

    @property
    def outputs(self) -> dict[str, TensorSpec]:
        """Outputs of the main net; dimensions that depend on the inputs are symbols."""
        from ..files.pipeline import output_specs
        return output_specs(self.main)

    def __call__(self, inputs: Inputs = None, /, *more: ArrayLike, out: Inputs = None, **named: ArrayLike) -> Any:
        """Run the main net: an array or a dict in, an array or a dict out; see `Session`.

        An input that has a default value (`meta["default_inputs"]`) may be left out or given. Raises InputError for a model
        with states, among others.
        """
        if not more and not named and not self.states:
            runnable = self._runnables.get("main")
            found = None if runnable is None else runnable.again(inputs, out)
            if found is not None:
                return found[0] if len(found) == 1 else dict(zip(self.main.outputs, found))
        self._check_stateless("call")
        target = self.for_inputs(named or inputs)
        if target is not self or named or more:
            return target.runnable()(inputs, *more, out=out, **named)
        results = self.runnable().anew(inputs, out)
        return next(iter(results.values())) if len(results) == 1 else results

    def run(self, inputs: Inputs = None, out: Inputs = None) -> dict[str, np.ndarray]:
        """Run the main net; always a dict by name."""
        self._check_stateless("run")
        return self.for_inputs(inputs).runnable().run(inputs, out)

    def _check_stateless(self, where: str) -> None:
        """Raise InputError for a model with states: calls of all callers would share them."""
        if self.states:
            raise InputError(f"{where}: this model keeps the value of {', '.join(map(repr, self.states))} from call to call, "
                             f"and all its callers share a model; make a session of your own and call that: session = "
                             f"model.session()")

    def for_inputs(self, inputs: Any) -> LoadedModel:
        """This model, or that with those inputs as inputs that have a default value here and are given all the same."""
        if not self.meta.get("default_inputs") or not isinstance(inputs, Mapping):
            return self
        given = frozenset(n for n in self.meta["default_inputs"] if n in inputs and n not in self.main.inputs)
        if not given:
            return self
        if self._reopen is None:
            raise InputError(f"call: {', '.join(map(repr, sorted(given)))}: expected to be left out, for this model holds the "
                             f"default value; load the original file with default_inputs={sorted(given)}")
        with self._lock:
            if given not in self._with_given:
                self._with_given[given] = self._reopen(sorted(given)).with_layouts(self.layouts).with_threads(self._threads)
            return self._with_given[given]

    def bind(self, shapes: Shapes = None) -> BoundNet:
        """The main net at concrete shapes: what profiles and solvers work on."""
        return self.runnable().bind(shapes)

    def route(self, shapes: Shapes = None, threads: int | None = None) -> Route:
        """The route that the main net takes at these shapes."""
        return self.runnable().route(shapes, threads)

    def plan(self, route: Route | None = None, shapes: Shapes = None, threads: int | None = None, *,
             most: Mapping[str, int] | None = None) -> Plan:
        """A plan of the main net; see `Runnable.plan`. `most`: for all sizes of these symbols up to those given; see
        `Runnable.open_plan`."""
        if most is None:
            return self.runnable().plan(route, shapes, threads)
        if route is not None or shapes is not None:
            raise InputError("plan: expected most, or a route and shapes, got both")
        return self.runnable().open_plan(most, threads)

    def session(self, shapes: Shapes = None) -> Session | StatefulSession:
        """A session of the main net: one caller's. Of a model with states one for any shapes, which keeps the states.

        `shapes`: those of the one plan; for a model with states, sizes of states whose initial value leaves them open.
        """
        if self.states:
            return StatefulSession(self, shapes)
        return self.plan(shapes=shapes).session()

    def add_route(self, route: Route) -> None:
        """Keep a tuned route: plans for its shapes use it from now on, and `save` stores it.

        Raises RouteError for what is no Route, and for the route of another model.
        """
        if not isinstance(route, Route):
            raise RouteError(f"add_route: expected a Route, got {type(route).__name__}; Route.from_json makes one of plain "
                             f"data")
        check_of_net("add_route", route, self.main, self.bind)
        self.routes.pop(route.signature, None)
        self.routes[route.signature] = route
        if "main" in self._runnables:
            self._runnables["main"].forget_plans()

    def calibrate(self, samples: Iterable[Inputs | Image], *, progress: Callable[[float, str], None] | None = None,
                  max_pixels: int | None = None) -> LoadedModel:
        """Find the scales of the main net's values on samples, so that quantised routines may be used; gives the model.

        `samples`: an iterable of what a call takes, with or without the batch dimension (an array [N,...] is N samples),
        or, with a preprocess net, of image files and Pillow images: typical ones, a hundred or so. Every value gets the
        range that it has on them (0 always in it) in 256 steps; what is outside saturates. The model itself changes, and
        `save` keeps the scales; `pathweave.tune(model, accuracy="quantised")` makes use of them. Values that one scale
        would spoil stay in float; `notes` and a CalibrationWarning tell which, and where large errors are to be expected.
        `progress`: called with (0..1, text). `max_pixels`: as in `predict`. Raises InputError, DTypeError naming the sample
        that is wrong; the model is then as before.
        """
        from .calibrate import CalibrationWarning, Samples, calibrate
        runnable = self.runnable()
        images = partial(self.image_inputs, max_pixels=max_pixels) if "preprocess" in self.nets else None
        scales, notes = calibrate(self.main, Samples(samples, images), self.threads, progress, self.layouts)
        self.quantisation["main"], self._calibration = scales, [f"calibration: {note}" for note in notes]
        runnable.set_scales(scales)
        for note in self._calibration:
            warnings.warn(note, CalibrationWarning, stacklevel=2)
        return self

    def image_inputs(self, image: Image, *, max_pixels: int | None = None) -> dict[str, np.ndarray]:
        """The main net's inputs from an image, by the preprocess net; see `predict`."""
        values = self.runnable("preprocess").run(self._images(image, max_pixels))
        return dict(zip(self.main.inputs, values.values()))

    def predict(self, image: Image, *, max_pixels: int | None = None) -> dict[str, np.ndarray]:
        """Run all nets on an image: preprocess, main, postprocess; results by name.

        `image`: path of an image file, uint8 array [H,W,3] (RGB) or [H,W], a Pillow image, or a dict of those by name
        of the preprocess net's inputs. A model without a preprocess net takes the main net's inputs. Where the model
        has labels, `labels` holds those of the integer results. `max_pixels`: of an image file or a Pillow image, 100
        million unless given; the environment's PATHWEAVE_MAX_PIXELS is a limit to both. Files are turned upright by their
        EXIF orientation, and those above 16 million pixels are read at a reduced size, still four times what the net wants.
        Raises InputError.
        """
        self._check_stateless("predict")
        values = self._images(image, max_pixels) if "preprocess" in self.nets else self._plain(image)
        names = [n for n in NET_ORDER if n in self.nets]
        for i, name in enumerate(names):
            runnable = self.runnable(name)
            if i:  # each net feeds the next by position
                values = dict(zip(runnable.inputs, values.values()))
            values = runnable.run(values)
        return self.labelled(values)

    def _plain(self, value: Any) -> Any:
        if isinstance(value, (str, os.PathLike)):
            raise InputError(f"predict: an image file ({value}) needs a preprocess net, which this model lacks; load "
                             f"it with preprocess=..., or pass the inputs of its main net")
        return value if isinstance(value, Mapping) else {next(iter(self.main.inputs)): value}

    def _images(self, image: Any, max_pixels: int | None) -> dict[str, Any]:
        from ..files.images import wanted_size
        net = self.nets["preprocess"]
        images = dict(image) if isinstance(image, Mapping) else {next(iter(net.inputs)): image}
        return {name: _pixels(name, value, wanted_size(net, name), max_pixels) for name, value in images.items()}

    def labelled(self, values: dict[str, Any]) -> dict[str, Any]:
        """Results with the labels of the integers among them, where the model has labels."""
        labels = self.meta.get("labels")
        if not labels:
            return values
        integers = [a for a in values.values() if a.dtype.kind in "iu"]
        if not integers or "labels" in values:
            return values
        table = np.array([*map(str, labels), ""], dtype=object)
        return {**values, "labels": table[np.where((integers[0] >= 0) & (integers[0] < len(labels)), integers[0], -1)]}

    def save(self, path: Path, packed: bool = False) -> None:
        """Write nets, meta data and routes as one `.pw` file, atomically. Raises ModelError (also an OSError).

        `packed`: also the weights as the kernels of this machine read them: of the plans that are kept, of those for the shapes
        that routes were made for, and of that for the default shapes. Raises OpenSizesError where there is none of these: call
        the model before, or make a plan. Loading then maps them instead of packing anew, and processes share their memory; the
        file grows by their size (as much again, four times for Winograd), and is worth that on the same machine only:
        elsewhere they are left alone, see `notes`. Routines on 8-bit integers and for sparse weights keep theirs to
        themselves: `notes` then says how many were written, and how many left out.
        """
        from ..files.model import check_name, save
        check_name(path)
        weights = None
        if packed:
            from .packed import collect, summary
            plans = self._plans_to_pack()
            weights = collect(self.nets, plans)
            self._written = [summary(weights, plans)]
        save(Model(self.nets, self.meta, self.routes, self.quantisation, weights, self.layouts, self.states), path)

    def _plans_to_pack(self) -> list[Plan]:
        """Plans for the shapes that routes were made for and the default ones, and those that are kept. Raises OpenSizesError
        where there is none."""
        plans = self.runnable().kept_plans()
        for shapes in (route.shapes for route in self.routes.values()):
            with contextlib.suppress(InputError, ShapeError):  # what a file says need not fit
                plans += [self.plan(shapes=shapes)] if shapes else []
        try:
            plans.append(self.plan())
        except OpenSizesError as e:
            if not plans:
                listed, sizes = ", ".join(map(repr, e.symbols)), ", ".join(f"{s!r}: 16" for s in e.symbols)
                raise OpenSizesError(f"save: packed weights are those of plans, and it is not known for which shapes: the size "
                                     f"of {listed} is open ({e.inputs}), and no route says for which it was made; make a plan "
                                     f"before, model.plan(shapes={{{sizes}}}), or save without packed=True", e.symbols,
                                     e.inputs) from e
        return list(dict.fromkeys(plans))

    def __reduce__(self) -> tuple:
        """Pickled and copied are nets, meta data, routes and scales; plans and packed weights are made anew."""
        plain = Model(self.nets, self.meta, self.routes, self.quantisation, layouts=self.layouts, states=self.states)
        rest = {k: v for k, v in self.__dict__.items() if k == "report"}  # of a tuned model
        return _rebuilt, (type(self), plain, self._threads), rest or None

    def __repr__(self) -> str:
        ins = ", ".join(f"{n}={in_layout(s, self.layouts.get(n))}" for n, s in self.main.inputs.items())
        return (f"<Model {ins}: {counted(len(self.main.layers), 'layer')}, outputs {', '.join(self.main.outputs)}, "
                f"{''.join(f'state {n} {s.described(self.main.inputs[n])}, ' for n, s in self.states.items())}"
                f"{counted(len(self.routes), 'tuned route')}>")

    def _repr_html_(self) -> str:
        """A row per input, output, kind of layer and route, for notebooks."""
        from .. import html
        rows: list[tuple[object, ...]] = [("input", n, in_layout(s, self.layouts.get(n))) for n, s in self.inputs.items()]
        try:
            rows += [("output", n, in_layout(s, self.layouts.get(n))) for n, s in self.outputs.items()]
        except Error as e:  # a model whose layers do not fit together can still be looked at
            rows += [("output", n, str(e)) for n in self.main.outputs]
        rows += [("state", n, s.described(self.main.inputs[n])) for n, s in self.states.items()]
        rows += [("layers", kind, n) for kind, n in Counter(x.kind for x in self.main.layers).most_common()]
        rows += [("route", s[:12], repr(r)[1:-1]) for s, r in self.routes.items()]
        return html.table(repr(self)[1:-1], ("", "name", ""), rows)


def _rebuilt(kind: type, model: Model, threads: int | None) -> LoadedModel:
    return kind(model, threads)


def _pixels(name: str, value: Any, wanted: tuple[int, int] | None, max_pixels: int | None) -> Any:
    from ..files.images import pixels, read_image
    if isinstance(value, (str, os.PathLike)):
        return read_image(value, wanted, max_pixels)
    if hasattr(value, "convert") and hasattr(value, "getexif"):  # a Pillow image
        return pixels(value, f"image {name!r}", wanted, max_pixels)
    array = as_array(name, value)
    if array.dtype == np.uint8 and array.ndim == 2:
        return np.repeat(array[:, :, None], 3, axis=2)
    return array


def load(path: AnyModel, preprocess: Pipeline = None, postprocess: Pipeline = None, threads: int | None = None,
         layouts: Mapping[str, str] | None = None, states: Mapping[str, str | State | None] | None = None,
         **options: Any) -> LoadedModel:
    """Read a model: a `.pw` file, or one of another framework that the importers know; the content decides.

    `preprocess`, `postprocess`: JSON of nets in front and behind (see `pathweave.files.pipeline`): path of a JSON file, a
    list of layers, or a dict; a file that holds both is given once. `threads`: per call. `layouts`: of a call's
    arrays, name of an input or output -> layout; None: those in the file, else row-major; see `LoadedModel.with_layouts`.
    `states`: input -> the output whose value it gets in the next call, beside those in the file; see `LoadedModel.with_states`.
    `options`: of an ONNX model: `shapes`, `external_root`, `default_inputs`, `narrow_double`; of both an ONNX model with
    external data and a `.pw` file: `mapped=False` (read a copy).
    Raises FileFormatError, UnsupportedOperatorError, ModelError, InputError; ShapeError for `shapes` that do not fit the model.
    """
    if isinstance(path, Model):
        from ..importers import OF_LOAD
        check_options("load", options, (), OF_LOAD, f" of a {type(path).__name__}, which was read already")
        read = path if isinstance(path, LoadedModel) else LoadedModel(path, threads)
        read = read if layouts is None else read.with_layouts(layouts)
        return read if states is None else read.with_states(states)
    from .. import importers
    from ..passes import optimise
    if threads is not None:
        check_threads(threads)
    model = importers.load(path, **options)
    pipeline, folder = _pipeline(preprocess, postprocess)
    if pipeline:
        from ..files.pipeline import attach
        model = attach(model, pipeline, folder)
    with importers.named(importers.name_of(path)):
        nets = {n: optimise(net) for n, net in model.nets.items()}
    chosen: Any = {**model.layouts, **(layouts or {})} if layouts is None or isinstance(layouts, Mapping) else layouts
    changed = model.states if states is None else changed_states(model.states, nets["main"].inputs, states)
    loaded = LoadedModel(Model(nets, model.meta, model.routes, model.quantisation, model.packed, chosen, changed), threads)
    loaded.imported = {n: dict(Counter(layer.kind for layer in net.layers)) for n, net in model.nets.items()}
    if options.get("shapes"):
        check_fit(loaded.main, "load")
    if model.meta.get("default_inputs") and _can_reopen(path):
        given = list(options.pop("default_inputs", ()))
        loaded._reopen = lambda more: load(path, preprocess, postprocess, threads, default_inputs=given + more, **options)
    return loaded


def _can_reopen(source: Any) -> bool:
    """Whether a source can be read once more, for inputs with default values: bytes that are large are not kept for it."""
    from .. import importers
    return not importers.is_own(source) and (not isinstance(source, (bytes, bytearray, memoryview))
                                             or len(source) <= KEPT_SOURCE_BYTES)


def _pipeline(preprocess: Any, postprocess: Any) -> tuple[dict[str, Any], str]:
    """Both arguments as one JSON object, and the folder that label files lie in."""
    from ..files.pipeline import read_json
    pipeline: dict[str, Any] = {}
    folder = "."
    for key, value in (("preprocess", preprocess), ("postprocess", postprocess)):
        if value is None:
            continue
        if isinstance(value, (str, os.PathLike)):
            folder = os.path.dirname(os.fspath(value)) or "."
            value = read_json(value)
        if isinstance(value, Mapping):
            pipeline = {**value, **pipeline} if key not in value else {**pipeline, **value}
        else:
            pipeline[key] = value
    return pipeline, folder


@options_checked
def plan(model: AnyModel, route: Route | None = None, *, shapes: Shapes = None, threads: int | None = None,
         most: Mapping[str, int] | None = None) -> Plan:
    """A plan of a model's main net: everything prepared for one set of shapes.

    `model`: a model, or a path. `route`: what `solve` or `tune` gave (None: the model's own, or the default).
    `shapes`: input name or symbol -> shape or size, or one shape; None: those of the model, batch 1. `most`:
    instead of shapes, symbols and their largest sizes: the plan does for all sizes up to those. Raises InputError,
    RouteError, OutOfMemoryError.
    """
    return load(model).plan(route, shapes, threads, most=most)


@options_checked
def default_route(model: AnyModel | BoundNet, threads: int | None = None, *, shapes: Shapes = None, accuracy: str = "f32",
                  restrict: AnyRestrict = None) -> Route:
    """The route that a model's main net takes where nothing was measured.

    `model`: a model, a path, or a net that is bound already. `shapes`: as in `plan`. `accuracy`: the least accurate class
    that it may use. `restrict`: descriptors of the routines that are allowed (a text or a list of texts); with one, layers are
    not taken together. Raises InputError, NoRoutineError.
    """
    from .descriptor import restriction
    allowed = restriction(restrict)
    if isinstance(model, BoundNet):
        bound, number = model, check_threads(threads)
    else:
        loaded = load(model)
        bound, number = loaded.bind(shapes), loaded.threads if threads is None else check_threads(threads)
    return defaults.usual_route(bound, number, accuracy, allowed)
