"""A small vision transformer learnt by joint embedding, against a target that follows it (I-JEPA, arXiv 2301.08243).

    L = || f(E_ctx(x_ctx)) - sg[E_tgt(x_tgt)] ||^2,   E_tgt <- m E_tgt + (1 - m) E_ctx                (survey, equation 28)

The context encoder sees an image without a block of its patches, the target encoder sees it whole; the predictor f is told where
the block was and gives the target's tokens there. That nothing flows back into the target and that it follows slowly is what keeps
both from agreeing on a constant. The target is what remains.

Differences from I-JEPA: one block per image, of half the patches, in place of four small ones; targets are normed token by token;
hundreds of steps on a dataset's own frames.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.contract.errors import MisfitError
from foreact.nets.augmentation import cropped
from foreact.nets.blocks import PlainBlock
from foreact.nets.vision import Captioned, VisionEncoder
from foreact.nets.vision_trunk import unit_range

__all__ = ["MovingTarget", "follow"]


class _Encoder(nn.Module):
    """Patches to tokens; those that are hidden do not exist for it."""

    def __init__(self, width: int, depth: int, heads: int, patch: int, tokens: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.layers = nn.Sequential(*(PlainBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Float[Tensor, "image 3 height width"], shown: Int[Tensor, "image some"] | None = None,
                ) -> Float[Tensor, "image some channels"]:
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.place
        return self.norm(self.layers(tokens if shown is None else _pick(tokens, shown)))


class _Predictor(nn.Module):
    """The tokens of the shown patches, and a learnt token at each hidden place, to what the target says there."""

    def __init__(self, width: int, depth: int, heads: int, tokens: int) -> None:
        super().__init__()
        self.place = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.unknown = nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.Sequential(*(PlainBlock(width, heads) for _ in range(depth)))
        self.out = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, seen: Float[Tensor, "image some channels"], shown: Int[Tensor, "image some"], hidden: Int[Tensor, "image other"],
                ) -> Float[Tensor, "image other channels"]:
        tokens = torch.cat([seen + self.place[shown], self.unknown + self.place[hidden]], dim=1)
        return self.out(self.layers(tokens)[:, shown.shape[1]:])


class MovingTarget(VisionEncoder):
    """The target encoder; `fit` brings in the context encoder and the predictor and leaves nothing of them behind."""

    @dataclass(frozen=True, kw_only=True)
    class Config(VisionEncoder.Config):
        """`momentum`: m, rising to 1; `hidden`: share of the patches in the block; `crop`: least area of a view."""

        width: int = 128
        depth: int = 4
        heads: int = 4
        patch: int = 8
        predictor_depth: int = 2
        learning_rate: float = 1e-3
        momentum: float = 0.99
        hidden: float = 0.5
        crop: float = 0.5

        @property
        def channels(self) -> int:
            return self.width

        def grid(self, height: int, width: int) -> tuple[int, int]:
            if height % self.patch or width % self.patch:
                raise MisfitError("cameras and encoder do not fit", where="model.substrate.encoder.patch",
                                  found=f"images of {height} x {width}, patches of {self.patch}",
                                  accepted="a patch that divides height and width", next_step="resize the images")
            return height // self.patch, width // self.patch

    def __init__(self, config: Config, height: int, width: int) -> None:
        super().__init__()
        self.config, self._grid = config, config.grid(height, width)
        rows, columns = self._grid
        self.target = _Encoder(config.width, config.depth, config.heads, config.patch, rows * columns)

    def forward(self, images: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image tokens channels"]:
        return self.target(unit_range(images))

    def fit(self, batches: Iterable[Captioned], *, steps: int, seed: int) -> None:
        config, target = self.config, self.target
        context = copy.deepcopy(target)
        predictor = _Predictor(config.width, config.predictor_depth, config.heads, len(target.place)).to(target.place.device)
        learnt = [*context.parameters(), *predictor.parameters()]
        optimiser = torch.optim.AdamW(learnt, lr=config.learning_rate, weight_decay=0.04)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.learning_rate, total_steps=max(steps, 2), pct_start=0.1)
        for step, (images, _) in enumerate(batches):
            x = cropped(unit_range(images), (config.crop, 1.0))
            shown, hidden = self._block(len(x), x.device)
            with torch.autocast(images.device.type, dtype=torch.bfloat16):
                given = predictor(context(x, shown), shown, hidden)
                with torch.no_grad():
                    wanted = _pick(target(x), hidden)
            loss = F.mse_loss(given.float(), F.layer_norm(wanted.float(), wanted.shape[-1:]))
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learnt, 1.0)
            optimiser.step()
            schedule.step()
            follow(target, context, 1 - (1 - config.momentum) * (1 + math.cos(math.pi * step / max(steps, 1))) / 2)

    def _block(self, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Places shown and hidden, one rectangle per image: its shape is the batch's, where it lies is each image's."""
        rows, columns = self._grid
        share = self.config.hidden
        high = min(max(round(rows * share ** float(torch.rand(()))), 1), rows)
        wide = min(max(round(rows * columns * share / high), 1), columns - (high == rows))
        top, left = (torch.randint(0, room + 1, (count, 1, 1)) for room in (rows - high, columns - wide))
        row, column = torch.arange(rows)[None, :, None], torch.arange(columns)[None, None, :]
        inside: Bool[Tensor, "image tokens"] = ((row >= top) & (row < top + high) & (column >= left) & (column < left + wide)).flatten(1)
        order = inside.long().argsort(dim=1, stable=True).to(device)
        return order.split([rows * columns - high * wide, high * wide], dim=1)


@torch.no_grad()
def follow(target: nn.Module, context: nn.Module, keep: float) -> None:
    """E_tgt <- keep E_tgt + (1 - keep) E_ctx, in place."""
    torch._foreach_lerp_([p.detach() for p in target.parameters()], [p.detach() for p in context.parameters()], 1 - keep)


def _pick(tokens: Float[Tensor, "image all channels"], places: Int[Tensor, "image some"]) -> Float[Tensor, "image some channels"]:
    return tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))
