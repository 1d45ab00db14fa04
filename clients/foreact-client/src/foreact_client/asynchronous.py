"""Plays the chunks of a served model while the next one is made, so that a robot does not stand still for every plan.

A plan is asked for every `replan` actions, in a thread. Until it comes, what is left of the last one goes on. It was made from an
observation that is d actions old by then, so its first d actions belong to steps that are over and are dropped. With d = 0 this is a
`ChunkPlayer`. As long as replan + d does not exceed the horizon of a plan, the robot waits for the first plan alone.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np

from foreact_client.client import Client, Plan
from foreact_client.playing import Player

__all__ = ["AsynchronousPlayer"]


class AsynchronousPlayer(Player):
    """One action for every control step, at once: of the newest plan at hand, or `holding_still` where there is none.

    replan: actions from one look to the next; by default as many as each plan is good for, which the server says. latency: control
    steps after which a plan is there, as for a simulator, whose world would wait otherwise: then nothing depends on how fast the server
    is. None: it is there when it has come, as on a robot; call `act` at the robot's rate.

    plan: the newest at hand; waited: the steps that it took; held: steps held still in this episode.
    """

    def __init__(self, client: Client, *, replan: int | None = None, latency: int | None = None) -> None:
        horizon = client.metadata["horizon"]
        if latency is not None and not 0 <= latency < horizon:
            raise ValueError(f"latency = {latency}, but a plan of {horizon} actions is over after {horizon} steps")
        self._latency = latency
        self._coming: Future[Plan] | None = None
        super().__init__(client, replan)

    def reset(self, *, seed: int | None = None, episode: str | None = None) -> None:
        """A new episode, here and on the server; a plan that is under way is waited for and forgotten."""
        if self._coming is not None:
            with suppress(Exception):  # what went wrong with it is of the last episode
                self._coming.result()
        super().reset(seed=seed, episode=episode)

    @property
    def due(self) -> bool:
        """Whether the next step needs a look; a plan that has come is taken first."""
        self._take()
        return self._coming is None and (not self._left or self._since >= (self._replan or self.plan.replan))

    def act(self, look: Callable[[], Mapping[str, Any]], *, imagine: bool = False, monitor: bool = False) -> np.ndarray:
        """The action of this control step; `look` gives the observation and is called only where a plan is to be asked for.

        What went wrong with a plan is raised here, once it should be there.
        """
        if self.due:
            self._ask(look(), imagine=imagine, monitor=monitor)
            self._take()  # at once, where it takes no step
        self._since += 1
        self._steps += self._coming is not None
        return self._next(held=not self._left)

    def _clear(self) -> None:
        super()._clear()
        self._coming, self._steps, self._since = None, 0, 0
        self._asked = False
        self.waited = 0

    def _ask(self, seen: Mapping[str, Any], **wanted: bool) -> None:
        """Ask for a plan, in a thread that does not outlive this process."""
        coming: Future[Plan] = Future()
        executed = self._executed() if self._asked and self._done else None

        def ask() -> None:
            try:
                coming.set_result(self._client.plan(seen, executed=executed, **wanted))
            except BaseException as error:
                coming.set_exception(error)

        self._seen, self._done, self._steps, self._asked, self._coming = seen, [], 0, True, coming
        threading.Thread(target=ask, name="foreact-client", daemon=True).start()

    def _take(self) -> None:
        """The plan that was asked for takes the place of the old one, if its time has come."""
        coming = self._coming
        if coming is None or (not coming.done() if self._latency is None else self._steps < self._latency):
            return
        self._coming = None
        self.plan = coming.result()
        self._left, self.waited, self._since = list(self.plan.actions[self._steps:]), self._steps, self._steps
