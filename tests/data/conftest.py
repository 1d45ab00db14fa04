"""Small datasets, written for real."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from foreact.contract.specs import ActionSpec, CameraSpec, GripperConvention, ObservationSpec, StateSpec
from foreact.data.lerobot import Dataset, DatasetWriter, Specs, standard_features

SAMPLES = Path(os.environ.get("FOREACT_SAMPLE_DATA") or Path(__file__).parent / "samples")
LENGTHS = (12, 1, 7)
SIZE = (32, 48)


class World:
    """What the datasets of these tests show: a moving pattern, numbers that name episode and frame."""

    specs = Specs(
        observation=ObservationSpec(
            cameras=(CameraSpec(name="left", height=SIZE[0], width=SIZE[1]), CameraSpec(name="right", height=SIZE[0], width=SIZE[1])),
            state=StateSpec(names=("x", "y", "gripper"), units=("m", "m", "1")), rate_hz=10.0, notes=("seen from above",)),
        action=ActionSpec(names=("dx", "gripper"), low=(-1.0, -1.0), high=(1.0, 1.0), rate_hz=10.0, reference="delta",
                          frame="end-effector", gripper=GripperConvention(index=1, open=-1.0, closed=1.0)),
        provenance={"suite": "tests"})
    features = standard_features(specs.observation, specs.action)
    tasks = ("open the door", "push the block")

    @staticmethod
    def images(episode: int, length: int, shift: int = 0) -> np.ndarray:
        t, y, x = np.mgrid[0:length, 0:SIZE[0], 0:SIZE[1]]
        planes = (128 + 90 * np.sin((x + 3 * t + 7 * episode + shift) / 8), 128 + 90 * np.cos((y + 2 * t) / 6 + episode),
                  60 + 2 * x + 0 * y + 5 * (t % 8))
        return np.stack(planes, -1).clip(0, 255).astype(np.uint8)

    @staticmethod
    def state(episode: int, length: int) -> np.ndarray:
        t = np.arange(length, dtype=np.float32)
        return np.stack([np.full(length, episode, np.float32), t, 100 * episode + t], 1)

    @staticmethod
    def action(episode: int, length: int) -> np.ndarray:
        t = np.arange(length, dtype=np.float32)
        return np.stack([t / 20, np.where(t % 2, 1, -1) * (0.5 + 0.1 * episode)], 1).astype(np.float32)

    def add(self, writer: DatasetWriter, episode: int, length: int) -> None:
        writer.add_episode(**self.arrays(episode, length), index=episode)

    def arrays(self, episode: int, length: int) -> dict:
        return {"frames": {"observation.state": self.state(episode, length), "action": self.action(episode, length)},
                "task": self.tasks[episode % 2],
                "images": {"left": self.images(episode, length), "right": self.images(episode, length, 5).transpose(0, 3, 1, 2)}}

    def write(self, path: Path, lengths: tuple[int, ...] = LENGTHS, **options: object) -> Dataset:
        with DatasetWriter(path, fps=10, features=self.features, robot_type="toy", specs=self.specs, **options) as writer:
            for episode, length in enumerate(lengths):
                self.add(writer, episode, length)
        return Dataset.open(path)


@pytest.fixture(scope="session")
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def recorded(world, tmp_path_factory) -> Dataset:
    """A finished dataset that no test may change."""
    return world.write(tmp_path_factory.mktemp("data") / "recorded")


@pytest.fixture
def damaged(recorded, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(recorded.root, tmp_path / "damaged"))


@pytest.fixture(params=["lerobot_v20", "lerobot_v21", "lerobot_v30"])
def sample(request, tmp_path) -> Path:
    """A dataset that LeRobot wrote; v2.0 is v2.1 with the statistics where v2.0 has them."""
    if request.param != "lerobot_v20":
        return SAMPLES / request.param
    path = Path(shutil.copytree(SAMPLES / "lerobot_v21", tmp_path / "v20"))
    (path / "meta" / "episodes_stats.jsonl").unlink()
    info = path / "meta" / "info.json"
    info.write_text(info.read_text().replace('"v2.1"', '"v2.0"'))
    (path / "meta" / "stats.json").write_text('{"action": {"mean": [0.68214285, -0.68214285], "std": [0.4596, 0.4596], '
                                              '"min": [0.0, -1.6], "max": [1.6, 0.0]}}')
    return path
