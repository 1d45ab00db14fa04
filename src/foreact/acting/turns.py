"""Action by action for whoever asks: episodes under way, each with its regime's memory; those that are due are planned together.

For hosts that show every observation and want one action for each: the evaluation loops of other projects. The server and this
project's own evaluation, which look only when the regime wants to, plan by `foreact.acting.lanes` themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from foreact.acting.lanes import Lanes
from foreact.contract.axes import Memory, Session
from foreact.envs.base import Observation
from foreact.model import WorldActionModel

__all__ = ["Seat", "Turns"]


@dataclass(eq=False)
class Seat:
    """One episode under way: see `foreact.acting.lanes.Acting`. A new episode is a new seat. seed: of its noise."""

    seed: int
    memory: Memory = field(default_factory=Memory)
    seen: list[Observation] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    session: Session | None = None


class Turns:
    """Actions of `model` under its own regime, inside the bounds of its spec. lanes: see `Lanes`.

    What is handed out counts as carried out.
    """

    def __init__(self, model: WorldActionModel, *, lanes: int) -> None:
        self._regime, self._period, coupling = model.regime, model.config.regime.period(), model.config.coupling
        self._lanes = Lanes(model, lanes=lanes, alone=self._regime.persistent)
        self._low, self._high = np.float32(model.action.low), np.float32(model.action.high)
        self._keep = max(coupling.past_actions, coupling.horizon)

    def act(self, seats: Sequence[Seat], look: Callable[[int], Observation]) -> Float[np.ndarray, "seat action"]:
        """The next action of each seat. Those whose regime is due are planned from what they see: `look(place)`, asked of them alone."""
        due = [i for i, seat in enumerate(seats) if self._regime.due(seat.memory)]
        for i, actions in self._planned(seats, look, due).items():
            self._regime.receive(seats[i].memory, actions)
        found = np.stack([np.clip(self._regime.act(seat.memory), self._low, self._high) for seat in seats])
        for seat, action in zip(seats, found, strict=True):
            self._carried_out(seat, [action])
        return found

    def chunk(self, seats: Sequence[Seat], look: Callable[[int], Observation]) -> Float[np.ndarray, "seat horizon action"]:
        """A new plan for each seat, whatever the regime; up to the regime's next call it counts as carried out."""
        planned = self._planned(seats, look, list(range(len(seats))))
        for i, seat in enumerate(seats):
            seat.memory.calls += 1
            self._carried_out(seat, list(planned[i][: self._period]))
        return np.stack([planned[i] for i in range(len(seats))])

    def _planned(self, seats: Sequence[Seat], look: Callable[[int], Observation], chosen: list[int]) -> dict[int, np.ndarray]:
        """By place, the actions of the new plan of each chosen seat."""
        if not chosen:
            return {}
        for i in chosen:
            self._lanes.show(seats[i], look(i))
        found = {}
        for made in self._lanes.plan([seats[i] for i in chosen]):
            actions = made.plan.actions[: made.size].float().cpu().numpy()
            if not np.isfinite(actions).all():
                raise FloatingPointError("the model gave actions that are not finite")
            found |= {chosen[made.part.start + row]: np.clip(actions[row], self._low, self._high) for row in range(made.size)}
        return found

    def _carried_out(self, seat: Seat, actions: list[np.ndarray]) -> None:
        seat.executed = [*seat.executed, *actions][-self._keep:]
