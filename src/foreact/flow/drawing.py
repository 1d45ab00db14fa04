"""Lines over pictures, for futures that are geometry: what moves where, drawn on what is seen now.

Coordinates are pixels, (column, row), with pixel centres at halves as in `foreact.flow.cameras`. A line covers a pixel as
far as it comes within half its width of the pixel's centre, with a soft edge of one pixel.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

__all__ = ["by_direction", "draw_segments"]


def draw_segments(images: UInt8[Tensor, "image 3 height width"], start: Float[Tensor, "image segment 2"],
                  end: Float[Tensor, "image segment 2"], colours: Float[Tensor, "image segment 3"], *, width: float = 1.0,
                  ) -> UInt8[Tensor, "image 3 height width"]:
    """`images` with a line from each start to each end; colours lie in [0, 1]. A segment that is not finite is left out."""
    height, columns = images.shape[-2:]
    row, column = torch.meshgrid(torch.arange(height, device=images.device) + 0.5, torch.arange(columns, device=images.device) + 0.5,
                                 indexing="ij")
    pixels = torch.stack([column, row], dim=-1).reshape(1, -1, 2)
    drawn = []
    for image, a, b, colour in zip(images, start, end, colours, strict=True):  # one by one: pixels x segments is large
        whole = (a.isfinite() & b.isfinite()).all(dim=-1)
        if not whole.any():
            drawn.append(image)
            continue
        a, b, colour = a[whole, None], b[whole, None], colour[whole]
        along = b - a
        share = ((pixels - a) * along).sum(-1) / along.square().sum(-1).clamp(min=1e-9)
        distance = (pixels - a - share.clamp(0, 1)[..., None] * along).norm(dim=-1)  # segment, pixel
        cover, which = (0.5 * width + 0.5 - distance).clamp(0, 1).max(dim=0)
        paint = 255 * colour[which].T.reshape(3, height, columns)
        cover = cover.reshape(height, columns)
        drawn.append((image * (1 - cover) + paint * cover).round().clamp(0, 255).to(torch.uint8))
    return torch.stack(drawn)


def by_direction(displacement: Float[Tensor, "*any 2"]) -> Float[Tensor, "*any 3"]:
    """A colour for the direction of a motion in a picture: red to the right, then yellow-green down, cyan left, violet up."""
    hue = torch.atan2(displacement[..., 1], displacement[..., 0])[..., None]
    return 0.5 + 0.5 * torch.cos(hue - hue.new_tensor([0.0, 2 * math.pi / 3, 4 * math.pi / 3]))
