"""Episodes under way in a batch of environments, each with its regime's memory, planned together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreact.acting.lanes import Lanes
from foreact.contract.axes import Memory, Session
from foreact.data.lerobot.batches import observations_of
from foreact.envs.base import Observation
from foreact.model import WorldActionModel

__all__ = ["Episodes", "Seat"]


@dataclass(eq=False)
class Seat:
    """One environment's episode: see `foreact.acting.lanes.Acting`."""

    seed: int
    memory: Memory = field(default_factory=Memory)
    seen: list[Observation] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    session: Session | None = None


class Episodes:
    """`begin` forgets everything; the number of environments is that of the first batch after it.

    Each episode's noise follows from `seed`, from how often episodes were begun, and from the environment's place in the batch.
    """

    def __init__(self, model: WorldActionModel, *, seed: int, lanes: int) -> None:
        self._model, self._seed, self._regime, coupling = model, seed, model.regime, model.config.coupling
        self._lanes = Lanes(model, lanes=lanes, alone=self._regime.persistent)
        self._low, self._high = np.float32(model.action.low), np.float32(model.action.high)
        self._keep = max(coupling.past_actions, coupling.horizon)
        self._seats: list[Seat] = []
        self.begun = 0

    def begin(self) -> None:
        self._seats, self.begun = [], self.begun + 1

    def act(self, batch: Mapping[str, Any]) -> np.ndarray:
        """The next action of each environment, (batch, action), inside the bounds of the spec; plans where the regime is due."""
        seats = self._present(batch)
        due = [row for row, seat in enumerate(seats) if self._regime.due(seat.memory)]
        for row, actions in self._planned(batch, due).items():
            self._regime.receive(seats[row].memory, actions)
        found = np.stack([np.clip(self._regime.act(seat.memory), self._low, self._high) for seat in seats])
        for seat, action in zip(seats, found, strict=True):
            self._carried_out(seat, [action])
        return found

    def chunk(self, batch: Mapping[str, Any]) -> np.ndarray:
        """A new plan for each environment, (batch, horizon, action), whatever the regime; counted as carried out up to its next call."""
        seats = self._present(batch)
        planned = self._planned(batch, list(range(len(seats))))
        period = self._model.config.regime.period()
        for row, seat in enumerate(seats):
            seat.memory.calls += 1
            self._carried_out(seat, list(planned[row][:period]))
        return np.stack([planned[row] for row in range(len(seats))])

    def _present(self, batch: Mapping[str, Any]) -> list[Seat]:
        count = len(batch["observation.state"])
        if not self._seats:
            self._seats = [Seat(seed=self._seed + 1_000_003 * self.begun + row) for row in range(count)]
        if len(self._seats) != count:
            raise ValueError(f"{count} environments, and {len(self._seats)} since the last reset: call reset() before the number changes")
        return self._seats

    def _planned(self, batch: Mapping[str, Any], rows: list[int]) -> dict[int, np.ndarray]:
        """By environment, the actions of its new plan, inside the bounds."""
        if not rows:
            return {}
        shown, seats, found = observations_of(batch, self._model.observation), [self._seats[row] for row in rows], {}
        for row, seat in zip(rows, seats, strict=True):
            self._lanes.show(seat, shown[row])
        for made in self._lanes.plan(seats):
            actions = made.plan.actions[: made.size].float().cpu().numpy()
            if not np.isfinite(actions).all():
                raise FloatingPointError("the model gave actions that are not finite")
            found |= {rows[made.part.start + i]: np.clip(actions[i], self._low, self._high) for i in range(made.size)}
        return found

    def _carried_out(self, seat: Seat, actions: list[np.ndarray]) -> None:
        seat.executed = [*seat.executed, *actions][-self._keep:]
