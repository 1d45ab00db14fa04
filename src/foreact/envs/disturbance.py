"""The world secretly changed while an episode runs, for tests of what notices it: the policy is told nothing.

    teleport   the task's thing is elsewhere by `size` metres, level, in a direction drawn from the seed of the episode
    push       the hand is shoved so far by something that the robot does not feel, level too
    friction   every contact has `size` times the friction that it had

The change comes before the action of step `step`, and lasts. A thing's goal stays where it was, so a teleported thing may make its task
impossible. Directions depend on the seed alone, so that runs stay comparable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from foreact.contract.config import Config
from foreact.contract.errors import ConfigError
from foreact.envs.base import Environment
from foreact.envs.metaworld import MetaWorld
from foreact.envs.semantics import OBJECT, body_classes

__all__ = ["Disturbance", "disturb", "require_disturbable"]

_STREAM = 0xD15
"""Apart from whatever else is drawn from the seed of an episode."""
_FREE = 0
"""MuJoCo's number for a joint that leaves a body free."""


@dataclass(frozen=True, kw_only=True)
class Disturbance:
    """What changes, before which control step, and by how much: metres, or a factor of the friction."""

    step: int = 40
    kind: Literal["teleport", "push", "friction"] = "teleport"
    size: float = 0.1

    def __post_init__(self) -> None:
        if self.step < 0 or not math.isfinite(self.size) or self.size <= 0:
            raise ConfigError("a disturbance has a step and a size", where="disturb", found=f"step = {self.step}, size = {self.size}",
                              accepted="step 0 or more; size above zero: metres, or a factor of the friction")


def require_disturbable(config: Config) -> None:
    """Raise `ConfigError` for an environment that cannot be changed so."""
    if not isinstance(config, MetaWorld.Config):
        raise ConfigError("this suite cannot be secretly changed", where="evaluation.disturb", found=type(config).__qualname__,
                          accepted="tasks of Meta-World", next_step="disturb=null")


def disturb(environment: Environment, rule: Disturbance) -> None:
    """Change the world now."""
    assert isinstance(environment, MetaWorld), "the evaluation refuses others"
    raw = environment.simulation
    angle = np.random.default_rng([environment.seed, _STREAM]).uniform(0, 2 * np.pi)
    shift = rule.size * np.array([np.cos(angle), np.sin(angle), 0.0])
    if rule.kind == "push":
        raw.data.mocap_pos[0] += shift
    elif rule.kind == "friction":
        raw.model.geom_friction *= rule.size
    else:
        _move(raw.model, raw.data, shift)


def _move(model: Any, data: Any, shift: np.ndarray) -> None:
    """Every thing of the task that is free, or has parts that move: the former by its place, the latter with what it stands on."""
    classes = body_classes(model)
    for root in np.unique(model.body_rootid[model.jnt_bodyid]):
        if classes[root] != OBJECT:
            continue
        joint = model.body_jntadr[root]
        if joint >= 0 and model.jnt_type[joint] == _FREE:
            start = model.jnt_qposadr[joint]
            data.qpos[start:start + 3] += shift
        else:
            model.body_pos[root] += shift
