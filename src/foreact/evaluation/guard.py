"""The monitor in closed loop: what is done when it raises an alarm (see `selection/monitor.py`).

    record   nothing: the alarm stands in the record
    replan   the rest of the chunk is dropped and a plan is made at once; what had been imagined is given up with it
    stop     the robot asks for help: the episode ends there, counted as asked for help and not as a success

A frame comes due between two plans only where an offset of the future is no multiple of the regime's period; elsewhere a plan is due
anyway when an alarm rises, and `replan` differs from `record` in what it gives up alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from foreact.contract.config import decode, encode
from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.storage import atomic_write_json
from foreact.model import WorldActionModel
from foreact.selection.monitor import Calibration, Frame, Monitor

if TYPE_CHECKING:
    from foreact.evaluation.controller import Seat

__all__ = ["FORMAT", "Guard", "MonitorAction", "read_calibration", "write_calibration"]

MonitorAction = Literal["record", "replan", "stop"]
FORMAT = "foreact-monitor-1"


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
            seat.memory.queue.clear()
            seat.memory.chunks = []
            seat.waiting.drop(seat.memory)
            seat.forget()
        seat.asked = self.action == "stop"

    def require_for(self, model: WorldActionModel) -> None:
        """Raise `ConfigError` where a plan cannot be made early."""
        if self.action != "replan":
            return
        regime, history = model.regime, model.config.coupling.history
        if regime.persistent or history > 1 or regime.config.period() is None:
            raise ConfigError("this model cannot be asked for a plan ahead of its time", where="evaluation.monitor_action", found="replan",
                              accepted="a regime that calls again, without a memory or a history of fixed stride",
                              next_step="monitor_action=record or stop")


def write_calibration(calibration: Calibration, path: Path | str) -> None:
    """As one JSON file, whole or not at all."""
    atomic_write_json(path, {"format": FORMAT, **encode(calibration)})


def read_calibration(path: Path | str) -> Calibration:
    """What `write_calibration` wrote; raises `DatasetError` where it is not there or is something else."""
    try:
        kept = json.loads(Path(path).read_text())
        if kept.pop("format") != FORMAT:
            raise KeyError("format")
        return decode(Calibration, kept, where=str(path))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, KeyError, ConfigError) as error:
        raise DatasetError("this is no calibration of a monitor", where=str(path), found=f"{type(error).__name__}: {error}",
                           accepted="a file that `foreact monitor calibrate` wrote",
                           next_step="foreact monitor calibrate RUN --evaluation NAME") from error
