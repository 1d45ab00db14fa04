"""Of the filmed failures of an evaluation, those that stalled: what was seen and what had been imagined of it, at moments along the way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.diagnostics.consistency.collapse import Rule, stalls
from foreact.diagnostics.consistency.scores import of_steps, scored, tasks_of
from foreact.evaluation.recording import Recording
from foreact.evaluation.result import RECORDINGS

if TYPE_CHECKING:
    from foreact.evaluation.rollout import EpisodeRecord

__all__ = ["stalled_films"]

_MOMENTS, _EPISODES = 6, 2


def stalled_films(folder: Path, records: Sequence[EpisodeRecord], rule: Rule) -> list[dict[str, Any]]:
    """At most two episodes; none where nothing was filmed or the model has no picture of its future."""
    paths = sorted((folder / RECORDINGS).glob("*.npz"))
    if not paths:
        return []
    found, names = scored(records), tasks_of(records)
    since = {}
    for place, told in enumerate(stalls(found, found, rule)):
        if told.any() and not found.success[place]:
            since[str(found.task[place]), int(found.seed[place])] = int(of_steps(found.frames[place], "step")[0][np.argmax(told)])
    label = {(r.condition, r.task, r.seed): (name, r.seed) for name, r in zip(names, records, strict=True)}
    films: list[dict[str, Any]] = []
    for path in paths:
        film = Recording.load(path)
        key = label.get((film.meta.condition, film.meta.task, film.meta.seed))
        if key in since and film.imagined and len(films) < _EPISODES:
            films.append({"task": key[0], "seed": key[1], "since": since[key], "moments": _moments(film)})
    return films


def _moments(film: Recording) -> list[dict[str, Any]]:
    """step: at which a frame was due, as far ahead as the plan imagines; seen, imagined: (height, width, 3)."""
    camera, ahead = film.meta.cameras[0], int(film.offsets[-1])
    due = [call for call, step in enumerate(film.call_steps) if step + ahead <= film.steps]
    kept = [due[i] for i in np.linspace(0, len(due) - 1, min(_MOMENTS, len(due))).round().astype(int)] if due else []
    return [{"step": int(film.call_steps[call]) + ahead, "seen": film.frames[camera][film.call_steps[call] + ahead].transpose(1, 2, 0),
             "imagined": film.imagined[camera][call, -1].transpose(1, 2, 0)} for call in kept]
