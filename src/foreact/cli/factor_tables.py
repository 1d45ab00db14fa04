"""The tables of a study of factors: success by arm and condition, what trainings took and measured, every claim with its verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from foreact.cli.factor_study import Arm, FactorStudy, Grid, Measure, folder_of
from foreact.evaluation.claims import Claim, difference, measured, verdict
from foreact.evaluation.protocol import require_same
from foreact.evaluation.result import RESULT
from foreact.evaluation.result import Result as Evaluation
from foreact.evaluation.statistics import Rate

__all__ = ["report"]


def _results(arm: Arm, grid: Grid, out: Path) -> dict[int, Evaluation]:
    """By training seed, those that are finished."""
    folders = {seed: folder_of(arm, seed, out) / "evaluations" / arm.evaluation for seed in range(grid.training_seeds)}
    return {seed: Evaluation.load(folder) for seed, folder in folders.items() if (folder / RESULT).exists()}


def _by_condition(results: Sequence[Evaluation], grid: Grid) -> dict[str, Any]:
    """Success over all episodes, with the rate of each training beside it."""
    found = {}
    for condition in grid.conditions:
        outcomes = [[r.success for r in result.episodes if r.condition == condition] for result in results]
        rate = Rate.of([success for each in outcomes for success in each])
        tasks = {task: Rate.of([r.success for result in results for r in result.episodes if (r.condition, r.task) == (condition, task)])
                 for task in results[0].tasks}
        found[condition] = {"successes": rate.successes, "n": rate.n, "interval": list(rate.interval),
                            "by_training_seed": [sum(each) / len(each) for each in outcomes],
                            "tasks": {task: [r.successes, r.n] for task, r in tasks.items()}}
    return found


def report(study: FactorStudy, grid: Grid, out: Path, chance: Path) -> dict[str, Any]:
    """Arms of which nothing is finished yet are named as missing, and claims that two trainings cannot judge yet are left out.

    chance: the evaluation of random actions.
    """
    results = {arm.name: found for arm in study.arms if (found := _results(arm, grid, out))}
    measures = {arm.name: _measured(study, arm, out, results[arm.name]) for arm in study.arms if arm.name in results}
    rows = [{"arm": arm.name, "conditions": _by_condition(list(results[arm.name].values()), grid), "paper": dict(arm.paper),
             "fingerprint": next(iter(results[arm.name].values())).protocol.fingerprint[:16], "plan_ms": _plan_ms(results[arm.name]),
             "rolled_back": _rolled_back(results[arm.name]), "training": _trained(arm, results[arm.name], out), "measures": {
                 measure.name: {"by_training_seed": list(measures[arm.name][measure.name].values()), "paper": measure.paper.get(arm.name)}
                 for measure in study.measures if measure.concerns(arm)}}
            for arm in study.arms if arm.name in results]
    return {"title": study.title, "factor": study.factor, "rows": rows, "chance": _by_condition([Evaluation.load(chance)], grid),
            "equal": study.equal, "missing": [arm.name for arm in study.arms if arm.name not in results],
            "measures": [measure.name for measure in study.measures],
            "claims": [_judged(claim, study, results, measures) for claim in study.claims
                       if (claim.measure or claim.condition in grid.conditions) and len(_common(claim, results)) > 1]}


def _common(claim: Claim, results: Mapping[str, Mapping[int, Evaluation]]) -> list[int]:
    """The training seeds of which both sides are finished."""
    return sorted(set.intersection(*(set(results.get(name, ())) for name in (claim.first, claim.second) if name)))


def _measured(study: FactorStudy, arm: Arm, out: Path, seeds: Iterable[int]) -> dict[str, dict[int, float | None]]:
    """By measure, one value for each training; None where it is not to be told, or not looked into yet."""
    def read(measure: Measure, seed: int) -> float | None:
        path = folder_of(arm, seed, out) / "diagnoses" / measure.file(arm)
        return measure.read(json.loads(path.read_text())) if path.exists() else None

    return {measure.name: {seed: read(measure, seed) for seed in seeds} for measure in study.measures if measure.concerns(arm)}


def _trained(arm: Arm, seeds: Iterable[int], out: Path) -> dict[str, Any]:
    """What the trainings of an arm took: the same steps and operations for all seeds, the median of their seconds."""
    from foreact.training.checkpoint import find

    places = [find(folder_of(arm, seed, out)).progress() for seed in seeds]
    seconds = sorted(place.get("processor_seconds") or place["seconds"] for place in places)
    return {"steps": places[0]["step"], "flops": sum((places[0].get("flops") or {}).values()), "seconds": seconds[len(seconds) // 2]}


def _plan_ms(results: Mapping[int, Evaluation]) -> float | None:
    found = [result.summary()["latency_ms"]["alone"] for result in results.values()]
    medians = sorted(latency["p50"] for latency in found if latency)
    return medians[len(medians) // 2] if medians else None


def _rolled_back(results: Mapping[int, Evaluation]) -> list[int] | None:
    """Episodes that went back at least once, and all of them; None where none may."""
    found = [result.summary().get("rollbacks") for result in results.values()]
    return None if None in found else [sum(each["episodes"] for each in found), sum(each["of"] for each in found)]


def _judged(claim: Claim, study: FactorStudy, results: Mapping[str, Mapping[int, Evaluation]],
            measures: Mapping[str, Mapping[str, Mapping[int, float | None]]]) -> dict[str, Any]:
    seeds = _common(claim, results)
    said = {"says": claim.says, "first": claim.first, "second": claim.second, "than": claim.than, "condition": claim.condition,
            "measure": claim.measure, "kind": claim.kind, "paper": claim.paper, "margin": claim.margin}
    if claim.measure:
        sides = [[measures[name][claim.measure][seed] if name else claim.than for seed in seeds] for name in (claim.first, claim.second)]
        told = [a - b for a, b in zip(*sides, strict=True) if a is not None and b is not None]
        if len(told) < len(seeds):  # of episodes that all ended alike, nothing is to be told
            return {**said, "difference": None, "interval": [None, None], "by_training_seed": told, "verdict": "undecided at this size"}
        found = measured(told)
        return {**said, **found.summary(), "verdict": verdict(claim, found)}
    spans = {span for arm in study.arms if arm.name in (claim.first, claim.second) for span in arm.spans}
    pairs = {}
    for seed in seeds:
        first, second = results[claim.first][seed], results[claim.second][seed]
        require_same(first.protocol, second.protocol, across=tuple(spans))
        ours, theirs = ({(r.task, r.seed): r.success for r in result.episodes if r.condition == claim.condition}
                        for result in (first, second))
        pairs[seed] = [(ours[key], theirs[key]) for key in sorted(ours)]
    found = difference(pairs)
    return {**said, **found.summary(), "verdict": verdict(claim, found)}
