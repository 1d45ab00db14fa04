"""Softmax attention, and one way to listen to it in any net.

    P = softmax(Q K^T / sqrt(D)),   out = P V

Every attention of the nets here is computed by `attend`. A call may say whose it is: which streams ask, which are looked at, in which
layer. While `attended` is open, P is computed again in float32 for the streams that are listened to, and handed over; what the net
computes stays as it is. Otherwise nothing is computed and not even the names are made. Compiled code is not heard, so that it stays whole.

Legend: B batch, H heads, N tokens that ask, M tokens looked at, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.layout import Position

__all__ = ["Gaze", "Spans", "Whose", "attend", "attended"]

Spans = tuple[tuple[str, int], ...]
"""Names with how many tokens each has, in order; a name may stand more than once."""


@dataclass(frozen=True)
class Whose:
    """What a call of `attend` says of itself; layers count from 1. places: of streams whose tokens are not the layout's own, but were
    made of them, where they are."""

    layer: int
    queries: Spans
    keys: Spans
    places: Mapping[str, tuple[Position, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Gaze:
    """Where the tokens of `query` look in one layer, at one evaluation; rows of `weights` add to 1. places: as in `Whose`."""

    query: str
    layer: int
    keys: Spans
    weights: Float[Tensor, "B H N M"]
    places: Mapping[str, tuple[Position, ...]] = field(default_factory=dict)


_Listener = Callable[[Whose, Tensor, Tensor, Tensor | None], None]
_LISTENER: ContextVar[_Listener | None] = ContextVar("attention listener", default=None)


def attend(q: Float[Tensor, "B H N D"], k: Float[Tensor, "B H M D"], v: Float[Tensor, "B H M D"],
           mask: Bool[Tensor, "*lead #N M"] | None = None, whose: Callable[[], Whose] | None = None) -> Float[Tensor, "B H N D"]:
    """Softmax attention; True in `mask` may be seen. `whose` is asked only while somebody listens.

    The fused kernel everywhere but in training on CPU, where its backward pass costs several times that of two plain products.
    """
    if whose is not None and not torch.compiler.is_compiling() and (listener := _LISTENER.get()) is not None:
        listener(whose(), q, k, mask)
    if q.device.type != "cpu" or not torch.is_grad_enabled():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return _weights(q, k, mask).to(v.dtype) @ v


@contextmanager
def attended(queries: Collection[str], hear: Callable[[Gaze], None]) -> Iterator[None]:
    """While the block runs, `hear` is given where the tokens of these streams look, call by call."""

    def listen(whose: Whose, q: Tensor, k: Tensor, mask: Tensor | None) -> None:
        first = 0
        for name, count in whose.queries:
            rows, first = slice(first, first + count), first + count
            if name in queries:
                own = mask if mask is None or mask.shape[-2] == 1 else mask[..., rows, :]
                hear(Gaze(name, whose.layer, whose.keys, _weights(q[:, :, rows].float(), k.float(), own), whose.places))

    token = _LISTENER.set(listen)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Float[Tensor, "B H N M"]:
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    return logits.softmax(dim=-1)
