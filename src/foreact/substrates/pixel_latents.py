"""Pixel-decodable latents of a small patch autoencoder, trained on the dataset's own frames.

The encoder is linear and found in closed form: the leading principal components of the image patches, which no other
linear code of that size beats in mean square (Eckart and Young, 1936). The decoder undoes it and adds what a small
transformer over all patches of the image makes of the code; it is trained by gradient steps. So encoding costs one
matrix product, and every imagined future can be watched (survey, section 4.2.1: the future remains pixel-grounded as
long as a fixed decoder maps it back to video).

z_k = v_k . (x - mean) / sqrt(lambda_k + floor^2), lambda_k the component's variance. The floor keeps components that
carry almost nothing from being blown up to unit variance.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.axes import SubstrateForm
from foreact.contract.context import Scene
from foreact.contract.errors import MisfitError, TrainingError
from foreact.contract.progress import meter
from foreact.contract.specs import ObservationSpec
from foreact.nets.blocks import PlainBlock
from foreact.nets.patches import patch_grid
from foreact.substrates.pixel_decodable import PixelDecodable

__all__ = ["PixelLatents"]

_MOMENT_BATCHES = 32


class _Decoder(nn.Module):
    """The transpose of the code plus a correction that sees the whole image; the correction starts at zero."""

    def __init__(self, tokens: int, channels: int, pixels: int, width: int, depth: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, pixels)
        self.embed = nn.Linear(channels, width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.Sequential(*(PlainBlock(width, max(width // 64, 1)) for _ in range(depth)))
        self.correct = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, pixels))
        nn.init.zeros_(self.correct[-1].weight)
        nn.init.zeros_(self.correct[-1].bias)

    def forward(self, z: Float[Tensor, "image token channel"]) -> Float[Tensor, "image token pixel"]:
        return self.linear(z) + self.correct(self.blocks(self.embed(z) + self.place))


class PixelLatents(PixelDecodable):
    """One autoencoder for all cameras; a frame is a grid of latent tokens for each camera."""

    kind = "Pixel (latent)"
    decodable = watchable = per_frame = True

    @dataclass(frozen=True, kw_only=True)
    class Config(PixelDecodable.Config):
        """`channels` numbers for each patch of `patch` x `patch` pixels; `width` and `depth` of the decoder's transformer.

        floor: the share of the mean deviation below which a component is no longer scaled up.
        """

        channels: int = 96
        patch: int = 16
        width: int = 256
        depth: int = 2
        floor: float = 0.3
        learning_rate: float = 1e-3

        def form(self, observation: ObservationSpec) -> SubstrateForm:
            grid = patch_grid(observation, self.patch)
            if self.channels > 3 * self.patch**2:
                raise MisfitError("more channels than a patch has numbers", where="model.substrate.channels",
                                  found=self.channels, accepted=f"at most {3 * self.patch**2}")
            return SubstrateForm(grid=grid, channels=self.channels)

        def needs(self, observation: ObservationSpec) -> tuple[str, ...]:
            return ()

        def pixels(self, observation: ObservationSpec) -> int:
            return 3 * self.patch**2

    def __init__(self, config: Config, observation: ObservationSpec) -> None:
        super().__init__()
        self.config, self.form, self.cameras = config, config.form(observation), observation.camera_names
        _, rows, columns = self.form.grid
        pixels = 3 * config.patch**2
        self.encoder = nn.Linear(pixels, config.channels).requires_grad_(False)
        self.decoder = _Decoder(rows * columns, config.channels, pixels, config.width, config.depth)

    def _patches(self, images: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image token pixel"]:
        return F.pixel_unshuffle(images.float().div(127.5).sub(1.0), self.config.patch).flatten(2).transpose(1, 2)

    def _images(self, patches: Float[Tensor, "image token pixel"]) -> UInt8[Tensor, "image 3 height width"]:
        _, rows, columns = self.form.grid
        images = F.pixel_shuffle(patches.transpose(1, 2).unflatten(2, (rows, columns)), self.config.patch)
        return images.add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)

    @torch.no_grad()
    def encode(self, scene: Scene) -> Float[Tensor, "batch time tokens channels"]:
        stacked = torch.stack([scene.images[name] for name in self.cameras], dim=2)  # batch time camera 3 height width
        return self.encoder(self._patches(stacked.flatten(0, 2))).reshape(*stacked.shape[:2], self.form.tokens, self.form.channels)

    def expose(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens exposed"]:
        return values

    @torch.no_grad()
    def patches(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens pixels"]:
        cameras = self.form.grid[0]
        found = self.decoder(values.float().unflatten(2, (cameras, -1)).flatten(0, 2))
        return found.float().unflatten(0, (*values.shape[:2], cameras)).flatten(2, 3)

    @torch.no_grad()
    def decode(self, values: Float[Tensor, "batch time tokens channels"], present: Mapping[str, UInt8[Tensor, "batch 3 height width"]],
               ) -> dict[str, UInt8[Tensor, "batch time 3 height width"]]:
        cameras = self.form.grid[0]
        images = self._images(self.patches(values).unflatten(2, (cameras, -1)).flatten(0, 2)).unflatten(0, (*values.shape[:2], cameras))
        return {name: images[:, :, i] for i, name in enumerate(self.cameras)}

    # --- fitting ------------------------------------------------------------------------------------------------------

    def fit(self, batches: Iterable[Scene], *, steps: int, seed: int) -> dict[str, float]:
        """The code in closed form from the first batches, then `steps` steps for the decoder.

        Returns the PSNR in dB on the batch after the last, which no step has trained on, of the linear code alone
        and with the decoder. Reads at most steps + 33 batches.
        """
        stream = (torch.cat([batch.images[name][:, 0] for name in self.cameras]) for batch in batches)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._fit_code(stream)
            held_out = next(stream, None)
            if held_out is None:
                raise TrainingError("too few batches to fit the substrate on", where="model.substrate",
                                    found=f"{_MOMENT_BATCHES} or fewer", accepted=f"steps + {_MOMENT_BATCHES + 1}",
                                    next_step="give more batches, repeating frames where the dataset is small")
            linear = self._psnr(held_out)
            self._fit_decoder(stream, steps)
        return {"psnr_linear_db": linear, "psnr_db": self._psnr(held_out)}

    @torch.no_grad()
    def _fit_code(self, stream: Iterator[Tensor]) -> None:
        count, first, second = 0, 0.0, 0.0
        for _, images in zip(range(_MOMENT_BATCHES), stream, strict=False):
            rows = self._patches(images).flatten(0, 1)
            count, first, second = count + len(rows), first + rows.sum(0).double(), second + (rows.T @ rows).double()
        if count == 0:
            raise TrainingError("no frames to fit the substrate on", where="model.substrate", next_step="check the dataset's cameras")
        mean = first / count
        variance, basis = torch.linalg.eigh(second / count - torch.outer(mean, mean))
        variance, basis = variance.flip(0)[: self.config.channels].clamp(min=0), basis.flip(1)[:, : self.config.channels]
        # the sign of an eigenvector is arbitrary: fix it, so that the same frames give the same code
        basis = basis * torch.where(basis.sum(0) < 0, -1.0, 1.0)
        scale = (variance + (self.config.floor * variance.sqrt().mean()) ** 2).sqrt().clamp(min=1e-6)
        scale = scale * (variance / scale**2).mean().sqrt().clamp(min=1e-6)  # unit variance on average over the channels
        self.encoder.weight.copy_((basis / scale).T)
        self.encoder.bias.copy_(-(mean @ (basis / scale)))
        self.decoder.linear.weight.copy_(basis * scale)
        self.decoder.linear.bias.copy_(mean)

    def _fit_decoder(self, stream: Iterator[Tensor], steps: int) -> None:
        optimiser = torch.optim.AdamW(self.decoder.parameters(), lr=self.config.learning_rate, betas=(0.9, 0.99), weight_decay=1e-4)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, self.config.learning_rate, total_steps=max(steps, 2), pct_start=0.1)
        with meter("fitting the substrate", steps) as m:
            for _, images in zip(range(steps), stream, strict=False):
                true = self._patches(images)
                code = self.encoder(true)
                with torch.autocast(images.device.type, dtype=torch.bfloat16):
                    # a little noise keeps the decoder kind to imagined codes, which are never exactly right
                    found = self.decoder(code + 0.05 * torch.randn_like(code))
                loss = F.mse_loss(found.float(), true) + 0.1 * F.l1_loss(found.float(), true)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
                m.advance(1)

    @torch.no_grad()
    def _psnr(self, images: UInt8[Tensor, "image 3 height width"]) -> float:
        true = self._patches(images)
        found = self.decoder(self.encoder(true)).clamp(-1, 1)
        return float(10 * torch.log10(4 / F.mse_loss(found, true).clamp(min=1e-9)))
