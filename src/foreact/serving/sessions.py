"""A session: what the server remembers of one client's episode, for as long as the client is there or may come back.

A name that nobody can guess belongs to each session. A client whose connection broke gives it on a new one and goes on where it was; the
older connection, should it still hang on, is let go. At most as many sessions are kept without a connection as may be connected: the one
that waits longest goes first.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from foreact.acting.consistency import Awaited
from foreact.contract.axes import Memory, Session
from foreact.envs.base import Observation
from foreact.selection.monitor import Monitor

__all__ = ["Served", "Sessions"]


@dataclass
class Served:
    """One session. offered: the last plan, clipped; assumed: how many of its actions are counted as executed until the client says
    otherwise. awaited, monitor: what was imagined and how that came, where sessions are watched. answered: number and bytes of the last
    answer. episodes: how many began. left: since when it has no connection."""

    name: str
    seed: int
    episode: str | None = None
    memory: Memory = field(default_factory=Memory)
    seen: list[Observation] = field(default_factory=list)
    executed: list[np.ndarray] = field(default_factory=list)
    session: Session | None = None
    offered: np.ndarray | None = None
    assumed: int = 0
    awaited: Awaited = field(default_factory=Awaited)
    monitor: Monitor | None = None
    answered: tuple[int, bytes] | None = None
    episodes: int = 0
    holder: object | None = None
    left: float | None = None

    def begin(self, seed: int, episode: str | None) -> None:
        """A new episode: nothing of the last one is left."""
        self.seed, self.episode, self.memory, self.session = seed, episode, Memory(), None
        self.seen, self.executed, self.offered, self.assumed = [], [], None, 0
        self.awaited, self.monitor = Awaited(), None
        self.episodes += 1

    def carried_out(self, given: int | np.ndarray | None, *, keep: int) -> None:
        """Put what the client says in place of what was assumed of the last plan; of all actions only the last `keep` are kept."""
        if given is not None and self.offered is not None:
            done = self.offered[:given] if isinstance(given, int) else given
            del self.executed[len(self.executed) - self.assumed:]
            self.executed.extend(done)
            self.memory.steps += len(done) - self.assumed
        self.offered, self.assumed = None, 0
        del self.executed[: max(0, len(self.executed) - keep)]


class Sessions:
    """All sessions of a server; used by its event loop alone."""

    def __init__(self, *, most: int, keep_seconds: float, seed: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._keep, self._seed, self._clock = most, keep_seconds, seed, clock
        self._all: dict[str, Served] = {}

    @property
    def connected(self) -> int:
        return sum(served.holder is not None for served in self._all.values())

    @property
    def waiting(self) -> int:
        """Sessions without a connection."""
        return len(self._all) - self.connected

    def open(self, holder: object) -> Served:
        """A new session for this connection."""
        served = Served(name=secrets.token_hex(16), seed=self._seed, holder=holder)
        self._all[served.name] = served
        return served

    def adopt(self, name: str, holder: object) -> tuple[Served | None, object | None]:
        """The session of that name, now of this connection, and the connection that had it; None where it is not known."""
        served = self._all.get(name)
        if served is None:
            return None, None
        before, served.holder, served.left = served.holder, holder, None
        return served, before

    def leave(self, served: Served, holder: object) -> None:
        """The connection is gone. A session that never planned, and one that somebody else has now, are not kept for it."""
        if served.holder is not holder:
            return
        served.holder, served.left = None, self._clock()
        if served.answered is None and not served.memory.calls:
            self.end(served)
        self.expire()

    def end(self, served: Served) -> None:
        self._all.pop(served.name, None)

    def expire(self) -> int:
        """Let go of sessions that nobody came back for; returns how many."""
        left = sorted((s for s in self._all.values() if s.left is not None), key=lambda s: s.left)
        old = [s for i, s in enumerate(left) if self._clock() - s.left > self._keep or len(left) - i > self._most]
        for served in old:
            self.end(served)
        return len(old)
