"""Encoders of single images to a grid of feature tokens: what a feature substrate is made of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import NamedTuple

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from foreact.contract.config import Buildable, Config

__all__ = ["Captioned", "VisionEncoder"]


class Captioned(NamedTuple):
    """Images to learn from, with the instruction under which each was seen; no instructions where they are not known."""

    images: UInt8[Tensor, "image 3 height width"]
    texts: tuple[str, ...] = ()


class VisionEncoder(nn.Module, Buildable, ABC):
    """Images of one size to rows x columns tokens of `channels` numbers, not whitened."""

    class Config(Config):
        """`build(height, width)`."""

        @property
        def channels(self) -> int:
            """Numbers in a token, known before anything is allocated."""
            raise NotImplementedError

        def grid(self, height: int, width: int) -> tuple[int, int]:
            """Rows and columns of tokens for images of this size; raises `MisfitError` where it cannot take them."""
            raise NotImplementedError

    @abstractmethod
    def forward(self, images: UInt8[Tensor, "image 3 height width"]) -> Float[Tensor, "image tokens channels"]:
        """Tokens in rows, row 0 at the top."""

    @abstractmethod
    def fit(self, batches: Iterable[Captioned], *, steps: int, seed: int) -> None:
        """Learn from at most `steps` batches; one that comes trained reads nothing."""
