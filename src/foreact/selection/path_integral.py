"""Model predictive path integral control: the softmax-weighted mean of scored candidates, several times over.

    w_i = exp(S_i / lambda) / sum_j exp(S_j / lambda)        mean <- sum_i w_i a_i                (Williams et al., 2017)

S is a score, so the higher the better; lambda is the temperature, in units of the score or, where `relative`, of its standard
deviation over the candidates, so that one setting serves substrates whose distances differ in scale. The mean recedes from
one iteration to the next and takes part as a candidate in each. Scores that are all equal give equal weights.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.selection.candidates import Box, Score, Selection, perturbed, take_last

__all__ = ["path_integral", "weights"]


def weights(scores: Float[Tensor, "B N"], temperature: float, *, relative: bool = False) -> Float[Tensor, "B N"]:
    """The softmax of the scores."""
    scale = scores.std(dim=1, keepdim=True, correction=0).clamp(min=1e-8) if relative else 1.0
    return ((scores - scores.amax(dim=1, keepdim=True)) / (temperature * scale)).softmax(dim=1)


def path_integral(score: Score, nominal: Float[Tensor, "B H A"], draw: Callable[[int], Float[Tensor, "B N K A"]], box: Box, *,
                  spread: float, temperature: float, iterations: int, decay: float = 1.0, relative: bool = True) -> Selection:
    """The mean after the last iteration, which is scored too and stands last in the evidence.

    draw: standard normal noise of iteration i. spread: of the first candidates about the mean; times `decay` in each iteration.
    """
    mean, seen, scores = box.clip(nominal[:, None])[:, 0], [], []
    for iteration in range(iterations):
        candidates = torch.cat([mean[:, None], perturbed(mean, draw(iteration), spread * decay**iteration, box)], dim=1)
        found = score(candidates)
        mean = torch.einsum("bn,bnha->bha", weights(found, temperature, relative=relative), candidates)
        seen.append(candidates)
        scores.append(found)
    # a weighted mean of points in the box lies in it but for rounding
    last = box.clip(mean[:, None])
    return take_last(torch.cat([*seen, last], dim=1), torch.cat([*scores, score(last)], dim=1))
