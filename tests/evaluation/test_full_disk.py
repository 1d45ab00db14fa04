"""A disk that fills up while episodes are recorded: one clear error, nothing half written, nothing lost, and the same command goes on.

The kernel itself refuses: under a limit on the size of files it takes a part of what it is given, as a full disk does, and says so at the
next write.
"""

import errno
import os
import resource
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from foreact.contract import storage
from foreact.contract.errors import StorageError
from foreact.contract.storage import append_bytes
from foreact.envs.episodes import Expert
from foreact.evaluation.collection import CollectConfig, collect
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.filming import Videos
from foreact.evaluation.policies import HoldStill
from foreact.evaluation.recording import Recording
from foreact.evaluation.result import read_episodes


@pytest.fixture
def config(environment) -> EvaluationConfig:
    return EvaluationConfig(environment=replace(environment, horizon=4), seeds_per_task=12, envs=1, videos=Videos(failures=2, successes=0))


@contextmanager
def no_file_above(size):
    """The kernel takes that many bytes of a file, and no more."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def outcomes(records):
    return [record.outcome for record in records]


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_line_is_there_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "lines"
    append_bytes(path, b"one\n")
    with no_file_above(6), pytest.raises(StorageError, match="larger than the system allows"):
        append_bytes(path, b"two\n")
    assert path.read_bytes() == b"one\n"
    append_bytes(path, b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_records_end_with_a_whole_one_and_the_same_command_goes_on(tmp_path, config):
    whole = evaluate(HoldStill.Config(), config, out=tmp_path / "whole")
    lines = (tmp_path / "whole" / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    fit = sum(map(len, lines[:10]))
    assert fit > (tmp_path / "whole" / "evaluation.json").stat().st_size
    with no_file_above(fit + len(lines[10]) // 2), pytest.raises(StorageError, match="larger than the system allows") as caught:
        evaluate(HoldStill.Config(), config, out=tmp_path / "cut")
    assert "episodes.jsonl" in str(caught.value) and "next:" in str(caught.value)
    kept = (tmp_path / "cut" / "episodes.jsonl").read_bytes()
    assert kept.endswith(b"\n") and outcomes(read_episodes(tmp_path / "cut" / "episodes.jsonl")) == outcomes(whole.episodes[:10])
    again = evaluate(HoldStill.Config(), config, out=tmp_path / "cut")
    assert outcomes(again.episodes) == outcomes(whole.episodes)
    assert (tmp_path / "cut" / "episodes.jsonl").read_bytes().startswith(kept)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="Linux says which file is written")
def test_a_recording_that_finds_no_room_leaves_the_others(tmp_path, config, monkeypatch):
    whole = evaluate(HoldStill.Config(), config, out=tmp_path / "whole")
    recorded, sync = [], os.fsync

    def full(handle):
        name = os.readlink(f"/proc/self/fd/{handle}")
        if ".npz" in name:
            recorded.append(name)
            if len(recorded) == 2:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "fsync", full)
        with pytest.raises(StorageError, match="the disk is full") as caught:
            evaluate(HoldStill.Config(), config, out=tmp_path / "cut")
    assert ".npz" in str(caught.value) and "free some space" in str(caught.value)
    assert len(read_episodes(tmp_path / "cut" / "episodes.jsonl")) == 12
    (kept,) = (tmp_path / "cut").rglob("*.npz*")
    assert Recording.load(kept).steps == 4
    again = evaluate(HoldStill.Config(), config, out=tmp_path / "cut")
    assert outcomes(again.episodes) == outcomes(whole.episodes) and files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_collection_that_finds_no_room_goes_on_with_what_it_has(tmp_path):
    config = CollectConfig(tasks=("coffee-button", "reach"), episodes=1, size=32, cameras=("scene",), horizon=80,
                           expert=Expert(noise_std=0.4))
    whole = collect(config, tmp_path / "whole" / "data", workers=1)
    largest = max(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    (tmp_path / "cut").mkdir()
    with no_file_above(largest - 1), pytest.raises(StorageError, match="larger than the system allows"):
        collect(config, tmp_path / "cut" / "data", workers=1)
    assert not (tmp_path / "cut" / "data").exists()
    again = collect(config, tmp_path / "cut" / "data", workers=1)
    assert {name: (again / name).read_bytes() for name in files(again) if (again / name).is_file()} == {
        name: (whole / name).read_bytes() for name in files(whole) if (whole / name).is_file()}
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == ["data"]
