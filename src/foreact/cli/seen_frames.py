"""What the diagnoses of the picture share: frames of a dataset in which an object is seen, their masks, and what else could be told.

    foreact diagnose intervention | attention RUN --data DATASET frames=12 margin=4 camera=null seed=0

The frames depend on the dataset, the seed and how often the run looks, so models that look equally often are asked about the same ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.parsing import Parser
from foreact.contract.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from foreact.contract.context import Context
    from foreact.data.windows import Windows
    from foreact.training.prepare import Material

__all__ = ["SeenFrame", "SeenSettings", "add_options", "camera_of", "figures", "instructed", "instructions", "measured", "pictures", "seen",
           "unseen"]

FIGURES = ("share", "ratio", "centroid", "shuffled", "without_common")


@dataclass(frozen=True, kw_only=True)
class SeenSettings:
    """Which frames; see the words of the commands."""

    frames: int = 12
    margin: float = 4.0
    camera: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise ConfigError("an interval needs frames", where="frames", found=self.frames, accepted="2 or more")


@dataclass(frozen=True)
class SeenFrame:
    """One observation with the classes of its pixels."""

    context: Context
    classes: Any
    episode: int
    frame: int


def add_options(parser: Parser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run or checkpoint folder")
    parser.add_argument("--data", type=Path, required=True, metavar="DATASET", help="a dataset with segmentation")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write an HTML page with the pictures")


def camera_of(model: Any, asked: str | None) -> str:
    """The camera whose picture is laid under the heat: the one asked for, or the first."""
    camera = asked or model.observation.camera_names[0]
    if camera not in model.observation.camera_names:
        raise ConfigError("the model does not look through this camera", where="camera", found=camera,
                          accepted=", ".join(model.observation.camera_names))
    return camera


def unseen(run: Any, folder: Path, dataset: Path) -> tuple[Material, Windows, tuple[int, ...]]:
    """The dataset as the run sees it, windows of those of its episodes that the run in `folder` was not trained on, and which they are."""
    from foreact.contract.errors import DatasetError
    from foreact.data.lerobot import Dataset
    from foreact.training.checkpoint import find
    from foreact.training.prepare import open_material, windows

    data = Dataset.open(dataset)
    material = open_material(run, data, stated=None, cache=None)
    trained_on = find(folder).progress()["dataset"]["fingerprint"]
    episodes = material.held_out if trained_on == data.fingerprint else tuple(range(len(data.episodes)))
    if not episodes:
        raise DatasetError("the run was trained on all of these episodes", where=str(dataset), accepted="episodes that it has not seen")
    run = replace(run, windows=replace(run.windows, encode_once=False, action_free=0.0))
    return material, windows(None, run, material, episodes), episodes


def seen(run: Any, options: argparse.Namespace, config: SeenSettings, camera: str) -> list[SeenFrame]:
    """Frames spread over episodes, in which an object is seen; of the run's own dataset only what it was not trained on."""
    import numpy as np

    from foreact.contract.errors import DatasetError
    from foreact.data.annotations import AnnotationStore
    from foreact.envs.semantics import OBJECT

    material, source, _ = unseen(run, options.run, options.data)
    store = AnnotationStore(material.dataset, [f"segmentation.{camera}"], size=run.windows.image_size, cache=material.cache)
    found: list[SeenFrame] = []
    for index in np.random.default_rng(config.seed).permutation(len(source)):
        if len(found) == config.frames:
            break
        row = source.rows[index]
        classes = store.read(np.array([row]))[f"segmentation.{camera}"][0].numpy()
        if (classes == OBJECT).any():
            window = source.batch(np.array([index]))
            found.append(SeenFrame(window.context, classes, int(window.extras["episode"]), int(window.extras["frame"])))
    if len(found) < 2:
        raise DatasetError("an object is seen in too few frames", where=str(options.data), found=len(found), accepted="2 or more",
                           next_step="another camera, or more episodes")
    return found


def instructions(data: Path) -> list[str]:
    """Those of the dataset, and some that any suite's person might give, for a dataset with few."""
    from foreact.data.lerobot import Dataset
    from foreact.envs.instructions import INSTRUCTIONS

    return list(dict.fromkeys([*Dataset.open(data).tasks.values(), *(texts[0] for texts in INSTRUCTIONS.values())]))


def instructed(frame: SeenFrame, known: Sequence[str]) -> list[str]:
    """The frame's own instruction, and two others."""
    own = frame.context.instruction[0]
    return [own, *[text for text in known if text != own][:2]]


def measured(heats: Sequence[np.ndarray], mask: np.ndarray) -> dict[str, float | None]:
    """Heats of one camera under the own instruction and under others, against the mask on their grid."""
    from foreact.diagnostics.grounding import grounding, without_common

    whole, left = grounding(heats[0], mask), grounding(without_common(heats)[0], mask)
    return {"share": whole.share, "ratio": whole.ratio, "centroid": None if heats[0].sum() == 0 else whole.centroid,
            "shuffled": whole.shuffled[0], "without_common": left.ratio}


def figures(rows: Sequence[Mapping[str, Any]], names: Sequence[str] = FIGURES, *, of: Sequence[int]) -> dict[str, dict[str, Any]]:
    """The mean of each figure over episodes, with its interval; within an episode over its frames. of: the episode of each row."""
    from foreact.evaluation.statistics import Mean

    found = {}
    for name in names:
        known = [(episode, row[name]) for episode, row in zip(of, rows, strict=True) if row[name] is not None]
        by_episode = [[value for other, value in known if other == episode] for episode in dict.fromkeys(e for e, _ in known)]
        if known:
            found[name] = asdict(Mean.of([sum(values) / len(values) for values in by_episode]))
    return found


def pictures(frames: Sequence[SeenFrame], camera: str) -> list[np.ndarray]:
    """What the camera saw at each frame, (height, width, 3)."""
    return [frame.context.images[camera][0, -1].permute(1, 2, 0).numpy() for frame in frames]
