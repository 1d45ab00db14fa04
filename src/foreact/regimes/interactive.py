"""Interactive: called again and again with a memory that it carries (survey, equation 36: C_int(t) = N_fwd^cached(M(t)))."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Memory, Regime
from foreact.regimes.chunked import Chunked

__all__ = ["Interactive"]


class Interactive(Regime):
    """A new plan every `replan` steps, from one session for each episode: the coupling's memory M(t) is kept from call to call.

    Executed as `Chunked` does. What was imagined for the executed steps gives way to what was seen and done. M(t) is bounded by
    the coupling.
    """

    name = "Interactive"
    persistent = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Regime.Config):
        replan: int = 8

        def check(self, horizon: int) -> None:
            Chunked.Config(replan=self.replan).check(horizon)

        def period(self) -> int | None:
            return self.replan

    def __init__(self, config: Config, horizon: int) -> None:
        config.check(horizon)
        self.config, self._chunks = config, Chunked.Config(replan=config.replan).build(horizon)

    def due(self, memory: Memory) -> bool:
        return self._chunks.due(memory)

    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        self._chunks.receive(memory, actions)

    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        return self._chunks.act(memory)
