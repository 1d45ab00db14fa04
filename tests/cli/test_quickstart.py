"""The quickstart, small and for real: interrupted in the middle of training, resumed to the report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from foreact.cli.phases import stage_words, timed
from foreact.contract.config import apply_overrides
from foreact.recipes import catalogue
from foreact.training.checkpoint_folder import newest

SMALL = ["demonstrations=2", 'tasks=["button-press-topdown"]', "train_seconds=4", "episodes=1", "horizon=24", 'conditions=["clean"]',
         "collect.size=32", "collect.expert.steps_after_success=0", "training.batch_size=4", "training.substrate.steps=4",
         "training.substrate.batch_size=4", "training.log_every=1", "training.validation.every_steps=1000",
         "model.backbone.depth=1"]


def test_training_time_is_shared_in_the_proportions_of_the_steps():
    run = catalogue.recipe("joint").run("tiny")
    cut = timed(run, 100.0)
    assert sum(stage.seconds for stage in cut.training.stages) == pytest.approx(100.0)
    assert all(stage.steps is None for stage in cut.training.stages)
    assert apply_overrides(run, stage_words(cut)) == cut


def test_the_baseline_trains_as_long_as_the_model():
    cut = timed(catalogue.recipe("joint").run("tiny"), 100.0)
    stages = catalogue.baseline(cut).training.stages
    assert sum(stage.seconds for stage in stages) == pytest.approx(100.0)
    assert all("action" in stage.train for stage in stages)


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return {**os.environ, "FOREACT_CACHE": str(tmp_path_factory.mktemp("cache")), "OMP_NUM_THREADS": "1"}


def test_interrupted_and_resumed_to_the_report(tmp_path, environment):
    out = tmp_path / "run"
    command = [sys.executable, "-m", "foreact", "quickstart", "--out", str(out)]
    process = subprocess.Popen([*command, *SMALL], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    metrics = out / "baseline" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "--resume" in told
    assert newest(out / "model" / "checkpoints") is not None
    assert not (out / "report.html").exists()

    refused = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr

    done = subprocess.run([*command, "--resume"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) <= 5
    assert str(out / "report.html") in done.stdout
    phases = json.loads((out / "quickstart.json").read_text())["phases"]
    assert [name for name, phase in phases.items() if phase["done"]] == ["collect", "train", "evaluate", "report"]
    trained = [json.loads((out / name / "evaluations" / "quickstart" / "result.json").read_text()) for name in ("model", "baseline")]
    assert trained[0]["fingerprint"] == trained[1]["fingerprint"]
    assert trained[0]["seeds"] == trained[1]["seeds"]
    page = (out / "report.html").read_text()
    assert "<video" in page
