"""Single step: a new plan before every action (survey, equation 35: C = T N_fwd(1)).

Only the first action of what is proposed is executed, whatever the horizon. The price is one plan per control step, so
the model must be faster than the robot: N_fwd(1) < 1 / f_ctrl.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Memory, Regime

__all__ = ["SingleStep"]


class SingleStep(Regime):
    """Look, act once, look again."""

    name = "Single-step"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Regime.Config):
        def check(self, horizon: int) -> None:
            """Any horizon has a first action."""

        def period(self) -> int | None:
            return 1

    def __init__(self, config: Config, horizon: int) -> None:
        config.check(horizon)
        self.config = config

    def due(self, memory: Memory) -> bool:
        return not memory.queue

    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        memory.queue = [actions[0]]
        memory.calls, memory.since_call = memory.calls + 1, 0

    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        memory.tick()
        return memory.queue.pop(0)
