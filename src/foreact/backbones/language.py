"""A language trunk of ours: words, then the streams' tokens, in one sequence through a decoder (survey, section 4.4.5).

Given streams enter as embedded tokens, as a vision-language model takes image patches; what is to be predicted enters as
learnt query tokens at the end and is read off their last hidden states. The block is that of today's language models: root
mean square norms before each part, normed queries and keys, rotary positions, a gated feed-forward, no biases.
A word has one place for all three rotary axes; streams follow the last word with a time, row and column of their own.

attention "prefix": words see all words and given streams see themselves whole (prefix-LM, arXiv 1910.10683, as PaliGemma);
"causal": no token sees a later one. Within that, a stream sees what the layout lets it see. Words see words alone, so they run
once for all rounds of a cache.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.axes import Backbone, Cache, Tap
from foreact.contract.layout import Layout
from foreact.flow.rotary import house, turn
from foreact.nets.attention import Whose, attend
from foreact.nets.blocks import join_heads, require_even_heads, split_heads, unit
from foreact.nets.query_streams import QueryStreams, require_noiseless
from foreact.nets.sequence import places, sight
from foreact.nets.streams import KeyValueCache, Rotations

__all__ = ["LanguageTrunk"]

_WORDS = "<words>"


class _Norm(nn.Module):
    """Root mean square 1, scaled per channel, in the precision that comes in."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype))


class _Layer(nn.Module):
    """One decoder block."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = _Norm(width), _Norm(width)
        self.query_key_value, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.query_norm, self.key_norm = (nn.Parameter(torch.ones(width // heads)) for _ in range(2))
        self.gate_up, self.down = nn.Linear(width, 2 * hidden, bias=False), nn.Linear(hidden, width, bias=False)

    def project(self, x: Tensor, waved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, positions turned in."""
        q, k, v = (split_heads(t, self.heads) for t in self.query_key_value(self.attention_norm(x)).chunk(3, dim=-1))
        return turn(unit(q, self.query_norm), waved), turn(unit(k, self.key_norm), waved), v

    def carry_on(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.out(join_heads(attended))
        gate, up = self.gate_up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


class LanguageTrunk(Backbone):
    """A decoder learnt from scratch; a layout in which nothing is to be predicted leaves it without a single parameter."""

    family = "LLM/VLM"
    provides = frozenset({"deterministic", "taps"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Backbone.Config):
        width: int = 192
        depth: int = 6
        heads: int = 4
        feed_forward: int = 512
        attention: Literal["prefix", "causal"] = "prefix"

        def __post_init__(self) -> None:
            require_even_heads(self.width, self.heads)

        def hidden(self, expert: str) -> int:
            return self.width

        def layers(self) -> int:
            return self.depth

    def __init__(self, config: Config, layout: Layout, text_channels: int) -> None:
        for stream in layout.streams:
            require_noiseless(stream)
        super().__init__()
        self.config = config
        self.active = any(s.target is not None for s in layout.streams)
        if not self.active:
            return
        self.text_in = nn.Linear(text_channels, config.width)
        self.streams = QueryStreams(layout, config.width)
        self.layers = nn.ModuleList(_Layer(config.width, config.heads, config.feed_forward) for _ in range(config.depth))
        self.norm = _Norm(config.width)
        self._rotations = Rotations(house(config.width // config.heads))

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache()

    def forward(self, inputs: Mapping[str, Float[Tensor, "batch _ _"]], layout: Layout, *,
                sigma: Mapping[str, Float[Tensor, "batch *token"]], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"], cache: Cache | None = None, tap: Tap | None = None,
                ) -> dict[str, Float[Tensor, "batch _ _"]]:
        """Streams with a target need not be among `inputs`, whose values for them are not read. `sigma` is not read."""
        if not self.active:
            return {}
        memory = cache.layers if isinstance(cache, KeyValueCache) else {}
        x = self.streams.enter(inputs, layout, memory, text.shape[0])
        asked = [name for name in x if name in self.streams.asked]
        if _WORDS not in memory:
            x |= {_WORDS: self.text_in(text)}
        place = places(layout, text.shape[1], words=_WORDS)
        waved = {name: self._rotations(place[name], text.device) for name in x}
        mask = {name: sight(layout, name, text_mask, words=_WORDS, causal=self.config.attention == "causal") for name in x}
        for index, layer in enumerate(self.layers):
            projected = {name: layer.project(x[name], waved[name]) for name in x}
            seen = {name: layers[index] for name, layers in memory.items() if name not in x}
            seen |= {name: (k, v) for name, (_, k, v) in projected.items()}
            x = {name: layer.carry_on(x[name], _look(name, projected[name][0], seen, *mask[name], index)) for name in x}
            if cache is not None:
                for name, (_, k, v) in projected.items():
                    memory.setdefault(name, [])[index:] = [(k, v)]
            if tap is not None:
                tap.take(index + 1, x)
        return {name: self.streams.leave(name, self.norm(x[name])) for name in asked}


def _look(name: str, query: Tensor, seen: Mapping[str, tuple[Tensor, Tensor]], names: tuple[str, ...], mask: Tensor, layer: int,
          ) -> Tensor:
    """Attention over the words and then the streams named, under `mask`."""
    keys, values = (torch.cat([seen[name][i] for name in names], dim=2) for i in (0, 1))

    def whose() -> Whose:
        return Whose(layer + 1, ((name, query.shape[2]),), tuple((n, seen[n][0].shape[2]) for n in names))

    return attend(query, keys, values, mask, whose)
