"""Prediction targets of flow matching and their conversions.

x_t = (1 - sigma) x_0 + sigma x_1,   x_0 data, x_1 ~ N(0, I) noise, sigma = 0 data, sigma = 1 noise   (MV-WAM, section 2.2)
velocity  v = x_1 - x_0      sample  x_0      noise  x_1

Legend: x0 data, x1 noise, xt interpolated; any shape, `sigma` broadcastable to it (see `spread`).
MV-WAM's table 6 prints the clean-sample velocity as x_1 - x0_hat, which only holds at sigma = 1; its equation 7 gives the
general form (x_t - x0_hat) / sigma, used here with the denominator clipped at `floor`.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from foreact.contract.layout import Target

__all__ = ["interpolate", "spread", "target", "to_noise", "to_sample", "to_velocity"]

FLOOR = 1e-3


def spread(sigma: Float[Tensor, "*lead"], like: Tensor) -> Tensor:
    """`sigma` with trailing axes of length one, so that it broadcasts over `like`."""
    return sigma.reshape(sigma.shape + (1,) * (like.ndim - sigma.ndim))


def interpolate(x0: Tensor, x1: Tensor, sigma: Tensor) -> Tensor:
    """x_t on the straight path from data to noise."""
    s = spread(sigma, x0)
    return (1 - s) * x0 + s * x1


def target(kind: Target, x0: Tensor, x1: Tensor) -> Tensor:
    """What a network of this kind is trained to give."""
    match kind:
        case "velocity":
            return x1 - x0
        case "sample":
            return x0
        case "noise":
            return x1


def to_velocity(kind: Target, prediction: Tensor, xt: Tensor, sigma: Tensor, *, floor: float = FLOOR) -> Tensor:
    """The velocity that a prediction implies at x_t."""
    s = spread(sigma, xt)
    match kind:
        case "velocity":
            return prediction
        case "sample":
            return (xt - prediction) / s.clamp(min=floor)
        case "noise":
            return (prediction - xt) / (1 - s).clamp(min=floor)


def to_sample(kind: Target, prediction: Tensor, xt: Tensor, sigma: Tensor, *, floor: float = FLOOR) -> Tensor:
    """The clean sample that a prediction implies at x_t: x_0 = x_t - sigma v."""
    if kind == "sample":
        return prediction
    return xt - spread(sigma, xt) * to_velocity(kind, prediction, xt, sigma, floor=floor)


def to_noise(kind: Target, prediction: Tensor, xt: Tensor, sigma: Tensor, *, floor: float = FLOOR) -> Tensor:
    """The noise that a prediction implies at x_t: x_1 = x_t + (1 - sigma) v."""
    if kind == "noise":
        return prediction
    return xt + (1 - spread(sigma, xt)) * to_velocity(kind, prediction, xt, sigma, floor=floor)
