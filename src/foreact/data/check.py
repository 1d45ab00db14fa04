"""The preflight check of anyone's dataset: what would ruin training, said before it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from foreact.contract.errors import ForeactError
from foreact.data.check_video import check_videos
from foreact.data.findings import Finding, Report, ordered
from foreact.data.lerobot.dataset import Dataset
from foreact.data.lerobot.layout import AUTOMATIC, Episode
from foreact.data.lerobot.metadata import read_parquet
from foreact.data.statistics import QUANTILES, WIDE, array_statistics

__all__ = ["check"]

Findings = Iterator[Finding]
# Beyond this share of the time between frames, timestamps name another frame.
_DRIFT = 0.2


def check(path: Path | str, *, decode: bool = True) -> Report:
    """Look at everything in the dataset at `path`; `decode=False` leaves out the decoding of the pictures.

    Never raises for what is wrong with the dataset: that is a finding.
    """
    try:
        dataset = Dataset.open(path)
    except ForeactError as error:
        return Report(path=str(path), summary={}, findings=(Finding.of(error, "unreadable"),))
    found: list[Finding] = []
    lost = list(_files(dataset))
    found += lost
    checks: list[Callable[[Dataset], Findings]] = [_totals, _features, _conventions]
    if not lost:
        checks += [_rows, _timestamps, _tasks, _numbers, _stored_statistics, _action_range]
    for one in checks:
        found += _attempt(one, dataset)
    pictures = None if lost else check_videos(dataset, decode=decode)
    if pictures is not None:
        found += pictures
    dataset.close()
    return Report(path=str(path), summary=_summary(dataset), findings=ordered(found))


def _attempt(one: Callable[[Dataset], Findings], dataset: Dataset) -> list[Finding]:
    found: list[Finding] = []
    try:
        for finding in one(dataset):
            found.append(finding)
    except ForeactError as error:
        found.append(Finding.of(error, "unreadable"))
    return found


def _summary(dataset: Dataset) -> dict[str, object]:
    info, lengths = dataset.info, [episode.length for episode in dataset.episodes]
    return {
        "version": info.version, "robot": info.robot_type or "not stated", "fps": info.fps, "episodes": len(lengths),
        "frames": sum(lengths), "lengths": f"{min(lengths, default=0)} to {max(lengths, default=0)}",
        "tasks": len(dataset.tasks), "cameras": ", ".join(dataset.cameras) or "none",
        "features": ", ".join(f"{key} {feature.dtype}{list(feature.shape)}" for key, feature in info.features.items()
                              if key not in AUTOMATIC)}


def _files(dataset: Dataset) -> Findings:
    """Data files that are missing, cut off, or lack columns or rows."""
    wanted = [key for key, feature in dataset.info.features.items() if feature.dtype != "video"]
    by_file: dict[Path, list[Episode]] = {}
    for episode in dataset.episodes:
        by_file.setdefault(episode.data_file, []).append(episode)
    for file, episodes in by_file.items():
        try:
            table = read_parquet(file)
        except ForeactError as error:
            yield Finding.of(error, "unreadable")
            continue
        absent = [key for key in wanted if key not in table.column_names]
        if absent:
            yield Finding(severity="fatal", kind="missing-column", what=f"columns that info.json states are absent: {', '.join(absent)}",
                          where=str(file), advice="export the dataset again")
        stated = sum(episode.length for episode in episodes)
        if len(table) != stated:
            yield Finding(severity="fatal", kind="episode-length", what=f"{len(table)} rows, but its episodes state {stated}",
                          where=f"{file}, episodes {episodes[0].index} to {episodes[-1].index}",
                          advice="rows were lost or added: copy or export the dataset again")


def _totals(dataset: Dataset) -> Findings:
    info = dataset.info
    for what, stated, found in (("episodes", info.episodes, len(dataset.episodes)), ("frames", info.frames, dataset.frames_total)):
        if stated != found:
            yield Finding(severity="fatal", kind="totals", what=f"info.json states {stated} {what}, the table of episodes has {found}",
                          where="meta", advice="part of the dataset is missing, or its metadata is stale")
    short = [episode.index for episode in dataset.episodes if episode.length < 2]
    if short:
        yield Finding(severity="warning", kind="short-episode", what=f"{len(short)} episodes of fewer than two frames",
                      where=f"episodes {_some(short)}", advice="leave them out: there is no future in them")


def _features(dataset: Dataset) -> Findings:
    features = dataset.info.features
    absent = [key for key in AUTOMATIC if key not in features]
    if absent:
        yield Finding(severity="fatal", kind="missing-feature", what=f"automatic features are absent: {', '.join(absent)}",
                      where="meta/info.json: features", advice="export the dataset again")
    if not dataset.cameras:
        yield Finding(severity="warning", kind="no-camera", what="no camera: no image or video feature under observation.images",
                      where="meta/info.json: features", advice="a World Action Model needs at least one camera")
    for key in ("observation.state", "action"):
        if key not in features:
            yield Finding(severity="warning", kind="missing-feature", what=f"no feature '{key}'", where="meta/info.json: features",
                          advice=f"name the feature that takes its place ({', '.join(k for k in features if k not in AUTOMATIC)})")


def _conventions(dataset: Dataset) -> Findings:
    if dataset.specs is None:
        yield Finding(severity="info", kind="conventions", what="the dataset does not say what its actions mean "
                      "(absolute or delta, frame, gripper polarity, limits)", where="meta/foreact.json is absent",
                      advice="state them when training, e.g. --action-reference delta")


def _rows(dataset: Dataset) -> Findings:
    """Rows belong to the episodes in order, and count up from 0 in each."""
    dataset.column("episode_index")
    expected = np.concatenate([np.arange(episode.length) for episode in dataset.episodes])
    wrong = dataset.column("frame_index") != expected
    if wrong.any():
        episodes = _indices(dataset, wrong)
        yield Finding(severity="fatal", kind="frame-index",
                      what=f"frames are missing, repeated or out of order in {len(episodes)} episodes",
                      where=f"frame_index of episodes {_some(episodes)}", advice="record or export these episodes again")


def _timestamps(dataset: Dataset) -> Findings:
    fps, stamps = dataset.info.fps, dataset.column("timestamp").astype(np.float64)
    expected = np.concatenate([np.arange(episode.length) for episode in dataset.episodes]) / fps
    off = np.abs(stamps - expected) * fps
    if not np.isfinite(stamps).all() or off.max() > _DRIFT:
        worst = int(np.nan_to_num(off, nan=np.inf).argmax())
        episodes = _indices(dataset, ~(off <= _DRIFT))
        seconds = [dataset.rows("timestamp", i)[-1] / (e.length - 1) for i, e in enumerate(dataset.episodes) if e.length > 1]
        yield Finding(severity="fatal", kind="fps", what=f"timestamps do not run at the stated {fps:g} fps: up to {off[worst]:.2f} frames "
                      f"off; they run at {1 / max(np.median(seconds or [1 / fps]), 1e-9):.4g} fps",
                      where=f"timestamp of episodes {_some(episodes)}", advice="correct fps in info.json, or resample the episodes")
    elif off.max() > 0.02:
        yield Finding(severity="warning", kind="fps", what=f"timestamps drift by up to {off.max():.3f} of a frame", where="timestamp",
                      advice="usable; the recording clock was not exact")


def _tasks(dataset: Dataset) -> Findings:
    used = np.unique(dataset.column("task_index"))
    unknown = [int(index) for index in used if int(index) not in dataset.tasks]
    if unknown:
        yield Finding(severity="fatal", kind="task", what=f"task indices without a text: {_some(unknown)}", where="task_index",
                      advice="add the texts to meta/tasks")
    empty = [index for index, text in dataset.tasks.items() if not text.strip()]
    if empty:
        yield Finding(severity="warning", kind="task", what=f"empty task texts: {_some(empty)}", where="meta/tasks",
                      advice="a policy that reads instructions learns nothing from these")
    untold = [episode.index for episode in dataset.episodes if not episode.tasks]
    if untold:
        yield Finding(severity="warning", kind="task", what=f"{len(untold)} episodes name no task", where=f"episodes {_some(untold)}")


def _vectors(dataset: Dataset) -> list[str]:
    return [key for key, feature in dataset.info.features.items() if feature.is_numeric and key not in AUTOMATIC]


def _learnt(key: str) -> bool:
    return key.startswith(("observation.state", "action"))


def _numbers(dataset: Dataset) -> Findings:
    """NaN, infinity, and entries that never change."""
    for key in _vectors(dataset):
        values = dataset.column(key)
        broken = ~np.isfinite(values.reshape(len(values), -1)).all(1) if values.dtype.kind == "f" else np.zeros(len(values), bool)
        if broken.any():
            yield Finding(severity="fatal" if _learnt(key) else "warning", kind="not-finite",
                          what=f"{key}: NaN or infinity in {int(broken.sum())} frames",
                          where=f"episodes {_some(_indices(dataset, broken))}", advice="leave these episodes out, or mend them")
        if not _learnt(key) or len(values) < 2:
            continue
        table = values.reshape(len(values), -1)
        still = np.flatnonzero((table == table[:1]).all(0))
        if len(still) == table.shape[1] and len(still):
            yield Finding(severity="fatal" if key == "action" else "warning", kind="zero-variance",
                          what=f"{key}: no entry ever changes", where=key, advice="there is nothing to learn here: was it recorded?")
        elif len(still):
            names = dataset.feature(key).element_names or [str(i) for i in range(table.shape[1])]
            yield Finding(severity="warning", kind="zero-variance", what=f"{key}: entries that never change: "
                          f"{_some([names[i] for i in still])}", where=key,
                          advice="harmless to foreact (scale 1); other trainers divide by zero")


def _stored_statistics(dataset: Dataset) -> Findings:
    stored = dataset.stored_statistics
    if not stored:
        yield Finding(severity="info", kind="statistics", what="the dataset stores no statistics", where="meta",
                      advice="foreact computes its own")
    for key in _vectors(dataset):
        values = dataset.column(key)
        if key not in stored or values[:1].size > WIDE or (values.dtype.kind == "f" and not np.isfinite(values).all()):
            continue
        true = array_statistics(values)
        spread = np.maximum(true["max"] - true["min"], 1e-6 * np.maximum(np.abs(true["max"]), 1.0))
        wrong = {}
        for name, limit in {**dict.fromkeys(("min", "max", "mean", "std"), 1e-3), **dict.fromkeys(QUANTILES, 0.03)}.items():
            told = stored[key].get(name)
            if told is None:
                continue
            told = np.asarray(told, dtype=np.float64)
            off = np.inf if told.size != true[name].size else (np.abs(told.reshape(true[name].shape) - true[name]) / spread).max()
            if not off <= limit:
                wrong[name] = float(off)
        gross = [name for name in ("min", "max", "mean", "std") if wrong.get(name, 0.0) > 0.1]
        if wrong:
            listed = ", ".join(f"{name} by {100 * off:.3g} %" for name, off in wrong.items())
            yield Finding(severity="fatal" if gross and _learnt(key) else "warning", kind="statistics",
                          what=f"{key}: stored statistics disagree with the data, in shares of its range: {listed}", where="meta",
                          advice="foreact computes its own; other trainers would normalise wrongly: write the statistics anew")


def _action_range(dataset: Dataset) -> Findings:
    if "action" not in dataset.info.features:
        return
    action = dataset.column("action")
    action = action.reshape(len(action), -1).astype(np.float64)
    names = dataset.feature("action").element_names or [str(i) for i in range(action.shape[1])]
    yield Finding(severity="info", kind="action-range", where="action", what="action range: " + ", ".join(
        f"{name} [{low:.4g}, {high:.4g}]" for name, low, high in zip(names, action.min(0), action.max(0), strict=True)))
    if dataset.specs is not None:
        low, high = np.array(dataset.specs.action.low), np.array(dataset.specs.action.high)
        slack = 1e-4 * (high - low)
        outside = ((action < low - slack) | (action > high + slack)).any(1)
        if outside.any():
            yield Finding(severity="warning", kind="action-range",
                          what=f"{outside.mean():.2%} of the actions are outside the limits of the action spec",
                          where=f"episodes {_some(_indices(dataset, outside))}",
                          advice="correct the limits, or leave these episodes out")
    low, middle, high = np.quantile(action, [0.01, 0.5, 0.99], axis=0)
    far = np.abs(action - middle) > 20 * np.maximum(high - low, 1e-9)
    if (far & (high > low)).any():
        yield Finding(severity="warning", kind="outlier",
                      what=f"{int((far & (high > low)).any(1).sum())} actions lie more than 20 times "
                      "the usual range away", where=f"episodes {_some(_indices(dataset, (far & (high > low)).any(1)))}",
                      advice="glitches of the recording? min-max normalisation would squeeze all else")


def _indices(dataset: Dataset, rows: np.ndarray) -> list[int]:
    """The indices of the episodes that hold the marked rows."""
    return [dataset.episodes[int(i)].index for i in np.unique(dataset.episode_of_row[rows])]


def _some(items: list) -> str:
    return ", ".join(map(str, items[:8])) + (f" and {len(items) - 8} more" if len(items) > 8 else "")
