"""`foreact study consistency`: the same studies of several recipes on the same demonstrations, what is cut short whole up to there.

Each recipe's trainings lie in a folder of its own. First all trainings, then study by study and arm by arm every evaluation that is not
done yet, seed after seed, recipes side by side; what studies share is run once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from foreact.cli.children import Children, terminate_as_interrupt
from foreact.cli.factor_run import Place, chance, collecting, diagnosing, evaluating, training
from foreact.cli.factor_study import REFERENCE, Family, Grid, select
from foreact.cli.factor_tables import report
from foreact.cli.tracks import Job, run_tracks
from foreact.contract.config import encode
from foreact.contract.storage import atomic_write_json

__all__ = ["evaluations", "run", "tables", "trainings"]


def run(families: Mapping[str, Family], grid: Grid, out: Path, data: Path | None) -> dict[str, Any]:
    """Do what is not done yet; returns the tables and verdicts, which also lie in results.json."""
    places = _places(families, grid, out, data)
    first = next(iter(places))
    with terminate_as_interrupt(), Children() as children:
        run_tracks(children, [[job] for job in collecting(first, select(grid, first.family.studies), ())], 1, what="demonstrations")
        run_tracks(children, list(trainings(places, [0])), grid.workers, what="reference")
        others = trainings(places, range(1, grid.training_seeds))
        run_tracks(children, [*others, [chance(replace(first, out=out), False)]], grid.workers, what="trainings")
        run_tracks(children, list(evaluations(places)), grid.workers)
    return tables(families, grid, out)


def trainings(places: list[Place], seeds: Iterable[int]) -> Iterator[list[Job]]:
    """Of each recipe, seed after seed."""
    for seed in seeds:
        for place in places:
            yield [_named(place, training(place, REFERENCE, seed))]


def evaluations(places: list[Place]) -> Iterator[list[Job]]:
    """Each with what is read in it, by study, arm, training seed and recipe."""
    seen = set()
    for chosen in zip(*(select(place.grid, place.family.studies) for place in places), strict=True):
        assert len({one.name for one in chosen}) == 1, "families have the same studies"
        names = list(dict.fromkeys(arm.name for one in chosen for arm in one.arms))
        for name in names:
            for seed in range(places[0].grid.training_seeds):
                for place, one in zip(places, chosen, strict=True):
                    for arm in (arm for arm in one.arms if arm.name == name):
                        read = {measure.file(arm): diagnosing(place, arm, seed, measure) for measure in one.measures}
                        track = [evaluating(place, arm, seed), *read.values()]
                        track = [job for job in track if job.done not in seen]
                        seen |= {job.done for job in track}
                        if track:
                            yield [_named(place, job) for job in track]


def tables(families: Mapping[str, Family], grid: Grid, out: Path) -> dict[str, Any]:
    """Of what is finished; also written to results.json."""
    found = {"grid": encode(grid), "families": {
        name: {"recipe": family.recipe, "studies": {
            study.name: report(study, grid, out / name, out / "chance") for study in select(grid, family.studies)}}
        for name, family in families.items()}}
    atomic_write_json(out / "results.json", found)
    return found


def _named(place: Place, job: Job) -> Job:
    """Of another name than the same job of another recipe."""
    return replace(job, name=f"{place.family.name}: {job.name}")


def _places(families: Mapping[str, Family], grid: Grid, out: Path, data: Path | None) -> list[Place]:
    return [Place(family, grid, data or out / "demonstrations", out / name) for name, family in families.items()]
