"""Wan's video transformer (arXiv 2503.20314) as an expert: the modules of `WanTransformer3DModel` of `diffusers`, run block by block.

Its blocks are taken apart at the self-attention, where the streams of other experts join; everything else is computed as the
class itself computes it, so with no other expert beside it the result is the class's own. Its times are 1000 sigma, and it
gives the velocity. For the ways in which the given frame is known see `backbones.wan`.

Legend: B batch, C channels, T frames, R rows, K columns, M words, W width, P patches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.errors import MisfitError
from foreact.contract.layout import Position, Stream
from foreact.nets.attention import attend
from foreact.nets.blocks import join_heads, split_heads
from foreact.nets.expert import Expert, Lit
from foreact.nets.latent_video import Raster, filled, rasters
from foreact.nets.once import once

__all__ = ["MASK", "WanExpert", "beside", "follow", "one_level", "widened"]

MASK = 4
"""Channels of the mask beside the latents, one for each frame that the published autoencoder folds into a latent one."""


def beside(video: Float[Tensor, "B C T R K"], given: Float[Tensor, "B 1 T R K"]) -> Float[Tensor, "B _ T R K"]:
    """Along the channels: the latents, a mask of 1 in the given frames, the given latents with zeros in the others."""
    return torch.cat([video, given.expand(-1, MASK, -1, -1, -1), video * given], dim=1)


@torch.no_grad()
def widened(net: nn.Module) -> nn.Module:
    """The transformer with a patch embedding that takes what `beside` gives, and gives the same at the start whatever stands beside."""
    old = net.patch_embedding
    channels = old.in_channels
    wide = nn.Conv3d(2 * channels + MASK, old.out_channels, kernel_size=old.kernel_size, stride=old.stride).to(old.weight)
    wide.weight[:, channels:] = 0
    wide.weight[:, :channels] = old.weight
    wide.bias.copy_(old.bias)
    net.patch_embedding = wide
    net.register_to_config(in_channels=wide.in_channels)
    return net


def one_level(levels: Float[Tensor, "B latents"]) -> Float[Tensor, " B"]:
    """The noise level that all latents share but the given ones."""
    level = levels.amax(dim=1)
    if not torch.equal(level[:, None].expand_as(levels), levels):
        raise MisfitError("these weights know one noise level for all frames", where="model.backbone.frame",
                          found="several levels in one video", accepted="own-time, for levels by frame",
                          next_step="model.backbone.frame=own-time, or model.coupling.levels=shared")
    return level


class _Norm(nn.Module):
    """`nn.RMSNorm` whose weight takes the precision of what comes in: under autocast the two differ, and the fused kernel wants one."""

    def __init__(self, norm: nn.RMSNorm) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight.to(x.dtype), self.eps)


def follow(net: nn.Module) -> nn.Module:
    """The transformer with norms of queries and keys that follow the precision it runs in."""
    for owner in list(net.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, nn.RMSNorm):
                setattr(owner, name, _Norm(child))
    return net


def _read(other: nn.Module, x: Tensor, memory: Tensor) -> Tensor:
    """Wan's cross-attention to the words, whose keys and values are the same at every denoising step."""
    def looked_at(words: Tensor) -> tuple[Tensor, Tensor]:
        return split_heads(other.norm_k(other.to_k(words)), other.heads), split_heads(other.to_v(words), other.heads)

    k, v = once(other, memory, looked_at)
    return other.to_out[0](join_heads(attend(split_heads(other.norm_q(other.to_q(x)), other.heads), k, v)))


class WanExpert(Expert):
    """`net`: the transformer, with adapters or without. patch: rows and columns of latents in one of its tokens. words: see `filled`."""

    def __init__(self, net: nn.Module, streams: Sequence[Stream], *, patch: int, frame: Literal["own-time", "beside", "added"], words: int,
                 text_channels: int, text_width: int) -> None:
        super().__init__()
        rasters(streams, patch)
        self.net, self._patch, self._frame, self._words = net, patch, frame, words
        self.text_in = nn.Identity() if text_channels == text_width else nn.Linear(text_channels, text_width)
        self._rasters: dict[Stream, Raster] = {}

    def _raster(self, stream: Stream) -> Raster:
        if stream not in self._rasters:
            self._rasters[stream] = Raster(stream)
        return self._rasters[stream]

    def places(self, stream: Stream) -> tuple[Position, ...]:
        raster, patch = self._raster(stream), self._patch
        return tuple((time, float(row), float(column)) for time in raster.times for row in range(raster.rows // patch)
                     for column in range(raster.columns // patch))

    def enter(self, stream: Stream, value: Tensor | None, batch: int) -> Tensor:
        """What a coupling gives beside a noised token is left out: the frame is there."""
        video = self._raster(stream).video(value[..., : stream.channels])
        if self._frame != "own-time":
            video = beside(video, torch.full_like(video[:, :1], float(stream.target is None)))
        return self.net.patch_embedding(video).flatten(2).transpose(1, 2)

    def lit(self, streams: Sequence[Stream], sigma: Mapping[str, Tensor], like: Tensor) -> dict[str, Lit]:
        noised = {s.name: sigma[s.name] for s in streams if s.target is not None and s.name in sigma}
        if self._frame == "own-time":
            return {s.name: self._lit(self._by_patch(s, noised.get(s.name, like.new_zeros(len(like))))) for s in streams}
        levels = [level.reshape(len(like), -1) for level in noised.values()] or [like.new_zeros(len(like), 1)]
        return dict.fromkeys((s.name for s in streams), self._lit(one_level(torch.cat(levels, dim=1))[:, None]))

    def _by_patch(self, stream: Stream, level: Float[Tensor, "B *token"]) -> Float[Tensor, "B some"]:
        if level.ndim == 1:
            return level[:, None]
        patch = (1, self._patch, self._patch)
        return F.avg_pool3d(self._raster(stream).video(level[..., None]), patch, patch).flatten(1)

    def _lit(self, level: Float[Tensor, "B some"]) -> Lit:
        embedder = self.net.condition_embedder
        time = embedder.time_embedder(embedder.timesteps_proj(1000 * level.flatten()).unflatten(0, level.shape))
        return Lit(time, embedder.time_proj(embedder.act_fn(time)).unflatten(-1, (6, -1)))

    def reads(self, text: Tensor, mask: Tensor, visual: Tensor | None) -> Float[Tensor, "B M W"]:
        return once(self, text, lambda given: self.net.condition_embedder.text_embedder(filled(self.text_in(given), mask, self._words)))

    def project(self, layer: int, x: Tensor, lit: Lit) -> tuple[Tensor, Tensor, Tensor]:
        block = self.net.blocks[layer]
        shift, scale = (block.scale_shift_table + lit.modulation.float())[..., :2, :].unbind(-2)
        own = block.attn1
        normed = (block.norm1(x.float()) * (1 + scale) + shift).type_as(x)
        q, k, v = own.norm_q(own.to_q(normed)), own.norm_k(own.to_k(normed)), own.to_v(normed)
        return split_heads(q, own.heads), split_heads(k, own.heads), split_heads(v, own.heads)

    def carry_on(self, layer: int, x: Tensor, attended: Tensor, lit: Lit, memory: Tensor) -> Tensor:
        block = self.net.blocks[layer]
        gate, shift, scale, gate_mlp = (block.scale_shift_table + lit.modulation.float())[..., 2:, :].unbind(-2)
        x = (x.float() + block.attn1.to_out[0](join_heads(attended)) * gate).type_as(x)
        x = x + _read(block.attn2, block.norm2(x.float()).type_as(x), memory)
        normed = (block.norm3(x.float()) * (1 + scale) + shift).type_as(x)
        return (x.float() + block.ffn(normed).float() * gate_mlp).type_as(x)

    def leave(self, stream: Stream, x: Tensor, lit: Lit) -> Float[Tensor, "B tokens C"]:
        shift, scale = (self.net.scale_shift_table + lit.level[..., None, :]).unbind(-2)
        found = self.net.proj_out((self.net.norm_out(x.float()) * (1 + scale) + shift).type_as(x)).float()
        raster, patch = self._raster(stream), self._patch
        cut = found.unflatten(-1, (patch, patch, -1)).unflatten(1, (raster.frames, raster.rows // patch, raster.columns // patch))
        return raster.tokens(cut.permute(0, 6, 1, 2, 4, 3, 5).flatten(5, 6).flatten(3, 4))

    def shown(self, stream: Stream, x: Tensor) -> Tensor:
        return self._raster(stream).hidden(x, self._patch)
