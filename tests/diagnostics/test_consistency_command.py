"""The command over evaluations as they lie on the disk: figures, JSON, a page that holds all that it shows."""

import json
from dataclasses import replace

import numpy as np
import pytest

from foreact.cli.main import run
from foreact.evaluation.consistency import Realised
from foreact.evaluation.protocol import Protocol
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
