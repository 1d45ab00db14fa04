"""Contact maps: where hand and object come close, and where they touch (survey, section 4.2.4).

    near(q)  = [a pixel of the hand and a pixel of an object both lie within `reach` of q]
    touch(q) = near(q) F / (F + firm),    F the summed normal force between hand and objects, in N

averaged over cells, for every camera, from "segmentation.<camera>" and "contacts". Closeness is in the picture, not in the world:
an object behind the hand counts as near. The force is one number for the scene, so where the hand is near two objects at once both
are marked. PALM's contact likelihood is a learnt head; here it is measured and what is learnt is its future.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.specs import ObservationSpec
from foreact.nets.map_tokens import MapTokens, annotated, map_form
from foreact.nets.units import first_scenes

__all__ = ["ContactMap"]

_FIT_BATCHES = 8
_FLOOR = 1e-2
_HAND, _OBJECT = 2, 3
_COLOURS = ((1.0, 0.9, 0.3), (1.0, 0.1, 0.2))


class ContactMap(Substrate):
    """A grid of patches for each camera; the channels of a token are its cells: near, then touch."""

    kind = "Affordance"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """grid: rows and columns of patches per camera; each is cut into detail x detail cells. reach: pixels. firm: the force in N
        at which touch is half of what it can be."""

        grid: tuple[int, int] = (4, 4)
        detail: int = 4
        reach: int = 2
        firm: float = 5.0

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            return map_form(observation.cameras, self.grid, self.detail, 2)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return (*(f"segmentation.{name}" for name in observation.camera_names), "contacts")

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.maps = MapTokens(observation.cameras, config.grid, config.detail, 2)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.maps.future(self.contacts(scene))

    def contacts(self, scene: Scene) -> Float[Tensor, "batch time camera 2 rows columns"]:
        """The maps themselves, near and touch, each in [0, 1]."""
        force = annotated(scene, "contacts")[..., 1].float()
        strength, found = (force / (force + self.config.firm))[..., None, None], []
        for camera in self.maps.cameras:
            classes = annotated(scene, f"segmentation.{camera.name}")
            near = self.maps.shares((self._around(classes == _HAND) & self._around(classes == _OBJECT)).float())
            found.append(torch.stack([near, near * strength], dim=2))
        return torch.stack(found, dim=2)

    def _around(self, mask: Bool[Tensor, "batch time height width"]) -> Bool[Tensor, "batch time height width"]:
        """Pixels within `reach` of the mask, in either direction of the picture."""
        reach = self.config.reach
        return F.max_pool2d(mask.float(), 2 * reach + 1, stride=1, padding=reach) > 0

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The present, dimmed, yellow where hand and object are near and red where they touch."""
        return self.maps.painted(values, present, _COLOURS)

    @torch.no_grad()
    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """A mean and a scale for each layer, from at most 8 batches. Returns touching, the share of futures in contact."""
        scenes = first_scenes(batches, min(steps, _FIT_BATCHES))
        self.maps.fit(torch.cat([self.contacts(scene)[:, 1:] for scene in scenes]), floor=_FLOOR)
        return {"touching": float(torch.cat([scene.annotations["contacts"][:, 1:, 1] > 0 for scene in scenes]).float().mean())}
