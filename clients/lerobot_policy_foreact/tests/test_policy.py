"""LeRobot's policy interface: what it is given, what it gives, what it keeps."""

from __future__ import annotations

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import NormalizationMode
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.policies.factory import get_policy_class, make_policy, make_pre_post_processors

from foreact.contract.config import encode
from foreact.contract.errors import CheckpointError, ConfigError, SpecError
from foreact.data.lerobot import Dataset
from foreact.data.lerobot.batches import window_of
from foreact.data.windows import Windows
from foreact.training.checkpoint_folder import Content, write
from foreact.training.specs import specs_text
from lerobot_policy_foreact import ForeactConfig, ForeactPolicy
from lerobot_policy_foreact.__main__ import convert
from lerobot_policy_foreact.resolving import offsets_of


def shown(count, seed=0):
    """What `lerobot-eval` would show of `count` environments."""
    g = torch.Generator().manual_seed(seed)
    images = {f"observation.images.{c}": torch.randint(0, 256, (count, 3, 64, 64), generator=g) / 255 for c in ("scene", "gripper")}
    return images | {"observation.state": torch.randn(count, 4, generator=g), "task": ["open the door"] * count}


def test_lerobot_finds_the_policy_by_its_name():
    assert get_policy_class("foreact") is ForeactPolicy and PreTrainedConfig.get_choice_class("foreact") is ForeactConfig


@pytest.mark.parametrize("recipe", ["joint", "lingbot-va", "gr-1"])
def test_lerobots_own_loader_gives_the_windows_that_foreact_reads(config, loaded, written, recipe):
    cfg, dataset, rows = config(recipe, small=()), Dataset.open(written), [0, 7, 39, 45]
    offsets = offsets_of(cfg.run)
    ours = window_of(loaded(cfg, rows), dataset.specs.observation, offsets=offsets)
    theirs = Windows(dataset, offsets).batch(np.array(rows))
    for name in ("actions", "action_is_pad", "future_is_pad", "future_state"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    for name in ("state", "history_is_pad", "past_is_pad", "past_actions"):
        a, b = getattr(ours.context, name), getattr(theirs.context, name)
        assert (a is None and b is None) or torch.equal(a, b), name
    for camera in dataset.cameras:
        assert torch.equal(ours.context.images[camera], theirs.context.images[camera])
        assert torch.equal(ours.future_images[camera], theirs.future_images[camera])
    assert ours.context.instruction == theirs.context.instruction


def test_lerobots_pipelines_change_no_number_and_the_model_scales_by_the_statistics_of_the_dataset(joint, loaded, written, meta):
    before, after = make_pre_post_processors(joint.config, dataset_stats=meta.stats)
    batch = loaded(joint.config)
    through = before(dict(batch))
    for key in ("observation.state", "observation.images.scene", "action"):
        assert torch.equal(through[key], batch[key]), key
    action = torch.randn(2, 4)
    assert torch.equal(after(action), action)
    actions = Dataset.open(written).column("action").astype(np.float64)
    scaled = joint.model.action_scaler(torch.from_numpy(np.stack([actions.mean(0), actions.mean(0) + actions.std(0)])).float())
    torch.testing.assert_close(scaled, torch.tensor([[0.0] * 4, [1.0] * 4]), atol=1e-4, rtol=0)


def test_that_lerobot_normalises_too_is_refused(config, meta):
    cfg = config()
    cfg.normalization_mapping["ACTION"] = NormalizationMode.MEAN_STD
    with pytest.raises(ConfigError, match="two would normalise"):
        make_policy(cfg, ds_meta=meta)


def test_training_follows_the_stages_and_the_loss_falls(joint, loaded):
    policy = copy.deepcopy(joint).train()
    optimiser = policy.config.get_optimizer_preset().build(policy.get_optim_params())
    batch, seen = loaded(policy.config), []
    for _ in range(10):
        loss, parts = policy.forward(batch)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        policy.update()
        seen.append(parts)
    assert [sorted(parts) for parts in seen[:3]] == [["video"], ["video"], ["action", "video"]]
    assert seen[-1]["action"] < seen[2]["action"]
    assert all(not p.requires_grad for p in policy.model.substrate.parameters())


def test_the_same_step_has_the_same_noise(joint, loaded):
    batch = loaded(joint.config)
    with torch.no_grad():
        assert joint.forward(batch)[1] == joint.forward(batch)[1]


def test_a_saved_policy_acts_as_before_and_needs_no_dataset(joint, tmp_path):
    joint.eval()
    joint.save_pretrained(tmp_path)
    again = ForeactPolicy.from_pretrained(tmp_path)
    assert again.config.resolved == joint.config.resolved and int(again.step) == int(joint.step)
    assert {key: value.type for key, value in again.config.input_features.items()} == \
        {key: value.type for key, value in joint.config.input_features.items()}
    joint._episodes.begun = again._episodes.begun = 0
    for policy in (joint, again):
        policy.reset()
    for step in range(9):
        assert torch.equal(joint.select_action(shown(2, step)), again.select_action(shown(2, step)))


def test_weights_of_another_model_are_refused(joint, tmp_path, config):
    from safetensors.torch import load_file, save_file

    joint.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop(next(iter(sorted(weights))))
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="lacks"):
        ForeactPolicy.from_pretrained(tmp_path)


def test_the_regime_says_when_to_plan_and_no_environment_can_tell_who_else_is_there(joint):
    joint.eval()
    calls = []
    plan = joint.model.plan
    joint.model.plan = lambda *args, **kwargs: calls.append(1) or plan(*args, **kwargs)
    try:
        joint._episodes.begun = 0
        joint.reset()
        together = [joint.select_action(shown(3, step)) for step in range(9)]
        assert len(calls) == 2  # replan is 8
        joint._episodes.begun = 0
        joint.reset()
        alone = [joint.select_action({k: v[:1] for k, v in shown(3, step).items()}) for step in range(9)]
    finally:
        del joint.model.plan
    assert all(torch.equal(a[:1], b) for a, b in zip(together, alone, strict=True)) and not torch.equal(together[0][0], together[0][1])
    low, high = torch.tensor(joint.model.action.low), torch.tensor(joint.model.action.high)
    assert all(bool(((a >= low) & (a <= high)).all()) for a in together)


def test_a_chunk_is_a_whole_plan_and_its_first_action_is_the_one_selected(joint):
    joint.eval()
    joint._episodes.begun = 0
    joint.reset()
    chunk = joint.predict_action_chunk(shown(2))
    joint._episodes.begun = 0
    joint.reset()
    assert chunk.shape == (2, 16, 4) and torch.equal(chunk[:, 0], joint.select_action(shown(2)))


def test_another_number_of_environments_needs_a_reset(joint):
    joint.reset()
    joint.select_action(shown(2))
    with pytest.raises(ValueError, match="reset"):
        joint.select_action(shown(3))


def test_a_dataset_that_does_not_say_what_its_numbers_mean_is_refused_until_it_is_stated(config, written, tmp_path):
    path = shutil.copytree(written, tmp_path / "foreign")
    (path / "meta" / "foreact.json").unlink()
    meta = LeRobotDatasetMetadata("local/foreign", root=path)
    with pytest.raises(SpecError, match=r"(?s)does not say what its numbers mean.*--policy\.action_reference"):
        make_policy(config(), ds_meta=meta)
    stated = {"action_reference": "delta", "action_frame": "end-effector", "action_rotation": "none", "no_gripper": True,
              "state_units": ["m"], "bounds_of_data": True}
    policy = make_policy(config(**stated), ds_meta=meta)
    actions = Dataset.open(path).column("action")
    np.testing.assert_allclose(policy.model.action.low, actions.min(0))


@pytest.mark.parametrize("word, next_step", [("training.batch_size=4", "--batch_size"), ("windows.share=0.5", "--dataset.episodes"),
                                             ("regime=Chunked", "leave it out")])
def test_what_lerobot_decides_is_no_setting(config, word, next_step):
    with pytest.raises(ConfigError, match=next_step):
        _ = config(settings=[word]).run


def test_a_stage_for_some_episodes_only_is_refused_where_the_dataset_has_others(config, meta):
    with pytest.raises(ConfigError, match=r"(?s)the same episodes.*task_index=0, and the dataset has 1 too"):
        make_policy(config(settings=['training.stages.1.only={"task_index":"0"}']), ds_meta=meta)


def test_a_training_that_ends_before_actions_are_learnt_is_refused(config, joint):
    scheduler = config(stage_steps=[30]).get_scheduler_preset()
    optimiser = torch.optim.AdamW(joint.get_optim_params(), lr=1.0)
    with pytest.raises(ConfigError, match="ends before its last stage"):
        scheduler.build(optimiser, 20)
    with pytest.raises(ConfigError, match="one count of steps for each stage but the last"):
        config(stage_steps=[1, 2]).get_scheduler_preset()


def test_each_stage_warms_up_and_cools_down(config, joint):
    cfg = config(settings=["training.schedule.warmup_steps=2"], stage_steps=[10])
    optimiser = torch.optim.AdamW(joint.get_optim_params(), lr=1.0)
    schedule = cfg.get_scheduler_preset().build(optimiser, 20)
    rates = []
    for _ in range(20):
        rates.append(schedule.get_last_lr()[0])
        optimiser.step()
        schedule.step()
    assert rates[:10] == pytest.approx(rates[10:]) and rates[0] == pytest.approx(0.5) and rates[9] < 0.1 < rates[2]


def test_a_run_of_foreact_becomes_a_policy_that_acts_as_the_run_would(joint, tmp_path):
    run, model = joint._run, joint.model
    write(tmp_path / "run" / "checkpoints", Content(step=1, model=model.state_dict(), state={}, progress={"step": 1}, texts={
        "config.json": json.dumps(encode(run)), "specs.json": specs_text(model.observation, model.action)}))
    policy = ForeactPolicy.from_pretrained(convert(tmp_path / "run", tmp_path / "policy"))
    before, _ = make_pre_post_processors(policy.config, str(tmp_path / "policy"))
    policy.reset()
    joint.eval()
    joint._episodes.begun = 0
    joint.reset()
    assert torch.equal(policy.select_action(before(shown(2))), joint.select_action(shown(2)))
    with pytest.raises(ConfigError, match="not empty"):
        convert(tmp_path / "run", tmp_path / "policy")
