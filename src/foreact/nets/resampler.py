"""Many tokens to few: learnt queries look at the tokens of a frame (the perceiver resampler, arXiv 2204.14198).

Each layer lets the queries look at the frame and then passes them through a feed-forward. The places of the frame's tokens are
learnt. The same weights serve every frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.contract.axes import SubstrateForm
from foreact.contract.config import Buildable, Config
from foreact.nets.attention import Spans, Whose
from foreact.nets.blocks import CrossAttention, FeedForward

__all__ = ["POOLED", "Resampler"]

POOLED = "pooled"
"""The name of its tokens in attention."""


class Resampler(nn.Module, Buildable):
    """A frame of a substrate as `tokens` tokens of `width` numbers."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(form)`."""

        tokens: int = 8
        width: int = 128
        depth: int = 2
        heads: int = 4
        expansion: int = 2

    def __init__(self, config: Config, form: SubstrateForm) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.embed = nn.Linear(form.channels, width)
        self.place = nn.Parameter(0.02 * torch.randn(form.tokens, width))
        self.queries = nn.Parameter(0.02 * torch.randn(config.tokens, width))
        self.seen_norm, self.final_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.look_norms, self.feed_norms = (nn.ModuleList(nn.LayerNorm(width) for _ in range(config.depth)) for _ in range(2))
        self.looks = nn.ModuleList(CrossAttention(width, width, config.heads) for _ in range(config.depth))
        self.feeds = nn.ModuleList(FeedForward(width, config.expansion * width) for _ in range(config.depth))

    def forward(self, frames: Float[Tensor, "batch time tokens channels"], whose: Spans = ()) -> Float[Tensor, "batch time few width"]:
        """whose: of which streams the tokens of a frame are, for those who listen to attention."""
        seen = self.seen_norm(self.embed(frames) + self.place).flatten(0, 1)
        all_of_it = seen.new_ones(seen.shape[:2], dtype=torch.bool)
        x = self.queries.expand(len(seen), -1, -1)
        layers = zip(self.look_norms, self.looks, self.feed_norms, self.feeds, strict=True)
        for index, (look_norm, look, feed_norm, feed) in enumerate(layers):
            named = partial(Whose, index + 1, ((POOLED, x.shape[1]),), whose or (("", seen.shape[1]),))
            x = x + look(look_norm(x), seen, all_of_it, named)
            x = x + feed(feed_norm(x))
        return self.final_norm(x).unflatten(0, frames.shape[:2])
