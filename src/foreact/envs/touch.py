"""Whether the robot touches what the task acts on, now and over an episode: what only a simulator knows, and no policy is shown.

Hand, arm and object are those of `semantics.py`; things of other tasks, table and walls do not count. The arm counts, for a window is
often pushed open by the wrist behind the fingers. Contacts are those that stand at the end of a control step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from foreact.envs.base import Environment
from foreact.envs.semantics import ARM, HAND, OBJECT, geom_classes
from foreact.envs.simulated import Simulated

__all__ = ["ENDINGS", "Ending", "Feeler", "Touch"]

Ending = Literal["never touched", "lost", "in contact"]
ENDINGS: tuple[Ending, ...] = ("never touched", "lost", "in contact")


@dataclass(frozen=True, kw_only=True)
class Touch:
    """The contacts of one episode: after how many control steps there was one first and last, 0 for never, and after how many in all."""

    first: int = 0
    last: int = 0
    steps: int = 0

    def ending(self, length: int, *, lately: int = 20) -> Ending:
        """How an episode of so many steps stood at its end: not touched at all, touched and let go of, or touching.

        lately: what is pushed runs ahead of the hand by moments, so a contact in the last so many steps is one at the end.
        """
        if not self.steps:
            return "never touched"
        return "in contact" if self.last > length - lately else "lost"


class Feeler:
    """Feels for contacts after each control step of an episode; reads the physics and changes nothing in it."""

    def __init__(self) -> None:
        self._known: tuple[Any, np.ndarray, np.ndarray] | None = None
        self._touch: Touch | None = None

    @property
    def touch(self) -> Touch | None:
        """What was felt since the start; None in a suite that does not run on a physics within reach."""
        return self._touch

    def start(self, environment: Environment) -> None:
        self._touch = Touch() if isinstance(environment, Simulated) else None

    def feel(self, environment: Environment, step: int) -> None:
        """Call it right after the physics moved for the `step`-th time, for contacts do not outlive the step."""
        if self._touch is not None and isinstance(environment, Simulated) and self._touching(environment.simulation):
            self._touch = Touch(first=self._touch.first or step, last=step, steps=self._touch.steps + 1)

    def _touching(self, simulation: Any) -> bool:
        model, pairs = simulation.model, simulation.data.contact.geom
        if self._known is None or self._known[0] is not model:
            classes = geom_classes(model)
            self._known = (model, (classes == HAND) | (classes == ARM), classes == OBJECT)
        _, robot, thing = self._known
        return bool((robot[pairs].any(axis=-1) & thing[pairs].any(axis=-1)).any())
