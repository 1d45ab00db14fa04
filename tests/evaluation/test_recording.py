"""Recordings of episodes: what is written is read back, half a file is refused."""

from dataclasses import replace

import numpy as np
import pytest

from foreact.contract.errors import DatasetError
from foreact.evaluation.recording import Recording, RecordingMeta


def recording(steps: int = 5, calls: int = 2) -> Recording:
    rng = np.random.default_rng(0)
    meta = RecordingMeta(task="drawer-open", condition="clean", seed=7, success=True, instruction="open the drawer",
                         rate_hz=12.5, cameras=("corner", "wrist"), state_names=("x", "y"), action_names=("dx",), action_low=(-1.0,),
                         action_high=(1.0,), policy="test")
    return Recording(
        meta=meta, frames={c: rng.integers(0, 256, (steps + 1, 3, 8, 8), dtype=np.uint8) for c in meta.cameras},
        state=rng.normal(size=(steps + 1, 2)).astype(np.float32), actions=rng.normal(size=(steps, 1)).astype(np.float32),
        success=np.arange(steps) == steps - 1, call_steps=np.array([0, 3]), call_ms=np.array([4.5, 4.0]),
        plans=rng.normal(size=(calls, 4, 1)).astype(np.float32), offsets=np.array([2, 4]),
        imagined={c: rng.integers(0, 256, (calls, 2, 3, 8, 8), dtype=np.uint8) for c in meta.cameras})


def test_written_and_read_back_identically(tmp_path):
    first = recording()
    path = first.save(tmp_path)
    assert path.name == "clean-drawer-open-7.npz"
    second = Recording.load(path)
    assert second.meta == first.meta and second.steps == 5
    for name in ("state", "actions", "success", "call_steps", "call_ms", "plans", "offsets"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name))
    for kind in ("frames", "imagined"):
        assert list(getattr(second, kind)) == ["corner", "wrist"]
        for camera, images in getattr(first, kind).items():
            np.testing.assert_array_equal(getattr(second, kind)[camera], images)


def test_a_recording_without_imagination(tmp_path):
    assert Recording.load(replace(recording(), imagined={}).save(tmp_path)).imagined == {}


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"not a zip"])
def test_a_damaged_file_is_refused(tmp_path, damage):
    path = recording().save(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match="not a whole recording"):
        Recording.load(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", meta=np.array("{}"))
    with pytest.raises(DatasetError, match="not a whole recording"):
        Recording.load(tmp_path / "other.npz")
