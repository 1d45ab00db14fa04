"""Damage is named, skipped or refused; what is on disk is whole or does not count."""

from __future__ import annotations

import resource
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from tiny_training import RUN, MemoryWindows, losses_of, tiny_train

from foreact.contract.errors import CheckpointError, StorageError, TrainingError
from foreact.training import checkpoint_folder
from foreact.training.checkpoint import load_model, load_run
from foreact.training.metrics import MetricsFile, read_metrics
from foreact.training.run import Checkpoints
from foreact.training.weights import digest, read_tensors, write_tensors

OFTEN = replace(RUN, training=replace(RUN.training, checkpoints=Checkpoints(every_steps=2, every_seconds=None, keep_last=3)))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "finished"
    tiny_train(folder, OFTEN)
    return folder


@pytest.fixture
def run_folder(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def newest_folder(run_folder: Path) -> Path:
    return checkpoint_folder.checkpoints(run_folder / "checkpoints")[-1]


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "flipped byte": (lambda c: flip(c / "model.safetensors"), "model.safetensors differs from its SHA-256"),
    "flipped byte of the state": (lambda c: flip(c / "train_state.safetensors"), "train_state.safetensors differs"),
    "truncated": (lambda c: (c / "model.safetensors").write_bytes((c / "model.safetensors").read_bytes()[:-7]), r"bytes instead of"),
    "no marker": (lambda c: (c / "COMPLETE").unlink(), "COMPLETE is missing"),
    "damaged marker": (lambda c: (c / "COMPLETE").write_text("{"), "COMPLETE is damaged"),
    "file gone": (lambda c: (c / "train_state.json").unlink(), "train_state.json is missing"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named_when_asked_for_and_skipped_otherwise(run_folder: Path, name: str, capsys: pytest.CaptureFixture) -> None:
    damage, message = DAMAGE[name]
    last = newest_folder(run_folder)
    damage(last)
    with pytest.raises(CheckpointError, match=message):
        load_model(last)
    found = checkpoint_folder.find(run_folder)
    assert found.step < 10 and found.path != last
    assert f"skipping the checkpoint {last}" in capsys.readouterr().err
    whole = losses_of(run_folder)
    assert tiny_train(run_folder, OFTEN, resume=True).step == 10
    assert losses_of(run_folder) == whole and checkpoint_folder.find(run_folder).path == last


def test_nothing_left_to_load(run_folder: Path) -> None:
    for path in checkpoint_folder.checkpoints(run_folder / "checkpoints"):
        (path / "COMPLETE").unlink()
    with pytest.raises(CheckpointError, match="no complete checkpoint"):
        load_run(run_folder)
    with pytest.raises(CheckpointError, match="no such folder"):
        load_run(run_folder / "elsewhere")
    with pytest.raises(CheckpointError, match="no checkpoint here"):
        load_run(run_folder.parent)


def test_another_model_is_refused(run_folder: Path) -> None:
    model = load_model(run_folder)
    weights = checkpoint_folder.find(run_folder).model()
    from foreact.training.learner import copy_weights

    bad = {**weights, "text.table.weight": torch.zeros(3, 3), "text.strange": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"unknown text\.strange; text\.table\.weight: \(3, 3\) instead of \(16, 8\)"):
        copy_weights(model, bad)


def test_only_the_newest_are_kept_and_leavings_are_swept(run_folder: Path) -> None:
    steps = [int(p.name[5:]) for p in checkpoint_folder.checkpoints(run_folder / "checkpoints")]
    assert steps == [6, 8, 10]
    leaving = run_folder / "checkpoints" / ".step-00000012.x.tmp"
    leaving.mkdir()
    tiny_train(run_folder, OFTEN, resume=True)
    assert not leaving.exists()


def test_pruning_spares_the_newest_complete_one(run_folder: Path) -> None:
    folder = run_folder / "checkpoints"
    for path in checkpoint_folder.checkpoints(folder)[1:]:
        (path / "COMPLETE").unlink()
    kept = checkpoint_folder.newest(folder)
    assert kept is not None and kept.step == 6
    checkpoint_folder.prune(folder, 1, kept)
    assert checkpoint_folder.checkpoints(folder) == [kept.path]


# --- the disk refuses -------------------------------------------------------------------------------------------------

def test_a_file_size_limit_stops_with_one_clear_error_and_loses_nothing(tmp_path: Path) -> None:
    """The limit lets the metrics through and not the weights; the kernel itself refuses the write."""
    whole = tiny_train(tmp_path / "whole", OFTEN)
    long = replace(OFTEN, training=replace(OFTEN.training, checkpoints=Checkpoints(every_steps=3, every_seconds=None)))
    size = (whole.checkpoint / "model.safetensors").stat().st_size
    tiny_train(tmp_path / "cut", long)
    shutil.rmtree(newest_folder(tmp_path / "cut"))  # a run that stands before its last steps
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(StorageError, match="larger than the system allows") as caught:
            tiny_train(tmp_path / "cut", long, resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "next:" in str(caught.value)
    assert not list((tmp_path / "cut" / "checkpoints").glob(".*"))
    assert tiny_train(tmp_path / "cut", long, resume=True).step == 10
    assert losses_of(tmp_path / "cut") == losses_of(tmp_path / "whole")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has a device that is always full")
def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="the disk is full"):
        write_tensors(Path("/dev/full"), {"x": torch.zeros(100_000)})


# --- what is not finite -----------------------------------------------------------------------------------------------

def test_nan_names_step_stream_and_last_good_checkpoint_and_is_never_saved(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="a loss is not finite") as caught:
        tiny_train(tmp_path, OFTEN, windows=MemoryWindows(poison=12))
    message = str(caught.value)
    assert "stage joint, step 7, action" in message and "step-00000006" in message and "learning_rate" in message
    assert all(bool(value.isfinite().all()) for value in checkpoint_folder.find(tmp_path).model().values())
    assert tiny_train(tmp_path, OFTEN, resume=True).step == 10


def test_too_few_windows(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="5 windows"):
        tiny_train(tmp_path, windows=MemoryWindows(5))


# --- files ------------------------------------------------------------------------------------------------------------

def test_tensors_round_trip_through_the_public_format(tmp_path: Path) -> None:
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8,
             torch.bool)
    tensors = {f"t{i}": (torch.randn(3, i + 1) * 3).to(kind) for i, kind in enumerate(kinds)}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4), "turned": torch.arange(6.0).reshape(2, 3).T}
    path = tmp_path / "t.safetensors"
    assert write_tensors(path, tensors, {"format": "pt"}) == digest(path)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"format": "pt"} and set(file.keys()) == set(tensors)
        assert all(torch.equal(file.get_tensor(name), value) for name, value in tensors.items())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_tensors(path)


def test_metrics_are_cut_back_to_the_step_and_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"ste')
    assert [line["step"] for line in read_metrics(path)] == [1, 2, 3]
    file = MetricsFile(path, up_to_step=2)
    file.append({"step": 3, "again": True})
    file.close()
    assert path.read_text() == '{"step": 1}\n{"step": 2}\n{"step": 3, "again": true}\n'
