"""The training loop: stages, budgets, logging, validation, checkpoints, stopping."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foreact.contract.context import Window
from foreact.contract.errors import TrainingError
from foreact.contract.progress import Meter, meter
from foreact.training import checkpoint_folder
from foreact.training.counting import counted
from foreact.training.feed import Feed
from foreact.training.interrupt import Interrupted, StopRequest
from foreact.training.learner import Learner, Outcome
from foreact.training.logging import Loggers
from foreact.training.metrics import MetricsFile
from foreact.training.parallel import Team
from foreact.training.schedule import learning_rate_factor
from foreact.training.settings import Stage, Training

__all__ = ["Loop", "Place"]


@dataclass(kw_only=True)
class Place:
    """Where training stands: saved with every checkpoint.

    step: optimiser steps done; stage, stage_step, stage_seconds: within the present stage; seconds: in all, processor_seconds: of this
    process's processors, which others on the machine do not lengthen.
    flops: operations by stage, 0 where they are not counted (training.compile); stage_flops_per_step: of one step of the present stage,
    counted on its first.
    sums: losses summed over the `count` steps since the last line of the log.
    losses, validation: the last ones logged, training losses as means.
    """

    step: int = 0
    stage: int = 0
    stage_step: int = 0
    stage_seconds: float = 0.0
    seconds: float = 0.0
    processor_seconds: float = 0.0
    flops: dict[str, float] = field(default_factory=dict)
    stage_flops_per_step: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    count: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    validation: dict[str, float] = field(default_factory=dict)


class Loop:
    """Runs the stages of `training` from `place` on. `texts(place)` gives the other files of a checkpoint."""

    def __init__(self, learner: Learner, training: Training, feed: Feed, held_out: Sequence[Window], *, folder: Path,
                 place: Place, team: Team, stop: StopRequest, loggers: Loggers, texts: Callable[[Place], Mapping[str, str]],
                 notes: Mapping[str, Any]) -> None:
        self._learner, self._training, self._feed, self._held_out = learner, training, feed, held_out
        self._checkpoints, self._place, self._team, self._stop = folder / "checkpoints", place, team, stop
        self._loggers, self._texts, self._notes = loggers, texts, notes
        self._metrics = MetricsFile(folder / "metrics.jsonl", up_to_step=place.step) if team.leads else None
        self._mark = self._logged_at = time.monotonic()
        self._processor_mark = time.process_time()
        self._saved_at = place.seconds
        self.saved: checkpoint_folder.Checkpoint | None = None

    def run(self) -> None:
        """Train to the end; raises `Interrupted` after a requested stop and `TrainingError` when a loss is not finite."""
        if self._place.step == 0:
            self._save()
        try:
            while self._place.stage < len(self._training.stages):
                self._run_stage(self._training.stages[self._place.stage])
        finally:
            if self._metrics is not None:
                self._metrics.close()

    def _run_stage(self, stage: Stage) -> None:
        place, total = self._place, float(stage.steps or stage.seconds or stage.flops or 0)
        self._mark, stopping = time.monotonic(), False
        with meter(f"training {stage.name}", total) as bar:
            while (progress := self._progress(stage)) < 1.0:
                outcome = self._step(stage, progress)
                stopping = self._tick()
                self._record(stage, outcome)
                self._show(bar, stage, total, outcome)
                if self._progress(stage) >= 1.0:
                    break
                if place.step % self._training.validation.every_steps == 0:
                    self._validate(stage)
                if stopping or self._due():
                    self._save()
                if stopping:
                    raise self._interrupted()
        self._validate(stage)
        place.stage, place.stage_step, place.stage_seconds, place.stage_flops_per_step = place.stage + 1, 0, 0.0, 0.0
        self._save()
        if stopping and place.stage < len(self._training.stages):
            raise self._interrupted()

    def _progress(self, stage: Stage) -> float:
        place = self._place
        return stage.progress(place.stage_step, place.stage_seconds, place.stage_step * place.stage_flops_per_step)

    def _interrupted(self) -> Interrupted:
        path = checkpoint_folder.folder(self._checkpoints, self._place.step)
        return Interrupted(f"stopped at step {self._place.step}, saved in {path}; the same command with --resume goes on")

    def _step(self, stage: Stage, progress: float) -> Outcome:
        place = self._place
        curve = learning_rate_factor(self._training.schedule, step=place.stage_step, progress=progress)
        try:
            parts = self._feed.take(stage.name, step=place.step, stage_step=place.stage_step)
            with counted(not self._training.compile and place.stage_step == 0) as flops:
                outcome = self._learner.step(parts, step=place.step, train=frozenset(stage.train), factor=stage.learning_rate * curve)
        except TrainingError as error:
            raise self._blame(error, stage) from error
        if place.stage_step == 0:
            place.stage_flops_per_step = flops() * self._team.size
        place.flops[stage.name] = (place.stage_step + 1) * place.stage_flops_per_step
        place.step, place.stage_step = place.step + 1, place.stage_step + 1
        return outcome

    def _blame(self, error: TrainingError, stage: Stage) -> TrainingError:
        last = checkpoint_folder.newest(self._checkpoints)
        where, rate = last.path if last is not None else "none", self._training.optimiser.learning_rate
        return TrainingError(error.what, where=f"stage {stage.name}, {error.where}", found=error.found,
                             next_step=f"the last good checkpoint is {where}; lower training.optimiser.learning_rate={rate:g}, "
                                       "or look for bad values with: foreact data check PATH")

    def _tick(self) -> bool:
        """Bring elapsed seconds up to date, the same on all processes; says whether any of them was asked to stop."""
        place, now = self._place, time.monotonic()
        passed, self._mark = now - self._mark, now
        busy = time.process_time()
        place.processor_seconds, self._processor_mark = place.processor_seconds + busy - self._processor_mark, busy
        place.seconds, place.stage_seconds, asked = self._team.largest(place.seconds + passed, place.stage_seconds + passed,
                                                                       float(self._stop.made))
        return bool(asked)

    # --- what is written ----------------------------------------------------------------------------------------------

    def _record(self, stage: Stage, outcome: Outcome) -> None:
        place = self._place
        for name, value in outcome.losses.items():
            place.sums[name] = place.sums.get(name, 0.0) + value
        place.count += 1
        if place.step % self._training.log_every != 0:
            return
        place.losses = {name: value / place.count for name, value in place.sums.items()}
        now = time.monotonic()
        rate = place.count * self._training.batch_size / max(now - self._logged_at, 1e-9)
        self._logged_at, place.sums, place.count = now, {}, 0
        self._write("train", stage, place.losses, learning_rate=outcome.learning_rate, gradient_norm=outcome.gradient_norm,
                    windows_per_second=round(rate, 3))

    def _validate(self, stage: Stage) -> None:
        if self._held_out:
            self._place.validation = self._learner.validate(self._held_out, train=frozenset(stage.train))
            self._write("validation", stage, self._place.validation)

    def _write(self, kind: str, stage: Stage, losses: Mapping[str, float], **more: float) -> None:
        if self._metrics is None:
            return
        place, total = self._place, sum(losses.values())
        self._metrics.append({"kind": kind, "step": place.step, "stage": stage.name, "seconds": round(place.seconds, 3),
                              "loss": total, "losses": losses, **more})
        self._loggers.log(place.step, {f"{kind}/{name}": value for name, value in {"loss": total, **losses, **more}.items()})

    def _show(self, bar: Meter, stage: Stage, total: float, outcome: Outcome) -> None:
        share = min(self._progress(stage), 1.0)
        bar.at(share * total, "  ".join(f"{name} {value:.4f}" for name, value in outcome.losses.items()))

    def _due(self) -> bool:
        settings, place = self._training.checkpoints, self._place
        by_steps = settings.every_steps is not None and place.step % settings.every_steps == 0
        return by_steps or (settings.every_seconds is not None and place.seconds - self._saved_at >= settings.every_seconds)

    def _save(self) -> None:
        """Write a checkpoint, then remove old ones. Every process takes part in gathering; the first one writes."""
        self._learner.check_finite()
        weights, state = self._learner.weights(), self._learner.state()
        if self._team.leads and self._metrics is not None:
            self._metrics.flush()
            content = checkpoint_folder.Content(step=self._place.step, model=weights, state=state, texts=self._texts(self._place),
                                         progress={**asdict(self._place), **self._notes})
            self.saved = checkpoint_folder.write(self._checkpoints, content)
            checkpoint_folder.prune(self._checkpoints, self._training.checkpoints.keep_last, self.saved)
        self._saved_at = self._place.seconds
        self._team.wait()
