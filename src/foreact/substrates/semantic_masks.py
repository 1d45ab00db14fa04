"""Semantic masks: which part of the picture will be what (survey, section 4.2.4).

    m_k(cell) = share of the cell's pixels that are of class k

for every camera, from the annotations "segmentation.<camera>". The classes are numbered as in the recorded annotations: 0
background, 1 arm, 2 hand, 3 object, 4 goal. MWM predicts such masks instead of pictures. Values are real shares,
not one-hot codes, so they are denoised like any other map.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import ConfigError
from foreact.contract.specs import ObservationSpec
from foreact.nets.map_tokens import MapTokens, annotated, map_form
from foreact.nets.units import first_scenes

__all__ = ["SemanticMasks"]

_FIT_BATCHES = 8
_FLOOR = 1e-3
_COLOURS = ((0.3, 0.3, 0.3), (0.6, 0.6, 0.7), (0.2, 0.8, 1.0), (1.0, 0.6, 0.1), (0.4, 0.9, 0.3))


class SemanticMasks(Substrate):
    """A grid of patches for each camera; the channels of a token are its cells' shares, class by class."""

    kind = "Affordance"
    decodable = per_frame = False
    watchable = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """grid: rows and columns of patches per camera; each is cut into detail x detail cells. classes: those that are drawn."""

        grid: tuple[int, int] = (4, 4)
        detail: int = 4
        classes: tuple[int, ...] = (2, 3)

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            if not self.classes or len(set(self.classes)) != len(self.classes) or not set(self.classes) <= set(range(len(_COLOURS))):
                raise ConfigError("not classes of a mask", where="model.substrate.classes", found=self.classes,
                                  accepted="some of 0 background, 1 arm, 2 hand, 3 object, 4 goal, each once")
            return map_form(observation.cameras, self.grid, self.detail, len(self.classes))

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return tuple(f"segmentation.{name}" for name in observation.camera_names)

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.maps = MapTokens(observation.cameras, config.grid, config.detail, len(config.classes))

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.maps.future(self.masks(scene))

    def masks(self, scene: Scene) -> Float[Tensor, "batch time camera layer rows columns"]:
        """Shares by class, each in [0, 1]."""
        found = []
        for camera in self.maps.cameras:
            classes = annotated(scene, f"segmentation.{camera.name}")
            found.append(torch.stack([self.maps.shares((classes == k).float()) for k in self.config.classes], dim=2))
        return torch.stack(found, dim=2)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The present, dimmed, with each class in its colour: the hand blue, objects orange, the goal green."""
        return self.maps.painted(values, present, [_COLOURS[k] for k in self.config.classes])

    @torch.no_grad()
    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """A mean and a scale for each class, from at most 8 batches. Returns covered, the share of the pictures in these classes."""
        masks = torch.cat([self.masks(scene)[:, 1:] for scene in first_scenes(batches, min(steps, _FIT_BATCHES))])
        self.maps.fit(masks, floor=_FLOOR)
        return {"covered": float(masks.sum(dim=3).mean())}
