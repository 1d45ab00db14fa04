"""Which episodes are worth watching, and how they are filmed: run again, from the same seed, with every frame drawn.

So filming costs the measured episodes nothing, and success need not be known beforehand. The second run must execute the
same actions to the last bit, or it would show something else than what was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.contract.errors import ForeactError
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.evaluation.recording import Recording, RecordingMeta
from foreact.evaluation.rollout import EpisodeRecord, Finished

__all__ = ["Videos", "recording_of", "worth_filming"]


@dataclass(frozen=True, kw_only=True)
class Videos:
    """How many successes and failures are filmed for each task and condition: those of the lowest seeds."""

    successes: int = 0
    failures: int = 0


def worth_filming(records: Sequence[EpisodeRecord], wanted: Videos) -> list[EpisodeRecord]:
    """The chosen records; fewer where there are not as many."""
    chosen = []
    for cell in dict.fromkeys((r.condition, r.task) for r in records):
        mine = sorted((r for r in records if (r.condition, r.task) == cell), key=lambda r: r.seed)
        chosen += [r for r in mine if r.success][: wanted.successes] + [r for r in mine if not r.success][: wanted.failures]
    return chosen


def recording_of(finished: Finished, measured: EpisodeRecord, *, specs: tuple[ObservationSpec, ActionSpec], policy: str,
                 offsets: tuple[int, ...]) -> Recording:
    """The recording of an episode that was run again; raises where it took another course than the measured one."""
    again, tape, calls = finished.record, finished.footage, finished.calls
    if again.outcome != measured.outcome:
        raise ForeactError("an episode that was run again took another course", where=f"{again.episode}",
                           found=f"{again.steps} steps, actions {again.actions_digest}",
                           accepted=f"{measured.steps} steps, actions {measured.actions_digest}",
                           next_step="film on the machine that measured, or report it: an episode must depend on its seed alone")
    observation, action = specs
    meta = RecordingMeta(
        task=again.task, condition=again.condition, seed=again.seed, success=again.success, instruction=again.instruction,
        rate_hz=observation.rate_hz, cameras=observation.camera_names, state_names=observation.state.names,
        action_names=action.names, action_low=action.low, action_high=action.high, policy=policy, rollbacks=again.rollbacks,
        choices=again.choices,
        scores=again.scores, alarms=again.alarms, asked=again.asked)
    imagined = [call.imagined for call in calls if call.imagined is not None]
    return Recording(
        meta=meta, frames={c: np.stack([o["images"][c] for o in tape.observations]) for c in meta.cameras},
        state=np.stack([o["state"] for o in tape.observations]), actions=np.stack(tape.actions), success=np.array(tape.success),
        call_steps=np.array([call.step for call in calls], np.int64), call_ms=np.array([call.model_ms for call in calls]),
        plans=_stack([call.actions for call in calls], (0, action.size)), offsets=np.array(offsets if imagined else (), np.int64),
        imagined={c: np.stack([images[c] for images in imagined]) for c in meta.cameras} if imagined else {},
        values=np.array(again.values, np.float64),
        undone={c: np.stack([o["images"][c] for o in tape.undone]) for c in meta.cameras} if tape.undone else {})


def _stack(arrays: Sequence[np.ndarray], form: tuple[int, ...]) -> Any:
    """Stacked as float32; of no arrays, an empty stack of that form."""
    return np.stack(arrays).astype(np.float32) if arrays else np.zeros((0, *form), np.float32)
