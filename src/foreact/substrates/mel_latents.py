"""Sound as a future: latents of the mel spectrogram of what will be heard (survey, section 4.2.5).

    z = W (m - mean),   m the log-mel frames of the last control steps up to the future time, cut into a few pieces

with W the leading principal components, scaled to unit variance; the transpose brings z back, so that the imagined sound can be
looked at. m is the annotation "audio". In simulation that sound is synthesised from contact forces, which is all it can tell of.
Published audio futures are latents of a pretrained audio autoencoder; this code is linear and found in closed form.
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
from foreact.contract.errors import ConfigError, SpecError
from foreact.contract.specs import ObservationSpec
from foreact.nets.map_tokens import annotated
from foreact.nets.units import first_scenes

__all__ = ["MelLatents"]

_FIT_BATCHES = 32
_QUIET, _LOUD = -13.8, 0.0  # log energies that are drawn black and white


class MelLatents(Substrate):
    """One token for each piece of the recent sound; channels are principal components, which all pieces share."""

    kind = "Audio (latent)"
    decodable = watchable = True
    per_frame = False

    @dataclass(frozen=True, kw_only=True)
    class Config(Substrate.Config):
        """frames, bands: of the annotation. tokens: pieces into which the frames are cut. channels: components of a piece.
        floor: the share of the mean deviation below which a component is no longer scaled up."""

        frames: int = 8
        bands: int = 16
        tokens: int = 2
        channels: int = 16
        floor: float = 0.3

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            if self.frames % self.tokens or self.channels > self.frames // self.tokens * self.bands:
                raise ConfigError("the sound cannot be cut like this", where="model.substrate.tokens",
                                  found=f"{self.frames} frames of {self.bands} bands into {self.tokens} pieces of {self.channels} channels",
                                  accepted="pieces of equal length with at most as many channels as they have numbers")
            return SubstrateForm(grid=(1, 1, self.tokens), channels=self.channels)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ("audio",)

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), observation.cameras
        numbers = config.frames // config.tokens * config.bands
        self.register_buffer("mean", torch.zeros(numbers))
        self.register_buffer("basis", torch.eye(numbers)[:, : config.channels].clone())
        self.register_buffer("scale", torch.ones(config.channels))

    def _pieces(self, scene: Scene) -> Float[Tensor, "batch time tokens numbers"]:
        sound = annotated(scene, "audio")
        wanted = (self.config.frames, self.config.bands)
        if tuple(sound.shape[2:]) != wanted:
            raise SpecError("the sound has another form", where="model.substrate.frames", found=tuple(sound.shape[2:]), accepted=wanted,
                            next_step="set model.substrate.frames and bands to annotations.audio_frames and audio_bands of the dataset")
        return sound.float().unflatten(2, (self.config.tokens, -1)).flatten(3)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        values = (self._pieces(scene) - self.mean) @ (self.basis / self.scale)
        values[:, 0] = 0  # the present is not part of a future
        return values

    @torch.no_grad()
    def sound(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time frames bands"]:
        """Log-mel frames of latents: the least-squares inverse of `encode`."""
        pieces = (values.float() * self.scale) @ self.basis.T + self.mean
        return pieces.unflatten(3, (-1, self.config.bands)).flatten(2, 3)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        """The spectrogram over the lower half of the first camera's present: time to the right, low notes at the bottom."""
        camera = self.cameras[0]
        grey = ((self.sound(values) - _QUIET) / (_LOUD - _QUIET)).clamp(0, 1).transpose(2, 3).flip(2).flatten(0, 1)
        drawn = F.interpolate(grey[:, None], (camera.height - camera.height // 2, camera.width), mode="nearest")
        picture = present[camera.name].repeat_interleave(values.shape[1], dim=0).clone()
        picture[:, :, camera.height // 2:] = (255 * drawn).round().to(torch.uint8)
        return {camera.name: picture.unflatten(0, values.shape[:2])}

    @torch.no_grad()
    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """Components from at most 32 batches. Returns explained, the share of the variance that the latents hold."""
        rows = torch.cat([self._pieces(scene)[:, 1:] for scene in first_scenes(batches, min(steps, _FIT_BATCHES))]).flatten(0, 2)
        self.mean.copy_(rows.mean(dim=0))
        centred = (rows - self.mean).double()
        variance, basis = torch.linalg.eigh(centred.T @ centred / len(centred))
        variance, basis = variance.flip(0).clamp(min=0), basis.flip(1)
        kept = variance[: self.config.channels]
        # the sign of an eigenvector is arbitrary: fix it, so that the same sounds give the same code
        self.basis.copy_((basis * torch.where(basis.sum(0) < 0, -1.0, 1.0))[:, : self.config.channels])
        scale = (kept + (self.config.floor * kept.sqrt().mean()) ** 2).sqrt().clamp(min=1e-3)
        self.scale.copy_(scale * (kept / scale**2).mean().sqrt().clamp(min=1e-3))  # unit variance on average over the channels
        return {"explained": float(kept.sum() / variance.sum().clamp(min=1e-12))}
