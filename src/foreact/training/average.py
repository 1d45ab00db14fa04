"""Exponential moving average of the trained weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from foreact.training.parallel import like, own, whole
from foreact.training.settings import Average

__all__ = ["MovingAverage"]


class MovingAverage:
    """shadow <- d shadow + (1 - d) weight with d = min(decay, (1 + t) / (10 + t)), t counting steps from 0.

    Without settings the average is the weights themselves.
    """

    def __init__(self, settings: Average | None, parameters: Mapping[str, nn.Parameter]) -> None:
        self._settings, self._parameters = settings, dict(parameters)
        self._shadow = {n: p.detach().clone() for n, p in self._parameters.items()} if settings is not None else {}

    def update(self, step: int) -> None:
        if self._settings is None:
            return
        decay = min(self._settings.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_([own(s) for s in self._shadow.values()], [own(p) for p in self._parameters.values()], 1.0 - decay)

    def state(self) -> dict[str, Tensor]:
        """The averaged weights by name, whole tensors."""
        source = self._shadow if self._settings is not None else self._parameters
        return {name: whole(value.detach()) for name, value in source.items()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up averaged weights; `state` may hold more names."""
        self._shadow = {n: like(p, state[n]) for n, p in self._parameters.items()} if self._settings is not None else {}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The model bears the averaged weights while the block runs."""
        if self._settings is None:
            yield
            return
        parameters, shadow = [own(p) for p in self._parameters.values()], [own(s) for s in self._shadow.values()]
        kept = [p.clone() for p in parameters]
        with torch.no_grad():
            torch._foreach_copy_(parameters, shadow)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(parameters, kept)
