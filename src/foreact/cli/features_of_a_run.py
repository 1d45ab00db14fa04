"""`features_of`: what the hidden states of a trained model hold, measured on a dataset. A study calls it on many runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.contract.config import encode
from foreact.contract.errors import ConfigError, DatasetError

if TYPE_CHECKING:
    from foreact.contract.axes import Substrate
    from foreact.contract.context import Window
    from foreact.diagnostics.representation.measure import Asked
    from foreact.diagnostics.representation.states import States
    from foreact.model import WorldActionModel

__all__ = ["Drawn", "FeaturesSettings", "features_of"]

_BATCH = 25


@dataclass(frozen=True, kw_only=True)
class FeaturesSettings:
    """See the words of `foreact diagnose features`."""

    stream: str | None = None
    layer: int | None = None
    layers: tuple[int, ...] = ()
    time: int = 1
    evaluation: int = 1
    frames: int = 400
    teacher: str | None = None
    folds: int = 5
    cover: float = 0.1
    tokens: int = 4000
    tsne: bool = True
    shown: int = 6
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("time", 1), ("evaluation", 1), ("frames", 8), ("folds", 2), ("tokens", 100), ("shown", 1)):
            if getattr(self, name) < least:
                raise ConfigError("too small", where=name, found=getattr(self, name), accepted=f"{least} or more")
        if not 0 < self.cover <= 1:
            raise ConfigError("a share of a cell", where="cover", found=self.cover, accepted="above 0, up to 1")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What the pictures are made of. pictures: by camera, of the frame that the states are about; parts: tokens by name."""

    pictures: dict[str, Any]
    parts: dict[str, Any]
    grids: dict[str, tuple[int, int, int]]
    cells: Any
    classes: dict[str, Any]


def features_of(path: Path, dataset: Path, config: FeaturesSettings) -> tuple[dict[str, Any], Drawn]:
    """All figures, and what the page draws."""
    from foreact.diagnostics.representation.measure import counts, likeness, on_grid, pixels_of, probe
    from foreact.training.checkpoint import load_model, load_run

    model, run = load_model(path), load_run(path)
    windows, rows, material = _windows(path, run, dataset, config)
    stream = config.stream or _acts_on(model, windows[0])
    states = _states(model, windows, stream, config, aligned=run.model.alignment)
    time = 0 if stream == "frame" else config.time
    offset = 0 if time == 0 else windows[0].future_offsets[time - 1]
    cameras = _cameras(model, states.grid)
    pictures = {name: np.concatenate([(w.context.images[name] if time == 0 else w.future_images[name])[:, time - 1].numpy()
                                      for w in windows]) for name in cameras}
    classes = _classes(material, run, cameras, rows + offset)
    asked = _asked(model, windows, classes, states.grid, config)
    parts: dict[str, Any] = {str(layer): values for layer, values in sorted(states.by_layer.items())}
    grids = dict.fromkeys(parts, states.grid)
    taught = _teacher(model, config.teacher)
    if taught is not None:
        parts["teacher"] = np.concatenate([_taught(taught[1], w, time, model, cameras) for w in windows])
        grids["teacher"] = (len(cameras), *taught[1].form.grid[1:])
    alike = likeness({name: on_grid(values, grids[name], states.grid) for name, values in parts.items()})
    parts["pixels"] = pixels_of([np.concatenate([w.context.images[name][:, -1].numpy() for w in windows]) for name in cameras], states.grid)
    probed = {name: on_grid(values, grids.get(name, states.grid), states.grid) for name, values in parts.items()}
    found = {
        "run": str(path), "recipe": run.recipe, "data": str(dataset), "settings": encode(config), "stream": stream,
        "layer": _layer(model, config, run.model.alignment), "layers": [int(name) for name in parts if name.isdigit()],
        "depth": model.config.backbone.layers(), "grid": list(states.grid), "offset": offset, "evaluation": config.evaluation,
        "sigma": states.sigma, "teacher": None if taught is None else taught[0],
        "samples": {"frames": len(rows), "episodes": len(np.unique(asked.episodes)), "tasks": len(np.unique(asked.tasks)),
                    "cameras": list(cameras), "tokens": {} if asked.cells is None else counts(asked.cells)},
        "probes": probe(probed, asked, count=config.folds, tokens=config.tokens, seed=config.seed), "cka": alike}
    return found, Drawn(pictures=pictures, parts=parts, grids=grids, cells=asked.cells, classes=classes)


def _windows(path: Path, run: Any, dataset: Path, config: FeaturesSettings) -> tuple[list[Window], np.ndarray, Any]:
    """Frames spread evenly over episodes that the run was not trained on, each with all of its future inside the episode."""
    from foreact.cli.seen_frames import unseen

    material, source, episodes = unseen(run, path, dataset)
    data = material.dataset
    ahead = max((run.model.coupling.horizon - 1, *run.model.coupling.future_offsets))
    long = [e for e in episodes if data.episodes[e].length > ahead]
    if len(long) < 4:
        raise DatasetError("too few episodes that the run was not trained on", where=str(dataset), found=len(long),
                           accepted="4 or more", next_step="collect more episodes, with other seeds")
    chosen = []
    for place, episode in enumerate(long):
        own = data.episodes[episode]
        count = min(config.frames // len(long) + (place < config.frames % len(long)), own.length - ahead)
        chosen += (own.first + np.linspace(0, own.length - ahead - 1, count).round().astype(int)).tolist()
    rows = np.unique(chosen)
    places = np.searchsorted(source.rows, rows)
    return [source.batch(part) for part in np.split(places, range(_BATCH, len(places), _BATCH))], rows, material


def _acts_on(model: WorldActionModel, window: Window) -> str:
    """The future's tokens, or those of the present where the model acts without a future."""
    from foreact.contract.errors import MisfitError
    from foreact.diagnostics.representation.states import acted_on

    ran = acted_on(model, window.context)
    if not ran:
        raise MisfitError("this model acts on no tokens that lie on a grid of frames", where="stream",
                          found=f"{type(model.coupling).__name__} over {type(model.backbone).__name__}", accepted="video or frame")
    return ran[0]


def _layer(model: WorldActionModel, config: FeaturesSettings, aligned: Any) -> int:
    """The one in the pictures: asked for, aligned, or a third of the depth."""
    from foreact.objectives.representation import aligned_layers

    return config.layer or aligned_layers((1 / 3,) if aligned is None else aligned.layers, model.config.backbone.layers())[0]


def _states(model: WorldActionModel, windows: list[Window], stream: str, config: FeaturesSettings, *, aligned: Any) -> States:
    from foreact.diagnostics.representation.states import layers_shown, states_of

    times = 1 if stream == "frame" else len(model.config.coupling.future_offsets)
    if stream != "frame" and config.time > max(times, 1):
        raise ConfigError("the model does not look so far ahead", where="time", found=config.time, accepted=f"1 to {times}")
    layers = layers_shown(model.config.backbone.layers(), asked=config.layers, besides=_layer(model, config, aligned))
    return states_of(model, (w.context for w in windows), count=sum(w.context.batch for w in windows), stream=stream, layers=layers,
                     time=0 if stream == "frame" else config.time - 1, evaluation=config.evaluation, seed=config.seed)


def _cameras(model: WorldActionModel, grid: tuple[int, int, int]) -> tuple[str, ...]:
    """Those in whose pictures the tokens lie: all, or those that are calibrated, for futures that are places in the world."""
    from foreact.contract.errors import MisfitError

    every = model.observation.cameras
    for cameras in (every, tuple(camera for camera in every if camera.calibration is not None)):
        if len(cameras) == grid[0]:
            return tuple(camera.name for camera in cameras)
    raise MisfitError("the tokens lie in the pictures of some cameras, and it is not known which", where="stream",
                      found=f"{grid[0]} of {len(every)} cameras", accepted="tokens of every camera", next_step="stream=frame")


def _classes(material: Any, run: Any, cameras: tuple[str, ...], rows: np.ndarray) -> dict[str, Any]:
    """By camera, what each pixel shows; empty where the dataset does not say it for every camera."""
    from foreact.data.annotations import PREFIX, AnnotationStore

    names = [f"segmentation.{camera}" for camera in cameras]
    if any(PREFIX + name not in material.dataset.info.features for name in names):
        return {}
    store = AnnotationStore(material.dataset, names, size=run.windows.image_size, cache=material.cache)
    return {name.partition(".")[2]: values.numpy() for name, values in store.read(rows).items()}


def _asked(model: WorldActionModel, windows: list[Window], classes: dict[str, Any], grid: tuple[int, int, int], config: FeaturesSettings,
           ) -> Asked:
    from foreact.diagnostics.representation.labels import cells_of, positions_of
    from foreact.diagnostics.representation.measure import Asked

    tasks = [text for w in windows for text in w.context.instruction]
    episodes = np.concatenate([w.extras["episode"].numpy() for w in windows])
    return Asked(cameras=tuple(classes), episodes=episodes, tasks=np.unique(tasks, return_inverse=True)[1],
                 positions=positions_of(list(classes.values())) if classes else None,
                 cells=cells_of(list(classes.values()), grid, cover=config.cover) if classes else None,
                 actions=np.concatenate([model.action_scaler(w.actions).mean(dim=1).numpy() for w in windows]))


def _teacher(model: WorldActionModel, asked: str | None) -> tuple[str, Substrate] | None:
    """The run's own, one in a folder, or that of another run; None where there is none or none is wanted."""
    if asked == "none" or (asked is None and model.teacher is None):
        return None
    if asked is None:
        return f"{type(model.teacher).__name__} of this run", model.teacher
    if (Path(asked) / "model.safetensors").exists():
        return f"teacher in {asked}", _in_folder(model, asked)
    from foreact.training.checkpoint import load_model

    other = load_model(asked)
    teacher = other.teacher or (other.substrate if not other.substrate.decodable and other.substrate.per_frame else None)
    if teacher is None or not teacher.per_frame or other.observation.cameras != model.observation.cameras:
        raise ConfigError("no teacher for these pictures", where="teacher", found=asked,
                          accepted="a folder of foreact teacher train, or a run that is aligned or lives in features; of the same cameras "
                                   "at the same size")
    return f"{type(teacher).__name__} of {asked}", teacher


def _in_folder(model: WorldActionModel, folder: str) -> Substrate:
    """A teacher that `foreact teacher train` has written."""
    from foreact.contract.config import decode
    from foreact.substrates.frozen_features import FrozenFeatures
    from foreact.substrates.teacher_folder import cameras_of, read_teacher

    said, weights = read_teacher(folder)
    if said["cameras"] != cameras_of(model.observation):
        raise ConfigError("the teacher looks through other cameras", where="teacher", found=said["cameras"],
                          accepted=cameras_of(model.observation))
    teacher = decode(FrozenFeatures.Config, said["teacher"], where="teacher").build(model.observation)
    teacher.load_state_dict(weights)
    return teacher.to(model.device).eval()


def _taught(teacher: Substrate, window: Window, time: int, model: WorldActionModel, cameras: tuple[str, ...]) -> np.ndarray:
    """The teacher's features of the frame that the states are about, in these cameras' pictures."""
    scene = window.context.scene.at(slice(-1, None)) if time == 0 else window.scene_for(teacher.fold)
    features = teacher.encode(scene)[:, time].float().unflatten(1, (teacher.form.grid[0], -1))
    return features[:, [model.observation.camera_names.index(name) for name in cameras]].flatten(1, 2).numpy()
