"""Windows against a brute-force reading of the definition, and the order in which they come."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foreact.contract.errors import ConfigError, DatasetError, TrainingError
from foreact.data.cache import Cache
from foreact.data.lerobot import Dataset, DatasetWriter, Feature
from foreact.data.loading import loader, split_episodes
from foreact.data.sampling import SamplerState, ShuffledSampler
from foreact.data.stores import FrameStore
from foreact.data.windows import Offsets, Windows, collate, offsets_from_seconds, steps_from_seconds


@pytest.fixture(scope="module")
def store(recorded, tmp_path_factory):
    return FrameStore(recorded, cache=Cache(tmp_path_factory.mktemp("cache")))


@st.composite
def offsets(draw):
    history = [*sorted(set(draw(st.lists(st.integers(-5, -1), max_size=3)))), 0]
    future = sorted(set(draw(st.lists(st.integers(1, 15), max_size=3))))
    return Offsets(horizon=draw(st.integers(1, 14)), history=tuple(history), future=tuple(future), past_actions=draw(st.integers(0, 3)))


def brute_force(dataset, store, row, steps):
    """Rows and flags for one present, frame by frame."""
    episode = dataset.episodes[dataset.episode_of_row[row]]
    rows, pads = [], []
    for step in steps:
        wanted = row + step
        pads.append(not episode.first <= wanted <= episode.last)
        rows.append(min(max(wanted, episode.first), episode.last))
    return rows, pads


@given(o=offsets(), indices=st.lists(st.integers(0, 19), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_every_entry_is_what_the_definition_says(recorded, store, o, indices):
    window = Windows(recorded, o, frames=store).batch(np.array(indices))
    state, action = recorded.column("observation.state"), recorded.column("action")
    for b, row in enumerate(indices):
        history, pads = brute_force(recorded, store, row, o.history)
        np.testing.assert_array_equal(window.context.state[b], state[history])
        np.testing.assert_array_equal(window.context.history_is_pad[b], pads)
        future, future_pads = brute_force(recorded, store, row, o.future)
        np.testing.assert_array_equal(window.future_is_pad[b], np.array(future_pads, dtype=bool))
        steps, action_pads = brute_force(recorded, store, row, range(o.horizon))
        np.testing.assert_array_equal(window.actions[b], action[steps])
        np.testing.assert_array_equal(window.action_is_pad[b], action_pads)
        for camera in ("left", "right"):
            for place, r in enumerate(history):
                np.testing.assert_array_equal(window.context.images[camera][b, place], store.read(camera, np.array(r)))
            for place, r in enumerate(future):
                np.testing.assert_array_equal(window.future_images[camera][b, place], store.read(camera, np.array(r)))
        if o.past_actions:
            past, past_pads = brute_force(recorded, store, row, range(-o.past_actions, 0))
            np.testing.assert_array_equal(window.context.past_actions[b], np.where(np.array(past_pads)[:, None], 0, action[past]))
            np.testing.assert_array_equal(window.context.past_is_pad[b], past_pads)
        np.testing.assert_array_equal(window.future_state[b], state[future])
        assert window.context.instruction[b] == recorded.episodes[recorded.episode_of_row[row]].tasks[0]
    assert window.future_offsets == o.future and window.has_action.all()


def test_decoded_and_stored_frames_are_the_same(recorded, store):
    o = Offsets(horizon=2, history=(-1, 0), future=(3,))
    decoded, stored = Windows(recorded, o).batch(np.array([0, 11, 12, 17])), Windows(recorded, o, frames=store).batch(
        np.array([0, 11, 12, 17]))
    assert torch.equal(decoded.context.images["left"], stored.context.images["left"])
    assert torch.equal(decoded.future_images["right"], stored.future_images["right"])
    true = recorded.frames("left", 2, np.array([4]))
    np.testing.assert_array_equal(decoded.context.images["left"][3, 1], true[0])


def test_only_the_chosen_episodes(recorded, store):
    windows = Windows(recorded, Offsets(horizon=3), frames=store, episodes=[2, 0], cameras=["right"])
    assert windows.rows.tolist() == [*range(12), *range(13, 20)] and len(windows) == 19
    window = windows.batch(np.arange(19))
    assert set(window.extras["episode"].tolist()) == {0, 2} and list(window.context.images) == ["right"]
    for wrong in ([3], [-1], []):
        with pytest.raises(ConfigError, match="no such episodes"):
            Windows(recorded, Offsets(horizon=3), episodes=wrong)
    with pytest.raises(DatasetError, match="no such camera"):
        Windows(recorded, Offsets(horizon=3), cameras=["top"])


def test_goal_extras_and_no_images(recorded, store):
    window = Windows(recorded, Offsets(horizon=1), frames=store, goal=True, extras=["timestamp"]).batch(np.array([3]))
    np.testing.assert_array_equal(window.context.goal_images["left"][0], recorded.frames("left", 0, np.array([11]))[0])
    assert window.extras["timestamp"].tolist() == pytest.approx([0.3])
    bare = Windows(recorded, Offsets(horizon=1), images=False).batch(np.array([3]))
    assert bare.context.images == {} and bare.future_images == {}


def test_video_without_actions(recorded, store):
    window = Windows(recorded, Offsets(horizon=4), frames=store, action_key=None, action_size=7).batch(np.array([0, 1]))
    assert window.actions.shape == (2, 4, 7) and not window.actions.any() and not window.has_action.any()
    with pytest.raises(ConfigError, match="size"):
        Windows(recorded, Offsets(horizon=4), action_key=None)


def test_a_torch_data_loader(recorded, store):
    windows = Windows(recorded, Offsets(horizon=3, future=(2,)), frames=store)
    batches = list(torch.utils.data.DataLoader(windows, batch_size=6, collate_fn=collate))
    assert [batch.context.batch for batch in batches] == [6, 6, 6, 2]
    whole = windows.batch(np.arange(6, 12))
    assert torch.equal(batches[1].actions, whole.actions) and batches[1].context.instruction == whole.context.instruction
    assert torch.equal(batches[1].future_images["left"], whole.future_images["left"])


def test_seconds_as_lerobot_writes_them():
    times = {"observation.images.left": [-0.2, 0.0, 0.4], "observation.state": [-0.2, 0.0], "action": [0.0, 0.1, 0.2]}
    assert offsets_from_seconds(times, fps=10) == Offsets(horizon=3, history=(-2, 0), future=(4,))
    assert steps_from_seconds([1 / 30, 2 / 30 + 5e-5], fps=30) == (1, 2)
    for wrong, said in (({"action": [0.0, 0.15]}, "between two frames"), ({"action": [0.0, 0.2]}, "follow one another"),
                        ({"observation.images.a": [0.0], "observation.images.b": [0.0, 0.1]}, "same times"),
                        ({"observation.images.a": [0.0], "observation.state": [-0.1, 0.0]}, "history")):
        with pytest.raises(ConfigError, match=said):
            offsets_from_seconds(wrong, fps=10)


@pytest.mark.parametrize("wrong", [{"horizon": 0}, {"history": (-1,)}, {"history": (0, -1)}, {"future": (0, 2)}, {"future": (3, 1)}])
def test_offsets_that_are_not_a_window(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Offsets(**{"horizon": 1, **wrong})


def test_an_infinite_number_is_refused(tmp_path, world):
    with DatasetWriter(tmp_path / "d", fps=10, features={"action": Feature(dtype="float32", shape=(1,)),
                                                         "speed": Feature(dtype="float32", shape=(1,))}) as writer:
        writer.add_episode({"action": np.zeros(3), "speed": np.array([0, np.nan, 0])}, task="t")
    with pytest.raises(DatasetError, match="row 1"):
        Windows(Dataset.open(tmp_path / "d"), Offsets(horizon=1), state_key="speed", images=False)


# --- order ------------------------------------------------------------------------------------------------------------


def test_an_epoch_takes_every_sample_once():
    sampler = ShuffledSampler(100, batch_size=10, seed=3)
    first, second = ([int(i) for _ in range(10) for i in next(sampler)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(100)) and first != second
    assert [int(i) for i in next(ShuffledSampler(100, batch_size=10, seed=3))] == first[:10]
    assert [int(i) for i in next(ShuffledSampler(100, batch_size=10, seed=4))] != first[:10]


@given(count=st.integers(6, 60), batch=st.integers(1, 3), world=st.integers(1, 2), stop=st.integers(0, 40))
@settings(max_examples=80, deadline=None)
def test_resuming_gives_the_very_same_batches(count, batch, world, stop):
    for rank in range(world):
        one = ShuffledSampler(count, batch_size=batch, seed=7, rank=rank, world_size=world)
        for _ in range(stop):
            next(one)
        state = SamplerState.from_json(one.state.to_json())
        two = ShuffledSampler(count, batch_size=batch, seed=7, rank=rank, world_size=world, state=state)
        for _ in range(20):
            np.testing.assert_array_equal(next(one), next(two))


def test_ranks_share_the_batches_of_one_process():
    alone = ShuffledSampler(50, batch_size=8, seed=1)
    ranks = [ShuffledSampler(50, batch_size=4, seed=1, rank=r, world_size=2) for r in range(2)]
    for _ in range(20):
        np.testing.assert_array_equal(next(alone), np.concatenate([next(rank) for rank in ranks]))


def test_places_that_belong_to_something_else():
    with pytest.raises(TrainingError, match="smaller batch"):
        ShuffledSampler(5, batch_size=6, seed=0)
    with pytest.raises(ConfigError, match="other data"):
        ShuffledSampler(5, batch_size=2, seed=0, state=SamplerState(seed=0, count=6))
    with pytest.raises(ConfigError, match="rank"):
        ShuffledSampler(5, batch_size=2, seed=0, rank=1)


@pytest.mark.parametrize("ahead", [0, 3])
def test_the_loader_resumes_to_the_batch(recorded, store, ahead):
    windows = Windows(recorded, Offsets(horizon=3, future=(1,)), frames=store)
    with loader(windows, batch_size=6, seed=5, ahead=ahead) as one:
        for _ in range(4):
            next(one)
        state = one.state()
        expected = [next(one) for _ in range(5)]
    with loader(windows, batch_size=6, seed=5, ahead=ahead, start_state=state) as two:
        for batch in expected:
            again = next(two)
            assert torch.equal(again.extras["row"], batch.extras["row"])
            assert torch.equal(again.context.images["left"], batch.context.images["left"])


def test_an_error_while_gathering_reaches_the_training_loop(recorded, world, tmp_path):
    dataset = world.write(tmp_path / "d", (9,))
    windows = Windows(dataset, Offsets(horizon=1))
    next((dataset.root / "videos" / "observation.images.left").rglob("*.mp4")).unlink()
    with loader(windows, batch_size=4, seed=0) as batches, pytest.raises(DatasetError, match="missing"):
        next(batches)


def test_held_out_episodes():
    train, held = split_episodes(10, held_out=0.2, seed=0)
    assert len(held) == 2 and sorted(train + held) == list(range(10))
    assert split_episodes(10, held_out=0.0, seed=0) == (tuple(range(10)), ())
    assert split_episodes(10, held_out=0.2, seed=0) == (train, held)
