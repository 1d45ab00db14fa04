"""Decoded pixels: the future is predicted in latents, and the action side sees nothing but what a decoder renders of them.

    s = d_phi(z),   z in the latents of `inner`                                  (survey, section 4.2.1: a decoded observation)

It shares everything with `inner` except what it shows: a token of 3 x patch x patch numbers, RGB in [-1, 1], on the same grid.
So a system that renders and then decodes is the latent one with another word in its config, and pays for the decoder whenever
its action side looks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from jaxtyping import Float, UInt8
from torch import Tensor

from foreact.contract.axes import Substrate, SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.specs import ObservationSpec
from foreact.substrates.pixel_decodable import PixelDecodable
from foreact.substrates.pixel_latents import PixelLatents

__all__ = ["Decoded"]


class Decoded(Substrate):
    """Predicted in the latents of `inner`, read as pixels."""

    kind = "Pixel (decoded)"
    decodable = watchable = per_frame = True

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        inner: PixelDecodable.Config = field(default_factory=PixelLatents.Config)

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            return replace(self.inner.form(observation), exposed_channels=self.inner.pixels(observation))

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return self.inner.needs(observation)

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form = config, config.form(observation)
        self.inner: PixelDecodable = config.inner.build(observation)

    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        return self.inner.encode(scene)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return self.inner.patches(values)

    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        return self.inner.decode(values, present)

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        return self.inner.fit(batches, steps=steps, seed=seed)
