"""Actions that are going to be executed anyway, held while a chunk is denoised, so that what is new goes on from them.

The clean estimate x0 = x_t - sigma v of an action is moved towards the committed one c by its weight w at every noise level:

    x0' = x0 + w (c - x0),    v' = (x_t - x0') / sigma = v - w (c - x0) / sigma

With w = 1 the action walks the straight path from its noise to c and ends there; the network sees it on that path at every step, and so
works the rest of the chunk out around it. With w = 0 nothing changes. Real-time chunking (arXiv 2506.07339, equation 2) pulls by the
gradient of the squared distance through the network, clipped; here the network's Jacobian is the identity, which costs no backward pass.

The weights are RTC's (its equation 5), for d actions that will be over when the plan comes, of n that are left of the old chunk:

    w_i = 1 for i < d;   c_i (e^c_i - 1) / (e - 1), c_i = (n - i) / (n - d + 1), for d <= i < n;   0 for i >= n
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.flow.samplers import Levels, State

__all__ = ["commitment", "towards"]

Velocity = Callable[[State, Levels], State]


def commitment(delay: int, left: int, horizon: int) -> Float[Tensor, " horizon"]:
    """How much each action of a new chunk is held to the old one's, of which `left` remain and `delay` will be over."""
    weights = torch.zeros(horizon)
    left = min(left, horizon)
    for index in range(left):
        share = (left - index) / (left - delay + 1) if index >= delay else 1.0
        weights[index] = 1.0 if index < delay else share * math.expm1(share) / math.expm1(1.0)
    return weights


def towards(velocity: Velocity, name: str, clean: Float[Tensor, "batch tokens channels"] | None,
            weight: Float[Tensor, "batch tokens _"] | None) -> Velocity:
    """`velocity`, with the clean estimate of one stream moved towards `clean`; unchanged where that is None."""
    if clean is None or weight is None:
        return velocity

    def held(x: State, sigma: Levels) -> State:
        found, level = velocity(x, sigma), float(sigma[name])
        if level <= 0:  # it stands still
            return found
        estimate = x[name] - level * found[name]
        return {**found, name: found[name] - weight * (clean - estimate) / level}

    return held
