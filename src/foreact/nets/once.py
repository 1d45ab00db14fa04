"""What does not depend on noise is computed once for a plan: what cross-attention looks at is the same at every denoising step.

While `once_per_plan` is open, each asker keeps what it made of the last things it was given, known by identity. Nothing outlives the plan.
Compiled code computes anew, so that it stays whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = ["once", "once_per_plan"]

Made = TypeVar("Made")
_KEPT: ContextVar[dict[object, list[tuple[Tensor, Any]]] | None] = ContextVar("made in this plan", default=None)
_LATEST = 3
"""Things given to one asker that are kept, such as the words of one row and of all candidates."""


@contextmanager
def once_per_plan() -> Iterator[None]:
    """Around everything that one plan computes, where no weight changes and no gradient is asked for."""
    token = _KEPT.set({})
    try:
        yield
    finally:
        _KEPT.reset(token)


def once(asker: object, given: Tensor, make: Callable[[Tensor], Made]) -> Made:
    """`make(given)`, or what it gave this asker before for the same tensor."""
    kept = None if torch.compiler.is_compiling() else _KEPT.get()
    if kept is None:
        return make(given)
    held = kept.setdefault(asker, [])
    for known, made in held:
        if known is given:
            return made
    held.append((given, make(given)))
    del held[:-_LATEST]
    return held[-1][1]
