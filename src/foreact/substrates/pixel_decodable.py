"""What a pixel substrate with a decoder of its own promises: not only pictures to look at, but pixels as numbers.

`Substrate.decode` gives uint8 pictures for people. A head that acts from what is rendered wants the decoder's own output, not
rounded and on the same grid of tokens: this is what `patches` gives.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from foreact.contract.axes import Substrate
from foreact.contract.specs import ObservationSpec

__all__ = ["PixelDecodable"]


class PixelDecodable(Substrate, ABC):
    """A substrate whose tokens are patches of pictures."""

    class Config(Substrate.Config):
        """As that of every substrate."""

        def pixels(self, observation: ObservationSpec) -> int:
            """Numbers in a token that has been decoded: 3 x patch x patch."""
            raise NotImplementedError

    @abstractmethod
    def patches(self, values: Float[Tensor, "batch time tokens channels"]) -> Float[Tensor, "batch time tokens pixels"]:
        """RGB in about [-1, 1], not clipped; a token holds its patch as (3, patch, patch), row 0 at the top. No gradient flows through."""
