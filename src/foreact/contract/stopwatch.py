"""Where the time of a plan goes. Pieces of work are named where they are done, which costs nothing unless a stopwatch is in hand.

    with Stopwatch("preprocessing") as watch:
        ...
        with lap("encoding"):
            ...
    watch.ms          {"preprocessing": 1.2, "encoding": 3.4}

Laps nest, and every instant belongs to the innermost one alone: so the laps add up to what passed between taking the watch in hand and
putting it away. Names: `PREPROCESSING` from observations to a context, and what belongs to nothing else; `ENCODING` of pictures, text,
state and memory; `FUTURE` and `ACTION`, or `TOGETHER` where one pass makes both and a split would be invented; `SELECTION` among
candidates.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType

__all__ = ["ACTION", "ENCODING", "FUTURE", "LAPS", "PREPROCESSING", "SELECTION", "TOGETHER", "Lap", "Stopwatch", "lap"]

PREPROCESSING, ENCODING, FUTURE, ACTION = "preprocessing", "encoding", "future", "action"
TOGETHER, SELECTION = "future and action together", "selection"
LAPS = (PREPROCESSING, ENCODING, FUTURE, TOGETHER, ACTION, SELECTION)
"""In the order in which they are told."""


class Lap:
    """One piece of work under way; its name may be settled before it ends."""

    def __init__(self, name: str) -> None:
        self.name, self.seconds = name, 0.0


class Stopwatch:
    """Times what runs inside its block, in this thread. rest: the name of what is in no lap.

    clock: seconds, rising. settle: waits until work that was handed to a device is done; it is called at every boundary.
    """

    def __init__(self, rest: str, *, clock: Callable[[], float] = time.perf_counter, settle: Callable[[], None] = lambda: None) -> None:
        self._rest, self._clock, self._settle = rest, clock, settle
        self._open: list[Lap] = []
        self.ms: dict[str, float] = {}

    @property
    def total_ms(self) -> float:
        """The sum of all laps, which is what passed."""
        return sum(self.ms.values())

    def begin(self, name: str) -> Lap:
        self._tick()
        self._open.append(Lap(name))
        return self._open[-1]

    def end(self) -> None:
        self._tick()
        done = self._open.pop()
        self.ms[done.name] = self.ms.get(done.name, 0.0) + 1e3 * done.seconds

    def _tick(self) -> None:
        """What has passed since the last boundary belongs to the innermost lap."""
        self._settle()
        now = self._clock()
        if self._open:
            self._open[-1].seconds += now - self._last
        self._last = now

    def __enter__(self) -> Stopwatch:
        self.ms, self._open = {}, []
        self._token = _IN_HAND.set(self)
        self.begin(self._rest)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.end()
        _IN_HAND.reset(self._token)


_IN_HAND: ContextVar[Stopwatch | None] = ContextVar("stopwatch", default=None)


@contextmanager
def lap(name: str) -> Iterator[Lap]:
    """Name the work in this block; see the module."""
    watch = _IN_HAND.get()
    if watch is None:
        yield Lap(name)
        return
    try:
        yield watch.begin(name)
    finally:
        watch.end()
