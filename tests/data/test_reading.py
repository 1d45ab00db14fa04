"""Datasets that LeRobot wrote, read frame by frame; and what reading broken ones says."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest

from foreact.contract.errors import ConfigError, DatasetError, SpecError
from foreact.data.decoding import DecoderCache, PyAVDecoder, match_times
from foreact.data.lerobot import Dataset, StatedConventions
from foreact.data.lerobot.conventions import derive_specs


def expected_errors(frames: np.ndarray, episode: int) -> float:
    """The largest error against the picture that EXPECTED.json describes, away from the blurred edges of the column."""
    worst = 0.0
    for t, frame in enumerate(frames.astype(float)):
        x = 4 * t % 72
        background = np.ones(frame.shape[2], dtype=bool)
        background[max(0, x - 2):x + 10] = False
        worst = max(worst, np.abs(frame[:, :, x + 2:x + 6] - 255).max(), np.abs(frame[0][:, background] - (40 + 70 * episode)).max(),
                    np.abs(frame[1][:, background] - 40).max())
    return worst


def test_every_frame_state_and_action_of_lerobots_own_files(sample):
    expected = json.loads((sample / "EXPECTED.json").read_text())
    dataset = Dataset.open(sample)
    assert [episode.length for episode in dataset.episodes] == expected["lengths"]
    assert dataset.info.fps == expected["fps"]
    for i, length in enumerate(expected["lengths"]):
        t = np.arange(length)
        np.testing.assert_array_equal(dataset.rows("observation.state", i), np.stack([np.full(length, i), t, 100 * i + t], 1))
        np.testing.assert_allclose(dataset.rows("action", i), np.stack([t / 10, -t / 10], 1), atol=1e-6)
        frames = dataset.frames("top", i)
        assert frames.shape == (length, 3, 64, 80)
        # A neighbouring frame has its white column four pixels further, which is an error of about 200.
        assert expected_errors(frames, i) < 16
        assert dataset.texts(np.array([dataset.episodes[i].first])) == (expected["tasks"][i],)


def test_frames_asked_for_in_any_order_are_the_same(sample):
    dataset = Dataset.open(sample)
    for episode in (1, 0, 1):
        whole = dataset.frames("top", episode)
        for indices in ([5], [10, 0, 3], [2, 2, 9], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]):
            np.testing.assert_array_equal(dataset.frames("top", episode, np.array(indices)), whole[indices])


def test_stored_statistics_of_each_version(sample):
    mean = Dataset.open(sample).stored_statistics["action"]["mean"]
    values = Dataset.open(sample).column("action")
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-5)


@pytest.mark.parametrize(("version", "said"), [("v1.6", "v1.6"), ("v3.1", "v3.1"), (None, "missing")])
def test_unknown_or_missing_version(damaged, version, said):
    file = damaged / "meta" / "info.json"
    info = json.loads(file.read_text())
    info["codebase_version"] = version
    file.write_text(json.dumps(info))
    with pytest.raises(DatasetError, match=r"v2\.0, v2\.1, v3\.0") as caught:
        Dataset.open(damaged)
    assert said in str(caught.value)


def test_not_a_dataset(tmp_path):
    with pytest.raises(DatasetError, match="no such folder"):
        Dataset.open(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="missing"):
        Dataset.open(tmp_path)


def test_a_truncated_info_file(damaged):
    file = damaged / "meta" / "info.json"
    file.write_text(file.read_text()[:200])
    with pytest.raises(DatasetError, match="cut off"):
        Dataset.open(damaged)


def cut(file, share):
    os.truncate(file, int(file.stat().st_size * share))


def test_a_truncated_parquet_file(damaged):
    cut(next((damaged / "data").rglob("*.parquet")), 0.6)
    with pytest.raises(DatasetError, match="cut off"):
        Dataset.open(damaged).column("action")
    cut(next((damaged / "meta" / "episodes").rglob("*.parquet")), 0.6)
    with pytest.raises(DatasetError, match="cut off"):
        Dataset.open(damaged)


def test_a_truncated_video(damaged):
    cut(next((damaged / "videos" / "observation.images.left").rglob("*.mp4")), 0.6)
    dataset = Dataset.open(damaged)
    with pytest.raises(DatasetError, match="cut off or damaged"):
        dataset.frames("left", 0)
    assert len(dataset.frames("right", 0)) == 12


def test_a_video_damaged_in_the_middle(damaged):
    file = next((damaged / "videos" / "observation.images.left").rglob("*.mp4"))
    data = bytearray(file.read_bytes())
    start = data.index(b"mdat") + 4
    data[start + 700:start + 2500] = bytes(1800)
    file.write_bytes(data)
    with pytest.raises(DatasetError, match="cut off or damaged"):
        Dataset.open(damaged).frames("left", 0)


def test_a_missing_video_file(damaged):
    next((damaged / "videos" / "observation.images.left").rglob("*.mp4")).unlink()
    with pytest.raises(DatasetError, match="missing"):
        Dataset.open(damaged).frames("left", 0)


def test_a_video_with_too_few_frames_never_repeats_one(world, damaged, tmp_path):
    """The video of another, shorter dataset: the frames at its end do not exist."""
    other = world.write(tmp_path / "short", (12, 1, 3))
    source = next((other.root / "videos" / "observation.images.left").rglob("*.mp4"))
    next((damaged / "videos" / "observation.images.left").rglob("*.mp4")).write_bytes(source.read_bytes())
    dataset = Dataset.open(damaged)
    assert len(dataset.frames("left", 2, np.arange(3))) == 3
    with pytest.raises(DatasetError, match="no frame at the time"):
        dataset.frames("left", 2)


def test_the_wrong_fps(damaged):
    """Timestamps at another rate than the video's meet no frame."""
    file = next((damaged / "data").rglob("*.parquet"))
    table = pq.read_table(file)
    stamps = table["timestamp"].to_numpy() * 10 / 12.5
    table = table.set_column(table.column_names.index("timestamp"), "timestamp", [stamps.astype(np.float32)])
    pq.write_table(table, file)
    with pytest.raises(DatasetError, match="no frame at the time"):
        Dataset.open(damaged).frames("left", 0)


def test_a_camera_that_is_not_there(recorded):
    with pytest.raises(DatasetError, match="left, right"):
        recorded.frames("wrist", 0)
    with pytest.raises(DatasetError, match=r"0\.\.11"):
        recorded.frames("left", 0, np.array([12]))
    with pytest.raises(DatasetError, match=r"observation\.state"):
        recorded.column("observation.stat")


def test_rows_that_are_missing(damaged):
    file = next((damaged / "data").rglob("*.parquet"))
    pq.write_table(pq.read_table(file).slice(0, 15), file)
    with pytest.raises(DatasetError, match="15 rows"):
        Dataset.open(damaged).column("action")
    with pytest.raises(DatasetError, match="rows of an episode are missing"):
        Dataset.open(damaged).rows("action", 2)


def test_row_groups_of_older_files(damaged, world):
    """One row group for all episodes, as LeRobot 0.4.0 wrote them."""
    file = next((damaged / "data").rglob("*.parquet"))
    pq.write_table(pq.read_table(file), file)
    dataset = Dataset.open(damaged)
    assert pq.ParquetFile(file).num_row_groups == 1
    for episode, length in enumerate((12, 1, 7)):
        np.testing.assert_array_equal(dataset.rows("action", episode), world.action(episode, length))


def test_open_videos_are_bounded(recorded, world, tmp_path):
    dataset = world.write(tmp_path / "many", (2, 2, 2), video_file_mb=0)
    files = {episode.videos["observation.images.left"].file for episode in dataset.episodes}
    assert len(files) == 3
    cache = DecoderCache(PyAVDecoder, most=2)
    for file in sorted(files):
        cache.get(file)
    assert len(cache) == 2
    assert cache.get(sorted(files)[-1]) is cache.get(sorted(files)[-1])
    cache.close()


def test_times_between_frames_are_refused(recorded):
    decoder = recorded.video(recorded.episodes[0].videos["observation.images.left"].file)
    np.testing.assert_array_equal(match_times(decoder, np.array([0.1, 0.31]), fps=10, where="x"), [1, 3])
    with pytest.raises(DatasetError, match="no frame at the time"):
        match_times(decoder, np.array([0.15]), fps=10, where="x")


def test_specs_are_read_back(recorded, world):
    assert recorded.specs == world.specs


def test_foreign_conventions_are_never_guessed(sample):
    dataset = Dataset.open(sample)
    assert dataset.specs is None
    with pytest.raises(SpecError, match="--action-reference") as caught:
        dataset.specs_or_stated()
    assert "--gripper" in str(caught.value) and "--state-units" in str(caught.value)
    stated = StatedConventions(action_reference="delta", action_frame="end-effector", action_rotation="none", action_low=(-2.0,),
                               action_high=(2.0, 3.0), no_gripper=True, state_units=("m",))
    specs = dataset.specs_or_stated(stated)
    assert specs.action.names == ("dx", "dy") and specs.action.high == (2.0, 3.0) and specs.action.low == (-2.0, -2.0)
    assert specs.observation.state.units == ("m", "m", "m") and specs.observation.camera("top").width == 80
    with pytest.raises(SpecError, match="joint_positions"):
        derive_specs(dataset.info.features, fps=10, stated=stated, where="x", action_key="joint_positions")


def test_torchcodec_gives_the_same_frames(recorded):
    try:
        from torchcodec.decoders import VideoDecoder  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        pytest.skip("torchcodec does not work here")
    theirs, ours = Dataset.open(recorded.root, decoder="torchcodec"), Dataset.open(recorded.root, decoder="pyav")
    for camera in ("left", "right"):
        for episode in range(3):
            np.testing.assert_array_equal(theirs.frames(camera, episode), ours.frames(camera, episode))
    np.testing.assert_array_equal(theirs.frames("left", 0, np.array([9, 2, 2])), ours.frames("left", 0, np.array([9, 2, 2])))


def test_choosing_a_decoder(recorded):
    with pytest.raises(ConfigError, match="auto, pyav, torchcodec"):
        Dataset.open(recorded.root, decoder="opencv")
    assert Dataset.open(recorded.root, decoder="pyav").decoder is PyAVDecoder
