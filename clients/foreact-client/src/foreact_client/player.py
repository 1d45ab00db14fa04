"""Plays the chunks of a served model one action at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foreact_client.client import Client
from foreact_client.playing import Player

__all__ = ["ChunkPlayer"]


class ChunkPlayer(Player):
    """Asks for a plan when the last one is used up, and hands out its actions one by one.

    replan: actions of each plan to carry out; by default as many as the model was trained to, which the server says. latency: control
    steps for which the robot holds still until a plan is there, as for a simulator, whose world would wait otherwise.

    plan: the newest; held: steps held still in this episode.
    """

    def __init__(self, client: Client, *, replan: int | None = None, latency: int = 0) -> None:
        if latency < 0:
            raise ValueError(f"latency = {latency}: a plan is not there before it is asked for")
        self._latency = latency
        super().__init__(client, replan)

    @property
    def due(self) -> bool:
        """Whether the next action needs a look."""
        return not self._left

    def act(self, look: Callable[[], Mapping[str, Any]], *, imagine: bool = False, monitor: bool = False) -> np.ndarray:
        """The action of this control step; `look` gives the observation and is called only when a plan is due."""
        if self.due:
            self._seen = look()
            executed = None if self.plan is None else self._executed()
            self.plan = self._client.plan(self._seen, executed=executed, imagine=imagine, monitor=monitor)
            self._left, self._done, self._waits = list(self.plan.actions[: self._replan or self.plan.replan]), [], self._latency
        held = self._waits > 0
        self._waits -= held
        return self._next(held=held)

    def _clear(self) -> None:
        super()._clear()
        self._waits = 0
