"""Joint-embedding predictor: the features of the future in one pass, without noise (survey, section 4.4.3).

p_theta(s_{t+1:t+H} | c) is a Dirac at f_theta(E(x_ctx)), learnt by

    L = || f_theta(E_ctx(x_ctx)) - sg[E_tgt(x_tgt)] ||^2                                             (survey, equation 28)

Both encoders are the substrate, which is frozen while the predictor learns, so the stop-gradient holds by construction
and no moving average is needed; the coupling forms the loss. Streams that are given are embedded. A stream with a
target is asked for by learnt query tokens in its place (the mask tokens of I-JEPA, arXiv 2301.08243).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.axes import Backbone, Cache, Tap
from foreact.contract.layout import Layout
from foreact.flow.rotary import house
from foreact.nets.blocks import require_even_heads
from foreact.nets.query_streams import require_noiseless
from foreact.nets.stream_block import StreamBlock
from foreact.nets.streams import KeyValueCache, Rotations, look

__all__ = ["JointEmbeddingPredictor"]


class JointEmbeddingPredictor(Backbone):
    """One transformer of one width for all streams; the same forward pass as any backbone, with no noise level.

    A layout in which nothing is to be predicted leaves it without a single parameter.
    """

    family = "Joint-embedding"
    provides = frozenset({"deterministic", "queries", "taps"})

    @dataclass(frozen=True, kw_only=True)
    class Config(Backbone.Config):
        width: int = 192
        depth: int = 6
        heads: int = 4
        expansion: int = 4

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
        predicted = [s for s in layout.streams if s.target is not None]
        given = [s for s in layout.streams if s.target is None] if predicted else []
        self.embed = nn.ModuleDict({s.name: nn.Linear(s.channels, config.width) for s in given})
        self.queries = nn.ParameterDict({s.name: nn.Parameter(0.02 * torch.randn(s.length, config.width)) for s in predicted})
        self.layers = nn.ModuleList(StreamBlock(config.width, config.heads, config.expansion, text_channels)
                                    for _ in range(config.depth if predicted else 0))
        self.norm = nn.ModuleDict({s.name: nn.LayerNorm(config.width) for s in predicted})
        self.unembed = nn.ModuleDict({s.name: nn.Linear(config.width, s.channels) for s in predicted})
        for layer in self.unembed.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._rotations = Rotations(house(config.width // config.heads))

    def new_cache(self) -> KeyValueCache:
        return KeyValueCache()

    def forward(self, inputs: Mapping[str, Float[Tensor, "batch _ _"]], layout: Layout, *,
                sigma: Mapping[str, Float[Tensor, "batch *token"]], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"], cache: Cache | None = None, tap: Tap | None = None,
                ) -> dict[str, Float[Tensor, "batch _ _"]]:
        """Streams with a target need not be among `inputs`, whose values for them are not read: they run whenever the
        layout has them and the cache has not. `sigma` is not read."""
        memory = cache.layers if isinstance(cache, KeyValueCache) else {}
        predicted = [s.name for s in layout.streams if s.target is not None and (s.name in inputs or s.name not in memory)]
        x = {name: self.embed[name](value) for name, value in inputs.items() if name not in predicted}
        x |= {name: self.queries[name].expand(text.shape[0], -1, -1) for name in predicted}
        waved = {name: self._rotations(layout[name].positions, text.device) for name in x}
        for index, layer in enumerate(self.layers):
            projected = {name: layer.project(x[name], waved[name]) for name in x}
            seen = {name: layers[index] for name, layers in memory.items() if name not in x}
            seen |= {name: (k, v) for name, (_, k, v) in projected.items()}
            x = {name: layer.carry_on(x[name], look(name, projected[name][0], seen, layout, index), text, text_mask)
                 for name in x}
            if cache is not None:
                for name, (_, k, v) in projected.items():
                    memory.setdefault(name, [])[index:] = [(k, v)]
            if tap is not None:
                tap.take(index + 1, x)
        return {name: self.unembed[name](self.norm[name](x[name])).float() for name in predicted}
