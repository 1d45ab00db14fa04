"""Whether a heat map over the picture lies where the hand meets the object: share, ratio, centroid, and what they would be by chance.

The interaction mask comes from the simulator's segmentation: pixels within `margin` of both the hand and the object, or, where they are
farther apart than that, the pixels within `margin` of the object. On the grid of the heat it is the covered part of each cell.

    share     sum(heat mask) / sum(heat)
    ratio     share / mean(mask): 1 where the heat does not know of the mask (AGRA's attention-in-mask ratio, over its chance level)
    centroid  distance between the heat's centroid and the mask's, in cells

Two controls belong to every ratio. `shuffled`: the ratio of the same mask laid elsewhere, by turning the picture round its edges, with
its 95 % span. `common`: of several instructions on one picture, what they share is taken off each heat before it is measured; what looks
at the middle of the picture whatever it is told then loses its ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy.typing import NDArray

from foreact.contract.errors import SpecError
from foreact.envs.semantics import HAND, OBJECT

__all__ = ["Grounding", "grounding", "interaction_mask", "on_grid", "thing_mask", "without_common"]


@dataclass(frozen=True, kw_only=True)
class Grounding:
    """See the module; `shuffled` is (mean, low, high)."""

    share: float
    ratio: float
    centroid: float
    shuffled: tuple[float, float, float]
    covered: float


def interaction_mask(classes: UInt8[np.ndarray, "height width"], *, margin: float) -> Bool[np.ndarray, "height width"]:
    """Where hand and object meet; raises `SpecError` where no object is in the picture."""
    thing = thing_mask(classes, margin=margin)
    both = _near(classes, HAND, margin) & thing
    return both if both.any() else thing


def thing_mask(classes: UInt8[np.ndarray, "height width"], *, margin: float) -> Bool[np.ndarray, "height width"]:
    """The object and what is near it, wherever the hand is; raises `SpecError` where no object is in the picture."""
    if not (classes == OBJECT).any():
        raise SpecError("no object is in this picture", where="segmentation", found=sorted(set(classes.ravel().tolist())),
                        accepted=f"class {OBJECT} somewhere", next_step="choose another frame or another camera")
    return _near(classes, OBJECT, margin)


def _near(classes: UInt8[np.ndarray, "height width"], which: int, margin: float) -> Bool[np.ndarray, "height width"]:
    from scipy.ndimage import distance_transform_edt

    return distance_transform_edt(classes != which) <= margin if (classes == which).any() else np.zeros(classes.shape, bool)


def on_grid(mask: Bool[np.ndarray, "height width"], rows: int, columns: int) -> Float[np.ndarray, "rows columns"]:
    """The covered part of each cell."""
    height, width = mask.shape
    if height % rows or width % columns:
        raise SpecError("the picture does not divide into the grid", where="mask", found=f"{height} x {width}",
                        accepted=f"multiples of {rows} x {columns}")
    return mask.reshape(rows, height // rows, columns, width // columns).mean(axis=(1, 3))


def grounding(heat: Float[np.ndarray, "rows columns"], mask: Float[np.ndarray, "rows columns"]) -> Grounding:
    """One camera's heat against its mask; a heat of zero everywhere has share 0 and no centroid (nan)."""
    heat, mask = np.asarray(heat, dtype=np.float64), np.asarray(mask, dtype=np.float64)
    if heat.shape != mask.shape or (heat < 0).any() or mask.sum() == 0:
        raise SpecError("heat and mask are of one grid, the heat is not negative, the mask not empty", where="grounding",
                        found=f"{heat.shape} and {mask.shape}, lowest {heat.min():.3g}, mask {mask.sum():.3g}")
    ratio = _ratio(heat, mask)
    moved = [_ratio(heat, np.roll(mask, (i, j), axis=(0, 1))) for i in range(mask.shape[0]) for j in range(mask.shape[1]) if i or j]
    low, high = np.quantile(moved, [0.025, 0.975])
    return Grounding(share=ratio * float(mask.mean()), ratio=ratio, centroid=float(np.linalg.norm(_centroid(heat) - _centroid(mask))),
                     shuffled=(float(np.mean(moved)), float(low), float(high)), covered=float(mask.mean()))


def without_common(heats: Sequence[Float[np.ndarray, "rows columns"]]) -> list[NDArray[np.float64]]:
    """Heats of one picture under several instructions, each without what all of them share: its excess over the mean of the others."""
    if len(heats) < 2:
        raise SpecError("what is common needs two instructions", where="heats", found=len(heats), accepted="2 or more")
    normal = [np.asarray(heat) / max(float(np.sum(heat)), 1e-12) for heat in heats]
    total = np.sum(normal, axis=0)
    return [np.maximum(heat - (total - heat) / (len(normal) - 1), 0.0) for heat in normal]


def _ratio(heat: NDArray[np.float64], mask: NDArray[np.float64]) -> float:
    return float((heat * mask).sum() / heat.sum() / mask.mean()) if heat.sum() > 0 else 0.0


def _centroid(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    places = np.stack(np.mgrid[0:weight.shape[0], 0:weight.shape[1]], axis=-1).astype(np.float64)
    return (places * weight[..., None]).sum(axis=(0, 1)) / weight.sum() if weight.sum() > 0 else np.full(2, np.nan)
