"""A LeRobot dataset on disk, of any accepted version, behind one face."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foreact.contract.errors import DatasetError, nearest
from foreact.data.decoding import Decoder, DecoderCache, backend, match_times
from foreact.data.fingerprint import folder_fingerprint
from foreact.data.lerobot.columns import column_to_numpy
from foreact.data.lerobot.conventions import Specs, StatedConventions, derive_specs, is_camera, read_specs
from foreact.data.lerobot.layout import DatasetInfo, Episode, Feature, camera_name, read_info
from foreact.data.lerobot.metadata import read_episodes, read_parquet, read_stored_statistics, read_tasks
from foreact.data.pictures import decode_picture

__all__ = ["Dataset"]


class Dataset:
    """info, episodes, tasks; columns as arrays over all rows; frames by camera and episode.

    Nothing is decoded before it is asked for. Cameras are named by what follows `observation.images.`.
    """

    def __init__(self, root: Path, *, decoder: str = "auto", open_videos: int = 8) -> None:
        self.root = root
        self.info: DatasetInfo = read_info(root)
        self.tasks: dict[int, str] = read_tasks(root, self.info)
        self.episodes: tuple[Episode, ...] = read_episodes(root, self.info)
        self.decoder = backend(decoder)
        self._decoders = DecoderCache(self.decoder, open_videos)
        self._columns: dict[str, np.ndarray] = {}
        self._pictures: tuple[tuple[Path, str], pa.ChunkedArray] | None = None

    @classmethod
    def open(cls, path: Path | str, *, decoder: str = "auto") -> Dataset:
        """Open the dataset in the folder `path`. Raises `DatasetError` where it is not what it claims to be."""
        root = Path(path)
        if not root.is_dir():
            raise DatasetError("no such folder", where=str(root), next_step="give the folder that holds meta/info.json")
        return cls(root, decoder=decoder)

    @property
    def frames_total(self) -> int:
        return self.episodes[-1].last + 1 if self.episodes else 0

    @cached_property
    def cameras(self) -> Mapping[str, str]:
        """Feature key by camera name; depth and segmentation maps are not cameras."""
        return {camera_name(key): key for key, feature in self.info.features.items() if is_camera(key, feature)}

    @cached_property
    def episode_of_row(self) -> np.ndarray:
        """For each row, the place of its episode in `episodes`."""
        return np.repeat(np.arange(len(self.episodes)), [episode.length for episode in self.episodes])

    @cached_property
    def _first_rows(self) -> Mapping[Path, int]:
        """The row of the dataset with which each data file begins."""
        return {episode.data_file: episode.first for episode in reversed(self.episodes)}

    @cached_property
    def specs(self) -> Specs | None:
        """Our own specs, where the dataset carries them."""
        return read_specs(self.root / "meta")

    def specs_or_stated(self, stated: StatedConventions | None = None, *, state_key: str = "observation.state",
                        action_key: str = "action") -> Specs:
        """The dataset's own specs, or those derived from its features and what a person stated."""
        return self.specs or derive_specs(self.info.features, fps=self.info.fps, stated=stated or StatedConventions(),
                                          where=str(self.root), state_key=state_key, action_key=action_key)

    @cached_property
    def stored_statistics(self) -> dict[str, dict[str, np.ndarray]]:
        return read_stored_statistics(self.root, self.info)

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the content of all files."""
        return folder_fingerprint(self.root)

    def feature(self, key: str) -> Feature:
        if key not in self.info.features:
            raise DatasetError("no such feature", where=str(self.root), found=key, accepted=nearest(key, self.info.features))
        return self.info.features[key]

    def column(self, key: str) -> np.ndarray:
        """A numeric or string feature over all rows: (rows, *shape), (rows,) for scalars. Kept once read."""
        if key not in self._columns:
            feature = self.feature(key)
            if feature.is_visual:
                raise DatasetError("pictures are read with `frames`", where=key, found=feature.dtype)
            found = np.concatenate([self._file_column(file, key, feature) for file in self._data_files()])
            if len(found) != self.frames_total:
                raise DatasetError("the data files do not hold the rows that the episodes state", where=f"{self.root}: {key}",
                                   found=f"{len(found)} rows", accepted=f"{self.frames_total}",
                                   next_step="the dataset is incomplete: copy it again")
            if key == "episode_index" and (found != np.array([e.index for e in self.episodes])[self.episode_of_row]).any():
                raise DatasetError("rows are not in the order of the episodes", where=f"{self.root}: {key}",
                                   next_step="export the dataset again")
            self._columns[key] = found
            # Once, whatever is read first: all columns share the order that `episode_index` proves.
            if key in self.info.features and "episode_index" in self.info.features:
                self.column("episode_index")
        return self._columns[key]

    def rows(self, key: str, episode: int) -> np.ndarray:
        """A feature in one episode, without reading the others where the file allows: for wide features such as depth."""
        entry = self.episodes[episode]
        if key in self._columns:
            return self._columns[key][entry.first:entry.last + 1]
        return column_to_numpy(self.cells(key, episode), self.feature(key), where=f"{entry.data_file}: {key}")

    def texts(self, rows: np.ndarray) -> tuple[str, ...]:
        """The instruction at each row."""
        try:
            return tuple(self.tasks[int(index)] for index in self.column("task_index")[rows])
        except KeyError as error:
            raise DatasetError("a task index has no text", where=str(self.root / "meta"), found=error,
                               accepted=", ".join(map(str, self.tasks))) from None

    def frames(self, camera: str, episode: int, indices: np.ndarray | None = None) -> np.ndarray:
        """uint8 (n, 3, height, width): the frames `indices` (default all) of one episode from a camera or picture feature.

        Each frame is found by its presentation time and checked; see `decoding`.
        """
        key = self.camera_key(camera)
        pictures = self.pictures(key, episode, indices)
        if pictures.dtype != np.uint8 or pictures.shape[1] != 3:
            raise DatasetError("not an RGB camera; read it with `pictures`", where=key, found=f"{pictures.dtype} {pictures.shape}")
        return pictures

    def camera_key(self, camera: str) -> str:
        """The feature key of a camera given by name or by key."""
        if camera in self.cameras:
            return self.cameras[camera]
        if camera in self.info.features and self.info.features[camera].is_visual:
            return camera
        raise DatasetError("no such camera", where=str(self.root), found=camera,
                           accepted=", ".join(self.cameras) or "the dataset has no cameras")

    def pictures(self, key: str, episode: int, indices: np.ndarray | None = None) -> np.ndarray:
        """(n, channels, height, width) of any picture feature, segmentation and 16-bit maps included."""
        feature, entry = self.feature(key), self.episodes[episode]
        wanted = np.arange(entry.length) if indices is None else np.asarray(indices, dtype=np.int64)
        where = f"episode {entry.index}, {key}"
        height, width, channels = feature.shape
        if not len(wanted):
            return np.empty((0, channels, height, width), dtype=np.uint8)
        if wanted.min() < 0 or wanted.max() >= entry.length:
            raise DatasetError("no such frame", where=where, found=f"{wanted.min()}..{wanted.max()}",
                               accepted=f"0..{entry.length - 1}")
        found = self._from_video(key, entry, wanted, where) if feature.dtype == "video" else \
            self._from_column(key, episode, wanted, channels, where)
        if found.shape[1:] != (channels, height, width):
            raise DatasetError("pictures are not of the size that info.json states", where=where, found=found.shape[1:],
                               accepted=(channels, height, width))
        return found

    def video(self, file: Path) -> Decoder:
        """The open decoder of a video file."""
        return self._decoders.get(file)

    def close(self) -> None:
        """Close the videos that are open."""
        self._decoders.close()

    def _from_video(self, key: str, entry: Episode, wanted: np.ndarray, where: str) -> np.ndarray:
        span = entry.videos[key]
        stamps = self.column("timestamp")[entry.first + wanted].astype(np.float64)
        decoder = self.video(span.file)
        return decoder.read(match_times(decoder, span.start + stamps, fps=self.info.fps, where=where))

    def _from_column(self, key: str, episode: int, wanted: np.ndarray, channels: int, where: str) -> np.ndarray:
        cells = self.cells(key, episode).take(pa.array(wanted)).to_pylist()
        return np.stack([self._picture(cell, channels, f"{where}, frame {index}")
                         for cell, index in zip(cells, wanted, strict=True)]).transpose(0, 3, 1, 2)

    def _picture(self, cell: Mapping[str, object] | None, channels: int, where: str) -> np.ndarray:
        data = (cell or {}).get("bytes")
        if data is None and (cell or {}).get("path"):
            file = self.root / str(cell["path"])
            data = file.read_bytes() if file.exists() else None
        if data is None:
            raise DatasetError("a picture is missing", where=where, found=cell, next_step="copy the dataset again")
        return decode_picture(bytes(data), channels, where=where)

    def _data_files(self) -> list[Path]:
        return sorted(self._first_rows, key=self._first_rows.__getitem__)

    def _file_column(self, file: Path, key: str, feature: Feature) -> np.ndarray:
        table = read_parquet(file, [key])
        if key not in table.column_names:
            raise DatasetError("a column is missing", where=str(file), found=key)
        return column_to_numpy(table[key], feature, where=f"{file}: {key}")

    def cells(self, key: str, episode: int) -> pa.ChunkedArray:
        """The stored cells of one episode; only the row groups that hold it are read, and the last answer is kept."""
        entry = self.episodes[episode]
        if self._pictures is not None and self._pictures[0] == (entry.data_file, f"{entry.index} {key}"):
            return self._pictures[1]
        first = self._first_rows[entry.data_file]
        low, high = entry.first - first, entry.first - first + entry.length
        try:
            file = pq.ParquetFile(entry.data_file)
            counts = np.array([file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)])
            starts = np.concatenate([[0], np.cumsum(counts)])
            groups = [i for i in range(len(counts)) if starts[i] < high and starts[i + 1] > low]
            column = file.read_row_groups(groups, columns=[key])[key].slice(low - int(starts[groups[0]]), entry.length)
        except (pa.ArrowInvalid, OSError, KeyError, IndexError) as error:
            raise DatasetError("the parquet file cannot be read; it is missing, cut off or damaged", where=str(entry.data_file),
                               found=error, next_step="copy the dataset again") from None
        if len(column) != entry.length:
            raise DatasetError("rows of an episode are missing", where=f"{entry.data_file}: {key}", found=len(column),
                               accepted=entry.length, next_step="copy the dataset again")
        self._pictures = ((entry.data_file, f"{entry.index} {key}"), column)
        return column
