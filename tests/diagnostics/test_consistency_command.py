"""The command over evaluations as they lie on the disk: figures, JSON, a page that holds all that it shows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from foreact.acting.consistency import Realised
from foreact.cli.main import run
from foreact.cli.stalled_films import stalled_films
from foreact.diagnostics.consistency.collapse import Rule
from foreact.evaluation.protocol import Protocol
from foreact.evaluation.recording import Recording, RecordingMeta
from foreact.evaluation.result import Result, line_of
from foreact.evaluation.rollout import EpisodeRecord


def record(task, seed, success, distance, values=()):
    seen = tuple(Realised(step=8 * i, offset=8, distance=distance + 0.01 * i, change=distance / 2 + 0.1 * i, on_plan=True)
                 for i in range(3))
    return EpisodeRecord(task=task, condition="clean", seed=seed, success=success, held=success, steps=24, calls=3, evaluations=12,
                         outside=0, instruction="do it", actions_digest="0" * 16, peak_memory_mb=1.0, consistency=seen, values=values,
                         call_steps=(0, 8, 16)[: len(values)])


@pytest.fixture
def folder(tmp_path):
    """An evaluation of two tasks, in one of which failures come out as imagined; values know success exactly."""
    draw, episodes = np.random.default_rng(0), []
    for task, gap in (("open", 0.5), ("push", -0.2)):
        for seed in range(20):
            success = seed % 3 != 0
            distance = float(abs(1 + (0 if success else gap) + 0.1 * draw.normal()))
            episodes.append(record(task, seed, success, distance, (0.9 if success else 0.1,)))
    out = tmp_path / "runs" / "one" / "evaluations" / "watched"
    out.mkdir(parents=True)
    result = Result(policy={"type": "model"}, protocol=Protocol({"condition": {"clean": {}}}), episodes=tuple(episodes))
    (out / "episodes.jsonl").write_bytes(b"".join(map(line_of, episodes)))
    (out / "evaluation.json").write_text(json.dumps({"consistency": "latent"}))
    result.save(out)
    return out


def test_it_tells_tasks_apart_and_writes_a_page(folder, tmp_path, capsys):
    words = ["diagnose", "consistency", str(folder), "--out", str(tmp_path / "page.html"), "resamples=20"]
    assert run([*words, "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert told["name"] == "one/watched" and told["distance"] == "latent"
    assert told["tasks"]["open"]["d"] > 1 and told["tasks"]["push"]["d"] < 0
    assert told["aligned"]["tasks"] == ["open"] and told["aligned"]["auc"] > told["all"]["auc"]
    assert told["value"]["auc"] == 1.0
    assert told["tasks"]["open"]["c_successes"] > told["tasks"]["open"]["c_failures"]
    page = (tmp_path / "page.html").read_text()
    assert "one/watched" in page and 'src="http' not in page
    run_folder = folder.parent.parent
    (folder.parent / "other").mkdir()
    (folder.parent / "other" / "result.json").write_text("{}")
    (folder.parent / "other" / "evaluation.json").write_text("{}")  # from before it was recorded
    assert run([*words[:2], str(run_folder), "resamples=20"]) == 0
    assert run([*words[:2], str(run_folder.parent), "resamples=20"]) == 1
    said = capsys.readouterr().out
    assert "AUC over 1 aligned of 2 tasks" in said and "log C against change" in said


def film(folder, record, frames=25):
    """The failures of this evaluation as a recording: grey that tells the step, imagined one brighter."""
    grey = np.arange(frames, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 8, 8), np.uint8)
    meta = RecordingMeta(task=record.task, condition=record.condition, seed=record.seed, success=record.success, instruction="do it",
                         rate_hz=20.0, cameras=("scene",), state_names=("x",), action_names=("x",), action_low=(-1.0,), action_high=(1.0,),
                         policy="model")
    steps = np.arange(0, 24, 8)
    Recording(meta=meta, frames={"scene": grey}, state=np.zeros((frames, 1), np.float32), actions=np.zeros((frames - 1, 1), np.float32),
              success=np.zeros(frames - 1, bool), call_steps=steps, call_ms=np.ones(3), plans=np.zeros((3, 8, 1), np.float32),
              offsets=np.array([8]), imagined={"scene": grey[steps + 8][:, None] + 1}).save(folder / "recordings")


def still(record):
    return replace(record, consistency=tuple(replace(one, change=1e-3) for one in record.consistency))


def written(folder, episodes, **fields):
    folder.mkdir(parents=True, exist_ok=True)
    result = Result(policy={"type": "model"}, protocol=Protocol({"condition": {"clean": {}}, **fields}), episodes=tuple(episodes))
    (folder / "episodes.jsonl").write_bytes(b"".join(map(line_of, episodes)))
    (folder / "evaluation.json").write_text(json.dumps({"consistency": "latent"}))
    result.save(folder)
    return folder


def test_frozen_episodes_and_an_evaluation_to_compare_with_are_told_apart(folder, tmp_path, capsys):
    whole = Result.load(folder).episodes
    lost = [replace(still(e), success=False, held=False) for e in whole]
    frozen = written(folder.parent / "frozen", lost, freeze={"share": 0.1, "step": 0})
    words = ["diagnose", "consistency", "resamples=10", "--json"]
    assert run([*words, str(folder.parent.parent), "--against", str(folder)]) == 0
    (told,) = json.loads(capsys.readouterr().out)["evaluations"]
    (tried,) = told["collapse"]["frozen"]
    assert tried["name"] == "one/frozen" and tried["detected"]["rate"] == 1.0 and tried["at"] == 0
    assert told["against"]["pairs"] == 40 and told["against"]["same_policy"] and told["against"]["change"]["late"] == 0.0
    assert told["against"]["protocols_differ_in"] == []
    assert run([*words, str(frozen)]) == 1
    assert "only frozen episodes" in capsys.readouterr().err
    (frozen / "evaluation.json").write_text(json.dumps({"consistency": "pixel"}))
    assert run([*words, str(folder), str(frozen)]) == 1
    assert "of no policy that is given" in capsys.readouterr().err


def test_filmed_failures_that_stalled_are_shown(folder, tmp_path):
    kept = [e if e.success else still(e) for e in Result.load(folder).episodes]
    written(folder, kept)
    lost = [e for e in kept if not e.success]
    for one in (*lost[:3], next(e for e in kept if e.success)):
        film(folder, one)
    films = stalled_films(folder, kept, Rule(patience=2))
    assert [(one["task"], one["seed"]) for one in films] == [(one.task, one.seed) for one in lost[:2]]
    assert films[0]["since"] == 8 and [one["step"] for one in films[0]["moments"]] == [8, 16, 24]
    assert [int(one["imagined"][0, 0, 0]) - int(one["seen"][0, 0, 0]) for one in films[0]["moments"]] == [1, 1, 1]
    assert films[0]["moments"][0]["seen"].shape == (8, 8, 3)
    assert run(["diagnose", "consistency", str(folder), "resamples=5", "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text().count("<img") == 2


def test_where_all_succeed_nothing_is_claimed(folder, capsys):
    whole = Result.load(folder)
    won = tuple(replace(one, success=True, held=True) for one in whole.episodes)
    (folder / "episodes.jsonl").write_bytes(b"".join(map(line_of, won)))
    replace(whole, episodes=won).save(folder)
    assert run(["diagnose", "consistency", str(folder), "resamples=5", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["evaluations"]
    assert told["all"]["d"] is None and told["all"]["auc"] is None
    assert run(["diagnose", "consistency", str(folder), "resamples=5"]) == 0
    assert "all episodes ended alike" in capsys.readouterr().out


def test_an_evaluation_that_was_not_watched_is_one_clear_error(folder, capsys):
    whole = Result.load(folder)
    blind = tuple(replace(one, consistency=()) for one in whole.episodes)
    (folder / "episodes.jsonl").write_bytes(b"".join(map(line_of, blind)))
    assert run(["diagnose", "consistency", str(folder)]) == 1
    said = capsys.readouterr().err
    assert "no imagined frame came due" in said and "consistency=latent" in said
