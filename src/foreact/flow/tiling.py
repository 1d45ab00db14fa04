"""Numbers written into a frame of tokens, as copies without end, and read back as the mean of their copies.

A frame of T tokens with C channels has T C places; place i holds number i mod n. Reading inverts writing exactly, and
averages what a denoiser has made of the copies (Cosmos Policy, arXiv 2601.16163: actions, proprioception and values as
latent frames).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["read", "write"]


def write(numbers: Float[Tensor, "batch count"], tokens: int, channels: int) -> Float[Tensor, "batch tokens channels"]:
    """The frame; it must hold every number at least once."""
    count, places = numbers.shape[1], tokens * channels
    assert 0 < count <= places, f"{count} numbers in a frame of {places} places"
    return numbers.repeat(1, -(-places // count))[:, :places].unflatten(1, (tokens, channels))


def read(frame: Float[Tensor, "batch tokens channels"], count: int) -> Float[Tensor, "batch count"]:
    """The numbers, each the mean of its copies."""
    flat = frame.flatten(1)
    copies = -(-flat.shape[1] // count)
    padded = torch.nn.functional.pad(flat, (0, copies * count - flat.shape[1])).unflatten(1, (copies, count))
    present = torch.arange(copies * count, device=frame.device).view(copies, count) < flat.shape[1]
    return padded.sum(dim=1) / present.sum(dim=0)
