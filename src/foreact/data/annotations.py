"""Annotations of a dataset by row: what only a simulator knows, decoded once and then read through memory maps.

Names are those of `foreact.envs.annotations`, without the prefix that their features have in the dataset. Pictures come in
units: depth in metres (0 where nothing is), segmentation as classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foreact.contract.errors import DatasetError, nearest
from foreact.contract.progress import meter
from foreact.data.cache import Cache
from foreact.data.lerobot.dataset import Dataset
from foreact.data.resizing import resize_nearest

__all__ = ["PREFIX", "AnnotationStore"]

PREFIX = "annotation."


class AnnotationStore:
    """`names`: such as "depth.scene" or "contacts". size: (height, width) to which pictures are brought, by nearest pixel."""

    def __init__(self, dataset: Dataset, names: Sequence[str], *, size: tuple[int, int] | None = None, cache: Cache | None = None) -> None:
        self.dataset, self.names = dataset, tuple(names)
        known = [key.removeprefix(PREFIX) for key in dataset.info.features if key.startswith(PREFIX)]
        self._values: dict[str, np.ndarray] = {}
        for name in self.names:
            if name not in known:
                raise DatasetError("the dataset lacks an annotation that the model learns from", where=str(dataset.root), found=name,
                                   accepted=", ".join(known) or "it has none",
                                   next_step=nearest(name, known) if known else _how(name))
            feature = dataset.feature(PREFIX + name)
            self._values[name] = self._pictures(name, size, cache) if feature.is_visual else self._numbers(name, size)

    def read(self, rows: np.ndarray) -> dict[str, Tensor]:
        """rows of any shape -> per name (*rows.shape, ...)."""
        return {name: _in_units(name, values[rows]) for name, values in self._values.items()}

    def _numbers(self, name: str, size: tuple[int, int] | None) -> np.ndarray:
        values = np.ascontiguousarray(self.dataset.column(PREFIX + name), dtype=np.float32)
        kind, _, camera = name.partition(".")
        if kind != "tracks" or size is None:
            return values
        height, width, _ = self.dataset.feature(self.dataset.camera_key(camera)).shape
        return values * np.array([size[1] / width, size[0] / height, 1.0], np.float32)

    def _pictures(self, name: str, size: tuple[int, int] | None, cache: Cache | None) -> np.ndarray:
        height, width, _ = self.dataset.feature(PREFIX + name).shape
        height, width = size or (height, width)
        dtype = np.uint16 if name.startswith("depth.") else np.uint8
        shape = (self.dataset.frames_total, height, width)
        words = json.dumps([self.dataset.fingerprint, name, height, width])
        key = "annotation-" + hashlib.blake2b(words.encode(), digest_size=16).hexdigest()

        def fill(folder: Path) -> None:
            with open(folder / "values", "wb") as output, meter(f"decoding {name}", len(self.dataset.episodes)) as progress:
                for episode in range(len(self.dataset.episodes)):
                    pictures = self.dataset.pictures(PREFIX + name, episode)[:, 0]
                    output.write(np.ascontiguousarray(resize_nearest(pictures, (height, width)).astype(dtype)).data)
                    progress.advance(1)

        path = (cache or Cache()).entry(key, int(np.prod(shape)) * np.dtype(dtype).itemsize, fill)
        return np.memmap(path / "values", dtype=dtype, mode="r", shape=shape)


def _in_units(name: str, values: np.ndarray) -> Tensor:
    if name.startswith("depth."):
        return torch.from_numpy(values.astype(np.float32) / 1000)
    return torch.from_numpy(np.asarray(values))


def _how(name: str) -> str:
    return f"collect it with annotations.{name.split('.')[0].replace('points', 'tracks')}=true"
