"""Point maps: where in the robot's world each patch of a picture's surfaces will be, in metres (survey, section 4.2.3).

    s in R^{H x h x w x 3}:  x(u) = c + d(u) ( forward + a(u) right + b(u) up ),   less what is usual at u, before scaling

d(u) is the depth that the annotation "depth.<camera>" has at pixel u, (a, b) the ray's slopes, c the camera's place. A cell of the map
is the mean of its pixels' points, so that at a silhouette it lies between two surfaces. The maps are of the future frames themselves,
pixel-aligned with them, as the dynamic pointmaps of PointAction (arXiv 2606.03943), and in the frame of the robot's world, in which its
hand's place is told; so only cameras that are calibrated have one. Depth and calibration serve training: acting needs neither.
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
from foreact.contract.specs import CameraSpec, ObservationSpec
from foreact.flow.cameras import unproject
from foreact.nets.map_tokens import MapTokens, annotated, calibrated, map_form
from foreact.nets.units import first_scenes

__all__ = ["PointMaps"]

_FIT_BATCHES = 32


class PointMaps(Substrate):
    """A grid of patches for each calibrated camera; the channels of a token are x of its cells by row, then y, then z."""

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
            return map_form(calibrated(observation), self.grid, self.detail, 3)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return tuple(f"depth.{camera.name}" for camera in calibrated(observation))

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), calibrated(observation)
        self.maps = MapTokens(self.cameras, config.grid, config.detail, 3)
        self.register_buffer("usual", torch.zeros(len(self.cameras), 3, *self.maps.cells))
        self.register_buffer("low", torch.zeros(3))
        self.register_buffer("high", torch.ones(3))

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.maps.future(self._metres(scene) - self.usual)

    def _metres(self, scene: Scene) -> Float[Tensor, "batch time camera 3 rows columns"]:
        return torch.stack([self._of(camera, annotated(scene, f"depth.{camera.name}")) for camera in self.cameras], dim=2)

    def _of(self, camera: CameraSpec, depth: Float[Tensor, "batch time height width"]) -> Float[Tensor, "batch time 3 rows columns"]:
        """The mean point of every cell; nothing counts as `far`."""
        depth = torch.where(depth > 0, depth.float(), self.config.far).clamp(max=self.config.far)
        row, column = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
        pixels = torch.stack([column, row], dim=-1).to(depth).expand(*depth.shape, 2)
        points = unproject(camera.calibration, pixels, depth, height=camera.height, width=camera.width)
        return self.maps.shares(points.movedim(-1, 2))

    def metres(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time camera 3 rows columns"]:
        """The points themselves, in the robot's world."""
        return self.maps.unpack(values) + self.usual

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """x as red, y as green, z as blue, over the range that was found when fitting."""
        span = (self.high - self.low).clamp(min=1e-6)
        bright = 255 * ((self.metres(values) - self.low[:, None, None]) / span[:, None, None]).clamp(0, 1)
        found = {}
        for index, camera in enumerate(self.cameras):
            picture = F.interpolate(bright[:, :, index].flatten(0, 1), (camera.height, camera.width), mode="nearest")
            found[camera.name] = picture.round().to(torch.uint8).unflatten(0, values.shape[:2])
        return found

    @torch.no_grad()
    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """What is usual at each place, and one scale per axis, from at most 32 batches.

        Returns deviation_m, the root mean square distance from what is usual, and change_m, from the present.
        """
        metres = torch.cat([self._metres(scene) for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.usual.copy_(metres[:, 1:].mean(dim=(0, 1)))
        self.low.copy_(metres.amin(dim=(0, 1, 2, 4, 5)))
        self.high.copy_(metres.amax(dim=(0, 1, 2, 4, 5)))
        away, change = metres[:, 1:] - self.usual, metres[:, 1:] - metres[:, :1]
        self.maps.fit(away, floor=self.config.floor)
        return {"deviation_m": float(away.square().sum(3).mean().sqrt()), "change_m": float(change.square().sum(3).mean().sqrt())}
