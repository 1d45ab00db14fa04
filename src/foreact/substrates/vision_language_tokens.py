"""Tokens of a frozen vision-language model as the future (survey, section 4.2.2: VLM tokens).

The hidden states of its trunk at the image's tokens, whitened and averaged to a grid as `FrozenFeatures` does with any encoder;
what differs is where they come from, and so the word for them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.specs import ObservationSpec
from foreact.nets.vision_language import VisionLanguage
from foreact.substrates.frozen_features import FrozenFeatures

__all__ = ["VisionLanguageTokens"]


class VisionLanguageTokens(Substrate):
    """One vision-language model for all cameras; no text takes part."""

    kind = "Feature (VLM token)"
    decodable = watchable = False
    per_frame = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """`grid`: rows and columns of tokens per camera, which must divide those of the model. `floor`: see `FrozenFeatures`."""

        encoder: VisionLanguage.Config = field(default_factory=VisionLanguage.Config)
        grid: tuple[int, int] = (4, 4)
        floor: float = 0.1

        @property
        def features(self) -> FrozenFeatures.Config:
            return FrozenFeatures.Config(encoder=self.encoder, grid=self.grid, floor=self.floor)

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            return self.features.form(observation)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.features: FrozenFeatures = config.features.build(observation)

    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.features.encode(scene)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        return self.features.decode(values, present)

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        return self.features.fit(batches, steps=steps, seed=seed)
