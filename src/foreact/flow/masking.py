"""Means over what counts: every loss leaves out what lies past the end of an episode, or is not known."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["masked_mean"]


def masked_mean(values: Float[Tensor, "*any"], keep: Bool[Tensor, "*any"] | Float[Tensor, "*any"]) -> Tensor:
    """sum(values keep) / sum(keep); 0 where nothing counts."""
    keep = keep.to(values.dtype)
    return (values * keep).sum() / keep.sum().clamp(min=1)
