"""Plays the chunks of a served model one action at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foreact_client.client import Client, Plan

__all__ = ["ChunkPlayer"]


class ChunkPlayer:
    """Asks for a plan when the last one is used up, and hands out its actions one by one.

    replan: actions of each plan to carry out; by default as many as the model was trained to, which the server says.
    """

    def __init__(self, client: Client, *, replan: int | None = None) -> None:
        horizon = client.metadata["horizon"]
        if replan is not None and not 1 <= replan <= horizon:
            raise ValueError(f"replan = {replan}, but a plan has {horizon} actions")
        self._client, self._replan = client, replan
        self._left: list[np.ndarray] = []
        self._done: list[np.ndarray] | None = None
        self.plan: Plan | None = None

    def reset(self, *, seed: int | None = None, episode: str | None = None) -> None:
        """A new episode, here and on the server."""
        self._left, self._done, self.plan = [], None, None
        self._client.reset(seed=seed, episode=episode)

    @property
    def due(self) -> bool:
        """Whether the next action needs a look."""
        return not self._left

    def act(self, look: Callable[[], Mapping[str, Any]], *, imagine: bool = False) -> np.ndarray:
        """The next action; `look` gives the observation and is called only when a plan is due."""
        if self.due:
            executed = None if self._done is None else np.stack(self._done)
            self.plan = self._client.plan(look(), executed=executed, imagine=imagine)
            self._left, self._done = list(self.plan.actions[: self._replan or self.plan.replan]), []
        action = self._left.pop(0)
        self._done.append(action)
        return action
