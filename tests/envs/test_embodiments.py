"""Another embodiment: the same episode to the last bit, drawn with another arm, and no example to imitate."""

import numpy as np
import pytest

from foreact.contract.errors import ConfigError, DatasetError
from foreact.data.lerobot import Dataset
from foreact.envs.embodiments import EMBODIMENTS
from foreact.envs.episodes import Expert, draw, record
from foreact.envs.metaworld import MetaWorld
from foreact.envs.semantics import ARM, HAND, OBJECT, classes_of
from foreact.evaluation.collection import CollectConfig, collect
from foreact.training.prepare import open_material

TASK, SEED = "window-open", 500_003


def classes(env: MetaWorld) -> np.ndarray:
    return classes_of(env.simulation.model, env.draw_geoms("scene"))


@pytest.mark.parametrize("name", EMBODIMENTS)
def test_the_episode_is_the_same_and_the_robot_looks_different(name):
    own = MetaWorld.Config(task=TASK, size=96).build()
    other = MetaWorld.Config(task=TASK, size=96, embodiment=name).build()
    ours, theirs = (record(env, SEED, Expert(noise_std=0)) for env in (own, other))
    assert ours.succeeded and np.array_equal(ours.state, theirs.state) and np.array_equal(ours.action, theirs.action)
    before, after = classes(own), classes(other)
    for part in (ARM, HAND):
        share = ((before == part) & (after == part)).sum() / max((before == part).sum(), 1)
        assert share > 0.4 and (after == part).sum() > 20, part  # it stands where the robot stands, in another shape
    assert ((before == OBJECT) & (after == OBJECT)).sum() > 0.9 * (before == OBJECT).sum()
    robot = np.isin(before, (ARM, HAND)) & np.isin(after, (ARM, HAND))
    gap = np.abs(own.draw("scene").astype(int) - other.draw("scene")).max(0)
    assert (gap[robot] > 40).mean() > 0.8
    assert (gap[(before == OBJECT) & (after == OBJECT)] == 0).mean() > 0.97  # glass shows what is behind
    pictures = draw(other, theirs, "clean").images
    assert not np.array_equal(pictures["gripper"][-1], draw(own, ours, "clean").images["gripper"][-1])


def test_its_demonstrations_say_that_they_are_to_be_watched_only(tmp_path):
    config = CollectConfig(tasks=("reach",), episodes=1, size=32, embodiment="tubes")
    dataset = Dataset.open(collect(config, tmp_path / "tubes", workers=1))
    assert dataset.specs.provenance["imitate"] is False and dataset.specs.provenance["environments"][0]["embodiment"] == "tubes-1"
    from foreact.recipes import catalogue

    with pytest.raises(DatasetError, match="not to be imitated"):
        open_material(catalogue.recipe("joint").run("tiny"), dataset, stated=None, cache=None)
    plain = CollectConfig(tasks=("reach",))
    assert "embodiment" not in plain.said and "embodiment" not in MetaWorld.rules(plain.environment("reach", "clean"))


@pytest.mark.parametrize(("tasks", "name", "message"), [
    (("reach",), "tube", "did you mean 'tubes'"), (("transfer-cube",), "tubes", "no other embodiment")])
def test_what_is_not_there_is_refused(tasks, name, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        collect(CollectConfig(tasks=tasks, embodiment=name), tmp_path / "none", workers=1)
