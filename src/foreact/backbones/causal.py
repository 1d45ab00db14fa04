"""Causal transformer: one trunk over streams in time, each element conditioned on those before it (survey, section 4.4.2).

    y_{1:M} = Serialize(Y)                                                                            (survey, equation 24)
    p_theta(y_{1:M} | c) = prod_j p_theta(y_j | y_{<j}, c)                                            (survey, equation 25)

The serialisation is the layout's: times of the tokens and sights that are causal. What an element is learnt by is the
coupling's: the outputs are regressed values, or logits where codes are predicted (equation 26); a head that draws
continuous tokens reads tapped hidden states instead.

Keys and values of what was run are kept over time. A stream that is run again at later times is continued: only its new
tokens are computed. At other times it takes the place of what was kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.axes import Backbone, Cache, Tap
from foreact.contract.errors import MisfitError
from foreact.contract.layout import Layout
from foreact.flow.rotary import house
from foreact.nets.attention import Whose, attend
from foreact.nets.blocks import require_even_heads
from foreact.nets.query_streams import require_noiseless
from foreact.nets.stream_block import StreamBlock
from foreact.nets.streams import Rotations

__all__ = ["CausalCache", "CausalTransformer"]


class CausalCache(Cache):
    """Rotated keys and values by stream and layer, with the times of their tokens."""

    def __init__(self) -> None:
        self.times: dict[str, Tensor] = {}
        self.layers: dict[str, list[tuple[Tensor, Tensor]]] = {}

    def forget(self, streams: Iterable[str]) -> None:
        for name in streams:
            self.times.pop(name, None)
            self.layers.pop(name, None)

    def repeated(self, count: int) -> CausalCache:
        copy = CausalCache()
        copy.times = dict(self.times)
        copy.layers = {name: [(k.repeat_interleave(count, dim=0), v.repeat_interleave(count, dim=0)) for k, v in layers]
                       for name, layers in self.layers.items()}
        return copy

    def holds(self, name: str, times: Float[Tensor, " token"]) -> bool:
        """Whether tokens of this stream at all these times are kept."""
        return name in self.times and bool(torch.isin(times, self.times[name]).all())

    def continues(self, name: str, times: Float[Tensor, " token"]) -> bool:
        """Whether these times follow on what is kept of this stream."""
        return name in self.times and bool(times.min() > self.times[name].max())

    def add(self, name: str, times: Float[Tensor, " token"], layers: list[tuple[Tensor, Tensor]]) -> None:
        """Keep tokens that follow on what is kept."""
        if name in self.times:
            times = torch.cat([self.times[name], times])
            layers = [(torch.cat([k, new_k], dim=2), torch.cat([v, new_v], dim=2))
                      for (k, v), (new_k, new_v) in zip(self.layers[name], layers, strict=True)]
        self.times[name], self.layers[name] = times, layers


class CausalTransformer(Backbone):
    """All streams at one width with the same weights but for their ways in and out; no noise level.

    Streams with `query` stand for what is asked: one learnt token for each (row, column), told its time by rotation. They run
    whenever the layout has them and the cache does not hold them at those times.
    """

    family = "Autoregressive"
    provides = frozenset({"causal", "taps"})

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
        _check(layout)
        super().__init__()
        self.config = config
        self.embed = nn.ModuleDict({s.name: nn.Linear(s.channels + s.condition, config.width) for s in layout.streams if not s.query})
        self._places = {s.name: {place: i for i, place in enumerate(dict.fromkeys(p[1:] for p in s.positions))}
                        for s in layout.streams if s.query}
        self.queries = nn.ParameterDict({name: nn.Parameter(0.02 * torch.randn(len(places), config.width))
                                         for name, places in self._places.items()})
        self.layers = nn.ModuleList(StreamBlock(config.width, config.heads, config.expansion, text_channels) for _ in range(config.depth))
        predicted = [s for s in layout.streams if s.target is not None]
        self.norm = nn.ModuleDict({s.name: nn.LayerNorm(config.width) for s in predicted})
        self.unembed = nn.ModuleDict({s.name: nn.Linear(config.width, s.channels) for s in predicted})
        for layer in self.unembed.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._rotations = Rotations(house(config.width // config.heads))

    def new_cache(self) -> CausalCache:
        return CausalCache()

    def forward(self, inputs: Mapping[str, Float[Tensor, "batch _ _"]], layout: Layout, *,
                sigma: Mapping[str, Float[Tensor, "batch *token"]], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"], cache: Cache | None = None, tap: Tap | None = None,
                ) -> dict[str, Float[Tensor, "batch _ _"]]:
        """`sigma` is not read, nor are values for streams with `query`. With a cache, the layout may hold later times alone."""
        kept = cache if isinstance(cache, CausalCache) else CausalCache()
        times = {s.name: layout.clock(s.name) for s in layout.streams}
        run = [s.name for s in layout.streams if s.name in inputs or (s.query and not kept.holds(s.name, times[s.name]))]
        kept.forget([name for name in run if not kept.continues(name, times[name])])
        sizes = [layout[name].length for name in run]
        x = torch.cat([self._begin(name, inputs, layout, text) for name in run], dim=1)
        waved = torch.cat([self._rotations(layout[name].positions, text.device) for name in run])
        before = list(kept.times)
        mask = _mask(run, [(n, kept.times[n]) for n in before] + [(n, times[n]) for n in run], times, layout).to(text.device)
        queries = tuple(zip(run, sizes, strict=True))
        looked_at = (*((n, len(kept.times[n])) for n in before), *queries)
        made: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in run}
        for index, layer in enumerate(self.layers):
            q, k, v = layer.project(x, waved)
            for name, own_k, own_v in zip(run, k.split(sizes, dim=2), v.split(sizes, dim=2), strict=True):
                made[name].append((own_k, own_v))
            keys = torch.cat([*(kept.layers[n][index][0] for n in before), k], dim=2)
            values = torch.cat([*(kept.layers[n][index][1] for n in before), v], dim=2)
            x = layer.carry_on(x, attend(q, keys, values, mask, partial(Whose, index + 1, queries, looked_at)), text, text_mask)
            if tap is not None:
                tap.take(index + 1, dict(zip(run, x.split(sizes, dim=1), strict=True)))
        if cache is not None:
            for name in run:
                kept.add(name, times[name], made[name])
        out = dict(zip(run, x.split(sizes, dim=1), strict=True))
        return {name: self.unembed[name](self.norm[name](out[name])).float() for name in run if name in self.unembed}

    def _begin(self, name: str, inputs: Mapping[str, Tensor], layout: Layout, text: Tensor) -> Tensor:
        """The tokens of a stream before the first layer."""
        if name in self.queries:
            places = self._places[name]
            return self.queries[name][[places[p[1:]] for p in layout[name].positions]].expand(text.shape[0], -1, -1)
        return self.embed[name](inputs[name])


def _mask(run: list[str], keys: list[tuple[str, Tensor]], times: Mapping[str, Tensor], layout: Layout) -> Bool[Tensor, "query key"]:
    """True where a token that is run may see a token kept or run. Raises `KeyError` for a stream that is seen and is neither."""
    present, rows = {name for name, _ in keys}, []
    for query in run:
        sights = {s.stream: s for s in layout.sees.get(query, ())}
        for name in sights:
            if name not in present:
                raise KeyError(name)
        rows.append(torch.cat([sights[name].allows(times[query], other) if name in sights
                               else torch.zeros(len(times[query]), len(other), dtype=torch.bool) for name, other in keys], dim=1))
    return torch.cat(rows, dim=0)


def _check(layout: Layout) -> None:
    """Raise `MisfitError` for a layout that is no causal stream."""
    for stream in layout.streams:
        require_noiseless(stream)
    with torch.device("cpu"):  # parameters are counted on a device that holds no values
        lonely = ~layout.mask().any(dim=1)
    if lonely.any():
        raise MisfitError("a token that sees nothing has no next element", where="model.backbone",
                          found="a stream whose first token sees no other and not itself", accepted="sights of itself")
