"""Views of an image for self-supervised learning, on whole batches and on any device."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

__all__ = ["cropped", "recoloured"]


def _between(low: float, high: float, count: int, device: torch.device) -> Tensor:
    return low + (high - low) * torch.rand(count, device=device)


def recoloured(images: UInt8[Tensor, "image 3 height width"], strength: float = 0.3) -> UInt8[Tensor, "image 3 height width"]:
    """Brightness, contrast, saturation and the balance of the colours changed by up to `strength`, each image by its own amount."""
    x = images.float() / 255
    low, high, count, device = 1 - strength, 1 + strength, len(x), x.device

    def factor() -> Tensor:
        return _between(low, high, count, device)[:, None, None, None]

    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * factor()
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = (mean + (x - mean) * factor()) * factor()
    balance = 1 + (torch.rand(count, 3, 1, 1, device=device) - 0.5) * strength
    return (255 * x * balance).round().clamp(0, 255).to(torch.uint8)


def cropped(images: Float[Tensor, "image 3 height width"], area: tuple[float, float]) -> Float[Tensor, "image 3 height width"]:
    """A random rectangle holding a share of the image between `area[0]` and `area[1]`, brought back to full size."""
    count, device = len(images), images.device
    side = _between(*area, count, device).sqrt()
    stretch = _between(0.9, 1.1, count, device)
    height, width = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
    transform = torch.zeros(count, 2, 3, device=device)
    transform[:, 0, 0], transform[:, 1, 1] = width, height
    transform[:, 0, 2] = (1 - width) * (2 * torch.rand(count, device=device) - 1)
    transform[:, 1, 2] = (1 - height) * (2 * torch.rand(count, device=device) - 1)
    grid = F.affine_grid(transform, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
