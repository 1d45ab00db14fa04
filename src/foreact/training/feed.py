"""Batches in order, fetched by a thread while the network computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from foreact.contract.context import Window
from foreact.contract.errors import ConfigError, TrainingError
from foreact.data.sampling import SamplerState, ShuffledSampler
from foreact.training.parallel import Team
from foreact.training.settings import Training

__all__ = ["Feed", "Part", "WindowSource", "feed"]

_AHEAD = 2


class WindowSource(Protocol):
    """Where windows come from: `batch` gives those at `indices` as one `Window`."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Window: ...


@dataclass(frozen=True)
class Part:
    """One micro-batch of a step. `number` counts over all processes; noise belongs to it."""

    number: int
    window: Window


class Feed:
    """`take(step)` gives this process's parts of a step's batch; the steps after it are then fetched in the background.

    Which windows a step sees follows from the seed and the step alone.
    """

    def __init__(self, source: WindowSource, training: Training, team: Team, pool: ThreadPoolExecutor, start: int) -> None:
        self._source, self._team, self._pool = source, team, pool
        self._parts, self._next = training.micro_batches, start
        sampler = ShuffledSampler(len(source), batch_size=training.batch_size, seed=training.seed)
        epoch, position = divmod(start, sampler.steps_per_epoch)
        state = SamplerState(seed=training.seed, count=len(source), epoch=epoch, position=position * training.batch_size)
        self._order = ShuffledSampler(len(source), batch_size=training.batch_size, seed=training.seed, state=state)
        self._waiting: deque[Future[list[Part]]] = deque()

    def take(self, step: int) -> list[Part]:
        assert step == self._next, f"steps come in order: {step} instead of {self._next}"
        while len(self._waiting) <= _AHEAD:
            self._waiting.append(self._pool.submit(self._fetch, next(self._order)))
        self._next += 1
        return self._waiting.popleft().result()

    def _fetch(self, indices: np.ndarray) -> list[Part]:
        cuts = np.split(indices, self._parts)
        ours = range(self._team.rank, self._parts, self._team.size)
        return [Part(number, self._source.batch(cuts[number])) for number in ours]


@contextmanager
def feed(source: WindowSource, training: Training, team: Team, *, start: int) -> Iterator[Feed]:
    """A feed from step `start` on, whose thread ends with the block; `TrainingError` where windows do not fill a batch."""
    if training.micro_batches % team.size:
        raise ConfigError("every process takes equally many parts of a batch", where="training.micro_batches",
                          found=training.micro_batches, accepted=f"a multiple of {team.size} processes",
                          next_step=f"training.micro_batches={team.size}")
    if len(source) < training.batch_size:
        raise TrainingError("the windows do not fill one batch", where="dataset", found=f"{len(source)} windows",
                            accepted=f"training.batch_size={training.batch_size} or more",
                            next_step="add episodes, or lower training.batch_size")
    pool = ThreadPoolExecutor(1, thread_name_prefix="feed")
    try:
        yield Feed(source, training, team, pool, start)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
