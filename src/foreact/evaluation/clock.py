"""What a plan costs in the environment's time, and what a robot does meanwhile (survey, section 4.5).

A plan that takes `ms` milliseconds takes L = ceil(ms rate_hz / 1000) control steps of an environment that runs at rate_hz, which does not
wait. The plan is made from the observation at the step at which it was asked for, and can be acted upon L steps later.

    free       L = 0: the world waits
    charged    every plan costs `ms`, so a result is the same on every machine
    wall       every plan costs what it took, from observation to plan, made alone as for one robot; a result is that of this machine

While a plan is being made, a regime that is `concurrent` goes on with the actions that it has; any other holds still, and so does one that
has none left. Holding still is zero motion where actions are displacements, with the gripper kept as it was last told; where actions are
absolute it is the last action again, and before the first one the state's entries of the same names.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Memory, Regime
from foreact.contract.errors import ConfigError
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.envs.base import Observation
from foreact.evaluation.freezing import held_action

__all__ = ["Clock", "Mode", "Waiting", "holding", "require_holding"]

Mode = Literal["free", "charged", "wall"]
_RECENT = 10
"""Plans from whose times the next one's is foreseen under `wall`."""


@dataclass(frozen=True, kw_only=True)
class Clock:
    """mode: as above. ms: what a plan costs when `charged`."""

    mode: Mode = "free"
    ms: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.ms) and self.ms >= 0) or (self.ms > 0 and self.mode != "charged"):
            raise ConfigError("a price belongs to the clock that charges it", where="evaluation.clock_ms",
                              found=f"clock = {self.mode}, clock_ms = {self.ms}", accepted="0 or more, with clock=charged",
                              next_step="clock=charged clock_ms=100")

    def steps(self, took_ms: float, rate_hz: float) -> int:
        """Control steps that a plan costs which took `took_ms`."""
        ms = {"free": 0.0, "charged": self.ms, "wall": took_ms}[self.mode]
        return math.ceil(ms * rate_hz / 1000 - 1e-9)  # 25 ms at 80 Hz are two steps, whatever the last bit says


@dataclass
class Waiting:
    """A plan that is under way, for one episode.

    plan: the actions that will come, in `left` steps. idle: steps held still. staleness: of each plan that was acted upon, the steps
    between its observation and the first action taken from it. delays: of the latest plans.
    """

    plan: Float[np.ndarray, "horizon action"] | None = None
    left: int = 0
    idle: int = 0
    staleness: list[int] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    fresh: bool = False

    def ask(self, plan: Float[np.ndarray, "horizon action"], steps: int) -> None:
        """A plan was asked for now and will be there in `steps` steps."""
        self.plan, self.left = plan, steps
        self.delays = [*self.delays, steps][-_RECENT:]

    @property
    def expected(self) -> int:
        """Steps that the next plan is expected to take: the longest of late."""
        return max(self.delays, default=0)

    def deliver(self, memory: Memory, regime: Regime) -> None:
        """Hand over the plan if its time has come."""
        if self.plan is not None and self.left <= 0:
            plan, self.plan = self.plan, None
            regime.receive(memory, plan)
            memory.since_call, memory.waited, self.fresh = memory.waited, 0, True

    def drop(self, memory: Memory) -> None:
        """The plan that is under way is not wanted any more."""
        self.plan, memory.waited = None, 0

    def step(self, memory: Memory, regime: Regime, still: Callable[[], Float[np.ndarray, " action"]],
             ) -> Float[np.ndarray, " action"]:
        """The next action: the regime's or, where it has none while a plan is under way, that of `still`."""
        under_way = self.plan is not None
        if under_way and not (regime.concurrent and memory.queue):
            action = still()
            memory.tick()
            self.idle += 1
        else:
            if self.fresh:
                self.staleness.append(memory.since_call)
                self.fresh = False
            action = regime.act(memory)
        if under_way:
            self.left, memory.waited = self.left - 1, memory.waited + 1
        return action


def require_holding(observation: ObservationSpec, action: ActionSpec) -> None:
    """Raise `ConfigError` where nothing says how this robot holds still."""
    missing = [] if action.reference == "delta" else sorted(set(action.names) - set(observation.state.names))
    if missing:
        raise ConfigError("holding still is not defined for this robot", where="evaluation.clock",
                          found=f"absolute actions without a state of the same name: {', '.join(missing)}",
                          accepted="displacements, or a state with an entry for each action", next_step="clock=free")


def holding(observation: ObservationSpec, action: ActionSpec, last: Float[np.ndarray, " action"] | None,
            seen: Observation) -> Float[np.ndarray, " action"]:
    """The action by which this robot holds still, after its last action, None before the first."""
    if last is not None:
        return held_action(np.asarray(last, np.float32), action)
    if action.reference == "delta":
        return np.zeros(action.size, np.float32)
    state = dict(zip(observation.state.names, seen["state"], strict=True))
    return np.clip(np.float32([state[name] for name in action.names]), np.float32(action.low), np.float32(action.high))
