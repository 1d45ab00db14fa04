"""What happens once before the first step: episodes split, normalisation and substrate fitted, frames encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from foreact.contract.axes import Substrate
from foreact.contract.config import config_hash
from foreact.contract.context import Scene, Window
from foreact.contract.errors import ConfigError, DatasetError
from foreact.contract.normalisation import FeatureStatistics
from foreact.contract.progress import say
from foreact.contract.specs import ActionSpec, ObservationSpec
from foreact.data.annotations import AnnotationStore
from foreact.data.cache import Cache
from foreact.data.lerobot.conventions import StatedConventions
from foreact.data.lerobot.dataset import Dataset
from foreact.data.loading import split_episodes
from foreact.data.stores import EncodedStore, FrameSource, FutureStore, frame_source
from foreact.data.windows import Offsets, Windows
from foreact.model import WorldActionModel
from foreact.training.checkpoint import find, load_run
from foreact.training.randomness import derived_seed
from foreact.training.run import Run, Stage

__all__ = ["Material", "among", "held_out_windows", "normalise", "open_material", "prepare", "stage_windows", "take_substrate", "windows"]

_FRAMES, _VALIDATION, _ACTION_FREE = 0xF2A3, 0x7A11, 0xF2EE


@dataclass(frozen=True, kw_only=True)
class Material:
    """A dataset as one run sees it: its specs after choosing and resizing cameras, its frames, its split.

    video: whether it is only watched: its actions, if it has any, are never read.
    """

    dataset: Dataset
    observation: ObservationSpec
    action: ActionSpec
    frames: FrameSource
    train: tuple[int, ...]
    held_out: tuple[int, ...]
    cache: Cache
    video: bool = False

    @property
    def train_rows(self) -> np.ndarray:
        """Rows of the dataset in episodes that are trained on."""
        return np.flatnonzero(np.isin(self.dataset.episode_of_row, self.train))


def open_material(run: Run, dataset: Dataset, *, stated: StatedConventions | None, cache: Cache | None) -> Material:
    """Choose cameras, resize, split; raises `SpecError` or `DatasetError` where the dataset is not what the run needs."""
    specs, cache = dataset.specs_or_stated(stated), cache or Cache()
    if specs.provenance.get("imitate") is False:
        raise DatasetError("the actions of this dataset are not to be imitated", where=str(dataset.root), found="another embodiment",
                           accepted="demonstrations of the robot itself", next_step=f"give it as video: --video {dataset.root}")
    names, size = run.windows.cameras or specs.observation.camera_names, run.windows.image_size
    cameras = tuple(specs.observation.camera(name) for name in names)
    if size is not None:
        cameras = tuple(replace(camera, height=size[0], width=size[1]) for camera in cameras)
    train, held_out = split_episodes(len(dataset.episodes), held_out=run.training.validation.fraction, seed=run.training.seed)
    return Material(dataset=dataset, observation=replace(specs.observation, cameras=cameras), action=specs.action,
                    frames=frame_source(dataset, names, size=size, cache=cache), train=_shared(dataset, train, run.windows.share),
                    held_out=held_out, cache=cache)


def _shared(dataset: Dataset, episodes: tuple[int, ...], share: float) -> tuple[int, ...]:
    """The first episodes of each task, at least one."""
    if share == 1.0:
        return episodes
    by_task: dict[int, list[int]] = {}
    for episode in episodes:
        by_task.setdefault(int(dataset.column("task_index")[dataset.episodes[episode].first]), []).append(episode)
    return tuple(sorted(e for each in by_task.values() for e in each[: max(1, round(share * len(each)))]))


def prepare(model: WorldActionModel, run: Run, material: Material, *, substrate_of: Path | None) -> Mapping[str, float]:
    """Fit normalisation on the training episodes, and the substrates unless another run's are taken. Returns measures."""
    rows = material.train_rows
    normalise(model, run, material)
    taken = set() if substrate_of is None else take_substrate(model, run, substrate_of)
    settings, found = run.training.substrate, {}
    for name, substrate in model.substrates.items():
        if name in taken:
            continue
        if not substrate.per_frame and not run.model.coupling.future_offsets:
            continue  # nothing is predicted, so nothing is measured from the present
        batches = _scenes(model, run, material, substrate, rows, settings.batch_size)
        measured = substrate.fit(batches, steps=settings.steps, seed=derived_seed(run.training.seed, _FRAMES))
        if measured:
            say(f"{name}: " + ", ".join(f"{what} {value:.2f}" for what, value in measured.items()))
        found |= {what if name == "substrate" else f"{name}.{what}": value for what, value in measured.items()}
    return found


def normalise(model: WorldActionModel, run: Run, material: Material) -> None:
    """Fit the scaling of state and action on the training episodes."""
    model.fit_normalisation(FeatureStatistics.of(material.dataset.column("observation.state")[material.train_rows]),
                            FeatureStatistics.of(material.dataset.column("action")[_acted(run, material)]))


def _acted(run: Run, material: Material) -> np.ndarray:
    """Rows from which some stage learns actions: video alone says nothing about their scale, and hidden actions say nothing at all."""
    rows, stages = material.train_rows, [stage for stage in run.training.stages if "action" in stage.train]
    rows = rows[~np.isin(material.dataset.episode_of_row[rows], _action_free(run, material))]
    if stages and not len(rows):
        raise ConfigError("a stage learns actions, and all are hidden", where="windows.action_free", found=run.windows.action_free,
                          accepted="a share below 1")
    return rows[np.unique(np.concatenate([among(material.dataset, rows, stage) for stage in stages]))] if stages else rows


def _scenes(model: WorldActionModel, run: Run, material: Material, substrate: Substrate, rows: np.ndarray, size: int) -> Iterator[Scene]:
    """Scenes of the training episodes without end: a substrate takes as many batches as it needs."""
    generator, device = np.random.default_rng(derived_seed(run.training.seed, _FRAMES)), model.device
    source = None if substrate.per_frame else _whole(run, material, substrate)
    while True:
        chosen = generator.choice(rows, size=size)
        if source is not None:
            yield source.batch(np.searchsorted(source.rows, chosen)).scene_for(substrate.fold).to(device)
            continue
        yield Scene(images={name: torch.from_numpy(material.frames.read(name, chosen)[:, None]).to(device)
                            for name in material.observation.camera_names}, texts=material.dataset.texts(chosen))


def _whole(run: Run, material: Material, substrate: Substrate) -> Windows:
    """Windows of all rows with their images and with the annotations that `substrate` needs."""
    needs = substrate.config.needs(material.observation)
    offsets = Offsets(horizon=1, future=run.model.coupling.future_offsets)
    return Windows(material.dataset, offsets, cameras=material.observation.camera_names,
                   frames=material.frames, annotations=_annotations(run, material, needs), fold=substrate.fold)


def _annotations(run: Run, material: Material, needs: Sequence[str]) -> AnnotationStore | None:
    return AnnotationStore(material.dataset, needs, size=run.windows.image_size, cache=material.cache) if needs else None


def take_substrate(model: WorldActionModel, run: Run, other: Path) -> set[str]:
    """Copy the fitted substrates of another run, so that two models live in the very same space; returns the names of those copied.

    A baseline that predicts nothing takes only what it sees the present through, by whatever name the other run has it. What the
    action does not live in may be another one, which is then left to be fitted: a teacher, a visual state, or a future in a space of
    its own where the present is seen through a view.
    """
    theirs = load_run(other).model
    have = {"substrate": theirs.substrate, **{f"beside.{part.name}": part.substrate for part in theirs.beside}}
    have |= {name: part for name, part in (("view", theirs.view), ("visual_state", theirs.visual_state),
                                          ("teacher", theirs.alignment and theirs.alignment.teacher)) if part is not None}
    weights, taken = find(other).model(), set()
    for name, substrate in model.substrates.items():
        source = next((n for n in (name, *have) if have.get(n) == substrate.config), None)
        seen_apart = model.view is not None and name != "view"  # the action lives in the view, the future in a space of its own
        if source is None and (seen_apart or name in ("teacher", "visual_state")):
            continue
        if source is None:
            raise ConfigError("the other run has another substrate", where="substrate_of", found=theirs.substrate,
                              accepted=substrate.config)
        own = {key.removeprefix(f"{source}."): value for key, value in weights.items() if key.startswith(f"{source}.")}
        substrate.load_state_dict(own)
        taken.add(name)
    return taken


def windows(model: WorldActionModel, run: Run, material: Material, episodes: Sequence[int]) -> Windows:
    """Windows of these episodes, with stored encodings in place of images where the run asks to encode once."""
    coupling = run.model.coupling
    offsets = Offsets(horizon=coupling.horizon, future=coupling.future_offsets, past_actions=coupling.past_actions,
                      history=tuple(range(-(coupling.history - 1) * coupling.history_stride, 1, coupling.history_stride)))
    stored = _stores(model, run, material) if run.windows.encode_once else {}
    needs = () if stored else run.model.needs(material.observation)
    return Windows(material.dataset, offsets, cameras=material.observation.camera_names, episodes=episodes, encoded=stored,
                   action_key=None if material.video else "action", action_size=material.action.size,
                   frames=None if stored else material.frames, images=not stored,
                   fold=1 if stored else run.model.fold, annotations=_annotations(run, material, needs),
                   action_free=_action_free(run, material), discount=run.windows.discount)


def _action_free(run: Run, material: Material) -> tuple[int, ...]:
    """Episodes whose actions are hidden from training: a share of those trained on, chosen by the run's seed."""
    count = round(run.windows.action_free * len(material.train))
    chosen = np.random.default_rng(derived_seed(run.training.seed, _ACTION_FREE)).permutation(material.train)[:count]
    return tuple(int(episode) for episode in chosen)


def _stores(model: WorldActionModel, run: Run, material: Material) -> dict[str, EncodedStore | FutureStore]:
    """The encoding of every frame by the view, and of every future by each part."""
    per_frame: dict[int, EncodedStore] = {}

    def frames(substrate: Substrate) -> EncodedStore:
        if id(substrate) not in per_frame:  # present and future often live in one substrate
            per_frame[id(substrate)] = EncodedStore(
                material.frames, lambda images: substrate.encode(Scene(images=images).to(model.device)), _digest(substrate),
                cache=material.cache)
        return per_frame[id(substrate)]

    found: dict[str, EncodedStore | FutureStore] = {"view": frames(model.eye)}
    if model.glance is not None:
        found["visual_state"] = frames(model.glance)
    later = model.parts if run.model.coupling.future_offsets else {}
    if model.alignment is not None and model.alignment.config.stream == "frame":
        found["teacher_of_present"] = frames(model.teacher)
    elif model.alignment is not None:
        later = {**later, "teacher": model.teacher}
    for name, part in later.items():
        found[name] = frames(part) if part.per_frame else _futures(model, run, material, part)
    return found


def _futures(model: WorldActionModel, run: Run, material: Material, part: Substrate) -> FutureStore:
    source = _whole(run, material, part)
    return FutureStore(material.dataset, material.observation.camera_names,
                       lambda rows: part.encode(source.batch(rows).scene_for(part.fold).to(model.device))[:, 1:], _digest(part),
                       offsets=run.model.coupling.future_offsets, cache=material.cache)


def _digest(substrate: Substrate) -> str:
    """What an encoding depends on: the substrate's config and weights."""
    substrate.eval()
    digest = hashlib.sha256(config_hash(substrate.config).encode())
    for name, value in substrate.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def stage_windows(source: Windows, run: Run) -> dict[str, np.ndarray]:
    """By stage name: the windows of those stages that are limited to some episodes."""
    found = {stage.name: among(source.dataset, source.rows, stage) for stage in run.training.stages}
    return {name: rows for name, rows in found.items() if len(rows) < len(source)}


def among(dataset: Dataset, rows: np.ndarray, stage: Stage) -> np.ndarray:
    """Places in `rows` that the stage learns from."""
    kept = np.ones(len(rows), dtype=bool)
    for name, value in stage.only.items():
        if name not in dataset.info.features:
            say(f"stage {stage.name}: the dataset has no column '{name}', so all episodes are learnt from")
            continue
        column = dataset.column(name).reshape(dataset.frames_total, -1)[:, 0].astype(str)
        if value not in column:
            raise ConfigError("no episode has this value", where=f"training.stages[{stage.name}].only.{name}", found=value,
                              accepted=", ".join(sorted(set(column))[:10]))
        kept &= column[rows] == value
    return np.flatnonzero(kept)


def held_out_windows(source: Windows, run: Run) -> list[Window]:
    """The batches that validation measures on: the same ones throughout, spread over those held-out episodes that the last stage is for."""
    size, generator = run.training.batch_size, np.random.default_rng(derived_seed(run.training.seed, _VALIDATION))
    rows = among(source.dataset, source.rows, run.training.stages[-1])
    chosen = rows[generator.permutation(len(rows))[: size * run.training.validation.batches]]
    return [source.batch(np.sort(part)) for part in np.split(chosen, range(size, len(chosen), size)) if len(part)]
