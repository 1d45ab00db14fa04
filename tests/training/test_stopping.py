"""Ctrl-C, wall-time budgets, the progress shown, compilation."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import RUN, MemoryWindows, losses_of, tiny_train

from foreact.training import checkpoint_folder
from foreact.training.interrupt import Interrupted, stop_on_signals
from foreact.training.run import Checkpoints, Stage


class Slow(MemoryWindows):
    """Takes a little time for every micro-batch, as a disk would; with the n-th one this process gets a signal."""

    def __init__(self, asked: int | None = None, number: int = signal.SIGINT) -> None:
        super().__init__()
        self._signal_at, self._number = asked, number

    def batch(self, indices):
        time.sleep(0.02)
        if self._asked == self._signal_at:
            os.kill(os.getpid(), self._number)
        return super().batch(indices)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_step_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    long = replace(RUN, training=replace(RUN.training, stages=(Stage(name="joint", train=("video", "action"), steps=100_000),)))
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught:
        tiny_train(tmp_path, long, windows=Slow(15, number))
    found = checkpoint_folder.find(tmp_path)
    assert caught.value.exit_code == 130 and isinstance(caught.value, KeyboardInterrupt)
    assert str(found.path) in str(caught.value) and "--resume" in str(caught.value)
    assert losses_of(tmp_path)[-1][1] == found.step > 0
    assert signal.getsignal(number) == before


def test_a_second_signal_stops_at_once() -> None:
    with stop_on_signals() as request:
        signal.raise_signal(signal.SIGINT)
        assert request.made
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_a_budget_of_seconds_ends_the_stage_and_elapsed_time_survives(tmp_path: Path) -> None:
    timed = replace(RUN, training=replace(RUN.training, stages=(
        Stage(name="first", train=("video",), steps=2), Stage(name="timed", train=("video", "action"), seconds=2.0))))
    with pytest.raises(Interrupted):
        tiny_train(tmp_path, timed, windows=Slow(12))
    stopped = checkpoint_folder.find(tmp_path).progress()
    done = tiny_train(tmp_path, timed, windows=Slow(), resume=True)
    assert stopped["stage"] == 1 and 0 < stopped["stage_seconds"] < 2
    end = checkpoint_folder.find(tmp_path).progress()
    assert end["stage"] == 2 and done.step > stopped["step"]
    # the stage had only what was left of its two seconds: no step began after they were spent
    before_last = [line["seconds"] for line in _lines(tmp_path) if line["kind"] == "train"][-2]
    assert before_last - (stopped["seconds"] - stopped["stage_seconds"]) < 2.0 <= done.seconds
    rates = [line["learning_rate"] for line in _lines(tmp_path) if line["kind"] == "train" and line["stage"] == "timed"]
    assert rates[-1] < 0.2 * max(rates)


def test_checkpoints_by_the_clock(tmp_path: Path) -> None:
    settings = Checkpoints(every_steps=None, every_seconds=0.05, keep_last=100)
    tiny_train(tmp_path, replace(RUN, training=replace(RUN.training, checkpoints=settings)), windows=Slow())
    assert len(checkpoint_folder.checkpoints(tmp_path / "checkpoints")) > 4


def test_no_caller_loses_its_random_numbers(tmp_path: Path) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    tiny_train(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_what_is_said_without_a_terminal_stays_off_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    tiny_train(tmp_path)
    tiny_train(tmp_path, resume=True)
    said = capsys.readouterr()
    assert said.out == "" and "resuming from" in said.err


def _lines(folder: Path) -> list[dict]:
    from foreact.training.metrics import read_metrics

    return read_metrics(folder / "metrics.jsonl")
