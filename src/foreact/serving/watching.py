"""A monitor for every session: what its plans imagined, held against what it sees later (see `selection/monitor.py`).

A frame is compared where a look falls on the step that it was imagined for; one that falls between two looks is never seen. What is told
are the scores in multiples of their thresholds, so an alarm is where one rises above 1. No action depends on any of it.
"""

from __future__ import annotations

from typing import Any

from foreact.acting.consistency import Witness
from foreact.acting.identity import content_of, weights_of
from foreact.contract.context import Future, Plan
from foreact.contract.errors import ConfigError
from foreact.envs.base import Observation
from foreact.model import WorldActionModel
from foreact.selection.calibration_file import read_calibration
from foreact.selection.monitor import KINDS, Monitor
from foreact.serving.metrics import Metrics
from foreact.serving.sessions import Served

__all__ = ["Watch"]


class Watch:
    """What watches the sessions of one model, by the calibration in `path`; teacher: the folder in whose features, where it is perceptual.

    Raises `ConfigError` where that was calibrated for another model.
    """

    def __init__(self, model: WorldActionModel, path: str, metrics: Metrics, *, teacher: str | None = None) -> None:
        self._calibration, self._metrics = read_calibration(path), metrics
        content = content_of(model.config, model.observation, model.action, weights_of(model))
        self._calibration.require_for(content, self._calibration.distance, where=f"serve.monitor: {path}")
        if self._calibration.distance == "perceptual" and teacher is None:
            raise ConfigError("in whose features?", where="serve.monitor_teacher", found="null",
                              accepted="a folder that `foreact teacher train` has written", next_step="monitor_teacher=FOLDER")
        self._witness = Witness(model, self._calibration.distance, teacher)

    def rehearse(self, served: Served, plan: Plan) -> None:
        """Compare once, so that nobody waits for set-up. Raises `ConfigError` where plans come without a future."""
        if plan.future is None:
            raise ConfigError("a model that acts without imagining cannot be watched by what it imagined", where="serve.monitor",
                              accepted="a model whose plans hold a future", next_step="monitor=null")
        self.expect(served, 0, plan.future, 0, plan.actions[0].float().cpu().numpy())
        self._witness.see(served.awaited, plan.future.offsets[0], served.seen[-1])

    def see(self, served: Served, observation: Observation) -> dict[str, Any]:
        """What a session sees now; gives what is told of it. scores: None until a frame came due."""
        step = served.memory.steps
        if served.monitor is None:
            served.monitor = Monitor(self._calibration)
        raised = served.monitor.see(step, self._witness.see(served.awaited, step, observation))
        for alarm in raised:
            self._metrics.count("foreact_alarms_total", alarm.kind)
        scores = served.monitor.scores[-1] if served.monitor.scores else None
        served.awaited.realised.clear()  # a session may go on for days
        del served.monitor.scores[:-1], served.monitor.alarms[:]
        told = {kind: None if scores is None else getattr(scores, kind) for kind in KINDS}
        return {**told, "step": None if scores is None else scores.step, "alarms": [alarm.kind for alarm in raised]}

    def expect(self, served: Served, step: int, future: Future, row: int, actions: Any) -> None:
        """A plan was made at `step` from what the session saw last."""
        self._witness.expect(served.awaited, step, served.seen[-1], future, row, actions)
