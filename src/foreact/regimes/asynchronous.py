"""Asynchronous chunking: the next chunk is computed while this one runs, which hides its latency (survey, sections 4.5.2 and 5.2).

An observation is taken and a plan asked for every `replan` steps; the actions at hand are executed until it comes, d steps later. Its
first d actions belong to steps that are over by then. What becomes of them:

    none       nothing: the new chunk begins with its first action, d steps late
    drop       they are dropped: execution goes on at action d, and the new chunk knows nothing of the d actions executed meanwhile
    inpaint    dropped too, but the actions that will be executed meanwhile were given to the model as a condition, so that the new chunk
               goes on from them: real-time chunking (arXiv 2506.07339); see `flow/inpainting.py`

With d = 0 all three are `Chunked`. Under a clock, d is what the clock says. Where a chunk runs out before the next comes the robot waits:
replan + d should not exceed the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Memory, Regime
from foreact.regimes.chunked import Chunked

__all__ = ["Asynchronous"]


class Asynchronous(Regime):
    """Look every `replan` steps, and act on what is at hand meanwhile."""

    name = "Chunked"
    persistent = False
    concurrent = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Regime.Config):
        replan: int = 8
        compensation: Literal["none", "drop", "inpaint"] = "inpaint"

        def check(self, horizon: int) -> None:
            Chunked.Config(replan=self.replan).check(horizon)

        def period(self) -> int | None:
            return self.replan

        @property
        def inpaints(self) -> bool:
            return self.compensation == "inpaint"

    def __init__(self, config: Config, horizon: int) -> None:
        config.check(horizon)
        self.config = config

    def due(self, memory: Memory) -> bool:
        return not memory.queue or memory.since_call >= self.config.replan

    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        over = 0 if self.config.compensation == "none" else memory.waited
        memory.queue = list(actions[over:])
        memory.calls, memory.since_call = memory.calls + 1, memory.waited

    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        memory.tick()
        return memory.queue.pop(0)
