"""Experts of their own width that meet only in shared attention: the stack under every denoising backbone.

Each stream lives in one expert. In every layer each expert projects its tokens to queries, keys and values of one
common head space (a narrow expert is widened there and only there), the streams attend under the layout, and each
expert carries its own tokens on (arXiv 2411.04996; MV-WAM, section 3.1). Text enters every expert by cross-attention.
With a single expert this is a diffusion transformer (arXiv 2212.09748).

Attention runs stream by stream over exactly the tokens that the stream may see, so nothing is computed to be masked,
and streams already in a cache are seen without being run again.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.axes import Cache, Tap
from foreact.contract.layout import Layout, Position, Stream
from foreact.flow.rotary import Rotary, house, turn
from foreact.nets.expert import DiffusionExpert, Expert, ExpertSize
from foreact.nets.streams import KeyValueCache, Rotations, look

__all__ = ["ExpertStack", "learnt"]


class ExpertStack(nn.Module):
    """`experts` by name. home: the expert of each stream. rotary: how positions are turned in, the same for all.

    leaves_after: streams whose prediction is made of their states after that many layers; they go on all the same.
    """

    def __init__(self, experts: Mapping[str, Expert], home: Mapping[str, str], *, depth: int, rotary: Rotary,
                 leaves_after: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.home, self.depth, self.leaves_after = dict(home), depth, dict(leaves_after or {})
        self.experts = nn.ModuleDict(experts)
        self._rotary, self._rotations = rotary, Rotations(rotary)

    def forward(self, inputs: Mapping[str, Float[Tensor, "batch _ _"]], layout: Layout, *,
                sigma: Mapping[str, Float[Tensor, "batch *token"]], text: Float[Tensor, "batch words width"],
                text_mask: Bool[Tensor, "batch words"], visual: Float[Tensor, "batch places features"] | None = None,
                cache: Cache | None = None, tap: Tap | None = None) -> dict[str, Float[Tensor, "batch _ _"]]:
        held = cache.layers if isinstance(cache, KeyValueCache) else {}
        streams = {name: layout[name] for name in inputs}
        expert = {name: self.experts[self.home[name]] for name in inputs}
        waved = {name: self._rotations(expert[name].places(stream), text.device) for name, stream in streams.items()}
        x = {name: expert[name].enter(streams[name], value, text.shape[0]) for name, value in inputs.items()}
        lit, memory = {}, {}
        for home in dict.fromkeys(self.home[name] for name in inputs):
            lit |= self.experts[home].lit([s for name, s in streams.items() if self.home[name] == home], sigma, text)
            memory[home] = self.experts[home].reads(text, text_mask, visual)
        left: dict[str, Tensor] = {}
        for index in range(self.depth):
            projected = {name: self._turned(expert[name].project(index, x[name], lit[name]), waved[name]) for name in inputs}
            seen = {name: layers[index] for name, layers in held.items() if name not in inputs}
            seen |= {name: (k, v) for name, (_, k, v) in projected.items()}
            x = {name: expert[name].carry_on(index, x[name], look(name, projected[name][0], seen, layout, index, self._places),
                                             lit[name], memory[self.home[name]]) for name in inputs}
            if cache is not None:
                for name, (_, k, v) in projected.items():
                    held.setdefault(name, [])[index:] = [(k, v)]
            if tap is not None:
                x = tap.give(index + 1, x)
                tap.take(index + 1, {name: expert[name].shown(streams[name], states) for name, states in x.items()})
            left |= {name: x[name] for name in inputs if self.leaves_after.get(name) == index + 1}
        return {name: expert[name].leave(streams[name], left.get(name, x[name]), lit[name])
                for name in inputs if streams[name].target is not None}

    def _places(self, stream: Stream) -> tuple[Position, ...]:
        return self.experts[self.home[stream.name]].places(stream)

    def _turned(self, projected: tuple[Tensor, Tensor, Tensor], waved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Positions turned into queries and keys."""
        q, k, v = projected
        adjacent = self._rotary.adjacent
        return turn(q, waved, adjacent=adjacent), turn(k, waved, adjacent=adjacent), v


def learnt(sizes: Mapping[str, ExpertSize], home: Mapping[str, str], layout: Layout, *, depth: int, heads: int, head_dim: int,
           text_channels: int, visual_channels: int = 0, leaves_after: Mapping[str, int] | None = None) -> ExpertStack:
    """A stack of experts that are all learnt; one without streams is not built."""
    streams = {name: [s for s in layout.streams if home[s.name] == name] for name in sizes}
    experts = {name: DiffusionExpert(size, streams[name], depth=depth, heads=heads, head_dim=head_dim, text_channels=text_channels,
                                     visual_channels=visual_channels) for name, size in sizes.items() if streams[name]}
    return ExpertStack(experts, home, depth=depth, rotary=house(head_dim), leaves_after=leaves_after)
