"""The preflight check finds what ruins training, and passes what does not."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foreact.data.check import check
from foreact.data.findings import render
from foreact.data.lerobot import Dataset, DatasetWriter


def kinds(report, severity="fatal"):
    return {finding.kind for finding in report.findings if finding.severity == severity}


def test_a_sound_dataset(recorded):
    report = check(recorded.root)
    assert report.ok and not kinds(report)
    assert kinds(report, "warning") == {"short-episode"}, "the middle episode has one frame"
    text = render(report)
    assert "v3.0" in text and "left, right" in text and "fit for training: 0 fatal" in text
    value = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert value["ok"] is True and value["summary"]["frames"] == 20


def test_lerobots_own_files_pass(sample):
    report = check(sample)
    assert report.ok, render(report)
    assert "conventions" in kinds(report, "info")


def test_wrong_quantiles_of_an_old_lerobot_are_said(sample):
    """LeRobot 0.4.4 averages the quantiles of episodes; those of v2.x store none."""
    said = [f.what for f in check(sample).findings if f.kind == "statistics" and f.severity == "warning"]
    assert any("q99" in text for text in said) == (sample.name == "lerobot_v30")


def cut(file):
    os.truncate(file, int(file.stat().st_size * 0.6))


@pytest.mark.parametrize(("pattern", "kind"), [
    ("data/**/*.parquet", "unreadable"), ("meta/episodes/**/*.parquet", "unreadable"), ("meta/tasks.parquet", "unreadable"),
    ("meta/info.json", "unreadable"), ("videos/observation.images.left/**/*.mp4", "video")])
def test_a_dataset_cut_off_in_the_middle(damaged, pattern, kind):
    cut(next(damaged.glob(pattern)))
    report = check(damaged)
    assert not report.ok and kind in kinds(report)
    assert "cut off" in render(report) and "NOT fit for training" in render(report)


@pytest.mark.parametrize("pattern", ["data/**/*.parquet", "videos/observation.images.left/**/*.mp4"])
def test_a_file_that_is_gone(damaged, pattern):
    next(damaged.glob(pattern)).unlink()
    report = check(damaged)
    assert not report.ok and "missing" in render(report)
    if "videos" in pattern:
        assert sum("missing" in finding.what for finding in report.findings) == 1, "one file, one finding"


def edit_info(path, **changes):
    file = path / "meta" / "info.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_the_stated_rate_is_not_the_real_one(damaged):
    edit_info(damaged, fps=15)
    report = check(damaged)
    assert not report.ok and kinds(report) == {"fps"}
    assert "they run at 10 fps" in render(report)


def test_versions_and_totals(damaged):
    edit_info(damaged, total_episodes=4)
    assert kinds(check(damaged)) == {"totals"}
    edit_info(damaged, codebase_version="v9.9")
    assert "v9.9" in render(check(damaged))
    assert kinds(check(damaged / "nowhere")) == {"unreadable"}


def edit_column(path, name, change):
    file = next((path / "data").rglob("*.parquet"))
    table = pq.read_table(file)
    place = table.column_names.index(name)
    values = np.array(table[name].to_pylist())
    changed = change(values)
    column = pa.array(changed.tolist(), type=table.schema.field(name).type)
    pq.write_table(table.set_column(place, table.schema.field(name), column), file)


def with_nan(values):
    values[3, 0] = np.nan
    return values


@pytest.mark.parametrize(("column", "change", "kind", "said"), [
    ("action", with_nan, "not-finite", "action: NaN or infinity in 1 frames"),
    ("action", lambda v: np.zeros_like(v), "zero-variance", "no entry ever changes"),
    ("action", lambda v: v * 5 + 3, "statistics", "action: stored statistics disagree"),
    ("frame_index", lambda v: np.where(v == 5, 4, v), "frame-index", "repeated"),
    ("task_index", lambda v: v + 1, "task", "without a text"),
    ("timestamp", lambda v: v * 1.1, "fps", "they run at 9.09"),
    ("episode_index", lambda v: v[::-1].copy(), "unreadable", "order"),
])
def test_numbers_that_ruin_training(damaged, column, change, kind, said):
    edit_column(damaged, column, change)
    report = check(damaged)
    assert kind in kinds(report) and said in render(report), render(report)


def test_actions_outside_the_limits(damaged):
    edit_column(damaged, "action", lambda v: np.where(np.arange(len(v))[:, None] == 4, 1.5, v))
    report = check(damaged)
    assert "5.00% of the actions are outside" in render(report)


def test_an_entry_that_never_changes_is_named(recorded, world, tmp_path):
    with DatasetWriter(tmp_path / "d", fps=10, features=world.features, specs=world.specs) as writer:
        arrays = world.arrays(0, 8)
        arrays["frames"]["action"][:, 1] = 0.25
        writer.add_episode(**arrays)
    report = check(tmp_path / "d")
    assert report.ok and "action: entries that never change: gripper" in render(report)


def test_rows_and_columns_that_are_missing(damaged):
    file = next((damaged / "data").rglob("*.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 15).drop_columns(["action"]), file)
    report = check(damaged)
    assert {"missing-column", "episode-length"} <= kinds(report)


def test_frames_that_are_missing(world, damaged, tmp_path):
    other = world.write(tmp_path / "short", (12, 1, 3))
    source = next((other.root / "videos" / "observation.images.left").rglob("*.mp4"))
    next((damaged / "videos" / "observation.images.left").rglob("*.mp4")).write_bytes(source.read_bytes())
    report = check(damaged)
    assert "frame-count" in kinds(report) and "3 frames in the video for 7 rows" in render(report)


@pytest.mark.parametrize(("repeat", "severity"), [(12, "fatal"), (2, "warning")])
def test_frames_that_repeat(world, tmp_path, repeat, severity):
    arrays = world.arrays(0, 12)
    for camera, images in arrays["images"].items():
        arrays["images"][camera] = images[np.arange(12) // repeat * repeat]
    with DatasetWriter(tmp_path / "d", fps=10, features=world.features) as writer:
        writer.add_episode(**arrays)
    report = check(tmp_path / "d")
    # H.264 skips unchanged blocks, so equal frames stay equal to the last bit.
    assert "repeated-frames" in kinds(report, severity), render(report)
    assert "repeated-frames" not in kinds(check(tmp_path / "d", decode=False), severity)


def test_a_still_robot_may_see_still_pictures(world, tmp_path):
    arrays = world.arrays(0, 12)
    for camera, images in arrays["images"].items():
        arrays["images"][camera] = images[[0] * 12]
    arrays["frames"]["observation.state"][:] = 1.0
    with DatasetWriter(tmp_path / "d", fps=10, features=world.features) as writer:
        writer.add_episode(**arrays)
    assert check(tmp_path / "d").ok


def test_statistics_of_images_that_overflowed(damaged):
    file = damaged / "meta" / "stats.json"
    stats = json.loads(file.read_text())
    stats["observation.images.left"]["std"] = [[[0.0]]] * 3
    file.write_text(json.dumps(stats))
    report = check(damaged)
    assert report.ok and "observation.images.left: stored statistics disagree" in render(report)
    assert Dataset.open(damaged).stored_statistics["observation.images.left"]["std"].sum() == 0
