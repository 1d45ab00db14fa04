"""Rotary positions on three axes: time, row, column (RoPE, arXiv 2104.09864, one part of the head for each axis).

Streams of different rates share one clock: a position is a real number, so four action steps per latent frame are
positions a quarter apart (MV-WAM, section 3.1).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.layout import Position

__all__ = ["angles", "rotate"]


def angles(positions: tuple[Position, ...], head_dim: int, *, base: float = 100.0) -> Float[Tensor, "token pairs"]:
    """One angle for each of the head_dim / 2 pairs: half of the pairs for time, a quarter each for row and column."""
    pairs = head_dim // 2
    spatial = pairs // 4
    parts = []
    for axis, count in enumerate((pairs - 2 * spatial, spatial, spatial)):
        frequency = base ** (-torch.arange(count) / max(count, 1))
        coordinate = torch.tensor([position[axis] for position in positions])
        parts.append(coordinate[:, None] * frequency[None, :])
    return torch.cat(parts, dim=1)


def rotate(x: Float[Tensor, "batch heads token dim"], angle: Float[Tensor, "token pairs"]) -> Float[Tensor, "batch heads token dim"]:
    """Turn each pair (x_i, x_{i + dim/2}) by its angle; the product of two rotated vectors depends on position differences only."""
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)
