"""`train_teacher`: a feature substrate learnt on a dataset's own frames, apart from any run, for many runs to share.

What it has learnt is measured on episodes that it never saw: the measures of `FrozenFeatures.measure`, and how well a ridge regression
from its features tells the robot's state,

    R^2 = 1 - |y - W f(x)|^2 / |y - mean y|^2,    summed over the entries of the state that vary, each brought to deviation 1,

beside the same regression from the pixels averaged to 8 x 8 per camera. The ridge is chosen on other episodes than those reported.
The folder appears whole at the end; an interrupted training leaves nothing, and takes minutes to repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from foreact.contract.config import encode
from foreact.contract.context import Scene
from foreact.contract.errors import ConfigError
from foreact.contract.progress import meter
from foreact.contract.specs import ObservationSpec
from foreact.contract.storage import atomic_directory
from foreact.data.cache import Cache
from foreact.data.lerobot.conventions import StatedConventions
from foreact.data.lerobot.dataset import Dataset
from foreact.data.loading import split_episodes
from foreact.data.stores import FrameSource, frame_source
from foreact.substrates.frozen_features import FrozenFeatures
from foreact.substrates.teacher_folder import cameras_of, write_teacher
from foreact.training.parallel import use_threads
from foreact.training.randomness import derived_seed, preserved

__all__ = ["TeacherTraining", "r_squared", "train_teacher"]

_FRAMES, _INITIAL, _PROBE = 0x7EAC, 0x7E1D, 0x7EA5
_PROBE_SIDE, _RIDGES = 8, (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class TeacherTraining:
    """`steps` batches of `batch_size` frames of every camera, from all but a share `held_out` of the episodes.

    cameras: empty for all of the dataset. image_size: (height, width) to which they are resized, as in the runs that will use it.
    measured: frames of held-out episodes that it is measured on. threads: of the processor; None for one per core.
    """

    teacher: FrozenFeatures.Config = field(default_factory=FrozenFeatures.Config)
    steps: int = 400
    batch_size: int = 64
    cameras: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    held_out: float = 0.1
    measured: int = 256
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.teacher.folder is not None:
            raise ConfigError("a teacher that is in a folder is learnt already", where="teacher.folder", found=self.teacher.folder,
                              accepted="null")
        if not 0 < self.held_out < 1 or min(self.steps, self.batch_size, self.measured) < 1:
            raise ConfigError("a teacher is learnt on some episodes and measured on others", where="held_out",
                              found=f"held_out = {self.held_out}, steps = {self.steps}, measured = {self.measured}",
                              accepted="a share between 0 and 1, and at least one step and one frame")


@dataclass(frozen=True, kw_only=True)
class _Frames:
    """The dataset's frames as this training sees them."""

    data: Dataset
    source: FrameSource
    cameras: tuple[str, ...]
    device: torch.device

    def read(self, rows: np.ndarray) -> Scene:
        return Scene(images={name: torch.from_numpy(self.source.read(name, rows)[:, None]).to(self.device) for name in self.cameras},
                     texts=self.data.texts(rows))


def train_teacher(config: TeacherTraining, *, dataset: Dataset | Path | str, out: Path | str, stated: StatedConventions | None = None,
                  cache: Cache | None = None, device: torch.device | str = "cpu") -> dict[str, float]:
    """Learn a teacher into the new folder `out`; returns what was measured on held-out episodes."""
    out, data = Path(out), dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
    if out.exists():
        raise ConfigError("the folder is there already", where="--out", found=str(out), accepted="a new folder")
    observation = _observation(config, data, stated)
    frames = _Frames(data=data, source=frame_source(data, observation.camera_names, size=config.image_size, cache=cache),
                     cameras=observation.camera_names, device=torch.device(device))
    train, held_out = (np.flatnonzero(np.isin(data.episode_of_row, part))
                       for part in split_episodes(len(data.episodes), held_out=config.held_out, seed=config.seed))
    if not len(held_out):
        raise ConfigError("no episode is left to measure on", where="dataset", found=f"{len(data.episodes)} episodes", accepted="2 or more")
    with preserved():
        use_threads(config.threads, 1)
        torch.manual_seed(derived_seed(config.seed, _INITIAL))
        substrate = config.teacher.build(observation).to(device)
        with meter("learning a teacher", config.steps) as progress:
            substrate.fit(_batches(config, frames, train, progress.advance), steps=config.steps, seed=derived_seed(config.seed, _FRAMES))
        substrate.eval()
        measures = _measures(config, substrate, frames, data, train, held_out)
    with atomic_directory(out) as folder:
        write_teacher(folder, substrate.state_dict(), {
            "teacher": encode(config.teacher), "cameras": cameras_of(observation), "measures": measures,
            "dataset": {"path": str(data.root), "fingerprint": data.fingerprint, "episodes": len(data.episodes),
                        "frames": data.frames_total},
            "training": {key: value for key, value in encode(config).items() if key != "teacher"}})
    return measures


def _observation(config: TeacherTraining, data: Dataset, stated: StatedConventions | None) -> ObservationSpec:
    """The chosen cameras at their size."""
    specs = data.specs_or_stated(stated).observation
    cameras = tuple(specs.camera(name) for name in config.cameras or specs.camera_names)
    if config.image_size is not None:
        cameras = tuple(replace(camera, height=config.image_size[0], width=config.image_size[1]) for camera in cameras)
    return replace(specs, cameras=cameras)


def _batches(config: TeacherTraining, frames: _Frames, rows: np.ndarray, advance: Callable[[], None]) -> Iterator[Scene]:
    draw = np.random.default_rng(derived_seed(config.seed, _FRAMES))
    while True:
        yield frames.read(draw.choice(rows, size=config.batch_size))
        advance()


def _measures(config: TeacherTraining, substrate: FrozenFeatures, frames: _Frames, data: Dataset, train: np.ndarray,
              held_out: np.ndarray) -> dict[str, float]:
    """On frames of held-out episodes. The regression learns on four times as many; every fourth of their episodes chooses the ridge, or
    the only one, where there is but one."""
    draw = np.random.default_rng(derived_seed(config.seed, _PROBE))
    unseen = np.sort(draw.choice(held_out, size=min(config.measured, len(held_out)), replace=False))
    seen = np.sort(draw.choice(train, size=min(4 * config.measured, len(train)), replace=False))
    episodes = data.episode_of_row[seen]
    choosing = np.isin(episodes, np.unique(episodes)[1::4])
    parts = [seen[~choosing], seen[choosing] if choosing.any() else seen, unseen]
    y = [torch.from_numpy(np.asarray(data.column("observation.state")[rows], dtype=np.float32)) for rows in parts]
    found = substrate.measure(frames.read(unseen).images)
    features, pixels = [], []
    for rows in parts:
        pieces = [frames.read(piece) for piece in np.split(rows, range(64, len(rows), 64))]
        features.append(torch.cat([substrate.encode(scene)[:, 0].flatten(1).cpu() for scene in pieces]))
        pixels.append(torch.cat([_coarse(scene) for scene in pieces]))
    return found | {"state_r2": r_squared(features, y), "state_r2_of_pixels": r_squared(pixels, y)}


def _coarse(scene: Scene) -> Float[Tensor, "frame numbers"]:
    """What a frame's colours alone say: averaged to 8 x 8 per camera."""
    small = [F.adaptive_avg_pool2d(image[:, 0].float() / 255, _PROBE_SIDE).flatten(1) for image in scene.images.values()]
    return torch.cat(small, dim=1).cpu()


def r_squared(x: Sequence[Float[Tensor, "_ numbers"]], y: Sequence[Float[Tensor, "_ entries"]]) -> float:
    """Of a ridge regression from x to y learnt on the first part, its ridge chosen on the second, told of the third.

    In the dual, W f = K (K_tt + ridge mean(diag K_tt))^-1 y with K = x x^T, because there are more numbers than rows.
    """
    x, y = [part.double() for part in x], [part.double() for part in y]
    centre, entries = x[0].mean(dim=0), y[0].std(dim=0) > 1e-6
    x = [part - centre for part in x]
    y = [((part - y[0].mean(dim=0)) / y[0].std(dim=0).clamp(min=1e-6))[:, entries] for part in y]
    kernel = x[0] @ x[0].T
    eye = torch.eye(len(kernel), dtype=torch.float64) * kernel.diagonal().mean().clamp(min=1e-12)

    def told(ridge: float, part: int) -> float:
        error = y[part] - x[part] @ x[0].T @ torch.linalg.solve(kernel + ridge * eye, y[0])
        return float(1 - error.square().sum() / (y[part] - y[part].mean(dim=0)).square().sum().clamp(min=1e-12))

    return told(max(_RIDGES, key=lambda ridge: told(ridge, 1)), 2)
