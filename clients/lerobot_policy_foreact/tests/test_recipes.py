"""Every recipe of the catalogue by its name, as `--policy.recipe` takes it."""

from __future__ import annotations

import math

import pytest
import torch
from lerobot.policies.factory import make_policy

from foreact.contract.errors import DatasetError
from foreact.recipes import catalogue

FIT = ["training.substrate.steps=2", "training.substrate.batch_size=4"]


@pytest.mark.parametrize("recipe", catalogue.names())
def test_each_recipe_learns_and_acts_or_says_which_annotation_it_lacks(config, loaded, meta, recipe):
    cfg = config(recipe, small=FIT)
    cfg.stage_steps = [0] * (len(cfg.run.training.stages) - 1)
    try:
        policy = make_policy(cfg, ds_meta=meta)
    except DatasetError as error:
        assert "annotation" in str(error) and "collect it with annotations." in str(error)
        return
    loss, parts = policy.train().forward(loaded(cfg, (0, 50)))
    loss.backward()
    assert math.isfinite(float(loss.detach())) and parts
    policy.eval().reset()
    batch = {key: value[:, 0] if value.ndim > 2 or key == "observation.state" else value
             for key, value in loaded(cfg, (0, 50)).items() if key.startswith("observation") and not key.endswith("_is_pad")}
    action = policy.select_action(batch | {"task": ["open the door"] * 2})
    assert action.shape == (2, 4) and bool(torch.isfinite(action).all())
