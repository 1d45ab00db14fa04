"""Rotary positions on three axes: time, row, column (RoPE, arXiv 2104.09864, one part of the head for each axis).

Streams of different rates share one clock: a position is a real number, so four action steps per latent frame are
positions a quarter apart (MV-WAM, section 3.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.contract.layout import Position

__all__ = ["Rotary", "angles", "house", "rotate", "turn", "wan", "waves"]


@dataclass(frozen=True, kw_only=True)
class Rotary:
    """A convention. pairs: how many of a head's pairs turn with time, row and column; base: of the frequencies.

    adjacent: a pair is (x_2i, x_2i+1); else it is (x_i, x_{i + dim/2}).
    """

    pairs: tuple[int, int, int]
    base: float = 100.0
    adjacent: bool = False


def house(head_dim: int) -> Rotary:
    """Half of the pairs for time, a quarter each for row and column."""
    pairs = head_dim // 2
    return Rotary(pairs=(pairs - 2 * (pairs // 4), pairs // 4, pairs // 4))


def wan(head_dim: int) -> Rotary:
    """As Wan's video transformers have it (arXiv 2503.20314): a third of the pairs for each axis, what is left for time."""
    return Rotary(pairs=(head_dim // 2 - 2 * (head_dim // 6), head_dim // 6, head_dim // 6), base=10_000.0, adjacent=True)


def angles(positions: tuple[Position, ...], rotary: Rotary) -> Float[Tensor, "token pairs"]:
    """One angle for each pair of a head."""
    parts = []
    for axis, count in enumerate(rotary.pairs):
        frequency = rotary.base ** (-torch.arange(count) / max(count, 1))
        coordinate = torch.tensor([position[axis] for position in positions])
        parts.append(coordinate[:, None] * frequency[None, :])
    return torch.cat(parts, dim=1)


def waves(angle: Float[Tensor, "token pairs"], *, adjacent: bool = False) -> Float[Tensor, "token 2 dim"]:
    """Cosine and signed sine for each entry of a head, of which `turn` makes a rotation: made once, used in every layer."""
    cos, sin = angle.cos(), angle.sin()
    if adjacent:
        return torch.stack([cos.repeat_interleave(2, dim=-1), torch.stack([-sin, sin], dim=-1).flatten(-2)], dim=1)
    return torch.stack([torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)], dim=1)


def turn(x: Float[Tensor, "batch heads token dim"], waved: Float[Tensor, "token 2 dim"], *, adjacent: bool = False,
         ) -> Float[Tensor, "batch heads token dim"]:
    """Turn each pair; the product of two rotated vectors depends on position differences only."""
    cos, sin = waved.to(x.dtype).unbind(dim=1)
    other = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2) if adjacent else x.roll(x.shape[-1] // 2, dims=-1)
    return torch.addcmul(x * cos, other, sin)


def rotate(x: Float[Tensor, "batch heads token dim"], angle: Float[Tensor, "token pairs"], *, adjacent: bool = False,
           ) -> Float[Tensor, "batch heads token dim"]:
    """Turn each pair by its angle."""
    return turn(x, waves(angle, adjacent=adjacent), adjacent=adjacent)
