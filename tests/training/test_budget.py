"""A budget in floating-point operations, and a share of the demonstrations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import FITTED, RUN, losses_of, tiny_train, write_dataset

from foreact.contract.errors import ConfigError
from foreact.data.cache import Cache
from foreact.data.lerobot import Dataset
from foreact.training.checkpoint_folder import newest
from foreact.training.counting import counted
from foreact.training.prepare import open_material
from foreact.training.run import Run, Stage, WindowSettings


def progress(folder: Path) -> dict:
    return newest(folder / "checkpoints").progress()


def with_stages(*stages: Stage) -> Run:
    return replace(RUN, training=replace(RUN.training, stages=stages))


def test_a_product_is_counted_forward_and_backward() -> None:
    x, w = torch.randn(5, 7), torch.randn(7, 3, requires_grad=True)
    with counted() as flops:
        (x @ w).sum().backward()
    assert flops() == 2 * (2 * 5 * 7 * 3)
    with counted(False) as flops:
        x @ w
    assert flops() == 0


def test_a_stage_ends_when_its_operations_are_spent(tmp_path: Path) -> None:
    tiny_train(tmp_path / "steps")
    taken = progress(tmp_path / "steps")["flops"]
    assert taken["video"] > 0
    assert taken["joint"] / 6 > taken["video"] / 4  # a step with actions costs more
    budget = with_stages(Stage(name="video", train=("video",), flops=taken["video"]),
                         Stage(name="joint", train=("video", "action"), flops=taken["joint"] * 0.99, learning_rate=0.5))
    tiny_train(tmp_path / "flops", budget)
    assert progress(tmp_path / "flops")["step"] == 10
    assert progress(tmp_path / "flops")["flops"] == taken
    half = with_stages(Stage(name="joint", train=("video", "action"), flops=taken["joint"] / 2))
    tiny_train(tmp_path / "half", half)
    assert progress(tmp_path / "half")["step"] == 3


def test_counting_changes_nothing_and_survives_a_resume(tmp_path: Path) -> None:
    taken = 1e7
    run = with_stages(Stage(name="joint", train=("video", "action"), flops=taken))
    run = replace(run, training=replace(run.training, checkpoints=replace(run.training.checkpoints, every_steps=1, keep_last=50)))
    tiny_train(tmp_path / "whole", run)
    last = progress(tmp_path / "whole")["step"]
    assert last > 2
    tiny_train(tmp_path / "cut", run)
    for path in (tmp_path / "cut" / "checkpoints").iterdir():
        if path.name > "step-00000002":
            for file in path.iterdir():
                file.unlink()
            path.rmdir()
    tiny_train(tmp_path / "cut", run, resume=True)
    assert losses_of(tmp_path / "cut") == losses_of(tmp_path / "whole")
    assert progress(tmp_path / "cut")["flops"] == progress(tmp_path / "whole")["flops"]


def test_a_budget_is_positive_and_cannot_be_counted_where_code_is_compiled() -> None:
    with pytest.raises(ConfigError, match="positive"):
        Stage(name="x", train=("video",), flops=0.0)
    with pytest.raises(ConfigError, match="needs a budget"):
        Stage(name="x", train=("video",))
    with pytest.raises(ConfigError, match="compiled"):
        replace(RUN.training, compile=True, stages=(Stage(name="x", train=("video",), flops=1e9),))


def test_a_share_takes_the_first_episodes_of_every_task(tmp_path: Path) -> None:
    dataset = Dataset.open(write_dataset(tmp_path / "data"))
    cache, run = Cache(tmp_path / "cache"), replace(FITTED, training=replace(FITTED.training, seed=5))

    def train_of(share: float) -> tuple[int, ...]:
        return open_material(replace(run, windows=WindowSettings(share=share)), dataset, stated=None, cache=cache).train

    whole, half, least = train_of(1.0), train_of(0.5), train_of(0.01)
    assert set(least) <= set(half) <= set(whole)
    assert len(whole) == 5
    assert [episode % 2 for episode in least] in ([0, 1], [1, 0])  # one of each task
    with pytest.raises(ConfigError, match="share"):
        WindowSettings(share=0.0)
