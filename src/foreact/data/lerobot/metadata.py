"""Tasks, episodes and stored statistics of a dataset, whatever its version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.contract.errors import DatasetError
from foreact.data.lerobot.layout import DatasetInfo, Episode, VideoSpan, read_json

__all__ = ["read_episodes", "read_parquet", "read_stored_statistics", "read_tasks"]


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A parquet file, or a `DatasetError` where it is missing or cut off."""
    try:
        return pq.ParquetFile(path).read(columns=columns)
    except FileNotFoundError:
        raise DatasetError("a file of the dataset is missing", where=str(path), next_step="copy the dataset again") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise DatasetError("the parquet file cannot be read; it is cut off or damaged", where=str(path), found=error,
                           next_step="copy the dataset again; `foreact data check` lists all such files") from None


def _lines(path: Path) -> list[dict]:
    if not path.exists():
        raise DatasetError("a file of the dataset is missing", where=str(path), next_step="copy the dataset again")
    found = []
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise DatasetError("a line is not valid JSON; the file may be cut off", where=f"{path}:{number}",
                                   found=error, next_step="copy the dataset again") from None
    return found


def read_tasks(root: Path, info: DatasetInfo) -> dict[int, str]:
    """Task texts by task index."""
    if info.version != "v3.0":
        path = root / "meta" / "tasks.jsonl"
        try:
            return {int(line["task_index"]): str(line["task"]) for line in _lines(path)}
        except KeyError as error:
            raise DatasetError("an entry is missing", where=str(path), found=error, accepted="task_index and task") from None
    path = root / "meta" / "tasks.parquet"
    table = read_parquet(path)
    # The text is the index of a pandas table, under whatever name; older files have it as a column `task`.
    texts = [name for name in table.column_names if name != "task_index"]
    if "task_index" not in table.column_names or not texts:
        raise DatasetError("columns are missing", where=str(path), found=", ".join(table.column_names),
                           accepted="task_index and the task text")
    text = "task" if "task" in texts else texts[-1]
    return dict(zip(table["task_index"].to_pylist(), map(str, table[text].to_pylist()), strict=True))


def read_episodes(root: Path, info: DatasetInfo) -> tuple[Episode, ...]:
    """Every episode in order of its index, with the rows and the video seconds that are its own."""
    return _episodes_v3(root, info) if info.version == "v3.0" else _episodes_v2(root, info)


def _videos(info: DatasetInfo) -> list[str]:
    keys = [key for key, feature in info.features.items() if feature.dtype == "video"]
    if keys and not info.video_path:
        raise DatasetError("video_path is missing", where="meta/info.json", found=", ".join(keys))
    return keys


def _episodes_v2(root: Path, info: DatasetInfo) -> tuple[Episode, ...]:
    path = root / "meta" / "episodes.jsonl"
    found: list[Episode] = []
    first = 0
    for line in sorted(_lines(path), key=lambda line: line.get("episode_index", -1)):
        try:
            index, length, tasks = int(line["episode_index"]), int(line["length"]), tuple(line["tasks"])
        except KeyError as error:
            raise DatasetError("an entry is missing", where=str(path), found=error,
                               accepted="episode_index, length, tasks") from None
        words = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        videos = {key: VideoSpan(file=root / str(info.video_path).format(video_key=key, **words), start=0.0,
                                 stop=length / info.fps) for key in _videos(info)}
        found.append(Episode(index=index, length=length, first=first, tasks=tasks,
                             data_file=root / info.data_path.format(**words), videos=videos))
        first += length
    return tuple(found)


def _episodes_v3(root: Path, info: DatasetInfo) -> tuple[Episode, ...]:
    folder = root / "meta" / "episodes"
    files = sorted(folder.rglob("*.parquet"))
    if not files:
        raise DatasetError("the table of episodes is missing", where=str(folder), next_step="copy the dataset again")
    keys = _videos(info)
    names = ["episode_index", "tasks", "length", "data/chunk_index", "data/file_index"]
    names += [f"videos/{key}/{part}" for key in keys for part in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
    rows = []
    for file in files:
        table = read_parquet(file)
        absent = [name for name in names if name not in table.column_names]
        if absent:
            raise DatasetError("columns are missing", where=str(file), found=", ".join(absent) + " absent", accepted=", ".join(names))
        rows += table.select(names).to_pylist()
    found: list[Episode] = []
    first = 0
    for row in sorted(rows, key=lambda row: row["episode_index"]):
        videos = {
            key: VideoSpan(
                file=root / str(info.video_path).format(video_key=key, chunk_index=row[f"videos/{key}/chunk_index"],
                                                        file_index=row[f"videos/{key}/file_index"]),
                start=row[f"videos/{key}/from_timestamp"], stop=row[f"videos/{key}/to_timestamp"])
            for key in keys}
        data = root / info.data_path.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        found.append(Episode(index=row["episode_index"], length=row["length"], first=first, tasks=tuple(row["tasks"]),
                             data_file=data, videos=videos))
        first += row["length"]
    return tuple(found)


def read_stored_statistics(root: Path, info: DatasetInfo) -> dict[str, dict[str, np.ndarray]]:
    """What the dataset says about itself; v2.1 says it per episode, which is joined where that is exact.

    Of v2.1, min, max, mean, std and count are joined; quantiles of episodes cannot be.
    """
    if info.version == "v2.1":
        path = root / "meta" / "episodes_stats.jsonl"
        episodes = [line["stats"] for line in _lines(path)] if path.exists() else []
        return {key: _joined([entry[key] for entry in episodes if key in entry]) for key in (episodes[0] if episodes else {})}
    path = root / "meta" / "stats.json"
    if not path.exists():
        return {}
    return {key: {name: np.asarray(value) for name, value in entry.items()} for key, entry in read_json(path).items()}


def _joined(parts: list[Mapping[str, list]]) -> dict[str, np.ndarray]:
    counts = np.array([part["count"][0] for part in parts], dtype=np.float64)
    means, stds = np.array([part["mean"] for part in parts]), np.array([part["std"] for part in parts])
    weights = (counts / counts.sum()).reshape(-1, *[1] * (means.ndim - 1))
    mean = (weights * means).sum(0)
    std = np.sqrt((weights * (stds**2 + (means - mean) ** 2)).sum(0))
    return {"min": np.min([part["min"] for part in parts], axis=0), "max": np.max([part["max"] for part in parts], axis=0),
            "mean": mean, "std": std, "count": np.array([int(counts.sum())])}
