"""2D tracks of points with their visibility: where each goes in the picture of each camera (survey, section 4.2.3).

    s in R^{H x cameras x N x C}, C = 5: displacement (u, v), present place about the token's anchor (2), +1 where seen then or -1

The points are those of the annotation "tracks.<camera>". A point has no name that lasts beyond its episode, so a token is an anchor
in a camera's picture and speaks of the point that it takes in each scene (`Anchors`); where that point is now is part of what is
predicted. Motion counts where a point lies in the picture now and then; elsewhere it is zero, since nothing could show it. The
survey's keypoints are R^{H x N x 3}, place and visibility; place is split here into where from and how far, so that rest is zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import SpecError
from foreact.contract.specs import CameraSpec, ObservationSpec
from foreact.flow.drawing import draw_segments
from foreact.nets.anchors import Anchors
from foreact.nets.units import Units, first_scenes

__all__ = ["PointTracks"]

_FIT_BATCHES = 32
_SEEN, _HIDDEN = (0.3, 1.0, 0.3), (0.9, 0.2, 0.2)


class PointTracks(Substrate):
    """One token for each camera and point; see the head of the file for its channels."""

    kind = "Geometric"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`points`: tokens per camera, at most as many as are tracked. floor: pixels below which motion is not scaled up."""

        points: int = 16
        floor: float = 0.1

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            return SubstrateForm(grid=(len(observation.cameras), 1, self.points), channels=5)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return tuple(f"tracks.{name}" for name in observation.camera_names)

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), observation.cameras
        self.anchors = nn.ModuleList(Anchors(config.points, 2) for _ in self.cameras)
        self.move, self.place = Units(len(self.cameras), 1, 1), Units(len(self.cameras), 1, 1)  # pixels, one scale per camera

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        away, moves, seen = self._measured(scene)
        present = self.place(away)[:, None].expand(-1, moves.shape[1], -1, -1, -1)
        values = torch.cat([self.move(moves), present, 2 * seen - 1], dim=-1)
        values[:, 0] = 0  # the present is not part of a future
        return values.flatten(2, 3)

    def _measured(self, scene: Scene) -> tuple[Float[Tensor, "batch camera point 2"], Float[Tensor, "batch time camera point 2"],
                                               Float[Tensor, "batch time camera point 1"]]:
        """In pixels: from each anchor to its point now; how far that point goes; and whether it is seen then."""
        found = []
        for camera, anchors in zip(self.cameras, self.anchors, strict=True):
            tracks = self._tracks(scene, camera)
            taken = tracks.take_along_dim(anchors.take(tracks[:, 0, :, :2])[:, None, :, None], dim=2)
            place, seen = taken[..., :2], taken[..., 2:]
            size = place.new_tensor([camera.width, camera.height])
            inside = ((place >= 0) & (place <= size)).all(dim=-1, keepdim=True)
            move = torch.where(inside & inside[:, :1], place - place[:, :1], 0.0)
            found.append((place[:, 0] - anchors.places, move, seen))
        away, moves, seen = zip(*found, strict=True)
        return torch.stack(away, dim=1), torch.stack(moves, dim=2), torch.stack(seen, dim=2)

    def _tracks(self, scene: Scene, camera: CameraSpec) -> Float[Tensor, "batch time point 3"]:
        """Column, row, seen; places no further than half a picture beyond the border, where a point behind the camera may be."""
        tracks = scene.annotations.get(f"tracks.{camera.name}")
        if tracks is None or tracks.shape[2] < self.config.points:
            raise SpecError("too few points are tracked", where="model.substrate.points",
                            found=f"no annotation 'tracks.{camera.name}'" if tracks is None else tracks.shape[2],
                            accepted=f"{self.config.points} or more",
                            next_step="collect with annotations.tracks=true, or predict fewer points")
        size = torch.tensor([camera.width, camera.height], dtype=torch.float32, device=tracks.device)
        place = torch.minimum(torch.maximum(tracks[..., :2].float(), -0.5 * size), 1.5 * size)
        return torch.cat([place, tracks[..., 2:].float()], dim=-1)

    def pixels(self, values: Float[Tensor, "*any tokens channels"],
               ) -> tuple[Float[Tensor, "*any camera point 2"], Float[Tensor, "*any camera point 2"], Float[Tensor, "*any camera point"]]:
        """Where each point is, where it goes, and how surely it is seen there (above zero), in pixels of each camera."""
        by_camera = values.unflatten(-2, (len(self.cameras), -1))
        place = self.place.inverse(by_camera[..., 2:4]) + torch.stack([anchors.places for anchors in self.anchors])
        return place, place + self.move.inverse(by_camera[..., :2]), by_camera[..., 4]

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """A line from each point to where it goes over the dimmed present, green where it is seen there and red where it is hidden."""
        start, end, seen = self.pixels(values.float())
        colours = torch.where(seen[..., None] > 0, start.new_tensor(_SEEN), start.new_tensor(_HIDDEN))
        found = {}
        for index, camera in enumerate(self.cameras):
            under = (present[camera.name] * 0.6).to(torch.uint8).repeat_interleave(values.shape[1], dim=0)
            lines = draw_segments(under, *(x[:, :, index].flatten(0, 1) for x in (start, end, colours)))
            found[camera.name] = lines.unflatten(0, values.shape[:2])
        return found

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Anchors in each picture and scales, from at most 32 batches.

        Returns displacement_px and anchor_px, root mean square over points, and seen, the share of points that are.
        """
        scenes = first_scenes(batches, min(steps, _FIT_BATCHES))
        for camera, anchors in zip(self.cameras, self.anchors, strict=True):
            anchors.fit(torch.cat([self._tracks(scene, camera)[:, 0, :, :2] for scene in scenes]), seed=seed)
        away, moves, seen = (torch.cat(parts) for parts in zip(*map(self._measured, scenes), strict=True))
        moves, seen = moves[:, 1:], seen[:, 1:]
        self.place.fit(away, centred=False, floor=self.config.floor)
        self.move.fit(moves, centred=False, floor=self.config.floor)
        return {"displacement_px": float(moves.square().sum(-1).mean().sqrt()),
                "anchor_px": float(away.square().sum(-1).mean().sqrt()), "seen": float(seen.mean())}
