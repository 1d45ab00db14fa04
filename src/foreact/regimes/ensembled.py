"""Temporal ensembling: an action is the average of all chunks that cover its step (ACT, arXiv 2304.13705, section IV-B).

    a_t = sum_i w_i a_t^(i) / sum_i w_i,   w_i = exp(-decay age_i),   age_i: control steps since chunk i's observation

With decay > 0 the newest chunk weighs most. ACT's own weights exp(-m rank), oldest first, with m = 0.01 and a plan at every step, are
decay = -0.01 and replan = 1, the oldest weighing most; it is the default. What is not a quantity is not averaged: half of "open" and half
of "closed" is no command, so the gripper's entry is the weighted median, a value that some chunk did propose. Displacements of a rotation
are averaged, as they are small; a mean of absolute rotations is no rotation, and such actions are refused.

While a plan is being made the older chunks are followed. A late plan takes its place in time: actions of steps that are over are dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from foreact.contract.axes import Chunk, Memory, Regime
from foreact.regimes.chunked import Chunked

__all__ = ["Ensembled"]


class Ensembled(Regime):
    """Look every `replan` steps, and act on the mean of what was planned for each step."""

    name = "Chunked"
    persistent = False
    concurrent = True
    averages = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Regime.Config):
        replan: int = 1
        decay: float = -0.01

        def check(self, horizon: int) -> None:
            Chunked.Config(replan=self.replan).check(horizon)

        def period(self) -> int | None:
            return self.replan

    def __init__(self, config: Config, horizon: int) -> None:
        config.check(horizon)
        self.config = config

    def due(self, memory: Memory) -> bool:
        return not memory.queue or memory.since_call >= self.config.replan

    def receive(self, memory: Memory, actions: Float[np.ndarray, "horizon action"]) -> None:
        chunks = [*memory.chunks, Chunk(actions=np.asarray(actions), age=memory.waited)]
        memory.chunks = [chunk for chunk in chunks if chunk.age < len(chunk.actions)]
        ahead = max((len(chunk.actions) - chunk.age for chunk in memory.chunks), default=0)
        memory.queue = [self._mixed(memory.chunks, step) for step in range(ahead)]  # ages grow together, so the weights' ratios stay
        memory.calls, memory.since_call = memory.calls + 1, memory.waited

    def act(self, memory: Memory) -> Float[np.ndarray, " action"]:
        memory.tick()
        memory.chunks = [Chunk(actions=chunk.actions, age=chunk.age + 1) for chunk in memory.chunks]
        return memory.queue.pop(0)

    def _mixed(self, chunks: list[Chunk], step: int) -> Float[np.ndarray, " action"]:
        """The action `step` steps from now."""
        cover = [chunk for chunk in chunks if chunk.age + step < len(chunk.actions)]
        proposed = np.stack([chunk.actions[chunk.age + step] for chunk in cover])
        weights = np.exp(-self.config.decay * np.array([chunk.age for chunk in cover], np.float64))
        mixed = (weights / weights.sum()) @ proposed
        if self.action is not None and self.action.gripper is not None:
            index = self.action.gripper.index
            mixed[index] = _median(proposed[:, index], weights)
        return mixed.astype(proposed.dtype)


def _median(values: Float[np.ndarray, " chunks"], weights: Float[np.ndarray, " chunks"]) -> float:
    """The lowest value at which half of the weight is reached."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) >= weights.sum() / 2
    return float(values[order][np.argmax(reached)])
