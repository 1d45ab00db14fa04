"""Whether the rest of a plan still holds at what is seen while it is carried out; where it does not, it is given up and a new one made.

A verifier is asked every `every` steps after the look that the plan was made at. It sees that look, what is seen now, what was done since
and what is left to do; it neither sees nor changes how plans are made. One's own is a class as below; the name of its config then stands
for it in settings.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from foreact.acting.consistency import motion
from foreact.contract.config import Buildable, Config
from foreact.contract.errors import ConfigError
from foreact.contract.specs import ActionSpec
from foreact.envs.base import Observation

__all__ = ["Stuck", "Verifier"]


class Verifier(Buildable, ABC):
    """Judges plans under way; holds nothing of an episode."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(action)`. every: control steps from one question to the next."""

        every: int = 4

        def __post_init__(self) -> None:
            if self.every < 1:
                raise ConfigError("a verifier is asked every so many steps", where="verifier.every", found=self.every, accepted="1 or more")

    def __init__(self, config: Config, action: ActionSpec) -> None:
        self.config, self.action = config, action

    @abstractmethod
    def holds(self, then: Observation, now: Observation, done: Float[np.ndarray, "steps action"],
              left: Float[np.ndarray, "rest action"]) -> bool:
        """Whether the plan made at `then` is to be carried on with at `now`; done: since then, left: of the plan."""


class Stuck(Verifier):
    """A plan does not hold where its actions commanded motion and the robot's state stayed as it was: something is in the way."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Verifier.Config):
        """moving: the least motion, as a share of the most that the robot takes. still: the most that any entry of the state may have
        changed, in its own unit."""

        moving: float = 0.1
        still: float = 0.002

        def __post_init__(self) -> None:
            super().__post_init__()
            for name in ("moving", "still"):
                if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                    raise ConfigError("a threshold is 0 or more", where=f"verifier.{name}", found=getattr(self, name))

    def holds(self, then: Observation, now: Observation, done: Float[np.ndarray, "steps action"],
              left: Float[np.ndarray, "rest action"]) -> bool:
        changed = float(np.abs(now["state"] - then["state"]).max(initial=0.0))
        return motion(done, self.action) <= self.config.moving or changed > self.config.still
