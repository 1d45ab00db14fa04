"""What the action reads in closed loop in place of its own imagination."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.contract.axes import SeededNoise
from foreact.contract.context import fake_context
from foreact.contract.errors import ConfigError
from foreact.contract.stand_ins import at_level, in_form_of
from foreact.envs.metaworld import MetaWorld
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.foresight import FORESIGHTS, require_read, stand_in
from foreact.evaluation.policies import ScriptedExpert
from foreact.evaluation.slots import Episode, SlotRules, vector
from foreact.recipes import catalogue

ENVIRONMENT = MetaWorld.Config(task="window-open", size=64, horizon=24)


@pytest.fixture(scope="module")
def uwm():
    return built("uwm")


def built(name, **changes):
    torch.manual_seed(0)
    run = catalogue.recipe(name).run("tiny")
    model = replace(run.model, **changes).build(*MetaWorld.describe(ENVIRONMENT))
    with torch.no_grad():  # what is zero at the start would hide whatever it is read through
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model.eval()


def test_a_future_is_brought_into_the_form_in_which_it_is_read():
    future, present = torch.randn(2, 3, 4, 5), torch.randn(2, 4, 5)
    assert in_form_of(torch.zeros(2, 3, 4, 5), future, None) is not None
    row = in_form_of(torch.zeros(4, 12, 5), future, present)
    torch.testing.assert_close(row[2].unflatten(0, (3, 4)), future[1] - present[1])
    assert in_form_of(torch.zeros(2, 7, 5), future, None) is None
    assert in_form_of(torch.zeros(3, 12, 5), future, None) is None
    clean, noise = torch.ones(2, 3), torch.zeros(2, 3)
    torch.testing.assert_close(at_level(clean, torch.tensor([0.25, 1.0]), noise), torch.tensor([[0.75] * 3, [0.0] * 3]))


def test_what_comes_is_what_the_expert_brings_about_and_the_world_stays_as_it_was():
    episode = Episode(condition="clean", task="window-open", seed=500_001)
    seats = {ahead: vector(SlotRules(environment=ENVIRONMENT, policy=None, foresee=ahead), episode, 1) for ahead in ((), (8, 16))}
    looked = {}
    for ahead, seat in seats.items():
        first, _ = seat.reset(options={"reset_mask": np.ones(1, bool), "episodes": {0: episode}})
        actions = np.zeros((1, *seat.single_action_space["actions"].shape), np.float32)
        after, *_ = seat.step({"actions": actions, "count": np.full(1, 16), "recall": np.full(1, -1), "held": np.full((1, 1), -1)})
        looked[ahead] = (first, after)
        seat.close()
    for blind, seeing in zip(*looked.values(), strict=True):
        assert all((blind["images"][name] == seeing["images"][name]).all() for name in blind["images"])
        assert (blind["state"] == seeing["state"]).all()
    environment, expert = ENVIRONMENT.build(), ScriptedExpert.Config().build()
    environment.start(episode.seed)
    expert.start(environment, episode.seed)
    coming = looked[8, 16][0]["coming"]
    for step in range(1, 17):
        environment.advance(expert.act(environment))
        if step % 8 == 0:
            shown = environment.observe()["images"]
            assert all((coming[name][0, step // 8 - 1] == shown[name]).all() for name in shown)
    late = looked[8, 16][1]["coming"]["scene"][0]  # 16 of 24 steps are over: the second look ahead is past the horizon
    assert (late[0] == late[1]).all()
    environment.close()


@pytest.mark.parametrize("foresight", FORESIGHTS)
def test_the_stand_in_is_what_the_action_reads(uwm, foresight):
    context = fake_context(uwm.observation, batch=2, seed=3)
    coming = [{name: np.random.default_rng(row).integers(0, 256, (2, 3, 64, 64), dtype=np.uint8) for name in ("scene", "gripper")}
              for row in range(2)]
    noise = SeededNoise([1, 2])
    through = stand_in(uwm, foresight, context, coming, noise)
    plain, changed = uwm.plan(context, noise=noise).actions, uwm.plan(context, noise=noise, through=through).actions
    assert torch.equal(plain, changed) == (foresight == "own")
    assert torch.equal(uwm.plan(context, noise=noise, through=through).actions, changed)
    if foresight == "expert":
        other = stand_in(uwm, foresight, context, coming[::-1], noise)
        assert not torch.equal(uwm.plan(context, noise=noise, through=other).actions, changed)


def test_a_model_whose_action_reads_no_future_is_refused():
    with pytest.raises(ConfigError, match="reads no future"):
        require_read(built("fast-wam"), "zero")


def test_a_control_has_no_foresight():
    with pytest.raises(ConfigError, match="imagines nothing"):
        evaluate(ScriptedExpert.Config(), EvaluationConfig(environment=ENVIRONMENT, seeds_per_task=1, foresight="expert"))


def test_an_evaluation_under_another_foresight_has_another_protocol(uwm, tmp_path):
    found = {}
    for foresight in ("own", "expert"):
        config = EvaluationConfig(environment=ENVIRONMENT, seeds_per_task=1, seed_start=500_000, foresight=foresight)
        found[foresight] = evaluate(uwm, config, out=tmp_path / foresight)
    own, true = found.values()
    assert own.protocol.fingerprint != true.protocol.fingerprint
    assert "foresight" not in own.protocol.fields
    assert own.episodes[0].actions_digest != true.episodes[0].actions_digest
