"""Tokens for points without lasting names: which point a token speaks of is decided by where the points are now.

A tracked point has an identity within its episode only. So `tokens` anchors are laid over the places where points are found, and in
each scene every anchor takes one point of its own, so that the summed squared distance is least (the assignment problem, solved by
`scipy`). Anchors are the means of what they take over many scenes: Lloyd's k-means (1957) with each cluster given one point a scene,
started as by Arthur and Vassilvitskii (2007).
The order in which points are listed then never matters, and a token means about the same in every episode: "what is about there".
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["Anchors"]

_ROUNDS, _AT_MOST = 10, 512


class Anchors(nn.Module):
    """`tokens` places in a space of `dimensions`."""

    def __init__(self, tokens: int, dimensions: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.zeros(tokens, dimensions))

    def take(self, places: Float[Tensor, "scene point dimension"]) -> Int[Tensor, "scene token"]:
        """For each anchor the index of its point; there must be at least as many points as anchors."""
        from scipy.optimize import linear_sum_assignment

        costs = torch.cdist(self.places.double().expand(len(places), -1, -1), places.double()).square().cpu().numpy()
        return torch.stack([torch.from_numpy(linear_sum_assignment(cost)[1]) for cost in costs]).to(places.device)

    @torch.no_grad()
    def fit(self, places: Float[Tensor, "scene point dimension"], *, seed: int) -> None:
        """Lay the anchors over these places; the same under the same seed."""
        g = torch.Generator().manual_seed(seed)
        scenes = places[torch.randperm(len(places), generator=g)[:_AT_MOST].to(places.device)]
        flat = scenes.flatten(0, 1).double().cpu()
        centres = flat[:1]
        while len(centres) < len(self.places):
            nearest = torch.cdist(flat, centres).amin(dim=1).square() + 1e-12
            centres = torch.cat([centres, flat[torch.multinomial(nearest, 1, generator=g)]])
        self.places.copy_(centres)
        for _ in range(_ROUNDS):
            self.places.copy_(scenes.take_along_dim(self.take(scenes)[..., None], dim=1).double().mean(dim=0))
        self.places.copy_(self.places[_by_coordinates(self.places)])


def _by_coordinates(centres: Tensor) -> Tensor:
    """Order by the last coordinate, then the one before it and so on: neighbours in the list are not far apart."""
    order = torch.arange(len(centres), device=centres.device)
    for column in range(centres.shape[1]):
        order = order[centres[order, column].sort(stable=True).indices]
    return order
