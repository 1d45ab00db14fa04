"""A small dataset, read by LeRobot's own classes, and policies made by LeRobot's own factories."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
import torch
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.datasets.factory import resolve_delta_timestamps
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.factory import make_policy, make_policy_config
from torch.utils.data import DataLoader, Subset

import lerobot_policy_foreact  # noqa: F401  as LeRobot's scripts import it
from foreact.data.lerobot import DatasetWriter, Feature, Specs, standard_features
from foreact.envs.metaworld import MetaWorld

SMALL = ["training.substrate.steps=2", "training.substrate.batch_size=4", "model.backbone.depth=1"]
LENGTHS = (40, 30)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    os.environ["FOREACT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Two episodes of noise that drifts, in the specs of Meta-World, pictures kept without loss; the first one succeeds at its end."""
    observation, action = MetaWorld.describe(MetaWorld.Config(task="door-open", size=64))
    path, g = tmp_path_factory.mktemp("data") / "set", np.random.default_rng(0)
    extra = {"next.success": Feature(dtype="bool", shape=(1,))}
    features, specs = standard_features(observation, action, images_as="image", extra=extra), Specs(observation=observation, action=action)
    with DatasetWriter(path, fps=int(action.rate_hz), features=features, specs=specs) as writer:
        for episode, length in enumerate(LENGTHS):
            state = g.normal(size=(length, observation.state.size)).cumsum(0).astype(np.float32)
            actions = g.uniform(action.low, action.high, size=(length, action.size)).astype(np.float32)
            images = {c.name: g.integers(0, 256, (length, c.height, c.width, 3), dtype=np.uint8) for c in observation.cameras}
            success = (np.arange(length) == length - 1)[:, None] & (episode == 0)
            writer.add_episode(frames={"observation.state": state, "action": actions, "next.success": success}, images=images,
                               task=f"open door {episode}", index=episode)
    return path


@pytest.fixture(scope="session")
def meta(written):
    return LeRobotDatasetMetadata("local/set", root=written)


@pytest.fixture(scope="session")
def config():
    """A config by the words of `--policy.*`."""
    def of(recipe="joint", settings=(), small=SMALL, **fields):
        return make_policy_config("foreact", recipe=recipe, device="cpu", push_to_hub=False, settings=[*small, *settings], **fields)

    return of


@pytest.fixture(scope="session")
def loaded(written, meta):
    """A batch of LeRobot's own loader at some rows."""
    def at(cfg, rows=(0, 7, 39, 45)):
        dataset = LeRobotDataset("local/set", root=written, delta_timestamps=resolve_delta_timestamps(cfg, meta))
        return next(iter(DataLoader(Subset(dataset, rows), batch_size=len(rows))))

    return at


@pytest.fixture(scope="session")
def joint(config, meta):
    """A joint model, fitted, never trained, without the zeros that new weights have. Tests that change it work on a copy."""
    policy = make_policy(config(stage_steps=[2]), ds_meta=meta)
    with torch.no_grad():
        for _, parameter in policy.model.parameters_to_train():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    return policy
