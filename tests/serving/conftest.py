"""Tiny models behind real servers."""

from __future__ import annotations

import numpy as np
import pytest

from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from tiny_members import ACTION, OBSERVATION, alive, config

CALLS = 4


@pytest.fixture(scope="session")
def model():
    return alive(config("JointGeneration"))


@pytest.fixture(scope="session")
def streamed():
    """A model with a memory from call to call."""
    return alive(config("StreamedChunks", regime="Interactive"))


@pytest.fixture(scope="session")
def address(model):
    """A server with the default limits, for tests that leave it as it was."""
    with serving(model, ServerSettings(port=0), name="tiny") as found:
        yield found


@pytest.fixture(scope="session")
def episode():
    """The observations of one episode, by its number."""
    def made(number: int, calls: int = CALLS) -> list[dict]:
        rng = np.random.default_rng(number)
        return [{"images": {c.name: rng.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8) for c in OBSERVATION.cameras},
                 "state": rng.normal(size=OBSERVATION.state.size).astype(np.float32), "prompt": f"do thing {number}"} for _ in range(calls)]

    assert ACTION.size == 2
    return made
