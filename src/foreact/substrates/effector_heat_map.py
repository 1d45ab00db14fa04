"""Heat maps of where the end effector will be: a Gaussian about the projected hand (survey, section 4.2.4).

    m(q) = exp(-|q - pi(h)|^2 / (2 r^2)),   pi the camera's projection, h the hand in the world, q the middle of a cell

for every camera that is calibrated and every future time. The hand comes from proprioception, so no annotation is needed.
ActionImages and MV-VDP draw such maps as pictures beside RGB; here a map is a grid of patches whose cells are channels. Only the
place is drawn: neither the hand's depth along the view nor its opening.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.specs import ObservationSpec
from foreact.flow.cameras import project
from foreact.nets.map_tokens import MapTokens, calibrated, hand_entries, hand_places, map_form
from foreact.nets.units import first_scenes

__all__ = ["EffectorHeatMap"]

_FIT_BATCHES = 8
_FLOOR = 1e-3
_HEAT = ((1.0, 0.3, 0.1),)


class EffectorHeatMap(Substrate):
    """A grid of patches for each calibrated camera; the channels of a token are the cells of its patch."""

    kind = "Affordance"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """grid: rows and columns of patches per camera; each is cut into detail x detail cells. radius: r, as a share of the
        picture's height. hand: the names that the hand's place in the robot's world, in m, has in the state."""

        grid: tuple[int, int] = (4, 4)
        detail: int = 4
        radius: float = 0.06
        hand: tuple[str, str, str] = ("hand_x", "hand_y", "hand_z")

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            hand_entries(observation, self.hand)
            return map_form(calibrated(observation), self.grid, self.detail, 1)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.maps = MapTokens(calibrated(observation), config.grid, config.detail, 1)
        self._hand = hand_entries(observation, config.hand)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.maps.future(self.heat(scene))

    def heat(self, scene: Scene) -> Float[Tensor, "batch time camera 1 rows columns"]:
        """The maps themselves: 1 at the hand, 0 far from it or where the hand is behind the camera."""
        hand, found = hand_places(scene, self._hand), []
        for camera in self.maps.cameras:
            pixels, depth = project(camera.calibration, hand, height=camera.height, width=camera.width)
            away = (self.maps.centres(camera, hand.device) - pixels[..., None, None, :]).square().sum(-1)
            heat = torch.exp(-away / (2 * (self.config.radius * camera.height) ** 2))
            found.append(torch.where(depth[..., None, None] > 0, heat, 0.0))
        return torch.stack(found, dim=2)[:, :, :, None]

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The present, dimmed, with the heat in orange over it, for every camera that is calibrated."""
        return self.maps.painted(values, present, _HEAT)

    @torch.no_grad()
    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Mean and scale from at most 8 batches. Returns in_view, the share of maps with the hand's peak inside the picture."""
        heat = torch.cat([self.heat(scene)[:, 1:] for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.maps.fit(heat, floor=_FLOOR)
        return {"in_view": float((heat.amax(dim=(-1, -2)) > 0.5).float().mean())}
