"""A small action expert q_psi(a_{t:t+H-1} | s_{t+1:t+H}, c): a denoiser of action chunks that reads its conditions.

Its tokens are stretches of the chunk. In every layer they look at each other, then across at what conditions them: the
tokens of the predicted future, of the present, of the state and of the instruction.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.errors import ConfigError
from foreact.flow.rotary import rotate
from foreact.nets.blocks import CrossAttention, FeedForward, SigmaEmbedding, attend, join_heads, modulate, split_heads, unit
from foreact.nets.streams import Rotations

__all__ = ["ActionHead", "HeadSize"]


@dataclass(frozen=True, kw_only=True)
class HeadSize:
    """`steps_per_token` control steps share a token; `expansion` is the feed-forward's hidden size over the width."""

    width: int = 128
    depth: int = 4
    heads: int = 4
    expansion: int = 4
    steps_per_token: int = 4

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 2:
            raise ConfigError("the width does not divide into heads of even size", where="model.coupling.head.heads",
                              found=f"width = {self.width}, heads = {self.heads}", accepted="width / heads even")


class _Layer(nn.Module):
    """Self-attention, cross-attention to the conditions, feed-forward; `table` shifts the noise level's modulation."""

    def __init__(self, size: HeadSize) -> None:
        super().__init__()
        self.heads = size.heads
        self.query_key_value = nn.Linear(size.width, 3 * size.width)
        self.query_norm, self.key_norm = (nn.Parameter(torch.ones(size.width // size.heads)) for _ in range(2))
        self.out = nn.Linear(size.width, size.width)
        self.condition_norm = nn.LayerNorm(size.width)
        self.condition = CrossAttention(size.width, size.width, size.heads)
        self.feed_forward = FeedForward(size.width, size.expansion * size.width)
        self.table = nn.Parameter(torch.zeros(6, size.width))

    def forward(self, x: Tensor, modulation: Tensor, angle: Tensor, conditions: Tensor, mask: Tensor) -> Tensor:
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = (modulation + self.table).unbind(-2)
        q, k, v = (split_heads(t, self.heads) for t in self.query_key_value(modulate(x, scale, shift)).chunk(3, dim=-1))
        q, k = rotate(unit(q, self.query_norm), angle), rotate(unit(k, self.key_norm), angle)
        x = x + (1 + gate) * self.out(join_heads(attend(q, k, v)))
        x = x + self.condition(self.condition_norm(x), conditions, mask)
        return x + (1 + gate_mlp) * self.feed_forward(modulate(x, scale_mlp, shift_mlp))


class ActionHead(nn.Module):
    """Gives the clean chunk for a noised one. `times`: how many predicted frames it reads, 0 for none."""

    def __init__(self, size: HeadSize, *, horizon: int, action: int, state: int, tokens: int, channels: int, times: int, text: int) -> None:
        super().__init__()
        self.size = size
        self.embed = nn.Linear(size.steps_per_token * action, size.width)
        self.unembed = nn.Linear(size.width, size.steps_per_token * action)
        self.vision, self.state, self.text = nn.Linear(channels, size.width), nn.Linear(state, size.width), nn.Linear(text, size.width)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, size.width))
        self.time = nn.Parameter(0.02 * torch.randn(1 + times, 1, size.width))
        self.sigma = SigmaEmbedding(size.width)
        self.modulation, self.final = nn.Linear(size.width, 6 * size.width), nn.Linear(size.width, 2 * size.width)
        self.condition_norm = nn.LayerNorm(size.width)
        self.layers = nn.ModuleList(_Layer(size) for _ in range(size.depth))
        for layer in (self.modulation, self.final, self.unembed):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._rotations = Rotations(size.width // size.heads)
        self._positions = tuple((float(i), 0.0, 0.0) for i in range(horizon // size.steps_per_token))

    def forward(self, actions: Float[Tensor, "batch horizon action"], sigma: Float[Tensor, " batch"], *,
                future: Float[Tensor, "batch time tokens channels"] | None, frame: Float[Tensor, "batch tokens channels"],
                state: Float[Tensor, "batch state"], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"]) -> Float[Tensor, "batch horizon action"]:
        conditions, mask = self._conditions(future, frame, state, text, text_mask)
        level = self.sigma(sigma)
        modulation = self.modulation(level).unflatten(-1, (6, -1))[:, None]
        x = self.embed(actions.unflatten(1, (-1, self.size.steps_per_token)).flatten(2))
        angle = self._rotations(self._positions, actions.device)
        for layer in self.layers:
            x = layer(x, modulation, angle, conditions, mask)
        shift, scale = self.final(level)[:, None].chunk(2, dim=-1)
        return self.unembed(modulate(x, scale, shift)).float().reshape(actions.shape)

    def _conditions(self, future: Tensor | None, frame: Tensor, state: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """All that the action is conditioned on, as tokens with a mask of the real ones."""
        seen = frame[:, None] if future is None else torch.cat([frame[:, None], future.to(frame.dtype)], dim=1)
        vision = (self.vision(seen) + self.place + self.time).flatten(1, 2)
        tokens = torch.cat([vision, self.state(state)[:, None], self.text(text)], dim=1)
        return self.condition_norm(tokens), torch.cat([text_mask.new_ones(len(text_mask), vision.shape[1] + 1), text_mask], dim=1)
