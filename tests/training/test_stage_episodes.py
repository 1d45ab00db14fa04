"""Stages that learn from some episodes only: video of all conditions first, then demonstrations of one (MV-WAM, section 4.1)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_training import ACTION, FITTED, OBSERVATION, losses_of, tiny_model

from foreact.contract.errors import ConfigError, TrainingError
from foreact.contract.normalisation import FeatureStatistics
from foreact.data.cache import Cache
from foreact.data.lerobot import Dataset, DatasetWriter, Feature
from foreact.data.lerobot.conventions import Specs, standard_features
from foreact.training.feed import feed
from foreact.training.parallel import Team
from foreact.training.prepare import normalise, open_material, stage_windows, windows
from foreact.training.run import Run
from foreact.training.trainer import train

CLEAN = {"condition": "clean"}


def staged(**only: str) -> Run:
    """The second stage, of actions, is limited."""
    first, second = FITTED.training.stages
    return replace(FITTED, training=replace(FITTED.training, stages=(first, replace(second, only=only))))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six episodes, clean and random in turn; the actions of random ones are ten times as large."""
    generator, path = np.random.default_rng(0), tmp_path_factory.mktemp("data") / "mixed"
    features = standard_features(OBSERVATION, ACTION, images_as="image", extra={"condition": Feature(dtype="string", shape=(1,))})
    with DatasetWriter(path, fps=10, features=features, specs=Specs(observation=OBSERVATION, action=ACTION)) as writer:
        for episode in range(8):
            clean = episode % 2 == 0
            actions = generator.uniform(-0.1, 0.1, (9, 2)) * (1 if clean else 10)
            states = generator.normal(0, 1, (9, 2)).astype(np.float32)
            writer.add_episode({"observation.state": states, "action": actions.astype(np.float32),
                                "condition": np.array(["clean" if clean else "random"] * 9)},
                               task="move", images={"front": generator.integers(0, 256, (9, 3, 16, 16), dtype=np.uint8)})
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


def source_of(run: Run, path: Path, cache: Cache):
    material = open_material(run, Dataset.open(path), stated=None, cache=cache)
    run = replace(run, windows=replace(run.windows, encode_once=False))
    return windows(tiny_model(run), run, material, material.train)


def test_a_limited_stage_sees_its_episodes_and_the_other_all(mixed: Path, cache: Cache) -> None:
    run = staged(**CLEAN)
    source = source_of(run, mixed, cache)
    chosen, condition = stage_windows(source, run), source.dataset.column("condition")
    assert set(chosen) == {"joint"}
    seen: dict[str, set[str]] = {"video": set(), "joint": set()}
    with feed(source, run.training, Team(0, 1), chosen=chosen) as batches:
        for step in range(12):
            stage, within = ("video", step) if step < 6 else ("joint", step - 6)
            for part in batches.take(stage, step=step, stage_step=within):
                seen[stage] |= {str(condition[int(row)]) for row in part.window.extras["row"]}
    assert seen == {"video": {"clean", "random"}, "joint": {"clean"}}


def test_the_scale_of_actions_comes_from_where_actions_are_learnt(mixed: Path, cache: Cache, tmp_path: Path) -> None:
    from foreact.training.checkpoint import load_model

    for only, largest in ((CLEAN, 0.1), ({}, 1.0)):
        out = tmp_path / f"run{len(only)}"
        train(staged(**only), dataset=mixed, out=out, cache=cache, device="cpu")
        deviation = load_model(out).action_scaler.scale
        assert (deviation < largest).all()
        assert (deviation > 0.4 * largest / 3).all()


def test_hidden_actions_say_nothing_of_their_scale(mixed: Path, cache: Cache) -> None:
    """The scale is that of the episodes whose actions training sees, to the last bit; with none left there is nothing to learn."""
    run = replace(FITTED, windows=replace(FITTED.windows, action_free=0.5))
    material = open_material(run, Dataset.open(mixed), stated=None, cache=cache)
    model = tiny_model(run)
    normalise(model, run, material)
    source = windows(model, replace(run, windows=replace(run.windows, encode_once=False)), material, material.train)
    free = ~source.batch(np.arange(len(source))).has_action.numpy()
    assert 0 < free.sum() < len(free)
    rows = source.rows[~free]
    seen = FeatureStatistics.of(material.dataset.column("action")[rows])
    assert np.allclose(model.action_scaler.scale.numpy(), seen.std, atol=1e-6)
    with pytest.raises(ConfigError, match="all are hidden"):
        normalise(model, replace(run, windows=replace(run.windows, action_free=1.0)), material)


def test_going_on_within_a_limited_stage_changes_nothing(mixed: Path, cache: Cache, tmp_path: Path) -> None:
    run, whole, cut = staged(**CLEAN), tmp_path / "whole", tmp_path / "cut"
    run = replace(run, training=replace(run.training, checkpoints=replace(run.training.checkpoints, every_steps=1, keep_last=20)))
    train(run, dataset=mixed, out=whole, cache=cache, device="cpu")
    train(run, dataset=mixed, out=cut, cache=cache, device="cpu")
    for folder in sorted((cut / "checkpoints").iterdir()):
        if folder.is_dir() and int(folder.name.split("-")[-1]) > 6:
            for file in folder.rglob("*"):
                file.unlink()
            folder.rmdir()
    train(run, dataset=mixed, out=cut, cache=cache, device="cpu", resume=True)
    assert losses_of(cut) == losses_of(whole)


def test_a_column_that_is_not_there_limits_nothing(mixed: Path, cache: Cache) -> None:
    run = staged(weather="fair")
    assert stage_windows(source_of(run, mixed, cache), run) == {}


def test_a_value_that_no_episode_has_is_refused(mixed: Path, cache: Cache) -> None:
    run = staged(condition="clear")
    with pytest.raises(ConfigError, match=r"only\.condition(.|\n)*clean, random"):
        stage_windows(source_of(run, mixed, cache), run)


def test_too_few_windows_for_a_batch_are_refused(mixed: Path, cache: Cache) -> None:
    run = staged(**CLEAN)
    run = replace(run, training=replace(run.training, batch_size=60, micro_batches=1))
    source = source_of(run, mixed, cache)
    with pytest.raises(TrainingError, match=r"stages\[joint\]\.only"), \
            feed(source, run.training, Team(0, 1), chosen=stage_windows(source, run)):
        pass
