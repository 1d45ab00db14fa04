"""An expert of a Mixture-of-Transformers as an interface, and the one that is learnt from a random start.

An expert carries the streams that live in it: in, from layer to layer, and out. It meets the others only in attention, for which
it gives queries, keys and values of a common head space before positions are turned in; see `expert_stack`.

`DiffusionExpert` is a diffusion transformer (arXiv 2212.09748) with text by cross-attention. It may alternate what it looks at beside
its own kind: the instruction in odd layers, features of the present picture in even ones (MV-WAM, section 3.1: language "into odd
transformer layers and SigLIP2 visual embeddings into even layers").
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.layout import Position, Stream
from foreact.nets.blocks import CrossAttention, FeedForward, SigmaEmbedding, join_heads, modulate, split_heads, unit
from foreact.nets.region import Region

__all__ = ["DiffusionExpert", "Expert", "ExpertSize", "Lit"]


@dataclass(frozen=True)
class Lit:
    """A stream's noise level as an expert uses it: `level` on the way out, `modulation` in every layer."""

    level: Float[Tensor, "batch some width"]
    modulation: Float[Tensor, "batch some 6 width"]


class Expert(nn.Module, ABC):
    """Streams in, layer after layer, streams out. States are (batch, tokens, width); an expert may have tokens of its own making."""

    @abstractmethod
    def places(self, stream: Stream) -> tuple[Position, ...]:
        """Where the tokens are into which it makes the stream's."""

    @abstractmethod
    def enter(self, stream: Stream, value: Float[Tensor, "batch _ _"] | None, batch: int) -> Float[Tensor, "batch _ width"]:
        """A stream's tokens at the expert's width."""

    @abstractmethod
    def lit(self, streams: Sequence[Stream], sigma: Mapping[str, Tensor], like: Tensor) -> dict[str, Lit]:
        """The noise level of each of its streams that run now; those absent in `sigma` are clean. like: of the batch and its device."""

    @abstractmethod
    def reads(self, text: Float[Tensor, "batch words _"], mask: Bool[Tensor, "batch words"],
              visual: Float[Tensor, "batch places _"] | None) -> Any:
        """What `carry_on` looks at, made once for all layers."""

    @abstractmethod
    def project(self, layer: int, x: Tensor, lit: Lit) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (batch, heads, tokens, head size), in layer `layer`, counted from 0."""

    @abstractmethod
    def carry_on(self, layer: int, x: Tensor, attended: Tensor, lit: Lit, memory: Any) -> Tensor:
        """What the tokens become after attention."""

    @abstractmethod
    def leave(self, stream: Stream, x: Tensor, lit: Lit) -> Float[Tensor, "batch _ _"]:
        """What a stream predicts."""

    @abstractmethod
    def shown(self, stream: Stream, x: Tensor) -> Tensor:
        """Hidden states as a tap is shown them: one for each token of the stream."""


@dataclass(frozen=True, kw_only=True)
class ExpertSize:
    """An expert by name, its width, and the hidden size of its feed-forward as a multiple of the width.

    alternate: text enters odd layers only, counted from 1, and the visual state even ones; where there is none, text enters all.
    """

    name: str
    width: int
    expansion: int = 4
    alternate: bool = False


Remembered = tuple[Tensor, Tensor, Tensor | None]
"""Keys and values that a layer looks at by cross-attention, and which of them are real; None where all are."""


def _all_real(mask: Tensor) -> bool:
    """Whether a mask hides nothing. Asked where the answer is at hand and is worth it: acting, on CPU."""
    return mask.device.type == "cpu" and not torch.is_grad_enabled() and not torch.compiler.is_compiling() and bool(mask.all())


class _Layer(Region):
    """One expert's share of one layer; `table` holds the layer's offset to the shared noise modulation (adaLN-single).

    memory_channels: width of the tokens that it looks at by cross-attention, the text's or the visual state's.
    """

    compiles = ("project", "carry_on")

    def __init__(self, size: ExpertSize, inner: int, heads: int, memory_channels: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(size.width, 3 * inner)
        self.out = nn.Linear(inner, size.width)
        self.query_norm, self.key_norm = (nn.Parameter(torch.ones(inner // heads)) for _ in range(2))
        self.text_norm = nn.LayerNorm(size.width)
        self.text = CrossAttention(size.width, memory_channels, max(size.width // 64, 1))
        self.feed_forward = FeedForward(size.width, size.expansion * size.width)
        self.table = nn.Parameter(torch.zeros(6, size.width))
        nn.init.zeros_(self.text.out.weight)
        nn.init.zeros_(self.text.out.bias)

    def project(self, x: Tensor, modulation: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values in the common head space."""
        shift, scale = (modulation + self.table)[..., :2, :].unbind(-2)
        q, k, v = (split_heads(t, self.heads) for t in self.query_key_value(modulate(x, scale, shift)).chunk(3, dim=-1))
        return unit(q, self.query_norm), unit(k, self.key_norm), v

    def carry_on(self, x: Tensor, attended: Tensor, modulation: Tensor, memory: Remembered) -> Tensor:
        """What the tokens become after attention, text or visual state, and feed-forward."""
        gate_attention, shift, scale, gate_mlp = (modulation + self.table)[..., 2:, :].unbind(-2)
        x = x + (1 + gate_attention) * self.out(join_heads(attended))
        x = x + self.text.look(self.text_norm(x), *memory)
        return x + (1 + gate_mlp) * self.feed_forward(modulate(x, scale, shift))


class DiffusionExpert(Expert):
    """Its layers, its noise embedding, and its streams' ways in and out."""

    def __init__(self, size: ExpertSize, streams: Sequence[Stream], *, depth: int, heads: int, head_dim: int, text_channels: int,
                 visual_channels: int = 0) -> None:
        super().__init__()
        self.alternates = size.alternate and visual_channels > 0
        self.embed = nn.ModuleDict({s.name: nn.Linear(s.channels + s.condition, size.width) for s in streams if not s.query})
        self.queries = nn.ParameterDict({s.name: nn.Parameter(0.02 * torch.randn(s.length, size.width)) for s in streams if s.query})
        self.unembed = nn.ModuleDict({s.name: nn.Linear(size.width, s.channels) for s in streams if s.target is not None})
        self.sigma = SigmaEmbedding(size.width)
        self.modulation = nn.Linear(size.width, 6 * size.width)
        self.final = nn.Linear(size.width, 2 * size.width)
        self.layers = nn.ModuleList(_Layer(size, heads * head_dim, heads, visual_channels if self._looks(index) else text_channels)
                                    for index in range(depth))
        for layer in (self.modulation, self.final, *self.unembed.values()):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def _looks(self, layer: int) -> bool:
        """Whether the layer looks at the visual state and not at the text."""
        return self.alternates and layer % 2 == 1

    def places(self, stream: Stream) -> tuple[Position, ...]:
        return stream.positions

    def enter(self, stream: Stream, value: Tensor | None, batch: int) -> Tensor:
        return self.queries[stream.name].expand(batch, -1, -1) if stream.name in self.queries else self.embed[stream.name](value)

    def lit(self, streams: Sequence[Stream], sigma: Mapping[str, Tensor], like: Tensor) -> dict[str, Lit]:
        return {stream.name: self._lit(sigma.get(stream.name), like) for stream in streams}

    def _lit(self, sigma: Tensor | None, like: Tensor) -> Lit:
        level = self.sigma(like.new_zeros(like.shape[0]) if sigma is None else sigma)
        level = level if level.ndim == 3 else level[:, None]
        return Lit(level, self.modulation(level).unflatten(-1, (6, -1)))

    def reads(self, text: Tensor, mask: Tensor, visual: Tensor | None) -> list[Remembered]:
        words = (text, None if _all_real(mask) else mask)
        sources = ((visual, None) if visual is not None and self._looks(index) else words for index in range(len(self.layers)))
        return [(*layer.text.remember(source), own) for layer, (source, own) in zip(self.layers, sources, strict=True)]

    def project(self, layer: int, x: Tensor, lit: Lit) -> tuple[Tensor, Tensor, Tensor]:
        return self.layers[layer].project(x, lit.modulation)

    def carry_on(self, layer: int, x: Tensor, attended: Tensor, lit: Lit, memory: Any) -> Tensor:
        return self.layers[layer].carry_on(x, attended, lit.modulation, memory[layer])

    def leave(self, stream: Stream, x: Tensor, lit: Lit) -> Tensor:
        shift, scale = self.final(lit.level).chunk(2, dim=-1)
        return self.unembed[stream.name](modulate(x, scale, shift)).float()

    def shown(self, stream: Stream, x: Tensor) -> Tensor:
        return x
