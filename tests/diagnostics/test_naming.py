"""Heats that follow the instruction are told from heats that see things and do not listen; scenes hold what the instructions name."""

import numpy as np
import pytest

from foreact.contract.errors import ConfigError, SpecError
from foreact.diagnostics.naming import naming
from foreact.envs.metaworld import MetaWorld
from foreact.envs.named_things import classes_naming, scene_of, task_of
from foreact.envs.semantics import OBJECT

APPLE, BANANA = np.zeros((4, 4)), np.zeros((4, 4))
APPLE[1, 0], BANANA[2, 3] = 1, 1
PRESS, SLIDE = "press the button from above", "slide the window open"


def test_a_heat_that_follows_the_instruction():
    found = naming([APPLE, BANANA], [APPLE, BANANA])
    assert (found["named"], found["unnamed"], found["centroid"]) == (16.0, 0.0, 0.0)
    assert found["without_common"] == 16.0
    assert found["moved"] == pytest.approx(1.0)


def test_a_heat_that_sees_and_does_not_listen():
    seen = APPLE + BANANA
    found = naming([seen, seen], [APPLE, BANANA])
    assert found["named"] == found["unnamed"] == 8.0
    assert found["without_common"] == found["moved"] == 0.0


def test_a_thing_whose_place_is_not_known_has_no_figures():
    found = naming([APPLE, BANANA], [APPLE, None])
    assert found["named"] == 16.0 and found["unnamed"] is None
    with pytest.raises(SpecError, match="two instructions"):
        naming([APPLE], [APPLE])
    with pytest.raises(SpecError, match="each with its mask"):
        naming([APPLE, BANANA], [None, None])


def test_the_scene_holds_what_each_instruction_names():
    config = scene_of([PRESS, SLIDE], cameras=("scene",), size=64)
    assert (config.task, config.distractors, config.standing) == ("button-press-topdown", ("window-open",), 1)
    env = MetaWorld(config)
    env.reset(seed=500_000)
    objects = [classes_naming(env, "scene", task) == OBJECT for task in (config.task, *config.distractors)]
    assert all(one.sum() > 50 for one in objects)
    assert not (objects[0] & objects[1]).any()
    with pytest.raises(SpecError, match="not in the scene"):
        classes_naming(env, "scene", "faucet-close")
    env.close()


def test_instructions_that_cannot_be_staged_are_refused():
    assert task_of("push the red button down") == "button-press-topdown"
    with pytest.raises(ConfigError, match="told so"):
        task_of("eat the banana")
    with pytest.raises(ConfigError, match="different kinds"):
        scene_of([SLIDE, "close the window"], cameras=("scene",), size=64)
    with pytest.raises(ConfigError, match="different kinds"):
        scene_of([PRESS, "open the door"], cameras=("scene",), size=64)

