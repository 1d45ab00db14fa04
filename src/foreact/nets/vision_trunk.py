"""The small vision transformer under the encoders that are learnt here, whatever they are learnt by."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from foreact.contract.errors import MisfitError
from foreact.nets.blocks import PlainBlock
from foreact.nets.vision import VisionEncoder

__all__ = ["FOLD", "Trunk", "TrunkEncoder", "patch_grid", "unit_range"]

FOLD = 4
"""The stem's first layer takes squares of so many pixels."""


def patch_grid(patch: int, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches; raises `MisfitError` where images of this size cannot be cut."""
    if patch < FOLD or patch & (patch - 1) or height % patch or width % patch:
        raise MisfitError("cameras and encoder do not fit", where="model.substrate.encoder.patch",
                          found=f"images of {height} x {width}, patches of {patch}",
                          accepted=f"a power of two from {FOLD} that divides height and width", next_step="resize the images")
    return height // patch, width // patch


def unit_range(images: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image 3 height width"]:
    """Pixels in [-1, 1]."""
    return images.float().div(127.5).sub(1.0)


class Trunk(nn.Module):
    """Images in [-1, 1] to a class token and one token per patch; hidden patches are replaced by a learnt token."""

    def __init__(self, width: int, depth: int, heads: int, patch: int, tokens: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.PixelUnshuffle(FOLD), nn.Conv2d(3 * FOLD**2, width // 2, 3, padding=1), nn.GELU()]
        halvings = int(math.log2(patch // FOLD))
        for index in range(halvings):
            layers += [nn.Conv2d(width // 2, width // 2 if index < halvings - 1 else width, 3, stride=2, padding=1), nn.GELU()]
        self.stem = nn.Sequential(*layers, nn.Conv2d(width if halvings else width // 2, width, 1))
        self.place = nn.Parameter(0.02 * torch.randn(1 + tokens, width))
        self.whole, self.hidden = nn.Parameter(0.02 * torch.randn(width)), nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.ModuleList(PlainBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "image 3 height width"], hide: Bool[Tensor, "image tokens"] | None = None,
                ) -> Float[Tensor, "image all channels"]:
        patches = self.stem(x).flatten(2).transpose(1, 2)
        if hide is not None:
            patches = torch.where(hide[..., None], self.hidden.to(patches.dtype), patches)
        tokens = torch.cat([self.whole.to(patches.dtype).expand(len(x), 1, -1), patches], dim=1) + self.place
        for layer in self.layers:
            tokens = layer(tokens)
        return self.norm(tokens)


class TrunkEncoder(VisionEncoder):
    """An encoder that is a trunk once it is learnt; members differ in what they are learnt by."""

    @dataclass(frozen=True, kw_only=True)
    class Config(VisionEncoder.Config):
        """`patch`: side of a patch in pixels."""

        width: int = 128
        depth: int = 4
        heads: int = 4
        patch: int = 16

        @property
        def channels(self) -> int:
            return self.width

        def grid(self, height: int, width: int) -> tuple[int, int]:
            return patch_grid(self.patch, height, width)

    def __init__(self, config: Config, height: int, width: int) -> None:
        super().__init__()
        self.config = config
        rows, columns = config.grid(height, width)
        self.trunk = Trunk(config.width, config.depth, config.heads, config.patch, rows * columns)

    def forward(self, images: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image tokens channels"]:
        return self.trunk(unit_range(images))[:, 1:]
