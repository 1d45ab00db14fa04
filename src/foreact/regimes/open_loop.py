"""Open loop: one plan for the whole episode (survey, equation 33: C = N_fwd(T))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Memory, Regime
from foreact.contract.errors import MisfitError

__all__ = ["OpenLoop"]


class OpenLoop(Regime):
    """Call the model once; when its window is spent, repeat its last action until the episode ends."""

    name = "Open-loop"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Regime.Config):
        def check(self, horizon: int) -> None:
            if horizon < 2:
                raise MisfitError("an open loop needs a window of several steps", where="model.regime",
                                  found=f"model.coupling.horizon = {horizon}", accepted="2 or more, best the length of the task",
                                  next_step="raise model.coupling.horizon")

        def period(self) -> int | None:
            return None

    def __init__(self, config: Config, horizon: int) -> None:
        config.check(horizon)
        self.config = config

    def due(self, memory: Memory) -> bool:
        return memory.calls == 0

    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        memory.queue = list(actions)
        memory.calls, memory.since_call = memory.calls + 1, 0

    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        memory.tick()
        return memory.queue.pop(0) if len(memory.queue) > 1 else memory.queue[0]
