"""One finished episode as a value: checked, compressed, independent of the dataset that it will join.

Workers make these in parallel; a writer joins them in order. The bytes are a ZIP whose checksums catch damage.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from foreact.contract.errors import DatasetError
from foreact.data.coding import VideoCodec, encode_video
from foreact.data.lerobot.columns import numpy_to_column, picture_column
from foreact.data.lerobot.layout import AUTOMATIC, CAMERA_PREFIX, Feature
from foreact.data.pictures import encode_picture
from foreact.data.statistics import Histogram, image_histogram, sampled_rows

__all__ = ["EncodedEpisode", "EpisodeEncoder", "episode_table"]

# Not-a-number here ruins training; elsewhere (an occluded point track) it can mean something.
_FINITE = ("observation.state", "action")


@dataclass(frozen=True, kw_only=True)
class EncodedEpisode:
    """table: Arrow IPC of the columns. videos: MP4 by feature key. task_steps: per frame an index into `tasks`.
    histograms: by feature key, the counts of pixel values and how many pictures were counted."""

    length: int
    tasks: tuple[str, ...]
    task_steps: np.ndarray
    table: bytes
    videos: Mapping[str, bytes]
    histograms: Mapping[str, tuple[Histogram, int]]

    def to_bytes(self) -> bytes:
        header = {"length": self.length, "tasks": list(self.tasks), "task_steps": self.task_steps.tolist(),
                  "videos": list(self.videos),
                  "histograms": {key: [h.tolist(), n] for key, (h, n) in self.histograms.items()}}
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("episode.json", json.dumps(header))
            archive.writestr("table.arrow", self.table)
            for key, video in self.videos.items():
                archive.writestr(f"videos/{key}.mp4", video)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str) -> EncodedEpisode:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                header = json.loads(archive.read("episode.json"))
                return cls(length=header["length"], tasks=tuple(header["tasks"]),
                           task_steps=np.array(header["task_steps"], dtype=np.int64), table=archive.read("table.arrow"),
                           videos={key: archive.read(f"videos/{key}.mp4") for key in header["videos"]},
                           histograms={key: (np.array(h, dtype=np.int64), n) for key, (h, n) in header["histograms"].items()})
        except (zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
            raise DatasetError("an encoded episode is damaged", where=where, found=error,
                               next_step="delete this file and collect the episode again") from None

    def arrow(self) -> pa.Table:
        return pa.ipc.open_file(pa.BufferReader(self.table)).read_all()


@dataclass(frozen=True, kw_only=True)
class EpisodeEncoder:
    """Turns the arrays of one episode into an `EncodedEpisode`. A plain value: send it to worker processes."""

    fps: float
    features: Mapping[str, Feature]
    codec: VideoCodec = field(default_factory=VideoCodec)

    def encode(self, frames: Mapping[str, np.ndarray], *, task: str, images: Mapping[str, np.ndarray] | None = None,
               task_steps: Sequence[str] | None = None) -> EncodedEpisode:
        """frames: (n, *shape) by feature key. images: uint8 (n, h, w, 3) or (n, 3, h, w) by camera name or feature key.

        task: the instruction; `task_steps` gives one per frame instead where it changes on the way.
        Raises `DatasetError` for a missing, unexpected or misshapen feature, and for state or action that is not finite.
        """
        given = {**frames, **{self._image_key(name): value for name, value in (images or {}).items()}}
        wanted = [key for key in self.features if key not in AUTOMATIC]
        if set(given) != set(wanted):
            raise DatasetError("the arrays of an episode are not those of the dataset", where="add_episode",
                               found=", ".join(sorted(given)), accepted=", ".join(sorted(wanted)))
        lengths = {len(value) for value in given.values()}
        if len(lengths) != 1 or 0 in lengths:
            raise DatasetError("all arrays of an episode need the same length, at least 1", where="add_episode",
                               found=", ".join(f"{key}: {len(value)}" for key, value in given.items()))
        length = lengths.pop()
        texts = list(task_steps) if task_steps is not None else [task] * length
        if len(texts) != length or not all(texts):
            raise DatasetError("one task text per frame is needed, none empty", where="add_episode: task", found=len(texts),
                               accepted=length)
        tasks = tuple(dict.fromkeys(texts))
        columns: dict[str, pa.Array] = {}
        videos: dict[str, bytes] = {}
        histograms: dict[str, tuple[Histogram, int]] = {}
        for key in wanted:
            feature = self.features[key]
            values = self._checked(key, feature, np.asarray(given[key]), length)
            if feature.is_visual and values.dtype == np.uint8:
                rows = sampled_rows(length)
                histograms[key] = (image_histogram(values[rows]), len(rows))
            if feature.dtype == "video":
                videos[key] = encode_video(values, fps=self.fps, codec=self.codec)
            elif feature.dtype == "image":
                columns[key] = picture_column([encode_picture(image) for image in values])
            else:
                columns[key] = numpy_to_column(values, feature)
        return EncodedEpisode(length=length, tasks=tasks, task_steps=np.array([tasks.index(text) for text in texts]),
                              table=episode_table(columns, length, self.fps), videos=videos, histograms=histograms)

    def _image_key(self, name: str) -> str:
        return CAMERA_PREFIX + name if CAMERA_PREFIX + name in self.features else name

    def _checked(self, key: str, feature: Feature, values: np.ndarray, length: int) -> np.ndarray:
        shape = (length, *feature.shape)
        if feature.is_visual:
            if values.ndim == 4 and values.shape != shape and values.transpose(0, 2, 3, 1).shape == shape:
                values = values.transpose(0, 2, 3, 1)
            fits = values.shape == shape and values.dtype in ((np.uint8,) if feature.dtype == "video" else (np.uint8, np.uint16))
        elif feature.dtype == "string":
            return values.reshape(length)
        else:
            if feature.shape in ((), (1,)) and values.shape == (length,):
                values = values.reshape(shape)
            fits = values.shape == shape and np.can_cast(values.dtype, feature.dtype, "same_kind")
        if not fits:
            raise DatasetError("an array has the wrong form", where=f"add_episode: {key}", found=f"{values.dtype} {values.shape}",
                               accepted=f"{'uint8' if feature.is_visual else feature.dtype} {shape}")
        if key.startswith(_FINITE) and feature.is_numeric and not np.isfinite(values).all():
            bad = np.argwhere(~np.isfinite(values))[0]
            raise DatasetError("a number is not finite", where=f"add_episode: {key}", found=f"frame {bad[0]}, entry {bad[1:]}")
        return values


def episode_table(columns: Mapping[str, pa.Array | pa.ChunkedArray], length: int, fps: float) -> bytes:
    """The columns of an episode with `timestamp` and `frame_index`, as Arrow IPC."""
    automatic = {"timestamp": (np.arange(length) / fps).astype(np.float32), "frame_index": np.arange(length)}
    table = pa.table({**columns, **{key: pa.array(value) for key, value in automatic.items()}})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()
