"""The loaded models of one session: calls may need the same file read with other inputs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import Error, UnsupportedOperatorError
from ..locks import lock
from ..net.size import MOST_THREADS
from .described import NodeArg
from .options import SessionOptions
from .statuses import READING_AGAIN, Status, status_of

#: Models that a session keeps beside the one that it loaded first; the one that was used longest ago goes.
MOST_VARIANTS = 4
#: Rank at which a model is looked at whose inputs have none.
SOME_RANK = 4


class Need(NamedTuple):
    """What a call wants of the model. `ranks`: (input, rank) for inputs that have no rank of their own, or another one;
    `given`: initializers that the call gives; `loose`: equal symbols may stand for different sizes."""

    ranks: tuple[tuple[str, int], ...] = ()
    given: frozenset[str] = frozenset()
    loose: bool = False


PLAIN = Need()


class Variants:
    """Models of one source by what calls need; each is read when it is first asked for.

    `take_routes` gives a model its tuned routes; the first model must take them, others do where they fit.
    """

    def __init__(self, source: Any, inputs: Sequence[NodeArg], options: SessionOptions,
                 overrides: Mapping[str, list[int | str]], take_routes: Callable[[Any], None] | None):
        self.source, self._inputs, self._overrides = source, inputs, overrides
        threads = min(options.intra_op_num_threads, MOST_THREADS)
        self._threads = threads if threads > 0 else None
        self._take_routes, self._taken = take_routes, False
        self._models: OrderedDict[Need, Any] = OrderedDict()
        self._lock = lock()

    def check_operators(self) -> None:
        """Raise UnsupportedOperatorError for a model some of whose operators are not covered at any rank of its inputs."""
        from .. import importers
        from ..importers.onnx import operators
        need = Need(tuple((a.name, SOME_RANK) for a in self._inputs if not a._ranked))
        try:
            importers.load(self.source, shapes=self._shapes(need))
        except UnsupportedOperatorError as e:
            if any(name not in operators() for name, _ in e.operators):
                raise
        except Error:  # the rank does not do for this model
            pass

    def read(self, need: Need = PLAIN) -> Any:
        """The model, read anew. Raises what `pathweave.load` raises."""
        import pathweave
        options: dict[str, Any] = {}
        if need.given:
            options["default_inputs"] = sorted(need.given)
        if shapes := self._shapes(need):
            options["shapes"] = shapes
        model = pathweave.load(self.source, threads=self._threads, **options)
        if self._take_routes:
            try:
                self._take_routes(model)
                self._taken = True
            except Error:
                if not self._taken:
                    raise
        return model

    def _shapes(self, need: Need) -> dict[str, list[int | str]]:
        """Shapes of the inputs whose declared ones do not do."""
        shapes = dict(self._overrides)
        if need.loose:
            shapes = {a.name: [d if isinstance(d, int) else f"{a.name}_{i}" for i, d in enumerate(a.shape)]
                      for a in self._inputs if a.shape}
        taken = {d for a in self._inputs for d in a.shape} | {d for s in shapes.values() for d in s}
        for name, rank in need.ranks:
            prefix = name
            while taken & {f"{prefix}_{i}" for i in range(rank)}:
                prefix += "_"
            shapes[name] = [f"{prefix}_{i}" for i in range(rank)]
            taken.update(shapes[name])
        return shapes

    def get(self, need: Need) -> Any:
        """The model that does for a call. Raises a `Status` where it cannot be read like that."""
        with self._lock:
            if need not in self._models:
                try:
                    self._models[need] = self.read(need)
                except Status:
                    raise
                except Error as e:
                    raise status_of(e, READING_AGAIN) from e
                while len(self._models) > MOST_VARIANTS:
                    self._models.popitem(last=False)
            self._models.move_to_end(need)
            return self._models[need]
