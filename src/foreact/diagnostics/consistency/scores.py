"""Episodes with their consistency, from the records of an evaluation.

An episode's consistency is the mean over its frames of log C = -d / tau, and within each task (and condition) it becomes a z-score. So tau,
which scales all alike, drops out of everything that is made of it; the paper's own mean of C would keep it.

Frames count until which the robot did what the plan said, where there are any; else, as under a regime that looks again before a frame is
due, all. An episode that succeeds ends, so its frames are from earlier on the way than those of one that fails, and a difference may be one
between stretches of the way. Told from what was imagined before some step (`before`), all episodes are told from the same stretch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from foreact.contract.errors import DatasetError

__all__ = ["FRAME", "Frame", "Record", "Scored", "of_steps", "scored", "tasks_of", "z_within"]

FRAME = np.dtype([("step", np.int64), ("offset", np.int64), ("distance", np.float64), ("change", np.float64), ("imagined", np.float64)])
"""A frame as an entry of an array: imagined at `step` for `step + offset`; imagined: the change that was imagined, NaN where not kept."""


class Frame(Protocol):
    """An imagined frame that came due, as evaluations keep it."""

    step: int
    offset: int
    distance: float
    change: float
    on_plan: bool


class Record(Protocol):
    """An episode, as evaluations keep it."""

    task: str
    condition: str
    seed: int
    success: bool
    consistency: Sequence[Frame]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Episodes, one entry each. task: with its condition, where there are several. log_c: mean log C; z: the same within the task;
    frames: of each, an array of `FRAME`.

    on_plan: whether only frames count until which the robot did what the plan said. tau: the scale of log C.
    """

    task: np.ndarray
    seed: Int[np.ndarray, " episode"]
    success: Bool[np.ndarray, " episode"]
    log_c: Float[np.ndarray, " episode"]
    z: Float[np.ndarray, " episode"]
    frames: np.ndarray
    on_plan: bool
    tau: float

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.task.tolist()))

    def every(self, name: str) -> np.ndarray:
        """That entry of all frames."""
        return np.concatenate([own[name] for own in self.frames])

    @property
    def skill(self) -> float:
        """1 - mean d / mean change: what imagining explains of what changed; 0 for a future in which nothing moves."""
        return float(1 - self.every("distance").mean() / max(self.every("change").mean(), 1e-12))

    def at(self, chosen: np.ndarray) -> Scored:
        """These episodes, by place or by mask."""
        return Scored(on_plan=self.on_plan, tau=self.tau,
                      **{f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name not in ("on_plan", "tau")})

    def of(self, *tasks: str) -> Scored:
        return self.at(np.isin(self.task, tasks))

    def told_by(self, values: Float[np.ndarray, " episode"]) -> Scored:
        """The same episodes by another score of each."""
        return replace(self, log_c=values, z=z_within(values, self.task))


def z_within(values: Float[np.ndarray, " episode"], task: np.ndarray) -> Float[np.ndarray, " episode"]:
    """Less the task's mean, in deviations of the task."""
    z = np.zeros(len(values))
    for name in set(task.tolist()):
        mine = task == name
        z[mine] = (values[mine] - values[mine].mean()) / max(values[mine].std(), 1e-12)
    return z


def scored(records: Sequence[Record], *, tau: float = 1.0, offset: int | None = None, before: int | None = None) -> Scored:
    """Episodes in which something came due; raises `DatasetError` where there are none.

    offset: frames so far ahead only. before: those imagined before this control step only.
    """
    frames = [[one for one in record.consistency if offset in (None, one.offset) and (before is None or one.step < before)]
              for record in records]
    on_plan = any(one.on_plan for own in frames for one in own)
    frames = [[one for one in own if one.on_plan or not on_plan] for own in frames]
    pairs = [(record, own) for record, own in zip(records, frames, strict=True) if own]
    if not pairs:
        raise DatasetError("no imagined frame came due", where="episodes.jsonl", found=f"{len(records)} episodes",
                           accepted="an evaluation with consistency=latent, pixel, perceptual or flow",
                           next_step="foreact eval RUN consistency=latent")
    kept = np.empty(len(pairs), dtype=object)
    kept[:] = [np.array([tuple(_entry(one, name) for name in FRAME.names) for one in own], dtype=FRAME) for _, own in pairs]
    log_c, task = np.array([-own["distance"].mean() / tau for own in kept]), np.array(tasks_of([record for record, _ in pairs]))
    return Scored(task=task, seed=np.array([record.seed for record, _ in pairs]), log_c=log_c, z=z_within(log_c, task), frames=kept,
                  on_plan=on_plan, tau=tau, success=np.array([bool(record.success) for record, _ in pairs]))


def tasks_of(records: Sequence[Record]) -> list[str]:
    """The task of each; a task under several conditions is several tasks, since a condition may be harder to imagine."""
    several = len({record.condition for record in records}) > 1
    return [f"{record.task}, {record.condition}" if several else record.task for record in records]


def of_steps(frames: np.ndarray, name: str) -> tuple[Int[np.ndarray, " step"], Float[np.ndarray, " step"]]:
    """Steps at which frames were imagined, rising, and the mean of an entry over the frames of each."""
    steps, place = np.unique(frames["step"], return_inverse=True)
    return steps, np.bincount(place, frames[name]) / np.bincount(place)


def _entry(frame: Frame, name: str) -> float:
    value = getattr(frame, name, None)  # older records do not say what was imagined
    return float("nan") if value is None else value
