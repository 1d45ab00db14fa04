"""Writes LeRobotDataset v3.0: the whole dataset appears in one rename, and an interrupted write can be resumed.

Finished episodes wait, one file each, in a hidden folder beside the target; `finalize` joins them in order of their
index without re-encoding any video.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from foreact.contract.errors import DatasetError
from foreact.contract.storage import atomic_directory, atomic_write_bytes, atomic_write_json, storage_errors
from foreact.data.cache import leftovers
from foreact.data.coding import VideoCodec
from foreact.data.lerobot.assembly import assemble
from foreact.data.lerobot.conventions import Specs
from foreact.data.lerobot.episode import EncodedEpisode, EpisodeEncoder
from foreact.data.lerobot.layout import AUTOMATIC, Feature

__all__ = ["DatasetWriter"]


class DatasetWriter:
    """Collects episodes and joins them into one dataset at `path`, which must not exist yet.

    with DatasetWriter(path, fps=10, features=standard_features(observation, action)) as writer:
        writer.add_episode({"observation.state": s, "action": a}, task="open the door", images={"corner": frames})

    Leaving the block without an error finalizes. After an error or a kill nothing is at `path`; `resume=True` goes on
    with the episodes that were finished (see `done`), `resume=False` starts afresh. Workers may call
    `writer.encoder.encode(...)` in parallel and the owner `add_encoded(episode, index=i)`: the order of the dataset
    is that of the indices (gaps close), whatever the order of arrival.
    """

    def __init__(self, path: Path | str, *, fps: float, features: Mapping[str, Feature], robot_type: str | None = None,
                 specs: Specs | None = None, codec: VideoCodec | None = None, data_file_mb: int = 100, video_file_mb: int = 200,
                 resume: bool = False) -> None:
        self.path = Path(path)
        if self.path.exists():
            raise DatasetError("there is something already", where=str(self.path),
                               next_step="choose another folder, or delete it; `merge` joins datasets into a new one")
        reserved = [key for key in features if key in AUTOMATIC]
        if reserved:
            raise DatasetError("these features are written automatically", where="features", found=", ".join(reserved))
        self.encoder = EpisodeEncoder(fps=fps, features=dict(features), codec=codec or VideoCodec())
        self._robot_type, self._specs = robot_type, specs
        self._limits = {"data_file_mb": data_file_mb, "video_file_mb": video_file_mb}
        self._work = self.path.parent / f".{self.path.name}.partial"
        plan = json.loads(json.dumps({"fps": fps, "features": {key: f.to_json() for key, f in features.items()}}))
        with storage_errors(self._work):
            if not resume:
                shutil.rmtree(self._work, ignore_errors=True)
            elif (self._work / "plan.json").exists() and json.loads((self._work / "plan.json").read_text()) != plan:
                raise DatasetError("the unfinished dataset has other features", where=str(self._work),
                                   next_step="delete this folder, or resume with the features it was begun with")
            self._work.mkdir(parents=True, exist_ok=True)
            atomic_write_json(self._work / "plan.json", plan)

    @property
    def done(self) -> frozenset[int]:
        """The indices of the episodes that are safely on disk."""
        return frozenset(int(file.stem) for file in self._work.glob("[0-9]*.episode"))

    def add_episode(self, frames: Mapping[str, np.ndarray], *, task: str, images: Mapping[str, np.ndarray] | None = None,
                    task_steps: Sequence[str] | None = None, index: int | None = None) -> int:
        """Encode and keep one episode; see `EpisodeEncoder.encode` for the arrays. Returns its index (default: the next)."""
        return self.add_encoded(self.encoder.encode(frames, task=task, images=images, task_steps=task_steps), index=index)

    def add_encoded(self, episode: EncodedEpisode, *, index: int | None = None) -> int:
        """Keep an episode that was encoded elsewhere. An index that is taken already raises `DatasetError`."""
        done = self.done
        index = max(done, default=-1) + 1 if index is None else index
        if index in done:
            raise DatasetError("there is an episode with this index already", where="add_encoded", found=index)
        atomic_write_bytes(self._work / f"{index:09d}.episode", episode.to_bytes())
        return index

    def finalize(self) -> Path:
        """Join the episodes and rename the result to `path`; returns `path`."""
        files = sorted(self._work.glob("[0-9]*.episode"), key=lambda file: int(file.stem))
        if not files:
            raise DatasetError("a dataset needs at least one episode", where=str(self.path))
        for left in leftovers(self.path):
            shutil.rmtree(left, ignore_errors=True)
        with atomic_directory(self.path) as folder:
            assemble(folder, files, encoder=self.encoder, robot_type=self._robot_type, specs=self._specs, **self._limits)
        shutil.rmtree(self._work, ignore_errors=True)
        return self.path

    def __enter__(self) -> DatasetWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.finalize()
