"""Pool: calls of a model that run at the same time, each through a session of its own; what a server runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from ..errors import InputError
from ..net.arguments import of_call
from ..net.objective import THROUGHPUT, check_number_of_sessions
from ..net.size import check_number_of_threads
from .arguments import Inputs
from .runnable import check_threads

if TYPE_CHECKING:
    from .model import LoadedModel

#: `map` takes inputs so many calls per session ahead of the results that are asked for.
AHEAD = 2


class Pool:
    """Runs calls of a model at the same time, in threads of its own; any number of threads may submit. A context, whose end
    waits for the calls that run, and on an error drops those that wait.

    `sessions`: how many calls run at the same time. `threads`: of each call. Calls take inputs of any shapes that the model
    takes, and share its plans and weights; each session has memory of its own for values. An error of a call is that of its
    Future, and stops no other call. Ctrl-C in the thread that waits is raised there; calls that run are finished.
    """

    def __init__(self, model: LoadedModel, sessions: int | None = None, threads: int = 1):
        if model.states:
            raise InputError(f"pool: this model keeps the value of {', '.join(map(repr, model.states))} from call to call, and "
                             "a pool's calls are of many callers; make a session for each of them, model.session(), and run "
                             "those in threads of yours")
        self.threads = check_number_of_threads(threads)
        self.sessions = _tuned_for(model, self.threads) if sessions is None else check_number_of_sessions(sessions)
        self.model = model if model.threads == self.threads else model.with_threads(self.threads)
        self._executor = ThreadPoolExecutor(self.sessions, thread_name_prefix="pathweave-pool")

    def submit(self, inputs: Inputs = None, /, *more: ArrayLike, out: Inputs = None, **named: ArrayLike) -> Future[Any]:
        """Let a call run; a Future of what the call would give. Arguments are those of a call: `inputs` and `out` belong to it
        until it is done. `future.cancel()` drops a call that waits; `asyncio.wrap_future` makes it awaitable.

        Raises InputError for several inputs without names, and RuntimeError for a pool that was closed.
        """
        given = of_call("submit", inputs, more, named)
        return self._executor.submit(self.model, given, out=out)

    def map(self, inputs: Iterable[Inputs], *, return_errors: bool = False, chunk: int = 1) -> Iterator[Any]:
        """What calls on these inputs give, in order. Inputs are taken as results are, a few ahead of them, so that they may
        come without end.

        An error is raised where its result would be, and ends the iterator; with `return_errors` it stands there instead.
        `chunk`: so many calls are handed to a session at once: where a call takes microseconds, handing it over takes as long.
        Raises InputError.
        """
        if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
            raise InputError(f"map: chunk: expected a number of calls, 1 or more, got {chunk!r}")
        return self._mapped(iter(inputs), return_errors, chunk)

    def _mapped(self, inputs: Iterator[Inputs], return_errors: bool, chunk: int) -> Iterator[Any]:
        under_way: deque[Future[list[Any]]] = deque()

        def hand_over() -> None:
            part = list(islice(inputs, chunk))
            if part:
                under_way.append(self._executor.submit(self._calls, part))
        try:
            for _ in range(AHEAD * self.sessions):
                hand_over()
            while under_way:
                results = under_way.popleft().result()
                hand_over()
                for result in results:
                    if isinstance(result, _Failed):
                        if not return_errors:
                            raise result.error
                        result = result.error
                    yield result
        finally:
            for future in under_way:
                future.cancel()

    def _calls(self, part: list[Inputs]) -> list[Any]:
        found: list[Any] = []
        for inputs in part:
            try:
                found.append(self.model(inputs))
            except Exception as e:
                found.append(_Failed(e))
        return found

    def close(self, wait: bool = True, drop: bool = False) -> None:
        """Take no more calls. `wait`: until those that were submitted are done. `drop`: cancel those that have not begun."""
        self._executor.shutdown(wait, cancel_futures=drop)

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self.close(drop=kind is not None)

    def __reduce__(self) -> Any:
        raise InputError("a pool has threads of this process and is not pickled or copied: pickle its model, and make a pool "
                         "of that in the other process")

    def __repr__(self) -> str:
        return f"<Pool of {self.sessions} sessions, {self.threads} threads each, over {self.model!r}>"


class _Failed:
    """Stands for the result of a call that raised."""

    def __init__(self, error: Exception):
        self.error = error


def _tuned_for(model: LoadedModel, threads: int) -> int:
    """As many sessions as the newest route was tuned for, else as the processors have room for."""
    route = next(reversed(model.routes.values()), None)
    if route is not None and route.objective == THROUGHPUT and route.threads == threads:
        return route.sessions
    return max(1, check_threads(None) // threads)
