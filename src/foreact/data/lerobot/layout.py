"""LeRobotDataset on disk: versions, features, episodes, and where each of them lies.

Source: the files that LeRobot 0.3.3 (v2.1) and 0.4.4 (v3.0) write.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from foreact.contract.errors import DatasetError

__all__ = [
    "AUTOMATIC", "CAMERA_PREFIX", "VERSIONS", "DatasetInfo", "Episode", "Feature", "VideoSpan", "automatic_features",
    "camera_name", "read_info", "read_json",
]

VERSIONS = ("v2.0", "v2.1", "v3.0")
CAMERA_PREFIX = "observation.images."
AUTOMATIC = ("timestamp", "frame_index", "episode_index", "index", "task_index")


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One entry of `features`: `dtype` is a numpy name, `image`, `video` or `string`; shape without the time axis.

    Images and videos have shape (height, width, channels). `names` is whatever the file says: a list, a mapping or None.
    """

    dtype: str
    shape: tuple[int, ...]
    names: object = None
    info: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        if self.dtype in ("image", "video", "string"):
            return
        try:
            np.dtype(self.dtype)
        except TypeError:
            raise DatasetError("unknown dtype of a feature", where="features", found=self.dtype,
                               accepted="a numpy name, image, video or string") from None

    @property
    def is_visual(self) -> bool:
        return self.dtype in ("image", "video")

    @property
    def is_numeric(self) -> bool:
        return not self.is_visual and self.dtype != "string"

    @property
    def element_names(self) -> tuple[str, ...] | None:
        """One name per entry of a vector, where the file gives them."""
        names = self.names
        if isinstance(names, Mapping):
            # LeRobot also writes {"motors": [...]}.
            lists = list(names.values())
            names = lists[0] if len(lists) == 1 else None
        if not isinstance(names, (list, tuple)) or self.shape != (len(names),):
            return None
        return tuple(str(name) for name in names)

    def to_json(self) -> dict[str, object]:
        entry: dict[str, object] = {"dtype": self.dtype, "shape": list(self.shape), "names": self.names}
        return entry if self.info is None else entry | {"info": dict(self.info)}


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """`meta/info.json`. `frames` and `episodes` are what the file claims; `raw` is all of it."""

    version: str
    fps: float
    robot_type: str | None
    features: Mapping[str, Feature]
    frames: int
    episodes: int
    chunks_size: int
    data_path: str
    video_path: str | None
    raw: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class VideoSpan:
    """The seconds [start, stop) of a video file that belong to one episode."""

    file: Path
    start: float
    stop: float


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One demonstration: `first` is the row of its first frame in the whole dataset."""

    index: int
    length: int
    first: int
    tasks: tuple[str, ...]
    data_file: Path
    videos: Mapping[str, VideoSpan]

    @property
    def last(self) -> int:
        return self.first + self.length - 1


def automatic_features() -> dict[str, Feature]:
    """The features that every dataset has and that the writer fills itself."""
    return {name: Feature(dtype="float32" if name == "timestamp" else "int64", shape=(1,)) for name in AUTOMATIC}


def camera_name(key: str) -> str:
    """`observation.images.top` -> `top`; a key without that prefix keeps its last part."""
    return key.removeprefix(CAMERA_PREFIX) if key.startswith(CAMERA_PREFIX) else key.rsplit(".", 1)[-1]


def read_json(path: Path) -> dict:
    """A JSON object from `path`, or a `DatasetError` saying what is wrong with the file."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        raise DatasetError("a file of the dataset is missing", where=str(path),
                           next_step="give the folder that holds meta/info.json, or copy the dataset again") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DatasetError("not valid JSON; the file may be cut off", where=str(path), found=error,
                           next_step="copy the dataset again") from None
    if not isinstance(value, dict):
        raise DatasetError("not a JSON object", where=str(path), found=type(value).__name__, accepted="an object")
    return value


def _upright(feature: Feature) -> Feature:
    """Some older files state pictures as (channels, height, width); here they are always (height, width, channels)."""
    if feature.is_visual and len(feature.shape) == 3 and feature.shape[0] in (1, 3) and feature.shape[2] not in (1, 3):
        return replace(feature, shape=(*feature.shape[1:], feature.shape[0]), names=["height", "width", "channels"])
    return feature


def read_info(root: Path) -> DatasetInfo:
    """Read `meta/info.json` of a dataset of any accepted version."""
    path = root / "meta" / "info.json"
    raw = read_json(path)
    version = raw.get("codebase_version")
    if version not in VERSIONS:
        raise DatasetError(
            "unknown version of LeRobotDataset" if version else "the version is missing", where=f"{path}: codebase_version",
            found=version, accepted=", ".join(VERSIONS),
            next_step="convert the dataset with LeRobot's own conversion scripts, or export it again")
    missing = [key for key in ("fps", "features", "data_path") if raw.get(key) is None]
    if missing:
        raise DatasetError("entries are missing", where=str(path), found=", ".join(sorted(raw)), accepted=", ".join(missing))
    if not isinstance(raw["fps"], (int, float)) or not raw["fps"] > 0:
        raise DatasetError("fps is not a positive number", where=f"{path}: fps", found=raw["fps"])
    try:
        features = {
            key: _upright(Feature(dtype=entry["dtype"], shape=tuple(entry["shape"]), names=entry.get("names"),
                                  info=entry.get("info", entry.get("video_info"))))
            for key, entry in raw["features"].items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise DatasetError("a feature lacks its dtype or shape", where=f"{path}: features", found=error) from None
    return DatasetInfo(
        version=version, fps=raw["fps"], robot_type=raw.get("robot_type"), features=features,
        frames=int(raw.get("total_frames", 0)), episodes=int(raw.get("total_episodes", 0)),
        chunks_size=int(raw.get("chunks_size", 1000)), data_path=raw["data_path"], video_path=raw.get("video_path"), raw=raw)
