"""A tiny model with every weight drawn at random, so that all of its inputs reach its actions."""

import pytest
import torch

from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.couplings.joint import JointGeneration
from foreact.envs.metaworld import MetaWorld
from foreact.model import WorldActionModel
from foreact.nets.text import HashedWords
from foreact.regimes.chunked import Chunked
from foreact.substrates.pixel_latents import PixelLatents


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def environment() -> MetaWorld.Config:
    return MetaWorld.Config(task="drawer-open", size=32, horizon=24)


@pytest.fixture(scope="session")
def tiny() -> WorldActionModel:
    config = WorldActionModel.Config(
        substrate=PixelLatents.Config(), text=HashedWords.Config(width=32), regime=Chunked.Config(replan=6),
        backbone=MixtureOfTransformers.Config(
            depth=2, heads=2, head_dim=32, experts=(ExpertSize(name="video", width=64), ExpertSize(name="action", width=64))),
        coupling=JointGeneration.Config(horizon=8, future_offsets=(4, 8), steps=2))
    probe = MetaWorld.Config(task="drawer-open", size=32).build()
    model = config.build(*probe.specs)
    probe.close()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()
