"""Adaptive chunking: a plan is carried out for long while the model thinks well of it, and looked at again soon when it does not.

With v_k the value of plan k, as the model gives it at the look that the plan was made at,

    K_k = soon      where  v_{k-1} - v_k > fall
          replan    elsewhere, and for the first plan

actions of plan k are carried out, so calls are spent where the value falls (survey, section 4.5, C = ceil(T / K) with a K of its own for
each plan). Whatever gives the rest of a plan up, such as a monitor or a verifier, makes the next one due at once, as under `Chunked`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Memory, Regime
from foreact.contract.errors import ConfigError, MisfitError
from foreact.regimes.chunked import Chunked

__all__ = ["Adaptive"]


class Adaptive(Regime):
    """Execute the first `replan` actions of each plan, or `soon` where its value is lower than the last one's by more than `fall`."""

    name = "Chunked"
    persistent = False
    by_value = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Regime.Config):
        """fall: in the units of the return, 0 to 1."""

        replan: int = 8
        soon: int = 2
        fall: float = 0.05

        def __post_init__(self) -> None:
            if not (math.isfinite(self.fall) and self.fall >= 0):
                raise ConfigError("a fall is 0 or more", where="model.regime.fall", found=self.fall,
                                  accepted="for instance 0.05, in the units of the return")

        def check(self, horizon: int) -> None:
            Chunked.Config(replan=self.replan).check(horizon)
            if not 1 <= self.soon <= self.replan:
                raise MisfitError("soon is no later than else", where="model.regime.soon",
                                  found=f"soon = {self.soon}, replan = {self.replan}", accepted=f"1 to {self.replan}")

        def period(self) -> int | None:
            return None  # its calls keep no fixed distance, so it fits models that see the present alone

    def __init__(self, config: Config, horizon: int) -> None:
        config.check(horizon)
        self.config, self._chunks = config, Chunked.Config(replan=config.replan).build(horizon)

    def due(self, memory: Memory) -> bool:
        return self._chunks.due(memory)

    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        before, now = memory.value_before, memory.value
        fell = before is not None and now is not None and before - now > self.config.fall
        memory.value_before = now
        self._chunks.receive(memory, actions[: self.config.soon] if fell else actions)

    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        return self._chunks.act(memory)
