"""The tables of a study of factors: success by arm and condition, what trainings took and measured, every claim with its verdict."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foreact.cli.factor_study import Arm, FactorStudy, Grid, folder_of
from foreact.evaluation.claims import Claim, difference, measured, verdict
from foreact.evaluation.protocol import require_same
from foreact.evaluation.result import Result as Evaluation
from foreact.evaluation.statistics import Rate

__all__ = ["report"]


def _results(arm: Arm, grid: Grid, out: Path) -> dict[int, Evaluation]:
    return {seed: Evaluation.load(folder_of(arm, seed, out) / "evaluations" / arm.evaluation) for seed in range(grid.training_seeds)}


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


def report(study: FactorStudy, grid: Grid, out: Path) -> dict[str, Any]:
    results = {arm.name: _results(arm, grid, out) for arm in study.arms}
    measures = {arm.name: _measured(study, arm, grid, out) for arm in study.arms}
    rows = [{"arm": arm.name, "conditions": _by_condition(list(results[arm.name].values()), grid), "paper": dict(arm.paper),
             "fingerprint": results[arm.name][0].protocol.fingerprint[:16], "plan_ms": _plan_ms(results[arm.name]),
             "rolled_back": _rolled_back(results[arm.name]), "measures": measures[arm.name], "training": _trained(arm, grid, out)}
            for arm in study.arms]
    chance = "chance-held-out" if any(arm.shots is not None for arm in study.arms) else "chance"
    return {"title": study.title, "factor": study.factor, "rows": rows, "chance": _by_condition([Evaluation.load(out / chance)], grid),
            "equal": study.equal, "measures": [measure.name for measure in study.measures],
            "claims": [_judged(claim, study, results, measures, grid) for claim in study.claims
                       if claim.measure or claim.condition in grid.conditions]}


def _measured(study: FactorStudy, arm: Arm, grid: Grid, out: Path) -> dict[str, dict[str, Any]]:
    """By measure: one value for each training, and the source's. Settings for running are not what is looked into."""
    found = {}
    for measure in study.measures if not arm.evaluate else ():
        read = [measure.read(json.loads((folder_of(arm, seed, out) / "diagnoses" / measure.file).read_text()))
                for seed in range(grid.training_seeds)]
        found[measure.name] = {"by_training_seed": read, "paper": measure.paper.get(arm.name)}
    return found


def _trained(arm: Arm, grid: Grid, out: Path) -> dict[str, Any]:
    """What the trainings of an arm took: the same steps and operations for all seeds, the median of their seconds."""
    from foreact.training.checkpoint import find

    places = [find(folder_of(arm, seed, out)).progress() for seed in range(grid.training_seeds)]
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
            measures: Mapping[str, Mapping[str, Mapping[str, Any]]], grid: Grid) -> dict[str, Any]:
    said = {"says": claim.says, "first": claim.first, "second": claim.second, "condition": claim.condition, "measure": claim.measure,
            "kind": claim.kind, "paper": claim.paper, "margin": claim.margin}
    if claim.measure:
        ours, theirs = (measures[name][claim.measure]["by_training_seed"] for name in (claim.first, claim.second))
        found = measured([a - b for a, b in zip(ours, theirs, strict=True)])
        return {**said, **found.summary(), "verdict": verdict(claim, found)}
    spans = {span for arm in study.arms if arm.name in (claim.first, claim.second) for span in arm.spans}
    pairs = {}
    for seed in range(grid.training_seeds):
        first, second = results[claim.first][seed], results[claim.second][seed]
        require_same(first.protocol, second.protocol, across=tuple(spans))
        ours, theirs = ({(r.task, r.seed): r.success for r in result.episodes if r.condition == claim.condition}
                        for result in (first, second))
        pairs[seed] = [(ours[key], theirs[key]) for key in sorted(ours)]
    found = difference(pairs)
    return {**said, **found.summary(), "verdict": verdict(claim, found)}
