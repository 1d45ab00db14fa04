"""What one plan costs, of many policies side by side: they take turns on the same observations, in one process.

A machine is never twice the same, so numbers that are to be compared are taken by turns: in every round each policy plans once, in an
order that shifts from round to round, alone as for one robot. Time is told by the laps of `contract/stopwatch.py`, which add up to the
whole, from observation to plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from foreact.acting.lanes import Choosing, Lanes
from foreact.contract.config import Config
from foreact.contract.errors import ConfigError
from foreact.contract.stopwatch import LAPS, PREPROCESSING, Stopwatch
from foreact.envs.base import Observation
from foreact.evaluation.controller import Seat, within_bounds
from foreact.evaluation.policies import ScriptedExpert
from foreact.evaluation.statistics import Percentiles
from foreact.model import WorldActionModel
from foreact.selection.selectors import Selector

__all__ = ["WARM", "Contender", "Pace", "Trail", "recorded", "take_turns"]

WARM = 2
"""Plans of each policy before the first that is timed."""


@dataclass(frozen=True, kw_only=True)
class Trail:
    """An episode as it was seen every `every` control steps. executed: the actions before each look but the first."""

    seed: int
    observations: tuple[Observation, ...]
    executed: tuple[tuple[np.ndarray, ...], ...]


def recorded(environment: Config, tasks: Sequence[str], *, seed: int, looks: int, every: int) -> list[Trail]:
    """One trail of the scripted expert for each task, with at most so many looks: what every policy is shown while it is timed."""
    found = []
    for task in tasks:
        env, expert = replace(environment, task=task).build(), ScriptedExpert.Config().build()
        try:
            env.start(seed)
            expert.start(env, seed)
            observations, executed, over = [env.observe()], [], False
            while len(observations) < looks and not over:
                actions = []
                while len(actions) < every and not over:
                    actions.append(within_bounds(expert.act(env), env.specs[1], "clip")[0])
                    over = env.advance(actions[-1]).truncated
                observations.append(env.observe())
                executed.append(tuple(actions))
        finally:
            env.close()
        found.append(Trail(seed=seed, observations=tuple(observations), executed=tuple(executed)))
    return found


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A policy that is timed: its model, and what chooses among candidates, if anything does."""

    model: WorldActionModel
    selector: Selector.Config | None = None


@dataclass
class Pace:
    """What one policy took, in ms: every plan's whole, and its laps by name, which add up to it."""

    total: list[float] = field(default_factory=list)
    laps: list[Mapping[str, float]] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Percentiles of the whole and of each lap that was ever run. The laps' shares are of the mean, for percentiles do not add."""
        named = [name for name in LAPS if any(name in laps for laps in self.laps)]
        each = {name: [laps.get(name, 0.0) for laps in self.laps] for name in named}
        return {**_told(self.total), "mean": float(np.mean(self.total)), "n": len(self.total),
                "laps": {name: {**_told(ms), "mean": float(np.mean(ms))} for name, ms in each.items()}}


def _told(values: Sequence[float]) -> dict[str, float]:
    found = Percentiles.of(values)
    assert found is not None
    return {"p50": found.p50, "p95": found.p95}


class _Runner:
    """One contender on its way along the trails; at each trail's beginning its memory begins anew."""

    def __init__(self, contender: Contender, trails: Sequence[Trail]) -> None:
        self._model, self._trails = contender.model, trails
        self._lanes = Lanes(contender.model, lanes=1, alone=True, remembers=contender.model.regime.persistent)
        self._choosing = None if contender.selector is None else Choosing(contender.selector.build())
        self._places = [(trail, look) for trail in trails for look in range(len(trail.observations))]
        self._settle: Callable[[], None] = torch.cuda.synchronize if contender.model.device.type == "cuda" else _nothing
        self._seat, self._count = Seat(seed=0), 0

    def plan(self) -> Stopwatch:
        """The next plan on the way, timed."""
        trail, look = self._places[self._count % len(self._places)]
        self._count += 1
        if look == 0:
            self._seat = Seat(seed=trail.seed)
        else:
            self._seat.executed += trail.executed[look - 1]
        with Stopwatch(PREPROCESSING, settle=self._settle) as watch:
            self._lanes.show(self._seat, trail.observations[look])
            self._lanes.plan([self._seat], None, self._choosing)
        self._seat.memory.calls += 1
        return watch


def take_turns(contenders: Mapping[str, Contender], trails: Mapping[str, Sequence[Trail]], *, rounds: int,
               told: Callable[[int], None] = lambda done: None) -> dict[str, Pace]:
    """Time each contender `rounds` times along its trails, one after another in every round; `told` hears how many rounds are done."""
    if rounds < 1:
        raise ConfigError("at least one round is timed", where="rounds", found=rounds)
    runners = {name: _Runner(contender, trails[name]) for name, contender in contenders.items()}
    paces: dict[str, Pace] = {name: Pace() for name in runners}
    for round_ in range(-WARM, rounds):
        first = round_ % max(len(runners), 1)
        names = list(runners)
        for name in names[first:] + names[:first]:
            watch = runners[name].plan()
            if round_ >= 0:
                paces[name].total.append(watch.total_ms)
                paces[name].laps.append(dict(watch.ms))
        told(round_ + 1)
    return paces


def _nothing() -> None:
    """A processor has nothing to wait for."""
