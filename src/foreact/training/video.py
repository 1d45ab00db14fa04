"""Video beside demonstrations: datasets that are only watched, such as another embodiment's, as EgoDex is for AGRA.

Every row of a video trains what predicts the future and nothing that acts: its actions are hidden (`Window.has_action`), it is no
example (`Window.imitated`) and has no return. Steps draw from demonstrations and videos alike, so a batch holds them in proportion to
their rows; a stage that trains only streams of the action side draws from the demonstrations alone. Normalisation, substrates and
validation are of the demonstrations. The proprioception of a video is shown as it was recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from foreact.contract.context import Window
from foreact.contract.errors import SpecError
from foreact.data.lerobot.dataset import Dataset
from foreact.data.stores import frame_source
from foreact.data.windows import Windows, collate
from foreact.model import WorldActionModel
from foreact.training.prepare import Material, among, stage_windows, windows
from foreact.training.run import Run, Stage

__all__ = ["Together", "together", "watch"]

_ACTING = frozenset({"action", "value"})


def watch(run: Run, material: Material, video: Dataset | Path | str) -> Material:
    """`video` as the run that has `material` sees it; raises one `SpecError` that says all in which it differs."""
    dataset = video if isinstance(video, Dataset) else Dataset.open(video)
    _require_alike(run, material, dataset)
    frames = frame_source(dataset, material.observation.camera_names, size=run.windows.image_size, cache=material.cache)
    return replace(material, dataset=dataset, frames=frames, train=tuple(range(len(dataset.episodes))), held_out=(), video=True)


def _require_alike(run: Run, material: Material, dataset: Dataset) -> None:
    """Cameras, their sizes where nothing is resized, the rate and the size of the state; actions may be anything."""
    wanted = {f"camera {camera.name}": (camera.height, camera.width) for camera in material.observation.cameras}
    features, state = dataset.info.features, "observation.state"
    found = {f"camera {name}": tuple(features[key].shape[:2]) for name, key in dataset.cameras.items() if f"camera {name}" in wanted}
    if run.windows.image_size is not None:
        found = dict.fromkeys(found, run.windows.image_size)
    wanted |= {"frames per second": (material.observation.rate_hz,), "state": (material.observation.state.size,)}
    found |= {"frames per second": (float(dataset.info.fps),), "state": tuple(features[state].shape) if state in features else ()}
    wrong = [name for name, size in wanted.items() if tuple(found.get(name, ())) != tuple(size)]
    if wrong:
        raise SpecError("the video does not show what the demonstrations show", where=str(dataset.root),
                        found="; ".join(f"{name}: {' x '.join(map(str, found.get(name, ()))) or 'none'}" for name in wrong),
                        accepted="; ".join(f"{name}: {' x '.join(map(str, wanted[name]))}" for name in wrong),
                        next_step="collect it with the same cameras and size, choose cameras by windows.cameras, or set windows.image_size")


class Together:
    """Windows of demonstrations, then those of the videos, under one numbering. In a batch the demonstrations come first."""

    def __init__(self, sources: Sequence[Windows]) -> None:
        self._sources = tuple(sources)
        self.starts = np.cumsum([0, *(len(source) for source in self._sources)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def batch(self, indices: np.ndarray) -> Window:
        """The windows at `indices`, those of one dataset after those of another."""
        which = np.searchsorted(self.starts, indices, side="right") - 1
        parts = [self._sources[source].batch(indices[which == source] - self.starts[source]) for source in np.unique(which)]
        if len(parts) == 1 and which[0] == 0:
            return parts[0]
        like = self._sources[0].batch(np.zeros(1, dtype=np.int64))
        return collate([part if source == 0 else _watched(part, like) for source, part in zip(np.unique(which), parts, strict=True)])


def _watched(window: Window, like: Window) -> Window:
    """A window of a video, with the fields that those of the demonstrations have and nothing to act by in them."""
    size = len(window.actions)
    nothing = torch.zeros(size)
    return replace(
        window, actions=torch.zeros_like(window.actions), executed=None if like.executed is None else torch.zeros_like(window.actions),
        has_action=torch.zeros(size, dtype=torch.bool), value=None if like.value is None else nothing,
        imitated=None if like.imitated is None else nothing.bool())


def together(model: WorldActionModel, run: Run, material: Material, videos: Sequence[Material],
             ) -> tuple[Windows | Together, dict[str, np.ndarray]]:
    """What steps draw from, and by stage name the windows of those stages that do not learn from all of them."""
    own = windows(model, run, material, material.train)
    if not videos:
        return own, stage_windows(own, run)
    sources = (own, *(windows(model, run, each, each.train) for each in videos))
    both = Together(sources)
    found = {stage.name: np.concatenate([start + among(source.dataset, source.rows, stage)
                                         for start, source in zip(both.starts, sources, strict=False) if source is own or _watches(stage)])
             for stage in run.training.stages}
    return both, {name: rows for name, rows in found.items() if len(rows) < len(both)}


def _watches(stage: Stage) -> bool:
    """Whether the stage trains anything that a video tells of."""
    return not set(stage.train) <= _ACTING
