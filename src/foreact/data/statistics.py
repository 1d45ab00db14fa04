"""Statistics per feature: true quantiles over the data, images in [0, 1] from exact histograms of sampled frames.

LeRobot files from before August 2026 average the quantiles of episodes and overflow uint8; nothing here does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

__all__ = [
    "QUANTILES", "WIDE", "Histogram", "array_statistics", "image_histogram", "sampled_rows", "statistics_to_json",
]

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
# Beyond this many numbers a frame (depth maps, say) statistics run over all entries at once instead of each entry.
WIDE = 1024
_PICTURES_PER_EPISODE = 100

Statistics = dict[str, np.ndarray]
Histogram = np.ndarray  # int64 (channels, 256)


def array_statistics(values: np.ndarray) -> Statistics:
    """min, max, mean, std, count and quantiles of (n, *shape) over the first axis, in float64.

    Each has the shape of one row, (1,) for scalars; `count` has shape (1,). Rows of more than `WIDE` numbers are pooled
    into statistics of shape (1,). Quantiles interpolate linearly, as numpy does. NaN and infinity (an occluded point)
    are left out; an entry that is never finite has zeros.
    """
    count = len(values)
    if values[:1].size > WIDE:
        values = values.reshape(-1)
    values = np.asarray(values, dtype=np.float64)
    if values.ndim == 1:
        values = values[:, None]
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite.any(0), np.where(finite, values, np.nan), 0.0)
    quantiles = np.nanquantile(values, list(QUANTILES.values()), axis=0)
    return {
        "min": np.nanmin(values, 0), "max": np.nanmax(values, 0), "mean": np.nanmean(values, 0), "std": np.nanstd(values, 0),
        "count": np.array([count], dtype=np.int64), **dict(zip(QUANTILES, quantiles, strict=True)),
    }


def sampled_rows(length: int, most: int = _PICTURES_PER_EPISODE) -> np.ndarray:
    """Evenly spaced rows, all of them up to `most`."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).round().astype(np.int64))


def image_histogram(images: np.ndarray) -> Histogram:
    """uint8 (n, height, width, channels) -> counts of each value in each channel."""
    return np.stack([np.bincount(images[..., c].reshape(-1), minlength=256) for c in range(images.shape[-1])])


def histogram_statistics(histogram: Histogram, pictures: int) -> Statistics:
    """The statistics of the counted pixels, divided by 255, each of shape (channels, 1, 1)."""
    total = int(histogram[0].sum())
    levels = np.arange(256) / 255.0
    cumulative = np.cumsum(histogram, axis=1)

    def ranked(rank: int) -> np.ndarray:
        return levels[np.argmax(cumulative > rank, axis=1)]

    def quantile(q: float) -> np.ndarray:
        low = int(np.floor((total - 1) * q))
        share = (total - 1) * q - low
        return ranked(low) * (1 - share) + ranked(min(low + 1, total - 1)) * share

    mean = (histogram * levels).sum(1) / total
    variance = (histogram * (levels - mean[:, None]) ** 2).sum(1) / total
    found = {"min": ranked(0), "max": ranked(total - 1), "mean": mean, "std": np.sqrt(variance),
             **{name: quantile(q) for name, q in QUANTILES.items()}}
    return {name: value.reshape(-1, 1, 1) for name, value in found.items()} | {"count": np.array([pictures], dtype=np.int64)}


def pooled_histogram_statistics(parts: Iterable[tuple[Histogram, int]]) -> Statistics:
    """The statistics of all pictures of all parts together."""
    counted = list(parts)
    return histogram_statistics(np.sum([h for h, _ in counted], axis=0), sum(n for _, n in counted))


def statistics_to_json(statistics: Mapping[str, Statistics]) -> dict[str, dict[str, object]]:
    """Arrays to nested lists, as `meta/stats.json` holds them."""
    return {key: {name: value.tolist() for name, value in entry.items()} for key, entry in statistics.items()}
