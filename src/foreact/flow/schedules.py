"""Noise levels: which are visited when sampling, and how they are drawn when training."""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["SigmaDensity", "draw_sigma", "shifted", "sigmas"]

SigmaDensity = Literal["uniform", "logit-normal"]


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """Move levels towards noise: s sigma / (1 + (s - 1) sigma); shift 1 changes nothing (Stable Diffusion 3, equation 23)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sigmas(steps: int, *, shift: float = 1.0) -> Float[Tensor, " levels"]:
    """steps + 1 levels from 1 (noise) down to 0 (data)."""
    return shifted(torch.linspace(1.0, 0.0, steps + 1), shift)


def draw_sigma(count: int, generator: torch.Generator, *, density: SigmaDensity = "uniform", shift: float = 1.0) -> Float[Tensor, " count"]:
    """Training levels in (0, 1)."""
    match density:
        case "uniform":
            level = torch.rand(count, generator=generator)
        case "logit-normal":
            level = torch.sigmoid(torch.randn(count, generator=generator))
    return shifted(level, shift)
