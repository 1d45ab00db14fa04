"""A robot that stops halfway: until there nothing is otherwise, from there on it holds, and the protocol says so only where it is asked."""

from dataclasses import replace

import numpy as np
import pytest

from foreact.contract.errors import ConfigError
from foreact.contract.specs import ActionSpec, GripperConvention
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.freezing import freezing_step, held_action
from foreact.evaluation.policies import HoldStill
from foreact.evaluation.slots import Episode, SlotRules
from foreact.evaluation.workers import in_this_process
from foreact.selection.rollback import Rollback

EPISODE = Episode(condition="clean", task="drawer-open", seed=500_000)


def ran(model, environment, freeze, *, envs=1, episodes=(EPISODE,)):
    rules = SlotRules(environment=environment, policy=None, footage=True, consistency="latent", freeze=freeze)
    return list(in_this_process(model, rules, list(episodes), envs=envs, lanes=4))


def test_until_there_nothing_is_otherwise_and_then_the_robot_holds(tiny, environment):
    (free,), (frozen,) = ran(tiny, environment, None), ran(tiny, environment, 10)
    actions = np.stack(frozen.footage.actions)
    assert np.array_equal(actions[:10], np.stack(free.footage.actions)[:10]) and len(actions) == environment.horizon
    gripper = tiny.action.gripper
    moving = [i for i in range(tiny.action.size) if gripper is None or i != gripper.index]
    assert (np.abs(actions[:10, moving]).sum(axis=1) > 0).all() and not actions[10:, moving].any()
    assert gripper is None or (actions[10:, gripper.index] == actions[9, gripper.index]).all()
    late = [one for one in frozen.record.consistency if one.step >= 14]  # the arm comes to rest
    early = [one for one in frozen.record.consistency if one.step + one.offset <= 10]
    assert late and max(one.change for one in late) < min(one.change for one in early)


def test_how_the_work_is_spread_changes_nothing(tiny, environment):
    episodes = [replace(EPISODE, seed=EPISODE.seed + i) for i in range(2)]
    alone, together = (ran(tiny, environment, 9, envs=envs, episodes=episodes) for envs in (1, 2))
    assert {one.record.seed: one.record.outcome for one in alone} == {one.record.seed: one.record.outcome for one in together}


def test_absolute_actions_are_held_where_they_are_and_a_gripper_as_it_was():
    spec = ActionSpec(names=("x", "g"), low=(-1, -1), high=(1, 1), rate_hz=10, reference="delta", frame="end-effector",
                      gripper=GripperConvention(index=1, open=-1, closed=1))
    last = np.array([0.5, 0.7], np.float32)
    assert held_action(last, spec).tolist() == pytest.approx([0.0, 0.7])
    assert held_action(last, replace(spec, reference="absolute")) is last
    assert [freezing_step(share, 10) for share in (0.3, 0.25, 0.01)] == [3, 3, 1]


def test_the_protocol_says_so_and_only_then(tiny, environment):
    plain = EvaluationConfig(environment=environment, seeds_per_task=1, seed_start=EPISODE.seed, envs=1)
    frozen = replace(plain, freeze=0.5)
    assert "freeze" not in plain.protocol()[0].fields
    assert frozen.protocol()[0].fields["freeze"] == {"share": 0.5, "step": 12, "then": "zero motion, gripper kept"}
    result = evaluate(tiny, frozen)
    assert result.protocol == frozen.protocol()[0] and result.episodes[0].steps == environment.horizon


def test_what_cannot_be_frozen_is_refused(environment):
    for share in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="stops moving"):
            EvaluationConfig(environment=environment, freeze=share)
    with pytest.raises(ConfigError, match="going back"):
        EvaluationConfig(environment=environment, freeze=0.5, rollback=Rollback())
    with pytest.raises(ConfigError, match="only a model is frozen"):
        evaluate(HoldStill.Config(), EvaluationConfig(environment=environment, freeze=0.5, seed_start=EPISODE.seed))
