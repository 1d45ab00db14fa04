"""Datasets that are only watched: they train what predicts the future, and their actions are never read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import ACTION, FITTED, OBSERVATION, losses_of, tiny_model, write_dataset

from foreact.contract.errors import ConfigError, DatasetError, SpecError
from foreact.contract.specs import ActionSpec, CameraSpec
from foreact.data.cache import Cache
from foreact.data.lerobot import Dataset, DatasetWriter, Feature
from foreact.data.lerobot.conventions import Specs, standard_features
from foreact.training.checkpoint import load_model
from foreact.training.prepare import open_material
from foreact.training.run import Stage
from foreact.training.trainer import train
from foreact.training.video import Together, together, watch

OTHER_ACTION = ActionSpec(names=("a", "b", "c"), low=(-9.0,) * 3, high=(9.0,) * 3, rate_hz=10.0, reference="absolute", frame="joint")


def write_video(path: Path, *, actions: int = 0, observation=OBSERVATION, fps: float = 10, provenance=None) -> Path:
    """Four episodes of another robot with three joints, which says when it succeeds. actions: the seed of its actions alone."""
    generator, acts = np.random.default_rng(9), np.random.default_rng(actions)
    features = standard_features(observation, OTHER_ACTION, images_as="image", extra={"next.success": Feature(dtype="bool", shape=(1,))})
    specs = Specs(observation=observation, action=OTHER_ACTION, provenance=provenance or {})
    with DatasetWriter(path, fps=fps, features=features, specs=specs) as writer:
        for _ in range(4):
            images = {c.name: generator.integers(0, 256, (9, 3, c.height, c.width), dtype=np.uint8) for c in observation.cameras}
            writer.add_episode({"observation.state": generator.normal(0, 1, (9, observation.state.size)).astype(np.float32),
                                "action": acts.uniform(-9, 9, (9, 3)).astype(np.float32), "next.success": np.arange(9) > 6},
                               task="watch", images=images)
    return path


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    return {"own": write_dataset(root / "own"), "video": write_video(root / "video"), "same": write_video(root / "same", actions=1)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


def both(places: dict[str, Path], cache: Cache, run=FITTED, encode_once: bool = False):
    run = replace(run, windows=replace(run.windows, encode_once=encode_once))
    material = open_material(run, Dataset.open(places["own"]), stated=None, cache=cache)
    return together(tiny_model(run), run, material, [watch(run, material, places["video"])])


@pytest.mark.parametrize("encode_once", [False, True])
def test_a_batch_holds_both_and_hides_how_the_other_acted(places, cache, encode_once) -> None:
    source, chosen = both(places, cache, encode_once=encode_once)
    assert isinstance(source, Together) and chosen == {}
    own, count = int(source.starts[1]), len(source)
    assert count - own == 4 * 9
    window = source.batch(np.array([own + 3, 0, own, 5]))
    assert window.has_action.tolist() == [True, True, False, False] and window.context.instruction[2:] == ("watch", "watch")
    assert window.actions.shape == (4, 4, ACTION.size) and not window.actions[2:].any() and window.actions[:2].abs().min() > 0
    alone = source.batch(np.array([own, own + 1]))
    assert not alone.has_action.any() and not alone.actions.any()
    pictures = window.encoded["view"] if encode_once else window.context.images["front"]
    assert not torch.equal(pictures[0], pictures[2])


def test_a_stage_of_actions_alone_does_not_draw_from_video(places, cache) -> None:
    first, second = FITTED.training.stages
    run = replace(FITTED, training=replace(FITTED.training, stages=(first, Stage(name="act", train=("action",), steps=2), second)))
    source, chosen = both(places, cache, run)
    assert set(chosen) == {"act"} and chosen["act"].max() < source.starts[1] and len(chosen["act"]) == source.starts[1]


def test_video_teaches_the_future_and_what_its_robot_did_makes_no_difference(places, cache, tmp_path) -> None:
    for name, videos in {"none": [], "video": [places["video"]], "same": [places["same"]]}.items():
        train(FITTED, dataset=places["own"], videos=videos, out=tmp_path / name, cache=cache, device="cpu")
    assert losses_of(tmp_path / "video") == losses_of(tmp_path / "same") != losses_of(tmp_path / "none")
    weights = {name: load_model(tmp_path / name).state_dict() for name in ("none", "video", "same")}
    assert all(torch.equal(value, weights["same"][name]) for name, value in weights["video"].items())
    fitted = [name for name in weights["none"] if name.startswith(("substrate.", "normalisation."))]
    assert fitted and all(torch.equal(weights["none"][name], weights["video"][name]) for name in fitted)
    video = next(p for p in (tmp_path / "video").glob("checkpoints/*/README.md"))
    assert "beside it as video" in video.read_text()


def test_a_run_goes_on_with_the_video_that_it_began_with(places, cache, tmp_path) -> None:
    train(FITTED, dataset=places["own"], videos=[places["video"]], out=tmp_path / "run", cache=cache, device="cpu")
    train(FITTED, dataset=places["own"], videos=[places["video"]], out=tmp_path / "run", cache=cache, device="cpu", resume=True)
    for videos in ([], [places["same"]]):
        with pytest.raises(ConfigError, match="other data"):
            train(FITTED, dataset=places["own"], videos=videos, out=tmp_path / "run", cache=cache, device="cpu", resume=True)


@pytest.mark.parametrize(("change", "found"), [
    ({"observation": replace(OBSERVATION, cameras=(CameraSpec(name="side", height=16, width=16),))}, "camera front: none"),
    ({"observation": replace(OBSERVATION, cameras=(CameraSpec(name="front", height=24, width=32),))}, "camera front: 24 x 32"),
    ({"fps": 20}, "frames per second: 20")])
def test_video_that_shows_something_else_is_refused_in_one_sentence(change, found, cache, tmp_path, places) -> None:
    material = open_material(FITTED, Dataset.open(places["own"]), stated=None, cache=cache)
    with pytest.raises(SpecError, match="does not show what the demonstrations show") as error:
        watch(FITTED, material, write_video(tmp_path / "odd", **change))
    assert found in str(error.value) and "next" in str(error.value)


def test_video_of_another_size_is_taken_where_all_is_resized(cache, tmp_path, places) -> None:
    run = replace(FITTED, windows=replace(FITTED.windows, image_size=(8, 8)))
    material = open_material(run, Dataset.open(places["own"]), stated=None, cache=cache)
    wide = write_video(tmp_path / "wide", observation=replace(OBSERVATION, cameras=(CameraSpec(name="front", height=24, width=32),)))
    assert watch(run, material, wide).frames.read("front", np.arange(2)).shape == (2, 3, 8, 8)


def test_another_embodiment_is_no_demonstration(cache, tmp_path) -> None:
    other = write_video(tmp_path / "other", provenance={"imitate": False})
    with pytest.raises(DatasetError, match="not to be imitated") as error:
        open_material(FITTED, Dataset.open(other), stated=None, cache=cache)
    assert "--video" in str(error.value)
