"""Background collapse: a future in which nothing happens is easy to imagine, so a failure that stalls looks consistent (section 3.2).

    stalled at t     each of the last `patience` changes of what was seen lies below a floor
    floor            `share` of the median change of the task's successes, over seeds other than the one that is judged

The rule looks at what was seen alone, since what matters is that the world stands still; how consistent the stalled stretch looks, and how
still it was imagined, is what is then asked of it. It is tried on episodes that were made to stall (`freeze` of an evaluation): how many it
finds, how long it takes, and how often it speaks of episodes that did not freeze. Of those, a failure may well have stalled by itself, so
that the rate of false alarms is that of successes; both are told. Intervals of rates are Wilson's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from foreact.contract.proportions import rate_of
from foreact.diagnostics.consistency.courses import course_of
from foreact.diagnostics.consistency.scores import Scored, of_steps
from foreact.diagnostics.consistency.separation import area, between, draws, folds

__all__ = ["Rule", "floors", "natural", "stalled", "stalls", "stillness", "tried"]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """See the head of the file."""

    share: float = 0.25
    patience: int = 3


def stalled(changes: Float[np.ndarray, " step"], *, floor: float, patience: int = 3) -> Bool[np.ndarray, " step"]:
    """Whether an episode stands still, step by step; changes in order, one for each step at which something was imagined."""
    low = np.asarray(changes) < floor
    run = np.zeros(len(low), dtype=np.int64)
    for at, one in enumerate(low):
        run[at] = (run[at - 1] if at else 0) + 1 if one else 0
    return run >= patience


def stillness(changes: Float[np.ndarray, " step"], *, patience: int = 3) -> float:
    """The floor above which this episode would be called stalled somewhere; infinity where it is shorter than `patience`."""
    if len(changes) < patience:
        return float("inf")
    return float(np.lib.stride_tricks.sliding_window_view(np.asarray(changes), patience).max(axis=1).min())


def floors(found: Scored, rule: Rule) -> dict[str, float]:
    """By task; of all successes where a task has none, of all episodes where there is no success."""
    def middle(of: Scored) -> float:
        return float(np.median(np.concatenate([of_steps(frames, "change")[1] for frames in of.frames])))

    won = found.at(found.success) if found.success.any() else found
    return {task: rule.share * middle(won.of(task) if (won.task == task).any() else won) for task in found.tasks}


def stalls(found: Scored, judged: Scored, rule: Rule) -> list[Bool[np.ndarray, " step"]]:
    """For each episode of `judged`, step by step, whether it stands still, by floors from the other seeds of `found`."""
    told: list[Any] = [None] * len(judged.seed)
    for floor, places in _crossed(found, judged, rule):
        for place in places:
            changes = of_steps(judged.frames[place], "change")[1]
            told[place] = stalled(changes, floor=floor[str(judged.task[place])], patience=rule.patience)
    return told


def natural(found: Scored, rule: Rule, *, seed: int = 0, resamples: int = 500) -> dict[str, Any]:
    """What the rule says of episodes that nobody froze, and how the stalled stretch of failures compares with the rest of them.

    consistency, imagined: log C, and the change that was imagined, of stalled steps less the others of failures, as z-scores in the task.
    """
    told = stalls(found, found, rule)
    any_ = np.array([one.any() for one in told])
    says = {name: rate_of(any_[kept], "count") for name, kept in (("successes", found.success), ("failures", ~found.success))}
    compared = {}
    for name, entry in (("consistency", "log_c"), ("imagined", "imagined")):
        apart, spread = _stretch(found, told, entry, seed=seed, resamples=resamples)
        compared |= {name: apart, f"{name}_interval": spread}
    return {"rule": asdict(rule), "floors": floors(found, rule), **says, **compared}


def tried(found: Scored, frozen: Scored, at: int, rule: Rule) -> dict[str, Any]:
    """Against episodes that stood still from step `at` on. Those that ended before it had time to show are left out.

    detected: alarms after that step; delay: control steps from it to the alarm, which comes with the frame that came due. before: alarms
    in the same episodes before it, which are false. area: of telling frozen episodes from the successes by their stillest stretch.
    """
    long = np.array([(of_steps(frames, "change")[0] >= at).sum() >= rule.patience for frames in frozen.frames])
    kept = frozen.at(long)
    alarms, before, delays = [], [], []
    for frames, told in zip(kept.frames, stalls(found, kept, rule), strict=True):
        steps, _ = of_steps(frames, "change")
        ahead = of_steps(frames, "offset")[1]
        after = told & (steps >= at)
        alarms.append(bool(after.any()))
        before.append(bool((told & (steps < at)).any()))
        if after.any():
            first = int(np.argmax(after))
            delays.append(float(steps[first] + ahead[first] - at))
    own, other = (_relative(found, x, rule) for x in (found.at(found.success), kept))
    told = np.concatenate([own, other])
    return {"at": at, "episodes": len(frozen.seed), "too_short": int((~long).sum()),
            "detected": rate_of(alarms, "count"), "before": rate_of(before, "count"),
            "delay_steps": float(np.median(delays)) if delays else None, "delay_most": max(delays, default=None),
            "area": area(told, np.arange(len(told)) < len(own)) if len(own) and len(other) else float("nan")}


def _crossed(found: Scored, judged: Scored, rule: Rule) -> Iterator[tuple[Mapping[str, float], np.ndarray]]:
    """Floors, and the places of the episodes that had no part in them."""
    left = np.ones(len(judged.seed), dtype=bool)
    parts = list(folds(found.seed))
    for held in parts if len(parts) > 1 else []:
        mine = np.isin(judged.seed, found.seed[held])
        left &= ~mine
        yield {**floors(found, rule), **floors(found.at(~held), rule)}, np.flatnonzero(mine)
    yield floors(found, rule), np.flatnonzero(left)


def _relative(found: Scored, judged: Scored, rule: Rule) -> Float[np.ndarray, " episode"]:
    """The stillest stretch of each in units of its floor."""
    told = np.zeros(len(judged.seed))
    for floor, places in _crossed(found, judged, rule):
        for place in places:
            changes = of_steps(judged.frames[place], "change")[1]
            told[place] = stillness(changes, patience=rule.patience) / max(floor[str(judged.task[place])], 1e-12)
    return told


def _stretch(found: Scored, told: list[np.ndarray], entry: str, *, seed: int, resamples: int) -> tuple[float, list[float]]:
    nothing = float("nan"), [float("nan")] * 2
    if entry == "imagined" and not np.isfinite(found.every("imagined")).all():
        return nothing
    along = course_of(found, entry)
    still = np.zeros(along.values.shape, dtype=bool)
    for row, (frames, one) in enumerate(zip(found.frames, told, strict=True)):
        still[row, np.searchsorted(along.steps, np.unique(frames["step"]))] = one
    there = np.isfinite(along.values)

    def apart(rows: np.ndarray) -> float:
        rows = rows[~found.success[rows]]
        values, mine, others = along.values[rows], still[rows], there[rows] & ~still[rows]
        return float(values[mine].mean() - values[others].mean()) if mine.any() and others.any() else float("nan")

    value = apart(np.arange(len(found.seed)))
    if not np.isfinite(value):
        return nothing
    drawn = [apart(rows) for rows in draws(found.seed, seed=seed, resamples=resamples)]
    return value, between([one for one in drawn if np.isfinite(one)])
