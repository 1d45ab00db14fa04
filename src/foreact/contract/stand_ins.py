"""What may stand in the place of an imagined future where the action reads it: the true one, another, nothing.

A coupling reads a future by stream: frame by frame or as one row of tokens, clean or at a noise level, as frames or as their changes
from the present. A clean future is brought into that form here, so that who replaces it need not know the coupling.
"""

from __future__ import annotations

from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from foreact.contract.config import Config, leaves

__all__ = ["at_level", "in_form_of", "of_parts", "reads_changes"]


def reads_changes(coupling: Config) -> bool:
    """Whether the main future is read as changes from the present."""
    return "changes" in [value for value in leaves(coupling).values() if isinstance(value, str)]


def in_form_of(x: Tensor, future: Float[Tensor, "batch time _ _"], present: Float[Tensor, "batch tokens _"] | None) -> Tensor | None:
    """`future` as `x` has it, its rows repeated where x has several of each; None where x is no future of this kind.

    present: what is taken off each frame where x is laid out as a row of changes.
    """
    batch, time = future.shape[:2]
    if x.shape[0] % batch:
        return None
    flat = future.flatten(1, 2)
    if x.ndim == future.ndim and x.shape[1:] == future.shape[1:]:
        found = future
    elif x.shape[1:] == flat.shape[1:]:
        found = flat if present is None else flat - present.repeat(1, time, 1)
    else:
        return None
    return found.repeat_interleave(x.shape[0] // batch, dim=0)


def at_level(clean: Tensor, sigma: Tensor | None, noise: Tensor) -> Tensor:
    """(1 - sigma) clean + sigma noise; clean where there is no level."""
    if sigma is None:
        return clean
    level = sigma.reshape(sigma.shape + (1,) * (clean.ndim - sigma.ndim)).to(clean)
    return (1 - level) * clean + level * noise


def of_parts(future: Mapping[str, Tensor], frame: Tensor, *, changes: bool) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Each part's clean future with what `in_form_of` takes off it; the main one is the first."""
    main = next(iter(future), None)
    return {name: (values, frame if changes and name == main else None) for name, values in future.items()}
