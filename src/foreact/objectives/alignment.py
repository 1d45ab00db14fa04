"""Alignment of hidden states with a frozen teacher's embedding of the future (FLARE, arXiv 2505.15659).

    L = 1 - cos( g(h), sg[E(o_{t+H})] ),    averaged over tokens inside the episode

h are hidden states of a middle layer, g a projection, E the teacher. Only the direction is learnt: its length is free.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from foreact.flow.masking import masked_mean

__all__ = ["cosine_alignment"]


def cosine_alignment(predicted: Float[Tensor, "batch tokens channels"], teacher: Float[Tensor, "batch tokens channels"],
                     keep: Bool[Tensor, "batch tokens"]) -> Tensor:
    """One scalar between 0 and 2; 0 where nothing counts. No gradient flows into the teacher."""
    distance = 1 - torch.cosine_similarity(predicted.float(), teacher.detach().float(), dim=-1, eps=1e-6)
    return masked_mean(distance, keep)
