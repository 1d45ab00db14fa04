"""The cross-entropy method: a Gaussian over chunks, refitted to the best of what it drew (Rubinstein, 1999).

    mean <- (1/E) sum_elite a        deviation <- sqrt((1/E) sum_elite (a - mean)^2), per step and entry, not below a floor
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.selection.candidates import Box, Score, Selection, perturbed, take_best

__all__ = ["cross_entropy", "refit"]


def refit(candidates: Float[Tensor, "B N H A"], scores: Float[Tensor, "B N"], elites: int, floor: float,
          ) -> tuple[Float[Tensor, "B H A"], Float[Tensor, "B H A"]]:
    """Mean and deviation of the `elites` candidates of highest score."""
    best = scores.topk(elites, dim=1).indices
    elite = candidates.gather(1, best[:, :, None, None].expand(-1, -1, *candidates.shape[2:]))
    return elite.mean(dim=1), elite.std(dim=1, correction=0).clamp(min=floor)


def cross_entropy(score: Score, nominal: Float[Tensor, "B H A"], draw: Callable[[int], Float[Tensor, "B N K A"]], box: Box, *,
                  spread: float, elites: int, iterations: int, floor: float = 0.05) -> Selection:
    """The best of all that was scored, the last mean among them. draw: standard normal noise of iteration i."""
    mean, deviation, seen, scores = box.clip(nominal[:, None])[:, 0], torch.full_like(nominal, spread), [], []
    for iteration in range(iterations):
        candidates = torch.cat([mean[:, None], perturbed(mean, draw(iteration), deviation, box)], dim=1)
        found = score(candidates)
        mean, deviation = refit(candidates, found, elites, floor)
        seen.append(candidates)
        scores.append(found)
    last = box.clip(mean[:, None])
    return take_best(torch.cat([*seen, last], dim=1), torch.cat([*scores, score(last)], dim=1))
