"""What every player of chunks keeps of an episode."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foreact_client.client import Client, Plan
from foreact_client.holding import holding_still

__all__ = ["Player"]


class Player:
    """One action for every control step, of the plans of a served model.

    replan: actions of each plan to carry out; by default as many as it is good for, which the server says. Raises `ValueError` where a
    plan does not have so many.

    plan: the newest; held: steps held still in this episode.
    """

    def __init__(self, client: Client, replan: int | None) -> None:
        self._client, self._replan, self._horizon = client, replan, client.metadata["horizon"]
        if replan is not None and not 1 <= replan <= self._horizon:
            raise ValueError(f"replan = {replan}, but a plan has {self._horizon} actions")
        self._clear()

    def reset(self, *, seed: int | None = None, episode: str | None = None) -> None:
        """A new episode, here and on the server."""
        self._clear()
        self._client.reset(seed=seed, episode=episode)

    def _clear(self) -> None:
        self._left: list[np.ndarray] = []
        self._done: list[np.ndarray] = []
        self._last: np.ndarray | None = None
        self._seen: Mapping[str, Any] = {}
        self.plan: Plan | None = None
        self.held = 0

    def _executed(self) -> np.ndarray:
        """What was carried out since the last look."""
        return np.stack(self._done[-self._horizon:])

    def _next(self, *, held: bool) -> np.ndarray:
        """The action of this step: the next of the plan, or the robot is held still."""
        self.held += held
        self._last = holding_still(self._client.metadata, self._last, self._seen) if held else self._left.pop(0)
        self._done.append(self._last)
        return self._last
