"""Ways into and out of a network that predicts without noise: given streams are embedded, predicted ones are learnt queries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from foreact.contract.errors import MisfitError
from foreact.contract.layout import Layout, Stream

__all__ = ["QueryStreams", "require_noiseless"]


class QueryStreams(nn.Module):
    """Each stream's tokens at the network's width, and what its predicted streams come to."""

    def __init__(self, layout: Layout, width: int) -> None:
        super().__init__()
        self.asked = tuple(s.name for s in layout.streams if s.target is not None)
        learnt = [s for s in layout.streams if s.target is not None or s.query]
        self.embed = nn.ModuleDict({s.name: nn.Linear(s.channels + s.condition, width) for s in layout.streams if s not in learnt})
        self.queries = nn.ParameterDict({s.name: nn.Parameter(0.02 * torch.randn(s.length, width)) for s in learnt})
        self.unembed = nn.ModuleDict({s.name: nn.Linear(width, s.channels) for s in layout.streams if s.target is not None})
        for layer in self.unembed.values():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def enter(self, inputs: Mapping[str, Tensor], layout: Layout, held: Iterable[str], batch: int) -> dict[str, Tensor]:
        """The tokens that run now. Queries need not be among `inputs`: they run whenever the layout has them and they are not `held`."""
        held, found = set(held), {}
        for name in layout.names:
            if name in self.queries and (name in inputs or name not in held):
                found[name] = self.queries[name].expand(batch, -1, -1)
            elif name in inputs:
                found[name] = self.embed[name](inputs[name])
        return found

    def leave(self, name: str, x: Tensor) -> Tensor:
        return self.unembed[name](x).float()


def require_noiseless(stream: Stream) -> None:
    """Raise `MisfitError` for a stream that cannot be predicted without noise."""
    if stream.noise is not None or stream.target not in (None, "sample"):
        raise MisfitError("this backbone predicts clean samples and takes no noise", where="model.backbone",
                          found=f"stream '{stream.name}' of the coupling has noise {stream.noise!r} and target {stream.target!r}",
                          accepted="noise None with target 'sample', or target None",
                          next_step="choose a coupling that requires 'deterministic' or 'causal', or model.backbone=MixtureOfTransformers")
