"""From a dataset on disk to a checkpoint that loads and plans, with everything that happens once in between."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_training import ACTION, FITTED, OBSERVATION, losses_of, write_dataset

from foreact.contract.context import fake_context
from foreact.contract.errors import CheckpointError, ConfigError
from foreact.data.cache import Cache
from foreact.training.checkpoint import find, load_model, load_run, load_specs
from foreact.training.metrics import read_metrics
from foreact.training.run import WindowSettings
from foreact.training.trainer import train


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "set")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def trained(dataset: Path, cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "whole"
    assert train(FITTED, dataset=dataset, out=out, cache=cache, device="cpu").step == 10
    return out


def test_checkpoint_loads_and_plans(trained: Path) -> None:
    model = load_model(trained)
    assert load_run(trained) == FITTED and load_specs(trained) == (OBSERVATION, ACTION)
    assert not model.training and not any(p.requires_grad for p in model.parameters())
    plan = model.plan(fake_context(OBSERVATION))
    assert plan.actions.shape == (2, 4, 2) and plan.future is not None
    again = load_model(find(trained).path).plan(fake_context(OBSERVATION))
    assert torch.equal(plan.actions, again.actions)


def test_normalisation_comes_from_training_episodes_and_travels(trained: Path) -> None:
    scaler = load_model(trained).action_scaler
    assert (scaler.centre > 0.25).all() and (scaler.centre < 0.35).all() and (scaler.scale < 0.1).all()


def test_stored_encodings_and_images_train_the_same(trained: Path, dataset: Path, cache: Cache, tmp_path: Path) -> None:
    run = replace(FITTED, windows=WindowSettings(encode_once=False))
    train(run, dataset=dataset, out=tmp_path / "images", cache=cache, device="cpu", substrate_of=trained)
    for (kind, step, ours), (_, _, theirs) in zip(losses_of(tmp_path / "images"), losses_of(trained), strict=True):
        for name, value in ours.items():
            assert value == pytest.approx(theirs[name], rel=0.02), (kind, step, name)  # encodings are stored as float16


def test_a_future_in_a_space_of_its_own_is_fitted_where_the_view_is_another_runs(trained: Path, dataset: Path, cache: Cache,
                                                                                 tmp_path: Path) -> None:
    coarser = replace(FITTED.model.substrate, channels=2)
    run = replace(FITTED, model=replace(FITTED.model, substrate=coarser, view=FITTED.model.substrate))
    train(run, dataset=dataset, out=tmp_path / "apart", cache=cache, device="cpu", substrate_of=trained)
    theirs, ours = find(trained).model(), find(tmp_path / "apart").model()
    shared = {name: value for name, value in theirs.items() if name.startswith("substrate.")}
    assert all(torch.equal(ours[name.replace("substrate.", "view.", 1)], value) for name, value in shared.items())
    assert any(ours[name].shape != value.shape for name, value in shared.items())


def test_substrate_of_another_run_is_the_very_same(trained: Path, dataset: Path, cache: Cache, tmp_path: Path) -> None:
    run = replace(FITTED, training=replace(FITTED.training, seed=9))
    train(run, dataset=dataset, out=tmp_path / "other", cache=cache, device="cpu", substrate_of=trained)
    ours, theirs = find(tmp_path / "other").model(), find(trained).model()
    shared = [name for name in ours if name.startswith("substrate.")]
    assert shared and all(torch.equal(ours[name], theirs[name]) for name in shared)
    assert not torch.equal(ours["text.table.weight"], theirs["text.table.weight"])
    other = replace(run, model=replace(run.model, substrate=replace(run.model.substrate, channels=8)))
    with pytest.raises(ConfigError, match="another substrate"):
        train(other, dataset=dataset, out=tmp_path / "misfit", cache=cache, device="cpu", substrate_of=trained)


def test_resume_refuses_other_data(trained: Path, dataset: Path, cache: Cache, tmp_path: Path) -> None:
    import shutil

    changed = shutil.copytree(dataset, tmp_path / "set")
    (changed / "meta" / "notes.txt").write_text("changed")
    with pytest.raises(ConfigError, match="other data"):
        train(FITTED, dataset=changed, out=trained, cache=cache, device="cpu", resume=True)
    assert train(FITTED, dataset=dataset, out=trained, cache=cache, device="cpu", resume=True).step == 10


def test_folder_holds_what_is_promised(trained: Path) -> None:
    names = {p.name for p in find(trained).path.iterdir()}
    assert names == {"config.json", "specs.json", "model.safetensors", "train_state.safetensors", "train_state.json", "README.md",
                     "COMPLETE"}
    assert json.loads((trained / "config.json").read_text()) == json.loads((find(trained).path / "config.json").read_text())
    card = (find(trained).path / "README.md").read_text()
    assert "dx in [-1, 1]" in card and "PixelLatents" in card and "step 10" in card and "held-out episodes" in card
    lines = read_metrics(trained / "metrics.jsonl")
    assert {line["kind"] for line in lines} == {"train", "validation"}
    assert all({"step", "stage", "seconds", "loss", "losses"} <= line.keys() for line in lines)
    assert all(line["loss"] == pytest.approx(sum(line["losses"].values())) for line in lines)


def test_a_run_starts_from_another_of_the_same_model(trained: Path, dataset: Path, cache: Cache, tmp_path: Path) -> None:
    """Weights, normalisation and substrate are those of the other run; the steps are counted anew."""
    out = tmp_path / "tuned"
    still = replace(FITTED, training=replace(FITTED.training, optimiser=replace(FITTED.training.optimiser, learning_rate=0.0)))
    done = train(still, dataset=dataset, out=out, cache=cache, device="cpu", start_from=trained)
    assert done.step == 10
    ours, theirs = find(out).model(), find(trained).model()
    assert all(torch.allclose(ours[name], theirs[name]) for name in theirs)
    train(still, dataset=dataset, out=out, cache=cache, device="cpu", start_from=trained, resume=True)


def test_another_model_cannot_be_started_from(trained: Path, dataset: Path, cache: Cache, tmp_path: Path) -> None:
    wider = replace(FITTED, model=replace(FITTED.model, backbone=replace(FITTED.model.backbone, depth=2)))
    with pytest.raises(CheckpointError, match="another model"):
        train(wider, dataset=dataset, out=tmp_path / "wider", cache=cache, device="cpu", start_from=trained)
    with pytest.raises(ConfigError, match="has its substrate already"):
        train(FITTED, dataset=dataset, out=tmp_path / "both", cache=cache, device="cpu", start_from=trained, substrate_of=trained)
