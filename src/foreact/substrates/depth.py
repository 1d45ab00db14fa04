"""Depth maps: how far away what each camera sees will be (survey, section 4.2.3).

    s in R^{H x h x w x c}: depth in metres at each future, less what is usual at that place of the picture, before scaling

The maps are those of the annotation "depth.<camera>": metres along the view, 0 where nothing is, which counts as `far`. They are
averaged over the cells of a grid. What is usual at a place (the table, the wall) is its mean over many scenes; a camera that rides on
the hand has less of it. Depths are of the future itself and not changes, so that surfaces are predicted, as in RGB-D world models.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import SpecError
from foreact.contract.specs import ObservationSpec
from foreact.nets.map_tokens import map_form
from foreact.nets.units import Units, first_scenes

__all__ = ["Depth"]

_FIT_BATCHES = 32


class Depth(Substrate):
    """A grid of patches for each camera; the channels of a token are the cells of its patch, by row."""

    kind = "Geometric"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`grid`: rows and columns of patches per camera. detail: each patch is cut into detail x detail cells. far: metres beyond
        which everything is as far. floor: metres below which a deviation is not scaled up."""

        grid: tuple[int, int] = (4, 4)
        detail: int = 4
        far: float = 4.0
        floor: float = 0.01

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            return map_form(observation.cameras, self.grid, self.detail, 1)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return tuple(f"depth.{name}" for name in observation.camera_names)

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), observation.cameras
        patches = config.grid[0] * config.grid[1]
        self.register_buffer("usual", torch.zeros(len(self.cameras), patches, self.form.channels))
        self.register_buffer("nearest", torch.zeros(len(self.cameras)))
        self.register_buffer("farthest", torch.full((len(self.cameras),), config.far))
        self.units = Units(len(self.cameras), 1, 1)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        values = self.units(self._metres(scene) - self.usual)
        values[:, 0] = 0  # the present is not part of a future
        return values.flatten(2, 3)

    def _metres(self, scene: Scene) -> Float[Tensor, "batch time camera patch channels"]:
        cells, cameras = tuple(self.config.detail * side for side in self.config.grid), []
        for camera in self.cameras:
            depth = scene.annotations.get(f"depth.{camera.name}")
            if depth is None:
                raise SpecError("the depth of a camera is not known", where=f"scene.annotations.depth.{camera.name}",
                                found=", ".join(scene.annotations) or "no annotations", accepted="(batch, time, height, width) in m",
                                next_step="collect with annotations.depth=true")
            depth = torch.where(depth > 0, depth.float(), self.config.far).clamp(max=self.config.far)
            mean = F.adaptive_avg_pool2d(depth.flatten(0, 1)[:, None], cells)
            cameras.append(F.pixel_unshuffle(mean, self.config.detail).flatten(2).transpose(1, 2).unflatten(0, depth.shape[:2]))
        return torch.stack(cameras, dim=2)

    def metres(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time camera row column"]:
        """Depth maps on the grid of cells: for each row and column of it, metres."""
        depth = self.units.inverse(values.unflatten(2, (len(self.cameras), -1))) + self.usual
        grids = depth.transpose(-2, -1).unflatten(-1, self.config.grid).flatten(0, 2)
        return F.pixel_shuffle(grids, self.config.detail)[:, 0].unflatten(0, depth.shape[:3])

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """Near is bright, far is dark, over the range that was found when fitting."""
        found = {}
        for index, (camera, depth) in enumerate(zip(self.cameras, self.metres(values.float()).unbind(2), strict=True)):
            low, high = self.nearest[index], self.farthest[index]
            bright = 1 - (depth - low) / (high - low).clamp(min=1e-6)
            picture = F.interpolate((255 * bright.clamp(0, 1)).flatten(0, 1)[:, None], (camera.height, camera.width), mode="nearest")
            found[camera.name] = picture.round().to(torch.uint8).expand(-1, 3, -1, -1).unflatten(0, values.shape[:2])
        return found

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """What is usual at each place, and one scale per camera, from at most 32 batches.

        Returns deviation_m, the root mean square from what is usual, and change_m, from the present.
        """
        metres = torch.cat([self._metres(scene) for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.usual.copy_(metres[:, 1:].mean(dim=(0, 1)))
        self.nearest.copy_(metres.amin(dim=(0, 1, 3, 4)))
        self.farthest.copy_(metres.amax(dim=(0, 1, 3, 4)))
        away = metres[:, 1:] - self.usual
        self.units.fit(away, centred=False, floor=self.config.floor)
        return {"deviation_m": float(away.square().mean().sqrt()),
                "change_m": float((metres[:, 1:] - metres[:, :1]).square().mean().sqrt())}
