"""One seat of a gymnasium vector environment: takes a whole chunk of actions per step, draws only when somebody will look.

A vector step moves every seat from one plan to the next, so all seats are due together, plans are batched at full width,
and nothing is rendered in between. An episode begins by `reset(options={"episodes": {seat index: Episode}})`; a seat that
is given None rests. Autoreset is off: what follows an episode is the caller's affair.

Under a rollback rule a seat keeps its environment's instant at every look for a plan, and goes back to the look named by
`recall`; of the instants it drops those that `held` does not name. Steps that were spent before still count against the horizon.

Where rules ask for it, a look also sees what will come if the scripted expert takes over; the world then stands as it stood.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from foreact.acting.consistency import Distance
from foreact.acting.execution import Execution
from foreact.acting.verifiers import Verifier
from foreact.contract.config import Config
from foreact.envs.base import Environment, Observation, Snapshot
from foreact.envs.disturbance import Disturbance, disturb
from foreact.envs.touch import Feeler
from foreact.evaluation.clock import Clock
from foreact.evaluation.controller import OutOfBounds, Policy, within_bounds
from foreact.evaluation.foresight import Foresight
from foreact.evaluation.guard import Guard
from foreact.evaluation.policies import ScriptedExpert
from foreact.evaluation.recovery import NOWHERE
from foreact.selection.rollback import Rollback
from foreact.selection.selectors import Selector

__all__ = ["DRIVE", "STOP", "Episode", "Footage", "Slot", "SlotRules", "vector"]

DRIVE = -1
"""As a count: let the seat's own policy drive to the end."""
STOP = -2
"""As a count: end the episode without a step."""
_LAST = 2**31 - 1


@dataclass(frozen=True, kw_only=True, order=True)
class Episode:
    """One trial: a task under a condition, begun from a seed."""

    condition: str
    task: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class SlotRules:
    """What every seat of an evaluation has in common. `environment` is a template: task and condition are filled in.

    foresee: steps ahead at which each look for a plan also sees what will have come if the scripted expert takes over.
    """

    environment: Config
    policy: Policy.Config | None
    out_of_bounds: OutOfBounds = "clip"
    stop_after_success: bool = True
    footage: bool = False
    rollback: Rollback | None = None
    foresight: Foresight = "own"
    foresee: tuple[int, ...] = ()
    consistency: Distance = "off"
    consistency_teacher: str | None = None
    freeze: int | None = None
    selector: Selector.Config | None = None
    guard: Guard | None = None
    verifier: Verifier.Config | None = None
    disturb: Disturbance | None = None
    clock: Clock = field(default_factory=Clock)
    execution: Execution = field(default_factory=Execution)

    @property
    def instants(self) -> int:
        """How many instants of the environment each seat keeps, at most."""
        return self.rollback.buffer if self.rollback is not None and self.rollback.restorable else 0

    def environment_for(self, episode: Episode) -> Config:
        return replace(self.environment, task=episode.task, condition=episode.condition)


@dataclass
class Footage:
    """What a seat saw and did in one episode, kept only when asked for.

    undone: for each restoration, what was seen last before it; `observations` then shows the restored instant at that step.
    """

    observations: list[Observation]
    actions: list[np.ndarray]
    success: list[bool]
    undone: list[Observation] = field(default_factory=list)


@dataclass(frozen=True)
class _Instant:
    snapshot: Snapshot
    success: bool
    held: bool


class Slot(gymnasium.Env[dict[str, Any], dict[str, Any]]):
    """Actions: {"actions": (horizon, action), "count": how many of them, or `DRIVE` or `STOP`, "recall": the look to go back to before
    that, or `NOWHERE`, "held": the looks that may yet be gone back to, then `NOWHERE`}. The last step ends the episode."""

    def __init__(self, index: int, rules: SlotRules, first: Episode) -> None:
        self._index, self._rules = index, rules
        self._built: tuple[Config, Environment] | None = None
        self._policy = None if rules.policy is None else rules.policy.build()
        self._environment = self._environment_of(first)
        observation, self._action_spec = self._environment.specs
        self.observation_space = gymnasium.spaces.Dict({
            "images": gymnasium.spaces.Dict({c.name: gymnasium.spaces.Box(0, 255, (3, c.height, c.width), np.uint8)
                                             for c in observation.cameras}),
            "state": gymnasium.spaces.Box(-np.inf, np.inf, (observation.state.size,), np.float32)})
        ahead = (len(rules.foresee), 3)
        if rules.foresee:
            self.observation_space["coming"] = gymnasium.spaces.Dict({
                c.name: gymnasium.spaces.Box(0, 255, (*ahead, c.height, c.width), np.uint8) for c in observation.cameras})
        self.action_space = gymnasium.spaces.Dict({
            "actions": gymnasium.spaces.Box(-np.inf, np.inf, (rules.environment.horizon, self._action_spec.size), np.float32),
            "count": gymnasium.spaces.Box(STOP, rules.environment.horizon, (), np.int64),
            "recall": gymnasium.spaces.Box(NOWHERE, _LAST, (), np.int64),
            "held": gymnasium.spaces.Box(NOWHERE, _LAST, (max(rules.instants, 1),), np.int64)})
        self._seen: dict[str, Any] = {
            "images": {c.name: np.zeros((3, c.height, c.width), np.uint8) for c in observation.cameras},
            "state": np.zeros(observation.state.size, np.float32),
            **({"coming": {c.name: np.zeros((*ahead, c.height, c.width), np.uint8) for c in observation.cameras}} if rules.foresee else {})}
        self._resting, self._feeler = True, Feeler()
        self._instants: dict[int, _Instant] = {}
        self.footage = Footage([], [], [])

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        super().reset(seed=seed)
        episode: Episode | None = (options or {})["episodes"][self._index]
        self._resting = episode is None
        if episode is None:
            return self._seen, {}
        self._environment = self._environment_of(episode)
        self._environment.start(episode.seed)
        if self._policy is not None:
            self._policy.start(self._environment, episode.seed)
        self._steps, self._outside, self._success, self._held = 0, 0, False, False
        self._feeler.start(self._environment)
        self._digest, self._looks, self._instants = hashlib.sha256(), 0, {}
        self.footage = Footage([], [], [])
        looked_ms = self._look() if self._policy is None or self._rules.footage else 0.0
        look = self._keep()
        return self._seen, {"instruction": self._environment.instruction, "observe_ms": looked_ms, "look": look}

    def step(self, action: Mapping[str, Any]) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        if self._resting:
            return self._seen, 0.0, False, False, {}
        if int(action["recall"]) != NOWHERE:
            self._go_back(self._instants[int(action["recall"])])
        held = set(np.asarray(action["held"]).tolist())
        self._instants = {look: instant for look, instant in self._instants.items() if look in held}
        count = int(action["count"])
        truncated = count == STOP
        remaining = self._rules.environment.horizon if count == DRIVE else count
        for index in range(remaining):
            chosen = self._policy.act(self._environment) if count == DRIVE else action["actions"][index]
            truncated = self._act(chosen)
            if truncated or self._finished:
                break
        over = truncated or self._finished
        looked_ms = 0.0 if over or self._rules.footage else self._look()
        info = {"steps": self._steps, "success": self._success, "held": self._held, "outside": self._outside,
                "observe_ms": looked_ms, "look": NOWHERE if over else self._keep(), "digest": self._digest.hexdigest()[:16],
                "touch": self._feeler.touch}
        return self._seen, 0.0, self._finished, truncated and not self._finished, info

    def try_out(self, plans: Mapping[int, np.ndarray]) -> list[Observation] | None:
        """What is seen after each candidate of this seat, executed from the present, which then stands as before.

        `plans`: by seat, (candidate, steps, action); None where this seat is not among them.
        """
        if self._index not in plans:
            return None
        before, seen = self._environment.snapshot(), []
        for actions in plans[self._index]:
            for chosen in actions:
                if self._environment.advance(within_bounds(chosen, self._action_spec, "clip")[0]).truncated:
                    break
            seen.append(self._environment.observe())
            self._environment.restore(before)
        return seen

    def close(self) -> None:
        if self._built is not None:
            self._built[1].close()
            self._built = None

    @property
    def _finished(self) -> bool:
        return self._success and self._rules.stop_after_success

    def _act(self, chosen: np.ndarray) -> bool:
        """Execute one action; whether the horizon is reached."""
        action, outside = within_bounds(chosen, self._action_spec, self._rules.out_of_bounds)
        if self._rules.disturb is not None and self._steps == self._rules.disturb.step:
            disturb(self._environment, self._rules.disturb)
        result = self._environment.advance(action)
        self._digest.update(action.tobytes())
        self._steps, self._outside = self._steps + 1, self._outside + outside
        self._feeler.feel(self._environment, self._steps)
        self._held, self._success = result.success, self._success or result.success
        if self._rules.footage:
            self.footage.actions.append(action)
            self.footage.success.append(result.success)
            self._look()
        return result.truncated or self._steps >= self._rules.environment.horizon  # the environment's own count is restored with it

    def _keep(self) -> int:
        """The number of this look; its instant is kept where it may be gone back to."""
        look, self._looks = self._looks, self._looks + 1
        if self._rules.foresee:
            self._seen = {**self._seen, "coming": self._coming()}
        if self._rules.instants:
            self._instants[look] = _Instant(self._environment.snapshot(), self._success, self._held)
        return look

    def _coming(self) -> dict[str, np.ndarray]:
        """By camera, the pictures that the expert would bring about; past the horizon the last one stays."""
        before, expert, pictures = self._environment.snapshot(), ScriptedExpert.Config().build(), []
        expert.start(self._environment, 0)
        step, over, images = 0, self._steps >= self._rules.environment.horizon, self._seen["images"]
        for ahead in self._rules.foresee:
            while step < ahead and not over:
                action, _ = within_bounds(expert.act(self._environment), self._action_spec, "clip")
                over = self._environment.advance(action).truncated
                step += 1
            images = self._environment.observe()["images"] if step == ahead else images
            pictures.append(images)
        self._environment.restore(before)
        return {name: np.stack([each[name] for each in pictures]) for name in pictures[0]}

    def _go_back(self, instant: _Instant) -> None:
        """The world as it was then; success that was undone is no success."""
        self._environment.restore(instant.snapshot)
        self._success, self._held = instant.success, instant.held
        if self._rules.footage:
            self.footage.undone.append(self.footage.observations.pop())
            self._look()

    def _look(self) -> float:
        start = time.perf_counter()
        observation = self._environment.observe()
        self._seen = {**self._seen, "images": observation["images"], "state": observation["state"]}
        if self._rules.footage:
            self.footage.observations.append(observation)
        return 1e3 * (time.perf_counter() - start)

    def _environment_of(self, episode: Episode) -> Environment:
        """The environment of this episode's task and condition; the one before it is closed."""
        config = self._rules.environment_for(episode)
        if self._built is None or self._built[0] != config:
            self.close()
            self._built = (config, config.build())
        return self._built[1]


def vector(rules: SlotRules, first: Episode, count: int, *, own_processes: bool = False) -> VectorEnv:
    """`count` seats stepped together: in this process, or each in its own, which pays where rendering has cores to itself."""
    seats: list[Callable[[], Slot]] = [lambda index=index: Slot(index, rules, first) for index in range(count)]
    if own_processes:
        return AsyncVectorEnv(seats, context="spawn", autoreset_mode=AutoresetMode.DISABLED)
    return SyncVectorEnv(seats, autoreset_mode=AutoresetMode.DISABLED)
