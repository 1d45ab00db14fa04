"""What `foreact budget` runs: trainings, an evaluation for each point, timing and memory; what is done is not done again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreact.cli.budget_grid import BudgetGrid, Point, Skipped
from foreact.cli.budget_measure import Seat, memory, refused, timed
from foreact.cli.budget_policies import Policy
from foreact.cli.children import Children, terminate_as_interrupt
from foreact.cli.factor_run import shared_out
from foreact.cli.tracks import Job, run_tracks
from foreact.contract.config import encode
from foreact.contract.errors import ConfigError
from foreact.contract.progress import meter
from foreact.contract.storage import atomic_write_json

__all__ = ["Measured", "Place", "Tried", "charged_ms", "planned", "run"]

_OF_TRAINING = ("size", "steps", "seed", "training")


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where everything of one budget lies, and on what it runs."""

    grid: BudgetGrid
    out: Path
    demos: Path
    device: str = "cpu"

    def seat(self, policy: Policy, point: Point) -> Seat:
        return Seat(run=policy.folder(point, self.out), point=point, device=self.device)

    def evaluation(self, policy: Policy, point: Point, charged: float | None = None) -> Path:
        name = point.name if charged is None else f"{point.name}-charged-{charged:g}"
        return self.out / "points" / policy.name / name


@dataclass(frozen=True, kw_only=True)
class Tried:
    """A policy with its points, and with what is not varied."""

    policy: Policy
    points: tuple[Point, ...]
    skipped: tuple[Skipped, ...]

    def named(self) -> Iterator[tuple[str, Point]]:
        """Each point under a name that no point of another policy has."""
        return ((f"{self.policy.name}/{point.name}", point) for point in self.points)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What the numbers of a page are made of: points, and by their keys latency and memory."""

    place: Place
    tried: tuple[Tried, ...]
    latency: Mapping[str, Any]
    memory: Mapping[str, Any]


def planned(policies: Sequence[Policy], grid: BudgetGrid) -> list[Tried]:
    """The points of every policy, before anything is trained: under the specs of the suite as its environments show themselves."""
    from foreact.envs.suites import suite_of
    from foreact.training.checkpoint import load_specs

    suite, tasks = suite_of(grid.tasks)
    found = []
    for policy in policies:
        specs = load_specs(policy.given) if policy.given is not None else suite.describe(suite.Config(task=tasks[0]))
        points, skipped = policy.points(grid, specs)
        found.append(Tried(policy=policy, points=tuple(points), skipped=tuple(skipped)))
    return found


def run(policies: Sequence[Policy], grid: BudgetGrid, out: Path, data: Path | None, device: str) -> Measured:
    """Do what is not done yet; returns what the page is made of."""
    place = Place(grid=grid, out=out, demos=data or out / "demonstrations", device=device)
    tried = planned(policies, grid)
    _require_same_trainings(place)
    with terminate_as_interrupt(), Children() as children:
        if any(each.policy.given is None for each in tried):
            run_tracks(children, [[_collecting(place)]], 1, what="demonstrations")
        run_tracks(children, [[job] for job in _trainings(place, tried)], grid.workers, what="trainings")
        tried = _tried_out(place, tried)
        run_tracks(children, [[_evaluating(place, each.policy, point)] for each in tried for point in each.points], grid.workers,
                   what="points")
        latency, held = _latency(place, tried), _memory(place, tried)
        run_tracks(children, [[_evaluating(place, each.policy, point, charged_ms(latency, key))] for each in tried
                              for key, point in each.named() if _charged(grid, point)], grid.workers, what="charged points")
    return Measured(place=place, tried=tuple(tried), latency=latency, memory=held)


def charged_ms(latency: Mapping[str, Any], key: str) -> float:
    """What a plan of this point costs where its own time is charged: its median, to a tenth of a millisecond."""
    return round(float(latency["points"][key]["p50"]), 1)


def _charged(grid: BudgetGrid, point: Point) -> bool:
    return grid.charge == "all" or (grid.charge == "own" and not point.moved)


def _require_same_trainings(place: Place) -> None:
    """Raise `ConfigError` where the folder holds trainings of another budget."""
    path = place.out / "trainings.json"
    ours = {name: encode(place.grid)[name] for name in _OF_TRAINING} | {"data": str(place.demos)}
    if path.exists() and (theirs := json.loads(path.read_text())) != ours:
        apart = [name for name in ours if theirs.get(name) != ours[name]]
        raise ConfigError("this folder holds trainings of another budget", where=str(path),
                          found=", ".join(f"{name} = {theirs.get(name)}" for name in apart),
                          accepted=", ".join(f"{name} = {ours[name]}" for name in apart), next_step="choose another --out")
    atomic_write_json(path, ours)


def _collecting(place: Place) -> Job:
    grid = place.grid
    words = ["collect", "--tasks", *grid.tasks, "--out", str(place.demos), f"episodes={grid.demonstrations}"]
    return Job("collecting", words, place.demos, place.out / "logs" / "collect.log")


def _trainings(place: Place, tried: Sequence[Tried]) -> Iterator[Job]:
    """Each training once, all of as many optimisation steps, in the proportions of the recipe's own stages."""
    for each in tried:
        policy, seen = each.policy, set()
        for point in each.points:
            folder = policy.folder(point, place.out)
            if policy.given is None and folder not in seen:
                seen.add(folder)
                yield Job(f"training {folder.name}", _train(place, policy, point, folder), folder / "trained",
                          place.out / "logs" / f"{folder.name}-train.log")


def _train(place: Place, policy: Policy, point: Point, folder: Path) -> list[str]:
    from foreact.recipes import catalogue

    grid, name = place.grid, place.grid.baseline if policy.baseline else policy.run.recipe
    stages = catalogue.recipe(name).run(grid.size).training.stages
    budget = [word for i, count in enumerate(shared_out(grid.steps, stages)) for word in (
        f"training.stages.{i}.steps={count}", f"training.stages.{i}.seconds=null")]
    return ["train", name, "--size", grid.size, "--data", str(place.demos), "--out", str(folder), "--resume", *budget, "training.threads=1",
            f"training.seed={grid.seed}", *grid.training, *point.training, *(["--baseline"] if policy.baseline else [])]


def _tried_out(place: Place, tried: Sequence[Tried]) -> list[Tried]:
    """Without the points that the trained models refuse; those that are evaluated already were not refused."""
    found = []
    for each in tried:
        kept, skipped = [], list(each.skipped)
        for point in each.points:
            done = (place.evaluation(each.policy, point) / "evaluation.json").exists()
            why = None if done else refused(place.seat(each.policy, point))
            if why is not None and not point.moved:
                raise ConfigError("this policy cannot be run as it stands", where=each.policy.name, found=why)
            if why is None:
                kept.append(point)
            else:
                skipped.append(Skipped(axis="+".join(point.moved), value="+".join(map(str, point.moved.values())), why=why))
        found.append(Tried(policy=each.policy, points=tuple(kept), skipped=tuple(skipped)))
    return found


def _evaluating(place: Place, policy: Policy, point: Point, charged: float | None = None) -> Job:
    grid, folder = place.grid, place.evaluation(policy, point, charged)
    words = ["eval", str(policy.folder(point, place.out)), "--out", str(folder), "--resume", "--tasks", *grid.tasks, "--conditions",
             *grid.conditions, "--device", place.device, f"seeds_per_task={grid.episodes}", f"seed_start={grid.seed_start}",
             f"environment.horizon={grid.horizon}", *point.model, *point.evaluation, *(["on=ray"] if grid.on == "ray" else []),
             *([] if charged is None else ["clock=charged", f"clock_ms={charged}"])]
    done = folder / "result.json"
    if done.exists() and json.loads(done.read_text())["protocol"]["seeds"]["per_task"] != grid.episodes:
        done.unlink()  # its episodes stay, and are gone on with
    name = f"{policy.name} {point.name}"
    return Job(name if charged is None else f"{name} charged", words, done, place.out / "logs" / f"{policy.name}-{folder.name}.log")


def _latency(place: Place, tried: Sequence[Tried]) -> dict[str, Any]:
    """Of all points, taken in one go: with another set of points all are timed anew."""
    path, seats = place.out / "latency.json", {key: place.seat(each.policy, point) for each in tried for key, point in each.named()}
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found["rounds"] == place.grid.rounds and list(found["points"]) == list(seats):
            return found
    once = _first_of_each(seats)
    found = timed({key: seats[key] for key in dict.fromkeys(once.values())}, place.grid.tasks, rounds=place.grid.rounds)
    found["points"] = {key: found["points"][once[key]] for key in seats}
    atomic_write_json(path, found)
    return found


def _first_of_each(seats: Mapping[str, Seat]) -> dict[str, str]:
    """For each point the first that computes the same plans."""
    first: dict[tuple[object, ...], str] = {}
    return {key: first.setdefault(seat.work, key) for key, seat in seats.items()}


def _memory(place: Place, tried: Sequence[Tried]) -> dict[str, Any]:
    """Of each point, in a process of its own, one after another."""
    path = place.out / "memory.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    seats = {key: place.seat(each.policy, point) for each in tried for key, point in each.named()}
    once = _first_of_each(seats)
    with meter("memory", len(seats)) as bar:
        for index, (key, seat) in enumerate(seats.items()):
            bar.at(index, key)
            if key not in found:
                found[key] = found[once[key]] if once[key] != key else memory(seat)
                atomic_write_json(path, found)
    return found
