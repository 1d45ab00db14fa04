"""What we write is LeRobotDataset v3.0, reads back as it was, and is never there by halves."""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foreact.contract.errors import ConfigError, DatasetError, StorageError
from foreact.data.coding import VideoCodec, encode_video, exact_rate
from foreact.data.lerobot import Dataset, DatasetWriter, EncodedEpisode, Feature, merge
from foreact.data.lerobot.columns import arrow_schema


def psnr(found, true):
    return 10 * np.log10(255**2 / np.mean((found.astype(float) - true) ** 2))


def test_round_trip(recorded, world):
    assert recorded.info.version == "v3.0" and recorded.info.robot_type == "toy"
    assert [episode.length for episode in recorded.episodes] == [12, 1, 7]
    for episode, length in enumerate((12, 1, 7)):
        np.testing.assert_array_equal(recorded.rows("observation.state", episode), world.state(episode, length))
        np.testing.assert_array_equal(recorded.rows("action", episode), world.action(episode, length))
        for camera, shift in (("left", 0), ("right", 5)):
            true = world.images(episode, length, shift).transpose(0, 3, 1, 2)
            for found, frame in zip(recorded.frames(camera, episode), true, strict=True):
                assert psnr(found, frame) > 35
        row = recorded.episodes[episode].first
        assert recorded.texts(np.array([row])) == (world.tasks[episode % 2],)


def test_the_files_are_those_of_version_3(recorded):
    root = recorded.root
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert names == {
        "data/chunk-000/file-000.parquet", "meta/episodes/chunk-000/file-000.parquet", "meta/foreact.json", "meta/info.json",
        "meta/stats.json", "meta/tasks.parquet", "videos/observation.images.left/chunk-000/file-000.mp4",
        "videos/observation.images.right/chunk-000/file-000.mp4"}
    data = pq.ParquetFile(root / "data/chunk-000/file-000.parquet")
    assert data.num_row_groups == 3
    assert data.schema_arrow.field("action").type == pa.list_(pa.float32(), 2)
    assert data.schema_arrow.field("timestamp").type == pa.float32()
    episodes = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet")
    assert episodes["dataset_from_index"].to_pylist() == [0, 12, 13]
    assert episodes["videos/observation.images.left/from_timestamp"].to_pylist() == pytest.approx([0.0, 1.2, 1.3])
    assert episodes["stats/action/max"].to_pylist()[0] == pytest.approx([0.55, 0.5])
    info = json.loads((root / "meta/info.json").read_text())
    assert (info["total_frames"], info["total_episodes"], info["total_tasks"]) == (20, 3, 2)
    assert info["splits"] == {"train": "0:3"} and info["features"]["observation.images.left"]["info"]["video.codec"] == "h264"
    tasks = pq.read_table(root / "meta/tasks.parquet")
    assert json.loads(tasks.schema.metadata[b"pandas"])["index_columns"] == ["__index_level_0__"]


def test_schema_equals_that_of_lerobots_own_file():
    """Column types of shared features, against the sample that LeRobot 0.4.4 wrote."""
    sample = Path(__file__).parent / "samples" / "lerobot_v30"
    theirs = pq.read_schema(sample / "data/chunk-000/file-000.parquet")
    ours = arrow_schema(Dataset.open(sample).info.features)
    assert ours.remove_metadata() == theirs.remove_metadata()
    told = json.loads(ours.metadata[b"huggingface"])["info"], json.loads(theirs.metadata[b"huggingface"])["info"]
    assert told[0] == told[1]


def test_statistics_are_of_the_data(recorded, world):
    stored = recorded.stored_statistics
    action = np.concatenate([world.action(e, n) for e, n in enumerate((12, 1, 7))]).astype(np.float64)
    for name, value in {"min": action.min(0), "max": action.max(0), "mean": action.mean(0), "std": action.std(0),
                        "q01": np.quantile(action, 0.01, axis=0), "q50": np.quantile(action, 0.5, axis=0),
                        "q99": np.quantile(action, 0.99, axis=0)}.items():
        np.testing.assert_allclose(stored["action"][name], value, atol=1e-12)
    pixels = np.concatenate([world.images(e, n) for e, n in enumerate((12, 1, 7))]).reshape(-1, 3) / 255
    left = stored["observation.images.left"]
    assert left["mean"].shape == (3, 1, 1) and left["count"].tolist() == [20]
    for name, value in {"mean": pixels.mean(0), "std": pixels.std(0), "q10": np.quantile(pixels, 0.1, axis=0),
                        "min": pixels.min(0), "max": pixels.max(0)}.items():
        np.testing.assert_allclose(left[name].reshape(-1), value, atol=1e-9)


def annotations() -> dict[str, Feature]:
    return {
        "observation.state": Feature(dtype="float32", shape=(2,)), "action": Feature(dtype="float32", shape=(1,)),
        "observation.images.top": Feature(dtype="image", shape=(16, 24, 3)),
        "observation.segmentation.top": Feature(dtype="image", shape=(16, 24, 1)),
        "observation.depth.top": Feature(dtype="float16", shape=(16, 24)),
        "observation.depth_mm.top": Feature(dtype="image", shape=(16, 24, 1)),
        "observation.points": Feature(dtype="float32", shape=(5, 3)),
        "observation.contacts": Feature(dtype="bool", shape=(4,)),
        "observation.success": Feature(dtype="bool", shape=(1,)),
        "observation.step_kind": Feature(dtype="string", shape=(1,)),
        "observation.counts": Feature(dtype="int64", shape=(2, 2, 2)),
    }


def test_simulator_annotations_come_back_exactly(tmp_path):
    g, n = np.random.default_rng(0), 6
    given = {
        "observation.state": g.normal(size=(n, 2)).astype(np.float32), "action": g.normal(size=n).astype(np.float32),
        "observation.segmentation.top": g.integers(0, 256, (n, 16, 24, 1), dtype=np.uint8),
        "observation.depth.top": g.random((n, 16, 24)).astype(np.float16),
        "observation.depth_mm.top": g.integers(0, 65536, (n, 16, 24, 1), dtype=np.uint16),
        "observation.points": np.where(g.random((n, 5, 3)) < 0.2, np.nan, 1.0).astype(np.float32),
        "observation.contacts": g.random((n, 4)) < 0.5, "observation.success": np.arange(n) == n - 1,
        "observation.step_kind": np.array(["reach"] * 3 + ["grasp"] * 3), "observation.counts": g.integers(0, 9, (n, 2, 2, 2)),
    }
    images = g.integers(0, 256, (n, 16, 24, 3), dtype=np.uint8)
    with DatasetWriter(tmp_path / "d", fps=20, features=annotations()) as writer:
        writer.add_episode(given, task="look", images={"top": images})
        writer.add_episode({key: value[:2] for key, value in given.items()}, task="look", images={"top": images[:2]})
    dataset = Dataset.open(tmp_path / "d")
    assert list(dataset.cameras) == ["top"]
    for key, value in given.items():
        found = dataset.pictures(key, 0).transpose(0, 2, 3, 1) if dataset.feature(key).is_visual else dataset.rows(key, 0)
        assert dataset.feature(key).dtype in ("image", "string") or found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)
        whole = None if dataset.feature(key).is_visual else dataset.column(key)
        assert whole is None or len(whole) == n + 2
    np.testing.assert_array_equal(dataset.frames("top", 0, np.array([3, 1])), images[[3, 1]].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(dataset.frames("top", 1), images[:2].transpose(0, 3, 1, 2))


def test_task_that_changes_on_the_way(tmp_path, world):
    arrays = world.arrays(0, 6)
    with DatasetWriter(tmp_path / "d", fps=10, features=world.features) as writer:
        writer.add_episode(**arrays, task_steps=["reach"] * 4 + ["grasp"] * 2)
    assert Dataset.open(tmp_path / "d").texts(np.arange(6)) == ("reach",) * 4 + ("grasp",) * 2
    assert Dataset.open(tmp_path / "d").episodes[0].tasks == ("reach", "grasp")


def test_files_roll_over(tmp_path, world):
    dataset = world.write(tmp_path / "d", (8, 8, 8), data_file_mb=0, video_file_mb=0)
    assert len(list((dataset.root / "data").rglob("*.parquet"))) == 3
    assert len(list(dataset.root.rglob("*.mp4"))) == 6
    for episode in range(3):
        assert psnr(dataset.frames("left", episode), world.images(episode, 8).transpose(0, 3, 1, 2)) > 35
        np.testing.assert_array_equal(dataset.rows("observation.state", episode), world.state(episode, 8))


@pytest.mark.parametrize("fps", [10, 12.5, 29.97, 30, 50, 60])
def test_rates(tmp_path, world, fps):
    with DatasetWriter(tmp_path / "d", fps=fps, features=world.features) as writer:
        for episode in range(2):
            writer.add_episode(**world.arrays(episode, 40), index=episode)
    dataset = Dataset.open(tmp_path / "d")
    assert psnr(dataset.frames("left", 1, np.array([39])), world.images(1, 40)[39:].transpose(0, 3, 1, 2)) > 35
    decoder = dataset.video(dataset.episodes[0].videos["observation.images.left"].file)
    np.testing.assert_allclose(decoder.times, np.arange(80) / float(exact_rate(fps)), atol=1e-4)


def test_av1(tmp_path):
    features = {"observation.state": Feature(dtype="float32", shape=(1,)), "action": Feature(dtype="float32", shape=(1,)),
                "observation.images.top": Feature(dtype="video", shape=(64, 64, 3))}
    t, _, x = np.mgrid[0:9, 0:64, 0:64]
    images = np.stack([128 + 100 * np.sin((x + 4 * t) / 20)] * 3, -1).astype(np.uint8)
    codec = VideoCodec(codec="av1", pixel_format="yuv420p", crf=20, keyframe_every=2)
    with DatasetWriter(tmp_path / "d", fps=10, features=features, codec=codec) as writer:
        for shift in (0, 40):
            writer.add_episode({"observation.state": np.zeros((9, 1)), "action": np.zeros((9, 1))}, task="t",
                               images={"top": np.roll(images, shift, 2)})
    dataset = Dataset.open(tmp_path / "d")
    assert len(list(dataset.root.rglob("*.mp4"))) == 1
    assert psnr(dataset.frames("top", 1), np.roll(images, 40, 2).transpose(0, 3, 1, 2)) > 35
    with pytest.raises(ConfigError, match="yuv420p"):
        VideoCodec(codec="av1")
    with pytest.raises(DatasetError, match="even"):
        encode_video(images[:, :63], fps=10, codec=codec)


@pytest.mark.parametrize(("change", "said"), [
    (lambda a: a["frames"].pop("action"), "action"),
    (lambda a: a["frames"].update(reward=np.zeros(6)), "reward"),
    (lambda a: a["frames"].update(action=np.zeros((6, 3), np.float32)), r"float32 \(6, 2\)"),
    (lambda a: a["frames"].update(action=np.zeros((5, 2), np.float32)), "same length"),
    (lambda a: a["frames"].update(action=np.full((6, 2), np.nan)), "not finite"),
    (lambda a: a["frames"].update(action=np.full((6, 2), "x")), "wrong form"),
    (lambda a: a["images"].update(left=np.zeros((6, 16, 16, 3), np.uint8)), "observation.images.left"),
    (lambda a: a["images"].update(left=np.zeros((6, 32, 48, 3), np.float32)), "uint8"),
    (lambda a: a.update(task=""), "task text"),
])
def test_an_episode_that_does_not_fit(tmp_path, world, change, said):
    arrays = world.arrays(0, 6)
    change(arrays)
    writer = DatasetWriter(tmp_path / "d", fps=10, features=world.features)
    with pytest.raises(DatasetError, match=said):
        writer.add_episode(**arrays)
    assert not writer.done


def test_nothing_appears_after_an_error_and_resume_goes_on(tmp_path, world):
    path = tmp_path / "d"
    with pytest.raises(RuntimeError, match="crash"), DatasetWriter(path, fps=10, features=world.features) as writer:
        world.add(writer, 0, 5)
        world.add(writer, 2, 4)
        raise RuntimeError("crash")
    assert not path.exists()
    with pytest.raises(DatasetError, match="other features"):
        DatasetWriter(path, fps=11, features=world.features, resume=True)
    with DatasetWriter(path, fps=10, features=world.features, specs=world.specs, robot_type="toy", resume=True) as writer:
        assert writer.done == {0, 2}
        world.add(writer, 1, 6)
        with pytest.raises(DatasetError, match="already"):
            world.add(writer, 0, 5)
    assert Dataset.open(path).fingerprint == world.write(tmp_path / "straight", (5, 6, 4)).fingerprint
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
    with pytest.raises(DatasetError, match="already"):
        DatasetWriter(path, fps=10, features=world.features)


def test_starting_afresh_forgets(tmp_path, world):
    writer = DatasetWriter(tmp_path / "d", fps=10, features=world.features)
    world.add(writer, 0, 3)
    writer = DatasetWriter(tmp_path / "d", fps=10, features=world.features)
    assert not writer.done
    with pytest.raises(DatasetError, match="at least one episode"):
        writer.finalize()


def encode_in_worker(job):
    encoder, arrays = job
    return encoder.encode(**arrays)


def test_workers_in_parallel_give_the_same_bytes(tmp_path, world):
    straight = world.write(tmp_path / "straight", (5, 6, 4))
    writer = DatasetWriter(tmp_path / "d", fps=10, features=world.features, robot_type="toy", specs=world.specs)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        jobs = [(writer.encoder, world.arrays(e, n)) for e, n in enumerate((5, 6, 4))]
        episodes = pool.map(encode_in_worker, jobs)
    for index in (2, 0, 1):
        writer.add_encoded(episodes[index], index=index)
    writer.finalize()
    assert Dataset.open(tmp_path / "d").fingerprint == straight.fingerprint


def test_an_encoded_episode_survives_its_bytes_and_notices_damage(world, tmp_path):
    writer = DatasetWriter(tmp_path / "d", fps=10, features=world.features)
    data = writer.encoder.encode(**world.arrays(0, 5)).to_bytes()
    again = EncodedEpisode.from_bytes(data, where="x")
    assert again.to_bytes() == data
    with pytest.raises(DatasetError, match="damaged"):
        EncodedEpisode.from_bytes(data[:len(data) // 2], where="x")
    broken = bytearray(data)
    broken[len(data) // 2] ^= 255
    with pytest.raises(DatasetError, match="damaged"):
        EncodedEpisode.from_bytes(bytes(broken), where="x")


def test_merging_keeps_every_frame(recorded, world, tmp_path):
    other = world.write(tmp_path / "other", (3, 9))
    merged = Dataset.open(merge([recorded.root, other.root], tmp_path / "merged"))
    parts = [(recorded, i) for i in range(3)] + [(other, i) for i in range(2)]
    assert merged.specs == world.specs
    for episode, (source, place) in enumerate(parts):
        for camera in ("left", "right"):
            np.testing.assert_array_equal(merged.frames(camera, episode), source.frames(camera, place))
        np.testing.assert_array_equal(merged.rows("action", episode), source.rows("action", place))
        assert merged.episodes[episode].tasks == source.episodes[place].tasks


def test_merging_lerobots_own_files(sample, tmp_path):
    source = Dataset.open(sample)
    merged = Dataset.open(merge([sample, sample], tmp_path / "merged"))
    assert merged.info.version == "v3.0" and len(merged.episodes) == 4
    for episode in range(4):
        np.testing.assert_array_equal(merged.frames("top", episode), source.frames("top", episode % 2))


def test_merging_what_differs(recorded, tmp_path, sample):
    with pytest.raises(DatasetError, match="features"):
        merge([recorded.root, sample], tmp_path / "merged")


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import numpy as np
from foreact.contract.errors import StorageError
from foreact.data.lerobot import DatasetWriter, Feature
noise = np.random.default_rng(0).integers(0, 256, (60, 64, 64, 3), dtype=np.uint8)
features = {"observation.images.top": Feature(dtype=sys.argv[2], shape=(64, 64, 3)), "action": Feature(dtype="float32", shape=(1,))}
writer = DatasetWriter(sys.argv[1], fps=10, features=features)
for i in range(2):
    writer.add_episode({"action": np.zeros(60)}, task="t", images={"top": noise})
size = sum(file.stat().st_size for file in writer._work.iterdir()) // 2
resource.setrlimit(resource.RLIMIT_FSIZE, (int(size * 1.2), int(size * 1.2)))
try:
    writer.finalize()
except StorageError as error:
    print("refused", error.what)
"""


@pytest.mark.parametrize("dtype", ["video", "image"])
def test_a_disk_that_refuses_leaves_nothing_half_written(tmp_path, dtype):
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / "d", dtype], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused"), done.stderr
    assert not (tmp_path / "d").exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {".d.partial"}
    features = {"observation.images.top": Feature(dtype=dtype, shape=(64, 64, 3)), "action": Feature(dtype="float32", shape=(1,))}
    writer = DatasetWriter(tmp_path / "d", fps=10, features=features, resume=True)
    assert len(Dataset.open(writer.finalize()).episodes) == 2


def test_a_full_disk(tmp_path, world):
    """A real file system of 256 KiB, where this machine lets us make one."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", small], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("mounting is not permitted here")
    try:
        writer = DatasetWriter(small / "d", fps=10, features=world.features)
        with pytest.raises(StorageError, match="disk is full"):
            for episode in range(200):
                world.add(writer, episode, 12)
        kept = len(writer.done)
        assert kept >= 1 and not (small / "d").exists()
        for file in writer._work.glob("[0-9]*.episode"):
            EncodedEpisode.from_bytes(file.read_bytes(), where=str(file))
        with pytest.raises(StorageError, match="disk is full"):
            writer.finalize()
        assert not (small / "d").exists() and len(writer.done) == kept
    finally:
        subprocess.run(["umount", "-l", small], check=True)


def test_a_join_that_was_killed_leaves_no_litter(tmp_path, world):
    writer = DatasetWriter(tmp_path / "d", fps=10, features=world.features)
    world.add(writer, 0, 3)
    (tmp_path / ".d.k1l13d.tmp" / "data").mkdir(parents=True)
    writer.finalize()
    assert [entry.name for entry in tmp_path.iterdir()] == ["d"]


def test_killed_while_writing(tmp_path):
    """Killed at many moments: never half a dataset, and what was finished is still there."""
    script = (
        "import numpy as np, sys\nfrom foreact.data.lerobot import DatasetWriter, Feature\n"
        "w = DatasetWriter(sys.argv[1], fps=10, features={'action': Feature(dtype='float32', shape=(2,))}, resume=True)\n"
        "print('ready', flush=True)\n"
        "for i in range(200):\n"
        "    if i not in w.done: w.add_episode({'action': np.full((5, 2), i)}, task='t', index=i)\n"
        "w.finalize()\n")
    path, before = tmp_path / "d", 0
    for wait in (0.02, 0.05, 0.1, 0.2):
        child = subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE)
        child.stdout.readline()
        try:
            child.wait(wait)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait()
        child.stdout.close()
        if path.exists():
            break
        done = len(list((tmp_path / ".d.partial").glob("[0-9]*.episode")))
        assert done >= before
        before = done
    if not path.exists():
        subprocess.run([sys.executable, "-c", script, path], check=True, stdout=subprocess.DEVNULL)
    np.testing.assert_array_equal(Dataset.open(path).column("action")[:, 0], np.repeat(np.arange(200), 5))


