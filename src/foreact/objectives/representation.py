"""Alignment of a backbone's hidden states with a teacher: an objective that any model can add by one word.

    L_align = weight ( patchwise L_cos + relational L_rel ),    averaged over the layers that are aligned

AGRA (Making Foresight Actionable, 2026) aligns the states of one layer at a third of the depth, so that what the action reads is
organised by object and not by appearance. Layers are shares of the depth: 1/3 is the paper's L8, 1/2 its L15, (1/6, 1/3, 1/2) its
L4/8/12. The states are those of the training's own pass, so the input is as noised as it is there and the projection is told no
noise level. The projection is three layers with SiLU, as in REPA. Hidden tokens of a frame lie on a grid per camera; they are brought
to the teacher's by averaging where it is coarser and bilinearly where it is finer. A stream's frames stand for the times that they
stand for in the model; a latent frame that holds several is aligned with the teacher's features at its last.

The teacher is a substrate: `FrozenFeatures` over DINOv2, SigLIP2 or an encoder learnt on the dataset's own frames, `SemanticMasks`
for what a simulator knows of objects (an oracle), `Depth` or `PointMaps` for geometry that only training has (3DThinkVLA). It is
frozen, its features are stored like those of every substrate, and nothing of it or of the projection runs when acting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.axes import Substrate, SubstrateForm, Tap
from foreact.contract.config import Buildable, Config
from foreact.contract.errors import ConfigError, MisfitError
from foreact.objectives.alignment import cosine_alignment, relational_alignment

__all__ = ["Alignment", "FirstPass", "aligned_layers"]


class FirstPass:
    """The states of some streams in the first pass that is learnt from, whatever else the coupling runs on the way.

    In training that is one with gradients; where nothing is learnt, as in validation, it is the first of all. Where a pass holds some of
    the stream's tokens only, frame after frame, those of the next passes follow until it is whole. streams: tokens by name.
    """

    def __init__(self, streams: Mapping[str, int], layers: Iterable[int]) -> None:
        self.tap = Tap(streams, sorted(set(layers)), taken=self._heard)
        self._learning, self._lengths = torch.is_grad_enabled(), dict(streams)
        self._states: dict[tuple[str, int], list[Tensor]] = {}

    def states(self, stream: str, places: tuple[int, ...], layers: Iterable[int]) -> list[Float[Tensor, "batch tokens width"]]:
        """Of these tokens of a stream, by layer."""
        heard = [torch.cat(self._states[stream, layer], dim=1) for layer in layers]
        return [x if len(places) == x.shape[1] else x[:, places] for x in heard]

    def _heard(self, stream: str, layer: int, states: Tensor) -> None:
        held = self._states.setdefault((stream, layer), [])
        if torch.is_grad_enabled() == self._learning and sum(x.shape[1] for x in held) < self._lengths[stream]:
            held.append(states)


def aligned_layers(shares: tuple[float, ...], depth: int) -> tuple[int, ...]:
    """Layers, counted from 1, at these shares of the depth."""
    return tuple(sorted({max(1, round(share * depth)) for share in shares}))


class Alignment(nn.Module, Buildable):
    """Projections of the aligned layers, and the loss."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(form, width, depth)`: form of a frame of the stream, width of its hidden states, layers of the backbone.

        stream: whose states are aligned, by default those of the main future; "frame" for the present.
        cameras: which of the stream's cameras the teacher looks through, by their places; empty for all of them.
        projection: width of the projection's hidden layers as a multiple of the states'.
        """

        teacher: Substrate.Config
        stream: str = "video"
        layers: tuple[float, ...] = (1 / 3,)
        weight: float = 0.5
        patchwise: float = 1.0
        relational: float = 1.0
        cameras: tuple[int, ...] = ()
        projection: int = 2

        def __post_init__(self) -> None:
            if not self.layers or not all(0 < share <= 1 for share in self.layers):
                raise ConfigError("layers are shares of the depth", where="model.alignment.layers", found=self.layers,
                                  accepted="numbers above 0, up to 1")
            if min(self.weight, self.patchwise, self.relational) < 0 or self.patchwise + self.relational == 0:
                raise ConfigError("weights are not negative, and one of the two losses counts", where="model.alignment",
                                  found=f"weight = {self.weight}, patchwise = {self.patchwise}, relational = {self.relational}")

    def __init__(self, config: Config, stream: SubstrateForm, teacher: SubstrateForm, width: int, depth: int) -> None:
        super().__init__()
        self._cameras = list(config.cameras or range(stream.grid[0]))
        if len(self._cameras) != teacher.grid[0] or not set(self._cameras) <= set(range(stream.grid[0])):
            raise MisfitError("stream and teacher look through different cameras", where="model.alignment.cameras",
                              found=f"{self._cameras} of {stream.grid[0]} against {teacher.grid[0]} of the teacher's",
                              accepted="as many as the teacher has, by their places among the stream's",
                              next_step=f"model.alignment.cameras={list(range(teacher.grid[0]))}".replace(" ", ""))
        self.config, self._from, self._to = config, stream.grid, teacher.grid
        self.layers = aligned_layers(config.layers, depth)
        inner = config.projection * width
        self.project = nn.ModuleDict({str(layer): nn.Sequential(
            nn.Linear(width, inner), nn.SiLU(), nn.Linear(inner, inner), nn.SiLU(), nn.Linear(inner, teacher.channels))
            for layer in self.layers})

    def forward(self, states: Sequence[Float[Tensor, "batch tokens width"]], teacher: Float[Tensor, "batch time places features"],
                keep: Bool[Tensor, "batch time"]) -> Tensor:
        """One scalar. `states` of each aligned layer, frame after frame; `keep`: frames inside the episode."""
        frames, times = teacher.flatten(0, 1), teacher.shape[1]
        tokens = keep.reshape(-1)[:, None].expand(-1, frames.shape[1])
        found = []
        for layer, hidden in zip(self.layers, states, strict=True):
            ours = self.project[str(layer)](self._resampled(hidden.unflatten(1, (times, -1)).flatten(0, 1)))
            found.append(self.config.patchwise * cosine_alignment(ours, frames, tokens)
                         + self.config.relational * relational_alignment(ours, frames, keep.reshape(-1)))
        return self.config.weight * torch.stack(found).mean()

    def _resampled(self, hidden: Float[Tensor, "frame tokens width"]) -> Float[Tensor, "frame places width"]:
        """Tokens on the teacher's grid, camera by camera."""
        if self._from == self._to:
            return hidden
        cameras, rows, columns = self._from
        picture = hidden.unflatten(1, (cameras, rows, columns))[:, self._cameras].flatten(0, 1).permute(0, 3, 1, 2).float()
        size = self._to[1:]
        if size[0] <= rows and size[1] <= columns:
            picture = F.adaptive_avg_pool2d(picture, size)
        else:
            picture = F.interpolate(picture, size=size, mode="bilinear", align_corners=False)
        return picture.permute(0, 2, 3, 1).unflatten(0, (-1, len(self._cameras))).flatten(1, 3).to(hidden.dtype)
