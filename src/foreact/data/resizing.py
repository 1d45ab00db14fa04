"""Area resizing of images, the one way in which foreact makes pictures smaller or larger; maps of labels have a way of their own.

Every output pixel is the mean of the input pixels under it (adaptive average pooling), rounded half up. Training and
deployment must use the same operation; the word `area` is what a protocol records.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

__all__ = ["resize_area", "resize_nearest"]


def resize_area(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """uint8 (n, 3, height, width) -> uint8 (n, 3, *size)."""
    if images.shape[-2:] == tuple(size):
        return images
    height, width = images.shape[-2:]
    if height % size[0] == 0 and width % size[1] == 0:
        rows, columns = height // size[0], width // size[1]
        total = images.reshape(*images.shape[:-2], size[0], rows, size[1], columns).sum(axis=(-3, -1), dtype=np.uint32)
        return ((2 * total + rows * columns) // (2 * rows * columns)).astype(np.uint8)
    pooled = functional.interpolate(torch.from_numpy(np.ascontiguousarray(images)).float(), size=tuple(size), mode="area")
    return (pooled + 0.5).floor().clamp(0, 255).to(torch.uint8).numpy()


def resize_nearest(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(n, height, width) -> (n, *size), each pixel one of the old ones: for labels and distances, which have no mean."""
    height, width = maps.shape[-2:]
    if (height, width) == tuple(size):
        return maps
    rows = ((np.arange(size[0]) + 0.5) * height / size[0]).astype(np.int64)
    columns = ((np.arange(size[1]) + 0.5) * width / size[1]).astype(np.int64)
    return maps[:, rows[:, None], columns]
