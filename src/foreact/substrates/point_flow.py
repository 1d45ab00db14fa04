"""3D flow of tracked points: where each goes in the world, in metres, from the present to each future (survey, section 4.2.3).

    s in R^{H x N x C}, C = 7: displacement (3), present place about the token's anchor (3), +1 on the hand or -1 on an object

The points are those of the annotation "points", on the surfaces of the hand and of objects. A point has no name that lasts beyond
its episode, so a token is an anchor in the world, and speaks of the point that it takes in each scene (`Anchors`); where that
point is now is part of what is predicted, since only training knows it. PointWorld reads its points off depth pictures and
knows the hand's motion from the candidate action; here both kinds are predicted, and the last channel tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import SpecError
from foreact.contract.specs import ObservationSpec
from foreact.flow.cameras import project
from foreact.flow.drawing import draw_segments
from foreact.nets.anchors import Anchors
from foreact.nets.units import Units, first_scenes

__all__ = ["PointFlow"]

_FIT_BATCHES = 32
_HAND, _OBJECT = (0.2, 0.8, 1.0), (1.0, 0.6, 0.1)


class PointFlow(Substrate):
    """One token for each point; see the head of the file for its channels."""

    kind = "Geometric"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`points`: tokens, at most as many as are tracked. apart: metres by which a point of the hand counts as further from an
        anchor for objects, and the other way round. floor: metres below which motion is not scaled up."""

        points: int = 16
        apart: float = 0.3
        floor: float = 1e-3

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            return SubstrateForm(grid=(1, 1, self.points), channels=7)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ("points",)

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.cameras = tuple(camera for camera in observation.cameras if camera.calibration is not None)
        self.anchors = Anchors(config.points, 4)
        self.move, self.place = Units(1), Units(1)  # metres; one scale for all directions and all points

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        points = self._points(scene)
        taken = points.take_along_dim(self.anchors.take(self._where(points[:, 0]))[:, None, :, None], dim=2)
        place, hand = taken[:, :1, :, :3], taken[:, :1, :, 3:]
        present = torch.cat([self.place(place - self.anchors.places[:, :3]), 2 * hand - 1], dim=-1)
        values = torch.cat([self.move(taken[..., :3] - place), present.expand(-1, points.shape[1], -1, -1)], dim=-1)
        values[:, 0] = 0  # the present is not part of a future
        return values

    def _points(self, scene: Scene) -> Float[Tensor, "batch time point 4"]:
        points = scene.annotations.get("points")
        if points is None or points.shape[2] < self.config.points:
            raise SpecError("too few points are tracked", where="model.substrate.points",
                            found="no annotation 'points'" if points is None else points.shape[2], accepted=f"{self.config.points} or more",
                            next_step="collect with annotations.tracks=true, or predict fewer points")
        return points.float()

    def _where(self, points: Float[Tensor, "batch point 4"]) -> Float[Tensor, "batch point 4"]:
        """Where anchors look for them: in the world, and apart by what they are on."""
        return torch.cat([points[..., :3], self.config.apart * points[..., 3:]], dim=-1)

    def metres(self, values: Float[Tensor, "*any channels"]) -> tuple[Float[Tensor, "*any 3"], Float[Tensor, "*any 3"]]:
        """Present place and displacement of each token in the world."""
        return self.place.inverse(values[..., 3:6]) + self.anchors.places[:, :3], self.move.inverse(values[..., :3])

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """A line from each point to where it goes, blue on the hand and orange on an object, for every camera that is calibrated."""
        flat = values.float().flatten(0, 1)
        place, move = self.metres(flat)
        colours = torch.where(flat[..., 6:] > 0, flat.new_tensor(_HAND), flat.new_tensor(_OBJECT))
        found = {}
        for camera in self.cameras:
            ends = [torch.where(depth[..., None] > 0, pixels, torch.nan) for pixels, depth in (
                project(camera.calibration, x, height=camera.height, width=camera.width) for x in (place, place + move))]
            under = (present[camera.name] * 0.6).to(torch.uint8).repeat_interleave(values.shape[1], dim=0)
            found[camera.name] = draw_segments(under, *ends, colours).unflatten(0, values.shape[:2])
        return found

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Anchors over the present places, and two scales, from at most 32 batches.

        Returns displacement_m, how far a point moves, and anchor_m, how far it is from its anchor, both root mean square.
        """
        points = torch.cat([self._points(scene) for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.anchors.fit(self._where(points[:, 0]), seed=seed)
        taken = points.take_along_dim(self.anchors.take(self._where(points[:, 0]))[:, None, :, None], dim=2)[..., :3]
        away, moves = taken[:, 0] - self.anchors.places[:, :3], taken[:, 1:] - taken[:, :1]
        self.place.fit(away.flatten()[:, None], centred=False, floor=self.config.floor)
        self.move.fit(moves.flatten()[:, None], centred=False, floor=self.config.floor)
        return {"displacement_m": float(moves.square().sum(-1).mean().sqrt()), "anchor_m": float(away.square().sum(-1).mean().sqrt())}
