"""What happens once before the first step: episodes split, normalisation and substrate fitted, frames encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foreact.contract.config import config_hash
from foreact.contract.context import Window
from foreact.contract.errors import ConfigError
from foreact.contract.normalisation import FeatureStatistics
from foreact.contract.progress import say
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.data.cache import Cache
from foreact.data.lerobot.conventions import StatedConventions
from foreact.data.lerobot.dataset import Dataset
from foreact.data.loading import split_episodes
from foreact.data.stores import EncodedStore, FrameSource, frame_source
from foreact.data.windows import Offsets, Windows
from foreact.model import WorldActionModel
from foreact.training.checkpoint import find, load_run
from foreact.training.randomness import derived_seed
from foreact.training.run import Run

__all__ = ["Material", "held_out_windows", "open_material", "prepare", "take_substrate", "windows"]

_FRAMES, _VALIDATION = 0xF2A3, 0x7A11


@dataclass(frozen=True, kw_only=True)
class Material:
    """A dataset as one run sees it: its specs after choosing and resizing cameras, its frames, its split."""

    dataset: Dataset
    observation: ObservationSpec
    action: ActionSpec
    frames: FrameSource
    train: tuple[int, ...]
    held_out: tuple[int, ...]
    cache: Cache

    @property
    def train_rows(self) -> np.ndarray:
        """Rows of the dataset in episodes that are trained on."""
        return np.flatnonzero(np.isin(self.dataset.episode_of_row, self.train))


def open_material(run: Run, dataset: Dataset, *, stated: StatedConventions | None, cache: Cache | None) -> Material:
    """Choose cameras, resize, split; raises `SpecError` or `DatasetError` where the dataset is not what the run needs."""
    specs, cache = dataset.specs_or_stated(stated), cache or Cache()
    names, size = run.windows.cameras or specs.observation.camera_names, run.windows.image_size
    cameras = tuple(specs.observation.camera(name) for name in names)
    if size is not None:
        cameras = tuple(replace(camera, height=size[0], width=size[1]) for camera in cameras)
    train, held_out = split_episodes(len(dataset.episodes), held_out=run.training.validation.fraction, seed=run.training.seed)
    return Material(dataset=dataset, observation=replace(specs.observation, cameras=cameras), action=specs.action,
                    frames=frame_source(dataset, names, size=size, cache=cache), train=train, held_out=held_out, cache=cache)


def prepare(model: WorldActionModel, run: Run, material: Material, *, substrate_of: Path | None) -> Mapping[str, float]:
    """Fit normalisation on the training episodes, and the substrate unless another run's is taken. Returns measures."""
    rows, dataset = material.train_rows, material.dataset
    model.fit_normalisation(FeatureStatistics.of(dataset.column("observation.state")[rows]),
                            FeatureStatistics.of(dataset.column("action")[rows]))
    if substrate_of is not None:
        take_substrate(model, run, substrate_of)
        return {}
    settings, device = run.training.substrate, model.device
    batches = _frame_batches(material, rows, settings.batch_size, run.training.seed, device)
    measured = model.substrate.fit(batches, steps=settings.steps, seed=derived_seed(run.training.seed, _FRAMES))
    if measured:
        say("substrate: " + ", ".join(f"{name} {value:.2f}" for name, value in measured.items()))
    return measured


def _frame_batches(material: Material, rows: np.ndarray, size: int, seed: int, device: torch.device) -> Iterator[dict[str, Tensor]]:
    """Frames of the training episodes without end: the substrate takes as many batches as it needs."""
    generator = np.random.default_rng(derived_seed(seed, _FRAMES))
    while True:
        chosen = generator.choice(rows, size=size)
        yield {name: torch.from_numpy(material.frames.read(name, chosen)).to(device) for name in material.observation.camera_names}


def take_substrate(model: WorldActionModel, run: Run, other: Path) -> None:
    """Copy the fitted substrate of another run, so that two models live in the very same space."""
    theirs = load_run(other).model.substrate
    if theirs != run.model.substrate:
        raise ConfigError("the other run has another substrate", where="substrate_of", found=theirs,
                          accepted=run.model.substrate)
    weights = {name: value for name, value in find(other).model().items() if name.startswith("substrate.")}
    model.substrate.load_state_dict({name.removeprefix("substrate."): value for name, value in weights.items()})


def windows(model: WorldActionModel, run: Run, material: Material, episodes: Sequence[int]) -> Windows:
    """Windows of these episodes, with stored encodings in place of images where the run asks to encode once."""
    coupling, history = run.model.coupling, run.windows.history
    offsets = Offsets(horizon=coupling.horizon, history=tuple(range(1 - history, 1)), future=coupling.future_offsets)
    encoded = _encoded(model, run, material) if run.windows.encode_once else None
    return Windows(material.dataset, offsets, cameras=material.observation.camera_names, episodes=episodes, encoded=encoded,
                   frames=material.frames if encoded is None else None, images=encoded is None)


def _encoded(model: WorldActionModel, run: Run, material: Material) -> EncodedStore:
    digest, device = hashlib.sha256(config_hash(run.model.substrate).encode()), model.device
    for name, value in model.substrate.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    model.substrate.eval()
    return EncodedStore(material.frames, lambda images: model.substrate.encode({n: x.to(device) for n, x in images.items()}),
                        digest.hexdigest(), cache=material.cache)


def held_out_windows(source: Windows, run: Run) -> list[Window]:
    """The batches that validation measures on: the same ones throughout, spread over the held-out episodes."""
    size, generator = run.training.batch_size, np.random.default_rng(derived_seed(run.training.seed, _VALIDATION))
    chosen = generator.permutation(len(source))[: size * run.training.validation.batches]
    return [source.batch(np.sort(part)) for part in np.split(chosen, range(size, len(chosen), size))]
