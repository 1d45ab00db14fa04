"""Whether consistency separates success from failure (Is the Future Compatible?, 2026, section 3.1, figures 1, 2, 10 and 11).

    Cohen's d    ( mean z of successes - mean z of failures ) / pooled deviation
    AUC          of a logistic regression from z to success, each fifth of the seeds told by the other four

All episodes of a seed stand in one fold, so that no episode's steps, and no twin of another task, stand on both sides. A task is aligned
where its successes are the more consistent (d > 0). The paper tells its AUC over those tasks alone, which chooses by what is then measured;
both are given. Intervals are percentile bootstraps over seeds, all episodes of a seed drawn together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foreact.diagnostics.consistency.scores import Scored
from foreact.diagnostics.manifold.separability import auc
from foreact.diagnostics.scikit import scikit

__all__ = ["PAPER", "aligned", "area", "auc_of", "auc_out_of_fold", "between", "cohens_d", "d_of", "draws", "folds", "interval", "roc",
           "roc_out_of_fold", "separation", "slope_sign"]

PAPER = {"Cosmos-Policy on RoboCasa": {"d": 0.76, "auc": 0.77}, "LingBot-VA on RoboTwin 2.0": {"d": 0.99, "auc": 0.88}}
"""What the paper reports."""
_FOLDS = 5


def aligned(found: Scored) -> tuple[str, ...]:
    """Tasks whose successes are the more consistent."""
    return tuple(task for task in found.tasks if cohens_d(found.of(task).z, found.of(task).success) > 0)


def cohens_d(values: Float[np.ndarray, " episode"], success: Bool[np.ndarray, " episode"]) -> float:
    """Of successes less failures, in pooled deviations; NaN where either side has fewer than two."""
    one, other = values[success], values[~success]
    if min(len(one), len(other)) < 2:
        return float("nan")
    pooled = ((len(one) - 1) * one.var(ddof=1) + (len(other) - 1) * other.var(ddof=1)) / (len(one) + len(other) - 2)
    return float((one.mean() - other.mean()) / np.sqrt(max(pooled, 1e-24)))


def area(values: Float[np.ndarray, " episode"], success: Bool[np.ndarray, " episode"]) -> float:
    """Under the ROC curve: how often a success has the higher value, ties counting half; NaN where one side is empty."""
    return auc(values, success) if success.any() and not success.all() else float("nan")


def auc_out_of_fold(values: Float[np.ndarray, " episode"], success: Bool[np.ndarray, " episode"], groups: Int[np.ndarray, " episode"],
                    ) -> float:
    """The area under the ROC of a regression that never saw an episode of the group that it tells; groups go round the folds in order.

    Areas are taken within folds and weighted by their pairs, because the logits of different fits are on different scales. NaN where no
    fold holds both outcomes, or some fit sees only one.
    """
    won, pairs = 0.0, 0
    for held in folds(groups):
        if success[~held].all() or not success[~held].any():
            return float("nan")
        count = int(success[held].sum() * (~success[held]).sum())
        if count:
            won, pairs = won + count * area(slope_sign(values[~held], success[~held]) * values[held], success[held]), pairs + count
    return won / pairs if pairs else float("nan")


def roc_out_of_fold(values: Float[np.ndarray, " episode"], success: Bool[np.ndarray, " episode"], groups: Int[np.ndarray, " episode"],
                    false_rates: Float[np.ndarray, " rate"]) -> Float[np.ndarray, " rate"] | None:
    """The curve over that area, in the same manner: mean of the folds' curves at each rate of false positives, weighted by their pairs."""
    curves, pairs = [], []
    for held in folds(groups):
        if success[~held].all() or not success[~held].any():
            return None
        if success[held].any() and not success[held].all():
            x, y = roc(slope_sign(values[~held], success[~held]) * values[held], success[held])
            curves.append(np.interp(false_rates, x, y))
            pairs.append(success[held].sum() * (~success[held]).sum())
    return np.average(curves, axis=0, weights=pairs) if curves else None


def roc(values: Float[np.ndarray, " episode"], success: Bool[np.ndarray, " episode"]) -> tuple[np.ndarray, np.ndarray]:
    """Shares of failures and of successes above each threshold."""
    x, y, _ = scikit("metrics", purpose="the curve of telling success from failure").roc_curve(success, values, drop_intermediate=False)
    return x, y


def folds(groups: Int[np.ndarray, " episode"]) -> Iterator[Bool[np.ndarray, " episode"]]:
    """Who is held out, fold by fold."""
    names, place = np.unique(groups, return_inverse=True)
    yield from (place % _FOLDS == one for one in range(min(_FOLDS, len(names))))


def slope_sign(values: Float[np.ndarray, " episode"], success: Bool[np.ndarray, " episode"]) -> float:
    """The sign of the slope of logistic regression of success on one score, penalised or not.

    An area under a curve asks no more of such a regression than which way it points. The likelihood is concave, and at slope 0 with the
    best intercept its derivative is n p (1 - p) times the difference of the two means; a penalty that is even in the slope cannot turn it.
    So this is that of scikit-learn, which a bootstrap need not fit thousands of times.
    """
    return float(np.sign(values[success].mean() - values[~success].mean()))


def draws(seeds: Int[np.ndarray, " episode"], *, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Places of the episodes of as many seeds, drawn with replacement."""
    generator, places = np.random.default_rng(seed), [np.flatnonzero(seeds == one) for one in np.unique(seeds)]
    for _ in range(resamples):
        yield np.concatenate([places[i] for i in generator.integers(0, len(places), len(places))])


def interval(found: Scored, measure: Callable[[Scored], float], *, seed: int = 0, confidence: float = 0.95, resamples: int = 500,
             ) -> list[float]:
    """Percentile bootstrap over seeds; draws in which the measure is not defined are left out, and NaN where it is not of all."""
    if not np.isfinite(measure(found)):
        return [float("nan")] * 2
    values = [value for value in (measure(found.at(chosen)) for chosen in draws(found.seed, seed=seed, resamples=resamples))
              if np.isfinite(value)]
    return between(values, confidence)


def between(values: Sequence[float], confidence: float = 0.95) -> list[float]:
    """The middle of what was drawn; NaN where nothing was."""
    tail = (1 - confidence) / 2
    return [float(edge) for edge in np.quantile(values, [tail, 1 - tail])] if len(values) else [float("nan")] * 2


def separation(found: Scored, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Cohen's d and the AUC of these episodes, with intervals; NaN where all of them ended alike."""
    spread = {"seed": seed, "resamples": resamples}
    return {"episodes": len(found.seed), "successes": int(found.success.sum()),
            "d": d_of(found), "d_interval": interval(found, d_of, **spread),
            "auc": auc_of(found), "auc_interval": interval(found, auc_of, **spread)}


def d_of(found: Scored) -> float:
    return cohens_d(found.z, found.success)


def auc_of(found: Scored) -> float:
    return auc_out_of_fold(found.z, found.success, found.seed)
