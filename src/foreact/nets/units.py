"""Units in which values have about unit variance: y = (x - shift) / scale, fitted once from scenes and then fixed.

What is measured from the present (displacements) keeps shift = 0, so that "nothing moved" stays zero; what is measured in
the world or in a picture (places, depths) has its mean taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.contract.context import Scene
from foreact.contract.errors import TrainingError

__all__ = ["Units", "first_scenes"]


class Units(nn.Module):
    """`shape`: of the last dimensions of what is scaled; a size of 1 shares one number along its dimension."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(shape))
        self.register_buffer("scale", torch.ones(shape))

    def forward(self, x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return (x - self.shift) / self.scale

    def inverse(self, y: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        return y * self.scale + self.shift

    @torch.no_grad()
    def fit(self, samples: Float[Tensor, "*any"], *, centred: bool, floor: float) -> None:
        """From many samples. centred: take the mean away. floor: the least scale, in the units of the samples, so that what
        never varies is not blown up."""
        dims = tuple(range(samples.ndim - self.scale.ndim)) + tuple(
            i - self.scale.ndim for i, size in enumerate(self.scale.shape) if size == 1)
        samples = samples.double()
        if centred:
            self.shift.copy_(samples.mean(dims, keepdim=True).reshape(self.shift.shape))
        spread = (samples - self.shift).square().mean(dims, keepdim=True).sqrt()
        self.scale.copy_(spread.clamp(min=floor).reshape(self.scale.shape))


def first_scenes(batches: Iterable[Scene], count: int) -> list[Scene]:
    """Up to `count` batches of scenes with a present and a future, to fit units on."""
    found = list(islice(batches, count))
    if not found or found[0].shape[1] < 2:
        raise TrainingError("no scenes with a future to fit the substrate on", where="model.substrate",
                            found="no batches" if not found else f"scenes of {found[0].shape[1]} time",
                            accepted="the present and at least one future", next_step="check model.coupling.future_offsets")
    return found
