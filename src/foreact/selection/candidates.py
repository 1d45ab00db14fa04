"""Candidate chunks around a nominal one, the box that they must lie in, and what a search gives back.

Legend: B batch of episodes, N candidates, K knots, H steps of a chunk, A numbers of an action.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.context import Candidates
from foreact.selection.best_of import best_of, of_the_chosen

__all__ = ["Box", "Score", "Selection", "perturbed", "stretched", "take_best", "take_last"]

Score = Callable[[Float[Tensor, "B N H A"]], Float[Tensor, "B N"]]
"""Higher is better."""


@dataclass(frozen=True)
class Box:
    """What an action may be, per episode."""

    low: Float[Tensor, "B A"]
    high: Float[Tensor, "B A"]

    def clip(self, actions: Float[Tensor, "B N H A"]) -> Float[Tensor, "B N H A"]:
        return torch.minimum(torch.maximum(actions, self.low[:, None, None]), self.high[:, None, None])


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is to be executed, and the evidence: everything that was scored. `actions` is the chosen candidate."""

    actions: Float[Tensor, "B H A"]
    candidates: Candidates

    @property
    def score(self) -> Float[Tensor, " B"]:
        """Of the chosen one."""
        return self.candidates.scores.gather(1, self.candidates.chosen[:, None])[:, 0]


def stretched(knots: Float[Tensor, "B N K A"], horizon: int) -> Float[Tensor, "B N H A"]:
    """Straight lines through K knots, the first and last at the ends of the chunk; as it is where there is one for each step."""
    if knots.shape[2] == horizon:
        return knots
    lines = F.interpolate(knots.flatten(0, 1).transpose(1, 2), size=horizon, mode="linear", align_corners=True)
    return lines.transpose(1, 2).unflatten(0, knots.shape[:2])


def perturbed(nominal: Float[Tensor, "B H A"], noise: Float[Tensor, "B N K A"], spread: float | Float[Tensor, "B H A"], box: Box,
              ) -> Float[Tensor, "B N H A"]:
    """Gaussian candidates nominal + spread * noise, clipped to the box. The noise bends at its knots, so that a chunk stays smooth."""
    scale = spread[:, None] if isinstance(spread, Tensor) else spread
    return box.clip(nominal[:, None] + scale * stretched(noise, nominal.shape[1]))


def take_best(actions: Float[Tensor, "B N H A"], scores: Float[Tensor, "B N"]) -> Selection:
    """The candidate of the highest score; the first of equals."""
    return _selected(best_of(actions, scores))


def take_last(actions: Float[Tensor, "B N H A"], scores: Float[Tensor, "B N"]) -> Selection:
    """The last candidate, whatever its score: what a search has come to."""
    last = torch.full((len(scores),), scores.shape[1] - 1, device=scores.device)
    return _selected(Candidates(actions=actions, scores=scores, chosen=last))


def _selected(candidates: Candidates) -> Selection:
    return Selection(actions=of_the_chosen({"actions": candidates.actions}, candidates.chosen)["actions"], candidates=candidates)
