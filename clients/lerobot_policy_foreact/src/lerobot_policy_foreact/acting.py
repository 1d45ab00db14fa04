"""Episodes under way in a batch of environments, as LeRobot has them: all begin at one reset, and each batch is of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from foreact.acting.turns import Seat, Turns
from foreact.data.lerobot.batches import STATE, observations_of
from foreact.envs.base import Observation
from foreact.model import WorldActionModel

__all__ = ["Episodes"]


class Episodes:
    """`begin` forgets everything; the number of environments is that of the first batch after it.

    Each episode's noise follows from `seed`, from how often episodes were begun, and from the environment's place in the batch.
    """

    def __init__(self, model: WorldActionModel, *, seed: int, lanes: int) -> None:
        self._spec, self._seed, self._turns = model.observation, seed, Turns(model, lanes=lanes)
        self._seats: list[Seat] = []
        self.begun = 0

    def begin(self) -> None:
        self._seats, self.begun = [], self.begun + 1

    def act(self, batch: Mapping[str, Any]) -> np.ndarray:
        """The next action of each environment, (batch, action)."""
        return self._turns.act(self._present(batch), self._look(batch))

    def chunk(self, batch: Mapping[str, Any]) -> np.ndarray:
        """A new plan for each environment, (batch, horizon, action)."""
        return self._turns.chunk(self._present(batch), self._look(batch))

    def _look(self, batch: Mapping[str, Any]) -> Callable[[int], Observation]:
        """What each environment shows; pictures are made small once, and only if somebody looks."""
        shown = cache(lambda: observations_of(batch, self._spec))
        return lambda place: shown()[place]

    def _present(self, batch: Mapping[str, Any]) -> list[Seat]:
        count = len(batch[STATE])
        if not self._seats:
            self._seats = [Seat(seed=self._seed + 1_000_003 * self.begun + row) for row in range(count)]
        if len(self._seats) != count:
            raise ValueError(f"{count} environments, and {len(self._seats)} since the last reset: call reset() before their number changes")
        return self._seats
