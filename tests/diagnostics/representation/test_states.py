"""Hidden states while a model acts: which stream, which tokens of it, at which evaluation and noise level."""

import numpy as np
import pytest
import torch

from foreact.acting.rehearsal import rehearsal
from foreact.contract.context import fake_context
from foreact.contract.errors import ConfigError, MisfitError
from foreact.diagnostics.representation.states import acted_on, layers_shown, states_of
from foreact.envs.metaworld import MetaWorld
from foreact.recipes.catalogue import recipe

SPECS = MetaWorld.describe(MetaWorld.Config(task="drawer-open", size=64))


def built(name):
    torch.manual_seed(0)
    return recipe(name).run("tiny").model.build(*SPECS).eval()


def taken(model, stream, **asked):
    context = rehearsal(model, 2)
    return states_of(model, [context, context], count=4, stream=stream, layers=(1, 2), **asked)


def test_evaluations_of_a_future_go_down_in_noise():
    model = built("joint")
    first, second = taken(model, "video"), taken(model, "video", evaluation=2)
    assert first.sigma == 1.0 and 0 < second.sigma < 1
    assert first.by_layer[1].shape[:2] == (4, int(np.prod(first.grid)))
    assert not np.allclose(first.by_layer[2], second.by_layer[2])
    assert not np.allclose(first.by_layer[2], taken(model, "video", time=1).by_layer[2])  # another frame of it
    assert not np.allclose(first.by_layer[2][:2], first.by_layer[2][2:])  # every observation has noise of its own
    np.testing.assert_array_equal(first.by_layer[2], taken(model, "video").by_layer[2])


def test_a_model_that_acts_without_a_future_acts_on_the_present():
    model = built("fast-wam")
    assert acted_on(model, fake_context(model.observation, batch=1)) == ("frame",)
    assert taken(model, "frame").sigma == 0.0
    with pytest.raises(MisfitError, match=r"not evaluated so often(.|\n)*video, 0 times(.|\n)*stream=frame"):
        taken(model, "video")


@pytest.mark.parametrize("name", ["cosmos-policy", "lingbot-va"])
def test_frames_inside_a_longer_stream_or_made_one_by_one(name):
    """Of several candidates of an observation it is the first."""
    model = built(name)
    found = taken(model, "video")
    assert found.grid[0] == 2 and found.by_layer[1].shape[:2] == (4, int(np.prod(found.grid))) and found.sigma == 1.0


def test_what_is_not_there_is_named():
    model = built("joint")
    with pytest.raises(MisfitError, match=r"grid of frames(.|\n)*frame, video"):
        taken(model, "action")
    with pytest.raises(ConfigError, match=r"no such layer(.|\n)*1 to 4"):
        layers_shown(4, asked=(5,), besides=1)
    assert layers_shown(4, asked=(), besides=2) == (1, 2, 3, 4)
    assert layers_shown(24, asked=(), besides=8) == (1, 6, 8, 10, 15, 19, 24) and layers_shown(24, asked=(3,), besides=8) == (3, 8)
