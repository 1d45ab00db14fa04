"""Joins encoded episodes into the files of LeRobotDataset v3.0."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.data.coding import VideoJoiner
from foreact.data.lerobot.columns import arrow_schema, column_to_numpy
from foreact.data.lerobot.conventions import Specs, write_specs
from foreact.data.lerobot.episode import EncodedEpisode, EpisodeEncoder
from foreact.data.lerobot.layout import Feature, automatic_features
from foreact.data.statistics import (
    WIDE,
    Histogram,
    array_statistics,
    histogram_statistics,
    pooled_histogram_statistics,
    sampled_rows,
    statistics_to_json,
)

__all__ = ["assemble"]

CHUNKS_SIZE = 1000
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_WIDE_SAMPLES = 32


def numbered(root: Path, template: str, **words: str) -> Iterator[Path]:
    """chunk-000/file-000, chunk-000/file-001, ..."""
    for count in range(10**9):
        chunk, file = divmod(count, CHUNKS_SIZE)
        yield root / template.format(chunk_index=chunk, file_index=file, **words)


def position(file: Path) -> tuple[int, int]:
    """The chunk and file index in a path that `numbered` made."""
    return int(file.parent.name.removeprefix("chunk-")), int(file.stem.removeprefix("file-"))


class DataFiles:
    """Data parquet: one row group per episode, a new file beyond the limit."""

    def __init__(self, root: Path, schema: pa.Schema, limit: int) -> None:
        self._files, self._schema, self._limit = numbered(root, DATA_PATH), schema, limit
        self._writer: pq.ParquetWriter | None = None
        self._bytes = 0
        self.file: Path | None = None

    def append(self, table: pa.Table) -> Path:
        if self._writer is None or self._bytes + table.nbytes > self._limit:
            self.close()
            self.file = next(self._files)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._writer, self._bytes = pq.ParquetWriter(self.file, self._schema, compression="snappy"), 0
        self._writer.write_table(table, row_group_size=max(len(table), 1))
        self._bytes += table.nbytes
        assert self.file is not None
        return self.file

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Tally:
    """Gathers what the statistics of the whole dataset need: columns, and histograms of pictures."""

    def __init__(self, features: Mapping[str, Feature]) -> None:
        self._features = features
        self._columns: dict[str, list[np.ndarray]] = {}
        self._histograms: dict[str, list[tuple[Histogram, int]]] = {}

    def add(self, table: pa.Table, histograms: Mapping[str, tuple[Histogram, int]]) -> dict[str, dict[str, np.ndarray]]:
        """Count one episode in; returns its own statistics."""
        found = {}
        for key, feature in self._features.items():
            if feature.is_numeric:
                values = column_to_numpy(table[key], feature, where=key)
                # Wide features are sampled, as pictures are: their quantiles would need all of them in memory.
                values = values[sampled_rows(len(values), _WIDE_SAMPLES)] if np.prod(feature.shape) > WIDE else values
                self._columns.setdefault(key, []).append(values)
                found[key] = array_statistics(values)
            elif key in histograms:
                self._histograms.setdefault(key, []).append(histograms[key])
                found[key] = histogram_statistics(*histograms[key])
        return found

    def total(self) -> dict[str, dict[str, np.ndarray]]:
        found = {key: array_statistics(np.concatenate(parts)) for key, parts in self._columns.items()}
        return found | {key: pooled_histogram_statistics(parts) for key, parts in self._histograms.items()}


def assemble(folder: Path, files: Sequence[Path], *, encoder: EpisodeEncoder, robot_type: str | None, specs: Specs | None,
             data_file_mb: int, video_file_mb: int) -> None:
    """Write the dataset made of the episode files, in this order, into the empty `folder`."""
    features = {**encoder.features, **automatic_features()}
    schema = arrow_schema(features)
    data = DataFiles(folder, schema, data_file_mb * 1_000_000)
    joiners = {key: VideoJoiner(numbered(folder, VIDEO_PATH, video_key=key), fps=encoder.fps, limit=video_file_mb * 1_000_000)
               for key, feature in features.items() if feature.dtype == "video"}
    tally, tasks, rows, first = Tally(features), {}, [], 0
    with ExitStack() as stack:
        # Each is closed even where closing another one fails, as it does on a full disk.
        for part in (data, *joiners.values()):
            stack.callback(part.close)
        for index, file in enumerate(files):
            episode = EncodedEpisode.from_bytes(file.read_bytes(), where=str(file))
            table = _table(episode, index=index, first=first, tasks=tasks, schema=schema)
            row = _episode_row(episode, index, first, data.append(table))
            for key, joiner in joiners.items():
                video, start, stop = joiner.append(episode.videos[key], length=episode.length, where=f"{file}: {key}")
                row |= _span(key, video, start, stop)
            row |= {f"stats/{key}/{name}": value.tolist() for key, entry in tally.add(table, episode.histograms).items()
                    for name, value in entry.items()}
            rows.append(row)
            first += episode.length
    meta = folder / "meta"
    _write_episodes(meta, rows)
    _write_tasks(meta, list(tasks))
    (meta / "stats.json").write_text(json.dumps(statistics_to_json(tally.total()), indent=4, allow_nan=False) + "\n")
    info = _info(features, encoder, robot_type, frames=first, episodes=len(rows), tasks=len(tasks),
                 data_file_mb=data_file_mb, video_file_mb=video_file_mb)
    (meta / "info.json").write_text(json.dumps(info, indent=4, allow_nan=False) + "\n")
    if specs is not None:
        write_specs(meta, specs)


def _table(episode: EncodedEpisode, *, index: int, first: int, tasks: dict[str, int], schema: pa.Schema) -> pa.Table:
    numbers = np.array([tasks.setdefault(task, len(tasks)) for task in episode.tasks], dtype=np.int64)
    table = episode.arrow()
    columns = {name: table[name] for name in table.column_names} | {
        "episode_index": pa.array(np.full(episode.length, index)),
        "index": pa.array(np.arange(first, first + episode.length)),
        "task_index": pa.array(numbers[episode.task_steps]),
    }
    return pa.table([columns[name].cast(schema.field(name).type) for name in schema.names], schema=schema)


def _episode_row(episode: EncodedEpisode, index: int, first: int, data: Path) -> dict[str, object]:
    chunk, file = position(data)
    return {"episode_index": index, "tasks": list(episode.tasks), "length": episode.length, "data/chunk_index": chunk,
            "data/file_index": file, "dataset_from_index": first, "dataset_to_index": first + episode.length}


def _span(key: str, video: Path, start: float, stop: float) -> dict[str, object]:
    chunk, file = position(video)
    return {f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file,
            f"videos/{key}/from_timestamp": start, f"videos/{key}/to_timestamp": stop}


def _write_episodes(meta: Path, rows: list[dict[str, object]]) -> None:
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    columns |= {"meta/episodes/chunk_index": [0] * len(rows), "meta/episodes/file_index": [0] * len(rows)}
    file = meta / "episodes" / "chunk-000" / "file-000.parquet"
    file.parent.mkdir(parents=True)
    pq.write_table(pa.table(columns), file, compression="snappy")


def _write_tasks(meta: Path, tasks: list[str]) -> None:
    """The text is the index of a pandas table; the metadata below is what pandas itself would write."""
    index = "__index_level_0__"
    described = {
        "index_columns": [index], "attributes": {}, "creator": {"library": "pyarrow", "version": pa.__version__},
        "column_indexes": [{"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object",
                            "metadata": {"encoding": "UTF-8"}}],
        "columns": [{"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64",
                     "metadata": None},
                    {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}],
        "pandas_version": "2.2.0"}
    schema = pa.schema([("task_index", pa.int64()), (index, pa.string())], metadata={"pandas": json.dumps(described)})
    pq.write_table(pa.table([pa.array(range(len(tasks)), pa.int64()), pa.array(tasks)], schema=schema), meta / "tasks.parquet")


def _info(features: Mapping[str, Feature], encoder: EpisodeEncoder, robot_type: str | None, *, frames: int, episodes: int,
          tasks: int, data_file_mb: int, video_file_mb: int) -> dict[str, object]:
    described = {key: feature.to_json() for key, feature in features.items()}
    for key, feature in features.items():
        if feature.dtype == "video":
            height, width, channels = feature.shape
            described[key]["info"] = {
                "video.height": height, "video.width": width, "video.codec": encoder.codec.codec,
                "video.pix_fmt": encoder.codec.pixel_format, "video.is_depth_map": False, "video.fps": encoder.fps,
                "video.channels": channels, "has_audio": False}
    return {
        "codebase_version": "v3.0", "robot_type": robot_type, "total_episodes": episodes, "total_frames": frames,
        "total_tasks": tasks, "chunks_size": CHUNKS_SIZE, "data_files_size_in_mb": data_file_mb,
        "video_files_size_in_mb": video_file_mb, "fps": encoder.fps, "splits": {"train": f"0:{episodes}"},
        "data_path": DATA_PATH, "video_path": VIDEO_PATH if any(f.dtype == "video" for f in features.values()) else None,
        "features": described}
