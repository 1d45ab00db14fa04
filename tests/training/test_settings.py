"""Schedules, groups of parameters and averages against their closed forms; what settings refuse."""

from __future__ import annotations

import math

import pytest
import torch
from tiny_training import RUN, tiny_model
from torch import nn

from foreact.contract.config import apply_overrides
from foreact.contract.errors import ConfigError, MissingExtraError
from foreact.training.average import MovingAverage
from foreact.training.logging import open_loggers
from foreact.training.optimiser import decays
from foreact.training.parallel import use_threads
from foreact.training.run import Average, Schedule, Stage
from foreact.training.schedule import learning_rate_factor


@pytest.mark.parametrize(("kind", "progress", "factor"), [
    ("constant", 0.9, 1.0), ("linear", 0.25, 0.75), ("cosine", 0.5, 0.5), ("cosine", 0.25, 0.5 + math.sqrt(0.125)),
    ("constant-then-linear", 0.2, 1.0), ("constant-then-linear", 0.6, 0.5), ("linear", 1.0, 0.0), ("cosine", 2.0, 0.0)])
def test_curves(kind: str, progress: float, factor: float) -> None:
    assert learning_rate_factor(Schedule(kind=kind, warmup_steps=0), step=10, progress=progress) == pytest.approx(factor)


def test_warm_up_and_floor() -> None:
    schedule = Schedule(kind="linear", warmup_steps=4, final=0.1)
    assert [learning_rate_factor(schedule, step=s, progress=0.0) for s in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    assert learning_rate_factor(schedule, step=9, progress=1.0) == pytest.approx(0.1)


def test_progress_follows_what_runs_out_first() -> None:
    stage = Stage(name="x", train=("action",), steps=10, seconds=100.0)
    assert stage.progress(5, 10.0) == 0.5 and stage.progress(1, 90.0) == 0.9
    assert Stage(name="x", train=("action",), seconds=4.0).progress(1000, 1.0) == 0.25


def test_weight_decay_spares_biases_norms_and_embeddings() -> None:
    model = tiny_model()
    spared = {name for name, _ in model.parameters_to_train() if not decays(model, name, model.get_parameter(name))}
    assert {"text.table.weight", "text.place.weight"} <= spared
    assert all(name in spared for name, p in model.parameters_to_train() if name.endswith("bias") or p.ndim < 2)
    assert all(decays(model, name, model.get_parameter(name)) for name, _ in model.parameters_to_train()
               if name.endswith(("query_key_value.weight", "out.weight")))


def test_average_is_the_closed_form() -> None:
    weight = nn.Parameter(torch.zeros(3))
    average, expected = MovingAverage(Average(decay=0.5), {"w": weight}), 0.0
    for step in range(40):
        with torch.no_grad():
            weight.fill_(float(step))
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert average.state()["w"].tolist() == pytest.approx([expected] * 3)
    with average.in_place():
        assert weight.tolist() == pytest.approx([expected] * 3)
    assert weight.tolist() == [39.0] * 3


@pytest.mark.parametrize(("override", "message"), [
    ("training.micro_batches=3", "divisor of training.batch_size=8"), ("training.stages=[]", "at least one stage"),
    ("training.checkpoints.keep_last=0", "at least one checkpoint"), ("training.schedule.kind=cosin", "cosine"),
    ("training.optimizer.clip=1", "did you mean 'optimiser'"),
    ('training.stages=[{"name": "a", "train": ["video"]}]', "needs a budget"),
    ('training.stages=[{"name": "a", "train": ["video"], "steps": 0}]', "budget is positive")])
def test_settings_refuse(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_overrides(RUN, [override])


def test_threads_are_set_on_purpose() -> None:
    before = torch.get_num_threads()
    try:
        assert use_threads(None, 2) == 1 == torch.get_num_threads()
        assert use_threads(2, 1) == 2 == torch.get_num_threads()
    finally:
        torch.set_num_threads(before)


def test_loggers_by_name(tmp_path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'tensorboard'"):
        open_loggers(["tensorbord"], tmp_path, {})
    open_loggers(["none"], tmp_path, {}).log(1, {"a": 1.0})


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_logger_that_is_not_installed_names_the_extra(name: str, tmp_path) -> None:
    import importlib.util

    if importlib.util.find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    with pytest.raises(MissingExtraError, match=r"foreact\[train\]"):
        open_loggers([name], tmp_path, {})


def test_tensorboard_holds_the_numbers(tmp_path) -> None:
    pytest.importorskip("tensorboard")
    logs = open_loggers(["tensorboard"], tmp_path, {})
    logs.log(3, {"train/loss": 0.25})
    logs.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(3, 0.25)]
