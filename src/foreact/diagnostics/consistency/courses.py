"""What was measured along the way: by control step, for successes and for failures, and how far apart they lie (figures 5, 12 and 13).

Entries are z-scores within the task over all of its steps, so that tasks can be pooled. A difference at a step is taken within each task
and averaged with the weight n_s n_f / (n_s + n_f), so a task that fails more does not pass for a failure. A step is told where at least
three episodes of each side got there; bands are 95 % percentile bootstraps over seeds, step by step.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from foreact.diagnostics.consistency.scores import Scored, of_steps
from foreact.diagnostics.consistency.separation import between, draws

__all__ = ["LEAST", "Course", "agreement", "band", "course", "course_of", "gap", "laid_out", "mean_of", "nan_mean"]

LEAST = 3
"""Episodes without which nothing is told of a step."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """Episodes along the steps at which something was measured; NaN where an episode did not get there."""

    steps: Int[np.ndarray, " step"]
    values: Float[np.ndarray, "episode step"]
    task: np.ndarray
    seed: Int[np.ndarray, " episode"]
    success: Bool[np.ndarray, " episode"]

    def at(self, chosen: np.ndarray) -> Course:
        """These episodes, by place or by mask."""
        return replace(self, values=self.values[chosen], task=self.task[chosen], seed=self.seed[chosen], success=self.success[chosen])


def course_of(found: Scored, name: str) -> Course:
    """Of "log_c" or "change" of the frames imagined at each step."""
    entry, sign = ("distance", -1.0) if name == "log_c" else (name, 1.0)
    told = [of_steps(frames, entry) for frames in found.frames]
    return course([(steps, sign * values) for steps, values in told], found.task, found.seed, found.success)


def course(told: Sequence[tuple[np.ndarray, np.ndarray]], task: np.ndarray, seed: np.ndarray, success: np.ndarray) -> Course:
    """From the (steps, values) of each episode."""
    steps, values = laid_out(told)
    for name in set(task.tolist()):
        mine = task == name
        values[mine] = (values[mine] - np.nanmean(values[mine])) / max(np.nanstd(values[mine]), 1e-12)
    return Course(steps=steps, values=values, task=task, seed=seed, success=success)


def laid_out(told: Sequence[tuple[np.ndarray, np.ndarray]], steps: np.ndarray | None = None,
             ) -> tuple[Int[np.ndarray, " step"], Float[np.ndarray, "episode step"]]:
    """The (steps, values) of each episode on common steps, by default all that occur; NaN where it was not measured."""
    steps = np.unique(np.concatenate([at for at, _ in told])) if steps is None else steps
    values = np.full((len(told), len(steps)), np.nan)
    for row, (at, own) in enumerate(told):
        values[row, np.searchsorted(steps, at)] = own
    return steps, values


def mean_of(found: Course, kept: Bool[np.ndarray, " episode"], *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Of these episodes, at the steps that enough of them reached."""
    mine = found.at(kept)
    count = np.isfinite(mine.values).sum(axis=0)
    told = count >= LEAST
    drawn = [nan_mean(mine.values[rows][:, told]) for rows in draws(mine.seed, seed=seed, resamples=resamples)] if told.any() else []
    return band(found.steps[told], nan_mean(mine.values[:, told]) if told.any() else np.zeros(0), drawn, episodes=count[told].tolist())


def gap(found: Course, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Successes less failures."""
    told = _reached(found)
    drawn = [_apart(found.at(rows), told) for rows in draws(found.seed, seed=seed, resamples=resamples)]
    return band(found.steps[told], _apart(found, told), drawn)


def agreement(one: Course, other: Course, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """Whether two measures of the same episodes tell the same (figure 5).

    over_time: Pearson's correlation of their two gaps over the steps that both have. episodes: Spearman's, of each episode's two means.
    """
    assert one.seed.tolist() == other.seed.tolist() and one.task.tolist() == other.task.tolist()
    steps = np.intersect1d(one.steps, other.steps)
    one, other = (replace(x, steps=steps, values=x.values[:, np.isin(x.steps, steps)]) for x in (one, other))
    told = _reached(one) & _reached(other)

    def over_time(rows: np.ndarray) -> float:
        return _pearson(_apart(one.at(rows), told), _apart(other.at(rows), told))

    def of_episodes(rows: np.ndarray) -> float:
        from scipy.stats import spearmanr

        means = [nan_mean(x.values[rows], axis=1) for x in (one, other)]
        both = np.isfinite(means[0]) & np.isfinite(means[1])
        return float(spearmanr(means[0][both], means[1][both]).statistic) if both.sum() > 2 else float("nan")

    everyone, found = np.arange(len(one.seed)), {"steps": int(told.sum())}
    for name, measure in (("over_time", over_time), ("episodes", of_episodes)):
        value = measure(everyone)
        drawn = [measure(rows) for rows in draws(one.seed, seed=seed, resamples=resamples)] if np.isfinite(value) else []
        found |= {name: value, f"{name}_interval": between([each for each in drawn if np.isfinite(each)])}
    return found


def nan_mean(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Mean of what is there, NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=axis)


def _reached(found: Course) -> Bool[np.ndarray, " step"]:
    there = np.isfinite(found.values)
    return (there[found.success].sum(axis=0) >= LEAST) & (there[~found.success].sum(axis=0) >= LEAST) & np.isfinite(
        _apart(found, np.ones(len(found.steps), dtype=bool)))


def _apart(found: Course, told: Bool[np.ndarray, " step"]) -> Float[np.ndarray, " told"]:
    """Successes less failures within tasks, at the steps told; NaN where no task has both."""
    total, weights = np.zeros(told.sum()), np.zeros(told.sum())
    for name in set(found.task.tolist()):
        sides = [found.values[(found.task == name) & (found.success == kept)][:, told] for kept in (True, False)]
        counts = [np.isfinite(side).sum(axis=0) for side in sides]
        weight = counts[0] * counts[1] / np.maximum(counts[0] + counts[1], 1)
        if weight.any():
            apart = nan_mean(sides[0]) - nan_mean(sides[1])
            total, weights = total + np.where(weight > 0, weight * np.nan_to_num(apart), 0.0), weights + weight
    return np.where(weights > 0, total / np.maximum(weights, 1e-12), np.nan)


def band(steps: np.ndarray, middle: np.ndarray, drawn: Sequence[np.ndarray], **more: Any) -> dict[str, Any]:
    """A curve with what was drawn of it, step by step; NaN where nothing was."""
    edges = np.full((2, len(steps)), np.nan)
    if len(drawn) and len(steps):
        stack = np.stack(drawn)
        for at in range(len(steps)):
            edges[:, at] = between(stack[np.isfinite(stack[:, at]), at])
    return {"steps": steps.tolist(), "mean": middle.tolist(), "low": edges[0].tolist(), "high": edges[1].tolist(), **more}


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    from scipy.stats import pearsonr

    both = np.isfinite(one) & np.isfinite(other)
    if both.sum() < 3 or any(x[both].std() <= 1e-9 * np.abs(x[both]).max() for x in (one, other)):  # one that does not vary
        return float("nan")
    return float(pearsonr(one[both], other[both]).statistic)
