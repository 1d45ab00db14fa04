"""Whole evaluations: the same records however the work is spread, continued after a kill, refused where they do not belong."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from foreact.contract.config import decode, encode
from foreact.contract.errors import ConfigError, DatasetError, ForeactError, ProtocolMismatchError, SpecError
from foreact.evaluation.comparison import compare
from foreact.evaluation.evaluate import EvaluationConfig, evaluate
from foreact.evaluation.filming import Videos
from foreact.evaluation.policies import HoldStill, RandomActions, ScriptedExpert
from foreact.evaluation.protocol import require_same
from foreact.evaluation.recording import Recording
from foreact.evaluation.result import Result
from foreact.evaluation.rollout import peak_memory_mb
from foreact.evaluation.sources import ModelSource, source_of
from foreact.evaluation.workers import in_processes

TASKS = ("drawer-open", "window-close")


@pytest.fixture
def config(environment) -> EvaluationConfig:
    return EvaluationConfig(environment=environment, tasks=TASKS, seeds_per_task=3)


@pytest.fixture(scope="session")
def reference(tiny):
    """The records of one environment after another."""
    from foreact.envs.metaworld import MetaWorld

    environment = MetaWorld.Config(task="drawer-open", size=32, horizon=24)
    return evaluate(tiny, EvaluationConfig(environment=environment, tasks=TASKS, seeds_per_task=3, envs=1))


def outcomes(result):
    return [record.outcome for record in result.episodes]


def test_controls_are_told_apart(environment):
    long = EvaluationConfig(environment=replace(environment, horizon=150), tasks=TASKS, seeds_per_task=4)
    expert, still = evaluate(ScriptedExpert.Config(), long), evaluate(HoldStill.Config(), long)
    chance = evaluate(RandomActions.Config(), long)
    assert (expert.successes, still.successes, expert.n) == (8, 0, 8) and chance.successes <= 2
    assert all(record.steps < 150 for record in expert.episodes) and all(record.steps == 150 for record in still.episodes)
    assert expert.protocol.fingerprint == still.protocol.fingerprint
    found = compare(expert, still).summary()
    assert found["difference"] == 1.0 and found["p_value"] == pytest.approx(2 / 2**8) and found["tasks"]["drawer-open"]["only_first"] == 4


@pytest.mark.parametrize("envs", [2, 5])
def test_the_number_of_environments_changes_nothing(tiny, config, reference, envs):
    assert outcomes(evaluate(tiny, replace(config, envs=envs))) == outcomes(reference)


def test_async_environments_change_nothing(tiny, config, reference):
    assert outcomes(evaluate(tiny, replace(config, envs=2, vector="async"))) == outcomes(reference)


def test_processes_change_nothing(tiny, config, reference):
    assert outcomes(evaluate(tiny, replace(config, workers=2, envs=2))) == outcomes(reference)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning",
                            "ignore::pytest.PytestUnraisableExceptionWarning")
def test_ray_changes_nothing(tiny, config, reference):
    ray = pytest.importorskip("ray")
    assert outcomes(evaluate(tiny, replace(config, workers=2, envs=2, on="ray"))) == outcomes(reference)
    assert not ray.is_initialized()


def test_records_say_what_happened(reference, environment):
    for record in reference.episodes:
        assert record.steps == 24 and record.calls == 4 and record.call_steps == (0, 6, 12, 18) and record.evaluations == 20
        assert len(record.model_ms) == len(record.observe_ms) == 4 and 0 < record.outside <= 24
    assert len({record.actions_digest for record in reference.episodes}) == 6
    assert [record.seed for record in reference.episodes[:3]] == [1_000_000, 1_000_001, 1_000_002]
    summary = reference.summary()
    assert summary["n"] == 6 and summary["interval_method"].startswith("Wilson")
    assert summary["conditions"]["clean"]["tasks"].keys() == set(TASKS)
    assert summary["latency_ms"]["alone"]["n"] == 8 and 50 < summary["peak_memory_mb"] <= peak_memory_mb() + 0.05
    assert summary["protocol"]["tasks"] == list(TASKS) and summary["protocol"]["versions"].keys() >= {"metaworld", "mujoco", "foreact"}
    json.dumps(summary, allow_nan=False)


def test_running_on_after_success(environment):
    config = EvaluationConfig(environment=replace(environment, horizon=120), tasks=("drawer-open",), seeds_per_task=2,
                              stop_after_success=False)
    assert all(r.steps == 120 and r.success for r in evaluate(ScriptedExpert.Config(), config).episodes)


# --- files ------------------------------------------------------------------------------------------------------------

def test_a_finished_evaluation_is_read_back(tmp_path, config):
    result = evaluate(ScriptedExpert.Config(), config, out=tmp_path)
    assert Result.load(tmp_path) == result
    (tmp_path / "episodes.jsonl").write_text("")
    with pytest.raises(DatasetError, match="disagree"):
        Result.load(tmp_path)
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(DatasetError, match="not a finished evaluation"):
        Result.load(tmp_path)


def test_what_is_finished_is_not_run_again(tmp_path, tiny, config, reference):
    result = evaluate(tiny, config, out=tmp_path)
    lines = (tmp_path / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "episodes.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:50])  # as a kill leaves it
    again = evaluate(tiny, config, out=tmp_path)
    assert outcomes(again) == outcomes(result) == outcomes(reference)
    after = (tmp_path / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    assert after[:2] == lines[:2] and len(after) == 6
    more = evaluate(tiny, replace(config, seeds_per_task=4), out=tmp_path)
    assert more.n == 8 and (tmp_path / "episodes.jsonl").read_bytes().startswith(b"".join(after))


def test_killed_at_any_moment_nothing_is_lost(tmp_path, config):
    script = ("import sys\nfrom foreact.contract.config import decode\nfrom foreact.evaluation.evaluate import *\n"
              "from foreact.evaluation.policies import HoldStill\nimport json\n"
              "evaluate(HoldStill.Config(), decode(EvaluationConfig, json.loads(sys.argv[1])), out=sys.argv[2])")
    long = replace(config, environment=replace(config.environment, horizon=100), seeds_per_task=40)
    process = subprocess.Popen([sys.executable, "-c", script, json.dumps(encode(long)), str(tmp_path)])
    lines, deadline = tmp_path / "episodes.jsonl", time.monotonic() + 60
    while not lines.exists() or lines.stat().st_size < 2000:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = lines.read_bytes()
    result = evaluate(HoldStill.Config(), long, out=tmp_path)
    assert result.n == 80 and len(lines.read_bytes().splitlines()) == 80
    assert lines.read_bytes().startswith(kept[: kept.rfind(b"\n") + 1])


def test_an_interrupt_ends_every_process(tmp_path, config):
    script = ("import sys, json\nfrom foreact.contract.config import decode\nfrom foreact.evaluation.evaluate import *\n"
              "from foreact.evaluation.policies import HoldStill\n"
              "if __name__ == '__main__':\n"
              "    evaluate(HoldStill.Config(), decode(EvaluationConfig, json.loads(sys.argv[1])), out=sys.argv[2])")
    path = tmp_path / "main.py"
    path.write_text(script)
    long = replace(config, environment=replace(config.environment, horizon=400), seeds_per_task=200, workers=2)
    process = subprocess.Popen([sys.executable, str(path), json.dumps(encode(long)), str(tmp_path / "run")], stderr=subprocess.PIPE,
                               start_new_session=True, text=True)
    lines, deadline = tmp_path / "run" / "episodes.jsonl", time.monotonic() + 60
    while not lines.exists() or lines.stat().st_size == 0:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does
    said = process.communicate(timeout=30)[1]
    assert "KeyboardInterrupt" in said and said.count("Traceback") == 1, said
    assert gone(process.pid, within=20)


def test_a_worker_that_dies_is_missed(config):
    long = replace(config, environment=replace(config.environment, horizon=200), seeds_per_task=100)
    running = in_processes(source_of(HoldStill.Config()), long.rules(HoldStill.Config()), long.episodes, workers=1, envs=1, lanes=4)
    next(running)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(ForeactError, match=r"died(.|\n)*-9"):
        list(running)


def gone(group, *, within):
    """Whether no process of the group is left, after a while."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


def test_a_folder_keeps_one_evaluation(tmp_path, config, environment):
    evaluate(HoldStill.Config(), config, out=tmp_path)
    with pytest.raises(ConfigError, match="another policy"):
        evaluate(RandomActions.Config(), config, out=tmp_path)
    with pytest.raises(ProtocolMismatchError, match="horizon: 30 against 24"):
        evaluate(HoldStill.Config(), replace(config, environment=replace(environment, horizon=30)), out=tmp_path)


def test_config_survives_the_disk(config):
    assert decode(EvaluationConfig, json.loads(json.dumps(encode(config)))) == config


# --- filming ----------------------------------------------------------------------------------------------------------

def test_filmed_episodes_are_the_measured_ones(tmp_path, tiny, config):
    result = evaluate(tiny, replace(config, videos=Videos(failures=1)), out=tmp_path)
    recording = Recording.load(tmp_path / "recordings" / "clean-drawer-open-1000000.npz")
    record = next(r for r in result.episodes if (r.task, r.seed) == ("drawer-open", 1_000_000))
    assert recording.steps == record.steps == 24 and recording.meta.success is False
    assert recording.frames["scene"].shape == (25, 3, 32, 32) and recording.state.shape == (25, 4)
    assert tuple(recording.call_steps) == record.call_steps and recording.plans.shape == (4, 8, 4)
    assert recording.imagined["gripper"].shape == (4, 2, 3, 32, 32) and tuple(recording.offsets) == (4, 8)
    for call, step in enumerate(recording.call_steps):  # what was executed is the clipped plan
        assert (recording.actions[step:step + 6] == recording.plans[call][:6].clip(-1, 1)).all()
    assert not (recording.frames["gripper"][0] == recording.frames["gripper"][-1]).all()
    assert len(json.loads((tmp_path / "result.json").read_text())["recordings"]) == 2


def test_a_filmed_expert_has_no_plans(tmp_path, config, environment):
    short = replace(config, tasks=("drawer-open",), seeds_per_task=1, environment=replace(environment, horizon=100),
                    videos=Videos(successes=2))
    evaluate(ScriptedExpert.Config(), short, out=tmp_path)
    recording = Recording.load(next((tmp_path / "recordings").glob("*.npz")))
    assert recording.meta.success and recording.success[-1] and recording.plans.shape == (0, 0, 4) and recording.imagined == {}


# --- misuse -----------------------------------------------------------------------------------------------------------

def test_a_model_for_other_cameras_is_refused(tiny, config, environment):
    with pytest.raises(SpecError, match="cameras"):
        evaluate(tiny, replace(config, environment=replace(environment, cameras=("scene",))))
    with pytest.raises(SpecError, match="cameras"):
        evaluate(tiny, replace(config, environment=replace(environment, size=64)))


def test_leaving_the_bounds_can_be_an_error(tiny, config):
    with pytest.raises(SpecError, match="left the action bounds"):
        evaluate(tiny, replace(config, out_of_bounds="error"))
    with pytest.raises(ForeactError, match="Meta-World has no such task"):  # an error inside a worker arrives as it was
        evaluate(HoldStill.Config(), replace(config, tasks=("drawer-open", "drawer-opne"), seeds_per_task=1, workers=2))


def test_weights_that_are_not_finite_are_found(config, tiny):
    broken = ModelSource.of(tiny).build()
    with torch.no_grad():
        broken.action_scaler.scale[0] = torch.nan
    with pytest.raises(SpecError, match="no action"):
        evaluate(broken, config)


@pytest.mark.parametrize(("change", "match"), [
    ({"envs": 0}, "evaluation.envs"), ({"seeds_per_task": 0}, "seeds_per_task"), ({"conditions": ()}, "conditions"),
    ({"vector": "async", "workers": 2}, "evaluation.vector"), ({"compile": "default", "lanes": 0}, "evaluation.lanes")])
def test_configs_that_cannot_be_meant(config, change, match):
    with pytest.raises(ConfigError, match=match):
        replace(config, **change)


def test_filming_needs_a_folder(config):
    with pytest.raises(ConfigError, match="needs a folder"):
        evaluate(HoldStill.Config(), replace(config, videos=Videos(failures=1)))


def test_precision_is_part_of_the_rules(config):
    plain, rounded = (replace(config, precision=word).protocol()[0] for word in ("float32", "int8"))
    assert "precision" not in plain.fields
    with pytest.raises(ProtocolMismatchError, match="precision"):
        require_same(plain, rounded)
    require_same(plain, rounded, across=("precision",))
    with pytest.raises(ConfigError, match="a control computes nothing"):
        evaluate(HoldStill.Config(), replace(config, precision="int8"))
