"""All that is measured on the hidden states of one model: probes by layer, likeness between layers and to a teacher.

Beside the layers stand `teacher`, its features of the very frame that the states are about, and `pixels`, the present picture averaged
to a few cells per token: what needs no network, and of a future what needs no prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch.nn import functional as F

from foreact.contract.progress import track
from foreact.diagnostics.representation.probes import Folds, classes_probe, folds, regression_probe, rotated
from foreact.diagnostics.representation.similarity import cka_matrix, without_places
from foreact.envs.semantics import CLASSES, OBJECT

__all__ = ["Asked", "counts", "likeness", "on_grid", "pixels_of", "probe"]

_PIXELS = 4
"""Cells a side of a token's place that `pixels` keeps."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """By sample: episode and task, where the object is (None without segmentation), what each token shows, the coming chunk's mean
    action in its deviations."""

    cameras: tuple[str, ...]
    episodes: Int[np.ndarray, " samples"]
    tasks: Int[np.ndarray, " samples"]
    positions: Float[np.ndarray, "samples entries"] | None
    cells: Int[np.ndarray, "samples tokens"] | None
    actions: Float[np.ndarray, "samples action"]


def pixels_of(pictures: list[UInt8[np.ndarray, "samples 3 height width"]], grid: tuple[int, int, int],
              ) -> Float[np.ndarray, "samples tokens channels"]:
    """Colours of 4 x 4 cells at each token's place."""
    found = []
    for camera in pictures:
        small = F.adaptive_avg_pool2d(torch.from_numpy(camera).float() / 255, (_PIXELS * grid[1], _PIXELS * grid[2]))
        cells = small.unflatten(3, (grid[2], _PIXELS)).unflatten(2, (grid[1], _PIXELS))  # sample colour row y column x
        found.append(cells.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2).numpy())
    return np.concatenate(found, axis=1)


def on_grid(tokens: Float[np.ndarray, "samples tokens width"], own: tuple[int, int, int], wanted: tuple[int, int, int],
            ) -> Float[np.ndarray, "samples places width"]:
    """Tokens of one grid on another of as many cameras: averaged where that is coarser, else bilinear."""
    if own == wanted:
        return tokens
    cameras, rows, columns = own
    picture = torch.from_numpy(tokens).unflatten(1, (cameras, rows, columns)).flatten(0, 1).movedim(-1, 1).float()
    if wanted[1] <= rows and wanted[2] <= columns:
        picture = F.adaptive_avg_pool2d(picture, wanted[1:])
    else:
        picture = F.interpolate(picture, size=wanted[1:], mode="bilinear", align_corners=False)
    return picture.movedim(1, -1).unflatten(0, (-1, cameras)).flatten(1, 3).numpy()


def probe(parts: Mapping[str, Float[np.ndarray, "samples tokens width"]], asked: Asked, *, count: int = 5, tokens: int = 4000,
          seed: int = 0) -> dict[str, dict[str, Any]]:
    """By name of the part and target, the scores. tokens: so many rows at most for the probe of what each cell shows."""
    dealt = folds(asked.episodes, asked.tasks, count=count, seed=seed)
    found: dict[str, dict[str, Any]] = {}
    for name in track(list(parts), description="probes"):
        values = parts[name]
        axes = rotated(values.reshape(len(values), -1))
        found[name] = _regressed(axes, asked, dealt, seed)
        if asked.cells is not None:
            found[name] |= _classified(values, asked.cells, dealt, tokens, seed)
    return found


def _regressed(axes: np.ndarray, asked: Asked, dealt: Folds, seed: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (scores := regression_probe(axes, asked.actions, dealt, seed=seed)) is not None:
        found |= {"action": asdict(scores["within"]), "action_all": asdict(scores["all"])}
    if asked.positions is None:
        return found
    cameras = {name: slice(2 * i, 2 * i + 2) for i, name in enumerate(asked.cameras)}
    if (scores := regression_probe(axes, asked.positions, dealt, groups=cameras, seed=seed)) is not None:
        found |= {"position": asdict(scores["within"]), "position_all": asdict(scores["all"]), "position_error": scores["error"],
                  "position_by_camera": {name: asdict(scores[name]) for name in cameras if name in scores}}
    return found


def _classified(values: np.ndarray, cells: np.ndarray, dealt: Folds, tokens: int, seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    exchanged = cells[draw.permutation(len(cells))]  # whole frames, so that what a place usually shows stays known
    rows = np.sort(draw.permutation(cells.size)[:tokens])
    sample = rows // cells.shape[1]
    part = Folds(outer=dealt.outer[sample], inner=dealt.inner[:, sample], episodes=dealt.episodes[sample], tasks=dealt.tasks[sample])
    scores = classes_probe(values.reshape(-1, values.shape[-1])[rows], cells.reshape(-1)[rows], exchanged.reshape(-1)[rows], part,
                           positive=OBJECT, seed=seed)
    names = {"iou": "segmentation", "auc": "object"}
    return {names[name]: None if score is None else asdict(score) for name, score in scores.items()}


def likeness(parts: Mapping[str, Float[np.ndarray, "samples tokens width"]]) -> dict[str, Any]:
    """Linear CKA, debiased, of every pair of parts on one grid, over tokens without the mean of their place."""
    matrix = cka_matrix({name: without_places(values) for name, values in parts.items()})
    return {"names": list(parts), "matrix": [[None if np.isnan(x) else float(x) for x in row] for row in matrix]}


def counts(cells: Int[np.ndarray, "samples tokens"]) -> dict[str, int]:
    """Tokens by what they show."""
    return {CLASSES[kind]: int(n) for kind, n in zip(*np.unique(cells, return_counts=True), strict=True)}
