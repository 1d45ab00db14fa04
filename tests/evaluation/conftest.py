"""Tiny models with every weight drawn at random, so that all of their inputs reach their actions."""

import pytest
import torch

from foreact.backbones import DiffusionTransformer
from foreact.backbones.mixture import ExpertSize, MixtureOfTransformers
from foreact.couplings.joint import JointGeneration
from foreact.couplings.latent_frames import LatentFrames
from foreact.envs.metaworld import MetaWorld
from foreact.model import WorldActionModel
from foreact.nets.text import HashedWords
from foreact.regimes.chunked import Chunked
from foreact.substrates.pixel_latents import PixelLatents
from tiny_members import config


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def environment() -> MetaWorld.Config:
    return MetaWorld.Config(task="drawer-open", size=32, horizon=24)


def drawn(model: WorldActionModel) -> WorldActionModel:
    """Every weight at random."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            scale = 0.3 if parameter.ndim < 2 else parameter[0].numel() ** -0.5
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return model.eval()


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
    return drawn(model)


@pytest.fixture(scope="session")
def valued() -> WorldActionModel:
    """A tiny model whose plans have a value, with every weight drawn at random: the value then follows noise and picture."""
    config = WorldActionModel.Config(
        substrate=PixelLatents.Config(channels=4, patch=8, width=8, depth=1), text=HashedWords.Config(width=8, buckets=32, words=8),
        backbone=DiffusionTransformer.Config(width=24, depth=1, heads=2, head_dim=8, expansion=2), regime=Chunked.Config(replan=4),
        coupling=LatentFrames.Config(horizon=8, future_offsets=(4, 8), steps=1, candidates=1, scored_by="plan"))
    made = config.build(*MetaWorld.describe(MetaWorld.Config(task="drawer-open", cameras=("scene",), size=32)))
    return drawn(made)


@pytest.fixture(scope="session")
def streamed() -> WorldActionModel:
    """A tiny model that first imagines and then works its actions out, with a memory from call to call."""
    return drawn(config("StreamedChunks", regime="Interactive").build(*MetaWorld.describe(MetaWorld.Config(task="drawer-open", size=32))))
