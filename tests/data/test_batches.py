"""LeRobot's batches as windows, equal to what this project reads of the same dataset by itself.

The batches are written here by LeRobot's rules; its own loader is asked in `clients/lerobot_policy_foreact/tests`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from foreact.contract.errors import SpecError
from foreact.data.cache import Cache
from foreact.data.lerobot.batches import action_steps, camera_keys, observation_steps, observations_of, window_of, with_what_rows_tell
from foreact.data.stores import FrameStore
from foreact.data.windows import Offsets, Windows

CASES = {
    "present": (Offsets(horizon=3), 1),
    "history": (Offsets(horizon=4, history=(-4, -2, 0), future=(3, 6), past_actions=2), 1),
    "folded": (Offsets(horizon=4, future=(2, 4)), 2),
}


@pytest.fixture(scope="module")
def frames(recorded, tmp_path_factory):
    return FrameStore(recorded, cache=Cache(tmp_path_factory.mktemp("cache")))


def as_lerobot_gives(dataset, frames, rows, offsets, fold):
    """The dictionary of LeRobot's loader: every key that was asked for at its steps, held inside the episode, with its flags."""
    first, last = (np.array([getattr(dataset.episodes[dataset.episode_of_row[r]], end) for r in rows]) for end in ("first", "last"))
    found = {"index": torch.tensor(rows), "task": list(dataset.texts(np.array(rows)))}
    for key, steps in (("action", action_steps(offsets)), *((k, observation_steps(offsets, fold=fold)) for k in
                                                            ("observation.state", *dataset.cameras.values()))):
        wanted = np.array(rows)[:, None] + np.array(steps)
        held = np.clip(wanted, first[:, None], last[:, None])
        camera = {k: name for name, k in dataset.cameras.items()}.get(key)
        values = dataset.column(key)[held] if camera is None else frames.read(camera, held).astype(np.float32) / np.float32(255)
        found |= {key: torch.from_numpy(values), f"{key}_is_pad": torch.from_numpy(held != wanted)}
    return found


@pytest.mark.parametrize("case", CASES)
def test_a_batch_of_lerobots_loader_is_the_window_that_is_read_from_the_dataset(recorded, frames, case):
    offsets, fold = CASES[case]
    rows = [0, 5, 11, 12, 17]
    batch = as_lerobot_gives(recorded, frames, rows, offsets, fold)
    ours = window_of(batch, recorded.specs.observation, offsets=offsets, fold=fold)
    theirs = Windows(recorded, offsets, frames=frames, fold=fold).batch(np.array(rows))
    assert ours.context.instruction == theirs.context.instruction
    for name in ("state", "past_actions", "past_is_pad", "history_is_pad"):
        a, b = getattr(ours.context, name), getattr(theirs.context, name)
        assert (a is None) == (b is None) and (a is None or torch.equal(a, b)), name
    for name in ("actions", "action_is_pad", "future_is_pad", "future_state"):
        assert torch.equal(getattr(ours, name), getattr(theirs, name)), name
    for mine, read in ((ours.context.images, theirs.context.images), (ours.future_images, theirs.future_images),
                       (ours.clip_images, theirs.clip_images)):
        assert mine.keys() == read.keys() and all(torch.equal(mine[c], read[c]) for c in mine)


def test_what_only_other_rows_tell_is_read_by_the_row(recorded, frames):
    offsets = Offsets(horizon=3, future=(2,))
    batch = as_lerobot_gives(recorded, frames, [3, 13], offsets, 1)
    window = window_of(batch, recorded.specs.observation, offsets=offsets)
    rows = Windows(recorded, offsets, images=False)
    told, read = with_what_rows_tell(window, rows, batch), rows.batch(np.array([3, 13]))
    assert (told.value is None) == (read.value is None) and (told.executed is None) == (read.executed is None)
    assert torch.equal(told.actions, read.actions)


def test_pictures_are_made_smaller_as_in_training(recorded, frames, tmp_path):
    spec = recorded.specs.observation
    small = replace(spec, cameras=tuple(replace(c, height=c.height // 2, width=c.width // 2) for c in spec.cameras))
    offsets = Offsets(horizon=2)
    window = window_of(as_lerobot_gives(recorded, frames, [4], offsets, 1), small, offsets=offsets)
    half = FrameStore(recorded, size=(small.cameras[0].height, small.cameras[0].width), cache=Cache(tmp_path))
    assert np.array_equal(window.context.images["left"][0].numpy(), half.read("left", np.array([4])))


def test_an_environments_observation_has_no_time_axis_and_perhaps_no_words(recorded, frames):
    spec = recorded.specs.observation
    images = {f"observation.images.{side}": frames.read(side, np.array([2, 3])) for side in ("left", "right")}
    batch = {k: torch.from_numpy(x.astype(np.float32) / 255) for k, x in images.items()} | {"observation.state": torch.zeros(2, 3)}
    first, second = observations_of(batch, spec)
    assert np.array_equal(second["images"]["right"], images["observation.images.right"][1]) and first["instruction"] == ""
    assert observations_of(batch | {"task": ["a", "b"]}, spec)[1]["instruction"] == "b"


def test_one_camera_without_a_name_is_called_image():
    assert camera_keys(("observation.image", "observation.images.top", "observation.images.top_is_pad", "observation.state")) == {
        "image": "observation.image", "top": "observation.images.top"}


@pytest.mark.parametrize("spoil, where", [
    (lambda b: b.pop("observation.images.left"), "observation.images.left"),
    (lambda b: b.update({"observation.state": b["observation.state"][:, 0]}), "observation.state"),
    (lambda b: b.update({"action": b["action"][:, :1]}), "action"),
    (lambda b: b.update({"task": ["only one"]}), "task"),
])
def test_a_batch_of_another_form_is_refused_by_its_key(recorded, frames, spoil, where):
    offsets = Offsets(horizon=3)
    batch = as_lerobot_gives(recorded, frames, [0, 1], offsets, 1)
    spoil(batch)
    with pytest.raises(SpecError, match=where):
        window_of(batch, recorded.specs.observation, offsets=offsets)
