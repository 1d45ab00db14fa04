"""A teacher in a folder: learnt once, whole or absent, shared by runs that then encode nothing again."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import ACTION, FITTED, OBSERVATION

from foreact.cli.main import run as command
from foreact.contract.context import Scene
from foreact.contract.errors import CheckpointError, ConfigError, MisfitError
from foreact.data.cache import Cache
from foreact.data.lerobot import DatasetWriter
from foreact.data.lerobot.conventions import Specs, standard_features
from foreact.nets.self_distilled import SelfDistilled
from foreact.objectives.representation import Alignment
from foreact.substrates.frozen_features import FrozenFeatures
from foreact.training.checkpoint import load_model
from foreact.training.run import SubstrateFit
from foreact.training.teacher import TeacherTraining, r_squared, train_teacher
from foreact.training.trainer import train

TEACHER = FrozenFeatures.Config(encoder=SelfDistilled.Config(width=16, depth=1, heads=2, patch=8, prototypes=16), grid=(2, 2))
SMALL = TeacherTraining(teacher=TEACHER, steps=3, batch_size=4, measured=16, threads=1)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten episodes in which the brightness of two quarters of the picture is the state."""
    path, draw = tmp_path_factory.mktemp("data") / "demos", np.random.default_rng(0)
    with DatasetWriter(path, fps=10, features=standard_features(OBSERVATION, ACTION, images_as="image"),
                       specs=Specs(observation=OBSERVATION, action=ACTION)) as writer:
        for _ in range(10):
            states = draw.uniform(0, 1, (8, 2)).astype(np.float32)
            images = draw.integers(0, 30, (8, 3, 16, 16)).astype(np.uint8)
            images[:, :, :8, :8] += (200 * states[:, 0]).astype(np.uint8)[:, None, None, None]
            images[:, :, 8:, 8:] += (200 * states[:, 1]).astype(np.uint8)[:, None, None, None]
            writer.add_episode({"observation.state": states, "action": draw.uniform(-1, 1, (8, 2)).astype(np.float32)},
                               images={"front": images}, task="look")
    return path


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def teacher(dataset: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("teachers") / "teacher"
    train_teacher(SMALL, dataset=dataset, out=out, cache=cache)
    return out


def test_its_folder_holds_what_it_is_and_what_it_knows(teacher: Path, dataset: Path) -> None:
    assert sorted(file.name for file in teacher.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((teacher / "config.json").read_text())
    assert set(config["measures"]) == {"variation", "effective_rank", "retrieval", "state_r2", "state_r2_of_pixels"}
    assert config["measures"]["state_r2"] > 0.5 and config["measures"]["state_r2_of_pixels"] > 0.9
    assert config["dataset"]["path"] == str(dataset)


def test_two_episodes_are_enough(tmp_path: Path) -> None:
    """One is learnt from and one measured on; the ridge is then chosen on the first itself."""
    draw, path = np.random.default_rng(0), tmp_path / "demos"
    with DatasetWriter(path, fps=10, features=standard_features(OBSERVATION, ACTION, images_as="image"),
                       specs=Specs(observation=OBSERVATION, action=ACTION)) as writer:
        for _ in range(2):
            writer.add_episode({"observation.state": draw.random((6, 2), np.float32), "action": np.zeros((6, 2), np.float32)},
                               images={"front": draw.integers(0, 256, (6, 3, 16, 16), dtype=np.uint8)}, task="look")
    measures = train_teacher(SMALL, dataset=path, out=tmp_path / "teacher", cache=Cache(tmp_path / "cache"))
    assert np.isfinite(list(measures.values())).all()


def test_a_substrate_takes_it_whole_and_reads_no_frame(teacher: Path) -> None:
    images = {"front": torch.randint(0, 256, (5, 1, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))}
    taken = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        substrate = replace(TEACHER, folder=str(teacher)).build(OBSERVATION)
        assert substrate.fit(iter(()), steps=400, seed=seed)["state_r2"] > 0.5
        taken.append(substrate.eval().encode(Scene(images=images)))
    assert torch.equal(*taken)


def test_runs_that_share_it_encode_every_frame_once_and_none_while_training(teacher: Path, dataset: Path, cache: Cache, tmp_path: Path,
                                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []
    plain = SelfDistilled.forward

    def counting(self: SelfDistilled, images: torch.Tensor) -> torch.Tensor:
        counted.append(len(images))
        return plain(self, images)

    monkeypatch.setattr(SelfDistilled, "forward", counting)

    def images_encoded(folder: str, shared: bool, **changes: object) -> int:
        counted.clear()
        taught = replace(TEACHER, folder=str(teacher)) if shared else TEACHER
        model = replace(FITTED.model, alignment=Alignment.Config(teacher=taught, layers=(1.0,), **changes))
        training = replace(FITTED.training, seed=len(folder), substrate=SubstrateFit(steps=1, batch_size=4))
        train(replace(FITTED, model=model, training=training), dataset=dataset, out=tmp_path / folder, cache=cache, device="cpu")
        return sum(counted)

    probe = 2  # a store asks for the form of one frame, once for each split
    assert images_encoded("first", True) == 80 + probe
    assert images_encoded("another-seed", True, weight=0.1) == probe
    assert images_encoded("and-another-seed", True, patchwise=0.0) == probe
    assert images_encoded("one-of-its-own", False) > 80

    def gone(folder: str) -> None:
        raise AssertionError("a checkpoint holds all that it needs")

    monkeypatch.setattr("foreact.substrates.frozen_features.read_teacher", gone)
    assert load_model(tmp_path / "first").config.alignment.teacher.folder == str(teacher)


def test_interrupted_it_leaves_nothing(dataset: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(self: FrozenFeatures, images: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FrozenFeatures, "measure", stopped)
    words = ["teacher", "train", "--data", str(dataset), "--out", str(tmp_path / "teacher"), "steps=2", "batch_size=4", "threads=1",
             "teacher.encoder.patch=8", "teacher.encoder.width=16", "teacher.encoder.depth=1", "teacher.grid=[2,2]"]
    monkeypatch.setenv("FOREACT_CACHE", str(cache.root))
    assert command(words) == 130
    assert "nothing was written" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setenv("FOREACT_CACHE", str(cache.root))
    assert command([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["folder"] == str(tmp_path / "teacher") and told["config"]["grid"] == [2, 2] and "floor" not in told["config"]


def test_what_is_not_a_whole_teacher_is_refused(teacher: Path, dataset: Path, tmp_path: Path) -> None:
    def fit(config: FrozenFeatures.Config) -> None:
        config.build(OBSERVATION).fit(iter(()), steps=1, seed=0)

    with pytest.raises(CheckpointError, match="no whole teacher here"):
        fit(replace(TEACHER, folder=str(tmp_path / "nothing")))
    (tmp_path / "damaged").mkdir()
    for file in teacher.iterdir():
        data = file.read_bytes()
        (tmp_path / "damaged" / file.name).write_bytes(data if file.suffix == ".json" else data[:-4] + b"\0\0\0\1")
    with pytest.raises(CheckpointError, match="SHA-256"):
        fit(replace(TEACHER, folder=str(tmp_path / "damaged")))
    with pytest.raises(MisfitError, match="another one than the config declares"):
        fit(replace(TEACHER, folder=str(teacher), grid=(1, 1)))
    with pytest.raises(ConfigError, match="there already"):
        train_teacher(SMALL, dataset=dataset, out=teacher)
    with pytest.raises(ConfigError, match="learnt already"):
        replace(SMALL, teacher=replace(TEACHER, folder=str(teacher)))


def test_the_regression_is_ridge_regression_and_tells_nothing_of_what_is_not_there() -> None:
    g = torch.Generator().manual_seed(0)
    x = [torch.randn(n, 6, generator=g) for n in (60, 30, 40)]
    w = torch.randn(6, 2, generator=g)
    noisy = [part @ w + 0.3 * torch.randn(len(part), 2, generator=g) for part in x]
    by_hand = []
    for ridge in (1e-3, 1e-2, 1e-1, 1.0, 10.0):
        a, mean, std = x[0].double() - x[0].double().mean(0), noisy[0].double().mean(0), noisy[0].double().std(0)
        strength = ridge * a.square().sum(dim=1).mean()
        fitted = torch.linalg.solve(a.T @ a + strength * torch.eye(6, dtype=torch.float64), a.T @ ((noisy[0].double() - mean) / std))
        scores = []
        for part, y in zip(x[1:], noisy[1:], strict=True):
            target = (y.double() - mean) / std
            error = target - (part.double() - x[0].double().mean(0)) @ fitted
            scores.append(float(1 - error.square().sum() / (target - target.mean(0)).square().sum()))
        by_hand.append(scores)
    assert r_squared(x, noisy) == pytest.approx(max(by_hand)[1], rel=1e-9)
    assert r_squared(x, [torch.randn(len(part), 2, generator=g) for part in x]) < 0.1
