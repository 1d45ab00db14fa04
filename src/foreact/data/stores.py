"""Frames and encodings of a whole dataset, made once and then read through memory maps.

Row r of a store belongs to row r of the dataset. Decoding costs a thousand times what reading a mapped row does.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.progress import meter
from foreact.data.cache import Cache
from foreact.data.lerobot.dataset import Dataset
from foreact.data.resizing import resize_area

__all__ = ["DecodedFrames", "EncodedStore", "FrameSource", "FrameStore", "FutureStore", "frame_source"]

Encode = Callable[[Mapping[str, Tensor]], Tensor]
Size = tuple[int, int]


class FrameSource(ABC):
    """Frames by row of the dataset, all of one size per camera."""

    dataset: Dataset
    cameras: tuple[str, ...]

    @abstractmethod
    def read(self, camera: str, rows: np.ndarray) -> np.ndarray:
        """rows of any shape -> uint8 (*rows.shape, 3, height, width)."""


def _checked_cameras(dataset: Dataset, cameras: Sequence[str] | None) -> tuple[str, ...]:
    names = tuple(cameras) if cameras is not None else tuple(dataset.cameras)
    for name in names:
        dataset.camera_key(name)
    return names


class DecodedFrames(FrameSource):
    """Decodes what is asked for, each time. Slow; for datasets beyond the cap of the cache."""

    def __init__(self, dataset: Dataset, cameras: Sequence[str] | None = None, *, size: Size | None = None) -> None:
        self.dataset, self.cameras, self._size = dataset, _checked_cameras(dataset, cameras), size

    def read(self, camera: str, rows: np.ndarray) -> np.ndarray:
        wanted, back = np.unique(rows, return_inverse=True)
        episodes = self.dataset.episode_of_row[wanted]
        parts = [self.dataset.frames(camera, int(episode), wanted[episodes == episode] - self.dataset.episodes[episode].first)
                 for episode in np.unique(episodes)]
        frames = np.concatenate(parts)
        frames = frames if self._size is None else resize_area(frames, self._size)
        return frames[back.reshape(-1)].reshape(*np.shape(rows), *frames.shape[1:])


class FrameStore(FrameSource):
    """All frames, decoded and resized once: one uint8 array (rows, 3, height, width) per camera on disk."""

    def __init__(self, dataset: Dataset, cameras: Sequence[str] | None = None, *, size: Size | None = None,
                 cache: Cache | None = None) -> None:
        self.dataset, self.cameras = dataset, _checked_cameras(dataset, cameras)
        cache = cache or Cache()
        self._frames: dict[str, np.ndarray] = {}
        for camera in self.cameras:
            shape = (dataset.frames_total, 3, *frame_size(dataset, camera, size))
            path = cache.entry(self.key(dataset, camera, size), int(np.prod(shape)), lambda folder, c=camera, s=shape: fill_frames(
                dataset, c, s, folder / "frames.u8"))
            self._frames[camera] = np.memmap(path / "frames.u8", dtype=np.uint8, mode="r", shape=shape)

    @staticmethod
    def key(dataset: Dataset, camera: str, size: Size | None) -> str:
        """What the frames depend on: the content of the dataset, the camera, the size and the decoder."""
        height, width = frame_size(dataset, camera, size)
        words = json.dumps([dataset.fingerprint, camera, height, width, dataset.decoder.__name__, "area"])
        return "frames-" + hashlib.blake2b(words.encode(), digest_size=16).hexdigest()

    def read(self, camera: str, rows: np.ndarray) -> np.ndarray:
        if camera not in self._frames:
            raise DatasetError("the store does not hold this camera", where="FrameStore", found=camera,
                               accepted=", ".join(self.cameras))
        return self._frames[camera][rows]


def frame_size(dataset: Dataset, camera: str, size: Size | None) -> Size:
    """(height, width) after resizing."""
    height, width, _ = dataset.feature(dataset.camera_key(camera)).shape
    return (height, width) if size is None else (int(size[0]), int(size[1]))


def fill_frames(dataset: Dataset, camera: str, shape: tuple[int, ...], file: Path, part: int = 256) -> None:
    """Decode all episodes of one camera into `file`."""
    with open(file, "wb") as output, meter(f"decoding {camera}", dataset.frames_total) as progress:
        for episode, entry in enumerate(dataset.episodes):
            for start in range(0, entry.length, part):
                indices = np.arange(start, min(start + part, entry.length))
                frames = resize_area(dataset.frames(camera, episode, indices), (shape[2], shape[3]))
                # write(), not a mapped array: a full disk then raises instead of killing the process.
                output.write(np.ascontiguousarray(frames).data)
                progress.advance(len(indices))


def frame_source(dataset: Dataset, cameras: Sequence[str] | None = None, *, size: Size | None = None,
                 cache: Cache | None = None) -> FrameSource:
    """A `FrameStore` where all its frames fit under the cap of the cache, else `DecodedFrames`."""
    cache = cache or Cache()
    names = _checked_cameras(dataset, cameras)
    total = sum(dataset.frames_total * 3 * int(np.prod(frame_size(dataset, name, size))) for name in names)
    if total <= cache.cap:
        return FrameStore(dataset, names, size=size, cache=cache)
    return DecodedFrames(dataset, names, size=size)


_STORED = {"float16": np.float16, "bfloat16": np.uint16, "float32": np.float32}


class EncodedStore:
    """The encoding of every frame, made once: (rows, tokens, channels) on disk.

    encode: takes per camera uint8 (batch, 1, 3, height, width), gives (batch, 1, tokens, channels); called without
    gradients. key: a hash of the encoder's weights and config. Frames are encoded one by one, so an encoder that
    compresses time does not belong here.
    """

    def __init__(self, frames: FrameSource, encode: Encode, key: str, *, batch: int = 64,
                 dtype: Literal["float16", "bfloat16", "float32"] = "float16", cache: Cache | None = None) -> None:
        if dtype not in _STORED:
            raise ConfigError("unknown dtype", where="EncodedStore.dtype", found=dtype, accepted=", ".join(_STORED))
        self.dataset, self.cameras, self._dtype = frames.dataset, frames.cameras, dtype
        self._source, self._encode, self._batch = frames, encode, batch
        tokens, channels = self._run(np.arange(1)).shape[1:]
        shape = (self.dataset.frames_total, tokens, channels)
        sizes = [frames.read(camera, np.arange(1)).shape for camera in self.cameras]
        words = json.dumps([self.dataset.fingerprint, self.cameras, sizes, self.dataset.decoder.__name__, key, dtype])
        name = "encoded-" + hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
        path = (cache or Cache()).entry(name, int(np.prod(shape)) * np.dtype(_STORED[dtype]).itemsize, self._fill)
        self._values = np.memmap(path / "values", dtype=_STORED[dtype], mode="r", shape=shape)

    @property
    def tokens(self) -> int:
        return self._values.shape[1]

    @property
    def channels(self) -> int:
        return self._values.shape[2]

    def read(self, rows: np.ndarray) -> Tensor:
        """rows of any shape -> float32 (*rows.shape, tokens, channels)."""
        values = torch.from_numpy(np.asarray(self._values[rows]))
        return values.view(torch.bfloat16).float() if self._dtype == "bfloat16" else values.float()

    def _run(self, rows: np.ndarray) -> Tensor:
        with torch.no_grad():
            images = {camera: torch.from_numpy(self._source.read(camera, rows[:, None])) for camera in self.cameras}
            return self._encode(images)[:, 0].float().cpu()

    def _fill(self, folder: Path) -> None:
        total = self.dataset.frames_total
        with open(folder / "values", "wb") as output, meter("encoding frames", total) as progress:
            for start in range(0, total, self._batch):
                rows = np.arange(start, min(start + self._batch, total))
                values = self._run(rows).to(getattr(torch, self._dtype))
                if not torch.isfinite(values).all():
                    raise DatasetError("an encoding is not finite", where=f"EncodedStore, rows {rows[0]}..{rows[-1]}",
                                       next_step="store it as bfloat16 or float32, or mend the encoder")
                raw = values.view(torch.uint16) if self._dtype == "bfloat16" else values
                output.write(raw.contiguous().numpy().data)
                progress.advance(len(rows))


class FutureStore:
    """The encoded future of every row, made once: (rows, offsets, tokens, channels) on disk.

    For substrates that measure a future from its present or from annotations, and so cannot be stored frame by frame.
    encode: takes rows (batch,), gives (batch, offsets, tokens, channels); called without gradients. key: a hash of the
    encoder's weights and config. offsets: control steps, part of what the store depends on.
    """

    def __init__(self, dataset: Dataset, cameras: Sequence[str], encode: Callable[[np.ndarray], Tensor], key: str, *,
                 offsets: Sequence[int], batch: int = 64, cache: Cache | None = None) -> None:
        self.dataset, self.cameras, self._encode, self._batch = dataset, tuple(cameras), encode, batch
        shape = (dataset.frames_total, *self._run(np.arange(1)).shape[1:])
        words = json.dumps([dataset.fingerprint, self.cameras, list(offsets), dataset.decoder.__name__, key, list(shape)])
        name = "future-" + hashlib.blake2b(words.encode(), digest_size=16).hexdigest()
        path = (cache or Cache()).entry(name, int(np.prod(shape)) * 2, self._fill)
        self._values = np.memmap(path / "values", dtype=np.float16, mode="r", shape=shape)

    def read(self, rows: np.ndarray) -> Tensor:
        """rows (batch,) -> float32 (batch, offsets, tokens, channels)."""
        return torch.from_numpy(np.asarray(self._values[rows])).float()

    def _run(self, rows: np.ndarray) -> Tensor:
        with torch.no_grad():
            return self._encode(rows).float().cpu()

    def _fill(self, folder: Path) -> None:
        total = self.dataset.frames_total
        with open(folder / "values", "wb") as output, meter("encoding futures", total) as progress:
            for start in range(0, total, self._batch):
                rows = np.arange(start, min(start + self._batch, total))
                values = self._run(rows).to(torch.float16)
                if not torch.isfinite(values).all():
                    raise DatasetError("an encoded future is not finite", where=f"FutureStore, rows {rows[0]}..{rows[-1]}",
                                       next_step="run `foreact data check` on the dataset")
                output.write(values.contiguous().numpy().data)
                progress.advance(len(rows))
