"""What a recipe sees of Meta-World at its smallest size: the specs, and random windows and scenes of that form."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from foreact.contract.context import Scene, Window, fake_window
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.envs.metaworld import MetaWorld
from foreact.model import WorldActionModel
from foreact.training.run import Run

__all__ = ["fitted", "metaworld_specs", "recipe_window", "scenes"]


def metaworld_specs(run: Run) -> tuple[ObservationSpec, ActionSpec]:
    """What Meta-World shows and takes, at the size that the run is for."""
    return MetaWorld.describe(MetaWorld.Config(task="door-open", size=run.windows.image_size[0]))


def recipe_window(model: WorldActionModel, *, batch: int = 2, seed: int = 0) -> Window:
    """A random window with all that the model reads."""
    coupling = model.config.coupling
    return fake_window(model.observation, model.action, horizon=coupling.horizon, future_offsets=coupling.future_offsets, batch=batch,
                       history=coupling.history, past=coupling.past_actions, annotations=model.config.needs(model.observation), seed=seed)


def scenes(model: WorldActionModel) -> Iterator[Scene]:
    """Random scenes without end: substrates expect whitened values, so they are fitted for two steps."""
    for seed in count():
        yield recipe_window(model, batch=4, seed=seed).scene


def fitted(model: WorldActionModel, *, steps: int = 2) -> WorldActionModel:
    """The model with its substrates fitted on random scenes, as far as it has a future to fit them on."""
    for substrate in model.substrates.values():
        if substrate.per_frame or model.config.coupling.future_offsets:
            substrate.fit((s.at(slice(0, 1)) for s in scenes(model)) if substrate.per_frame else scenes(model), steps=steps, seed=0)
    return model
