"""Linear layers whose weights are 8-bit integers: a quarter of float32's memory.

    W[o, i] ~ s[o] Q[o, i],   s[o] = max_i |W[o, i]| / 127,   Q = round(W / s)                   (symmetric, one factor for each output)
    y = (x Q^T) * s + b

The inputs stay floating point, so nothing is calibrated. Rounding errs by at most s / 2 for each weight.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Int8Linear", "with_int8_weights"]


class Int8Linear(nn.Module):
    """Made of a trained layer; gives what it gave, but for the rounding of its weights."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        weight = layer.weight.detach().float()
        scale = weight.abs().amax(dim=1).clamp_min(torch.finfo(torch.float32).tiny) / 127
        self.register_buffer("weight", (weight / scale[:, None]).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_parameter("bias", layer.bias)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        y = F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)
        return y if self.bias is None else y + self.bias


def with_int8_weights(net: nn.Module) -> None:
    """Put an `Int8Linear` in the place of every linear layer inside `net`."""
    for name, child in list(net.named_children()):
        if type(child) is nn.Linear:  # a subclass computes something else
            setattr(net, name, Int8Linear(child))
        else:
            with_int8_weights(child)
