"""A model that is ready for its first step: statistics and substrates fitted on the dataset, or the weights of a run of foreact."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from foreact.contract.errors import ConfigError, SpecError
from foreact.data.annotations import AnnotationStore
from foreact.data.lerobot.conventions import StatedConventions
from foreact.data.lerobot.dataset import Dataset
from foreact.data.windows import Windows
from foreact.model import WorldActionModel
from foreact.training.checkpoint import find, load_specs
from foreact.training.learner import copy_weights
from foreact.training.prepare import Material, normalise, open_material, prepare
from foreact.training.randomness import derived_seed, preserved
from foreact.training.run import Run
from lerobot_policy_foreact.resolving import Resolved, offsets_of

__all__ = ["built", "fitted", "material_of", "rows_of"]

_INITIAL = 0x1E20


def material_of(run: Run, meta: Any, stated: StatedConventions, *, bounds_of_data: bool) -> Material:
    """The dataset that LeRobot's metadata stand for, as foreact reads it.

    Raises `SpecError` where neither the dataset nor the config says what the numbers mean, `ConfigError` where stages of the run learn
    from different episodes, which LeRobot's loader does not know.
    """
    dataset = Dataset.open(Path(meta.root))
    if bounds_of_data and stated.action_low is None and dataset.specs is None:
        actions = dataset.column("action").astype("float64")
        stated = replace(stated, action_low=tuple(actions.min(0).tolist()), action_high=tuple(actions.max(0).tolist()))
    _require_one_set_of_episodes(run, dataset)
    try:
        return open_material(run, dataset, stated=stated, cache=None)
    except SpecError as error:
        if "not stated" not in str(error.found):
            raise
        words = str(error.found).replace("--action-", "--policy.action_").replace("--gripper INDEX OPEN CLOSED", "--policy.gripper='[...]'")
        words = words.replace("--no-gripper", "--policy.no_gripper=true").replace("--state-units", "--policy.state_units='[...]'")
        raise SpecError(error.what, where=error.where, found=words, next_step="state them; for the bounds of the action, "
                        "--policy.bounds_of_data=true takes the smallest and the largest of the dataset") from None


def _require_one_set_of_episodes(run: Run, dataset: Dataset) -> None:
    for place, stage in enumerate(run.training.stages):
        for name, value in stage.only.items():
            others = set() if name not in dataset.info.features else \
                set(dataset.column(name).reshape(dataset.frames_total, -1)[:, 0].astype(str)) - {value}
            if others:
                raise ConfigError("LeRobot draws every stage's batches from the same episodes", where=f"training.stages.{place}.only",
                                  found=f"{name}={value}, and the dataset has {', '.join(sorted(others))} too",
                                  accepted="one value in all episodes",
                                  next_step="choose episodes, --dataset.episodes='[...]', and give up the condition, "
                                            f"--policy.settings='[\"training.stages.{place}.only={{}}\"]'")


def built(resolved: Resolved, *, seed: int, device: str) -> WorldActionModel:
    """The model with its first weights, which follow from the seed alone; frozen text encoders loaded."""
    with preserved():
        torch.manual_seed(derived_seed(seed, _INITIAL))
        model = resolved.run.model.build(resolved.observation, resolved.action)
    model.text.load()
    return model.to(device)


def fitted(run: Run, material: Material | None, *, seed: int, start_from: str | None, device: str) -> tuple[WorldActionModel, Resolved]:
    """As `foreact train` begins: fitted on all episodes, or from `start_from`, whose specs hold where there is no dataset."""
    if start_from is None:
        assert material is not None
        resolved = Resolved(run=run, observation=material.observation, action=material.action)
        model = built(resolved, seed=seed, device=device)
        with preserved():
            prepare(model, run, material, substrate_of=None)
        return model, resolved
    observation, action = load_specs(start_from)
    resolved = Resolved(run=run, observation=observation, action=action) if material is None else \
        Resolved(run=run, observation=material.observation, action=material.action)
    model = built(resolved, seed=seed, device=device)
    copy_weights(model, find(start_from).model())
    if material is not None and (observation.state, action) != (material.observation.state, material.action):
        normalise(model, run, material)  # another robot, which has statistics of its own
    return model, resolved


def rows_of(run: Run, material: Material) -> Windows:
    """Windows of all episodes without pictures: what LeRobot's loader does not give is read from them, by the row.

    Raises `DatasetError` where the dataset lacks an annotation that the recipe learns from.
    """
    needs = run.model.needs(material.observation)
    store = AnnotationStore(material.dataset, needs, size=run.windows.image_size, cache=material.cache) if needs else None
    return Windows(material.dataset, offsets_of(run), cameras=material.observation.camera_names, images=False, annotations=store,
                   discount=run.windows.discount, fold=run.model.fold)
