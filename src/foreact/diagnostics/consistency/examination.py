"""Everything that is asked of one evaluation, as plain data: each number with its interval, each curve with its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from foreact.diagnostics.consistency.collapse import Rule, floors, natural, tried
from foreact.diagnostics.consistency.correction import with_correction, with_frozen
from foreact.diagnostics.consistency.courses import LEAST, agreement, course, course_of, gap, laid_out, mean_of
from foreact.diagnostics.consistency.motion import change_by_alignment, relation
from foreact.diagnostics.consistency.pairs import compared, paired
from foreact.diagnostics.consistency.scores import Record, Scored, of_steps, scored, tasks_of
from foreact.diagnostics.consistency.separation import aligned, area, interval, roc, roc_out_of_fold, separation

__all__ = ["Frozen", "Planned", "examine"]

_RATES = np.linspace(0, 1, 101)
_SIDES = (("successes", True), ("failures", False))


class Planned(Record, Protocol):
    """An episode with what its plans were worth, where they say so: one value for each of `call_steps`."""

    call_steps: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The same policy made to stand still from step `at` on."""

    name: str
    at: int
    records: Sequence[Record]


def examine(records: Sequence[Planned], *, frozen: Sequence[Frozen] = (), against: Sequence[Record] | None = None, tau: float = 1.0,
            offset: int | None = None, before: int | None = None, rule: Rule | None = None, seed: int = 0, resamples: int = 500,
            ) -> dict[str, Any]:
    """See `docs/diagnose-consistency.md`. before: scores and AUCs from that stretch; collapse and courses are always told of the whole."""
    rule, spread = rule or Rule(), {"seed": seed, "resamples": resamples}
    found, whole = (scored(records, tau=tau, offset=offset, before=limit) for limit in (before, None))
    chosen = aligned(found)
    return {
        "on_plan": found.on_plan, "frames": len(found.every("step")), "all": separation(found, **spread),
        "aligned": {"tasks": list(chosen), **(separation(found.of(*chosen), **spread) if chosen else {})},
        "tasks": {task: {**separation(found.of(task), **spread), **_scores(found.of(task), spread), "roc": _roc(found.of(task))}
                  for task in found.tasks},
        "roc": {"false_rates": _RATES.tolist(), "all": _curve(found), "aligned": _curve(found.of(*chosen)) if chosen else None},
        "skill": found.skill, "skill_interval": interval(found, lambda one: one.skill, **spread),
        "change": {**relation(found, **spread), "by_alignment": change_by_alignment(found, **spread),
                   "over_time": _over_time(whole, spread)},
        "collapse": {**natural(whole, rule, **spread), "frozen": [_tried(whole, one, rule, tau, offset) for one in frozen]},
        "correction": with_correction(found, **spread),
        "value": _value(records, whole, before, spread),
        "against": None if against is None else compared(*paired(whole, scored(against, tau=tau, offset=offset)), rule, **spread),
        "episodes": [{"task": str(t), "seed": int(s), "success": bool(w), "log_c": float(c), "z": float(z)}
                     for t, s, w, c, z in zip(found.task, found.seed, found.success, found.log_c, found.z, strict=True)],
    }


def _scores(found: Scored, spread: Mapping[str, int]) -> dict[str, Any]:
    """Figure 10: mean C of successes and of failures, NaN where there are none."""
    told = {}
    for name, kept in _SIDES:
        mine = found.at(found.success == kept)
        told[f"c_{name}"] = _mean_c(mine) if len(mine.seed) else float("nan")
        told[f"c_{name}_interval"] = interval(mine, _mean_c, **spread) if len(mine.seed) else [float("nan")] * 2
    return told


def _mean_c(found: Scored) -> float:
    return float(np.mean([np.exp(-own["distance"] / found.tau).mean() for own in found.frames]))


def _roc(found: Scored) -> dict[str, Any] | None:
    """Figure 11: of the score itself, within one task."""
    if found.success.all() or not found.success.any():
        return None
    x, y = roc(found.z, found.success)
    return {"false": x.tolist(), "true": y.tolist(), "area": area(found.z, found.success)}


def _curve(found: Scored) -> list[float] | None:
    curve = roc_out_of_fold(found.z, found.success, found.seed, _RATES)
    return None if curve is None else curve.tolist()


def _over_time(found: Scored, spread: Mapping[str, int]) -> dict[str, Any]:
    """Figure 12, at the right: both, of successes and of failures."""
    told = {}
    for entry, name in (("log_c", "consistency"), ("change", "change")):
        along = course_of(found, entry)
        told[name] = {side: mean_of(along, along.success == kept, **spread) for side, kept in _SIDES}
    return told


def _tried(found: Scored, frozen: Frozen, rule: Rule, tau: float, offset: int | None) -> dict[str, Any]:
    still = scored(frozen.records, tau=tau, offset=offset)
    still = still.at(np.isin(still.task, found.tasks))
    stood = still.at(np.array([bool((frames["step"] >= frozen.at).any()) for frames in still.frames], dtype=bool))
    return {"name": frozen.name, **tried(found, still, frozen.at, rule), "scores": with_frozen(found, stood) if len(stood.seed) else None,
            "change": {"frozen": _in_medians(found, stood), "successes": _in_medians(found, found.at(found.success))}}


def _in_medians(found: Scored, of: Scored) -> dict[str, Any]:
    """The change of each of these episodes along the way, in medians of the successes of `found`: by the middle one and the quartiles."""
    if not len(of.seed):
        return {"steps": [], "middle": [], "low": [], "high": []}
    medians = floors(found, Rule(share=1.0))
    told = [of_steps(frames, "change") for frames in of.frames]
    steps, values = laid_out([(at, own / max(medians[str(task)], 1e-12)) for (at, own), task in zip(told, of.task, strict=True)])
    kept = np.isfinite(values).sum(axis=0) >= LEAST
    low, middle, high = np.nanquantile(values[:, kept], [0.25, 0.5, 0.75], axis=0) if kept.any() else np.zeros((3, 0))
    return {"steps": steps[kept].tolist(), "middle": middle.tolist(), "low": low.tolist(), "high": high.tolist()}


def _value(records: Sequence[Planned], whole: Scored, before: int | None, spread: Mapping[str, int]) -> dict[str, Any] | None:
    """Figure 5, where every plan has a value: its own d and AUC, the gaps of both over time, and whether they agree."""
    if not all(len(record.values) == len(record.call_steps) > 0 for record in records):
        return None
    by_key = {(task, record.seed): record for task, record in zip(tasks_of(records), records, strict=True)}
    mine = [by_key[str(task), int(seed)] for task, seed in zip(whole.task, whole.seed, strict=True)]
    told = [(np.array(one.call_steps), np.array(one.values)) for one in mine]
    early = [values[steps < before] if before is not None else values for steps, values in told]
    scores = whole.told_by(np.array([values.mean() for values in early]))
    value, consistency = course([_once(*one) for one in told], whole.task, whole.seed, whole.success), course_of(whole, "log_c")
    return {**separation(scores, **spread), "gap": gap(value, **spread), "gap_of_consistency": gap(consistency, **spread),
            "agreement": agreement(value, consistency, **spread)}


def _once(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean at each step: one that was gone back to was planned at twice."""
    once, place = np.unique(steps, return_inverse=True)
    return once, np.bincount(place, values) / np.bincount(place)
