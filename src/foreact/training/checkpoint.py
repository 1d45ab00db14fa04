"""What others need of a checkpoint: the model, its run, its specs.

    model = load_model("RUN")                                     newest complete checkpoint of a run, averaged weights
    model = load_model("RUN/checkpoints/step-00000500")           that one

The layout of the folder is described in `checkpoint_folder`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from foreact.contract.config import decode
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.model import WorldActionModel
from foreact.nets.by_columns import lay_by_columns
from foreact.training.checkpoint_folder import Checkpoint, find
from foreact.training.learner import copy_weights
from foreact.training.members import import_members
from foreact.training.run import Run
from foreact.training.specs import specs_of

__all__ = ["Checkpoint", "find", "load_model", "load_run", "load_specs"]


def load_run(path: Path | str) -> Run:
    """The resolved config that the checkpoint was trained with; raises `CheckpointError` where there is none."""
    import_members()
    return decode(Run, find(path).json("config.json"), where="config")


def load_specs(path: Path | str) -> tuple[ObservationSpec, ActionSpec]:
    """What the checkpoint's model may be shown, and what its actions mean."""
    return specs_of(find(path).json("specs.json"))


def load_model(path: Path | str, *, device: torch.device | str = "cpu") -> WorldActionModel:
    """The model as it is to be used: averaged weights, normalisation included, evaluation mode, no gradients asked.

    path: a checkpoint folder, or a run folder for its newest complete checkpoint. Every byte is checked on the way;
    raises `CheckpointError` where something is damaged.
    """
    import_members()
    found = find(path)
    run, (observation, action) = decode(Run, found.json("config.json"), where="config"), specs_of(found.json("specs.json"))
    with torch.random.fork_rng():
        model = run.model.build(observation, action)
    copy_weights(model, found.model())
    model.text.load()
    model = model.to(device).eval().requires_grad_(False)
    lay_by_columns(model)
    return model
