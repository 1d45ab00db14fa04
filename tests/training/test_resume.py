"""A resumed run equals an uninterrupted one to the last bit: weights, moments, average, data order, every generator."""

from __future__ import annotations

import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import RUN, MemoryWindows, losses_of, tiny_train

from foreact.contract.config import decode, encode
from foreact.contract.errors import ConfigError
from foreact.training import checkpoint
from foreact.training.interrupt import Interrupted
from foreact.training.run import Checkpoints, Optimiser, Run


class StopAt(MemoryWindows):
    """Sends this process a Ctrl-C when it is asked for its n-th micro-batch."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self._stop_at = asked

    def batch(self, indices):
        if self._asked == self._stop_at:
            signal.raise_signal(signal.SIGINT)
        return super().batch(indices)


def with_training(**changes) -> Run:
    return replace(RUN, training=replace(RUN.training, **changes))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("stops", [(3,), (13,), (2, 9, 15)], ids=["first-stage", "second-stage", "thrice"])
def test_resume_is_bit_exact(tmp_path: Path, precision: str, stops: tuple[int, ...]) -> None:
    run = with_training(precision=precision)
    whole = tiny_train(tmp_path / "whole", run)
    for number, stop in enumerate(stops):
        with pytest.raises(Interrupted, match="--resume"):
            tiny_train(tmp_path / "cut", run, resume=number > 0, windows=StopAt(stop if number == 0 else 3))
    cut = tiny_train(tmp_path / "cut", run, resume=True)
    assert cut.step == whole.step == 10
    assert losses_of(tmp_path / "cut") == losses_of(tmp_path / "whole")
    a, b = checkpoint.find(tmp_path / "whole"), checkpoint.find(tmp_path / "cut")
    for ours, theirs in ((a.model(), b.model()), (a.state(), b.state())):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_loss_falls_and_seed_matters(tmp_path: Path) -> None:
    tiny_train(tmp_path / "a")
    tiny_train(tmp_path / "b", with_training(seed=4))
    a, b = losses_of(tmp_path / "a"), losses_of(tmp_path / "b")
    assert a != b
    validation = [sum(losses.values()) for kind, step, losses in a if kind == "validation" and step > 4]
    assert validation[-1] < validation[0]


def test_resume_refuses_another_config_and_names_it(tmp_path: Path) -> None:
    tiny_train(tmp_path)
    with pytest.raises(ConfigError, match=r"training\.optimiser\.learning_rate was 0\.01, now 0\.5"):
        tiny_train(tmp_path, with_training(optimiser=Optimiser(learning_rate=0.5)), resume=True)
    with pytest.raises(ConfigError, match="already holds a run"):
        tiny_train(tmp_path)


def test_resume_accepts_other_bookkeeping_and_a_finished_run(tmp_path: Path) -> None:
    first = tiny_train(tmp_path)
    again = tiny_train(tmp_path, with_training(checkpoints=Checkpoints(keep_last=5), log_every=2), resume=True)
    assert again.step == first.step and again.checkpoint == first.checkpoint


def test_run_reads_back_identically() -> None:
    assert decode(Run, encode(RUN)) == RUN
