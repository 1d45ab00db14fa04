"""Frames and encodings on disk: equal to decoding, made once, whole or absent, under the cap."""

from __future__ import annotations

import multiprocessing
import shutil
import time

import numpy as np
import pytest
import torch

from foreact.contract.errors import ConfigError, DatasetError, StorageError
from foreact.data.cache import Cache
from foreact.data.lerobot import Dataset
from foreact.data.resizing import resize_area
from foreact.data.stores import DecodedFrames, EncodedStore, FrameStore, frame_source
from foreact.data.windows import Offsets, Windows


@pytest.mark.parametrize("size", [None, (16, 16), (20, 30)])
def test_stored_frames_are_the_decoded_ones(recorded, tmp_path, size):
    store, decoded = FrameStore(recorded, size=size, cache=Cache(tmp_path)), DecodedFrames(recorded, size=size)
    for rows in (np.array([[0, 19], [12, 11]]), np.arange(20)):
        for camera in ("left", "right"):
            np.testing.assert_array_equal(store.read(camera, rows), decoded.read(camera, rows))
    assert store.read("left", np.array([0])).shape[2:] == (size or (32, 48))


def test_a_second_store_decodes_nothing(recorded, tmp_path):
    cache = Cache(tmp_path)
    FrameStore(recorded, cache=cache)
    moved = copied(recorded, tmp_path / "elsewhere")
    files = sorted(tmp_path.glob("*/frames.u8"))
    before = [file.stat().st_mtime_ns for file in files]
    FrameStore(moved, cache=cache)
    assert len(files) == 2 and [file.stat().st_mtime_ns for file in files] == before
    assert sorted(tmp_path.glob("*/frames.u8")) == files


def copied(dataset, target):
    shutil.copytree(dataset.root, target)
    return Dataset.open(target)


def test_other_content_is_another_entry(recorded, world, tmp_path):
    other = world.write(tmp_path / "d", (12, 1, 8))
    cache = Cache(tmp_path / "cache")
    FrameStore(recorded, ["left"], cache=cache)
    FrameStore(other, ["left"], cache=cache)
    FrameStore(other, ["left"], size=(16, 16), cache=cache)
    assert len(cache.keys()) == 3


def test_an_unfinished_entry_is_made_again(recorded, tmp_path):
    cache = Cache(tmp_path)
    store = FrameStore(recorded, ["left"], cache=cache)
    true = store.read("left", np.arange(20)).copy()
    entry = tmp_path / cache.keys()[0]
    (entry / "complete").unlink()
    (entry / "frames.u8").write_bytes(b"half")
    (tmp_path / f".{entry.name}.k1l13d.tmp").mkdir()
    np.testing.assert_array_equal(FrameStore(recorded, ["left"], cache=cache).read("left", np.arange(20)), true)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [entry.name]


def test_a_failed_build_leaves_nothing(damaged, tmp_path):
    next((damaged / "videos" / "observation.images.left").rglob("*.mp4")).unlink()
    with pytest.raises(DatasetError, match="missing"):
        FrameStore(Dataset.open(damaged), cache=Cache(tmp_path / "c"))
    assert [path.name for path in (tmp_path / "c").iterdir() if path.is_dir()] == []


def test_the_least_recently_used_is_given_up(tmp_path):
    cache = Cache(tmp_path, cap_gb=250e-9)
    make = lambda folder: (folder / "x").write_bytes(bytes(100))  # noqa: E731
    for key in ("a", "b"):
        cache.entry(key, 100, make)
        time.sleep(0.01)
    cache.entry("a", 100, make)
    cache.entry("c", 100, make)
    assert cache.keys() == ["a", "c"]
    with pytest.raises(StorageError, match="larger than the cache"):
        cache.entry("d", 300, make)
    assert cache.size() == 200


def test_beyond_the_cap_frames_are_decoded(recorded, tmp_path):
    assert isinstance(frame_source(recorded, cache=Cache(tmp_path, cap_gb=1e-6)), DecodedFrames)
    assert isinstance(frame_source(recorded, cache=Cache(tmp_path, cap_gb=1.0)), FrameStore)


def build(job):
    path, cache = job
    store = FrameStore(Dataset.open(path), ["left"], cache=Cache(cache))
    return int(store.read("left", np.arange(20)).sum())


def test_processes_that_want_the_same_entry(recorded, tmp_path):
    with multiprocessing.get_context("fork").Pool(3) as pool:
        sums = pool.map(build, [(recorded.root, tmp_path)] * 3)
    assert len(set(sums)) == 1 and len(Cache(tmp_path).keys()) == 1


def encode(images):
    """Two tokens of three channels: the mean colour of each camera."""
    return torch.stack([image.float().mean((-1, -2)) for image in images.values()], dim=2) / 255


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.0), ("float16", 1e-3), ("bfloat16", 8e-3)])
def test_encodings_are_those_of_each_frame(recorded, tmp_path, dtype, tolerance):
    frames = FrameStore(recorded, cache=Cache(tmp_path))
    store = EncodedStore(frames, encode, "means", batch=7, dtype=dtype, cache=Cache(tmp_path))
    assert (store.tokens, store.channels) == (2, 3)
    rows = np.array([[0, 11], [12, 19]])
    true = encode({c: torch.from_numpy(frames.read(c, rows)) for c in ("left", "right")})
    assert store.read(rows).dtype == torch.float32
    assert (store.read(rows) - true).abs().max() <= tolerance
    windows = Windows(recorded, Offsets(horizon=2, history=(-1, 0), future=(3, 5)), encoded={"view": store, "video": store}, images=False)
    window = windows.batch(np.array([4, 18]))
    encoded = torch.cat([window.encoded["view"], window.encoded["video"]], dim=1)  # the history, then the future
    assert encoded.shape == (2, 4, 2, 3)
    assert torch.equal(encoded[0], store.read(np.array([3, 4, 7, 9])))
    assert torch.equal(encoded[1], store.read(np.array([17, 18, 19, 19])))


def test_an_encoder_runs_once_for_each_key(recorded, tmp_path):
    frames, calls = DecodedFrames(recorded), []

    def counted(images):
        calls.append(1)
        return encode(images)

    EncodedStore(frames, counted, "k", cache=Cache(tmp_path))
    made = len(calls)
    EncodedStore(frames, counted, "k", cache=Cache(tmp_path))
    assert len(calls) == made + 1, "only the form is asked for again"
    EncodedStore(frames, counted, "other weights", cache=Cache(tmp_path))
    assert len(calls) == 2 * made + 1


def test_encodings_that_overflow(recorded, tmp_path):
    with pytest.raises(DatasetError, match="bfloat16"):
        EncodedStore(DecodedFrames(recorded), lambda images: encode(images) * 1e6, "big", cache=Cache(tmp_path))
    assert Cache(tmp_path).keys() == []
    with pytest.raises(ConfigError, match="float16"):
        EncodedStore(DecodedFrames(recorded), encode, "x", dtype="int8", cache=Cache(tmp_path))


def test_encodings_of_other_cameras(recorded, tmp_path):
    store = EncodedStore(DecodedFrames(recorded, ["left"]), encode, "k", cache=Cache(tmp_path))
    with pytest.raises(ConfigError, match="other cameras"):
        Windows(recorded, Offsets(horizon=1), encoded={"view": store})


def test_area_resizing():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 12, 20), dtype=np.uint8)
    true = torch.nn.functional.interpolate(torch.from_numpy(images).double(), size=(6, 5), mode="area").numpy()
    np.testing.assert_array_equal(resize_area(images, (6, 5)), np.floor(true + 0.5).astype(np.uint8))
    assert resize_area(images, (7, 9)).shape == (2, 3, 7, 9)
    assert np.abs(resize_area(images, (7, 9)).astype(float) - torch.nn.functional.interpolate(
        torch.from_numpy(images).double(), size=(7, 9), mode="area").numpy()).max() <= 0.51
    assert resize_area(images, (12, 20)) is images
