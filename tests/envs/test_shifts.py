"""The conditions that change the scene itself: other tasks' things beside the task's own, and its own in other sizes and shapes."""

import csv
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from foreact.contract.errors import ConfigError, SpecError
from foreact.envs.aloha import Aloha
from foreact.envs.episodes import Expert, draw, record
from foreact.envs.instances import INSTANCE_VERSION, OFFERED, VARIANTS, chosen
from foreact.envs.metaworld import MetaWorld
from foreact.envs.semantics import BACKGROUND, CLUTTER, OBJECT, classes_of
from foreact.envs.things import THINGS, others

TASKS = ("button-press-topdown", "window-open", "faucet-close")
PLAIN = Expert(noise_std=0.0)


def build(task: str, condition: str, **settings) -> MetaWorld:
    return MetaWorld.Config(task=task, size=64, cameras=("scene",), condition=condition, distractors=TASKS, **settings).build()


def beside(env: MetaWorld) -> np.ndarray:
    """The geoms of other tasks' things."""
    model = env.simulation.model
    return np.array([model.body(model.body_rootid[body]).name.startswith(CLUTTER) for body in model.geom_bodyid])


def pixels(env: MetaWorld, geoms: np.ndarray) -> int:
    return int(np.isin(env.draw_geoms("scene"), np.flatnonzero(geoms)).sum())


@pytest.fixture(scope="module")
def semantic():
    return {task: build(task, "semantic") for task in TASKS}


@pytest.fixture(scope="module")
def instance():
    return {task: build(task, "instance") for task in TASKS}


@pytest.mark.parametrize("task", TASKS)
def test_things_of_other_tasks_are_seen_beside_the_own_one_and_are_background(semantic, task):
    env, seen, places = semantic[task], [], set()
    assert {env.simulation.model.body(b).name.split("/")[1] for b in range(env.simulation.model.nbody)
            if env.simulation.model.body(b).name.startswith(CLUTTER)} == set(TASKS) - {task}
    for seed in range(500_000, 500_008):
        env.start(seed)
        theirs = beside(env)
        seen.append(pixels(env, theirs))
        classes = classes_of(env.simulation.model, env.draw_geoms("scene"))
        ids = env.draw_geoms("scene")
        assert (classes[np.isin(ids, np.flatnonzero(theirs))] == BACKGROUND).all() and (classes == OBJECT).sum() > 15
        places.add(tuple(env.simulation.data.geom_xpos[theirs][0].round(3)))
    assert np.sum(np.array(seen) > 60) >= 7 and len(places) == 8, seen


@pytest.mark.parametrize("task", TASKS)
def test_the_expert_does_the_same_to_the_last_bit_as_long_as_it_touches_nothing_else(semantic, task):
    clean = build(task, "clean")
    for seed in (500_000, 500_004):
        there, here = record(semantic[task], seed, PLAIN), record(clean, seed, PLAIN)
        assert there.succeeded and there.instruction == here.instruction
        assert np.array_equal(there.action, here.action) and np.array_equal(there.state, here.state)


def test_things_stand_clear_of_one_another_and_can_be_touched(semantic):
    env = semantic["faucet-close"]
    for seed in range(500_000, 500_006):
        env.start(seed)
        theirs, model = beside(env), env.simulation.model
        assert (model.geom_contype[theirs] > 0).any()
        for contact in env.simulation.data.contact:
            assert not (theirs[contact.geom1] or theirs[contact.geom2])


@pytest.mark.parametrize("task", ["button-press-topdown", "faucet-close"])
def test_the_expert_succeeds_on_unseen_shapes_which_differ_in_picture_and_touch(instance, task):
    env, clean = instance[task], build(task, "clean")
    looks = {}
    for seed in range(500_000, 500_010):
        assert record(env, seed, PLAIN).succeeded, seed
        env.start(seed)
        clean.start(seed)
        assert not np.array_equal(env.draw("scene"), clean.draw("scene"))
        ours, theirs = env.simulation.model, clean.simulation.model
        solid = (theirs.geom_contype > 0) & (np.char.startswith([theirs.body(b).name for b in theirs.geom_bodyid], "right") == 0)
        assert ours.ngeom == theirs.ngeom and ours.nq == theirs.nq
        assert not (np.array_equal(ours.geom_size[solid], theirs.geom_size[solid]) and np.array_equal(ours.geom_type, theirs.geom_type))
        looks.setdefault(chosen(OFFERED[task], seed), ours)
    assert len(looks) >= 4


@pytest.mark.parametrize(("condition", "task"), [("semantic", "window-open"), ("instance", "faucet-close")])
def test_an_episode_follows_from_its_seed_and_is_restored_to_the_last_bit(condition, task, semantic, instance):
    env, fresh = (semantic if condition == "semantic" else instance)[task], build(task, condition)
    for seed in (500_003, 500_001, 500_002):
        env.start(seed)
    fresh.start(500_002)
    move = np.array([0.3, 0.8, -0.4, 0.0], np.float32)

    def rest(of: MetaWorld) -> np.ndarray:
        rows = []
        for _ in range(12):
            of.advance(move)
            rows.append(of.privileged)
        return np.array([*rows, np.resize(of.draw("scene").ravel(), 39)])

    assert np.array_equal(env.draw("scene"), fresh.draw("scene")) and np.array_equal(env.privileged, fresh.privileged)
    env.advance(move)
    fresh.advance(move)
    instant, picture = env.snapshot(), env.draw("scene")
    once = rest(env)
    assert np.array_equal(rest(fresh), once)
    env.start(500_005)  # another arrangement, another variant
    env.restore(instant)
    assert np.array_equal(env.draw("scene"), picture) and np.array_equal(rest(env), once)
    with pytest.raises(SpecError, match="cannot be drawn in another condition"):
        env.dress("random")


def test_a_recorded_episode_is_drawn_with_what_stood_there(semantic):
    env = semantic["faucet-close"]
    recorded = record(env, 500_001, PLAIN)
    episode = draw(env, recorded, "semantic")
    env.start(500_001)
    assert episode.condition == "semantic" and np.array_equal(episode.images["scene"][0], env.draw("scene"))


def test_tasks_that_share_a_kind_of_thing_do_not_stand_beside_one_another():
    assert others("faucet-close", ("faucet-open", "faucet-close", "button-press", "button-press-topdown")) == ("button-press",)
    assert others("push-wall", ("push", "dial-turn")) == ("dial-turn",)
    assert others("door-open", TASKS) == TASKS and {"door-close", "shelf-place"}.isdisjoint(THINGS)


@pytest.mark.parametrize(("settings", "message"), [
    ({"condition": "semantic", "distractors": ("door-close",)}, "cannot stand in another task's scene"),
    ({"condition": "semantic", "distractors": ("faucet-open",)}, "nothing is left"),
    ({"condition": "semantic", "standing": 0}, "at least one thing"),
    ({"condition": "instance", "task": "assembly"}, "has no variants"),
    ({"condition": "instance", "variants": ("largr",)}, "did you mean 'larger'")])
def test_bad_shifts_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        replace(MetaWorld.Config(task="faucet-close"), **settings).build()


def test_other_suites_say_that_they_do_not_offer_them():
    with pytest.raises(ConfigError, match="ALOHA does not offer this condition"):
        Aloha.Config(task="transfer-cube", condition="semantic").build()


def test_only_shifted_protocols_speak_of_the_shift():
    clean = MetaWorld.rules(MetaWorld.Config(task="faucet-close", distractors=TASKS, standing=1, variants=("larger",)))
    assert "shift" not in clean and clean == MetaWorld.rules(MetaWorld.Config(task="faucet-close"))
    shifted = MetaWorld.rules(MetaWorld.Config(task="faucet-close", distractors=TASKS, condition="semantic"))
    assert shifted["shift"] == {"version": 1, "distractors": list(TASKS), "standing": 2}
    other = MetaWorld.rules(MetaWorld.Config(task="window-open", distractors=TASKS, condition="semantic"))
    assert {**shifted, "task": ""} == {**other, "task": ""}


def test_every_offered_variant_is_declared_and_the_expert_was_seen_to_master_it():
    rows = csv.DictReader(files("foreact.envs").joinpath("instances.csv").read_text().splitlines())
    mastered = {(row["task"], row["variant"]) for row in rows if int(row["successes"]) >= 8 and int(row["n"]) == 10}
    assert {(task, name) for task, names in OFFERED.items() for name in names} <= mastered
    assert {"button-press-topdown", "window-open", "faucet-close", "door-close", "drawer-close"} <= set(OFFERED) and len(OFFERED) >= 12
    assert all(set(names) <= set(VARIANTS) and len(set(names)) == len(names) >= 3 for names in OFFERED.values())


def test_the_variants_of_a_version_are_what_its_results_were_measured_on():
    """A change here changes which variant a seed has: raise `INSTANCE_VERSION` with it."""
    assert INSTANCE_VERSION == 1
    assert [chosen(OFFERED["window-open"], seed) for seed in range(500_000, 500_005)] == ["taller", "broad", "flatter", "broad", "broad"]
    assert [chosen(OFFERED["faucet-close"], seed) for seed in range(500_000, 500_005)] == ["broad", "broad", "taller", "narrower", "broad"]


def test_a_door_has_room_to_open():
    env = build("door-open", "semantic")
    assert all(record(env, seed, PLAIN).succeeded for seed in range(500_000, 500_003))
