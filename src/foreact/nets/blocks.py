"""The pieces of a transformer block that every backbone and head here is made of.

Legend: B batch, N tokens of a stream, M tokens seen, H heads, D head size, W width.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.errors import MisfitError
from foreact.nets.attention import Whose, attend
from foreact.nets.once import once

__all__ = ["CrossAttention", "FeedForward", "PlainBlock", "SigmaEmbedding", "join_heads", "modulate", "require_even_heads",
           "split_heads", "unit"]


def require_even_heads(width: int, heads: int) -> None:
    """Refuse a backbone whose width does not divide into heads that rotary positions can turn, pair by pair."""
    if width % heads or (width // heads) % 2:
        raise MisfitError("the width does not divide into heads of even size", where="model.backbone.heads",
                          found=f"width = {width}, heads = {heads}", accepted="width / heads even")


def split_heads(x_BNW: Float[Tensor, "B N W"], heads: int) -> Float[Tensor, "B H N D"]:
    b, n, w = x_BNW.shape
    return x_BNW.view(b, n, heads, w // heads).transpose(1, 2)


def join_heads(x_BHND: Float[Tensor, "B H N D"]) -> Float[Tensor, "B N W"]:
    b, h, n, d = x_BHND.shape
    return x_BHND.transpose(1, 2).reshape(b, n, h * d)


def modulate(x: Float[Tensor, "B N W"], scale: Float[Tensor, "B #N W"], shift: Float[Tensor, "B #N W"]) -> Float[Tensor, "B N W"]:
    """Layer norm without its own affine part, then the noise level's (adaLN, arXiv 2212.09748)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)


def unit(x: Float[Tensor, "B H N D"], weight: Float[Tensor, " D"]) -> Float[Tensor, "B H N D"]:
    """Queries and keys at root mean square 1, scaled per entry: keeps attention logits bounded (arXiv 2302.05442)."""
    return F.rms_norm(x, x.shape[-1:], weight.to(x.dtype))


class SigmaEmbedding(nn.Module):
    """A noise level as a vector: sines of 1000 sigma, then two layers."""

    def __init__(self, width: int, frequencies: int = 64) -> None:
        super().__init__()
        self.register_buffer("frequency", torch.exp(-math.log(10_000.0) * torch.arange(frequencies) / frequencies), persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * frequencies, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, sigma: Float[Tensor, "*lead"]) -> Float[Tensor, "*lead width"]:
        angle = 1000.0 * sigma[..., None].float() * self.frequency
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=-1))


class CrossAttention(nn.Module):
    """Tokens look at conditioning tokens (text, visual state features)."""

    def __init__(self, width: int, memory_width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(memory_width, 2 * width)

    def forward(self, x: Float[Tensor, "B N W"], memory: Float[Tensor, "B M E"], mask: Bool[Tensor, "B M"],
                whose: Callable[[], Whose] | None = None) -> Float[Tensor, "B N W"]:
        return self.look(x, *self.remember(memory), mask, whose)

    def remember(self, memory: Float[Tensor, "B M E"]) -> tuple[Float[Tensor, "B H M D"], Float[Tensor, "B H M D"]]:
        """Keys and values of what is looked at: the same however often, and by whomever, it is; made once for a plan."""
        return once(self, memory, self._keys_values)

    def _keys_values(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        k, v = self.key_value(memory).chunk(2, dim=-1)
        return split_heads(k, self.heads), split_heads(v, self.heads)

    def look(self, x: Float[Tensor, "B N W"], keys: Float[Tensor, "B H M D"], values: Float[Tensor, "B H M D"],
             mask: Bool[Tensor, "B M"] | None, whose: Callable[[], Whose] | None = None) -> Float[Tensor, "B N W"]:
        """What the tokens take from it; without a mask all of it may be seen."""
        seen = None if mask is None else mask[:, None, None, :]
        return self.out(join_heads(attend(split_heads(self.query(x), self.heads), keys, values, seen, whose)))


class FeedForward(nn.Sequential):
    """Two layers with a GELU between."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__(nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width))


class PlainBlock(nn.Module):
    """Self-attention and feed-forward over the tokens of one sequence, norms first."""

    def __init__(self, width: int, heads: int, expansion: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed_forward = FeedForward(width, expansion * width)

    def forward(self, x: Float[Tensor, "B N W"]) -> Float[Tensor, "B N W"]:
        q, k, v = (split_heads(t, self.heads) for t in self.query_key_value(self.norm_attention(x)).chunk(3, dim=-1))
        x = x + self.out(join_heads(attend(q, k, v)))
        return x + self.feed_forward(self.norm_mlp(x))
