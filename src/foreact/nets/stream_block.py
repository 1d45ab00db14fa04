"""One layer over streams without noise: attention among tokens, then the instruction, then a feed-forward; norms before each.

Queries and keys have unit root mean square and are turned by the tokens' positions. What may see what is the caller's: it
calls `project`, attends under its own mask and cache, and hands the result to `carry_on`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.flow.rotary import turn
from foreact.nets.blocks import CrossAttention, FeedForward, join_heads, split_heads, unit
from foreact.nets.region import Region

__all__ = ["StreamBlock"]


class StreamBlock(Region):
    """Legend as in `nets.blocks`: B batch, N tokens, H heads, D head size, W width."""

    compiles = ("project", "finish")

    def __init__(self, width: int, heads: int, expansion: int, text_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.text_norm, self.feed_forward_norm = (nn.LayerNorm(width) for _ in range(3))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.query_norm, self.key_norm = (nn.Parameter(torch.ones(width // heads)) for _ in range(2))
        self.out = nn.Linear(width, width)
        self.text = CrossAttention(width, text_channels, heads)
        self.feed_forward = FeedForward(width, expansion * width)

    def project(self, x: Float[Tensor, "B N W"], waved: Float[Tensor, "N 2 D"],
                ) -> tuple[Float[Tensor, "B H N D"], Float[Tensor, "B H N D"], Float[Tensor, "B H N D"]]:
        """Queries, keys and values, positions turned in."""
        q, k, v = (split_heads(t, self.heads) for t in self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1))
        return turn(unit(q, self.query_norm), waved), turn(unit(k, self.key_norm), waved), v

    def carry_on(self, x: Float[Tensor, "B N W"], attended: Float[Tensor, "B H N D"], text: Float[Tensor, "B M E"],
                 text_mask: Bool[Tensor, "B M"]) -> Float[Tensor, "B N W"]:
        """What the tokens become after attention, text and feed-forward."""
        return self.finish(x, attended, *self.text.remember(text), text_mask)

    def finish(self, x: Float[Tensor, "B N W"], attended: Float[Tensor, "B H N D"], k: Float[Tensor, "B H M D"],
               v: Float[Tensor, "B H M D"], text_mask: Bool[Tensor, "B M"]) -> Float[Tensor, "B N W"]:
        """The same from keys and values of the text."""
        x = x + self.out(join_heads(attended))
        x = x + self.text.look(self.text_norm(x), k, v, text_mask)
        return x + self.feed_forward(self.feed_forward_norm(x))
