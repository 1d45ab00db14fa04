"""What a study of factors runs: commands in tracks, each of which a person could have typed; what is done is not done again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.children import Children, terminate_as_interrupt
from foreact.cli.factor_study import REFERENCE, Arm, FactorStudy, Family, Grid, Measure, folder_of, select
from foreact.cli.factor_tables import report
from foreact.cli.tracks import Job, run_tracks
from foreact.contract.config import encode
from foreact.contract.storage import atomic_write_json

if TYPE_CHECKING:
    from foreact.training.settings import Stage

__all__ = ["Place", "chance", "collecting", "diagnosing", "evaluating", "run", "tracks", "training"]

_UNSEEN, _UNSEEN_FROM = 10, 100_000
"""Episodes per task that measures look into, and their first seed: far behind those that are learnt from."""
_VIDEO_FROM = 200_000
"""The first seed of what is only watched."""


@dataclass(frozen=True)
class Place:
    """What all commands of a run have in common."""

    family: Family
    grid: Grid
    demos: Path
    out: Path

    @property
    def first(self) -> Path:
        """The training whose substrates all others take, and whose operations theirs equal."""
        return folder_of(REFERENCE, 0, self.out)

    @property
    def unseen(self) -> Path:
        """Demonstrations that measures look into."""
        return self.out / "unseen"

    @property
    def video(self) -> Path:
        """What some arms watch beside the demonstrations."""
        return self.out / "video"


def collecting(place: Place, studies: Sequence[FactorStudy], shots: Sequence[int]) -> Iterator[Job]:
    """Few-shot demonstrations are plain. What is looked into by measures is of seeds that no training saw."""
    grid, out = place.grid, place.out
    looked_into = any(measure.of == "dataset" for study in studies for measure in study.measures)
    needed = {name for study in studies for name in study.needs} | ({"segmentation"} if looked_into else set())
    needs = [f"annotations.{name}=true" for name in sorted(needed)]
    if not place.demos.exists():
        words = ["collect", "--tasks", *grid.tasks, "--out", str(place.demos), f"episodes={grid.demonstrations}", *place.family.collect,
                 *needs]
        yield Job("collecting", words, place.demos, out / "logs" / "collect.log")
    if looked_into:
        words = ["collect", "--tasks", *grid.tasks, "--out", str(place.unseen), f"episodes={_UNSEEN}", f"first_seed={_UNSEEN_FROM}",
                 *needs]
        yield Job("collecting what is looked into", words, place.unseen, out / "logs" / "collect-unseen.log")
    if any(arm.video for study in studies for arm in study.arms):
        words = ["collect", "--tasks", *grid.tasks, "--out", str(place.video), f"episodes={grid.demonstrations}",
                 f"first_seed={_VIDEO_FROM}", *place.family.video,
                 *(f"annotations.{name}=true" for name in sorted({name for study in studies for name in study.needs}))]
        yield Job("collecting video", words, place.video, out / "logs" / "collect-video.log")
    for count in (count for count in shots if count):
        folder = out / f"demonstrations-{count}"
        yield Job(f"collecting {count}", ["collect", "--tasks", *grid.held_out, "--out", str(folder), f"episodes={count}"], folder,
                  out / "logs" / f"collect-{count}.log")


def training(place: Place, arm: Arm, seed: int, equal: str = "steps") -> Job:
    grid, out, demos = place.grid, place.out, place.demos
    folder = folder_of(arm, seed, out)
    if arm.shots:  # its own steps come on top of the reference's
        demos = out / f"demonstrations-{arm.shots}"
    begun = ["--start-from", str(folder_of(REFERENCE, seed, out))] if arm.shots else [] if folder == place.first \
        else ["--substrate-of", str(place.first)]
    words = ["train", place.family.recipe, "--size", grid.size, "--data", str(demos), "--out", str(folder), "--resume",
             *_budget(place, "steps" if arm.folder == REFERENCE.folder else equal), "training.threads=1", f"training.seed={seed}",
             *grid.settings, *arm.train, *begun, *(["--video", str(place.video)] if arm.video else [])]
    return Job(f"training {arm.name}, seed {seed}", words, folder / "trained", out / "logs" / f"{arm.folder}-{seed}-train.log")


def _budget(place: Place, equal: str) -> list[str]:
    """Words for every stage: the grid's steps in the recipe's own proportions, or the operations that the reference took."""
    from foreact.recipes import catalogue

    stages = catalogue.recipe(place.family.recipe).run(place.grid.size).training.stages
    if equal == "flops":
        bounds, without = [f"flops={count:.6g}" for count in _taken(place, stages)], "steps=null"
    else:
        bounds, without = [f"steps={count}" for count in shared_out(place.grid.steps, stages)], "flops=null"
    # what bounds a stage comes first, for none may be without a bound
    return [f"training.stages.{i}.{word}" for i, bound in enumerate(bounds) for word in (bound, without, "seconds=null")]


def shared_out(steps: int, stages: Sequence[Stage]) -> list[int]:
    """So many steps over the stages of a recipe, in its own proportions; each has at least one."""
    share = steps / sum(stage.steps or 1 for stage in stages)
    return [max(1, round(share * (stage.steps or 1))) for stage in stages]


def _taken(place: Place, stages: Sequence[Stage]) -> list[float]:
    """The operations that the first training took in each stage."""
    from foreact.training.checkpoint import find

    taken = find(place.first).progress()["flops"]
    return [taken[stage.name] for stage in stages]


def evaluating(place: Place, arm: Arm, seed: int) -> Job:
    folder = folder_of(arm, seed, place.out)
    words = ["eval", str(folder), "--name", arm.evaluation, "--resume", *_measure(place, arm.shots is not None), *place.family.acting,
             *arm.evaluate]
    return Job(f"evaluating {arm.name}, seed {seed}", words, folder / "evaluations" / arm.evaluation / "result.json",
               place.out / "logs" / f"{arm.folder}-{seed}-{arm.evaluation}.log")


def diagnosing(place: Place, arm: Arm, seed: int, measure: Measure) -> Job:
    folder = folder_of(arm, seed, place.out)
    seen = [str(folder), "--data", str(place.unseen)] if measure.of == "dataset" else [str(folder / "evaluations" / arm.evaluation)]
    return Job(f"{measure.diagnosis} of {arm.name}, seed {seed}", ["diagnose", measure.diagnosis, *seen, *measure.words, "--json"],
               folder / "diagnoses" / measure.file(arm), place.out / "logs" / f"{arm.folder}-{seed}-{measure.diagnosis}.log", tells=True)


def _measure(place: Place, held_out: bool) -> list[str]:
    grid = place.grid
    return ["--tasks", *(grid.held_out if held_out else grid.tasks), "--conditions", *grid.conditions, f"seeds_per_task={grid.episodes}",
            f"environment.horizon={grid.horizon}", *place.family.evaluate]


def chance(place: Place, held_out: bool) -> Job:
    name = "chance-held-out" if held_out else "chance"
    words = ["eval", "random", "--out", str(place.out / name), "--resume", *_measure(place, held_out)]
    return Job(name, words, place.out / name / "result.json", place.out / "logs" / f"{name}.log")


def _of_chance(study: FactorStudy, out: Path) -> Path:
    return out / ("chance-held-out" if any(arm.shots is not None for arm in study.arms) else "chance")


def tracks(place: Place, studies: Sequence[FactorStudy]) -> Iterator[list[Job]]:
    """One track for each training: it, then every evaluation and measure of it. Seed by seed, so that what is cut short is whole in
    some seeds."""
    for seed in range(place.grid.training_seeds):
        by_folder: dict[str, list[tuple[Arm, FactorStudy]]] = {}
        for study in studies:
            for arm in study.arms:
                by_folder.setdefault(arm.folder, []).append((arm, study))
        found: dict[str, list[Job]] = {}
        for folder, arms in by_folder.items():
            # what is fine-tuned from the reference comes after it
            track = found.setdefault("reference" if arms[0][0].shots else folder, [])
            evaluations = {arm.evaluation: evaluating(place, arm, seed) for arm, _ in arms}
            diagnoses = {measure.file(arm): diagnosing(place, arm, seed, measure)
                         for arm, study in arms for measure in study.measures if measure.concerns(arm)}
            first, study = arms[0]
            track += [training(place, replace(first, shots=first.shots or None), seed, study.equal), *evaluations.values(),
                      *diagnoses.values()]
        yield from found.values()


def run(family: Family, grid: Grid, out: Path, data: Path | None) -> dict[str, Any]:
    """Do what is not done yet; returns the tables and verdicts, which also lie in results.json."""
    chosen, place = select(grid, family.studies), Place(family, grid, data or out / "demonstrations", out)
    shots = sorted({arm.shots for study in chosen for arm in study.arms if arm.shots is not None})
    with terminate_as_interrupt(), Children() as children:
        run_tracks(children, [[job] for job in collecting(place, chosen, shots)], 1, what="demonstrations")
        by_chance = [[chance(place, held_out)] for held_out in ((False, True) if shots else (False,))]
        run_tracks(children, [*by_chance, [training(place, REFERENCE, 0)]], grid.workers, what="reference")
        run_tracks(children, list(tracks(place, chosen)), grid.workers)
    found = {"family": family.name, "recipe": family.recipe, "grid": encode(grid),
             "studies": {study.name: report(study, grid, out, _of_chance(study, out)) for study in chosen}}
    atomic_write_json(out / "results.json", found)
    return found
