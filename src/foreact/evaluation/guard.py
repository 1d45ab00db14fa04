"""The monitor in closed loop: what is done when it raises an alarm (see `selection/monitor.py`).

    record   nothing: the alarm stands in the record
    replan   the rest of the chunk is dropped and a plan is made at once; what had been imagined is given up with it
    stop     the robot asks for help: the episode ends there, counted as asked for help and not as a success

A frame comes due between two plans only where an offset of the future is no multiple of the regime's period; elsewhere a plan is due
anyway when an alarm rises, and `replan` differs from `record` in what it gives up alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from foreact.contract.errors import ConfigError
from foreact.model import WorldActionModel
from foreact.selection.monitor import Calibration, Frame, Monitor

if TYPE_CHECKING:
    from foreact.evaluation.controller import Seat

__all__ = ["Guard", "MonitorAction", "give_up", "require_early"]

MonitorAction = Literal["record", "replan", "stop"]


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A monitor for every seat, and what its alarms do."""

    calibration: Calibration
    action: MonitorAction = "record"

    def see(self, seat: Seat, came: Sequence[Frame]) -> None:
        """What came due for this seat, before anything is planned there."""
        if seat.monitor is None:
            seat.monitor = Monitor(self.calibration)
        if not seat.monitor.see(seat.memory.steps, came):
            return
        if self.action == "replan":
            give_up(seat)
        seat.asked = self.action == "stop"

    def require_for(self, model: WorldActionModel) -> None:
        """Raise `ConfigError` where a plan cannot be made early."""
        if self.action == "replan":
            require_early(model, where="evaluation.monitor_action", found="replan", next_step="monitor_action=record or stop")


def give_up(seat: Seat) -> None:
    """The rest of the plan is dropped, what is under way and what was imagined with it: the next one is due at once."""
    seat.memory.queue.clear()
    seat.memory.chunks = []
    seat.waiting.drop(seat.memory)
    seat.forget()


def require_early(model: WorldActionModel, *, where: str, found: str, next_step: str) -> None:
    """Raise `ConfigError` where a plan cannot be made ahead of its time."""
    regime, history = model.regime, model.config.coupling.history
    if regime.persistent or history > 1 or regime.name == "Open-loop":
        raise ConfigError("this model cannot be asked for a plan ahead of its time", where=where, found=found,
                          accepted="a regime that calls again, without a memory or a history of fixed stride", next_step=next_step)
