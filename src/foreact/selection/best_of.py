"""Best of N: of several candidates, the one of the highest score (survey, section 4.3; Cosmos Policy, arXiv 2601.16163).

    a* = a_n,    n = argmax_n score_n    (the first of equals)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foreact.contract.context import Candidates

__all__ = ["best_of", "of_the_chosen"]


def best_of(actions: Float[Tensor, "batch candidate horizon action"], scores: Float[Tensor, "batch candidate"]) -> Candidates:
    """The evidence of the choice: every candidate, its score, and which was chosen."""
    return Candidates(actions=actions, scores=scores, chosen=scores.argmax(dim=1))


def of_the_chosen(values: Mapping[str, Float[Tensor, "batch candidate *rest"]], chosen: Int[Tensor, " batch"]) -> dict[str, Tensor]:
    """What belongs to the chosen candidate of each batch element."""
    rows = torch.arange(len(chosen), device=chosen.device)
    return {name: value[rows, chosen] for name, value in values.items()}
