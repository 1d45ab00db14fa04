"""Demonstrations of scripted experts, collected into a LeRobotDataset v3.0.

Per task, the dataset holds the first `episodes` seeds, from `first_seed` on, on which the expert succeeds. So it is the
same dataset whatever the number of workers, wherever they run, and however often the collection was interrupted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from foreact.contract.config import Config, config_hash, encode
from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.progress import Meter, meter
from foreact.contract.storage import atomic_write_json
from foreact.data.coding import VideoCodec
from foreact.data.lerobot.conventions import Specs, standard_features
from foreact.data.lerobot.episode import EncodedEpisode, EpisodeEncoder
from foreact.data.lerobot.layout import Feature, read_json
from foreact.data.lerobot.writer import DatasetWriter
from foreact.envs.annotations import Annotations
from foreact.envs.backends import backend_name
from foreact.envs.base import TRAINING_SEEDS, Condition
from foreact.envs.embodiments import OWN, require_embodiment
from foreact.envs.episodes import Episode, Expert, demonstrate
from foreact.envs.simulated import Simulated
from foreact.envs.suites import SUITES, suite_of
from foreact.evaluation.collectors import InProcess, Job, OverRay, Place, Processes

__all__ = ["CollectConfig", "collect"]

_SEEDS_PER_TASK = len(TRAINING_SEEDS)
_PATIENCE = 20


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What to collect; the tasks' names tell the suite, one at a time. episodes: per task and condition. condition: "both" for Clean and
    Random in one dataset, told apart by the column "condition". first_seed: must lie, with all that are tried, in the training seeds.

    embodiment: another look of the robot, as the suite names it; such a dataset says that its actions are not to be imitated, and is
        video beside another's demonstrations.
    keep_failures: also keep episodes in which the expert failed; then the first `episodes` seeds are taken as they are.
    """

    tasks: tuple[str, ...]
    episodes: int = 40
    first_seed: int = 0
    cameras: tuple[str, ...] = ("scene", "gripper")
    size: int = 64
    condition: Literal["clean", "random", "both"] = "clean"
    horizon: int = 500
    expert: Expert = field(default_factory=Expert)
    annotations: Annotations = field(default_factory=Annotations)
    keep_failures: bool = False
    embodiment: str = OWN
    codec: VideoCodec = field(default_factory=VideoCodec)

    @property
    def groups(self) -> tuple[tuple[str, Condition], ...]:
        """Tasks and the conditions in which they are demonstrated."""
        conditions: tuple[Condition, ...] = ("clean", "random") if self.condition == "both" else (self.condition,)
        return tuple((task, condition) for condition in conditions for task in self.tasks)

    @property
    def suite(self) -> type[Simulated]:
        """To which the tasks belong; raises `ConfigError` where it is not ours to collect."""
        suite = suite_of(self.tasks)[0]
        if not issubclass(suite, Simulated):
            raise ConfigError("demonstrations of this suite are not collected here", where="collect.tasks", found=suite.suite,
                              accepted=", ".join(name for name, other in SUITES.items() if issubclass(other, Simulated)),
                              next_step="collect them with the suite's own programme and write them as a LeRobot dataset")
        return suite

    def environment(self, task: str, condition: Condition) -> Config:
        """The environment in which `task` is demonstrated."""
        looks = {} if self.embodiment == OWN else {"embodiment": self.embodiment}
        return self.suite.Config(task=task, cameras=self.cameras, size=self.size, condition=condition, horizon=self.horizon, **looks)

    @property
    def said(self) -> dict[str, Any]:
        """As JSON data, which names no embodiment where it is the robot's own."""
        return {name: value for name, value in encode(self).items() if name != "embodiment" or value != OWN}

    def features(self) -> dict[str, Feature]:
        """The columns of the dataset beside the automatic ones."""
        size = (self.size, self.size)
        observation, action = self.suite.describe(self.environment(*self.groups[0]))
        extra = {
            "executed_action": Feature(dtype="float32", shape=(action.size,), names=list(action.names)),
            "next.reward": Feature(dtype="float32", shape=(1,)),
            "next.success": Feature(dtype="bool", shape=(1,)),
            "condition": Feature(dtype="string", shape=(1,)),
            "seed": Feature(dtype="int64", shape=(1,)),
        }
        wanted, names = self.annotations, ["height", "width", "channels"]
        if wanted.contacts:
            extra["annotation.contacts"] = Feature(dtype="float32", shape=(2,), names=["count", "force_newton"])
        if wanted.audio:  # log-mel energies of the last control steps, oldest first
            extra["annotation.audio"] = Feature(dtype="float32", shape=(wanted.audio_frames, wanted.audio_bands))
        if wanted.tracks:
            extra["annotation.points"] = Feature(dtype="float32", shape=(wanted.points, 4))
        for camera in self.cameras:
            if wanted.depth:  # 16-bit millimetres, 0 where nothing is
                extra[f"annotation.depth.{camera}"] = Feature(dtype="image", shape=(*size, 1), names=names)
            if wanted.segmentation:
                extra[f"annotation.segmentation.{camera}"] = Feature(dtype="image", shape=(*size, 1), names=names)
            if wanted.tracks:
                extra[f"annotation.tracks.{camera}"] = Feature(dtype="float32", shape=(wanted.points, 3))
        return standard_features(observation, action, extra=extra)


def collect(config: CollectConfig, out_path: Path | str, *, workers: int = 2, on: Literal["local", "ray"] = "local",
            restart: bool = False) -> Path:
    """Collect into a new dataset at `out_path` and return it. Interrupted, it goes on where it stopped when run again.

    Finished episodes of an interrupted run with another config raise `DatasetError`; `restart` throws them away.
    """
    if config.tasks:
        config = replace(config, tasks=suite_of(config.tasks)[1])
    _check(config, workers)
    suite = config.suite
    backend_name()  # no renderer: say so before any worker starts
    out, note = Path(out_path), Path(out_path).parent / f".{Path(out_path).name}.collecting.json"
    observation, action = suite.describe(config.environment(*config.groups[0]))
    key = config_hash(config.said)
    if note.exists() and not restart and read_json(note).get("config") != key:
        raise DatasetError("an unfinished collection with another configuration lies here", where=str(note),
                           next_step="restart it, which throws its episodes away, or choose another folder")
    provenance = {"collect": config.said, "environments": [suite.rules(config.environment(*g)) for g in config.groups],
                  **({} if config.embodiment == OWN else {"imitate": False})}
    writer = DatasetWriter(out, fps=observation.rate_hz, features=config.features(), robot_type=suite.robot, codec=config.codec,
                           specs=Specs(observation=observation, action=action, provenance=provenance),
                           resume=note.exists() and not restart)
    atomic_write_json(note, {"config": key})
    make = _Maker(config, writer.encoder)
    place: Place = OverRay(make, workers) if on == "ray" else InProcess(make) if workers == 1 else Processes(make, workers)
    try:
        with meter("collecting", len(config.groups) * config.episodes) as bar:
            for job, content in _gather(config, writer, place, bar):
                writer.add_encoded(EncodedEpisode.from_bytes(content, where=f"{job.task} {job.seed}"), index=_index(config, job))
    finally:
        place.close()
    path = writer.finalize()
    note.unlink()
    return path


def _gather(config: CollectConfig, writer: DatasetWriter, place: Place, bar: Meter) -> Iterator[tuple[Job, bytes]]:
    """Jobs and their encoded episodes, in order of arrival.

    A seed is tried only when it is needed even if all that are under way succeed; so no surplus is ever made, and what
    is kept does not depend on who was faster.
    """
    kept = dict.fromkeys(config.groups, 0)
    for index in writer.done:
        kept[config.groups[index // _SEEDS_PER_TASK]] += 1
    bar.at(sum(kept.values()))
    running = dict.fromkeys(config.groups, 0)
    tried = dict.fromkeys(config.groups, 0)
    done = writer.done
    while True:
        for group in config.groups:
            while kept[group] + running[group] < config.episodes and place.has_room:
                task, condition = group
                job = Job(task, config.first_seed + tried[group], condition)
                tried[group] += 1
                if _index(config, job) in done:
                    continue
                if tried[group] > 4 * config.episodes + _PATIENCE or job.seed not in TRAINING_SEEDS:
                    raise DatasetError("the expert fails too often to collect this", where=task,
                                       found=f"{kept[group]} successes in {tried[group] - 1} seeds",
                                       next_step="lower expert.noise_std, raise horizon, or keep_failures")
                place.submit(job)
                running[group] += 1
        if not any(running.values()):
            return
        job, content = place.take()
        group = (job.task, job.condition)
        running[group] -= 1
        if content is not None:
            kept[group] += 1
            yield job, content
            bar.advance(1, job.task)


def _index(config: CollectConfig, job: Job) -> int:
    return config.groups.index((job.task, job.condition)) * _SEEDS_PER_TASK + job.seed - config.first_seed


def _check(config: CollectConfig, workers: int) -> None:
    if not config.tasks or len(set(config.tasks)) != len(config.tasks):
        raise ConfigError("tasks must be named, each once", where="collect.tasks", found=config.tasks)
    if config.embodiment != OWN:
        require_embodiment(config.embodiment, where="collect.embodiment")
        if "embodiment" not in {entry.name for entry in fields(config.suite.Config)}:
            raise ConfigError("this suite has no other embodiment", where="collect.embodiment", found=config.embodiment, accepted=OWN)
    if config.episodes < 1 or workers < 1:
        raise ConfigError("must be at least 1", where="collect.episodes" if config.episodes < 1 else "workers",
                          found=min(config.episodes, workers))
    if config.first_seed not in TRAINING_SEEDS:
        raise ConfigError("demonstrations come from the training seeds only", where="collect.first_seed",
                          found=config.first_seed, accepted=f"0 to {TRAINING_SEEDS.stop - 1}")


@dataclass(frozen=True)
class _Maker:
    """Makes the encoded episode of a job, or None when the expert failed; a plain value that travels to workers."""

    config: CollectConfig
    encoder: EpisodeEncoder

    def environment(self, task: str, condition: Condition) -> Simulated:
        return self.config.environment(task, condition).build()

    def __call__(self, env: Simulated, job: Job) -> bytes | None:
        episode = demonstrate(env, job.seed, self.config.expert, annotations=self.config.annotations,
                              keep_failures=self.config.keep_failures)
        if episode is None:
            return None
        frames = _columns(episode)
        return self.encoder.encode(frames, task=episode.instruction, images=episode.images).to_bytes()


def _columns(episode: Episode) -> dict[str, np.ndarray]:
    columns: dict[str, Any] = {
        "observation.state": episode.state, "action": episode.action, "executed_action": episode.executed_action,
        "next.reward": episode.reward, "next.success": episode.success,
        "condition": np.array([episode.condition] * episode.length), "seed": np.full(episode.length, episode.seed, np.int64),
    }
    convert: dict[str, Callable[[np.ndarray], np.ndarray]] = {"depth": _millimetres, "segmentation": lambda x: x[..., None]}
    for name, values in episode.annotations.items():
        columns[f"annotation.{name}"] = convert.get(name.split(".")[0], lambda x: x)(values)
    return columns


def _millimetres(depth: np.ndarray) -> np.ndarray:
    """Metres to 16-bit millimetres (n, h, w, 1); nothing, or beyond 65.5 m, becomes 0."""
    seen = np.isfinite(depth) & (depth < 65.5)
    return np.where(seen, np.rint(np.where(seen, depth, 0) * 1000), 0).astype(np.uint16)[..., None]
