"""The score with the difficulty of the transition taken off: how far the future was from what came, for as much as came.

    plain       mean over frames of -d                                     the score of everything else
    ratio       mean of -log( d / (c + epsilon) )                          c: the change of what was seen
    residual    mean of -( log d - b log(c + epsilon) )                    b: least squares over all frames, within tasks
    log         mean of -log d                                             a control: the logarithm and nothing else
    change      mean of log(c + epsilon)                                   a control: how much moved, and nothing of what was imagined

epsilon is a hundredth of the median change, so that a world that stands still divides by something. Nothing here knows how an episode
ended. Whether a correction raises the AUC is the difference to `plain` on the same draws of seeds (paired bootstrap): it raises it where
the interval lies above zero, lowers it where it lies below, and else that is not decided. A ratio that does no better than `change` owes
what it says to the standing still of failures and not to what was imagined: its difference to that control stands beside.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float

from foreact.diagnostics.consistency.scores import Scored, z_within
from foreact.diagnostics.consistency.separation import area, auc_of, between, cohens_d, d_of, draws

__all__ = ["CORRECTIONS", "corrected", "difficulty", "verdict", "with_correction", "with_frozen"]

CORRECTIONS = ("ratio", "residual", "log", "change")
_EPSILON, _LEAST = 0.01, 1e-12


def difficulty(found: Scored) -> tuple[float, float]:
    """(epsilon, b) of these episodes."""
    epsilon = max(_EPSILON * float(np.median(found.every("change"))), _LEAST)
    x, y = [], []
    for task in found.tasks:
        mine = found.of(task)
        for kept, values in ((x, np.log(mine.every("change") + epsilon)), (y, np.log(np.maximum(mine.every("distance"), _LEAST)))):
            kept.append(values - values.mean())
    along, across = np.concatenate(x), np.concatenate(y)
    return epsilon, float((along * across).sum() / max((along ** 2).sum(), _LEAST))


def corrected(found: Scored, kind: str, *, by: tuple[float, float] | None = None) -> Scored:
    """The same episodes by that score. by: (epsilon, b), by default their own."""
    epsilon, slope = by or difficulty(found)
    of_distance, of_change = {"log": (1.0, 0.0), "ratio": (1.0, 1.0), "residual": (1.0, slope), "change": (0.0, 1.0)}[kind]
    return found.told_by(np.array([
        np.mean(of_change * np.log(own["change"] + epsilon) - of_distance * np.log(np.maximum(own["distance"], _LEAST)))
        for own in found.frames]))


def with_correction(found: Scored, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """d and AUC by each score, with the difference of each AUC to the plain one."""
    epsilon, slope = difficulty(found)
    told: dict[str, Any] = {"epsilon": epsilon, "slope": slope, "plain": {"d": d_of(found), "auc": auc_of(found)}}
    scores = [found, *(corrected(found, kind, by=(epsilon, slope)) for kind in CORRECTIONS)]
    drawn = [[auc_of(one.at(rows)) for one in scores] for rows in draws(found.seed, seed=seed, resamples=resamples)]
    pairs = np.array([row for row in drawn if np.isfinite(row).all()]).reshape(-1, len(scores))
    control = CORRECTIONS.index("change") + 1
    for at, (kind, other) in enumerate(zip(CORRECTIONS, scores[1:], strict=True), start=1):
        apart = between(pairs[:, at] - pairs[:, 0])
        told[kind] = {"d": d_of(other), "auc": auc_of(other), "auc_interval": between(pairs[:, at]),
                      "difference": auc_of(other) - auc_of(found), "difference_interval": apart, "verdict": verdict(apart),
                      "above_change": auc_of(other) - auc_of(scores[control]),
                      "above_change_interval": between(pairs[:, at] - pairs[:, control])}
    return told


def verdict(difference: list[float]) -> str:
    low, high = difference
    return "raises" if low > 0 else "lowers" if high < 0 else "leaves open"


def with_frozen(found: Scored, frozen: Scored) -> dict[str, Any]:
    """How each score sees the forced collapse: d and area of successes against frozen episodes, z-scores over both.

    Where the area of `plain` lies below that of the corrected, stalling passed for consistency.
    """
    by, won = difficulty(found), found.at(found.success)
    told = {}
    for kind in ("plain", *CORRECTIONS):
        one, other = (x if kind == "plain" else corrected(x, kind, by=by) for x in (won, frozen))
        values: Float[np.ndarray, " episode"] = np.concatenate([one.log_c, other.log_c])
        ended = np.arange(len(values)) < len(one.log_c)
        z = z_within(values, np.concatenate([one.task, other.task]))
        told[kind] = {"d": cohens_d(z, ended), "area": area(z, ended)}
    return told
