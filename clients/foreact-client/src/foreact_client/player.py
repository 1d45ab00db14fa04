"""Plays the chunks of a served model one action at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foreact_client.client import Client, Plan
from foreact_client.holding import holding_still

__all__ = ["ChunkPlayer"]


class ChunkPlayer:
    """Asks for a plan when the last one is used up, and hands out its actions one by one.

    replan: actions of each plan to carry out; by default as many as the model was trained to, which the server says. latency: control
    steps for which the robot holds still until a plan is there, as for a simulator, whose world would wait otherwise.

    plan: the newest; held: steps held still in this episode.
    """

    def __init__(self, client: Client, *, replan: int | None = None, latency: int = 0) -> None:
        horizon = client.metadata["horizon"]
        if replan is not None and not 1 <= replan <= horizon:
            raise ValueError(f"replan = {replan}, but a plan has {horizon} actions")
        if latency < 0:
            raise ValueError(f"latency = {latency}: a plan is not there before it is asked for")
        self._client, self._replan, self._latency, self._horizon = client, replan, latency, horizon
        self._clear()

    def reset(self, *, seed: int | None = None, episode: str | None = None) -> None:
        """A new episode, here and on the server."""
        self._clear()
        self._client.reset(seed=seed, episode=episode)

    @property
    def due(self) -> bool:
        """Whether the next action needs a look."""
        return not self._left

    def act(self, look: Callable[[], Mapping[str, Any]], *, imagine: bool = False, monitor: bool = False) -> np.ndarray:
        """The action of this control step; `look` gives the observation and is called only when a plan is due."""
        if self.due:
            self._seen = look()
            executed = None if self.plan is None else np.stack(self._done[-self._horizon:])
            self.plan = self._client.plan(self._seen, executed=executed, imagine=imagine, monitor=monitor)
            self._left, self._done, self._waits = list(self.plan.actions[: self._replan or self.plan.replan]), [], self._latency
        if self._waits:
            self._waits, self.held = self._waits - 1, self.held + 1
            action = holding_still(self._client.metadata, self._last, self._seen)
        else:
            action = self._left.pop(0)
        self._last = action
        self._done.append(action)
        return action

    def _clear(self) -> None:
        self._left: list[np.ndarray] = []
        self._done: list[np.ndarray] = []
        self._waits, self._last = 0, None
        self._seen: Mapping[str, Any] = {}
        self.plan: Plan | None = None
        self.held = 0
