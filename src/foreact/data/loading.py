"""Endless shuffled batches of windows, gathered ahead of time by a thread, resumable to the batch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping

import numpy as np

from foreact.contract.context import Window
from foreact.data.sampling import SamplerState, ShuffledSampler
from foreact.data.windows import Windows

__all__ = ["Loader", "loader", "split_episodes"]


class Loader:
    """Yields `Window` batches without end. `state()` is the place after the last batch that was handed out.

    A loader made anew from that state hands out the very batches that this one would have.
    """

    def __init__(self, windows: Windows, sampler: ShuffledSampler, *, ahead: int = 2) -> None:
        self._windows, self._sampler, self._ahead = windows, sampler, ahead
        self._state = sampler.state
        self._ready: queue.Queue[tuple[SamplerState, Window | BaseException]] = queue.Queue(max(ahead, 1))
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def steps_per_epoch(self) -> int:
        return self._sampler.steps_per_epoch

    def state(self) -> dict[str, int]:
        """JSON-able; give it to `loader(start_state=...)`."""
        return self._state.to_json()

    def __iter__(self) -> Loader:
        return self

    def __next__(self) -> Window:
        if self._ahead == 0:
            window = self._windows.batch(next(self._sampler))
            self._state = self._sampler.state
            return window
        if self._thread is None:
            self._thread = threading.Thread(target=self._gather, name="foreact-loader", daemon=True)
            self._thread.start()
        state, item = self._ready.get()
        if isinstance(item, BaseException):
            self.close()
            raise item
        self._state = state
        return item

    def _gather(self) -> None:
        while not self._stop.is_set():
            try:
                indices = next(self._sampler)
                item: Window | BaseException = self._windows.batch(indices)
            except BaseException as error:
                item = error
            while not self._stop.is_set():
                try:
                    self._ready.put((self._sampler.state, item), timeout=0.2)
                    break
                except queue.Full:
                    continue
            if isinstance(item, BaseException):
                return

    def close(self) -> None:
        """Stop gathering ahead."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def loader(windows: Windows, *, batch_size: int, seed: int, rank: int = 0, world_size: int = 1,
           start_state: Mapping[str, int] | None = None, ahead: int = 2) -> Loader:
    """Batches of `batch_size` windows for this rank. ahead: batches gathered in advance by a thread; 0 for none."""
    state = None if start_state is None else SamplerState.from_json(start_state)
    sampler = ShuffledSampler(len(windows), batch_size=batch_size, seed=seed, rank=rank, world_size=world_size, state=state)
    return Loader(windows, sampler, ahead=ahead)


def split_episodes(count: int, *, held_out: float, seed: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places of the episodes to train on and of those held out (a share of all, at least one when above zero)."""
    order = np.random.Generator(np.random.Philox(key=[seed, count])).permutation(count)
    aside = 0 if held_out == 0 else min(max(round(count * held_out), 1), count - 1)
    return tuple(sorted(int(i) for i in order[aside:])), tuple(sorted(int(i) for i in order[:aside]))
