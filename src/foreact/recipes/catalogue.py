"""The catalogue: every module in this folder that defines `RECIPE` is a recipe of that module's name, hyphens for underscores.

Adding a recipe is adding a file. A module is imported only when its recipe is asked for. A recipe of one's own need not lie in this
folder: the path of its file is as good as a name wherever a recipe is named.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from dataclasses import replace
from pathlib import Path

from foreact.contract.errors import ConfigError, nearest
from foreact.recipes.recipe import Recipe
from foreact.training.run import Run, Stage

__all__ = ["baseline", "names", "recipe"]

_NOT_RECIPES = frozenset({"census", "citations", "recipe", "catalogue", "presets"})


def names() -> tuple[str, ...]:
    """The names of all recipes, in order."""
    folder = Path(__file__).parent
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules([str(folder)]) if m.name not in _NOT_RECIPES))


def recipe(name: str) -> Recipe:
    """The recipe of that name, or in the file of that path; raises `ConfigError` with the nearest name where there is none."""
    if name.endswith(".py"):
        return _from_file(Path(name))
    known = names()
    if name not in known:
        raise ConfigError("no such recipe", where="recipe", found=name, accepted=", ".join(known), next_step=nearest(name, known))
    found: Recipe = importlib.import_module(f"foreact.recipes.{name.replace('-', '_')}").RECIPE
    assert found.name == name, f"the module of '{name}' defines a recipe called {found.name}"
    return found


def _from_file(path: Path) -> Recipe:
    """The `RECIPE` that a file of a person's own defines; the file is run."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.exists():
        raise ConfigError("no such file", where="recipe", found=path, next_step="give the path of a file that defines RECIPE")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = vars(module).get("RECIPE")
    if not isinstance(found, Recipe):
        raise ConfigError("the file defines no recipe", where=str(path), found=type(found).__name__,
                          accepted="RECIPE = Recipe(name=..., card=..., sizes=..., parameters=...)")
    return found


def baseline(run: Run) -> Run:
    """The no-future baseline of a run: same sizes, data and budget, nothing predicted but the action.

    A stage that trains the video alone has nothing to train here; its budget goes to the stage after it. Where no stage
    trains an action, as in a system without action labels, the last one does.
    """
    if not any("action" in stage.train for stage in run.training.stages):
        *early, last = run.training.stages
        run = replace(run, training=replace(run.training, stages=(*early, replace(last, train=("action",)))))
    stages: list[Stage] = []
    steps, seconds, flops = 0, 0.0, 0.0
    for stage in run.training.stages:
        if set(stage.train) == {"video"}:
            steps, seconds, flops = steps + (stage.steps or 0), seconds + (stage.seconds or 0.0), flops + (stage.flops or 0.0)
            continue
        stages.append(replace(stage, steps=stage.steps and stage.steps + steps, seconds=stage.seconds and stage.seconds + seconds,
                              flops=stage.flops and stage.flops + flops))
        steps, seconds, flops = 0, 0.0, 0.0
    return replace(run, model=run.model.without_future(), training=replace(run.training, stages=tuple(stages)))
