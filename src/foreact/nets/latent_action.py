"""Latent actions: what happens between two frames as a few numbers, learnt from video without a single action label.

    z = q(s, s')        inverse model, the latent action            s' = s + f(s, z)     forward model, the world's answer to it
    min over q, f       | s' - s - f(s, z) |^2 / v_change  +  lambda | d(z) |^2 / v_frame
    min over d          | s' - m - d(z) |^2 / v_frame

The adversary d rebuilds the frame s' from z alone, beyond the mean frame m; the inverse model is trained to leave it nothing but m. This
is the adversarial regulariser of CLAW (arXiv 2606.04130) against leakage: a latent from which the next frame can be had without the
present holds the scene and not the motion. At the adversary's optimum d(z) = E[s' | z] - m, so |d(z)|^2 / v_frame is the share of the
variance of frames that a latent action tells. The inverse model minimises that share; to maximise the adversary's error, as reversing
its gradient does, has no bound and is won by telling the scene the wrong way round. Each side's loss has a gradient in its own weights
alone, so one optimiser serves both.

Against the other failing, a latent that says nothing, z has deviation 1 over the batch in every entry before noise is added to it, so
that it cannot win by shrinking, nor hide the scene in far decimals. v are variances over the data. Both models begin at the leading
principal components of the change, which need no learning to be of use.

Differs from CLAW: the forward model gives the mean of the next frame's latents in one pass and is no diffusion model; the form of the
adversary's losses is ours.
Legend: B batch, N tokens of a frame, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from foreact.contract.config import Buildable, Config
from foreact.nets.blocks import PlainBlock

__all__ = ["LatentActionModel"]


class LatentActionModel(nn.Module, Buildable):
    """Inverse model, forward model and adversary over frames of `tokens` tokens with `frame_channels` numbers each."""

    @dataclass(frozen=True, kw_only=True)
    class Config(Config):
        """`build(tokens, frame_channels)`. channels: numbers in a latent action. kept: numbers of a token that the inverse model lays end
        to end. hidden: units of its perceptron and of the adversary's. adversary: lambda, 0 for none. noise: its deviation."""

        channels: int = 8
        width: int = 128
        depth: int = 2
        heads: int = 4
        kept: int = 16
        hidden: int = 256
        adversary: float = 1.0
        noise: float = 0.2

    def __init__(self, config: Config, tokens: int, frame_channels: int) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.see, self.infer_at = nn.Linear(2 * frame_channels, width), nn.Parameter(0.02 * torch.randn(tokens, width))
        self.infer = nn.Sequential(*(PlainBlock(width, config.heads) for _ in range(config.depth)), nn.LayerNorm(width),
                                   nn.Linear(width, config.kept))
        self.bottleneck = _perceptron(tokens * config.kept, config.hidden, config.channels)
        self.standard = nn.BatchNorm1d(config.channels, affine=False)
        self.register_buffer("basis", torch.zeros(config.channels, tokens * frame_channels))
        self.register_buffer("spread", torch.ones(config.channels))
        self.embed, self.act = nn.Linear(frame_channels, width), nn.Linear(config.channels, 2 * width)
        self.move_at = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.move = nn.Sequential(*(PlainBlock(width, config.heads) for _ in range(config.depth)), nn.LayerNorm(width))
        self.change = nn.Linear(width, frame_channels)
        self.adversary = _perceptron(config.channels, config.hidden, config.hidden, tokens * frame_channels)

    @torch.no_grad()
    def start(self, before: Float[Tensor, "B N C"], after: Float[Tensor, "B N C"]) -> None:
        """Let both models begin at the principal components of the change between these frames; the networks learn what to add to them.

        A latent action must be of some use before the forward model heeds it, and of some use to it before it is learnt.
        """
        change = (after - before).flatten(1)
        _, size, directions = torch.linalg.svd(change - change.mean(dim=0), full_matrices=False)
        count = min(len(size), len(self.basis))
        self.basis[:count] = directions[:count]
        self.spread[:count] = (size[:count] / len(change) ** 0.5).clamp(min=1e-6)

    def inverse(self, before: Float[Tensor, "B N C"], after: Float[Tensor, "B N C"]) -> Float[Tensor, "B channels"]:
        """The latent action, of about unit variance in every entry."""
        seen = self.infer(self.see(torch.cat([before, after - before], dim=-1)) + self.infer_at)
        leading = (after - before).flatten(1).float() @ self.basis.T / self.spread
        return self.standard(leading + self.bottleneck(seen.flatten(1)).float())

    def forward(self, before: Float[Tensor, "B N C"], action: Float[Tensor, "B channels"]) -> Float[Tensor, "B N C"]:
        """The frame that follows."""
        scale, shift = self.act(action)[:, None].chunk(2, dim=-1)
        x = (self.embed(before) + self.move_at) * (1 + scale) + shift
        leading = (action.float() * self.spread) @ self.basis
        return before + leading.view(before.shape) + self.change(self.move(x)).float()

    def losses(self, before: Float[Tensor, "B N C"], after: Float[Tensor, "B N C"], usual: Float[Tensor, "N C"], *, v_change: float,
               v_frame: float, strength: float = 1.0) -> dict[str, Tensor]:
        """Their sum is minimised. forward: 1 where no change is explained. adversary: 1 where the latent action tells no frame. leak: the
        share of frames that it tells, times lambda and `strength`. usual: the mean frame."""
        action = self.inverse(before, after)
        action = action + self.config.noise * torch.randn_like(action)
        forward = (self(before, action) - after).square().mean() / v_change
        guess = self.adversary(action.detach()).float().view(after.shape)
        adversary = (guess + usual - after).square().mean() / v_frame
        held = {name: weight.detach() for name, weight in self.adversary.named_parameters()}
        told = functional_call(self.adversary, held, (action,)).float()
        return {"forward": forward, "adversary": adversary, "leak": strength * self.config.adversary * told.square().mean() / v_frame}


def _perceptron(*sizes: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for before, after in pairwise(sizes[1:]):
        layers += [nn.GELU(), nn.Linear(before, after)]
    return nn.Sequential(*layers)
