"""What the consistency of imagined futures says of success (Is the Future Compatible?, 2026, section 3).

An episode's consistency is the mean over its frames of log C = -d / tau, and within each task it becomes a z-score. So tau, which scales
all alike, drops out of everything below; the paper's own mean of C would keep it.

    Cohen's d    ( mean z of successes - mean z of failures ) / pooled deviation
    AUC          of a logistic regression from z to success, each fifth of the seeds told by the other four
    skill        1 - mean d / mean change: what imagining explains of what changed; 0 for a future in which nothing moves
    collapse     Spearman's correlation over frames of log C with the change of what was seen: below zero where what moves is the harder to
                 imagine, so that a failure that stands still looks consistent

A task is aligned where its successes are the more consistent. The paper tells its AUC over those tasks alone, which chooses by what is then
measured; both are given. Intervals are percentile bootstraps over seeds, all episodes of a seed drawn together. Frames count until which
the robot did what the plan said, where there are any; else, as under a regime that looks again before a frame is due, all.

An episode that succeeds ends, so its frames are from earlier on the way than those of one that fails, and a difference may be one between
stretches of the way. Told from what was imagined before some step (`before`), all episodes are told from the same stretch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from foreact.contract.errors import DatasetError
from foreact.diagnostics.manifold.separability import auc

__all__ = ["PAPER", "Scored", "area", "auc_out_of_fold", "cohens_d", "collapse", "interval", "scored", "separation"]

PAPER = {"Cosmos-Policy on RoboCasa": {"d": 0.76, "auc": 0.77}, "LingBot-VA on RoboTwin 2.0": {"d": 0.99, "auc": 0.88}}
"""What the paper reports."""
_FOLDS = 5


class Frame(Protocol):
    """An imagined frame that came due, as evaluations keep it."""

    step: int
    offset: int
    distance: float
    change: float
    on_plan: bool


class Record(Protocol):
    """An episode, as evaluations keep it."""

    task: str
    seed: int
    success: bool
    consistency: Sequence[Frame]


@dataclass(frozen=True, kw_only=True)
class Scored:
    """Episodes with their consistency, one entry each. log_c: mean log C; z: the same within the task. frames: (log C, change) of each.

    on_plan: whether only frames count until which the robot did what the plan said.
    """

    task: np.ndarray
    seed: Int[np.ndarray, " episode"]
    success: Bool[np.ndarray, " episode"]
    log_c: Float[np.ndarray, " episode"]
    z: Float[np.ndarray, " episode"]
    frames: np.ndarray
    on_plan: bool

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.task.tolist()))

    @property
    def aligned(self) -> tuple[str, ...]:
        """Tasks whose successes are the more consistent."""
        return tuple(task for task in self.tasks if cohens_d(self.of(task).z, self.of(task).success) > 0)

    @property
    def skill(self) -> float:
        """What imagining explains of what changed, with tau = 1."""
        distance, change = (np.concatenate([one[:, i] for one in self.frames]).mean() for i in (0, 1))
        return float(1 + distance / max(change, 1e-12))

    def at(self, chosen: np.ndarray) -> Scored:
        """These episodes, by place or by mask."""
        return Scored(on_plan=self.on_plan, **{f.name: getattr(self, f.name)[chosen] for f in fields(self) if f.name != "on_plan"})

    def of(self, *tasks: str) -> Scored:
        return self.at(np.isin(self.task, tasks))


def scored(records: Sequence[Record], *, tau: float = 1.0, offset: int | None = None, before: int | None = None) -> Scored:
    """Episodes in which something came due; raises `DatasetError` where there are none.

    offset: frames so far ahead only. before: those imagined before this control step only.
    """
    frames = [[one for one in record.consistency if offset in (None, one.offset) and (before is None or one.step < before)]
              for record in records]
    on_plan = any(one.on_plan for own in frames for one in own)
    frames = [[one for one in own if one.on_plan or not on_plan] for own in frames]
    pairs = [(record, own) for record, own in zip(records, frames, strict=True) if own]
    if not pairs:
        raise DatasetError("no imagined frame came due", where="episodes.jsonl", found=f"{len(records)} episodes",
                           accepted="an evaluation with consistency=latent, pixel, perceptual or flow",
                           next_step="foreact eval RUN consistency=latent")
    log_c = np.array([-np.mean([one.distance for one in own]) / tau for _, own in pairs])
    task, z = np.array([record.task for record, _ in pairs]), np.zeros(len(pairs))
    for name in set(task.tolist()):
        mine = task == name
        z[mine] = (log_c[mine] - log_c[mine].mean()) / max(log_c[mine].std(), 1e-12)
    kept = np.empty(len(pairs), dtype=object)
    kept[:] = [np.array([(-one.distance / tau, one.change) for one in own]) for _, own in pairs]
    return Scored(task=task, seed=np.array([record.seed for record, _ in pairs]), log_c=log_c, z=z, frames=kept, on_plan=on_plan,
                  success=np.array([bool(record.success) for record, _ in pairs]))


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
    order = {group: index % _FOLDS for index, group in enumerate(np.unique(groups))}
    fold = np.array([order[group] for group in groups])
    won, pairs = 0.0, 0
    for held in (fold == one for one in range(min(_FOLDS, len(order)))):
        if len(np.unique(success[~held])) < 2:
            return float("nan")
        intercept, slope = _logistic(values[~held], success[~held])
        count = int(success[held].sum() * (~success[held]).sum())
        if count:
            won, pairs = won + count * area(intercept + slope * values[held], success[held]), pairs + count
    return won / pairs if pairs else float("nan")


def _logistic(x: Float[np.ndarray, " episode"], y: Bool[np.ndarray, " episode"], penalty: float = 1.0, steps: int = 50,
              ) -> tuple[float, float]:
    """Intercept and slope of logistic regression by Newton's steps; the slope is held by penalty / 2 slope^2, as scikit-learn's is."""
    design, at = np.stack([np.ones_like(x), x], axis=1), np.zeros(2)
    ridge = np.diag([1e-9, penalty])
    for _ in range(steps):
        p = 1 / (1 + np.exp(-design @ at))
        move = np.linalg.solve(design.T @ (design * (p * (1 - p))[:, None]) + ridge, design.T @ (y - p) - ridge @ at)
        at = at + np.clip(move, -5, 5)
        if np.abs(move).max() < 1e-10:
            break
    return float(at[0]), float(at[1])


def collapse(found: Scored) -> float:
    """Spearman's correlation of log C with the change of what was seen, over frames."""
    from scipy.stats import spearmanr

    both = np.concatenate(list(found.frames))
    return float(spearmanr(both[:, 0], both[:, 1]).statistic) if len(both) > 2 and both.std(axis=0).min() > 0 else float("nan")


def interval(found: Scored, measure: Callable[[Scored], float], *, seed: int = 0, confidence: float = 0.95, resamples: int = 500,
             ) -> list[float]:
    """Percentile bootstrap over seeds; draws in which the measure is not defined are left out, and NaN where it is not of all."""
    if not np.isfinite(measure(found)):
        return [float("nan")] * 2
    generator, seeds = np.random.default_rng(seed), np.unique(found.seed)
    places = [np.flatnonzero(found.seed == one) for one in seeds]
    drawn = (np.concatenate([places[i] for i in generator.integers(0, len(seeds), len(seeds))]) for _ in range(resamples))
    values = [value for value in (measure(found.at(chosen)) for chosen in drawn) if np.isfinite(value)]
    tail = (1 - confidence) / 2
    return [float(edge) for edge in np.quantile(values, [tail, 1 - tail])] if values else [float("nan")] * 2


def separation(found: Scored, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Cohen's d and the AUC of these episodes, with intervals; NaN where all of them ended alike."""
    def d(one: Scored) -> float:
        return cohens_d(one.z, one.success)

    def auc(one: Scored) -> float:
        return auc_out_of_fold(one.z, one.success, one.seed)

    spread = {"seed": seed, "resamples": resamples}
    return {"episodes": len(found.seed), "successes": int(found.success.sum()), "d": d(found), "d_interval": interval(found, d, **spread),
            "auc": auc(found), "auc_interval": interval(found, auc, **spread)}
