"""Chunked closed loop: a new plan every `replan` steps (survey, equation 34: C = ceil(T / K) N_fwd(K))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Memory, Regime
from foreact.contract.errors import MisfitError

__all__ = ["Chunked"]


class Chunked(Regime):
    """Execute the first `replan` actions of each plan, then look again."""

    name = "Chunked"
    persistent = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Regime.Config):
        replan: int = 8

        def check(self, horizon: int) -> None:
            if not 1 <= self.replan <= horizon:
                raise MisfitError("the replan period does not fit the action chunk", where="model.regime.replan",
                                  found=f"replan = {self.replan}, model.coupling.horizon = {horizon}", accepted=f"1 to {horizon}",
                                  next_step="lower model.regime.replan or raise model.coupling.horizon")

        def period(self) -> int | None:
            return self.replan

    def __init__(self, config: Config, horizon: int) -> None:
        config.check(horizon)
        self.config = config

    def due(self, memory: Memory) -> bool:
        return not memory.queue

    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        memory.queue = list(actions[: self.config.replan])
        memory.calls, memory.since_call = memory.calls + 1, 0

    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        memory.tick()
        return memory.queue.pop(0)
