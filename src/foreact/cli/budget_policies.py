"""Whom `foreact budget` compares: trained runs as they are given, recipes that it trains itself, and the baseline that imagines nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.cli.budget_grid import BudgetGrid, Point, Skipped, points
from foreact.contract.errors import CheckpointError, ConfigError
from foreact.contract.specs import ActionSpec, ObservationSpec

if TYPE_CHECKING:
    from foreact.training.run import Run

__all__ = ["BASELINE", "Policy", "policies"]

BASELINE = "no-future"


@dataclass(frozen=True, kw_only=True)
class Policy:
    """name: on the page and in folders. given: the run, where it is not trained here. run: its whole resolved config."""

    name: str
    run: Run
    given: Path | None = None
    baseline: bool = False

    def points(self, grid: BudgetGrid, specs: tuple[ObservationSpec, ActionSpec]) -> tuple[list[Point], list[Skipped]]:
        return points(self.run.model, grid, specs, retrain=self.given is None)

    def folder(self, point: Point, out: Path) -> Path:
        """The run that this point is run with."""
        return self.given or out / "runs" / (f"{self.name}-{point.trained}" if point.trained else self.name)


def policies(words: Sequence[str], grid: BudgetGrid) -> list[Policy]:
    """One for each word, a run's folder or the name of a recipe, and the baseline before them; raises `ConfigError` for what is neither."""
    from foreact.recipes import catalogue
    from foreact.training.members import import_members

    import_members()
    found = [_policy(word, grid.size) for word in words]
    if grid.baseline:
        base = catalogue.baseline(_run(grid.baseline, grid.size))
        found = [Policy(name=BASELINE, run=base, baseline=True), *found]
    names = [policy.name for policy in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError("each recipe or run has a name of its own on the page", where="RECIPES", found=", ".join(twice),
                          next_step="name each once; a run is called by its folder")
    return found


def _policy(word: str, size: str) -> Policy:
    from foreact.training.checkpoint import load_run

    path = Path(word)
    if word.endswith(".py") or not path.exists():
        return Policy(name=path.stem, run=_run(word, size))
    try:
        return Policy(name=path.resolve().name, run=load_run(path), given=path)
    except CheckpointError as error:
        raise ConfigError("this folder holds no trained run", where=word, found=error.what,
                          next_step="give a run of foreact train, or the name of a recipe") from error


def _run(recipe: str, size: str) -> Run:
    from foreact.recipes import catalogue

    return catalogue.recipe(recipe).run(size)
