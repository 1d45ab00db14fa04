"""Post-prediction heads q_psi(a_{t:t+H-1} | s_{t+1:t+H}, c): what decodes action from a predicted future (survey, equation 20)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.contract.axes import Dimensions, Encoded, Noise, SubstrateForm
from foreact.contract.config import Buildable, Config
from foreact.nets.attention import Spans

__all__ = ["Head", "Readable", "Reading"]


@dataclass(frozen=True, kw_only=True)
class Readable:
    """What a head will be given, known before anything is allocated.

    futures: the exposed form of each predicted part, at `offsets` control steps; empty where nothing is predicted.
    taps: (tokens, width) of the hidden states of the predictor, or None; they come from `levels` layers, lowest first.
    tapped: whose they are in each of these layers: streams with their lengths, in order.
    """

    dimensions: Dimensions
    horizon: int
    offsets: tuple[int, ...] = ()
    futures: Mapping[str, SubstrateForm] = field(default_factory=dict)
    taps: tuple[int, int] | None = None
    levels: int = 1
    tapped: Spans = ()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a head reads: the predicted future as the substrate exposes it, hidden states where asked for, and the context."""

    context: Encoded
    futures: Mapping[str, Float[Tensor, "batch time _ _"]] = field(default_factory=dict)
    taps: Float[Tensor, "batch tap_tokens tap_width"] | None = None


class Head(nn.Module, Buildable, ABC):
    """Decodes an action chunk from a future that something else has predicted."""

    learns_from_actions: ClassVar[bool]
    """Whether it needs action labels; one that does not has no action loss, and the model then scales no action by statistics."""

    inpaints: ClassVar[bool] = False
    """Whether it denoises its chunk, and so can hold it to `Encoded.committed`."""

    class Config(Config):
        """`build(readable)`; raises `MisfitError` where it cannot read that."""

        def without_future(self) -> Head.Config:
            """What acts in its place where nothing is predicted, from the present alone: the no-future baseline."""
            raise NotImplementedError

    @abstractmethod
    def loss(self, reading: Reading, actions: Float[Tensor, "batch horizon action"], known: Bool[Tensor, "batch horizon"], *,
             generator: torch.Generator) -> Tensor:
        """One scalar; `known` marks the actions that count. Never called where it does not learn from actions."""

    @abstractmethod
    def act(self, reading: Reading, *, noise: Noise) -> Float[Tensor, "batch horizon action"]:
        """The chunk, in the model's own units."""
