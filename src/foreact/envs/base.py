"""What every environment offers beyond gymnasium: lazy pictures, exact rewind, specs and a protocol.

A policy that replans every k steps needs one picture in k. So stepping and looking are two verbs: `advance` moves the
physics and never draws, `observe` draws. Gymnasium's `step` is the one after the other.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypedDict

import gymnasium
import numpy as np
from numpy.typing import NDArray

from foreact.contract.config import Config
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.specs import ActionSpec, ObservationSpec

__all__ = ["DEVELOPMENT_SEEDS", "EVALUATION_SEEDS", "LOOKS", "TRAINING_SEEDS", "Advance", "Condition", "Environment", "Observation",
           "Snapshot", "Suite", "check_action", "require_look"]

TRAINING_SEEDS = range(500_000)
"""Seeds from which demonstrations are collected."""
DEVELOPMENT_SEEDS = range(500_000, 1_000_000)
"""Seeds to look at while choosing and tuning."""
EVALUATION_SEEDS = range(1_000_000, 2_000_000)
"""Seeds for reported results only."""

Condition = Literal["clean", "random", "semantic", "instance"]
"""`clean` as in training; `random`: other looks; `semantic`: other tasks' things stand in the scene; `instance`: the task's thing in
shapes and sizes never shown. Not every suite offers the last two: `require_look` refuses them."""
LOOKS: tuple[Condition, ...] = ("clean", "random")
"""Conditions that change only what is drawn: any episode of the one can be drawn in the other. The others change the scene itself."""


class Observation(TypedDict):
    """What a policy may see. images: per camera uint8 (3, height, width), upright RGB; state: float32 (state,)."""

    images: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    instruction: str


@dataclass(frozen=True, kw_only=True)
class Advance:
    """What one control step brought. `truncated`: the horizon is reached, nothing further is accepted."""

    reward: float
    success: bool
    truncated: bool


@dataclass(frozen=True)
class Snapshot:
    """An instant of an environment as named plain arrays: `np.savez(file, **snapshot.arrays)` keeps it."""

    arrays: Mapping[str, NDArray[Any]]


class Environment(gymnasium.Env[Observation, NDArray[np.float32]], abc.ABC):
    """A simulated robot and its task. `reset(seed=s)` gives the same start whatever happened before."""

    @property
    @abc.abstractmethod
    def specs(self) -> tuple[ObservationSpec, ActionSpec]:
        """Cameras, proprioception and actions, with units and conventions."""

    @abc.abstractmethod
    def advance(self, action: NDArray[np.float32]) -> Advance:
        """One control step without a picture. Raises `SpecError` for an action outside the spec, or past the horizon."""

    @abc.abstractmethod
    def observe(self) -> Observation:
        """Draw all cameras now and read the state."""

    @abc.abstractmethod
    def snapshot(self) -> Snapshot:
        """This instant, physics and task, to the last bit."""

    @abc.abstractmethod
    def restore(self, snapshot: Snapshot) -> None:
        """Go back to `snapshot`; what follows repeats exactly. It must come from an environment of the same config."""

    @abc.abstractmethod
    def protocol(self) -> dict[str, Any]:
        """Everything that a success rate depends on, as plain JSON values."""

    @abc.abstractmethod
    def start(self, seed: int) -> None:
        """Begin the episode of `seed`, without a picture."""

    @property
    @abc.abstractmethod
    def instruction(self) -> str:
        """What the present episode asks for."""

    @property
    @abc.abstractmethod
    def seed(self) -> int:
        """The seed of the present episode."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Gymnasium's reset. Without a seed one is drawn; `info["seed"]` tells which."""
        super().reset(seed=seed)
        self.start(int(self.np_random.integers(2**31)) if seed is None else int(seed))
        return self.observe(), {"seed": self.seed, "success": False}

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Gymnasium's step: `advance`, then `observe`. Success terminates."""
        result = self.advance(action)
        return self.observe(), result.reward, result.success, result.truncated, {"seed": self.seed, "success": result.success}


class Suite(Environment):
    """A family of tasks under one name. `robot`: what moves; `tasks`: the names of all its tasks, which no other suite has."""

    suite: ClassVar[str]
    robot: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]
    config: Any
    task: str

    @staticmethod
    @abc.abstractmethod
    def task_name(task: str) -> str:
        """The task's own name for what a person wrote; raises `ConfigError` that names the nearest."""

    @staticmethod
    @abc.abstractmethod
    def describe(config: Config) -> tuple[ObservationSpec, ActionSpec]:
        """The specs of an environment that need not be built."""

    @staticmethod
    @abc.abstractmethod
    def rules(config: Config) -> dict[str, Any]:
        """The protocol of an environment that need not be built."""

    @property
    def specs(self) -> tuple[ObservationSpec, ActionSpec]:
        return self.describe(self.config)

    def protocol(self) -> dict[str, Any]:
        return self.rules(self.config)


def require_look(condition: Condition, suite: str) -> None:
    """Raise `ConfigError` for a condition that changes the scene, in a suite that offers none such."""
    if condition not in LOOKS:
        raise ConfigError(f"{suite} does not offer this condition", where="env.condition", found=condition, accepted=", ".join(LOOKS),
                          next_step="evaluate under one of these, or tasks of Meta-World")


def check_action(action: NDArray[Any], spec: ActionSpec) -> NDArray[np.float32]:
    """`action` as float32 (action,), or a `SpecError` when it is of another size, not finite or out of bounds."""
    array = np.asarray(action, dtype=np.float32)
    if array.shape != (spec.size,):
        raise SpecError("the action has the wrong size", where="action", found=array.shape,
                        accepted=f"({spec.size},): {', '.join(spec.names)}")
    if not np.isfinite(array).all():
        raise SpecError("the action is not finite", where="action", found=array.tolist(), accepted="finite numbers",
                        next_step="look for NaN in the policy's output")
    low, high = np.float32(spec.low), np.float32(spec.high)
    if (array < low).any() or (array > high).any():
        raise SpecError("the action is out of bounds", where="action", found=array.tolist(),
                        accepted=f"{list(spec.low)} to {list(spec.high)}",
                        next_step="clip it where it is made, so that the log shows what was executed")
    return array
