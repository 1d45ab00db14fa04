"""What a probe asks of a frame, from the simulator's segmentation: where the object is in the picture, and what each cell shows.

    position   centre of the object's pixels in a camera's picture, (column, row) in shares of its width and height
    cell       of the classes that cover at least `cover` of the cell, the one that is most of a task's business: object, hand, goal, arm,
               background
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.nn import functional as F

from foreact.envs.semantics import ARM, BACKGROUND, CLASSES, GOAL, HAND, OBJECT

__all__ = ["cells_of", "positions_of"]

_ORDER = (OBJECT, HAND, GOAL, ARM, BACKGROUND)
_SEEN = 4
"""Pixels from which on an object counts as seen."""


def positions_of(classes: Sequence[UInt8[np.ndarray, "samples height width"]]) -> Float[np.ndarray, "samples entries"]:
    """By camera column and row; NaN where the object is not seen."""
    found = []
    for pictures in classes:
        there = pictures == OBJECT
        count = there.sum(axis=(1, 2))
        height, width = there.shape[1:]
        with np.errstate(invalid="ignore", divide="ignore"):
            columns = (there.sum(axis=1) @ (np.arange(width) + 0.5)) / count / width
            rows = (there.sum(axis=2) @ (np.arange(height) + 0.5)) / count / height
        centre = np.stack([columns, rows], axis=1)
        centre[count < _SEEN] = np.nan
        found.append(centre)
    return np.concatenate(found, axis=1)


def cells_of(classes: Sequence[UInt8[np.ndarray, "samples height width"]], grid: tuple[int, int, int], *, cover: float = 0.1,
             ) -> Int[np.ndarray, "samples tokens"]:
    """The class of every token, camera-major."""
    found = []
    for pictures in classes:
        one_hot = F.one_hot(torch.from_numpy(pictures.astype(np.int64)), len(CLASSES)).movedim(-1, 1).float()
        share = F.adaptive_avg_pool2d(one_hot, grid[1:]).numpy()
        label = share.argmax(axis=1)
        for kind in reversed(_ORDER):  # the most important is written last
            label[share[:, kind] >= cover] = kind
        found.append(label.reshape(len(pictures), -1))
    return np.concatenate(found, axis=1).astype(np.int64)
