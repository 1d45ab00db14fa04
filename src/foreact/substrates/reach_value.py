"""A spatial value map: how worth acting on each visible place of an object is, by how near the hand will be to it.

    v(q) = [q shows an object] exp(-|x(q) - h| / length),    x(q) the place that pixel q shows, h the hand, both in m in the world

averaged over cells, for every calibrated camera, from "depth.<camera>", "segmentation.<camera>" and proprioception. The maps of
survey section 4.2.4 (AIM) are scored by hand or by a model; this one is geometry: it is high where an object will be within the
hand's reach, so its peak moves onto the part that the task has the hand act on. It knows no reward.
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
from foreact.flow.cameras import unproject
from foreact.nets.map_tokens import MapTokens, annotated, calibrated, hand_entries, hand_places, map_form
from foreact.nets.units import first_scenes

__all__ = ["ReachValue"]

_FIT_BATCHES = 8
_FLOOR = 1e-3
_OBJECT = 3
_GREEN = ((0.2, 1.0, 0.4),)


class ReachValue(Substrate):
    """A grid of patches for each calibrated camera; the channels of a token are the cells of its patch."""

    kind = "Affordance"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """grid: rows and columns of patches per camera; each is cut into detail x detail cells. length: metres over which the value
        falls to 1/e. hand: the names that the hand's place in the robot's world, in m, has in the state."""

        grid: tuple[int, int] = (4, 4)
        detail: int = 4
        length: float = 0.1
        hand: tuple[str, str, str] = ("hand_x", "hand_y", "hand_z")

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            hand_entries(observation, self.hand)
            return map_form(calibrated(observation), self.grid, self.detail, 1)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return tuple(f"{kind}.{camera.name}" for camera in calibrated(observation) for kind in ("depth", "segmentation"))

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.maps = MapTokens(calibrated(observation), config.grid, config.detail, 1)
        self._hand = hand_entries(observation, config.hand)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.maps.future(self.value(scene))

    def value(self, scene: Scene) -> Float[Tensor, "batch time camera 1 rows columns"]:
        """The maps themselves, in [0, 1]; 0 where no object is seen."""
        hand, found = hand_places(scene, self._hand), []
        for camera in self.maps.cameras:
            depth, classes = annotated(scene, f"depth.{camera.name}"), annotated(scene, f"segmentation.{camera.name}")
            row, column = torch.meshgrid(torch.arange(camera.height, device=depth.device) + 0.5,
                                         torch.arange(camera.width, device=depth.device) + 0.5, indexing="ij")
            pixels = torch.stack([column, row], dim=-1).expand(*depth.shape, 2)
            places = unproject(camera.calibration, pixels, depth, height=camera.height, width=camera.width)
            near = torch.exp(-(places - hand[:, :, None, None]).norm(dim=-1) / self.config.length)
            found.append(self.maps.shares(torch.where((classes == _OBJECT) & (depth > 0), near, 0.0)))
        return torch.stack(found, dim=2)[:, :, :, None]

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The present, dimmed, with the value in green over it, for every camera that is calibrated."""
        return self.maps.painted(values, present, _GREEN)

    @torch.no_grad()
    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Mean and scale from at most 8 batches. Returns peak, the mean over maps of their highest value."""
        value = torch.cat([self.value(scene)[:, 1:] for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.maps.fit(value, floor=_FLOOR)
        return {"peak": float(value.amax(dim=(-1, -2)).mean())}
