"""Demonstrations by Meta-World's scripted experts, as plain arrays.

With noise, the executed action is the expert's plus a disturbance while the label stays the expert's: the policy then
learns to recover (DART: Laskey et al. 2017, arXiv:1703.09327). The label is clipped to the action spec, as Meta-World
itself does before it moves the hand.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreact.contract.errors import ConfigError
from foreact.envs.metaworld import MetaWorld

__all__ = ["Episode", "Expert", "demonstrate"]


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One demonstration of T steps. Row t: what was seen, what the expert wanted, what was executed, what it brought.

    images: per camera uint8 (T, 3, height, width). state, action, executed_action: float32 (T, .).
    reward: float32 (T,), success: bool (T,), both after the action of the row.
    """

    task: str
    seed: int
    condition: str
    instruction: str
    noisy: bool
    images: dict[str, NDArray[np.uint8]]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    executed_action: NDArray[np.float32]
    reward: NDArray[np.float32]
    success: NDArray[np.bool_]
    annotations: dict[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def length(self) -> int:
        return len(self.action)

    @property
    def succeeded(self) -> bool:
        return bool(self.success.any())


@dataclass(frozen=True, kw_only=True)
class Expert:
    """How a demonstration is made.

    noise_std: standard deviation of Gaussian noise on the executed displacement (not on the gripper), in action units.
    noisy_fraction: share of episodes that get it; the seed alone decides which.
    noise_hold: steps for which one draw of the noise is kept; longer carries the hand further off.
    steps_after_success: the episode ends so many steps after the first success, or at the horizon.
    """

    noise_std: float = 0.3
    noisy_fraction: float = 0.5
    noise_hold: int = 1
    steps_after_success: int = 5

    def __post_init__(self) -> None:
        if self.noise_std < 0 or not 0 <= self.noisy_fraction <= 1 or self.noise_hold < 1 or self.steps_after_success < 0:
            raise ConfigError("a value of the expert is out of range", where="expert", found=self,
                              accepted="noise_std >= 0, noisy_fraction in [0, 1], noise_hold >= 1, steps_after_success >= 0")


def demonstrate(env: MetaWorld, seed: int, expert: Expert) -> Episode:
    """The expert's episode of `seed`, successful or not. Depends on its arguments alone."""
    from metaworld.policies import ENV_POLICY_MAP

    policy = ENV_POLICY_MAP[f"{env.task}-v3"]()
    draw = np.random.Generator(np.random.PCG64((seed, 0x6E6F697365)))
    noisy = bool(draw.random() < expert.noisy_fraction) and expert.noise_std > 0
    rows: dict[str, list[Any]] = {name: [] for name in ("images", "state", "action", "executed", "reward", "success")}
    env.start(seed)
    left, noise = None, np.zeros(3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Constant", module="metaworld")
        while left is None or left > 0:
            seen = env.observe()
            action = np.clip(policy.get_action(env.privileged), -1, 1).astype(np.float32)
            executed = action.copy()
            if noisy:
                if len(rows["action"]) % expert.noise_hold == 0:
                    noise = draw.normal(0.0, expert.noise_std, 3)
                executed[:3] = np.clip(executed[:3] + noise, -1, 1)
            result = env.advance(executed)
            for name, value in (("images", seen["images"]), ("state", seen["state"]), ("action", action),
                                ("executed", executed), ("reward", result.reward), ("success", result.success)):
                rows[name].append(value)
            if left is not None:
                left -= 1
            elif result.success:
                left = expert.steps_after_success
            if result.truncated:
                break
    return Episode(
        task=env.task, seed=seed, condition=env.config.condition, instruction=env.instruction, noisy=noisy,
        images={name: np.stack([row[name] for row in rows["images"]]) for name in env.config.cameras},
        state=np.stack(rows["state"]), action=np.stack(rows["action"]), executed_action=np.stack(rows["executed"]),
        reward=np.array(rows["reward"], np.float32), success=np.array(rows["success"], np.bool_),
    )
