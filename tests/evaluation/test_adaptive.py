"""A regime that goes by the value of each plan: in evaluation and behind a server alike, and only where there is a value."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from foreact.contract.errors import ConfigError
from foreact.evaluation.controller import Controller, Seat
from foreact.regimes import Adaptive
from foreact.serving.background import serving
from foreact.serving.settings import ServerSettings
from foreact_client import ChunkPlayer, Client
from tiny_members import OBSERVATION, alive, config

STEPS, ADAPTIVE = 24, Adaptive.Config(replan=6, soon=2, fall=0.0)


@pytest.fixture(scope="module")
def judging():
    return alive(replace(config("JointGeneration:valued"), regime=ADAPTIVE))


@pytest.fixture(scope="module")
def looks():
    rng = np.random.default_rng(1)
    return [{"images": {c.name: rng.integers(0, 256, (c.height, c.width, 3), dtype=np.uint8) for c in OBSERVATION.cameras},
             "state": rng.normal(size=OBSERVATION.state.size).astype(np.float32), "prompt": "go"} for _ in range(STEPS)]


def driven(model, looks):
    """The calls of an episode, and its actions."""
    controller, seat, actions = Controller(model), Seat(seed=5), []
    for seen in looks:
        if controller.due(seat):
            images = {name: x.transpose(2, 0, 1).copy() for name, x in seen["images"].items()}
            controller.plan([seat], [{"images": images, "state": seen["state"], "instruction": seen["prompt"]}])
        actions.extend(controller.chunk(seat, 1))
    return seat.calls, np.clip(np.stack(actions), -1, 1)


def test_calls_are_spent_where_the_value_falls(judging, looks):
    calls, _ = driven(judging, looks)
    steps, values = [call.step for call in calls], [call.value for call in calls]
    expected = [6, *(2 if later < before else 6 for before, later in pairwise(values))]
    assert list(np.diff(steps)) == expected[: len(steps) - 1] and {2, 6} == set(expected)


def test_over_the_wire_it_is_the_same(judging, looks):
    with serving(judging, ServerSettings(port=0)) as address, Client(address) as client:
        player = ChunkPlayer(client)
        player.reset(seed=5)
        actions = np.stack([player.act(lambda seen=seen: seen) for seen in looks])
    assert np.array_equal(actions, driven(judging, looks)[1])


def test_a_model_without_a_value_is_refused():
    plain = alive(replace(config("JointGeneration"), regime=ADAPTIVE))
    with pytest.raises(ConfigError, match="goes by the value of each plan"):
        Controller(plain)
    with pytest.raises(ConfigError, match="goes by the value of each plan"), serving(plain, ServerSettings(port=0)):
        pass
